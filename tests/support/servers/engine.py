"""The container engine: reaching it, and leaving nothing in it, however the tests end."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import os
import subprocess
import sys
import warnings
from pathlib import Path

import docker
import docker.errors

from tests.support.servers.images import is_present, pull
from tests.support.servers.source import NoServerError

# Sees the end of its stdin when the process that runs the tests is gone, by whatever signal, and then removes what the
# run has left.
_REAPER = """
import sys
sys.stdin.read()
import docker
client = docker.from_env()
mine = {"label": sys.argv[1]}
for container in client.containers.list(all=True, filters=mine):
    container.remove(force=True, v=True)
for network in client.networks.list(filters=mine):
    network.remove()
"""


class Engine:
    """A container engine that answers.

    Raises:
        NoServerError: none does.
    """

    def __init__(self) -> None:
        client = _answering_client()
        if isinstance(client, str):
            raise NoServerError(f"no container engine answers: {client}")
        self.client = client
        self.version: str = self.client.version()["Version"]
        self.steps: list[str] = []
        self._prepare_testcontainers()

    def _prepare_testcontainers(self) -> None:
        # testcontainers reads these when it is first imported. Its default poll is a second. Inside a container it
        # would take the bridge's address for the engine's host; tests use loopback only.
        os.environ.setdefault("TC_POOLING_INTERVAL", "0.05")
        if not os.environ.get("DOCKER_HOST", "").startswith(("tcp:", "ssh:", "http")):
            os.environ.setdefault("TESTCONTAINERS_CONNECTION_MODE", "docker_host")
            os.environ.setdefault("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.labels import LABEL_SESSION_ID, SESSION_ID

        if testcontainers_config.ryuk_disabled:
            why: str | None = "disabled"
        elif is_present(self.client, testcontainers_config.ryuk_image):
            why = None
        else:
            why = pull(self.client, testcontainers_config.ryuk_image, 30)
        if why is None:
            return
        testcontainers_config.ryuk_disabled = True
        self.steps.append(f"testcontainers' reaper image is not used ({why}): a process of ours does its work")
        _start_reaper(f"{LABEL_SESSION_ID}={SESSION_ID}")

    def close(self) -> None:
        """Let the engine go. What this process has left in it is removed when the process ends."""
        self.client.close()


@functools.cache  # once in a process: it removes whatever the process has started
def _start_reaper(label: str) -> None:
    reaper = subprocess.Popen(
        [sys.executable, "-c", _REAPER, label],
        stdin=subprocess.PIPE,
        start_new_session=True,
        cwd=Path(sys.prefix),
    )

    def end() -> None:
        assert reaper.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            reaper.stdin.close()
        reaper.wait(60)

    atexit.register(end)


def _answering_client() -> docker.DockerClient | str:
    """Return a client, or in a few words why there is none."""
    problem = ""
    try:
        client = docker.from_env(timeout=30)
        try:
            client.ping()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
            client.close()
            problem = _first_line(error)
        else:
            return client
    except docker.errors.DockerException as error:
        problem = _first_line(error)
    # docker-py forgets to close a socket that could not connect. Collected here, it is nobody's warning.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
    return problem


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]
