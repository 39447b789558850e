"""Proofs of the lines of ``differences.toml``, which run on both libraries."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import attrs

from integration.parity.keyspace import LEFTOVER
from integration.parity.recording import Side

__all__ = ["DIFFERENCES", "Difference"]


@attrs.frozen
class Difference:
    """One difference.

    Attributes:
        number: that of the line.
        about: what is different, in words.
        scenario: runs on either side, and returns plain data.
        limpyd, ours: what it returns there.
    """

    number: str
    about: str
    scenario: Callable[[Side], Any]
    limpyd: Any
    ours: Any


DIFFERENCES: list[Difference] = []


def difference(number: str, about: str, *, limpyd: Any, ours: Any) -> Callable[[Callable[[Side], Any]], None]:
    """Add a line to the table; the function below it is the proof."""

    def add(scenario: Callable[[Side], Any]) -> None:
        DIFFERENCES.append(Difference(number, about, scenario, limpyd, ours))

    return add


def outcome(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what a call returns, or the name of what it raises."""
    try:
        return call(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the name is what is compared
        return type(error).__name__


@difference("P1", "a given pk and a unique value together", limpyd="ValueError", ours="made")
def _(side: Side) -> Any:
    class Coded(side.library.model.RedisModel):
        database = side.database
        code = side.library.fields.PKField()
        badge = side.library.fields.StringField(unique=True)

    made = outcome(Coded, code="a", badge="b")
    return made if isinstance(made, str) else "made"


@difference("P2", "objects left in the collection by a creation that was refused", limpyd=["1", "2"], ours=["1"])
def _(side: Side) -> Any:
    side.m.Person(email="taken")
    assert outcome(side.m.Person, email="taken") == "UniquenessError"
    return sorted(side.m.Person.collection())


@difference("P3", "repr and == of an object that is not stored store it", limpyd=["1", "2"], ours=[])
def _(side: Side) -> Any:
    _ = repr(side.m.Ticket())
    fresh = side.m.Ticket()
    _ = fresh == fresh  # noqa: PLR0124 - what is asked is whether it stores
    return sorted(side.m.Ticket.collection())


@difference("P6", "the index after hincrby", limpyd=(["1"], []), ours=([], ["1"]))
def _(side: Side) -> Any:
    person = side.m.Person(city="5")
    person.city.hincrby(2)
    return list(side.m.Person.collection(city="5")), list(side.m.Person.collection(city="7"))


@difference("P6", "the index after hincrbyfloat", limpyd=["1"], ours=[])
def _(side: Side) -> Any:
    person = side.m.Person(city="5")
    person.city.hincrbyfloat(0.5)
    return list(side.m.Person.collection(city="5"))


@difference("P6", "the index after hsetnx", limpyd=[], ours=["1"])
def _(side: Side) -> Any:
    person = side.m.Person(name="x")
    person.city.hsetnx("Rome")
    return list(side.m.Person.collection(city="Rome"))


@difference("P11", "the order after a negative index", limpyd=("3", "1"), ours=("3", "3"))
def _(side: Side) -> Any:
    for _ in range(3):
        side.m.Person(name="x")
    people = side.m.Person.collection()
    return people[-1], people[-1]


@difference("P12", "a position in a collection filtered by pk", limpyd="1", ours="IndexError")
def _(side: Side) -> Any:
    side.m.Person(name="x")
    return outcome(lambda: side.m.Person.collection(pk=1)[1])


@difference("P14", "slices where a pk is no number", limpyd="ResponseError", ours=["a", "b"])
def _(side: Side) -> Any:
    side.m.Country(code="b")
    side.m.Country(code="a")
    return outcome(lambda: list(side.m.Country.collection()[0:5]))


@difference("P27", "whether connect() leads the database elsewhere", limpyd=False, ours=True)
def _(side: Side) -> Any:
    settings = dict(side.database.connection_settings)
    database = side.library.connect({key: value for key, value in settings.items() if key != "db"}, settings["db"])
    database.connect(**{**settings, "db": 9})
    moved = database.connection.connection_pool.connection_kwargs["db"] == 9
    side.library.disconnect(database)
    return moved


@difference("P29", "one client for two databases of different settings", limpyd=True, ours=False)
def _(side: Side) -> Any:
    settings = dict(side.database.connection_settings)
    connecting = side.library.database_class(**settings, socket_connect_timeout=9)
    answering = side.library.database_class(**settings, socket_timeout=9)
    same = connecting.connection is answering.connection
    for database in (connecting, answering):
        side.library.disconnect(database)
    return same


@difference(
    "P30", "a second class of one name from the same line", limpyd=("made", False), ours=("ImplementationError", None)
)
def _(side: Side) -> Any:
    def make(**fields: Any) -> Any:
        class Made(side.library.model.RedisModel):
            database = side.database
            locals().update(fields)

        return Made

    make(first=side.library.fields.StringField())
    second = outcome(make, second=side.library.fields.StringField())
    return (second, None) if isinstance(second, str) else ("made", second.has_field("second"))


@difference("P31", "a misspelt option of a field", limpyd="made", ours="TypeError")
def _(side: Side) -> Any:
    made = outcome(side.library.fields.StringField, indexeable=True)
    return made if isinstance(made, str) else "made"


@difference("P32", "what a lazy object is after a write that found nothing", limpyd=["1"], ours=[])
def _(side: Side) -> Any:
    nobody = side.m.Person.lazy_connect(999)
    assert outcome(nobody.name.set, "x") == "DoesNotExist"
    assert outcome(nobody.name.get) is None
    return sorted(side.m.Person.collection())


@difference(
    "P32",
    "the index after hmset of a lazy object that is not there",
    limpyd=["999"],
    ours=[],
)
def _(side: Side) -> Any:
    nobody = side.m.Person.lazy_connect(999)
    assert outcome(nobody.hmset, city="Rome") == "DoesNotExist"
    return sorted(side.m.Person.collection(city="Rome"))


@difference("P33", "a write to a deleted object", limpyd="AttributeError", ours="DoesNotExist")
def _(side: Side) -> Any:
    person = side.m.Person(name="x")
    person.delete()
    return outcome(person.note.set, "y")


@difference("P33", "an indexed write through another handle of a deleted object", limpyd="done", ours="DoesNotExist")
def _(side: Side) -> Any:
    person = side.m.Person(name="x")
    other = side.m.Person(1)
    person.delete()
    done = outcome(other.name.set, "ghost")
    return done if isinstance(done, str) else "done"


@difference("P33", "a plain write through another handle of a deleted object", limpyd=1, ours="DoesNotExist")
def _(side: Side) -> Any:
    person = side.m.Person(name="x")
    other = side.m.Person(1)
    person.delete()
    return outcome(other.age.hset, 3)


@difference("P34", "keys of an object whose pk holds glob characters", limpyd=2, ours=1)
def _(side: Side) -> Any:
    side.m.Country(code="a*", note="x")
    side.m.Country(code="ab", note="x")
    return len(list(side.m.Country("a*").scan_keys()))


@difference("P39", "hmset of a field that is not in the hash", limpyd={"age": "1", "note": "2"}, ours="ValueError")
def _(side: Side) -> Any:
    person = side.m.Person(name="x")
    done = outcome(person.hmset, age=1, note=2)
    return done if isinstance(done, str) else person.hgetall()


@difference("P39", "hmget of no field at all", limpyd="ResponseError", ours="ValueError")
def _(side: Side) -> Any:
    return outcome(side.m.Person(name="x").hmget)


@difference("P39", "hmget of a field that there is not", limpyd="ValueError", ours="AttributeError")
def _(side: Side) -> Any:
    return outcome(side.m.Person(name="x").hmget, "height")


@difference("P41", "a field declared again in a submodel", limpyd=["pk", "a", "a"], ours=["pk", "a"])
def _(side: Side) -> Any:
    class First(side.library.model.RedisModel):
        database = side.database
        a = side.library.fields.StringField()

    class Second(First):
        a = side.library.fields.StringField(indexable=True)

    return list(Second._fields)


@difference("P41", "the fields of a second base", limpyd=(True, False), ours=(True, True))
def _(side: Side) -> Any:
    class Left(side.library.model.RedisModel):
        database = side.database
        abstract = True
        a = side.library.fields.StringField()

    class Right(side.library.model.RedisModel):
        database = side.database
        abstract = True
        b = side.library.fields.StringField()

    class Both(Left, Right):
        pass

    return Both.has_field("a"), Both.has_field("b")


@difference("P44", "several positional arguments", limpyd="made", ours="ValueError")
def _(side: Side) -> Any:
    made = outcome(side.m.Person, 1, 2)
    return made if isinstance(made, str) else "made"


@difference("P45", "temporary keys left by counting what several filters find", limpyd=1, ours=0)
def _(side: Side) -> Any:
    side.m.Person(name="x", city="y")
    assert len(side.m.Person.collection(name="x", city="y")) == 1
    return sum(LEFTOVER in key for key in side.content)


@difference("P46", "a transform that raises TypeError", limpyd=["1"], ours="TypeError")
def _(side: Side) -> Any:
    def transform(_index: Any, value: str) -> str:
        raise TypeError("not this one")

    class Odd(side.library.model.RedisModel):
        database = side.database
        a = side.library.fields.StringField(
            indexable=True, indexes=[side.library.indexes.EqualIndex.configure(transform=transform)]
        )

    made = outcome(Odd, a="x")
    return made if isinstance(made, str) else list(Odd.collection(a="None"))


@difference("P51", "a pk that an index holds and the collection does not", limpyd=True, ours=False)
def _(side: Side) -> Any:
    side.raw.sadd("parity:person:name:ghost", "77")
    return bool(side.m.Person.exists(name="ghost"))


@difference("P52", "a pk and filters in get", limpyd="found", ours="ValueError")
def _(side: Side) -> Any:
    side.m.Person(name="x")
    found = outcome(side.m.Person.get, 1, name="another")
    return found if isinstance(found, str) else "found"


@difference("P53", "a list for the value of a string field", limpyd=("x", True), ours=("DataError", False))
def _(side: Side) -> Any:
    made = outcome(side.m.Person, note=["x", 10])
    return (made if isinstance(made, str) else made.note.get(), side.raw.ttl("parity:person:1:note") > 0)


@difference("P55", "moving the models of a diamond", limpyd="KeyError", ours=4)
def _(side: Side) -> Any:
    class Top(side.library.model.RedisModel):
        database = side.database

    class Left(Top):
        pass

    class Right(Top):
        pass

    class Bottom(Left, Right):
        pass

    settings = dict(side.database.connection_settings)
    elsewhere = side.library.connect({key: value for key, value in settings.items() if key != "db"}, 9)
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(side.library.disconnect, elsewhere)
        moved = outcome(Top.use_database, elsewhere)
    return moved if isinstance(moved, str) else len(moved)


@difference(
    "D1",
    "a unique value that a change in place makes one that is taken",
    limpyd=["UniquenessError", "x"],
    ours=["UniquenessError", None],
)
def _(side: Side) -> Any:
    side.m.Person(email="x")
    other = side.m.Person(note="a")
    return [outcome(other.email.append, "x"), other.email.get()]


@difference(
    "D2",
    "a change in place after which an indexed value is no UTF-8",
    limpyd=["UnicodeDecodeError", b"x\xa9"],
    ours=["UnicodeDecodeError", b"\xc3\xa9"],
)
def _(side: Side) -> Any:
    person = side.m.Person(name="é")
    return [outcome(person.name.setrange, 0, "x"), side.raw.get(person.name.key)]


@difference("D3", "the index entry after incrbyfloat gives a whole number", limpyd=([], ["1"]), ours=(["1"], []))
def _(side: Side) -> Any:
    person = side.m.Person(name="1.5")
    person.name.incrbyfloat(1.5)
    assert person.name.get() == "3"
    return list(side.m.Person.collection(name="3")), list(side.m.Person.collection(name="3.0"))


@difference("D4", "bytes as a pk", limpyd="b'raw'", ours="raw")
def _(side: Side) -> Any:
    return side.m.Country(code=b"raw").pk.get()


@difference("D5", "looking up an empty pk", limpyd="ImplementationError", ours="ValueError")
def _(side: Side) -> Any:
    return outcome(side.m.Country.exists, pk="")


# Relations


def _related(side: Side) -> Any:
    return importlib.import_module(f"{side.library.name}.contrib.related")


def _linked(side: Side, field_class: str, **options: Any) -> tuple[Any, Any]:
    """Return two models, of which the second links to the first."""
    related = _related(side)

    class Goal(related.RelatedModel):
        database = side.database
        namespace = "parity"

    class Fan(related.RelatedModel):
        database = side.database
        namespace = "parity"
        links = getattr(related, field_class)(Goal, **options)

    return Goal, Fan


@difference("P23", "moving a model without related fields where others have some", limpyd="KeyError", ours=1)
def _(side: Side) -> Any:
    goal, _ = _linked(side, "FKStringField")
    settings = dict(side.database.connection_settings)
    elsewhere = side.library.connect({key: value for key, value in settings.items() if key != "db"}, 9)
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(side.library.disconnect, elsewhere)
        moved = outcome(goal.use_database, elsewhere)
    return moved if isinstance(moved, str) else len(moved)


@difference("P24", "deleting what a list links to", limpyd=("TypeError", ["1"]), ours=(None, []))
def _(side: Side) -> Any:
    goal, fan = _linked(side, "M2MListField")
    linked = goal()
    linked.pk.get()
    made = fan(links=[linked])
    return outcome(linked.delete), made.links.lmembers()


@difference("P25", "deleting what an object that is gone links to", limpyd="DoesNotExist", ours=None)
def _(side: Side) -> Any:
    goal, _ = _linked(side, "FKStringField")
    linked = goal()
    side.raw.sadd(f"parity:fan:links:{linked.pk.get()}", "ghost")
    return outcome(linked.delete)


@difference("P26", "a submodel of a model with links", limpyd="ImplementationError", ours=["fan_set", "keen_set"])
def _(side: Side) -> Any:
    goal, fan = _linked(side, "FKStringField")
    keen = outcome(lambda: type(fan)("Keen", (fan,), {"database": side.database}))
    return keen if isinstance(keen, str) else goal().related_collections


@difference("D38", "following a link where the namespace has capitals", limpyd="KeyError", ours="1")
def _(side: Side) -> Any:
    related = _related(side)

    class Goal(related.RelatedModel):
        database = side.database
        namespace = "Parity"
        note = side.library.fields.StringField()

    class Fan(related.RelatedModel):
        database = side.database
        namespace = "Parity"
        links = related.FKStringField("Goal")

    followed = outcome(Fan(links=Goal(note="x")).links.instance)
    return followed if isinstance(followed, str) else followed.pk.get()


@difference(
    "D32", "a new object when the counter of pks was lost", limpyd=("made", "new"), ours=("UniquenessError", "old")
)
def _(side: Side) -> Any:
    side.m.Person(name="old")
    side.raw.delete(f"{side.m.Person._name}:max_pk")
    made = outcome(side.m.Person, name="new")
    return made if isinstance(made, str) else "made", side.m.Person("1").name.get()


@difference("D34", "an object of another model as a link", limpyd="1", ours="ImplementationError")
def _(side: Side) -> Any:
    _, fan = _linked(side, "FKStringField")
    made = outcome(lambda: fan(links=side.m.Person(name="x")))
    return made if isinstance(made, str) else made.links.get()


@difference("D36", "objects as values of hmset", limpyd="DataError", ours=True)
def _(side: Side) -> Any:
    goal, fan = _linked(side, "FKInstanceHashField")
    linked = goal()
    linked.pk.get()
    return outcome(fan(links="0").hmset, links=linked)


@difference("D36", "objects as values of a new object's sorted set", limpyd="TypeError", ours=["1"])
def _(side: Side) -> Any:
    goal, fan = _linked(side, "M2MSortedSetField")
    linked = goal()
    linked.pk.get()
    made = outcome(lambda: fan(links={linked: 1}))
    return made if isinstance(made, str) else made.links.zmembers()


@difference("D35", "a link to an object that is not stored", limpyd="DataError", ours="DoesNotExist")
def _(side: Side) -> Any:
    goal, fan = _linked(side, "FKStringField")
    return outcome(fan(links="0").links.set, goal())


@difference("D42", "an empty text in a text range index", limpyd=[], ours=["1"])
def _(side: Side) -> Any:
    class Word(side.library.model.RedisModel):
        database = side.database
        namespace = "parity"
        text = side.library.fields.StringField(indexable=True, indexes=[side.library.indexes.TextRangeIndex])

    Word(text="")
    return list(Word.collection(text__eq=""))


@difference("D43", "a sort by a text that is no field", limpyd=["1", "2"], ours="ImplementationError")
def _(side: Side) -> Any:
    class Word(side.library.model.RedisModel):
        database = side.database
        namespace = "parity"
        text = side.library.fields.StringField(indexable=True)

    for text in ("b", "a"):
        Word(text=text)
    return outcome(lambda: sorted(Word.collection().sort(by="txet")))


@difference("D44", "a whole number beyond floats in a number range index", limpyd=["1"], ours="ValueError")
def _(side: Side) -> Any:
    class Meter(side.library.model.RedisModel):
        database = side.database
        namespace = "parity"
        count = side.library.fields.StringField(indexable=True, indexes=[side.library.indexes.NumberRangeIndex])

    return outcome(lambda: (Meter(count=2**53 + 1), list(Meter.collection(count__lte=2**53)))[1])
