"""Relations between models: fields that stand for objects of another model, and collections of those that link to one.

::

    class Person(RelatedModel):
        database = router
        name = PKField()


    class Book(RelatedModel):
        database = router
        author = FKStringField(Person, related_name="books")


    book = Book(author=person)
    book.author.instance()  # the person
    person.books()  # a collection of Book
"""

from __future__ import annotations

from tenantlimpyd.contrib.related.many import M2MListField, M2MSetField, M2MSortedSetField
from tenantlimpyd.contrib.related.metaclass import RelatedFieldMetaclass
from tenantlimpyd.contrib.related.mixins import (
    MultiValuesRelatedFieldMixin,
    RelatedFieldMixin,
    SimpleValueRelatedFieldMixin,
)
from tenantlimpyd.contrib.related.models import RelatedModel
from tenantlimpyd.contrib.related.naming import re_identifier
from tenantlimpyd.contrib.related.one import FKInstanceHashField, FKStringField
from tenantlimpyd.contrib.related.reverse import RelatedCollection

__all__ = [
    "FKInstanceHashField",
    "FKStringField",
    "M2MListField",
    "M2MSetField",
    "M2MSortedSetField",
    "MultiValuesRelatedFieldMixin",
    "RelatedCollection",
    "RelatedFieldMetaclass",
    "RelatedFieldMixin",
    "RelatedModel",
    "SimpleValueRelatedFieldMixin",
    "re_identifier",
]
