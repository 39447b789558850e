"""A day at the shop."""

from limpyd.exceptions import DoesNotExist, UniquenessError

from bookshop.catalogue import Book, Calendar, Series
from bookshop.orders import Order, close, place, recount
from bookshop.people import Author, Customer, Publisher


def change():
    yield from prices()
    yield from people()
    yield from links()
    yield from departures()
    yield from indexes()


def prices():
    for book in Book.collection(genres="novel").sort().instances():
        book.price.hset(float(book.price.hget()) + 1)
        book.genres.srem("novel")
        book.genres.sadd("story", "tale")
    book = Book.get(isbn="1-1")
    yield "title", [book.title.getset("Über alles"), book.title.append("!"), book.title.get()]
    yield "hmset", [bool(book.hmset(price=3, shelf="s9", state="withdrawn")), sorted(book.hgetall().items())]
    book.released.hset("1901-02-03")
    yield "lists", [book.excerpts.rpush("more"), book.excerpts.lpop(), book.excerpts.lset(0, "first") is not None]
    yield "scores", [book.keywords.zadd({"new": 2.5}), book.keywords.zincrby(1, "new"), book.keywords.zrem("k1")]
    yield "visible", [len(Book.visible()), len(Book.collection(state="withdrawn"))]


def people():
    customer = Customer.get(email="c2@example.org")
    yield "renamed", customer.rename("Somebody")
    try:
        customer.email.set("c1@example.org")
    except UniquenessError:
        yield "email", customer.email.get()
    customer.email.set("new@example.org")
    found, created = Customer.get_or_connect(email="c2@example.org", name="Again")
    yield "again", [found._pk, created, Customer.get_or_connect(email="c2@example.org", name="Again")[1]]
    yield "preferences", [customer.preferences.hincrby("n", 5), customer.preferences.hdel("mode")]
    yield "spent", recount(customer)
    publisher = Publisher("sm")
    publisher.address.hmset(city="Lyon", country="fr")
    yield "in lyon", [list(Publisher.collection(address__city=city)) for city in ("Lyon", "Paris")]


def links():
    first, second = Author(1), Author(2)
    book = Book.get(isbn="0-0")
    book.author.hset(second)
    book.translators.linsert("before", book.translators.lindex(0), first)
    book.translators.lrem(0, book.translators.lindex(1))
    book.publisher.set(Book.get(isbn="1-0").publisher)
    yield "translators", book.translators.lmembers()
    yield "books", [sorted(first.books()), sorted(second.books())]
    series = Series.get(name="Best of")
    series.volumes.zadd({book._pk: 1.5, "12": 2})
    series.volumes.zrem(Book(6))
    series.fans.srem(Customer(2))
    yield (
        "volumes",
        [series.volumes.zrange(0, -1), series.volumes.zscore(book), bool(series.fans.sismember(Customer(5)))],
    )
    yield "bought", place("o99", Customer(5), [book, Book(20)], "1900-01-01 10:00:00").total.get()
    yield "closed", [close("o1"), close("o1"), close("o99")]
    calendar = Calendar.get(year=1902)
    yield (
        "set once",
        [bool(calendar.publisher.setnx("cl")), bool(calendar.publisher.setnx("sm")), calendar.publisher.get()],
    )
    calendar.publisher.delete()
    yield "without", calendar.publisher_name()


def departures():
    closing = Publisher("no")
    for book in Book.collection(genres="satire").instances():
        book.publisher.set(closing)
    Publisher("sm").owner.set(closing)
    yield "closing", [len(closing.book_items()), sorted(closing.imprints())]
    closing.delete()
    yield (
        "closed down",
        [sorted(Publisher.collection()), Publisher("sm").owner.get(), Book.get(isbn="1-2").publisher.get()],
    )
    customer = Customer(2)
    customer.delete()
    yield (
        "no customer",
        [Order("o1").customer.get(), Customer(3).recommended_by.get(), Customer(5).recommended_by.get()],
    )
    author = Author(5)  # lists link to nobody that goes
    for book in list(author.translations().instances()):
        book.translators.lrem(0, author)
    author.delete()
    yield "no author", [Book.get(isbn="4-0").author.hget(), sorted(Author(2).influences.smembers())]
    Order("o3").delete()
    other = Series(name="Worst of", volumes={"1": 1, "2": 1}, fans=["1"])
    yield "two series", sorted(Book(1).series())
    other.delete()
    yield "one series", [sorted(Book(1).series()), len(Order.collection())]
    gone = Customer.lazy_connect(2)
    try:
        gone.name.hset("x")
    except DoesNotExist:
        yield "gone", "DoesNotExist"


def indexes():
    title = Calendar.get_field("title")
    title.clear_indexes()
    yield "cleared", sorted(Calendar.collection(title="Gardens"))
    title.rebuild_indexes()
    yield "built", [sorted(Calendar.collection(**{name: "gardens"})) for name in ("title__plain", "title__text__lte")]
