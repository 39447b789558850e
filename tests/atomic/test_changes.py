"""Atomic changes with entries of deleted objects, concurrent tasks, missing permissions and wrong types."""

from __future__ import annotations

import asyncio

import pytest
import redis

from tenantlimpyd import fields, model
from tenantlimpyd.exceptions import ImplementationError


@pytest.fixture
def note(database):
    hosted_by = database

    class Note(model.RedisModel):
        database = hosted_by
        text = fields.StringField(indexable=True)
        mail = fields.InstanceHashField(unique=True)
        tag = fields.StringField()

    return Note


def test_unique_entry_of_a_deleted_object_does_not_refuse_its_value(note, database):
    database.connection.sadd(":note:mail:free", "999")  # as limpyd leaves it after a crash
    made = note(mail="free")
    assert database.connection.smembers(":note:mail:free") == {made.pk.get()}
    assert list(note.collection(mail="free")) == [made.pk.get()]


async def test_new_object_is_stored_by_one_task_at_a_time(note):
    new = note()
    results = await asyncio.gather(new.text.aset("x"), new.mail.ahset("y"), return_exceptions=True)
    assert [type(result) for result in results] == [bool, ImplementationError]
    assert len(note.collection()) == 1
    await new.mail.ahset("y")
    assert await new.ahgetall() == {"mail": "y"}
    await note.database.aclose()


def test_write_of_a_user_without_srem_changes_nothing(note, database, flushed_server):
    made = note(text="a")
    database.connection.execute_command("ACL", "SETUSER", "half", "on", ">half", "~*", "&*", "+@all", "-srem")
    before = {key: database.connection.type(key) for key in database.scan_keys()}
    database.connect(**{**database.connection_settings, "username": "half", "password": "half"})
    with pytest.raises(redis.ResponseError):
        made.text.set("b")
    database.connect(**flushed_server.settings)
    database.connection.execute_command("ACL", "DELUSER", "half")
    assert made.text.get() == "a"
    assert {key: database.connection.type(key) for key in database.scan_keys()} == before


@pytest.mark.parametrize("value", [None, True, [1], {"a": 1}, object()])
def test_values_of_other_types_are_refused_before_any_command(note, database, value):
    with pytest.raises(redis.DataError, match="'text' is a"):
        note(text=value)
    assert list(database.scan_keys()) == []
    made = note(text="a")
    for write in (made.text.set, made.text.getset, made.text.setnx, made.mail.hset, made.tag.set):
        with pytest.raises(redis.DataError, match="delete the field"):
            write(value)
    assert made.text.get() == "a"
