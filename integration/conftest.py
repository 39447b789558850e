"""Fixtures on real servers. What they run in is chosen by environment variables: ``integration/README.md``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tenantlimpyd.database import RedisDatabase
from tests.support.servers import Authority, Choice, NoServerError, ServerHandle, ServerSource, choose

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

CHOICE = pytest.StashKey[Choice]()


def pytest_configure(config: pytest.Config) -> None:
    if config.option.help or config.option.collectonly:
        return
    try:
        config.stash[CHOICE] = choose(os.environ)
    except NoServerError as error:
        pytest.exit(str(error), returncode=3)


def pytest_unconfigure(config: pytest.Config) -> None:
    if choice := config.stash.get(CHOICE, None):
        choice.close()


def _lines(config: pytest.Config) -> list[str]:
    choice = config.stash.get(CHOICE, Choice())
    return [
        *(f"server under test: {source}" for source in choice.sources),
        *(f"on the way: {step}" for step in choice.steps),
    ]


def pytest_report_header(config: pytest.Config) -> list[str]:
    return _lines(config)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    for line in _lines(config):
        terminalreporter.write_line(line)
    for source in config.stash.get(CHOICE, Choice()).sources:
        if source.started:
            terminalreporter.write_line(f"servers started: {source.started} of {source.label}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that uses a server once for each source."""
    if "server_source" in metafunc.fixturenames:
        sources = metafunc.config.stash.get(CHOICE, Choice()).sources
        metafunc.parametrize(
            "server_source", sources, ids=[source.label for source in sources], indirect=True, scope="session"
        )


@pytest.fixture(scope="session")
def server_source(request: pytest.FixtureRequest) -> ServerSource:
    """Where this run's servers come from: ``server_source.start(...)`` for one with settings of its own."""
    source: ServerSource = request.param
    return source


@pytest.fixture
def servers(server_source: ServerSource) -> Iterator[Callable[..., list[ServerHandle]]]:
    """``servers(n)``: n independent servers, empty. With settings (``password=``...) they are new ones.

    Whatever the test does to them is undone or ended after it.
    """
    pooled: list[ServerHandle] = []
    own: list[ServerHandle] = []

    def give(number: int, **settings: Any) -> list[ServerHandle]:
        given: list[ServerHandle] = []
        for _ in range(number):
            handle = server_source.start(**settings) if settings else server_source.take()
            (own if settings else pooled).append(handle)
            given.append(handle)
        return given

    yield give
    for handle in own:
        handle.end()
    errors: list[Exception] = []
    for handle in pooled:
        try:
            server_source.give_back(handle)
        except Exception as error:  # noqa: BLE001 - raised below, when the others are back
            errors.append(error)
    if errors:
        raise ExceptionGroup("servers that were not fit to be used again", errors)


@pytest.fixture
def server(servers: Callable[..., list[ServerHandle]]) -> ServerHandle:
    """One server, empty."""
    return servers(1)[0]


@pytest.fixture
def database(server: ServerHandle) -> Iterator[RedisDatabase]:
    """A RedisDatabase on that server, its database 0."""
    with RedisDatabase(**server.settings, db=0) as database:
        yield database


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority: ``server.proxy(authority.server_context())`` is that server behind TLS."""
    return Authority(tmp_path_factory.mktemp("authority"))
