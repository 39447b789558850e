"""``StringField``: a value in a key of its own."""

from __future__ import annotations

from typing import Any

from tenantlimpyd._operations.steps import Command, Operation, twins
from tenantlimpyd.atomic import ValueLocation
from tenantlimpyd.exceptions import LimpydException
from tenantlimpyd.fields.base import SingleValueField, Value
from tenantlimpyd.fields.key_expiry import Expiring, Moment, Seconds, expiry_words, milliseconds, seconds
from tenantlimpyd.fields.predictions import added, added_float, appended, unchanged

__all__ = ["StringField"]


def _amount(amount: object) -> int:
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise TypeError(f"the amount must be a whole number, not a {type(amount).__name__}")
    return amount


class StringField(Expiring, SingleValueField):
    """A value in a Redis string of its own: ``{model}:{pk}:{field}``."""

    # How a value is stored

    def slot(self, key_base: str) -> ValueLocation:
        """Return where the value of the object with these keys is."""
        return ValueLocation(f"{key_base}:{self.name}")

    def store_words(self, slot: ValueLocation, value: Any) -> tuple[Any, ...]:
        """Return the command that stores ``value``."""
        return ("SET", slot.key, value)

    def clear_words(self, slot: ValueLocation) -> tuple[Any, ...]:
        """Return the command that deletes the value."""
        return ("DEL", slot.key)

    # Reading

    def _get(self) -> Operation[str | None]:
        """Return the value; None where there is none."""
        instance = self._bound()
        instance.require_pk()
        value = yield Command("GET", self.key)
        if self.indexable:
            instance._remember(self.slot(instance.key_base), value)
        return self._finished("get", value)  # type: ignore[no-any-return]

    get, aget = twins(_get)
    proxy_get, aproxy_get = get, aget

    def _strlen(self) -> Operation[int]:
        """Return the length of the value in bytes; 0 where there is none."""
        return (yield from self._read("STRLEN"))  # type: ignore[no-any-return]

    strlen, astrlen = twins(_strlen)

    def _getex(
        self,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        exat: Moment | None = None,
        pxat: Moment | None = None,
        persist: bool = False,
    ) -> Operation[str | None]:
        """Return the value, and let it expire.

        Args:
            ex: after so many seconds; this and the next three are refused on an indexed field.
            px: after so many milliseconds.
            exat: at a Unix time in seconds, or a datetime.
            pxat: at a Unix time in milliseconds, or a datetime.
            persist: no more.

        Raises:
            redis.DataError: If more than one of the options is given.
        """
        words = expiry_words("getex", ex, px, exat, pxat, {"PERSIST": persist})
        if words and not persist:
            self.refuse_expiry("getex with an expiry")
        self._bound().require_pk()
        value = yield Command("GETEX", self.key, *words)
        return self._finished("getex", value, *words)  # type: ignore[no-any-return]

    getex, agetex = twins(_getex)

    def _getrange(self, start: int, end: int) -> Operation[str]:
        """Return the part of the value from byte ``start`` to byte ``end``, both included."""
        return (yield from self._read("GETRANGE", start, end))  # type: ignore[no-any-return]

    getrange, agetrange = twins(_getrange)

    def _getbit(self, offset: int) -> Operation[int]:
        """Return the bit at ``offset``."""
        return (yield from self._read("GETBIT", offset))  # type: ignore[no-any-return]

    getbit, agetbit = twins(_getbit)

    def _bitcount(self, start: int | None = None, end: int | None = None, mode: str | None = None) -> Operation[int]:
        """Return the number of bits set, in all or from ``start`` to ``end`` (bytes, or bits with ``mode="BIT"``)."""
        if (start is None) != (end is None):
            raise TypeError("bitcount takes both start and end, or neither")
        words = [word for word in (start, end, mode) if word is not None]
        return (yield from self._read("BITCOUNT", *words))  # type: ignore[no-any-return]

    bitcount, abitcount = twins(_bitcount)

    def _bitpos(
        self, bit: int, start: int | None = None, end: int | None = None, mode: str | None = None
    ) -> Operation[int]:
        """Return the position of the first bit that is ``bit``; -1 where there is none."""
        if bit not in (0, 1):
            raise ValueError("bit must be 0 or 1")
        if start is None and end is not None:
            raise TypeError("bitpos takes end only together with start")
        words = [word for word in (start, end, mode) if word is not None]
        return (yield from self._read("BITPOS", bit, *words))  # type: ignore[no-any-return]

    bitpos, abitpos = twins(_bitpos)

    # Writing

    def _set(
        self,
        value: Value,
        ex: Seconds | None = None,
        px: Seconds | None = None,
        nx: bool = False,
        xx: bool = False,
    ) -> Operation[bool]:
        """Store a value.

        Args:
            value: what to store.
            ex: seconds after which it expires; refused on an indexed field.
            px: milliseconds after which it expires; refused on an indexed field.
            nx: refused: use :meth:`setnx`.
            xx: refused: ask :meth:`exists` first.

        Returns:
            True.

        Raises:
            UniquenessError: If the field is unique, and another object has the value.
            DoesNotExist: If the object is not in the database.
        """
        if nx or xx:
            raise LimpydException(f"set of the field {self.name!r} takes no nx or xx: use setnx, or exists")
        if ex is not None or px is not None:
            self.refuse_expiry("set with ex or px")
        value = self._sendable(value)
        if not self.indexable:
            words: list[Any] = [value]
            if ex is not None:
                words += ["EX", seconds(ex)]
            if px is not None:
                words += ["PX", milliseconds(px)]
            return (yield from self._write("SET", *words))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("SET", slot.key, value), lambda _: value, certain=True)
        return self._finished("set", reply == "OK", value)  # type: ignore[no-any-return]

    set, aset = twins(_set)
    proxy_set, aproxy_set = set, aset

    def _setnx(self, value: Value) -> Operation[bool]:
        """Store a value if there is none; return whether it was stored."""
        value = self._sendable(value)
        if not self.indexable:
            return (yield from self._write("SETNX", value))  # type: ignore[no-any-return]
        reply = yield from self._change(
            lambda slot: ("SETNX", slot.key, value), lambda old: value if old is None else old, certain=True
        )
        return self._finished("setnx", bool(reply), value)  # type: ignore[no-any-return]

    setnx, asetnx = twins(_setnx)

    def _getset(self, value: Value) -> Operation[str | None]:
        """Store a value and return the one before."""
        value = self._sendable(value)
        if not self.indexable:
            return (yield from self._write("GETSET", value))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("GETSET", slot.key, value), lambda _: value, certain=True)
        return self._finished("getset", reply, value)  # type: ignore[no-any-return]

    getset, agetset = twins(_getset)

    def _getdel(self) -> Operation[str | None]:
        """Delete the value and return it; None where there was none."""
        if not self.indexable:
            return (yield from self._write("GETDEL"))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("GETDEL", slot.key), lambda _: None, certain=True)
        return self._finished("getdel", reply)  # type: ignore[no-any-return]

    getdel, agetdel = twins(_getdel)

    def _append(self, value: Value) -> Operation[int]:
        """Append to the value; return its new length in bytes."""
        if not self.indexable:
            return (yield from self._write("APPEND", value))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("APPEND", slot.key, value), appended(value))
        return self._finished("append", reply, value)  # type: ignore[no-any-return]

    append, aappend = twins(_append)

    def _setrange(self, offset: int, value: Value) -> Operation[int]:
        """Overwrite the value from byte ``offset`` on; return its new length in bytes."""
        if not self.indexable:
            return (yield from self._write("SETRANGE", offset, value))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("SETRANGE", slot.key, offset, value), unchanged)
        return self._finished("setrange", reply, offset, value)  # type: ignore[no-any-return]

    setrange, asetrange = twins(_setrange)

    def _setbit(self, offset: int, value: int) -> Operation[int]:
        """Set the bit at ``offset`` to 0 or 1; return what it was."""
        if not self.indexable:
            return (yield from self._write("SETBIT", offset, value))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("SETBIT", slot.key, offset, value), unchanged)
        return self._finished("setbit", reply, offset, value)  # type: ignore[no-any-return]

    setbit, asetbit = twins(_setbit)

    def _incr(self, amount: int = 1) -> Operation[int]:
        """Add ``amount`` to the value, an integer (0 where there is none); return the new one."""
        return (yield from self._add("INCRBY", "incrby", amount, _amount(amount)))

    incr, aincr = twins(_incr)
    incrby, aincrby = incr, aincr

    def _decr(self, amount: int = 1) -> Operation[int]:
        """Subtract ``amount`` from the value, an integer (0 where there is none); return the new one."""
        return (yield from self._add("DECRBY", "decrby", amount, -_amount(amount)))

    decr, adecr = twins(_decr)
    decrby, adecrby = decr, adecr

    def _add(self, word: str, name: str, amount: int, signed: int) -> Operation[int]:
        if not self.indexable:
            return (yield from self._write(word, amount))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: (word, slot.key, amount), added(signed))
        return self._finished(name, int(reply), amount)  # type: ignore[no-any-return]

    def _incrbyfloat(self, amount: float = 1.0) -> Operation[float]:
        """Add ``amount`` to the value, a number (0 where there is none); return the new one."""
        if not self.indexable:
            return (yield from self._write("INCRBYFLOAT", amount))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("INCRBYFLOAT", slot.key, amount), added_float(amount))
        return self._finished("incrbyfloat", float(reply), amount)  # type: ignore[no-any-return]

    incrbyfloat, aincrbyfloat = twins(_incrbyfloat)

    def _setex(self, time: Seconds, value: Value) -> Operation[bool]:
        """Store a value that expires after ``time`` seconds; refused on an indexed field."""
        self.refuse_expiry("setex")
        return (yield from self._write("SETEX", seconds(time), value))  # type: ignore[no-any-return]

    setex, asetex = twins(_setex)

    def _psetex(self, time_ms: Seconds, value: Value) -> Operation[bool]:
        """Store a value that expires after ``time_ms`` milliseconds; refused on an indexed field."""
        self.refuse_expiry("psetex")
        return (yield from self._write("PSETEX", milliseconds(time_ms), value))  # type: ignore[no-any-return]

    psetex, apsetex = twins(_psetex)

    def _delete(self) -> Operation[int]:
        """Delete the value; return 1, or 0 where there was none."""
        if not self.indexable:
            yield from self._bound().ready_to_write()
            return self._finished("delete", (yield Command("DEL", self.key)))  # type: ignore[no-any-return]
        reply = yield from self._change(lambda slot: ("DEL", slot.key), lambda _: None, certain=True)
        return self._finished("delete", reply)  # type: ignore[no-any-return]

    delete, adelete = twins(_delete)
