"""The Lua script for changes of single values and for new objects. These are the most frequent changes, so it is fast.

It guarantees the same as :data:`tenantlimpyd.atomic.general_script.CHANGE`, which executes all other changes, with fewer
commands. It asks for the type of a key only if no other command checks it: commands that read guards, and commands that
add or remove index entries, fail on keys of other types. For keys that are written without such a command, one ``EXISTS``
of all of them is sent first; in most cases none exists.

The arguments are lists that end with an empty word. Each item begins with a word that is never empty, because this takes
less time in Lua than lists with a count.
"""

from __future__ import annotations

from tenantlimpyd._commands import ROWS

__all__ = ["KINDS", "SHORT"]

KINDS = {
    row.name: row.value_type
    for row in ROWS.values()
    if row.writes and row.value_type in {"string", "hash", "set", "list", "zset"}
}
"""The type of value that each command which writes is for; ``DEL`` is for all of them."""

SHORT = """
local KEYS, ARGV, call, try = KEYS, ARGV, redis.call, redis.pcall
local pk, rule, living = ARGV[1], ARGV[2], KEYS[1]

-- The object

if rule ~= 'any' then
  local live = call('SISMEMBER', living, pk)
  if rule == 'live' and live == 0 then return {'gone'} end
  if rule == 'new' and live == 1 then return {'taken'} end
end

-- What the change was computed from: of each guard a form, the entry's name in a hash, and the value expected

local k, a = 1, 3 -- the last key taken, and the next argument
local guards = 0
local function held(i)
  local form = ARGV[3 * i]
  if form == 'string' or form == 'no string' then return call('GET', KEYS[1 + i]) end
  return call('HGET', KEYS[1 + i], ARGV[3 * i + 1])
end
local function expected(i)
  local form = ARGV[3 * i]
  return (form == 'string' or form == 'hash') and ARGV[3 * i + 2]
end
local stale = false
while ARGV[a] ~= '' do
  guards, k, a = guards + 1, k + 1, a + 3
  if held(guards) ~= expected(guards) then stale = true end
end
if stale then
  local before = {}
  for i = 1, guards do before[i] = held(i) end
  return {'stale', before, {}}
end

-- Uniqueness: of each claim a command, how many words follow its key, what stands before the pk in members, the words

a = a + 1
local claims = 0
while ARGV[a] ~= '' do
  local name, words, cut = ARGV[a], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  claims, k, a = claims + 1, k + 1, a + 3
  for _, member in ipairs(call(name, KEYS[k], unpack(ARGV, a, a + words - 1))) do
    local owner = string.sub(member, cut + 1)
    if owner ~= pk then
      if call('SISMEMBER', living, owner) == 1 then return {'owned', claims, owner} end
      -- Left behind by an object that is gone: it owns nothing.
      call(name == 'SMEMBERS' and 'SREM' or 'ZREM', KEYS[k], member)
    end
  end
  a = a + words
end

-- Entries to remove, of each a command and a member. A key of another kind, or a user who may add entries and not remove
-- them, must show before anything is written. (No member is empty.)

a = a + 1
local remove_key, remove_word, removes = k, a, 0
while ARGV[a] ~= '' do
  removes, k, a = removes + 1, k + 1, a + 2
  local reply = try(ARGV[a - 2], KEYS[k], '')
  if type(reply) == 'table' then return reply end
end

-- Where something fails from here on, all that was done is taken back

a = a + 1
local add_key, add_word, added = k, a, {} -- of each: what SADD replied, or the score before
local write_key, first_write, replies = 0, '', {}
local function undo()
  for i = #added, 1, -1 do
    local key, member = KEYS[add_key + i], ARGV[add_word + 3 * i - 2]
    if ARGV[add_word + 3 * i - 3] == 'SADD' then
      if added[i] == 1 then call('SREM', key, member) end
    elseif added[i] then call('ZADD', key, added[i], member)
    else call('ZREM', key, member) end
  end
  if rule ~= 'live' and replies[1] == 1 and first_write == 'SADD' and KEYS[write_key + 1] == living then
    -- A new object, whose first write is its pk: it had nothing before, so whatever was stored goes.
    call('SREM', living, pk)
    for i = 2, #replies do call('DEL', KEYS[write_key + i]) end
  end
  for i = 1, guards do
    local key, name, before = KEYS[1 + i], ARGV[3 * i + 1], expected(i)
    local form = ARGV[3 * i]
    if held(i) ~= before then
      if form == 'string' then call('SET', key, before, 'KEEPTTL')
      elseif form == 'no string' then call('DEL', key)
      elseif form == 'hash' then call('HSET', key, name, before)
      else call('HDEL', key, name) end
    end
  end
end

-- Entries to add, of each a command, a member and a score

while ARGV[a] ~= '' do
  local key, reply = KEYS[k + 1], nil
  if ARGV[a] == 'SADD' then
    reply = try('SADD', key, ARGV[a + 1])
    if type(reply) == 'table' then undo(); return reply end
  else
    reply = try('ZSCORE', key, ARGV[a + 1])
    local problem = type(reply) == 'table' and reply or try('ZADD', key, ARGV[a + 2], ARGV[a + 1])
    if type(problem) == 'table' then undo(); return problem end
  end
  added[#added + 1] = reply
  k, a = k + 1, a + 3
end

-- Each key written must hold the kind that is meant: SET and DEL would take any, and an index's key be lost with all its
-- entries. A number says from which write on to look; where it is empty, guards have read them all.

a = a + 1
local from = tonumber(ARGV[a])
a = a + 1
write_key, first_write = k, ARGV[a]
if from and call('EXISTS', unpack(KEYS, k + from, #KEYS)) > 0 then
  local kinds, number, at = {DEL = 'string', $KINDS}, 0, a
  while ARGV[at] ~= '' do
    number = number + 1
    local name, key = ARGV[at], KEYS[k + number]
    local kind = call('TYPE', key).ok
    if number >= from and kind ~= 'none' and kind ~= kinds[name] then
      undo()
      return redis.error_reply('WRONGTYPE ' .. name .. ' needs a ' .. kinds[name]
        .. ', and a key of the object or of its indexes holds a ' .. kind)
    end
    at = at + 2 + ARGV[at + 1]
  end
end

-- Several writes to an object that is there, as its deletion needs: what the user may not do must show before the first,
-- since values that nobody guards could not be brought back.

if rule == 'live' and #KEYS > k + 1 and redis.acl_check_cmd then
  local number, at = k, a
  while ARGV[at] ~= '' do
    number = number + 1
    if not redis.acl_check_cmd(ARGV[at], KEYS[number], unpack(ARGV, at + 2, at + 1 + ARGV[at + 1])) then
      undo()
      return redis.error_reply("NOPERM this user has no permissions to run the '" .. string.lower(ARGV[at])
        .. "' command on a key of the object")
    end
    at = at + 2 + ARGV[at + 1]
  end
end

-- The writes, of each a command, how many words follow its key, the words

while ARGV[a] ~= '' do
  local reply
  local at = a
  k = k + 1
  if ARGV[a + 1] == '1' then -- most of them: faster than the same with unpack
    reply = try(ARGV[a], KEYS[k], ARGV[a + 2])
    a = a + 3
  else
    local words = tonumber(ARGV[a + 1])
    reply = try(ARGV[a], KEYS[k], unpack(ARGV, a + 2, a + 1 + words))
    a = a + 2 + words
  end
  if type(reply) == 'table' and reply.err then undo(); return reply end
  if type(reply) == 'number' and (reply >= 9007199254740992 or reply <= -9007199254740992) then
    -- A number of Lua is a double, which is not exact from 2^53 on: the stored text is.
    if ARGV[at] == 'HINCRBY' then reply = call('HGET', KEYS[k], ARGV[at + 2]) else reply = call('GET', KEYS[k]) end
  end
  replies[#replies + 1] = reply
end

-- What values should have become: of some guards the number, and what they should hold now

a = a + 1
if ARGV[a] then
  local after, other = {}, false
  for i = 1, guards do after[i] = false end
  while ARGV[a] do
    local i = tonumber(ARGV[a])
    after[i] = held(i)
    if after[i] ~= (ARGV[a + 1] == 'value' and ARGV[a + 2]) then other = true end
    a = a + 3
  end
  if other then undo(); return {'other', after} end
end

-- Nothing of this can fail any more: each has been tried

for i = 1, removes do
  call(ARGV[remove_word + 2 * i - 2], KEYS[remove_key + i], ARGV[remove_word + 2 * i - 1])
end
return {'done', replies}
""".replace("$KINDS", ", ".join(f"{name} = '{kind}'" for name, kind in KINDS.items()))
