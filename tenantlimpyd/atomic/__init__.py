"""Change an object in one atomic step on the server: its values, their index entries, and the set of live pks.

limpyd protects an indexed write by a lock, a read, and a command for each index. Here one Lua script makes the whole
change or none of it. Index transforms run in Python, so the operation computes the index entries from the values it last
saw, and sends these values as guards. If a guard is not the stored value, the script writes nothing and returns the
stored values. The operation then computes the change again from them.

The script works in this order: guards, unique values, new entries, values, old entries. If a command fails, the script
undoes the commands before it, so that values and index entries always agree. Changes of single values and new objects use
a second script (:mod:`tenantlimpyd.atomic.short_script`), which needs fewer commands.

A field without an index is written by a third script, which only checks that the object exists
(:mod:`tenantlimpyd.atomic.guarded_write`).

A change of a field of many values does not need all of its values. The script reports the values that a command may
remove, the operation adds their index entries to the change, and after the writes the script keeps or removes each entry
depending on whether the key still has the value.
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
