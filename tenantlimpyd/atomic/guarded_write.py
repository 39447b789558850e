"""Write a field that has no index, in one round trip, only if its object exists.

If another client has deleted the object, a plain command would still store the value, in a key that belongs to no object.
The script checks the pk in the same step. Changes of indexed fields check it in their own scripts
(:mod:`tenantlimpyd.atomic.short_script`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from tenantlimpyd._commands import row_of
from tenantlimpyd._operations.steps import Command, Operation, Script
from tenantlimpyd.atomic.execute import missing_object, run_script

__all__ = ["GUARDED_WRITE", "may_create_key", "read_reply", "write_guarded"]

GUARDED_WRITE = """
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return {'gone'} end
local key, a, replies = KEYS[2], 2, {'done'}
while ARGV[a] do
  local words = tonumber(ARGV[a + 1])
  local reply = redis.pcall(ARGV[a], key, unpack(ARGV, a + 2, a + 1 + words))
  if type(reply) == 'table' and reply.err then return reply end
  if type(reply) == 'number' and (reply >= 9007199254740992 or reply <= -9007199254740992) then
    -- A number of Lua is a double, which is not exact from 2^53 on: the stored text is.
    if ARGV[a] == 'HINCRBY' then reply = redis.call('HGET', key, ARGV[a + 2]) else reply = redis.call('GET', key) end
  end
  replies[#replies + 1], a = reply, a + 2 + words
end
return replies
"""
"""Its keys are the set of pks and the key to write. Its arguments are the pk, and of each command the name, the number of
words after the key, and those words. It returns ``gone``, or ``done`` and the reply of each command."""


_MOST_WORDS: Final = 7000
"""Words a command in the script may have: Lua calls no function with 8,000 arguments."""


def _is_ok(reply: Any) -> bool:
    return reply is True or reply == "OK"


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("LSET", "PSETEX", "SET", "SETEX"), _is_ok),
    **dict.fromkeys(("HINCRBY", "INCRBY", "DECRBY"), int),
    **dict.fromkeys(("HINCRBYFLOAT", "INCRBYFLOAT", "ZINCRBY"), float),
    **dict.fromkeys(("HSETEX", "HSETNX", "SETNX"), bool),
}
"""The conversions that redis-py applies to replies, by command; other replies are not converted."""


class ModelObject(Protocol):
    """The interface of the object whose field is written."""

    @property
    def known_pk(self) -> str: ...

    def _live(self) -> str: ...
    def _seen(self) -> None: ...


def may_create_key(word: str) -> bool:
    """Return whether a command can create a key that is not there: whether it needs memory (``denyoom`` in COMMAND INFO)."""
    return row_of((word,)).needs_memory


def write_guarded(instance: ModelObject, key: str, writes: Sequence[tuple[Any, ...]]) -> Operation[list[Any]]:
    """Run commands on a key of an object if the object exists.

    Args:
        instance: the object; it has a pk.
        key: the key, which is the first key of each command.
        writes: the commands without their key: name and further words. One of more than 7,000 words is sent outside of a
            script, after the object was looked up.

    Returns:
        The reply of each command, as RESP2 has it: integers, text, lists, None.

    Raises:
        DoesNotExist: If the object is not in the database. Nothing was written.
        redis.ResponseError: If the server refuses a command. The commands before it were executed.
    """
    if any(len(write) > _MOST_WORDS for write in writes):
        return (yield from _look_up_and_write(instance, key, writes))
    args: list[Any] = [instance.known_pk]
    for word, *words in writes:
        args += (word, len(words), *words)
    status, *replies = yield from run_script(Script(GUARDED_WRITE, (instance._live(), key), args), instance)
    if status == "gone":
        raise missing_object(instance)
    instance._seen()
    return replies


def read_reply(word: str, reply: Any) -> Any:
    """Return a command's reply as redis-py would convert it."""
    reader = _READERS.get(word)
    return reply if reader is None or reply is None else reader(reply)


def _look_up_and_write(instance: ModelObject, key: str, writes: Sequence[tuple[Any, ...]]) -> Operation[list[Any]]:
    if not (yield Command("SISMEMBER", instance._live(), instance.known_pk)):
        raise missing_object(instance)
    replies = []
    for word, *words in writes:
        replies.append((yield Command(word, key, *words)))
    return replies
