"""The pytest plugin: a server, a router with tenants, and a detector of tenants that were not left.

Every fixture can be overridden in a ``conftest.py``: ``tenantlimpyd_server`` by anything with ``settings`` (arguments
for ``RedisDatabase``), ``tenant_ids`` by other names, ``tenant_leak_detector`` by one that returns None, which
switches the detector off.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tenantlimpyd.testing.leaks import LeakDetector

if TYPE_CHECKING:
    from tenantlimpyd.embedded import EmbeddedServer
    from tenantlimpyd.router import DatabaseRouter

__all__ = ["pytest_runtest_call", "tenant_ids", "tenant_leak_detector", "tenant_router", "tenantlimpyd_server"]


@pytest.fixture(scope="session")
def tenantlimpyd_server() -> Iterator[EmbeddedServer]:
    """A server of this run's own, from the extra ``embedded``; it has ``settings``, ``url`` and ``unix_socket``."""
    from tenantlimpyd.embedded import EmbeddedServer

    with EmbeddedServer(databases=64) as server:
        yield server


@pytest.fixture
def tenant_ids() -> tuple[str, ...]:
    """The tenants of ``tenant_router``: override it to have others."""
    return ("acme", "globex", "initech")


@pytest.fixture
def tenant_router(tenantlimpyd_server: Any, tenant_ids: tuple[str, ...]) -> Iterator[DatabaseRouter]:
    """A new router whose tenants have an empty database each: number 1 of the server, 2, and so on.

    The databases are emptied, and the router is closed, when the test is over. A database that holds keys before the
    test is not touched: the fixture fails.
    """
    from tenantlimpyd.database import RedisDatabase
    from tenantlimpyd.router import DatabaseRouter

    databases = {
        tenant: RedisDatabase(**{**tenantlimpyd_server.settings, "db": number})
        for number, tenant in enumerate(tenant_ids, start=1)
    }
    for tenant, database in databases.items():
        if keys := database.connection.dbsize():
            pytest.fail(
                f"The database for tenant {tenant!r} ({database!r}) holds {keys} keys already, and tenant_router would "
                "remove them. Let tenantlimpyd_server be a server for tests only."
            )
    with DatabaseRouter(databases) as router:
        yield router
        # Over connections of its own: the test may have re-pointed, closed or removed the router's databases.
        for number, _ in enumerate(tenant_ids, start=1):
            with RedisDatabase(**{**tenantlimpyd_server.settings, "db": number}) as database:
                database.connection.flushdb()
    for database in databases.values():
        database.close()


@pytest.fixture(autouse=True)
def tenant_leak_detector(request: pytest.FixtureRequest) -> Iterator[LeakDetector]:
    """Fail a test that ends with another tenant entered than it began with; its fixtures, too."""
    detector = LeakDetector(f"{request.node.nodeid} with its fixtures")
    yield detector
    detector.check()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch the test itself, so that the leak is the test's failure and not an error of its teardown."""
    if not isinstance(getattr(item, "funcargs", {}).get("tenant_leak_detector"), LeakDetector):
        return (yield)
    if isinstance(item, pytest.Function):
        _watch_coroutine(item)
    detector = LeakDetector(item.nodeid)
    try:
        result = yield
    except BaseException:
        detector.put_back()  # the test has failed already, for a reason that says more
        raise
    detector.check()
    return result


def _watch_coroutine(item: pytest.Function) -> None:
    """Have a coroutine test checked inside its own task, whose context this thread never sees."""
    hypothesis = getattr(item.obj, "hypothesis", None)
    if hypothesis is not None and inspect.iscoroutinefunction(hypothesis.inner_test):
        hypothesis.inner_test = LeakDetector.watched(item.nodeid, hypothesis.inner_test)
    elif inspect.iscoroutinefunction(item.obj):
        item.obj = LeakDetector.watched(item.nodeid, item.obj)
