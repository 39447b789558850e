"""The model of the test, for both libraries: a field for each kind of index, and links."""

from __future__ import annotations

from typing import Any

from integration.parity.libraries import Library

__all__ = ["BASE", "PKS", "UNIQUE", "VALUES", "make_account"]

BASE = "atomicity:account"
PKS = [f"pk{number}" for number in range(5)]
VALUES = ["a", "b", "c", "d", "e f", "é"]
"""Few, so that objects want the same ones all the time."""
UNIQUE = ("email", "badge", "handle")


def make_account(library: Library, hosted_by: Any) -> Any:
    """Return the model, bound to a database of that library."""
    fields, indexes, related = library.fields, library.indexes, library.related

    class Account(related.RelatedModel):
        database = hosted_by
        namespace = "atomicity"
        code = fields.PKField()
        email = fields.StringField(unique=True)
        badge = fields.InstanceHashField(unique=True)
        handle = fields.StringField(unique=True, indexes=[indexes.TextRangeIndex])
        city = fields.InstanceHashField(indexable=True)
        title = fields.StringField(indexable=True, indexes=[indexes.TextRangeIndex])
        age = fields.InstanceHashField(indexable=True, indexes=[indexes.NumberRangeIndex])
        note = fields.StringField()
        tags = fields.SetField(indexable=True)
        log = fields.ListField(indexable=True)
        marks = fields.SortedSetField(indexable=True)
        info = fields.HashField(indexable=True)
        boss = related.FKInstanceHashField("self", related_name="staff")
        buddy = related.FKStringField("self", related_name="buddies")
        friends = related.M2MSetField("self", related_name="fans")
        chain = related.M2MListField("self", related_name="links")
        rated = related.M2MSortedSetField("self", related_name="raters")

    return Account
