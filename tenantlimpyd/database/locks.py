"""``FieldLock``: one holder at a time for a field of a model, for applications that need it.

The library takes none itself: its indexed writes are atomic on the server.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs
import redis.asyncio.lock
from redis.lock import Lock

from tenantlimpyd.keys import make_key

if TYPE_CHECKING:
    from types import TracebackType

    from tenantlimpyd._registry.placement import Placement

__all__ = ["FieldLock"]


@attrs.define(eq=False)
class _HeldLock:
    """A lock that this context holds.

    Attributes:
        database: the database the lock is in.
        name: the key of the lock.
        lock: the ``FieldLock`` that acquired it.
        depth: how many times it was entered; 0: it was released, even if a copied context still has this object.
        awaits: whether it was acquired by an async method.
        token: the value of the key while the lock is held.
        certain_until: the time of the monotonic clock until which it can't have expired.
    """

    database: Any
    name: str
    lock: FieldLock
    awaits: bool
    token: bytes | None
    certain_until: float
    depth: int = 1
    lost: bool = False
    """Whether the lock was found to have expired: it can't be entered again, and its release raises an error."""


_held: ContextVar[tuple[_HeldLock, ...]] = ContextVar("tenantlimpyd.database.locks", default=())


def _register(lock: Any) -> None:
    lock.lua_release = lock.redis.register_script(lock.LUA_RELEASE_SCRIPT)
    lock.lua_extend = lock.redis.register_script(lock.LUA_EXTEND_SCRIPT)
    lock.lua_reacquire = lock.redis.register_script(lock.LUA_REACQUIRE_SCRIPT)


class _Awaiting(redis.asyncio.lock.Lock):
    def register_scripts(self) -> None:
        _register(self)


