"""A change of one object as one atomic step on the server: values, their index entries, and the set of live pks.

limpyd guards an indexed write by a lock, a read, and a command for each index. Here a script does all of it, or nothing,
on condition that the values the index changes were computed from are still the stored ones. The index transforms run in
Python, so the script can't compute entries itself: where its guard fails it writes nothing and returns what is stored, and
the operation computes the change again from that.

The order inside the script is: guards, uniqueness, new entries, values, old entries. A command that fails undoes what
was done before it, so that a value and its entries agree whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from tenantlimpyd.exceptions import DoesNotExist, UniquenessError, shown
from tenantlimpyd.indexes import Entry
from tenantlimpyd.operations import Operation, Script

__all__ = ["Change", "Slot", "Stored", "perform"]

T = TypeVar("T")

_LUA = """
local nextkey, nextarg = 0, 0
local function key() nextkey = nextkey + 1; return KEYS[nextkey] end
local function arg() nextarg = nextarg + 1; return ARGV[nextarg] end
local function count() return tonumber(arg()) end
local pk = arg()

local function slot()
  local s = {key = key(), field = arg()}
  if s.field == 'string' then s.field = nil else s.field = arg() end
  return s
end
local function read(s)
  if s.field then return redis.call('HGET', s.key, s.field) end
  return redis.call('GET', s.key)
end
local function restore(s, value)
  if s.field then
    if value then redis.call('HSET', s.key, s.field, value) else redis.call('HDEL', s.key, s.field) end
  elseif value then redis.call('SET', s.key, value, 'KEEPTTL')
  else redis.call('DEL', s.key) end
end
local function expected()
  if arg() == 'absent' then return false end
  return arg()
end

local rule = arg()
if rule ~= 'any' then
  local live = redis.call('SISMEMBER', key(), pk)
  if rule == 'live' and live == 0 then return {'gone'} end
  if rule == 'new' and live == 1 then return {'taken'} end
end

local slots, before, stale = {}, {}, false
for i = 1, count() do
  slots[i] = slot()
  before[i] = read(slots[i])
  if before[i] ~= expected() then stale = true end
end
if stale then return {'stale', before} end

for i = 1, count() do
  for _, member in ipairs(redis.call('SMEMBERS', key())) do
    if member ~= pk then return {'owned', i, member} end
  end
end

local kinds = {SET = 'string', DEL = 'string', SADD = 'set', SREM = 'set', HSET = 'hash', HSETNX = 'hash', HDEL = 'hash',
               HINCRBY = 'hash', HINCRBYFLOAT = 'hash', ZADD = 'zset', ZREM = 'zset', RPUSH = 'list', LPUSH = 'list'}
local function commands()
  local list = {}
  for i = 1, count() do
    local words = count()
    local command = {arg(), key()}
    for w = 3, words do command[w] = arg() end
    list[i] = command
  end
  return list
end
local adds, writes, removes = commands(), commands(), commands()
-- SET and DEL take any key: one that holds another kind here is an index's, and would be lost.
local held = {}
for _, list in ipairs({adds, writes, removes}) do
  for _, command in ipairs(list) do
    local kind = held[command[2]] or redis.call('TYPE', command[2]).ok
    if kind == 'none' then held[command[2]] = kinds[command[1]] end
    if kinds[command[1]] and kind ~= 'none' and kind ~= kinds[command[1]] then
      return redis.error_reply('WRONGTYPE ' .. command[1] .. ' needs a ' .. kinds[command[1]] .. ', and a key of the object'
        .. ' or of its indexes holds a ' .. kind)
    end
  end
end

local added = {}
local function undo()
  for _, command in ipairs(added) do redis.call('SREM', command[2], command[3]) end
  for i, s in ipairs(slots) do
    if read(s) ~= before[i] then restore(s, before[i]) end
  end
