"""Log events: names, fields and levels, and the processor ``add_tenant``."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading

import pytest
import redis
import structlog
from structlog.testing import capture_logs

from tenantlimpyd._connections.breaker import BreakerPolicy, CircuitBreaker
from tenantlimpyd._connections.budget import Budget
from tenantlimpyd._connections.topology.sentinel import Master
from tenantlimpyd.context import carry_tenant
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import FanOutError
from tenantlimpyd.logs import EVENTS, add_tenant, emit
from tenantlimpyd.router import DatabaseRouter


@pytest.fixture(autouse=True)
def structlog_as_it_was():
    yield
    structlog.reset_defaults()


@pytest.fixture
def router(flushed_server):
    databases = {name: RedisDatabase(**flushed_server.settings, db=db) for db, name in enumerate(("acme", "globex"), 1)}
    with DatabaseRouter(databases) as router:
        router.database_for("acme").connection.set("a", 1)
        yield router


async def cause_events(router):
    """Trigger the events of databases, routers, scans and fan-outs."""
    spare = RedisDatabase(**{**router.database_for("acme").connection_settings, "db": 9})
    spare.connection.ping()
    await spare.aconnection.ping()
    spare.connect(**{**spare.connection_settings, "db": 10})
    router.add("spare", spare)
    with router.use_tenant("spare"):
        pass
    list(router.scan_keys(match="*"))
    _ = [key async for key in router.ascan_keys()]
    await router.afan_out(lambda database: database.aconnection.ping())
    with pytest.raises(FanOutError):
        router.fan_out(lambda database: 1 // (database.settings.db - 1))
    router.remove("spare")
    await router.aclose()
    await spare.aclose()
    await wait_for_a_permit(spare.connection_settings)


async def wait_for_a_permit(settings):
    """Wait for a permit twice: once until another caller releases it, and once until the timeout."""
    narrow = RedisDatabase(**settings, budget=Budget(per_server=1, timeout=0.2))
    server, pool = narrow.server, narrow.connection.connection_pool
    held = pool.get_connection()
    asking = asyncio.create_task(asyncio.to_thread(narrow.connection.ping))
    while not server.pool_stats().waiting:  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(0)
    pool.release(held)
    assert await asking
    held = pool.get_connection()
    with pytest.raises(redis.exceptions.MaxConnectionsError):
        narrow.connection.ping()
    pool.release(held)
    narrow.close()


def change_servers_and_tenants():
    now = [0.0]
    breaker = CircuitBreaker("redis-1:6379", BreakerPolicy(failures=1), lambda: now[0])
    breaker.record_failure(breaker, redis.ConnectionError("refused"), 0.0, None)
    now[0] = 1.0
    breaker.admit(breaker)
    breaker.record_success()
    master = Master([], "mymaster", "mymaster@s:26379", None, list)
    for port in (1, 2):
        master._set_address(("127.0.0.1", port))
    router = DatabaseRouter(resolver=lambda tenant: RedisDatabase(host="h", db=int(tenant)), resolver_cache=1)
    for tenant in ("1", "2"):
        router.database_for(tenant)
    router.replace("2", RedisDatabase(host="h", db=3))
    router.forget("2")


async def test_every_event_is_sent_with_exactly_its_fields(router):
    structlog.configure()
    with capture_logs() as events:
        await cause_events(router)
        change_servers_and_tenants()
        emit("request_refused", status=400, reason="no-tenant")  # as a middleware does
        emit(
            "scan_restarted", server="h:1", db=1, tenants=1, restarts=1, reason="run id"
        )  # tests/scan/test_scan_worker.py
        emit("scan_not_exact", remembered=1)  # tests/scan/test_dedup.py
    seen = {event["event"] for event in events}
    assert seen == set(EVENTS)
    for event in events:
        described = EVENTS[event["event"]]
        assert set(event) - {"event", "log_level"} == set(described.fields), event
        assert event["log_level"] == described.level_name


async def test_events_of_scans_and_fan_outs(router):
    structlog.configure()
    with capture_logs() as events:
        list(router.scan_keys(match="a*"))
        with router.scan_keys() as scan:
            next(scan)
        router.fan_out(lambda database: 1 // (database.settings.db - 1), on_error="collect")
    by_name = {}
    for event in events:
        by_name.setdefault(event.pop("event"), []).append(event)
    assert by_name["scan_started"][0] == {"tenants": 2, "match": "a*", "log_level": "info"}
    scanned = {event["tenant"]: event["keys"] for event in by_name["tenant_scanned"][:2]}
    assert scanned == {"acme": 1, "globex": 0}
    first, second = by_name["scan_finished"]
    assert (first["tenants"], first["failed"], first["keys"], first["complete"]) == (2, 0, 1, True)
    assert (second["keys"], second["complete"]) == (1, False)
    (failed,) = by_name["tenant_failed"]
    assert (failed["tenant"], failed["error"], failed["work"]) == ("acme", "ZeroDivisionError", "fan_out")
    (finished,) = by_name["fan_out_finished"]
    assert (finished["tenants"], finished["failed"]) == (2, 1)
    assert all(0 <= event["seconds"] < 30 for event in (first, second, failed, finished))


@pytest.mark.invariant(9)
async def test_no_secret_is_logged(flushed_server, caplog):
    caplog.set_level(logging.DEBUG, logger="tenantlimpyd")
    structlog.configure()
    with capture_logs() as events:
        secret = {"username": "hunter2user", "password": "hunter2"}
        router = DatabaseRouter({"t": RedisDatabase(**flushed_server.settings, **secret, key_prefix="p:")})
        router.database_for("t").connect(url=f"redis://hunter2user:hunter2@127.0.0.1:{flushed_server.port}/1")
        router.fan_out(lambda database: database.connection.ping(), on_error="collect", timeout=0.2)
    structlog.reset_defaults()
    router.fan_out(lambda database: database.connection.ping(), on_error="collect", timeout=0.2)
    assert events
    assert caplog.records
    assert "hunter2" not in str(events)
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "wrapper",
    [
        structlog.make_filtering_bound_logger(logging.DEBUG),
        structlog.stdlib.BoundLogger,
        structlog.BoundLogger,
    ],
    ids=["filtering", "stdlib", "generic"],
)
def test_events_go_to_every_kind_of_structlog_logger(wrapper):
    got = []

    def keep(_logger, method, event):
        got.append((method, dict(event)))
        raise structlog.DropEvent

    structlog.configure(wrapper_class=wrapper, processors=[keep])
    emit("tenant_removed", tenant="acme")
    emit("tenant_failed", tenant="acme", error="E", seconds=1, work="scan")
    assert [(method, event["event"], event["tenant"]) for method, event in got] == [
        ("debug", "tenant_removed", "acme"),
        ("warning", "tenant_failed", "acme"),
    ]


def test_application_can_filter_events_by_level():
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with capture_logs() as events:
        emit("tenant_entered", tenant="acme")
        emit("fan_out_finished", tenants=1, failed=0, seconds=0)
    assert [event["event"] for event in events] == ["fan_out_finished"]


def test_events_go_to_the_standard_library_without_structlog(caplog):
    with caplog.at_level(logging.DEBUG, logger="tenantlimpyd"):
        emit("tenant_added", tenant="acme", server="h:1", db=3)
    (record,) = caplog.records
    assert record.name == "tenantlimpyd"
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == "tenant_added tenant='acme' server='h:1' db=3"
    assert record.tenantlimpyd == {"tenant": "acme", "server": "h:1", "db": 3}


@pytest.mark.slow
def test_program_without_logging_configuration_prints_nothing():
    program = """
        import logging, structlog
        import tenantlimpyd
        from tenantlimpyd.logs import EVENTS, emit
        assert not structlog.is_configured()
        assert logging.getLogger().handlers == []
        assert logging.getLogger("tenantlimpyd").level == logging.NOTSET
        for name, event in EVENTS.items():
            emit(name, **dict.fromkeys(event.fields))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        check=True,
        timeout=50,
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


