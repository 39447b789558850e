"""The same work by limpyd, rom and walrus, beside the same work by hand."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import attrs
import redis

from benchmarks.cases import Case
from benchmarks.pairs import Block
from benchmarks.setting import FOUND, NAMES, VALUE, Setting

__all__ = ["LIBRARIES", "versions"]

WORKS = (
    "create, 3 fields, 2 indexed",
    "set of an indexed field",
    "get(pk), then 3 fields",
    f"3 fields of {FOUND} found objects, instances",
)
"""The works that all of them are compared in."""
REPEAT = {WORKS[0]: 4, WORKS[1]: 4, WORKS[2]: 10, WORKS[3]: 1}


@attrs.frozen
class Blocks:
    """What one library does for each of the works, in their order."""

    create: Block
    change: Block
    get: Block
    find: Block


@attrs.frozen
class Library:
    """A library.

    Attributes:
        distribution: the name it is installed by.
        setup: sets it up on a server, in a database of its own.
    """

    distribution: str
    setup: Callable[[dict[str, Any]], AbstractContextManager[Blocks]]

    def cases(self, setting: Setting, ours: Iterable[Case]) -> Iterator[Case]:
        """Yield its cases, beside what ours of the same name are compared with."""
        peers = {case.name: case for case in ours}
        settings = {name: setting.database.settings[name] for name in ("host", "port")}
        with self.setup(settings) as blocks:
            for work, block in zip(WORKS, attrs.astuple(blocks, recurse=False), strict=True):
                peer = peers[work]
                yield Case(work.removesuffix(", instances"), peer.peer, block, peer.theirs, repeat=REPEAT[work])


@contextmanager
def limpyd(settings: dict[str, Any]) -> Iterator[Blocks]:
    """Set limpyd up, in a database of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources
        from limpyd import fields, model
        from limpyd.database import RedisDatabase

    class Invoice(model.RedisModel):
        database = RedisDatabase(**settings, db=4)
        number = fields.StringField(indexable=True)
        customer = fields.StringField(indexable=True)
        note = fields.StringField()
        amount = fields.InstanceHashField()
        currency = fields.InstanceHashField()
        due = fields.InstanceHashField()

    invoice = Invoice(number="F-3", customer="Cleo", note=VALUE)
    pk = Invoice(amount="1", currency="EUR", due="2030").pk.get()
    for number in range(FOUND):
        Invoice(customer="Found", amount=str(number), currency="EUR", due="2030")

    yield Blocks(
        create=times(lambda: Invoice(number="F-2", customer="Ben", note=VALUE)),
        change=times(lambda: (invoice.customer.set("Dan"), invoice.customer.set("Cleo")), each=2),
        get=times(lambda: Invoice(pk).hmget(*NAMES)),
        find=times(lambda: [each.hmget(*NAMES) for each in Invoice.collection(customer="Found").instances()]),
    )
    Invoice.database.connection.close()


@contextmanager
def rom(settings: dict[str, Any]) -> Iterator[Blocks]:
    """Set rom up, in a database of its own. Its session is emptied each time: it would give objects from memory."""
    import rom

    client = redis.Redis(**settings, db=5)
    rom.util.set_connection_settings(**settings, db=5)

    class Invoice(rom.Model):
        number = rom.Text(index=True, keygen=rom.IDENTITY)
        customer = rom.Text(index=True, keygen=rom.IDENTITY)
        note = rom.Text()
        amount = rom.Text()
        currency = rom.Text()
        due = rom.Text()

    def change() -> None:
        for customer in ("Dan", "Cleo"):
            invoice.customer = customer
            invoice.save()

    def get() -> None:
        rom.session.rollback()
        read(Invoice.get(pk))

    def find() -> None:
        rom.session.rollback()
        count(read(each) for each in Invoice.query.filter(customer="Found").all())

    invoice = Invoice(number="F-3", customer="Cleo", note=VALUE)
    invoice.save()
    stored = Invoice(amount="1", currency="EUR", due="2030")
    stored.save()
    pk = stored.id
    for number in range(FOUND):
        Invoice(customer="Found", amount=str(number), currency="EUR", due="2030").save()

    yield Blocks(
        create=times(lambda: Invoice(number="F-2", customer="Ben", note=VALUE).save()),
        change=times(change, each=2),
        get=times(get),
        find=times(find),
    )
    rom.session.rollback()
    client.close()


@contextmanager
def walrus(settings: dict[str, Any]) -> Iterator[Blocks]:
    """Set walrus up, in a database of its own."""
    import walrus

    database = walrus.Database(**settings, db=6)

    class Invoice(walrus.Model):
        __database__ = database
        number = walrus.TextField(index=True)
        customer = walrus.TextField(index=True)
        note = walrus.TextField()
        amount = walrus.TextField()
        currency = walrus.TextField()
        due = walrus.TextField()

    def change() -> None:
        for customer in ("Dan", "Cleo"):
            invoice.customer = customer
            invoice.save()

    # A text of None can't be indexed here: those without one have an empty one.
    texts = {"number": "", "customer": "", "note": ""}
    invoice = Invoice.create(number="F-3", customer="Cleo", note=VALUE)
    pk = Invoice.create(**{**texts, "amount": "1", "currency": "EUR", "due": "2030"}).get_id()
    for number in range(FOUND):
        Invoice.create(**{**texts, "customer": "Found", "amount": str(number), "currency": "EUR", "due": "2030"})

    yield Blocks(
        create=times(lambda: Invoice.create(number="F-2", customer="Ben", note=VALUE)),
        change=times(change, each=2),
        get=times(lambda: read(Invoice.load(pk))),
        find=times(lambda: count(read(each) for each in Invoice.query(Invoice.customer == "Found"))),
    )
    database.close()


def times(work: Callable[[], Any], each: int = 1) -> Block:
    """Return the block of some work, which is done ``each`` times by one call."""

    def block(repeat: int) -> None:
        for _ in range(repeat // each):
            work()

    return block


def read(found: Any) -> list[Any]:
    """Read the fields of an object that has them as attributes."""
    values = [getattr(found, name) for name in NAMES]
    assert all(values), values
    return values


def count(found: Iterator[Any]) -> None:
    """Take all of them, and raise if there are too few or too many: that would be no figure."""
    number = sum(1 for _ in found)
    assert number == FOUND, number


LIBRARIES = {
    "limpyd": Library("redis-limpyd", limpyd),
    "rom": Library("rom", rom),
    "walrus": Library("walrus", walrus),
}


def versions() -> str:
    """Return the versions of the libraries.

    Raises:
        SystemExit: one of them is not installed.
    """
    try:
        found = [f"{name} {importlib.metadata.version(each.distribution)}" for name, each in LIBRARIES.items()]
    except importlib.metadata.PackageNotFoundError as error:
        raise SystemExit(
            f"{error.name} is not installed: run `make setup`, or name the parts to take without 'libraries'"
        ) from None
    return ", ".join(found)
