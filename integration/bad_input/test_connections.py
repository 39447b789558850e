"""Wrong passwords, users, certificates and values: a clear error, and no write."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from integration.bad_input.malformed_ids import everything_on
from tenantlimpyd import DatabaseRouter, RedisDatabase, fields, model
from tenantlimpyd.exceptions import FanOutError
from tests.support.servers import Authority, ServerHandle

Servers = Callable[..., list[ServerHandle]]

ONCE = {"retry": Retry(NoBackoff(), 0)}
WRONG = "wr0ng-s3cret"
RIGHT = "r1ght-s3cret"


def thing_on(host: Any) -> Any:
    class Thing(model.RedisModel):
        database = host
        name = fields.StringField(indexable=True)
        code = fields.StringField(unique=True)
        size = fields.InstanceHashField()

    return Thing


async def check_refused(settings: dict[str, Any], error: type[Exception], *secrets: str, patience: float = 3.0) -> None:
    """Raise unless everything on these settings ends with this error, soon, and tells no secret."""
    told: list[str] = []
    timeouts = {"socket_timeout": patience, "socket_connect_timeout": patience}
    with RedisDatabase(**settings, **ONCE, **timeouts) as database:
        thing = thing_on(database)
        for call in (
            database.connection.ping,
            lambda: database.connection.set("a", 1),
            lambda: thing(name="x", code="y"),
            lambda: list(database.scan_keys()),
            lambda: len(thing.collection(name="x")),
        ):
            started = time.monotonic()
            with pytest.raises(error) as raised:
                call()
            assert time.monotonic() - started < 4
            told.append(repr(raised.value))
        with pytest.raises(error) as raised:
            await thing.acreate(name="x", code="y")
        told.append(repr(raised.value))
        with pytest.raises(error) as raised:
            await database.aconnection.set("a", 1)
        told += [repr(raised.value), repr(database), repr(database.settings)]
        router = DatabaseRouter({"acme": database})
        outcomes = router.fan_out(lambda database: database.connection.set("a", 1), on_error="collect", timeout=4)
        assert isinstance(outcomes["acme"].error, error)
        with pytest.raises(FanOutError) as fan_out:
            await router.afan_out(lambda database: database.aconnection.set("a", 1), timeout=4)
        (problem,) = router.check(timeout=4)
        told += [repr(outcomes), repr(fan_out.value), str(problem)]
        assert "acme" in str(problem)
        await database.aclose()
    for text in told:
        assert text
        for secret in secrets:
            assert secret not in text


async def test_wrong_password_is_a_clear_error(servers: Servers) -> None:
    (server,) = servers(1, password=RIGHT)
    await check_refused({**server.settings, "password": WRONG}, redis.AuthenticationError, WRONG, RIGHT)
    with server.client() as client:
        assert client.keys() == []


async def test_missing_password_is_a_clear_error(servers: Servers) -> None:
    (server,) = servers(1, password=RIGHT)
    settings = {key: value for key, value in server.settings.items() if key != "password"}
    await check_refused(settings, redis.AuthenticationError, RIGHT)
    with server.client() as client:
        assert client.keys() == []


async def test_wrong_password_in_a_url_is_a_clear_error(servers: Servers) -> None:
    (server,) = servers(1, password=RIGHT)
    url = f"redis://:{WRONG}@127.0.0.1:{server.port}/3"
    await check_refused({"url": url}, redis.AuthenticationError, WRONG, RIGHT)


@pytest.mark.parametrize("user", ["app", "nobody"])
async def test_wrong_user_is_a_clear_error(servers: Servers, user: str) -> None:
    (server,) = servers(1, acl=[f"user app on >{RIGHT} ~* +@all"])
    settings = {**server.settings, "username": user, "password": WRONG}
    await check_refused(settings, redis.AuthenticationError, WRONG, RIGHT)
    assert everything_on(server) == {}


def test_user_without_permission_for_keys_writes_nothing(servers: Servers) -> None:
    (server,) = servers(1, acl=[f"user app on >{RIGHT} ~app:* +@all -@dangerous"])
    login = {"username": "app", "password": RIGHT}
    with RedisDatabase(**server.settings, **login) as database:
        thing = thing_on(database)
        for call in (
            lambda: thing(name="x", code="y"),
            lambda: thing.get_or_connect(code="y"),
            lambda: database.connection.set("b", 1),
            lambda: thing.lazy_connect(1).size.hset(3),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError) as raised:
                call()
            assert RIGHT not in str(raised.value)
        assert everything_on(server) == {}
    with RedisDatabase(**server.settings, **login, key_prefix="app:") as database:  # what it may, it can
        made = thing_on(database)(name="x", code="y", size=3)
        assert made.name.get() == "x"
        assert list(database.scan_keys())
    assert all(key.startswith(b"app:") for key in everything_on(server)[0])


def test_read_only_user_writes_nothing(servers: Servers) -> None:
    (server,) = servers(1, acl=[f"user reader on >{RIGHT} ~* +@read +@connection"])
    with RedisDatabase(**server.settings) as database:
        thing_on(database)(name="x", code="y", size=3)
    before = everything_on(server)
    with RedisDatabase(**server.settings, username="reader", password=RIGHT) as database:
        thing = thing_on(database)
        found = thing.get(1)
        assert found.name.get() == "x"
        for call in (
            lambda: thing(name="x", code="z"),
            lambda: found.name.set("z"),
            lambda: found.size.hset(4),
            lambda: found.hmset(size=4),
            found.delete,
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                call()
        assert found.name.get() == "x"
    assert everything_on(server) == before


@pytest.mark.parametrize(
    "value", [None, True, ["x"], {"x": 1}, object(), 1j, ("x", "y")], ids=lambda value: type(value).__name__
)
async def test_values_of_wrong_types_are_refused(database: RedisDatabase, server: ServerHandle, value: Any) -> None:
    thing = thing_on(database)
    made = thing(name="x", code="y", size=3)
    before = everything_on(server)
    for call in (
        lambda: made.name.set(value),
        lambda: made.code.set(value),
        lambda: made.size.hset(value),
        lambda: made.hmset(size=value),
        lambda: made.name.append(value),
        lambda: made.name.getset(value),
    ):
        with pytest.raises((redis.DataError, TypeError)):
            call()
    with pytest.raises((redis.DataError, TypeError)):
        await made.name.aset(value)
    assert everything_on(server) == before
    with pytest.raises((redis.DataError, TypeError)):
        thing(name=value, code="other")
    assert list(thing.collection()) == ["1"]
    await database.aclose()


async def test_keys_of_wrong_types_are_refused(database: RedisDatabase, server: ServerHandle) -> None:
    thing = thing_on(database)
    made = thing(name="x", code="y", size=3)
    raw = database.connection
    calls: dict[str, Callable[[], Any]] = {
        ":thing:1:name": lambda: made.name.set("z"),
        ":thing:name:z": lambda: made.name.set("z"),
        ":thing:code:z": lambda: made.code.set("z"),
        ":thing:1:hash": lambda: made.size.hset(1),
    }
    for key, call in calls.items():
        kept = raw.dump(key)
        raw.delete(key)
        raw.rpush(key, "a list")
        before = everything_on(server)
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            call()
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            thing(name="z", code="z") if "1" not in key else call()
        counter = b":thing:max_pk"
        after = everything_on(server)
        assert {**after[0], counter: b""} == {**before[0], counter: b""}
        raw.delete(key)
        if kept is not None:
            raw.restore(key, 0, kept)
    assert (made.name.get(), made.code.get(), made.size.hget()) == ("x", "y", "3")
    await database.aclose()


async def test_wrong_certificates_are_refused(
    server: ServerHandle, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    good = server.settings_through(server.proxy(authority.server_context()))
    with RedisDatabase(**good, **authority.client_settings, **ONCE) as database:
        assert database.connection.ping()
    other_name = server.settings_through(server.proxy(authority.server_context("elsewhere.invalid")))
    for settings in (
        {**good, **stranger.client_settings},  # signed by nobody we trust
        {**good, "ssl": True},  # nor by one of the system's
        {**other_name, **authority.client_settings},  # another's
        good,  # TLS, spoken to in clear
        {**server.settings, **authority.client_settings},  # clear, spoken to in TLS
    ):
        await check_refused(settings, redis.RedisError, patience=0.4)
    assert everything_on(server) == {}


def test_certificate_errors_name_the_reason(server: ServerHandle, authority: Authority) -> None:
    other_name = server.settings_through(server.proxy(authority.server_context("elsewhere.invalid")))
    with (
        RedisDatabase(**other_name, **authority.client_settings, **ONCE) as database,
        pytest.raises(redis.ConnectionError, match=r"[Cc]ertificate"),
    ):
        database.connection.ping()
