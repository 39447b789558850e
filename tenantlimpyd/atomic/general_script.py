"""The Lua script that can execute every change. Most changes use the one in :mod:`tenantlimpyd.atomic.short_script`.

The arguments say what to do. The script takes its keys one after another, as the arguments need them, so that every key
it uses is declared in ``KEYS``.
"""

from __future__ import annotations

__all__ = ["CHANGE"]

CHANGE = """
local nextkey, nextarg = 0, 0
local function key() nextkey = nextkey + 1; return KEYS[nextkey] end
local function arg() nextarg = nextarg + 1; return ARGV[nextarg] end
local function count() return tonumber(arg()) end
local function args(n) local list = {}; for i = 1, n do list[i] = arg() end; return list end
local pk = arg()

-- Slots: strings, and entries of hashes

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

-- The object

local rule, living = arg(), key()
if rule ~= 'any' then
  local live = redis.call('SISMEMBER', living, pk)
  if rule == 'live' and live == 0 then return {'gone'} end
  if rule == 'new' and live == 1 then return {'taken'} end
end

-- What the change was computed from

local slots, before, stale = {}, {}, false
for i = 1, count() do
  slots[i] = slot()
  before[i] = read(slots[i])
  if before[i] ~= expected() then stale = true end
end

local function holds(c, value)
  if c.kind == 'set' then return redis.call('SISMEMBER', c.key, value) == 1 end
  if c.kind == 'zset' then return redis.call('ZSCORE', c.key, value) ~= false end
  if c.kind == 'hash' then return redis.call('HEXISTS', c.key, value) == 1 end
  if c.all then return c.all[value] == true end
  return redis.call('LPOS', c.key, value) ~= false
end
local contents, affected = {}, {}
for i = 1, count() do
  local c = {key = key(), kind = arg()}
  local words = args(count())
  local known, must = {}, args(count())
  for _, value in ipairs(args(count())) do known[value] = true end
  affected[i] = {}
  if #words > 0 then
    local command = {words[1], c.key}
    for w = 2, #words do command[w + 1] = words[w] end
    local reply = redis.call(unpack(command))
    if type(reply) == 'string' then reply = {reply} end
    affected[i] = reply or {}
  end
  -- Of HGETALL's names and values in turn, names are what has to be known: values have guards.
  local step = 1
  if words[1] == 'HGETALL' then step = 2 end
  for at = 1, #affected[i], step do if not known[affected[i][at]] then stale = true end end
  for _, value in ipairs(must) do if not holds(c, value) then stale = true end end
  c.asked = 0
  contents[i] = c
end
if stale then return {'stale', before, affected} end

-- Uniqueness

for i = 1, count() do
  local words = args(count())
  local cut = count()
  local command = {words[1], key()}
  for w = 2, #words do command[w + 1] = words[w] end
  for _, member in ipairs(redis.call(unpack(command))) do
    local owner = string.sub(member, cut + 1)
    if owner ~= pk then
      if redis.call('SISMEMBER', living, owner) == 1 then return {'owned', i, owner} end
      -- Left behind by an object that is gone: it owns nothing.
      redis.call(words[1] == 'SMEMBERS' and 'SREM' or 'ZREM', command[2], member)
    end
  end
end

-- Commands

local function commands()
  local list = {}
  for i = 1, count() do
    local kind, words = arg(), count()
    local command = {arg(), key()}
    for w = 3, words do command[w] = arg() end
    list[i] = {kind = kind, words = command}
  end
  return list
end
local adds, writes, removes = commands(), commands(), commands()
local settles = {}
for i = 1, count() do
  local c = contents[count()]
  local both = commands()
  settles[i] = {content = c, add = both[1], remove = both[2], values = args(count())}
  c.asked = c.asked + #settles[i].values
end

-- Each key must hold the kind that is meant: SET and DEL would take any, and an index's key be lost with all its entries.
local held = {}
local function wrong(command)
  local k = command.words[2]
  local kind = held[k]
  if not kind then
    kind = redis.call('TYPE', k).ok
    if kind == 'none' then kind = command.kind end
    held[k] = kind
  end
  if command.kind ~= '' and kind ~= command.kind then
    return redis.error_reply('WRONGTYPE ' .. command.words[1] .. ' needs a ' .. command.kind
      .. ', and a key of the object or of its indexes holds a ' .. kind)
  end
end
for _, list in ipairs({adds, writes, removes}) do
  for _, command in ipairs(list) do
    local problem = wrong(command)
    if problem then return problem end
  end
end
for _, settle in ipairs(settles) do
  local problem = wrong(settle.add)
  if problem then return problem end
end

-- A user who may add entries and not remove them must learn it before anything is written. (No member is empty.)
local tried = {}
local function may(command)
  local name = command.words[1]
  if tried[name] then return end
  tried[name] = true
  local reply = redis.pcall(name, command.words[2], '')
  if type(reply) == 'table' and reply.err then return reply end
end
for _, command in ipairs(removes) do
  local problem = may(command)
  if problem then return problem end
end
for _, settle in ipairs(settles) do
  local problem = may(settle.remove)
  if problem then return problem end
end

-- The same of several writes to an object that is there: values that nobody guards could not be brought back.
if rule == 'live' and #writes > 1 and redis.acl_check_cmd then
  for _, command in ipairs(writes) do
    if not redis.acl_check_cmd(unpack(command.words)) then
      return redis.error_reply("NOPERM this user has no permissions to run the '" .. string.lower(command.words[1])
        .. "' command on a key of the object")
    end
  end
end

-- Carrying it out

local undone = {}
local function add(command)
  local words = command.words
  local score
  if words[1] == 'ZADD' then score = redis.call('ZSCORE', words[2], words[4]) end
  local reply = redis.pcall(unpack(words))
  if type(reply) == 'table' and reply.err then return reply end
  if words[1] == 'SADD' then
    if reply == 1 then undone[#undone + 1] = {'SREM', words[2], words[3]} end
  elseif not score then undone[#undone + 1] = {'ZREM', words[2], words[4]}
  else undone[#undone + 1] = {'ZADD', words[2], score, words[4]} end
end
local replies = {}
local function undo()
  for i = #undone, 1, -1 do redis.call(unpack(undone[i])) end
  local first = writes[1] and writes[1].words
  if rule ~= 'live' and replies[1] == 1 and first[1] == 'SADD' and first[3] == pk then
    -- A new object, whose first write is its pk: it had nothing before, so whatever was stored goes.
    redis.call('SREM', first[2], pk)
    for i = 2, #replies do redis.call('DEL', writes[i].words[2]) end
  end
  for i, s in ipairs(slots) do
    if read(s) ~= before[i] then restore(s, before[i]) end
  end
end
for _, command in ipairs(adds) do
  local problem = add(command)
  if problem then undo(); return problem end
end
for i, command in ipairs(writes) do
  local reply = redis.pcall(unpack(command.words))
  if type(reply) == 'table' and reply.err then undo(); return reply end
  if type(reply) == 'number' and (reply >= 9007199254740992 or reply <= -9007199254740992) then
    -- A number of Lua is a double, which is not exact from 2^53 on: the stored text is.
    if command.words[1] == 'HINCRBY' then reply = redis.call('HGET', command.words[2], command.words[3])
    else reply = redis.call('GET', command.words[2]) end
  end
  replies[i] = reply
end
local after, other = {}, false
for i = 1, #slots do
  if arg() == 'known' then
    after[i] = read(slots[i])
    if after[i] ~= expected() then other = true end
  else after[i] = false end
end
if other then undo(); return {'other', after} end
for _, command in ipairs(removes) do
  local words = command.words
  local score
  if words[1] == 'ZREM' then score = redis.call('ZSCORE', words[2], words[3]) end
  local reply = redis.pcall(unpack(words))
  if type(reply) == 'table' and reply.err then undo(); return reply end
  if words[1] == 'SREM' then
    if reply == 1 then undone[#undone + 1] = {'SADD', words[2], words[3]} end
  elseif score then undone[#undone + 1] = {'ZADD', words[2], score, words[3]} end
end
for _, c in ipairs(contents) do
  -- LPOS reads a list from its start each time: for many values, once for all is faster.
  if c.kind == 'list' and c.asked > 4 then
    c.all = {}
    for _, value in ipairs(redis.call('LRANGE', c.key, 0, -1)) do c.all[value] = true end
  end
end
local staying = {}
for _, settle in ipairs(settles) do
  local there = false
  for _, value in ipairs(settle.values) do
    if holds(settle.content, value) then there = true; break end
  end
  -- Last those that stay: two values can share a member, with a score each.
  if there then staying[#staying + 1] = settle.add else redis.call(unpack(settle.remove.words)) end
end
for _, command in ipairs(staying) do redis.call(unpack(command.words)) end
return {'done', replies, affected}
"""
