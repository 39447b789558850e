"""Objects as Python objects: equality, hash and repr send no command."""

from __future__ import annotations

import copy
import pickle

import pytest

from tenantlimpyd.database import RedisDatabase
from tenantlimpyd.testing import count_commands
from tests.support.models import keyspace, make_person


def test_python_operators_on_objects_send_no_command(person, raw):
    stored = person(name="Ann")
    unsaved, lazy, other = person(), person.lazy_connect(1), person(name="Ann")
    deleted = person(name="Bob")
    deleted.delete()
    before = keyspace(raw)
    with count_commands() as sent:
        for one in (stored, unsaved, lazy, other, deleted):
            assert repr(one).startswith("<Person ")
            assert str(one) == repr(one)
            assert one == one  # noqa: PLR0124
            assert one != "1"
            assert bool(one)
            repr(one.name), repr(one.pk), one.fields, one.connected, one.has_pk
            for two in (stored, unsaved, lazy, other, deleted):
                assert (one == two) is (one is two or {id(one), id(two)} == {id(stored), id(lazy)})
        hash(stored), hash(lazy)
        repr(person.collection(name="Ann"))
        repr(person.get_field("name"))
    assert sent.trips == 0
    assert keyspace(raw) == before


def test_equal_objects_have_equal_hashes_and_new_objects_have_none(person):
    stored = person(name="Ann")
    assert {stored, person(1), person.lazy_connect("1"), person.get(name="Ann")} == {stored}
    assert len({stored, person(name="Ann")}) == 2
    for unsaved in (person(), deleted(person)):
        with pytest.raises(TypeError, match="has no hash"):
            hash(unsaved)


def deleted(cls):
    made = cls(name="x")
    made.delete()
    return made


def test_equal_pks_of_two_models_or_databases_are_not_equal(person, database, flushed_server):
    with RedisDatabase(**flushed_server.settings, db=1) as second:

        class Worker(person):
            pass

        other = make_person(second)
        one, two, three = person(name="a"), Worker(name="a"), other(name="a")
        assert one._pk == two._pk == three._pk
        assert len({one, two, three}) == 3
        assert one != two != three != one


def test_objects_are_neither_copied_nor_pickled(person):
    p = person(name="Ann")
    for refused in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="can't be pickled"):
            refused(p)


def test_repr_escapes_control_characters_of_the_pk(database):
    from tenantlimpyd import fields, model

    hosted_by = database

    class Odd(model.RedisModel):
        database = hosted_by
        pk = fields.PKField()

    assert repr(Odd(pk="a\n\x1b[31m\u202e")) == r"<Odd 'a\n\x1b[31m\u202e'>"
