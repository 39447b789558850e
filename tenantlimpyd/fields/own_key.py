"""What fields with a key of their own share: commands on that key, and the checks of what is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any

from tenantlimpyd._operations.steps import Command, Operation, Traits
from tenantlimpyd.atomic import may_create_key, read_reply, write_guarded
from tenantlimpyd.exceptions import ResponseError
from tenantlimpyd.fields.base import RedisField
from tenantlimpyd.fields.key_expiry import Expiring

__all__ = ["CHUNK", "ContentField", "in_parts", "need_any"]

NAMES_VALUES = Traits(names_values=True)
"""The traits of operations on indexed values whose arguments are the values that they change."""

CHUNK = 4000
"""Words a command carries at most inside the change script: Lua can't call a function with many more arguments."""


def need_any(values: Sized, command: str) -> None:
    """Raise the server's error for a command without values, before anything is sent or an object is stored.

    Raises:
        redis.ResponseError: If no values are given.
    """
    if not values:
        raise ResponseError(f"wrong number of arguments for '{command}' command: it needs at least one value")


def in_parts(word: str, words: list[Any], *options: Any) -> list[tuple[Any, ...]]:
    """Return a command, without its key, as as many commands as the script needs."""
    return [(word, *options, *words[at : at + CHUNK]) for at in range(0, len(words), CHUNK)]


class ContentField(Expiring, RedisField):
    """A field whose key holds many values."""

    def _all_sendable(self, values: Iterable[Any]) -> list[Any]:
        return [self._sendable(value) for value in values]

    def _read(
        self,
        word: str,
        *args: Any,
        reply: Callable[[Any], Any] | None = None,
        name: str | None = None,
        hooked: tuple[Any, ...] | None = None,
        **options: Any,
    ) -> Operation[Any]:
        """Send a command that reads; arguments as for :meth:`_write`."""
        self._bound().require_pk()
        return (yield from self._sent(word, args, reply, name, hooked, options))

    def _write(
        self,
        word: str,
        *args: Any,
        reply: Callable[[Any], Any] | None = None,
        name: str | None = None,
        hooked: tuple[Any, ...] | None = None,
        **options: Any,
    ) -> Operation[Any]:
        """Send a command that changes a field without indexes, or that stores it: then only if the object exists.

        Args:
            word: the command.
            *args: its arguments after the key.
            reply: makes the result of redis-py's reply.
            name: the command's name for the hook.
            hooked: the arguments for the hook.
            **options: options of redis-py for the reply.
        """
        if not may_create_key(word):
            yield from self._bound().ready_to_write()
            return (yield from self._sent(word, args, reply, name, hooked, options))
        (raw,) = yield from self._write_guarded([(word, *args)])
        result = read_reply(word, raw) if reply is None else reply(raw)
        return self.post_command(self, name or word.lower(), result, args if hooked is None else hooked, {})

    def _write_guarded(self, writes: Sequence[tuple[Any, ...]]) -> Operation[list[Any]]:
        """Run commands, given without their key, if the object exists; return the reply of each."""
        instance = self._bound()
        yield from instance.ready_to_change()
        return (yield from write_guarded(instance, self.key, writes))

    def _sent(
        self,
        word: str,
        args: tuple[Any, ...],
        reply: Callable[[Any], Any] | None,
        name: str | None,
        hooked: tuple[Any, ...] | None,
        options: dict[str, Any],
    ) -> Operation[Any]:
        raw = yield Command(word, self.key, *args, **options)
        result = raw if reply is None else reply(raw)
        return self.post_command(self, name or word.lower(), result, args if hooked is None else hooked, {})
