"""Sorting: slices and items are those of the sorted list, and reading one does not change the next."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tenantlimpyd import fields, model
from tenantlimpyd.collection import NONE_SLICE
from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.exceptions import ImplementationError, ResponseError
from tenantlimpyd.testing import count_commands
from tests.support.models import define

pytestmark = pytest.mark.slow

AGES = [50, 20, 40, 10, 30, 60]
ORDERS = {
    "age": ["4", "2", "5", "3", "1", "6"],
    "-age": ["6", "1", "3", "5", "2", "4"],
    "name": ["6", "5", "4", "3", "2", "1"],
    "-pk": ["6", "5", "4", "3", "2", "1"],
    "pk": ["1", "2", "3", "4", "5", "6"],
}
bounds = st.none() | st.integers(-9, 9)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_player(host):
    player = define(
        host,
        "Player",
        age=fields.InstanceHashField(),
        name=fields.StringField(),
        team=fields.StringField(indexable=True),
        many=fields.SetField(),
    )
    for number, age in enumerate(AGES):
        player(age=age, name="fedcba"[number], team="t")
    return player


@pytest.fixture(scope="module")
def kept(server):
    with RedisDatabase(**server.settings, db=8) as database:
        database.connection.flushdb()
        yield make_player(database)


@pytest.fixture
def player(database):
    return make_player(database)


@quick
@given(
    st.sampled_from(sorted(ORDERS)),
    st.booleans(),
    st.builds(slice, bounds, bounds, st.none() | st.sampled_from([-2, -1, 1, 3])),
)
@example("age", False, slice(-1, 0, -1))
@example("age", True, slice(5, 0, -1))
@example("-age", False, slice(-5, -2))
@example("-age", False, slice(-50, -2, 2))
def test_slices_equal_slices_of_the_sorted_list(kept, by, filtered, wanted):
    if not kept.collection():  # other tests may have emptied the server
        kept.database.connection.flushdb()
        for number, age in enumerate(AGES):
            kept(age=age, name="fedcba"[number], team="t")
    found = kept.collection(**{"team": "t"} if filtered else {}).sort(by=by, alpha=by == "name")
    expected = ORDERS[by]
    assert list(found[wanted]) == expected[wanted]
    assert list(found) == expected
    assert list(found.instances()) == [kept(pk) for pk in expected]


@pytest.mark.pitfall(11)
async def test_negative_index_keeps_the_order(call, player):
    found = player.collection().sort(by="age")
    for _ in range(3):
        assert await call.item(found, -1) == "6"
        assert await call.slice(found, slice(-2, None)) == ["1", "6"]
        assert await call.item(found, 0) == "4"
    assert await call.list(found) == ORDERS["age"]


async def test_negative_index_takes_one_round_trip(call, player):
    found = player.collection(team="t").sort(by="age").instances()
    await call.item(found, -1)
    with count_commands() as sent:
        assert (await call.item(found, -1))._pk == "6"
    assert sent.trips == 1


@pytest.mark.pitfall(12)
async def test_collection_filtered_by_pk_can_be_sliced(call, player):
    found = player.collection(pk=1)
    for order in (found, found.sort(by="age"), found.instances().sort(by="-age").primary_keys()):
        assert await call.item(order, 0) == "1"
        assert await call.slice(order, slice(1, None)) == []
        for index in (1, -2):
            with pytest.raises(IndexError):
                await call.item(order, index)


@pytest.mark.pitfall(14)
async def test_pks_that_are_not_numbers_are_sorted_as_text(call, database):
    country = define(database, "Country", code=fields.PKField(), size=fields.StringField(indexable=True))
    for code in ("fr", "de", "10", "9"):
        await call.create(country, code=code, size=1)
    for found in (
        country.collection().sort(),
        country.collection(size=1).sort(by="code"),
        country.collection().sort("pk"),
    ):
        assert await call.list(found) == ["10", "9", "de", "fr"]
        assert await call.item(found, -1) == "fr"
    assert await call.list(country.collection().sort(by="-pk", alpha=True)) == ["fr", "de", "9", "10"]
    assert await call.list(country.collection().sort(desc=True)) == ["fr", "de", "9", "10"]
    assert (await call(country, "get", size=1, pk="de"))._pk == "de"
    assert await call(country, "exists", size=1, pk="de")


async def test_sort_by_text_needs_alpha_and_leaves_no_temporary_key(call, player, raw):
    before = set(raw.keys())
    for filters in ({}, {"team": "t"}, {"team__in": ["t", "u"]}):
        with pytest.raises(ResponseError, match="double"):
            await call.slice(player.instances(**filters).sort(by="name"), NONE_SLICE)
    assert set(raw.keys()) == before


async def test_last_sort_wins_and_the_original_collection_is_unchanged(call, player):
    base = player.collection().sort(by="age")
    other = base.sort(by="name", alpha=True, desc=True)
    assert await call.list(other) == ORDERS["pk"]
    assert await call.list(base) == ORDERS["age"]
    assert await call.list(base.sort()) == ORDERS["pk"]
    assert await call.list(base.sort(by="-age", desc=False)) == ORDERS["-age"]
    assert await call.list(base.sort(by="age", start=1, num=2)) == ["2", "5"]
    assert sorted(await call.list(base.sort(by="nosort"))) == ORDERS["pk"]
    assert len(await call.slice(base.sort(by="nosort"), slice(-4, None))) == 4
    assert await call.list(base.sort(by=f"{player._name}:*:hash->age")) == ORDERS["age"]
    assert await call.list(base.sort(by=player.get_field("age"))) == ORDERS["age"]
    assert await call.count(base.sort(by="name")) == 6  # a count sorts nothing


def test_wrong_sort_options_are_refused(player):
    for options, error in [
        ({"store": "x"}, TypeError),
        ({"get": "#"}, TypeError),
        ({"by": 5}, TypeError),
        ({"start": 1}, ValueError),
    ]:
        with pytest.raises(error):
            player.collection().sort(**options)


async def test_sort_by_keys_with_stars_in_the_prefix_and_custom_patterns(call, flushed_server, raw):
    with RedisDatabase(**flushed_server.settings, db=0, key_prefix="a*:") as starred:
        player = make_player(starred)
        with pytest.raises(ImplementationError, match=r"\*"):
            player.collection().sort(by="age")
        fetched = await call.list(player.collection(team="t").fetch("age"))
        assert {each._pk: each.fetched for each in fetched} == {
            str(number): {"age": str(age)} for number, age in enumerate(AGES, 1)
        }
        await starred.aclose()
    raw.flushdb()
    with RedisDatabase(**flushed_server.settings, db=0, key_prefix="p:") as prefixed:
        player = make_player(prefixed)
        raw.mset({f"w:{pk}": number for number, pk in enumerate("654321")})  # out of the prefix: not this tenant's
        raw.mset({f"p:w:{pk}": number for number, pk in enumerate("123456")})
        assert await call.list(player.collection().sort(by="w:*")) == ORDERS["pk"]
        assert await call.list(player.collection().sort(by="age")) == ORDERS["age"]
        await prefixed.aclose()


async def test_sort_get_returns_values_with_the_objects(call, player):
    found = player.collection(team="t").sort(by="age").fetch("age", "team")
    await call.list(found())
    with count_commands() as sent:
        objects = await call.list(found())
        assert [(each._pk, each.fetched["age"]) for each in objects] == [
            (pk, str(AGES[int(pk) - 1])) for pk in ORDERS["age"]
        ]
    assert sent.trips == 1
    with count_commands() as sent:
        await call(objects[0].team, "set", "u")  # the fetched value is known, so no command is sent
    assert sent.trips == 1
    assert await call.list(player.collection(team="u")) == ["4"]
    assert objects[0].fetched["team"] == "t"
    assert set((await call.item(player.instances().fetch(), 0)).fetched) == {"pk", "age", "name", "team"}
    for wrong in ("many", "nothing", 5):
        with pytest.raises(ValueError, match="fetch"):
            player.collection().fetch(wrong)


async def test_instances_leave_out_deleted_objects_unless_lazy(call, player, raw):
    raw.sadd(f"{player._name}:team:t", *range(1000, 3500))
    assert len(await call.list(player.instances(team="t"))) == 6  # pitfall 58
    assert len(await call.list(player.instances(team="t").fetch("age"))) == 6
    assert len(await call.list(player.instances(team="t", lazy=True).fetch("age"))) == 2506
    raw.sadd(f"{player._name}:team:ghost", 77)
    assert not await call(player, "exists", team="ghost")  # pitfall 51
    with pytest.raises(player.DoesNotExist):
        await call(player, "get", team="ghost")
    assert model.RedisModel.DoesNotExist is player.DoesNotExist
