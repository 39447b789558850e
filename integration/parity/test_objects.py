"""Creating, finding and deleting objects has the replies and keys of limpyd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integration.parity.recording import Side, Sides

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated hmset:DeprecationWarning")

Scenario = Callable[[Side], Any]


def creation(side: Side) -> None:
    m = side.m
    side(m.Person, name="Ann", email="a@x", age=30, city="Rome", badge="b1", note="hi")
    side(m.Person, name="Ann")
    side(m.Person, height=3)
    side(m.Person, 99)
    side(m.Person, 1, name="x")
    side(m.Employee, name="Bob")
    side(m.Employee, name="Cid", rank="senior", desk="4")
    side(m.Employee)
    side(m.Country, code="it", name="Italy", people=59)
    side(m.Country, pk="fr", name="France")
    side(m.Country, code="it", name="Again")
    side(m.Country, code="de", pk="at")
    side(m.Country, name="nowhere")
    side(m.Country, code=7)
    side(m.Ticket, title="first")
    side(m.Ticket, number=8, title="given")
    side(m.Ticket, pk=None, title="second")
    side(m.Text, body="Hello", tag=" T ")
    side(m.Nameless, word="w")
    side(m.Spaced, word="w")


def stored_by_its_first_write(side: Side) -> None:
    m = side.m
    person = m.Person()
    side(lambda: person.connected)
    side(person.name.set, "Ann")
    side(lambda: person.connected)
    side(person.pk.get)
    employee = m.Employee()
    side(employee.pk.get)
    side(employee.hmset, city="Rome")
    country = m.Country()
    side(country.pk.get)
    side(country.name.set, "x")
    side(country.pk.set, "it")
    side(country.pk.set, "it")
    side(country.name.set, "Italy")
    side(m.Country("it").pk.set, "fr")
    side(m.Country().pk.set, "it")
    side(m.Ticket().pk.set, 5)


def looking_up(side: Side) -> None:
    m = side.m
    m.Person(name="Ann", email="a@x", city="Rome")
    m.Person(name="Ann", email="b@x", city="Oslo")
    m.Country(code="it", name="Italy")
    for filters in (
        {"pk": 1},
        {"pk": "9"},
        {"email": "a@x"},
        {"email": "nobody"},
        {"name": "Ann"},
        {"name": "Ann", "city": "Oslo"},
        {"name": "Ann", "city": "Bonn"},
        {"name__eq": "Ann", "email": "b@x"},
        {"note": "not indexed"},
        {"height": 1},
        {},
    ):
        side(m.Person.get, **filters)
        side(lambda filters=filters: bool(m.Person.exists(**filters)))
    side(m.Person.get, 1)
    side(m.Person.get, "2")
    side(m.Person.get, 1, 2)
    side(m.Country.get, "it")
    side(m.Country.get, code="it")
    side(m.Country.get, name="Italy")
    side(m.Person.get_field("pk").exists, 1)
    side(m.Person.get_field("pk").collection)
    side(m.Person.get_field("pk").get)
    side(m.Person.get_field, "height")
    side(m.Person.has_field, "pk")
    side(m.Person.has_field, "height")
    side(m.Person.from_pks, [2, 9, 1])
    side(m.Person.from_pks, [2, 1], lazy=True)


def get_or_connect(side: Side) -> None:
    m = side.m
    for values in (
        {"email": "a@x"},
        {"email": "a@x"},
        {"name": "Ann", "city": "Rome"},
        {"name": "Ann", "city": "Rome"},
        {"pk": 1},
    ):
        side(m.Person.get_or_connect, **values)
    side(m.Country.get_or_connect, code="it")
    side(m.Country.get_or_connect, code="it")
    side(m.Person.get_or_connect)


def lazily(side: Side) -> None:
    m = side.m
    m.Person(name="Ann", city="Rome")
    person = m.Person.lazy_connect(1)
    side(lambda: person.connected)
    side(person.name.get)
    side(lambda: person.connected)
    side(person.name.set, "Bob")
    side(lambda: person.connected)
    other = m.Person.lazy_connect(1)
    side(other.connect)
    side(lambda: other.connected)
    nobody = m.Person.lazy_connect(77)
    side(nobody.name.get)
    side(nobody.hgetall)
    side(nobody.connect)
    side(m.Person.lazy_connect(77).note.set, "x")
    side(m.Person.lazy_connect(77).name.set, "x")


def collections(side: Side) -> None:
    m = side.m
    for number in range(12):
        m.Person(name=f"n{number % 2}", city=f"c{number % 3}", email=f"e{number}")
    everyone = m.Person.collection
    side(everyone)
    side(lambda: len(everyone()))
    for filters in (
        {"name": "n1"},
        {"name": "n1", "city": "c2"},
        {"name": "n1", "name__eq": "n1"},
        {"name": "n1", "name__eq": "n0"},
        {"name": "none"},
        {"pk": 3},
        {"pk": 3, "name": "n0"},
        {"pk": 3, "name": "n1"},
        {"pk": 99},
        {"email": "e4"},
        {"note": "x"},
        {"height": "x"},
        {"name__like": "x"},
    ):
        side(lambda filters=filters: everyone(**filters))
        side(lambda filters=filters: len(everyone(**filters)))
        side(lambda filters=filters: everyone(**filters).instances())
        side(lambda filters=filters: everyone(**filters).instances(lazy=True))
        side(m.Person.instances, **filters)
    for start in (None, 0, 2, 5, 20):
        for stop in (None, 0, 1, 4, 8, 30):
            side(lambda start=start, stop=stop: list(everyone()[start:stop]))
            side(lambda start=start, stop=stop: list(everyone(name="n1")[start:stop]))
            side(lambda start=start, stop=stop: list(everyone(name="n1", city="c0")[start:stop]))
    for index in (0, 3, 11, 12, -1, -12, -13):
        side(lambda index=index: everyone()[index])
        side(lambda index=index: everyone(name="n0", city="c0")[index])
    side(lambda: everyone()(name="n1")(city="c1"))
    side(lambda: everyone().instances().primary_keys())
    side(lambda: "3" in everyone(name="n0"))
    side(lambda: bool(list(everyone(name="none"))))


def transformed_indexes(side: Side) -> None:
    m = side.m
    m.Text(body="Hello", tag=" T ")
    m.Text(body="hello", tag="T")
    for filters in (
        {"body": "Hello"},
        {"body__eq": "hello"},
        {"body__lower": "hello"},
        {"body__lower__eq": "hello"},
        {"body__lower": "Hello"},
        {"body__initial": "H"},
        {"body__back": "olleh"},
        {"body__nothing": "x"},
        {"tag": "T"},
        {"tag": " T "},
        {"body__lower": "hello", "tag": "T", "body__initial__eq": "h"},
    ):
        side(lambda filters=filters: m.Text.collection(**filters))
    text = m.Text.get(1)
    side(text.body.append, "!")
    side(text.tag.hset, "other")
    side(m.Text.collection, body__back="!olleH")
    side(text.body.delete)
    side(text.delete)


def deletion(side: Side) -> None:
    m = side.m
    first = m.Person(name="Ann", email="a@x", age=3, city="Rome", badge="b", note="n")
    m.Person(name="Ann", email="b@x", city="Rome")
    handle = m.Person(1)
    side(lambda: first.delete() and None)
    side(m.Person.exists, pk=1)
    side(m.Person.get, 1)
    side(first.name.get)
    side(first.pk.exists)
    side(m.Person, email="a@x", badge="b")
    side(handle.pk.exists)
    side(handle.name.get)
    side(m.Person.lazy_connect(55).delete)
    side(lambda: m.Country(code="it").delete() and None)
    side(m.Country, code="it")
    for person in list(m.Person.collection().instances()):
        person.delete()


def names_of_keys(side: Side) -> None:
    m = side.m
    for number in range(3):
        m.Person(name="x", note="y", city="z", email=number)
    m.Employee(name="x")
    side(m.Person.scan_model_keys)
    side(m.Employee.scan_model_keys)
    side(side.database.scan_keys)
    side(side.database.scan_keys, "*:name:*")
    side(side.database.scan_keys, match="*:name*", count=2)
    person = m.Person(2)
    side(person.scan_keys)
    side(lambda: person.key)
    side(lambda: [person.get_instance_field(name).key for name in ("note", "name", "city")])
    side(lambda: [field.name for field in person.fields])
    side(lambda: [list(model._fields) for model in vars(m).values()])
    side(lambda: [model._name for model in vars(m).values()])
    side(lambda: person.get_field("pk").collection_key)
    side(m.Person.make_key, "a", 1)
    side(m.Person.sort_wildcard)
    side(lambda: m.Person.get_field("name").sort_wildcard)
    side(lambda: m.Person.get_field("city").sort_wildcard)


SCENARIOS: list[Scenario] = [
    creation,
    stored_by_its_first_write,
    looking_up,
    get_or_connect,
    lazily,
    collections,
    transformed_indexes,
    deletion,
    names_of_keys,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario_has_the_replies_and_keys_of_limpyd(sides: Sides, scenario: Scenario) -> None:
    sides.run(scenario)
    sides.compare()


def test_use_database_has_the_replies_and_keys_of_limpyd(sides: Sides) -> None:
    for side in sides:
        settings = {key: value for key, value in side.database.connection_settings.items() if key != "db"}
        elsewhere = side.library.connect(settings, 3 + side.database.connection_settings["db"])
        try:
            side.m.Person(name="before")
            moved = side.m.Person.use_database(elsewhere)
            side.journal.append(("moved", sorted(model.__name__ for model in moved)))
            side(side.m.Person, name="after")
            side(side.m.Employee, name="after")
            side(side.m.Country, code="stays")
            side.journal.append(("there", sorted(elsewhere.scan_keys())))
            side(side.m.Person.use_database, elsewhere)
        finally:
            elsewhere.connection.flushdb()
            side.library.disconnect(elsewhere)
    sides.compare()
