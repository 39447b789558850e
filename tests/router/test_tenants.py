"""Tenant ids, and adding, removing and looking up tenants."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import (
    ConfigurationError,
    InvalidTenantError,
    SharedKeyspaceError,
    UnknownTenantError,
)
from tenantlimpyd.router import DatabaseRouter

GRAMMAR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}", re.ASCII)


class AskedError(Exception):
    """Raised by a resolver, to show that it was called."""


def asked(tenant):
    raise AskedError(tenant)


HOSTILE = [
    "",
    " ",
    "acme ",
    "acme\n",
    "acme\r\nFLUSHALL",
    "acme\0",
    "\x1b[2J",
    "*",
    "ac?e",
    "[a]cme",
    "{acme}",
    ".acme",
    "-acme",
    "_acme",
    "a/b",
    "../acme",
    "a:b",
    "аcme",  # noqa: RUF001 - a Cyrillic look-alike
    "ａcme",  # noqa: RUF001 - full width
    "acme\u200b",
    "é",
    "\u0661",
    "\ud800",
    "a" * 129,
    "a" * 10_000_000,
    "\n" * 10_000_000,
    b"acme",
    None,
    0,
    10**5000,
    1.5,
    True,
    ["acme"],
    {"acme": 1},
    object(),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
async def test_malformed_tenant_id_is_refused_before_any_lookup(number):
    tenant = HOSTILE[number]
    router = DatabaseRouter(resolver=asked)
    started = time.monotonic()
    for use in (
        router.use_tenant,
        router.database_for,
        router.remove,
        router._check_id,
        router._request_scope if tenant is not None else router._check_id,
        lambda tenant: router.add(tenant, RedisDatabase()),
        lambda tenant: router.scan_keys(tenants=[tenant]),
        lambda tenant: router.fan_out(asked, tenants=[tenant]),
    ):
        with pytest.raises(InvalidTenantError) as caught:
            use(tenant)
        assert len(str(caught.value)) < 400
        assert str(caught.value).isascii()
        assert str(caught.value).isprintable()
        assert len(str(caught.value.tenant)) < 200
    with pytest.raises(InvalidTenantError):
        await router.adatabase_for(tenant)
    assert tenant not in router
    assert len(router) == 0
    assert time.monotonic() - started < 2


@given(
    st.one_of(st.text(max_size=200), st.text("aZ0._-", max_size=140), st.binary(max_size=20), st.integers(), st.none())
)
def test_only_ids_of_the_grammar_are_accepted(tenant):
    router = DatabaseRouter(resolver=asked)
    if isinstance(tenant, str) and GRAMMAR.fullmatch(tenant):
        assert router._check_id(tenant) == tenant
        with pytest.raises(AskedError):
            router.database_for(tenant)
    else:
        with pytest.raises(InvalidTenantError):
            router.database_for(tenant)


def test_custom_grammar_is_used():
    router = DatabaseRouter(grammar=r"[0-9]{3}")
    router.add("123", RedisDatabase())
    for wrong in ("acme", "1234", "123\n", ""):
        with pytest.raises(InvalidTenantError, match=r"\[0-9\]\{3\}"):
            router.database_for(wrong)
    assert DatabaseRouter(grammar=re.compile("[a-z]+", re.IGNORECASE))._check_id("ABC") == "ABC"


@pytest.mark.parametrize("grammar", ["[", 5, None, b"[a-z]+", re.compile(b"x")], ids=repr)
def test_invalid_grammar_is_refused(grammar):
    with pytest.raises(ConfigurationError, match="grammar"):
        DatabaseRouter(grammar=grammar)


@pytest.mark.parametrize("tenants", [["acme"], "acme", 5, [("acme", None)]], ids=repr)
def test_tenants_are_a_mapping(tenants):
    with pytest.raises(ConfigurationError, match="mapping"):
        DatabaseRouter(tenants)


def test_add_remove_and_ask(paper):
    assert paper.tenants() == ("a", "b", "c")
    assert len(paper) == 3
    assert "a" in paper
    assert "z" not in paper
    assert ["a"] not in paper
    database = RedisDatabase(host="192.0.2.1", db=9)
    paper.add("z", database)
    paper.add("z", database)  # the same again: nothing happens
    assert paper.database_for("z") is database
    assert paper.tenants() == ("a", "b", "c", "z")
    assert paper.remove("z") is database
    assert "z" not in paper
    for use in (paper.database_for, paper.remove):
        with pytest.raises(UnknownTenantError, match="'z'") as caught:
            use("z")
        assert caught.value.tenant == "z"
    paper.add("y", database)
    assert paper.database_for("y") is database
    assert repr(paper) == "<DatabaseRouter of 4 tenants>"


async def test_adatabase_for_returns_the_database_or_raises(paper):
    assert await paper.adatabase_for("b") is paper.database_for("b")
    with pytest.raises(UnknownTenantError):
        await paper.adatabase_for("z")


def test_tenant_is_never_replaced_silently(paper):
    before = paper.database_for("a")
    with pytest.raises(ConfigurationError, match="has a tenant 'a' already"):
        paper.add("a", RedisDatabase(host="192.0.2.1", db=9))
    assert paper.database_for("a") is before


@pytest.mark.parametrize("value", [None, "redis://h", {"host": "h"}, 5], ids=repr)
def test_tenant_needs_a_database(paper, value):
    with pytest.raises(ConfigurationError, match="needs a RedisDatabase"):
        paper.add("z", value)
    with pytest.raises(ConfigurationError, match="needs a RedisDatabase"):
        DatabaseRouter({"z": value})
    with pytest.raises(ConfigurationError):
        paper.add("z", paper)
    assert "z" not in paper


def test_router_is_not_iterable_and_always_true():
    router = DatabaseRouter()
    assert bool(router) is True
    with pytest.raises(TypeError, match="not iterable"):
        iter(router)


def test_removing_a_tenant_closes_its_idle_connections(router, flushed_server):
    database = router.database_for("acme")
    database.connection.ping()
    pool = database.connection.connection_pool
    router.remove("acme")
    assert not any(connection._sock for connection in pool._available_connections)
    assert database.connection.ping()


async def test_leaving_the_router_closes_all_databases(call, router):
    async with call.enter(router) as entered:
        assert entered is router
        pools = []
        for tenant in router.tenants():
            client = call.client(router.database_for(tenant))
            await call.result(client.ping())
            pools.append(client.connection_pool)
    connections = [connection for pool in pools for connection in pool._available_connections]
    assert not any(each.is_connected if call.is_async else each._sock for each in connections)


# Invariant 6: no two tenants on one keyspace


def place(server="h", db=0, prefix=""):
    settings = {"unix_socket_path": server} if server.startswith("/") else {"host": server}
    return RedisDatabase(**settings, db=db, key_prefix=prefix)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (place(), place(), True),
        (place(db=1), place(db=2), False),
        (place("h"), place("g"), False),
        (place("localhost"), place("127.0.0.1"), True),
        (place("H"), place("h."), True),
        (place("/run/x"), place("/run/./x"), True),
        (place("/run/x"), place("/run/y"), False),
        (place("/run/x"), place("h"), False),
        (place(prefix="a:"), place(prefix="b:"), False),
        (place(prefix="a:"), place(prefix="a:"), True),
        (place(prefix="a"), place(prefix="ab"), True),
        (place(prefix="ab"), place(prefix="a"), True),
        (place(prefix=""), place(prefix="a:"), True),
        (place(prefix="a:"), place(prefix=""), True),
        (place(prefix="a:", db=1), place(prefix="a:b", db=2), False),
        (place(prefix="é"), place(prefix="e"), False),
    ],
)
@pytest.mark.invariant(6)
def test_shared_keyspaces_are_refused(one, other, shared):
    router = DatabaseRouter({"one": one})
    if not shared:
        router.add("other", other)
        return
    with pytest.raises(SharedKeyspaceError, match="'other' and 'one' would share keys"):
        router.add("other", other)
    assert router.tenants() == ("one",)
    with pytest.raises(SharedKeyspaceError):
        DatabaseRouter({"one": one, "other": other})
    router.remove("one")
    router.add("other", other)


@pytest.mark.invariant(6)
def test_one_database_for_two_tenants():
    database = place()
    with pytest.raises(SharedKeyspaceError):
        DatabaseRouter({"one": database, "other": database})


@given(st.lists(st.text("ab", max_size=4), min_size=1, max_size=10))
@pytest.mark.invariant(6)
def test_overlapping_prefixes_are_refused_and_others_accepted(prefixes):
    router, accepted = DatabaseRouter(), []
    for number, prefix in enumerate(prefixes):
        overlaps = any(prefix.startswith(other) or other.startswith(prefix) for other in accepted)
        try:
            router.add(f"t{number}", place(prefix=prefix))
        except SharedKeyspaceError:
            assert overlaps
        else:
            assert not overlaps
            accepted.append(prefix)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=12))
@pytest.mark.invariant(6)
@pytest.mark.slow
def test_moved_databases_never_share_a_keyspace(moves):
    databases = [place(db=number, prefix=prefix) for number, prefix in enumerate(("a", "ab", "b", "", "abc"))]
    router = DatabaseRouter({f"t{number}": database for number, database in enumerate(databases)})
    for number, db in moves:
        mine = databases[number].key_prefix
        others = [each.key_prefix for each in databases if each is not databases[number] and each.keyspace.db == db]
        overlaps = any(mine.startswith(other) or other.startswith(mine) for other in others)
        try:
            databases[number].connect(host="h", db=db)
        except SharedKeyspaceError:
            assert overlaps
        else:
            assert not overlaps
            assert databases[number].keyspace.db == db
    assert len(router) == 5


@pytest.mark.invariant(9)
def test_errors_about_keyspaces_show_no_secret():
    one = RedisDatabase(host="h", username="hunter2", password="hunter2")
    with pytest.raises(SharedKeyspaceError) as caught:
        DatabaseRouter({"one": one, "other": RedisDatabase(host="h", password="hunter2x")})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(DatabaseRouter({"one": one}))
