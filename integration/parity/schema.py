"""The models of the comparison, in either library."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from integration.parity.libraries import Library

__all__ = ["make_models"]


def make_models(library: Library, where: Any) -> SimpleNamespace:
    """Return the models of a library on a database. The database object must be new: limpyd keeps models by name."""
    model, fields, indexes = library.model, library.fields, library.indexes

    class Base(model.RedisModel):
        database = where
        namespace = "parity"
        abstract = True

        note = fields.StringField()

    class Person(Base):
        name = fields.StringField(indexable=True)
        email = fields.StringField(unique=True)
        age = fields.InstanceHashField()
        city = fields.InstanceHashField(indexable=True)
        badge = fields.InstanceHashField(unique=True)

    class Employee(Person):
        rank = fields.StringField(default="junior", indexable=True)
        desk = fields.InstanceHashField(default="none")

    class Country(Base):
        code = fields.PKField()
        name = fields.StringField(indexable=True)
        people = fields.InstanceHashField()

    class Ticket(Base):
        number = fields.AutoPKField()
        title = fields.StringField(indexable=True)

    class Text(Base):
        body = fields.StringField(
            indexable=True,
            indexes=[
                indexes.EqualIndex,
                indexes.EqualIndex.configure(prefix="lower", transform=lambda value: str(value).lower()),
                indexes.EqualIndex.configure(key="first", prefix="initial", transform=lambda value: str(value)[:1]),
                indexes.EqualIndex.configure(prefix="back", transform=lambda self, value: str(value)[::-1]),
            ],
        )
        tag = fields.InstanceHashField(
            indexable=True, indexes=[indexes.EqualIndex.configure(key="k", transform=lambda value: str(value).strip())]
        )

    class Bare(model.RedisModel):
        database = where
        abstract = True

        word = fields.StringField(indexable=True)

    class Nameless(Bare):
        """No namespace: its keys start with a colon."""

    class Spaced(Bare):
        namespace = "One:Two"

    return SimpleNamespace(
        Person=Person,
        Employee=Employee,
        Country=Country,
        Ticket=Ticket,
        Text=Text,
        Nameless=Nameless,
        Spaced=Spaced,
    )
