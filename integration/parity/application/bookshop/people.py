"""Authors, publishers, customers."""

from limpyd.contrib.related import FKStringField, M2MSetField
from limpyd.fields import HashField, InstanceHashField, PKField, SetField, StringField

from bookshop.searching import SortableIndex, TitleIndex
from bookshop.storage import Base


class Author(Base):
    name = StringField(indexable=True, indexes=[TitleIndex, SortableIndex])
    born = InstanceHashField()
    languages = SetField(indexable=True)
    influences = M2MSetField("self", related_name="influenced")


class Publisher(Base):
    code = PKField()
    name = StringField(indexable=True)
    address = HashField(indexable=True)
    owner = FKStringField("self", related_name="imprints")


class Customer(Base):
    email = StringField(unique=True)
    name = InstanceHashField(indexable=True)
    preferences = HashField()
    recommended_by = FKStringField("Customer", related_name="recommended")

    def rename(self, name):
        self.name.hset(name)
        return self.label()
