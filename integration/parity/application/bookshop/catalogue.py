"""Books and how they are found."""

from limpyd.contrib.related import FKInstanceHashField, FKStringField, M2MListField, M2MSetField, M2MSortedSetField
from limpyd.exceptions import DoesNotExist
from limpyd.fields import InstanceHashField, ListField, SetField, SortedSetField, StringField

from bookshop import searching
from bookshop.people import Author
from bookshop.storage import Base


class Item(Base):
    abstract = True

    title = StringField(indexable=True, indexes=[searching.TitleIndex, searching.SortableIndex])
    price = InstanceHashField(indexable=True, indexes=[searching.PriceIndex])
    sold = InstanceHashField(default=0)
    publisher = FKStringField("Publisher", related_name="%(model)s_items")

    def publisher_name(self):
        try:
            return self.publisher.instance().name.get()
        except DoesNotExist:
            return None


class Book(Item):
    isbn = StringField(unique=True)
    released = InstanceHashField(indexable=True, indexes=[searching.ReleaseIndex, searching.DecadeIndex])
    author = FKInstanceHashField(Author, related_name="books")
    translators = M2MListField("Author", related_name="translations")
    genres = SetField(indexable=True)
    shelf = InstanceHashField(indexable=True, indexes=[searching.together("room")])
    room = InstanceHashField()
    excerpts = ListField()
    keywords = SortedSetField(indexable=True)
    language = InstanceHashField(indexable=True, indexes=[searching.by_popularity("popularity")])
    popularity = InstanceHashField()

    @classmethod
    def between(cls, first, last):
        return cls.collection(released__gte=first, released__lte=last)


class Calendar(Item):
    year = InstanceHashField(indexable=True)


class Series(Base):
    name = StringField(indexable=True)
    volumes = M2MSortedSetField(Book, related_name="series")
    fans = M2MSetField("bookshop:Customer", related_name="series_liked")
