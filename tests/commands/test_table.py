"""The command table: it is at least as careful as each server's own COMMAND."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest
import redis.commands.core

import tenantlimpyd
from tenantlimpyd._commands import CONTAINERS, ROWS, command_name, first_word, row_of, servers_with
from tenantlimpyd._commands.row import parse_row
from tests.commands.agreement import disagreements

RECORDS = sorted((Path(__file__).parent / "command_info").glob("*.json"))

# fmt: off
NOT_IN_THE_MATRIX = {
    "ARCOUNT", "ARDEL", "ARDELRANGE", "ARGET", "ARGETRANGE", "ARGREP", "ARINFO", "ARINSERT", "ARLASTITEMS", "ARLEN",
    "ARMGET", "ARMSET", "ARNEXT", "AROP", "ARRING", "ARSCAN", "ARSEEK", "ARSET", "BLMOVEM", "DELEX", "DIGEST",
    "INCREX", "LMOVEM", "SDIFFCARD", "SUNIONCARD", "XCFGSET", "XNACK", "HOTKEYS GET", "HOTKEYS RESET", "HOTKEYS STOP",
}
# fmt: on
"""Commands that redis-py has and that no server of the matrix could be asked about: they count as unknown."""


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_rows_agree_with_what_servers_say_of_their_commands(record):
    kind, _, version = record.stem.partition("-")
    assert disagreements(json.loads(record.read_text()), kind, version) == []


def test_every_row_is_a_command_of_some_server():
    recorded = set().union(*(json.loads(record.read_text()) for record in RECORDS))
    assert set(ROWS) - recorded == set()


def test_every_command_of_redis_py_has_a_row_or_counts_as_unknown():
    tree = ast.parse(inspect.getsource(redis.commands.core))
    names = {
        call.args[0].value.upper()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and getattr(call.func, "attr", "") == "execute_command"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert len(names) > 250
    missing = {name for name in names if not row_of((name,)).known and name not in CONTAINERS}
    assert missing == NOT_IN_THE_MATRIX & names


def test_every_command_the_library_sends_has_a_row():
    package = Path(tenantlimpyd.__file__).parent
    sent = set()
    for path in package.rglob("*.py"):
        text = path.read_text()
        sent |= {(path.name, name) for name in re.findall(r"\bCommand\(\s*\"([A-Z][A-Z ]+)\"", text)}
        sent |= {(path.name, name) for name in re.findall(r"\b(?:call|pcall|try)\('([A-Z]+)'", text)}
    assert len({name for _, name in sent}) > 30
    assert [each for each in sorted(sent) if not row_of((each[1],)).known] == []


@pytest.mark.parametrize(
    "command",
    [
        ("SELECT", 3), ("select", 3), ("SELECT 3",), ("SELECT\t3",), ("\nSELECT 3",),
        (b"select\r3",), (bytearray(b"Select"), 3),
        (memoryview(b"SELECT"), 3), ("\x0bSELECT\x1c3",), ("\xa0SELECT\u20033",),
    ],
    ids=lambda command: str(bytes(command[0])) if isinstance(command[0], memoryview) else repr(command),
)  # fmt: skip
def test_every_spelling_finds_the_row(command):
    assert row_of(command) is ROWS["SELECT"]


@pytest.mark.parametrize(
    "command",
    [
        ("XGROUP", "CREATE", "s"),
        ("xgroup create", "s"),
        ("XGROUP CREATE s",),
        (b"xgroup", b"create"),
        ("XGROUP\n", "\tCreate "),
    ],
    ids=repr,
)
def test_subcommands_have_rows_of_their_own(command):
    assert row_of(command).name == "XGROUP CREATE"


@pytest.mark.parametrize(
    "command", [(), ("",), ("JSON.SET", "k"), ("XGROUP",), ("XGROUP", "NEW"), ("GE T", "k"), (None,)], ids=repr
)
def test_unknown_command_has_the_careful_value_everywhere(command):
    row = row_of(command)
    assert (row.known, row.reads, row.writes, row.repeatable, row.in_multi) == (False, False, True, False, False)
    assert row.blocks(command)
    assert (row.effect, row.reach) == ("alters", "unknown")
    assert not row.keys.complete


def test_container_without_its_subcommand_is_unknown():
    assert {name for name in CONTAINERS if row_of((name,)).known} == {"COMMAND"}


def test_names_are_normalized():
    assert command_name(("get", "k")) == "GET"
    assert command_name(("client\tlist",)) == "CLIENT LIST"
    assert first_word(b"config get") == "CONFIG"
    assert first_word("") == ""


@pytest.mark.parametrize(
    ("command", "keys"),
    [
        ("GET a", "a"),
        ("MSET a 1 b 2", "a b"),
        ("DEL a b c", "a b c"),
        ("BLPOP a b 0", "a b"),
        ("EVAL script 2 a b c", "a b"),
        ("EVAL script 0 c", ""),
        ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", "d a b"),
        ("LMPOP 2 a b LEFT", "a b"),
        ("XREAD COUNT 2 STREAMS a b 0 0", "a b"),
        ("XREADGROUP GROUP g c STREAMS a >", "a"),
        ("GEORADIUS a 1 2 3 m STORE d", "a d"),
        ("GEORADIUS a 1 2 3 m", "a"),
        ("MIGRATE host 1 a 0 10", "a"),
        ("BITOP AND d a b", "d a b"),
        ("OBJECT ENCODING a", "a"),
        ("XINFO STREAM a", "a"),
        ("LCS a b", "a b"),
        ("MSETEX 2 a 1 b 2 EX 10", "a b"),
        ("PING", ""),
    ],
)
def test_keys_are_found(command, keys):
    words = command.split()
    assert [words[at] for at in row_of(words).keys.positions(words)] == keys.split()


@pytest.mark.parametrize("command", ["EVAL script 3 a b", "EVAL script", "EVAL script x a", "LMPOP -1 a LEFT"])
def test_keys_of_a_malformed_command_are_not_guessed(command):
    words = command.split()
    with pytest.raises(ValueError, match=r"keys|literal"):
        row_of(words).keys.positions(words)


def test_keys_of_sort_have_no_fixed_positions():
    assert not ROWS["SORT"].keys.complete
    assert ROWS["GET"].keys.complete


@pytest.mark.parametrize(
    ("command", "blocks"),
    [
        (("BLPOP", "a", 0), True),
        (("LPOP", "a"), False),
        (("XREAD", "STREAMS", "a", 0), False),
        (("XREAD", "COUNT", 1, "BLOCK", 5, "STREAMS", "a", 0), True),
        (("XREADGROUP", "GROUP", "g", "c", b"block", 5, "STREAMS", "a", 0), True),
        (("WAIT", 1, 0), True),
    ],
)
def test_arguments_decide_whether_a_command_blocks(command, blocks):
    assert row_of(command).blocks(command) is blocks


def test_servers_that_have_a_command_are_named():
    assert servers_with("HGETDEL") == "Redis 8.0 or Valkey 9.1"
    assert servers_with("XACKDEL") == "Redis 8.2"
    with pytest.raises(KeyError):
        servers_with("GET")


@pytest.mark.parametrize(
    "line",
    [
        "GET 1 read keys string",
        "GET 1 reed keys string -",
        "GET 1 read everywhere string -",
        "GET first read keys string -",
    ],
)
def test_malformed_row_is_refused(line):
    with pytest.raises(ValueError, match=r"column|flags|reach|positions"):
        parse_row(line)