end
for _, command in ipairs(adds) do
  local reply = redis.pcall(unpack(command))
  if type(reply) == 'table' and reply.err then undo(); return reply end
  if reply == 1 then added[#added + 1] = command end
end
local replies = {}
for i, command in ipairs(writes) do
  local reply = redis.pcall(unpack(command))
  if type(reply) == 'table' and reply.err then undo(); return reply end
  replies[i] = reply
end
local after, other = {}, false
for i = 1, count() do
  if arg() == 'known' then
    after[i] = read(slots[i])
    if after[i] ~= expected() then other = true end
  else after[i] = false end
end
if other then undo(); return {'other', after} end
for _, command in ipairs(removes) do redis.call(unpack(command)) end
return {'done', replies}
"""


@attrs.frozen
class Slot:
    """Where a single value is: a string key, or an entry of a hash.

    Attributes:
        key: the key.
        field: the entry's name; None for a string.
    """

    key: str
    field: str | None = None

    def words(self) -> list[Any]:
        """Return the slot as the script's arguments."""
        return ["string"] if self.field is None else ["hash", self.field]


Stored = str | None
"""What a slot holds: the text, or None where there is nothing."""


def _expected(value: Stored) -> list[Any]:
    return ["absent"] if value is None else ["value", value]


@attrs.define
class Change:
    """One atomic change of one object.

    Attributes:
        pk: the object's.
        collection: the key of the set of live pks; with ``rule`` "live" the pk must be in it, with "new" it must not,
            with "any" nobody looks.
        guards: slots and what they must hold before.
        after: for each guard, what its slot must hold afterwards; absent where nobody minds.
        unique: index keys in which no other pk may be, each with the words for the error: field and value.
        adds, removes: index entries.
        writes: commands, each a tuple of a name, one key and arguments.
    """

    pk: str
    collection: str
    rule: str = "any"
    guards: dict[Slot, Stored] = attrs.Factory(dict)
    after: dict[Slot, Stored] = attrs.Factory(dict)
    unique: list[tuple[str, str, Any]] = attrs.Factory(list)
    adds: list[tuple[Any, ...]] = attrs.Factory(list)
    writes: list[tuple[Any, ...]] = attrs.Factory(list)
    removes: list[tuple[Any, ...]] = attrs.Factory(list)

    def move(self, old: set[Entry], new: set[Entry]) -> None:
        """Add the entries that are new, remove those that are no longer."""
        self.adds += [entry.added() for entry in sorted(new - old, key=_by_key)]
        self.removes += [entry.removed() for entry in sorted(old - new, key=_by_key)]

    def script(self) -> Script:
        """Return the change as the script's keys and arguments."""
        keys: list[Any] = []
        args: list[Any] = [self.pk, self.rule]
        if self.rule != "any":
            keys.append(self.collection)
        args.append(len(self.guards))
        for slot, value in self.guards.items():
            keys.append(slot.key)
            args += [*slot.words(), *_expected(value)]
        args.append(len(self.unique))
        keys += [key for key, _, _ in self.unique]
        for commands in (self.adds, self.writes, self.removes):
            args.append(len(commands))
            for name, key, *words in commands:
                keys.append(key)
                args += [len(words) + 2, name, *words]
        args.append(len(self.guards))
        for slot in self.guards:
            args += ["known", *_expected(self.after[slot])] if slot in self.after else ["unknown"]
        return Script(_LUA, keys, args)


def _by_key(entry: Entry) -> tuple[str, str]:
    return entry.key, entry.member


def perform(
    plan: Callable[[dict[Slot, Stored], dict[Slot, Stored]], Change], described: str
) -> Operation[tuple[list[Any], Change]]:
    """Carry out a change, computing it again for as long as the stored values are not those it was computed from.

    Each new round means that another client wrote in between, or that the outcome of a command was not what the plan
    had guessed; the change is never half done.

    Args:
        plan: returns the change, from what slots are known to hold now and what they are known to hold afterwards.
            Both start empty: the plan then guesses.
        described: the object, for messages.

    Returns:
        The replies of the change's writes as the server gave them, and the change that was carried out.

    Raises:
        DoesNotExist: the object is not, or no longer, in the collection.
        UniquenessError: the pk or a unique value is taken. Nothing was written.
    """
    before: dict[Slot, Stored] = {}
    after: dict[Slot, Stored] = {}
    while True:
        change = plan(before, after)
        status, *details = yield change.script()
        if status == "done":
            return details[0], change
        if status == "stale":
            before, after = dict(zip(change.guards, details[0], strict=True)), {}
        elif status == "other":
            learned = zip(change.guards, details[0], strict=True)
            before, after = dict(change.guards), {slot: value for slot, value in learned if slot in change.after}
        elif status == "gone":
            raise DoesNotExist(f"{described} does not exist, or no longer: nothing was written.")
        elif status == "taken":
            raise UniquenessError(f"{described} already exists: its pk must be another. Nothing was written.")
        else:
            _, field, value = change.unique[details[0] - 1]
            raise UniquenessError(
                f"{shown(value)} for the unique field {field!r} of {described} belongs to pk {shown(details[1])} already. "
                "Nothing was written."
            )
