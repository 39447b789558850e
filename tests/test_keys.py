"""Names of keys, and small helpers."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantlimpyd import utils
from tenantlimpyd.keys import escape_glob, make_key


def test_make_key():
    assert make_key("ns", "person", 1, "name", "hash") == "ns:person:1:name:hash"
    assert make_key() == ""
    assert make_key("a:b", None) == "a:b:None"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text("ab*?[]\\^-é\n:", max_size=8),
    others=st.sets(st.text("ab*?[]\\^-é\n:", max_size=8), max_size=5),
)
def test_an_escaped_text_matches_itself_and_nothing_else(database, text, others):
    connection = database.connection
    connection.flushdb()
    connection.mset(dict.fromkeys({text, *others}, 1))
    assert connection.keys(escape_glob(text)) == [text]


def test_normalize():
    assert [utils.normalize(value) for value in (b"\xc3\xa9", "x", 5, 1.5, None)] == ["é", "x", "5", "1.5", "None"]
    with pytest.raises(UnicodeDecodeError):
        utils.normalize(b"\xff")


def test_not_provided_is_false_and_says_its_name():
    assert not utils.NotProvided
    assert repr(utils.NotProvided) == "NotProvided"


def test_unique_keys(database):
    names = {utils.unique_key(database.connection) for _ in range(5)}
    assert len(names) == 5
    assert utils.unique_key(database.connection, "tmp").startswith("tmp:")


def test_unique_keys_avoid_those_that_exist(database, monkeypatch):
    class Id:
        def __init__(self, text):
            self.hex = text

    ids = iter([Id("taken"), Id("free")])
    monkeypatch.setattr(utils.uuid, "uuid4", lambda: next(ids))
    database.connection.set("taken", 1)
    assert utils.unique_key(database.connection) == "free"
