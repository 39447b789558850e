"""``InstanceHashField``: a value in the hash that all such fields of an object share."""

from __future__ import annotations

from typing import Any

from tenantlimpyd._operations.steps import Command, Operation, twins
from tenantlimpyd.atomic import ValueLocation
from tenantlimpyd.fields.base import SingleValueField, Value
from tenantlimpyd.fields.hash_entry_expiry import ExpiringEntry
from tenantlimpyd.fields.predictions import added, added_float
from tenantlimpyd.fields.server_support import needing
from tenantlimpyd.keys import make_key

__all__ = ["InstanceHashField"]


class InstanceHashField(ExpiringEntry, SingleValueField):
    """A value in the entry ``{field}`` of the object's hash ``{model}:{pk}:hash``.

    The object's own ``hmget``, ``hmset``, ``hdel`` and so on work on several of them at once.
    """

    def slot(self, key_base: str) -> ValueLocation:
        """Return where the value of the object with these keys is."""
        return ValueLocation(f"{key_base}:hash", self.name)

    def store_words(self, slot: ValueLocation, value: Any) -> tuple[Any, ...]:
        """Return the command that stores ``value``."""
        return ("HSET", slot.key, slot.field, value)

    def clear_words(self, slot: ValueLocation) -> tuple[Any, ...]:
        """Return the command that deletes the value."""
        return ("HDEL", slot.key, slot.field)

    @property
    def key(self) -> str:
        """The name of the hash that all such fields of the object share."""
        return make_key(self._bound().key_base, "hash")

    @property
    def sort_wildcard(self) -> str:
        """The pattern SORT finds this field's values by."""
        return f"{make_key(self._model.storage_name(self._prefix()), '*', 'hash')}->{self.name}"

    # Reading

    def _hget(self) -> Operation[str | None]:
        """Return the value; None where there is none."""
        instance = self._bound()
        instance.require_pk()
        value = yield Command("HGET", self.key, self.name)
        if self.indexable:
            instance._remember(self.slot(instance.key_base), value)
        return self._finished("hget", value, self.name)  # type: ignore[no-any-return]

    hget, ahget = twins(_hget)
    proxy_get, aproxy_get = hget, ahget

    def _hexists(self) -> Operation[bool]:
        """Return whether the field has a value."""
        if not self._bound().has_pk:
            return False
        return bool((yield Command("HEXISTS", self.key, self.name)))

    hexists, ahexists = twins(_hexists)
    exists, aexists = hexists, ahexists

    # Writing

    def _hset(self, value: Value) -> Operation[int]:
        """Store a value.

        Args:
            value: what to store.

        Returns:
            1 where there was none, else 0.

        Raises:
            UniquenessError: If the field is unique, and another object has the value.
            DoesNotExist: If the object is not in the database.
        """
        value = self._sendable(value)
        if not self.indexable:
            return (yield from self._write("HSET", self.name, value))  # type: ignore[no-any-return]
        reply = yield from self._change(
            lambda slot: ("HSET", slot.key, slot.field, value), lambda _: value, certain=True
        )
        return self._finished("hset", reply, self.name, value)  # type: ignore[no-any-return]

    hset, ahset = twins(_hset)
    proxy_set, aproxy_set = hset, ahset

    def _hsetnx(self, value: Value) -> Operation[bool]:
        """Store a value if there is none; return whether it was stored."""
        value = self._sendable(value)
        if not self.indexable:
            return (yield from self._write("HSETNX", self.name, value))  # type: ignore[no-any-return]
        reply = yield from self._change(
            lambda slot: ("HSETNX", slot.key, slot.field, value),
            lambda old: value if old is None else old,
            certain=True,
        )
        return self._finished("hsetnx", bool(reply), self.name, value)  # type: ignore[no-any-return]

    hsetnx, ahsetnx = twins(_hsetnx)

    def _hincrby(self, amount: int = 1) -> Operation[int]:
        """Add ``amount`` to the value, an integer (0 where there is none); return the new one."""
        if not isinstance(amount, int) or isinstance(amount, bool):
            raise TypeError(f"the amount must be a whole number, not a {type(amount).__name__}")
        if not self.indexable:
            return (yield from self._write("HINCRBY", self.name, amount))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("HINCRBY", slot.key, slot.field, amount), added(amount))
        return self._finished("hincrby", int(reply), self.name, amount)  # type: ignore[no-any-return]

    hincrby, ahincrby = twins(_hincrby)

    def _hincrbyfloat(self, amount: float = 1.0) -> Operation[float]:
        """Add ``amount`` to the value, a number (0 where there is none); return the new one."""
        if not self.indexable:
            return (yield from self._write("HINCRBYFLOAT", self.name, amount))  # type: ignore[no-any-return]
        reply = yield from self._change(
            lambda slot: ("HINCRBYFLOAT", slot.key, slot.field, amount), added_float(amount)
        )
        return self._finished("hincrbyfloat", float(reply), self.name, amount)  # type: ignore[no-any-return]

    hincrbyfloat, ahincrbyfloat = twins(_hincrbyfloat)

    def _hdel(self) -> Operation[int]:
        """Delete the value; return 1, or 0 where there was none."""
        if not self.indexable:
            return (yield from self._write("HDEL", self.name))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("HDEL", slot.key, slot.field), lambda _: None, certain=True)
        return self._finished("hdel", reply, self.name)  # type: ignore[no-any-return]

    hdel, ahdel = twins(_hdel)
    delete, adelete = hdel, ahdel

    def _hgetdel(self) -> Operation[str | None]:
        """Delete the value and return it; None where there was none.

        Raises:
            UnsupportedCommandError: If the server is older than Redis 8.0 or Valkey 9.1.
        """
        if not self.indexable:
            reply = yield from needing("HGETDEL", self._deleting())
        else:
            words = self._change(
                lambda slot: ("HGETDEL", slot.key, "FIELDS", 1, slot.field), lambda _: None, certain=True
            )
            reply = yield from needing("HGETDEL", words)
        return self._finished("hgetdel", reply[0], self.name)  # type: ignore[no-any-return]

    def _deleting(self) -> Operation[list[str | None]]:
        yield from self._bound().ready_to_write()
        return (yield Command("HGETDEL", self.key, "FIELDS", 1, self.name))  # type: ignore[no-any-return]

    hgetdel, ahgetdel = twins(_hgetdel)