async def test_add_tenant_adds_the_tenant_to_events_of_the_application(router):
    got = []

    def keep(_logger, _method, event):
        got.append((event["event"], event.get("tenant", "absent")))
        raise structlog.DropEvent

    structlog.configure(
        processors=[add_tenant, keep], wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
    )
    log = structlog.get_logger()
    log.warning("outside")

    async def work(tenant):
        async with router.use_tenant(tenant):
            await asyncio.sleep(0)
            log.warning("task", wanted=tenant)
            await asyncio.to_thread(log.warning, "to_thread")
            thread = threading.Thread(target=carry_tenant(log.warning), args=("carried",))
            thread.start()
            thread.join(5)
            plain = threading.Thread(target=log.warning, args=("thread",))
            plain.start()
            plain.join(5)
            with router.use_no_tenant():
                log.warning("expressly none")
            log.warning("its own", tenant="other")

    await asyncio.gather(work("acme"), work("globex"))
    assert sorted(got) == sorted(
        [
            ("outside", "absent"),
            *[(event, tenant) for event in ("task", "to_thread", "carried") for tenant in ("acme", "globex")],
            *[(event, "absent") for event in ("thread", "expressly none")] * 2,
            *[("its own", "other")] * 2,
        ]
    )


def test_every_event_has_a_meaning_and_described_fields():
    for name, event in EVENTS.items():
        assert name.isidentifier()
        assert event.meaning
        assert all(event.fields.values())
        assert event.level_name in {"debug", "info", "warning"}
