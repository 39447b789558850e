"""The server handles of the tests: each does what it says, whatever the server runs in."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import redis.asyncio

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.embedded import EmbeddedServerError
from tests.support.servers import Authority, NoServerError, ServerHandle, ServerSource, choose
from tests.support.servers.containers import ContainerHandle, ContainerSource

ROOT = Path(__file__).parents[1]
Servers = Callable[..., list[ServerHandle]]


def test_server_has_the_reported_version_and_settings(server: ServerHandle, server_source: ServerSource) -> None:
    with server.client(decode_responses=True) as client:
        info = client.info("server")
        assert client.config_get("databases") == {"databases": str(server.databases)}
        assert client.dbsize() == 0
    said = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info['redis_version']}"
    assert server_source.version == said


def test_servers_are_independent(servers: Servers) -> None:
    handles = servers(3)
    for number, handle in enumerate(handles):
        with handle.client() as client:
            client.set("number", number)
    run_ids = set()
    for number, handle in enumerate(handles):
        with handle.client() as client:
            assert client.get("number") == str(number).encode()
            run_ids.add(client.info("server")["run_id"])
    assert len(run_ids) == 3


def test_paused_server_accepts_and_does_not_reply(server: ServerHandle) -> None:
    with server.client() as client:
        client.set("a", 1)
        server.pause()
        with server.client(socket_timeout=0.3) as late, pytest.raises(redis.TimeoutError):
            late.ping()
        server.resume()
        assert client.get("a") == b"1"


def test_killed_server_refuses_and_restarts_on_its_port(server: ServerHandle) -> None:
    port = server.port
    with server.client() as client:
        client.ping()
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert server.port == port
        assert client.ping()
        server.restart()
        assert client.ping()


def test_server_killed_while_paused_restarts(server: ServerHandle) -> None:
    server.pause()
    server.kill()
    server.start()
    with server.client() as client:
        assert client.ping()


@pytest.mark.parametrize("deed", ["pause", "kill"])
def test_disturbed_server_is_not_given_to_another_test(server_source: ServerSource, deed: str) -> None:
    first = server_source.take()
    getattr(first, deed)()
    server_source.give_back(first)
    second = server_source.take()
    try:
        assert second is first
        with second.client() as client:
            assert client.ping()
    finally:
        server_source.give_back(second)


def test_password_is_required(servers: Servers) -> None:
    (server,) = servers(1, password="open sesame")
    with server.client() as client:
        assert client.ping()
    with server.client(password=None) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
    assert "sesame" not in repr(server)


def test_acl_users_and_a_password_together(servers: Servers) -> None:
    (server,) = servers(1, password="pw", acl=["user app on >secret ~app:* +@all -@dangerous"])
    with server.client(username="app", password="secret") as client:
        client.set("app:1", 1)
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.set("other", 1)
    with server.client(password=None) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_appended_data_survives_a_kill(servers: Servers) -> None:
    (server,) = servers(1, options={"appendonly": True, "appendfsync": "always"})
    with server.client() as client:
        client.set("kept", "yes")
        server.kill()
        server.start()
        assert client.get("kept") == b"yes"


async def test_proxy_serves_tls(server: ServerHandle, authority: Authority) -> None:
    through = server.settings_through(server.proxy(authority.server_context())) | authority.client_settings
    with redis.Redis(**through) as client:
        assert client.set("a", "1")
    async with redis.asyncio.Redis(**through) as client:
        assert await client.get("a") == b"1"
    with RedisDatabase(**through) as database:
        assert database.connection.get("a") == "1"


def test_certificate_of_another_name_is_refused(server: ServerHandle, authority: Authority) -> None:
    proxy = server.proxy(authority.server_context("elsewhere.invalid"))
    client = redis.Redis(**server.settings_through(proxy), **authority.client_settings, retry=None)
    with client, pytest.raises(redis.ConnectionError, match=r"[Cc]ertificate"):
        client.ping()


async def test_sync_and_async_clients_work_together(server: ServerHandle) -> None:
    async with redis.asyncio.Redis(**server.settings) as client:
        await asyncio.gather(*(client.incr("n") for _ in range(50)))
        assert await client.get("n") == b"50"


def test_servers_of_a_group_reach_each_other_by_the_same_addresses(server_source: ServerSource) -> None:
    with server_source.together(3) as start:
        master = start(databases=20, options={"repl-diskless-sync-delay": 0})
        replica = start(options={"replicaof": (master.host, str(master.port))})
        sentinel = start(sentinel=True)
        with master.client() as client, replica.client() as copy, sentinel.client(decode_responses=True) as watcher:
            client.set("a", 1)
            _until(lambda: copy.get("a") == b"1")
            known = client.info("replication")["slave0"]
            assert (known["ip"], known["port"]) == (replica.host, replica.port)
            assert client.config_get("databases") == {"databases": "20"}
            watcher.sentinel_monitor("mymaster", master.host, master.port, 1)
            _until(lambda: watcher.sentinel_slaves("mymaster"))
            (known,) = watcher.sentinel_slaves("mymaster")
            assert (known["ip"], known["port"]) == (replica.host, replica.port)
            assert watcher.sentinel_get_master_addr_by_name("mymaster") == (master.host, master.port)
        # Each can be disturbed alone, and is found at the same place afterwards.
        master.pause()
        with master.client(socket_timeout=0.3) as client, pytest.raises(redis.TimeoutError):
            client.ping()
        with replica.client() as copy:
            assert copy.get("a") == b"1"
        master.resume()
        replica.kill()
        with replica.client() as copy, pytest.raises(redis.ConnectionError):
            copy.ping()
        with master.client() as client:
            assert client.get("a") == b"1"
            replica.start()
            with replica.client() as copy:
                _until(lambda: copy.info("replication")["master_link_status"] == "up")
                assert copy.get("a") == b"1"
    for each in (master, replica, sentinel):
        assert not _listens(each.port)


def test_server_of_a_group_that_does_not_start_says_why(server_source: ServerSource) -> None:
    with server_source.together(2) as start:
        first = start()
        with pytest.raises((EmbeddedServerError, RuntimeError)) as raised:
            start(options={"maxmemory": "a lot"})
        assert _listens(first.port)
    assert "maxmemory" in f"{raised.value} {getattr(raised.value, '__notes__', '')}"
    assert not _listens(first.port)


# What is chosen


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(NoServerError, match="auto, docker or embedded"):
        choose({"TENANTLIMPYD_TEST_BACKEND": "podmann"})


def test_remote_server_is_refused() -> None:
    with pytest.raises(NoServerError, match="ALLOW_REMOTE"):
        choose({"TENANTLIMPYD_TEST_REDIS_URL": "redis://redis.invalid:6379"})


def test_server_with_data_is_refused_and_an_empty_one_accepted(servers: Servers) -> None:
    (server,) = servers(1)
    with server.client() as client:
        client.set("precious", 1)
        with pytest.raises(NoServerError, match=r"db0.*ALLOW_FLUSH"):
            choose({"TENANTLIMPYD_TEST_REDIS_URL": server.url})
        client.delete("precious")
    choice = choose({"TENANTLIMPYD_TEST_REDIS_URL": server.url})
    (source,) = choice.sources
    handle = source.start()
    try:
        with handle.client(socket_timeout=0.3) as client:
            assert client.ping()
            handle.pause()
            with pytest.raises(redis.TimeoutError):
                client.ping()
            handle.resume()
            handle.kill()
            with pytest.raises(redis.ConnectionError):
                client.ping()
            handle.start()
            assert client.ping()
        with pytest.raises(NoServerError, match="several"):
            source.start()
        with pytest.raises(NoServerError, match="settings of its own"):
            source.start(password="x")
    finally:
        handle.end()
        choice.close()


def test_named_backend_does_not_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(NoServerError, match="no container engine answers"):
        choose({"TENANTLIMPYD_TEST_BACKEND": "docker"})


def test_auto_without_an_engine_uses_embedded_servers_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    choice = choose({})
    try:
        assert [source.label for source in choice.sources] == ["embedded"]
        assert "no container engine answers" in choice.steps[0]
    finally:
        choice.close()


def test_binary_that_does_not_run_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setenv("EMBEDDED_REDIS_SERVER", str(broken))
    with pytest.raises(NoServerError, match="does not run"):
        choose({"TENANTLIMPYD_TEST_BACKEND": "embedded"})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServerError, match=r"local:redis|no container engine answers"):
        choose({"TENANTLIMPYD_TEST_BACKEND": "docker", "TENANTLIMPYD_TEST_IMAGES": "local:redis"})
    with pytest.raises(NoServerError, match="local:redis or local:valkey"):
        choose({"TENANTLIMPYD_TEST_BACKEND": "embedded", "TENANTLIMPYD_TEST_IMAGES": "local:mysql"})


def test_pytest_without_any_server_exits_with_3_and_says_what_to_install() -> None:
    environment = {
        **os.environ,
        "DOCKER_HOST": "unix:///nowhere/docker.sock",
        "EMBEDDED_REDIS_SERVER": "/nowhere/redis",
    }
    for name in ("BACKEND", "IMAGES", "REDIS_URL"):
        environment.pop(f"TENANTLIMPYD_TEST_{name}", None)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "integration/test_servers.py", "-p", "no:cacheprovider"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "pip install 'tenantlimpyd[embedded]'" in ended.stderr
    assert "skipped" not in ended.stdout


def test_killed_test_run_leaves_no_server(server_source: ServerSource, tmp_path: Path) -> None:
    """A process with servers of this very source is killed: they end, with all that belongs to them."""
    script = """
        import os, sys, time
        from tests.support.servers import choose
        choice = choose(os.environ)
        source = next(s for s in choice.sources if s.label == sys.argv[1])
        handle = source.start()
        print(handle.port, flush=True)
        time.sleep(60)
    """
    if server_source.label == "given":
        return  # nothing was started, nothing can be left
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), server_source.label],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    try:
        port = int(child.stdout.readline())
        assert _listens(port)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        deadline = time.monotonic() + 20
        while _listens(port) or any(tmp_path.iterdir()):
            assert time.monotonic() < deadline, list(tmp_path.iterdir())
            time.sleep(0.05)
    finally:
        child.kill()
        child.wait(10)
        child.stdout.close()


def _until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _listens(port: int) -> bool:
    try:
        with redis.Redis(port=port, retry=None, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def test_containers_publish_on_loopback_only(server: ServerHandle, server_source: ServerSource) -> None:
    if not isinstance(server_source, ContainerSource):
        # An embedded server is bound to 127.0.0.1 by its configuration; a given one is not ours.
        assert server.host == "127.0.0.1"
        return
    assert isinstance(server, ContainerHandle)
    published = server.container.get_wrapped_container().ports["6379/tcp"]
    assert published == [{"HostIp": "127.0.0.1", "HostPort": str(server.port)}]
