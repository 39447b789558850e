"""Fills the shop."""

from limpyd.exceptions import ImplementationError, UniquenessError

from bookshop.catalogue import Book, Calendar, Series
from bookshop.orders import place
from bookshop.people import Author, Customer, Publisher
from bookshop.storage import Base, database

AUTHORS = [
    ("Mary Shelley", 1797, {"en"}),
    ("Émile Zola", 1840, {"fr"}),
    ("Jane Austen", 1775, {"en"}),
    ("Charlotte Brontë", 1816, {"en", "fr"}),
    ("Anton Chekhov", 1860, {"ru", "fr"}),
]
GENRES = ["novel", "gothic", "letters", "satire"]


def fill():
    authors = [Author(name=name, born=born, languages=languages) for name, born, languages in AUTHORS]
    authors[3].influences.sadd(authors[0], authors[2])
    authors[1].influences.sadd(authors[4]._pk)
    classics = Publisher(code="cl", name="Classics", address={"city": "London", "street": "Fleet Street"})
    small = Publisher(code="sm", name="Small", address={"city": "Paris"}, owner=classics)
    Publisher(code="no", name="Nothing yet", owner=classics, created_by="hand")
    books = [
        Book(
            title=f"{author.name.get().split()[-1]} {volume}",
            isbn=f"{number}-{volume}",
            price=round(4.5 + 3.25 * volume + number, 2),
            released=f"18{10 + 7 * number + volume:02}-0{volume + 1}-1{number}",
            author=author,
            publisher=classics if number % 2 else small,
            translators=[authors[(number + 1) % 5]]
            if volume
            else [authors[(number + 2) % 5], authors[(number + 3) % 5]],
            genres=GENRES[volume : volume + 2],
            shelf=f"s{number % 2}",
            room=f"r{volume}",
            excerpts=[f"It was {volume}", f"And then {number}"],
            keywords={f"k{number}": volume, "all": number},
            language=min(author.languages.smembers()),
            popularity=(number * 7 + volume * 3) % 11,
        )
        for number, author in enumerate(authors)
        for volume in range(4)
    ]
    Calendar(title="Gardens", price=12, year=1901, publisher=small)
    Calendar(title="Ships", price=9.5, year=1902)
    customers = []
    for number in range(6):
        recommended = {"recommended_by": customers[number // 2]} if number else {}
        customers.append(
            Customer(
                email=f"c{number}@example.org",
                name=f"C{number % 3}",
                preferences={"mode": "red", "n": number},
                **recommended,
            )
        )
    series = Series(name="Best of", fans=[customers[1], customers[4]._pk])
    for score, book in enumerate(reversed(books[::5])):
        series.volumes.zadd({book._pk: score})
    series.volumes.zincrby(10, books[0])
    for number in range(12):
        bought = books[number : number + 3 : 2]
        place(f"o{number}", customers[number % 4], bought, f"1899-0{number % 9 + 1}-11 1{number % 9}:30:0{number % 6}")
    yield "refused", refusals()
    yield "commands", Base.commands > 0
    with database.pipeline() as pipe:  # notes without index: many writes, one trip
        for book in books:
            book.created_by.hset(f"clerk {book._pk}")
        yield "clerks", pipe.execute()


def refusals():
    told = []
    for make in (
        lambda: Publisher(code="cl", name="Twice"),
        lambda: Book(mode="red"),
        lambda: Book.collection(price__startswith="1"),
        lambda: Author.collection(born=1840),
        lambda: Publisher(name="No code"),
    ):
        try:
            told.append(type(make()).__name__)
        except (UniquenessError, ImplementationError, ValueError) as error:
            told.append(type(error).__name__)
    return told
