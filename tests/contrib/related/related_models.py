"""Models with relations of every kind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tenantlimpyd import fields
from tenantlimpyd.contrib.related import (
    FKInstanceHashField,
    FKStringField,
    M2MListField,
    M2MSetField,
    M2MSortedSetField,
    RelatedModel,
)

KINDS = ("writer", "editor", "readers", "queue", "raters")
"""The fields of ``Book`` that link to persons."""


def make_models(host: Any) -> SimpleNamespace:
    class Base(RelatedModel):
        database = host
        namespace = "lib"
        abstract = True

    class Person(Base):
        name = fields.PKField()
        city = fields.StringField(indexable=True)
        boss = FKStringField("self", related_name="reports")

    class Book(Base):
        title = fields.StringField(indexable=True)
        writer = FKStringField(Person, related_name="written")
        editor = FKInstanceHashField("Person", related_name="edited")
        readers = M2MSetField("Person", related_name="read")
        queue = M2MListField("lib:Person", related_name="queued")
        raters = M2MSortedSetField(Person, related_name="rated")

    return SimpleNamespace(Person=Person, Book=Book)


def round_trips(counted: Any) -> int:
    """Return how many round trips were counted, without those that only loaded a script."""
    return sum(sent != ("EVAL",) for sent in counted.sent)
