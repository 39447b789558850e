"""Connections of scans whose state is not certain, and scans in forked processes."""

from __future__ import annotations

import os
import select

import pytest
import redis

from tenantlimpyd._scan import scan_worker
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.router import DatabaseRouter
from tests.support.waiting import eventually, open_connections

pytestmark = pytest.mark.slow

PASSWORD = "s3cret-password"


@pytest.fixture
def user(flushed_server):
    with redis.Redis(**flushed_server.settings) as admin:
        admin.execute_command("ACL", "SETUSER", "walker", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        yield "walker"
        admin.acl_deluser("walker")


async def collected(router, call):
    """Scan; return the keys and the outcomes."""
    scan = call.form(router, "scan_keys")(on_error="collect")
    return await call.list(scan), scan.outcomes


@pytest.mark.invariant(8)
async def test_transaction_that_can_not_be_discarded_closes_the_connection(flushed_server, user, call):
    """The permission for DISCARD is revoked while MULTI is pre-opened on the connection."""
    settings = {**flushed_server.settings, "username": user, "password": PASSWORD}
    router = DatabaseRouter({f"t{db}": RedisDatabase(**settings, db=db) for db in (1, 2)})
    for _ in range(2):
        for tenant in router.tenants():
            database = router.database_for(tenant)
            await call.result(call.client(database).set("mine", tenant))
    server = router.database_for("t1").server
    pool = server.pools()[0] if not call.is_async else server.loop_pools().pool
    (connection,) = pool.idle
    assert connection.multi_open
    with redis.Redis(**flushed_server.settings) as admin:
        admin.execute_command("ACL", "SETUSER", user, "-discard")
    keys, outcomes = await collected(router, call)
    assert sorted(keys) == [("t1", "mine"), ("t2", "mine")]  # over another connection
    assert all(outcome.ok for outcome in outcomes.values())
    for tenant in router.tenants():
        database = router.database_for(tenant)
        got = await call.result(call.client(database).get("mine"))
        assert got == tenant
    await router.aclose()


@pytest.mark.invariant(8)
async def test_malformed_page_closes_the_connection(fleet, flushed_server, monkeypatch, call):
    """The database of the connection is not certain, since part of the request has changed it."""
    whole = scan_worker.ScanWorker._handle_page

    def turn(worker, source, page, *others):
        whole(worker, source, b"QUEUED" if source.db == 7 else page, *others)

    monkeypatch.setattr(scan_worker.ScanWorker, "_handle_page", turn)
    _, outcomes = await collected(fleet, call)
    assert not outcomes["t7"].ok
    monkeypatch.undo()
    for tenant in ("t7", *fleet.tenants()):
        database = fleet.database_for(tenant)
        keys = await call.list(call.form(database, "scan_keys")())
        assert sorted(keys) == [f"{tenant}:{number}" for number in range(3)]
    await fleet.aclose()


def in_child(function):
    """Run a function in a forked process; return what it returns, or why it has none."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, function().encode())
        except BaseException as error:  # noqa: BLE001 - told to the parent
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], 10)
        if not ready:
            os.kill(child, 9)
        return os.read(reading, 1000).decode() if ready else "it hangs"
    finally:
        os.close(reading)
        os.waitpid(child, 0)


def test_scan_can_not_be_used_in_a_forked_child(flushed_server, client_name):
    """The child has none of the threads, and the parent's sockets are not its own to shut down."""
    router = DatabaseRouter({"t": RedisDatabase(**flushed_server.settings, client_name=client_name)})
    router.database_for("t").connection.mset({f"k{number}": 1 for number in range(3000)})
    scan = router.scan_keys(count=10)
    found = {next(scan)[1]}
    assert "another process" in in_child(lambda: str(len(list(scan))))
    scan_of_child = in_child(lambda: str(scan.close()))
    assert scan_of_child == "None"
    found.update(key for _, key in scan)
    assert len(found) == 3000
    assert scan.outcomes["t"].ok
    router.close()
    eventually(lambda: not open_connections(flushed_server, client_name))