class FieldLock(Lock):
    """A lock on a field, for all objects of its model: ``with FieldLock(person.name): ...``, or ``async with``.

    The lock is a key in the database that was current when the lock was made. The key is that of limpyd
    (``{model}:lock-for-update:{field}``), so limpyd's writers respect the lock. A context (task, thread, request) that
    holds the lock can enter it again, also by another ``FieldLock`` of the field; tasks started meanwhile inherit this. For
    a field or model with ``lockable=False``, nothing is locked.

    The lock expires after ``timeout``. Work that takes longer is no longer protected, and the release raises
    ``LockNotOwnedError``.

    Args:
        field: a field of an object or of a class.
        timeout: seconds until the lock expires; None: never.
        sleep: seconds between two attempts to acquire it.
        blocking: whether to wait until another holder releases it.
        blocking_timeout: seconds to wait at most; None: no limit.
        thread_local: whether only the thread that acquired the lock by this object can release it.

    Raises:
        NoTenantError: If the field's model is bound to a router, and no tenant is current.
    """

    def __init__(  # noqa: PLR0917 - limpyd's signature
        self,
        field: Any,
        timeout: float | None = 5,
        sleep: float = 0.1,
        blocking: bool = True,
        blocking_timeout: float | None = None,
        thread_local: bool = True,
    ) -> None:
        instance = field._instance
        self.field = field
        self._placement: Placement = (
            field._model.database._current_placement() if instance is None else instance._placement
        )
        self._database: Any = self._placement.runner()
        self._lockable = field.lockable and (instance is None or type(instance).lockable)
        name = make_key(field._model.storage_name(self._database.key_prefix), "lock-for-update", field.name)
        self._awaiting: redis.asyncio.lock.Lock | None = None
        super().__init__(
            self._database._clients.client,
            name,
            timeout=timeout,
            sleep=sleep,
            blocking=blocking,
            blocking_timeout=blocking_timeout,
            thread_local=thread_local,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def register_scripts(self) -> None:
        """Prepare the scripts for this lock's own client; redis-py would keep the first client for the whole process."""
        _register(self)

    # What this context holds

    def _hold(self) -> _HeldLock | None:
        for hold in _held.get():
            if hold.depth and not hold.lost and hold.database is self._database and hold.name == self.name:
                return hold
        return None

    @staticmethod
    def _enter_while_certain(hold: _HeldLock) -> bool:
        """Enter a held lock again if it can't have expired yet; return whether it was entered."""
        if time.monotonic() >= hold.certain_until:
            return False
        hold.depth += 1
        return True

    def _expects_any_expiry(self) -> None:
        if (hold := self._hold()) is not None:
            hold.certain_until = 0.0

    def extend(self, additional_time: float, replace_ttl: bool = False) -> Literal[True]:
        """Extend the lock by ``additional_time`` seconds; with ``replace_ttl``, let it expire that many seconds from now."""
        self._expects_any_expiry()
        return super().extend(additional_time, replace_ttl)

    @staticmethod
    def _enter_again(hold: _HeldLock, stored: Any) -> bool:
        """Enter a held lock again if the server still has its token; return whether it was entered.

        Args:
            hold: what this context holds.
            stored: the value of the lock's key.
        """
        if isinstance(stored, str):
            stored = stored.encode()
        if stored is None or stored != hold.token:
            hold.lost = True
            return False
        hold.depth += 1
        return True

    def _mark(self, began: float, *, awaits: bool) -> None:
        """Record that this context holds the lock, which has just been acquired.

        Args:
            began: the time, by the monotonic clock, before it was acquired.
            awaits: whether it was acquired by the asyncio twin.
        """
        current = tuple(hold for hold in _held.get() if hold.depth)
        token = (self._twin() if awaits else self).local.token
        until = math.inf if self.timeout is None else began + float(self.timeout)
        _held.set((*current, _HeldLock(self._database, str(self.name), self, awaits, token, until)))

    def _left(self) -> _HeldLock | None:
        """Leave the lock once; if this was the last time, return the held lock, which must be released on the server."""
        hold = self._hold()
        if hold is None:
            return _HeldLock(self._database, str(self.name), self, self._awaiting is not None, None, 0.0)
        hold.depth -= 1
        if hold.depth:
            return None
        _held.set(tuple(other for other in _held.get() if other.depth))
        return hold

    # Blocking

    def acquire(
        self,
        sleep: float | None = None,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: str | None = None,
    ) -> bool:
        """Acquire the lock, and return whether it was acquired. Arguments replace those of the constructor.

        A context that holds it enters it again; once it may have expired, the server is asked. If it has expired, it is
        acquired as if it had never been held.

        Raises:
            WrongTenantError: If another tenant of the same router is current.
        """
        self._placement.runner()
        if not self._lockable:
            return True
        if (hold := self._hold()) is not None and (
            self._enter_while_certain(hold) or self._enter_again(hold, self.redis.get(self.name))
        ):
            return True
        began = time.monotonic()
        if not super().acquire(sleep, blocking, blocking_timeout, token):
            return False
        self._mark(began, awaits=False)
        return True

    def release(self) -> None:
        """Leave the lock, and release it if this context has left it as often as it entered it.

        Raises:
            redis.exceptions.LockNotOwnedError: If the lock has expired.
            redis.exceptions.LockError: If the lock is not held.
        """
        if self._lockable and (hold := self._left()) is not None:
            super(FieldLock, hold.lock).release()

    # Awaiting

    def _twin(self) -> redis.asyncio.lock.Lock:
        if self._awaiting is None:
            self._awaiting = _Awaiting(
                self._database._clients.aclient,
                self.name,
                timeout=self.timeout,
                sleep=float(self.sleep),
                blocking=self.blocking,
                blocking_timeout=self.blocking_timeout,
                thread_local=self.thread_local,
            )
        return self._awaiting

    async def aacquire(
        self,
        blocking: bool | None = None,
        blocking_timeout: float | None = None,
        token: str | None = None,
    ) -> bool:
        """Acquire the lock as :meth:`acquire`, in asyncio."""
        self._placement.runner()
        if not self._lockable:
            return True
        if (hold := self._hold()) is not None and (
            self._enter_while_certain(hold) or self._enter_again(hold, await self._twin().redis.get(self.name))
        ):
            return True
        began = time.monotonic()
        if not await self._twin().acquire(blocking, blocking_timeout, token):
            return False
        self._mark(began, awaits=True)
        return True

    async def arelease(self) -> None:
        """Release the lock as :meth:`release`, in asyncio."""
        if not self._lockable or (hold := self._left()) is None:
            return
        if hold.awaits:
            await hold.lock._twin().release()
        else:
            super(FieldLock, hold.lock).release()

    async def alocked(self) -> bool:
        """Return whether the lock is held, by this or another client, in asyncio."""
        return await self._twin().locked()

    async def aowned(self) -> bool:
        """Return whether this object holds the lock, in asyncio."""
        return await self._twin().owned()

    async def aextend(self, additional_time: float, replace_ttl: bool = False) -> bool:
        """Extend the lock as :meth:`extend`, in asyncio."""
        self._expects_any_expiry()
        return await self._twin().extend(additional_time, replace_ttl)

    async def __aenter__(self) -> Self:
        if not await self.aacquire():
            raise redis.exceptions.LockError(f"{self!r} was not acquired within the time to wait")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.arelease()
