"""The helper functions under limpyd's names."""

from __future__ import annotations

import pytest

from tenantlimpyd import utils


def test_normalize_returns_the_text_that_redis_py_sends():
    assert [utils.normalize(value) for value in (b"\xc3\xa9", "x", 5, 1.5, None)] == ["é", "x", "5", "1.5", "None"]
    with pytest.raises(UnicodeDecodeError):
        utils.normalize(b"\xff")


def test_not_provided_is_false_and_has_a_readable_repr():
    assert not utils.NotProvided
    assert repr(utils.NotProvided) == "NotProvided"


def test_unique_keys_differ_and_have_the_prefix(database):
    names = {utils.unique_key(database.connection) for _ in range(5)}
    assert len(names) == 5
    assert utils.unique_key(database.connection, "tmp").startswith("tmp:")


def test_unique_key_is_not_an_existing_key(database, monkeypatch):
    class Id:
        def __init__(self, text):
            self.hex = text

    ids = iter([Id("taken"), Id("free")])
    monkeypatch.setattr(utils.uuid, "uuid4", lambda: next(ids))
    database.connection.set("taken", 1)
    assert utils.unique_key(database.connection) == "free"
