"""The pytest plugin: a server, a router with tenants, and a detector of tenants that a test did not leave.

Every fixture can be overridden in a ``conftest.py``: ``tenantlimpyd_server`` with any object that has ``settings``
(arguments of ``RedisDatabase``), ``tenant_ids`` with other names, and ``tenant_leak_detector`` with a fixture that returns
None, which switches the detector off.
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
    """Start a server for the session, from the extra ``embedded``, with ``settings``, ``url`` and ``unix_socket``."""
    from tenantlimpyd.embedded import EmbeddedServer

    with EmbeddedServer(databases=64) as server:
        yield server


@pytest.fixture
def tenant_ids() -> tuple[str, ...]:
    """Return the ids of the tenants of ``tenant_router``. Override this fixture for others."""
    return ("acme", "globex", "initech")


@pytest.fixture
def tenant_router(tenantlimpyd_server: Any, tenant_ids: tuple[str, ...]) -> Iterator[DatabaseRouter]:
    """Make a router whose tenants have one empty database each: the server's databases 1, 2 and so on.

    After the test the databases are emptied and the router is closed. The fixture fails if a database holds keys before the
    test, and leaves them.
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
                "remove them. Override tenantlimpyd_server with a server that is for tests only."
            )
    with DatabaseRouter(databases) as router:
        yield router
        # On new connections, because the test may have re-pointed, closed or removed the router's databases.
        for number, _ in enumerate(tenant_ids, start=1):
            with RedisDatabase(**{**tenantlimpyd_server.settings, "db": number}) as database:
                database.connection.flushdb()
    for database in databases.values():
        database.close()


@pytest.fixture(autouse=True)
def tenant_leak_detector(request: pytest.FixtureRequest) -> Iterator[LeakDetector]:
    """Fail a test that ends, with its fixtures, with other tenants entered than it began with."""
    detector = LeakDetector(f"{request.node.nodeid} with its fixtures")
    yield detector
    detector.check()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Check the test function itself, so that a leak is a failure of the test and not an error of its teardown."""
    if not isinstance(getattr(item, "funcargs", {}).get("tenant_leak_detector"), LeakDetector):
        return (yield)
    if isinstance(item, pytest.Function):
        _check_coroutine(item)
    detector = LeakDetector(item.nodeid)
    try:
        result = yield
    except BaseException:
        detector.restore()  # the failure of the test itself is the better message
        raise
    detector.check()
    return result


def _check_coroutine(item: pytest.Function) -> None:
    """Check a coroutine test inside its own task, because its context is not visible to this thread."""
    hypothesis = getattr(item.obj, "hypothesis", None)
    if hypothesis is not None and inspect.iscoroutinefunction(hypothesis.inner_test):
        hypothesis.inner_test = LeakDetector.checked(item.nodeid, hypothesis.inner_test)
    elif inspect.iscoroutinefunction(item.obj):
        item.obj = LeakDetector.checked(item.nodeid, item.obj)
