"""One database for both libraries: each reads, changes, indexes and deletes what the other wrote."""

from __future__ import annotations

import random

import pytest

from integration.parity.keyspace import content_of
from integration.parity.recording import Side, Sides

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated hmset:DeprecationWarning")

PEOPLE = 40
FIELDS = ("note", "name", "email", "age", "city", "badge")
INDEXED = ("name", "email", "city", "badge")


@pytest.fixture(params=["limpyd first", "tenantlimpyd first"])
def writer_and_reader(request: pytest.FixtureRequest, shared: Sides) -> tuple[Side, Side]:
    return (shared.limpyd, shared.ours) if request.param == "limpyd first" else (shared.ours, shared.limpyd)


def fill(side: Side) -> dict[str, dict[str, str]]:
    """Store people, tickets, countries and texts; return the people's values by pk."""
    chooser = random.Random(7)
    values: dict[str, dict[str, str]] = {}
    for number in range(PEOPLE):
        given = {
            "note": f"note {number}",
            "name": chooser.choice(["Ann", "Bob", "Zoë 東京", "a:b", ""]),
            "email": f"{number}@example",
            "age": str(chooser.randrange(90)),
            "city": chooser.choice(["Rome", "Oslo", "*", "New York"]),
            "badge": f"badge:{number}",
        }
        kept = {name: value for name, value in given.items() if chooser.random() < 0.9}
        if kept:
            values[side.m.Person(**kept).pk.get()] = kept
    for number in range(5):
        side.m.Ticket(title=f"t{number % 2}")
        side.m.Country(code=f"c:{number}", name="Somewhere", people=number)
        side.m.Text(body=f"Body{number}", tag=" T ")
        side.m.Employee(name="Ann", email=f"e{number}")
        side.m.Nameless(word="w")
        side.m.Spaced(word="w")
    return values


def check(side: Side, values: dict[str, dict[str, str]]) -> None:
    """Raise unless this side finds exactly these people, by every value and by pk."""
    assert set(side.m.Person.collection()) == values.keys()
    for pk, kept in values.items():
        person = side.m.Person(pk)
        assert {name: person.get_instance_field(name).proxy_get() for name in FIELDS} == {
            name: kept.get(name) for name in FIELDS
        }
    for name in INDEXED:
        for value in {kept[name] for kept in values.values() if name in kept}:
            expected = {pk for pk, kept in values.items() if kept.get(name) == value}
            assert set(side.m.Person.collection(**{name: value})) == expected, (name, value)


def test_objects_stored_by_one_library_are_read_by_the_other(writer_and_reader: tuple[Side, Side]) -> None:
    writer, reader = writer_and_reader
    values = fill(writer)
    before = reader.content
    check(reader, values)
    assert sorted(reader.m.Text.collection(body__lower="body3")) == ["4"]
    assert sorted(reader.m.Text.collection(body__back="3ydoB")) == ["4"]
    assert sorted(reader.m.Ticket.collection(title="t1")) == ["2", "4"]
    assert reader.m.Country.get("c:3").people.hget() == "3"
    assert len(reader.m.Employee.collection(rank="junior")) == 5
    assert len(reader.m.Nameless.collection(word="w")) == len(reader.m.Spaced.collection(word="w")) == 5
    assert reader.content == before


def test_objects_stored_by_one_library_are_changed_by_the_other(writer_and_reader: tuple[Side, Side]) -> None:
    writer, reader = writer_and_reader
    values = fill(writer)
    chooser = random.Random(8)
    # A handle made before the other library writes knows old values: its next write must not trust them.
    handles = {pk: (writer.m.Person(pk), reader.m.Person(pk)) for pk in values}
    for number in range(300):
        pk = chooser.choice(list(values))
        name = chooser.choice(FIELDS)
        field = chooser.choice(handles[pk]).get_instance_field(name)
        if chooser.random() < 0.2:
            field.delete()
            values[pk].pop(name, None)
        else:
            value = f"new {number}" if name in ("email", "badge") else chooser.choice(["Ann", "Rome", "x", "y"])
            field.proxy_set(value)
            values[pk][name] = value
    check(reader, values)
    check(writer, values)


def test_unique_values_stored_by_one_library_are_refused_by_the_other(writer_and_reader: tuple[Side, Side]) -> None:
    writer, reader = writer_and_reader
    values = fill(writer)
    taken = next(kept["email"] for kept in values.values() if "email" in kept)
    before = reader.content
    newcomer = reader.m.Person(name="new")
    with pytest.raises(reader.library.model.UniquenessError):
        newcomer.email.set(taken)
    with pytest.raises(reader.library.model.UniquenessError):
        newcomer.hmset(badge=next(kept["badge"] for kept in values.values() if "badge" in kept))
    with pytest.raises(reader.library.model.UniquenessError):
        reader.m.Country(code="c:1", name="again")
    newcomer.delete()
    counter = b"parity:person:max_pk"
    assert {**reader.content, counter: None} == {**before, counter: None}
    assert reader.m.Person(name="next").pk.get() == str(PEOPLE + 2)


def test_objects_stored_by_one_library_are_deleted_by_the_other(writer_and_reader: tuple[Side, Side]) -> None:
    writer, reader = writer_and_reader
    fill(writer)
    for model in vars(reader.m).values():
        for thing in list(model.collection().instances()):
            thing.delete()
    left = content_of(reader.raw)
    assert all(key.endswith(b":max_pk") for key in left), left
    assert len(writer.m.Person.collection()) == 0
    assert writer.m.Person(name="next").pk.get() == str(PEOPLE + 1)
