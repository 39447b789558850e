"""The command table agrees with the server under test."""

from __future__ import annotations

from scripts.record_command_info import command_info
from tenantlimpyd._commands import ROWS
from tests.commands.agreement import disagreements


def test_table_agrees_with_the_server(server):
    with server.client() as client:
        info = client.info("server")
        kind = "valkey" if "valkey_version" in info else "redis"
        version = info.get("valkey_version") or info["redis_version"]
        found = command_info(server.settings)
        assert disagreements(found, kind, version) == []


def test_key_positions_of_the_server_equal_those_of_the_table(server):
    commands = [
        "GET a", "MSET a 1 b 2", "DEL a b c", "BLPOP a b 0", "EVAL script 2 a b c", "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
        "XREAD COUNT 2 STREAMS a b 0 0", "XREADGROUP GROUP g c STREAMS a >", "GEORADIUS a 1 2 3 m STORE d", "SORT a STORE d",
        "BITOP AND d a b", "OBJECT ENCODING a", "COPY a b", "PFMERGE d a b", "MIGRATE h 1 a 0 10", "ZADD a 1 m", "SMOVE a b m",
    ]  # fmt: skip
    with server.client(decode_responses=True) as client:
        for command in commands:
            words = command.split()
            told = client.execute_command("COMMAND GETKEYS", *words)
            row = ROWS[" ".join(words[:2])] if " ".join(words[:2]) in ROWS else ROWS[words[0]]
            own = [words[at] for at in row.keys.positions(words)]
            assert set(own) <= set(told), command
            assert sorted(own) == sorted(told) or not row.keys.complete, command
