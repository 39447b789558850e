"""Tells what is in the shop."""

from limpyd.contrib.collection import SORTED_SCORE
from limpyd.exceptions import DoesNotExist

from bookshop.catalogue import Book, Calendar, Series
from bookshop.orders import Order
from bookshop.people import Author, Customer, Publisher
from bookshop.storage import database


def pks(collection):
    return sorted(collection, key=str)


def report():
    yield from authors()
    yield from books()
    yield from collections()
    yield from relations()
    yield from objects()


def authors():
    yield "authors", pks(Author.collection())
    yield "plain", pks(Author.collection(name__plain="emile zola"))
    yield "initial", pks(Author.collection(name__initial="e"))
    yield "after m", pks(Author.collection(name__text__gt="j"))
    yield "starting", pks(Author.collection(name__text__startswith="charlotte b"))
    yield "french", pks(Author.collection(languages="fr"))
    yield "french and english", pks(Author.collection(languages="fr").filter(languages="en"))
    yield "visible", pks(Author.visible())
    yield "names", list(Author.collection().sort(by="name", alpha=True).values_list("name", "born"))


def books():
    yield "cheap", pks(Book.collection(price__lt=8))
    yield "middle", pks(Book.collection(price__gte=8, price__lte=12.5))
    yield "exactly", pks(Book.collection(price=4.5))
    yield "released", pks(Book.between("1811-01-01", "1825-12-31"))
    yield "decade", pks(Book.collection(released__decade="1820"))
    yield "year", pks(Book.collection(released__year=1824))
    yield "month", pks(Book.collection(released__month=2))
    yield "genres", pks(Book.collection(genres__in=["satire", "letters"], price__gt=10))
    yield "keywords", pks(Book.collection(keywords="k2"))
    yield "on a shelf", pks(Book.collection(shelf="s1", room="r2"))
    yield "english", list(Book.collection(language="en"))
    yield "isbn", Book.get(isbn="2-3").label()
    yield "exists", [bool(Book.exists(isbn="2-3")), bool(Book.exists(isbn="9-9")), bool(Calendar.exists(year=1902))]
    yield (
        "slices",
        [
            list(Book.collection()[2:5]),
            list(Book.collection().sort(by="-price")[0:3]),
            Book.collection().sort(by="title", alpha=True)[4],
        ],
    )
    yield "sizes", [len(Book.collection()), len(Book.collection(genres="novel")), len(Calendar.collection())]


def collections():
    series = Series.get(name="Best of")
    by_score = series.volumes().sort(by_score=series.volumes)
    yield "volumes", list(by_score.values_list("title", SORTED_SCORE))
    yield "least", next(iter(by_score.instances())).label()
    yield "values", sorted(Calendar.collection().values("title", "price", "year", "sold"), key=lambda row: row["title"])
    yield "flat", sorted(Book.collection(genres="satire").values_list("isbn", flat=True))
    yield "intersected", pks(Book.collection(genres="novel").intersect(["1", "5", "9", "77"]))
    yield "with a key", pks(Book.collection(price__gt=5).intersect(series.volumes.key))
    yield "by a field", pks(Book.collection().filter(author=Book(3).author))
    stored = Book.collection(genres="gothic").sort(by="price").store(key="bookshop:stored", ttl=1000)
    yield "stored", [stored.stored_key, bool(stored.stored_key_exists()), list(stored), len(stored)]
    yield "from stored", list(Book.collection().from_stored("bookshop:stored").values_list("isbn", flat=True))
    database.connection.delete("bookshop:stored")


def relations():
    zola = Author.get(name="Émile Zola")
    yield "books", pks(zola.books())
    yield "cheap books", pks(zola.books(price__lt=12))
    yield "translations", pks(zola.translations())
    yield "influences", [pks(each.influences()) for each in Author.collection().sort().instances()]
    yield "influenced", [pks(each.influenced()) for each in Author.collection().sort().instances()]
    classics = Publisher("cl")
    yield "imprints", pks(classics.imprints())
    yield "items", [pks(classics.book_items()), pks(Publisher("sm").calendar_items())]
    yield "in london", pks(Publisher.collection(address__city="London"))
    yield "publishers", [calendar.publisher_name() for calendar in Calendar.collection().sort().instances()]
    yield "recommended", [pks(each.recommended()) for each in Customer.collection().sort().instances()]
    yield "orders", [pks(each.orders(status="open")) for each in Customer.collection().sort().instances()]
    yield "bought", [pks(each.books()) for each in Order.collection().sort(alpha=True).instances()]
    yield "placed", pks(Order.collection(placed__gte="1899-05-01 00:00:00", placed__hour=16))
    yield "who bought", pks(Order.collection(books=Book(3)))
    yield "fans", [each.label() for each in Series.get(name="Best of").fans().sort().instances()]
    yield "liked", pks(Customer(5).series_liked())
    yield (
        "authors of cheap books",
        sorted({book.author.instance(lazy=True)._pk for book in Book.collection(price__lt=8).instances()}),
    )


def objects():
    for book in Book.collection().sort()[0:20:3]:
        each = Book(book)
        yield (
            "book",
            [
                each.hmget("price", "sold", "author", "language"),
                each.excerpts.lmembers(),
                each.keywords.zrange(0, -1, withscores=True),
                sorted(each.genres.smembers()),
                each.translators.lrange(0, -1),
            ],
        )
    with database.pipeline(transaction=False) as pipe:
        for number in (1, 3, 4):
            Customer.lazy_connect(number).preferences.hgetall()
        yield "preferences", pipe.execute()
    try:
        Author(99)
    except DoesNotExist:
        yield "missing", "DoesNotExist"
    yield "keys", sorted(database.scan_keys("bookshop:publisher:*"))
    yield "of one", sorted(Customer(1).scan_keys())
    yield "of a model", len(set(Series.scan_model_keys()))
