"""A change of one object as one atomic step on the server: values, their index entries, and the set of live pks.

limpyd guards an indexed write by a lock, a read, and a command for each index. Here a script does all of it, or nothing,
on condition that the values the index changes were computed from are still the stored ones. The index transforms run in
Python, so the script can't compute entries itself: where its guard fails it writes nothing and returns what is stored, and
the operation computes the change again from that.

The order inside the script is: guards, uniqueness, new entries, values, old entries. A command that fails undoes what
was done before it, so that a value and its entries agree whatever happens. Changes of single values and new objects have a
script of their own, which needs fewer commands for the same.

A field without index is written by a script too, which only asks whether the object exists
(:mod:`tenantlimpyd.atomic.guarded_write`).

Fields of many values don't need all of their content for a change: the script tells which values a command may take away,
the operation adds their entries to the change, and the script sets each entry afterwards by what the key then holds.
"""

from __future__ import annotations

from tenantlimpyd.atomic.change import Change, Content, KnownValues, Stored, ValueChange, ValueLocation
from tenantlimpyd.atomic.execute import Performed, StaleError, perform
from tenantlimpyd.atomic.guarded_write import may_create_key, read_reply, write_guarded

__all__ = [
    "Change",
    "Content",
    "KnownValues",
    "Performed",
    "StaleError",
    "Stored",
    "ValueChange",
    "ValueLocation",
    "may_create_key",
    "perform",
    "read_reply",
    "write_guarded",
]
