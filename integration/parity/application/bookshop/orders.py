"""Orders: what customers bought."""

from limpyd import fields
from limpyd.contrib.indexes import DateTimeIndex
from limpyd.contrib.related import FKStringField, M2MListField

from bookshop.catalogue import Book
from bookshop.people import Customer
from bookshop.storage import Base, database


class Order(Base):
    number = fields.PKField()
    customer = FKStringField(Customer, related_name="orders")
    books = M2MListField(Book, related_name="orders")
    placed = fields.InstanceHashField(indexable=True, indexes=[DateTimeIndex])
    total = fields.StringField()
    status = fields.StringField(indexable=True, default="open")


ADD_UP = {"lua": "local sum = 0; for _, each in ipairs(ARGV) do sum = sum + tonumber(each) end; return tostring(sum)"}


def place(number, customer, books, when):
    """Store an order, and count what was sold."""
    prices = [book.price.hget() for book in books]
    total = database.call_script(ADD_UP, keys=[], args=prices)
    order = Order(number=number, customer=customer, books=books, placed=when, total=total)
    for book in books:
        book.sold.hincrby(1)
    return order


def close(number):
    """Close an order, unless somebody else does."""
    order = Order(number)
    with fields.FieldLock(order.status):
        if order.status.get() != "open":
            return False
        order.status.set("closed")
        return True


def recount(customer):
    """Write down what a customer spent; begin again if an order changes meanwhile."""
    watched = [order.total for order in customer.orders().instances()]

    def program(pipe):
        spent = sum(float(total.get() or 0) for total in watched)
        pipe.multi()
        customer.preferences.hset("spent", f"{spent:.2f}")

    database.transaction(program, *watched)
    return customer.preferences.hget("spent")
