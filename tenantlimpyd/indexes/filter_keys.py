"""Putting the pks that a filter asks for into a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenantlimpyd._operations.steps import Script
from tenantlimpyd.indexes.pk_sources import AnyOf, LexRange, Nothing, ScoreRange, Source, SplitScoreRange, Whole

__all__ = ["SECONDS", "store_source"]

SECONDS = 300
"""How long a key lives that nobody deletes."""

_STORE = """
local nextarg = 0
local function arg() nextarg = nextarg + 1; return ARGV[nextarg] end
local kind, seconds = arg(), arg()
local target = KEYS[1]
local function put(pk)
  if kind == 'zset' then redis.call('ZADD', target, 0, pk) else redis.call('SADD', target, pk) end
end
for i = 2, #KEYS do
  local words = {}
  for w = 1, tonumber(arg()) do words[w] = arg() end
  local separator, last, without = arg(), arg() == 'last', {}
  for w = 1, tonumber(arg()) do without[arg()] = true end
  local command = {words[1], KEYS[i]}
  for w = 2, #words do command[w + 1] = words[w] end
  for _, member in ipairs(redis.call(unpack(command))) do
    if separator == '' then put(member)
    else
      local at, from = nil, 1
      while from do
        from = string.find(member, separator, from, true)
        if from then at = from; from = from + 1 end
        if not last then break end
      end
      if at and not without[string.sub(member, 1, at - 1)] then put(string.sub(member, at + #separator)) end
    end
  end
end
redis.call('EXPIRE', target, seconds)
return redis.status_reply('OK')
"""


def store_source(source: Source, target: str, kind: str) -> Script:
    """Return the script that stores a source's pks.

    Args:
        source: where they are.
        target: the key to make; it expires.
        kind: ``set`` or ``zset``, whose scores are all 0.
    """
    keys: list[Any] = [target]
    args: list[Any] = [kind, SECONDS]
    for key, words, separator, which, without in _reads(source):
        keys.append(key)
        args += [len(words), *words, separator, which, len(without), *without]
    return Script(_STORE, keys, args)


def _reads(source: Source) -> Iterator[tuple[str, tuple[Any, ...], str, str, tuple[str, ...]]]:
    """Return the commands that read a source: key, words, separator, which one of these counts, texts left out."""
    match source:
        case Whole(key, kind):
            yield key, ("SMEMBERS",) if kind == "set" else ("ZRANGE", 0, -1), "", "last", ()
        case ScoreRange(key, low, high):
            yield key, ("ZRANGEBYSCORE", low, high), "", "last", ()
        case SplitScoreRange(key, low, high, separator):
            yield key, ("ZRANGEBYSCORE", low, high), separator, "first", ()
        case LexRange(key, ranges, separator, without):
            for low, high in ranges:
                yield key, ("ZRANGEBYLEX", low, high), separator, "last", without
        case AnyOf(sources):
            for each in sources:
                yield from _reads(each)
        case Nothing():
            pass
