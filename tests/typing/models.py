"""What users may write with models, blocking and awaiting."""

from typing import assert_type

from tenantlimpyd import DatabaseRouter, RedisDatabase, fields, model

router = DatabaseRouter()


class BaseModel(model.RedisModel):
    database = router
    abstract = True


class Invoice(BaseModel):
    number = fields.StringField(unique=True)
    customer = fields.InstanceHashField(indexable=True)


class Country(model.RedisModel):
    database = RedisDatabase(db=15)
    code = fields.PKField()
    name = fields.StringField()


class Event(model.RedisModel):
    database = router
    id = fields.AutoPKField()


def fields_are_read_and_written(invoice: Invoice) -> None:
    assert_type(invoice.number, fields.StringField)
    assert_type(invoice.number.get(), str | None)
    invoice.number.set("F-1")
    assert_type(invoice.number.getset("F-2"), str | None)
    assert_type(invoice.customer.hget(), str | None)
    invoice.customer.hset("Ann")
    invoice.number.get("F-1")  # type: ignore[call-arg]
    invoice.number.set()  # type: ignore[call-arg]
    invoice.number.hget()  # type: ignore[attr-defined]
    length: int = invoice.number.get()  # type: ignore[assignment]


async def fields_are_read_and_written_in_asyncio(invoice: Invoice) -> None:
    assert_type(await invoice.number.aget(), str | None)
    await invoice.number.aset("F-1")
    assert_type(await invoice.number.agetset("F-2"), str | None)
    assert_type(await invoice.customer.ahget(), str | None)
    await invoice.customer.ahset("Ann")
    await invoice.number.aget("F-1")  # type: ignore[call-arg]
    await invoice.number.aset()  # type: ignore[call-arg]
    await invoice.number.get()  # type: ignore[misc]


async def a_forgotten_await_is_found(invoice: Invoice) -> None:
    invoice.number.aset("F-1")  # type: ignore[unused-coroutine]
    invoice.customer.ahset("Ann")  # type: ignore[unused-coroutine]
    invoice.adelete()  # type: ignore[unused-coroutine]
    Invoice.acreate(number="F-1")  # type: ignore[unused-coroutine]
    number: str | None = invoice.number.aget()  # type: ignore[assignment]
    invoice.number.aget().upper()  # type: ignore[attr-defined]


def objects_are_of_their_model() -> None:
    invoice = Invoice(number="F-1", customer="Ann")
    assert_type(invoice, Invoice)
    assert_type(Invoice.get(number="F-1"), Invoice)
    assert_type(Invoice.get("1"), Invoice)
    assert_type(Invoice.lazy_connect("1"), Invoice)
    assert_type(Invoice.exists(number="F-1"), bool)
    found, created = Invoice.get_or_connect(number="F-1")
    assert_type(found, Invoice)
    assert_type(created, bool)
    country: Country = Invoice.get("1")  # type: ignore[assignment]


async def objects_are_of_their_model_in_asyncio() -> None:
    assert_type(await Invoice.acreate(number="F-1", customer="Ann"), Invoice)
    assert_type(await Invoice.aget(number="F-1"), Invoice)
    assert_type(await Invoice.aexists(number="F-1"), bool)
    found, created = await Invoice.aget_or_connect(number="F-1")
    assert_type(found, Invoice)
    assert_type(created, bool)


def collections_give_pks_or_objects() -> None:
    for pk in Invoice.collection(customer="Ann"):
        assert_type(pk, str)
    for invoice in Invoice.collection(customer="Ann").instances():
        assert_type(invoice, Invoice)
    assert_type(len(Invoice.collection()), int)


async def collections_give_pks_or_objects_in_asyncio() -> None:
    async for pk in Invoice.collection(customer="Ann"):
        assert_type(pk, str)
    async for invoice in Invoice.collection(customer="Ann").instances():
        assert_type(invoice, Invoice)


def models_move_to_databases_and_routers() -> None:
    Country.use_database(RedisDatabase(db=14))
    Country.use_database(router)
    Country.use_database("localhost")  # type: ignore[arg-type]
