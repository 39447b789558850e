"""The Lua script that evaluates a collection: it finds, orders and reads the objects in one atomic step.

The script takes its keys one after another, as the arguments need them. Temporary sets have keys among them, are written
only if they are needed, and are deleted before the script ends, even after an error. The keys of the objects that are read
are computed from their pks and not declared: they have the same model and key prefix as the declared ones.
"""

from __future__ import annotations

__all__ = ["EVALUATE", "FIRST"]

EVALUATE = """
local nextkey, nextarg, temporary, refused = 0, 0, {}, nil
local function key() nextkey = nextkey + 1; return KEYS[nextkey] end
local function temp() local k = key(); temporary[#temporary + 1] = k; return k end
local function arg() nextarg = nextarg + 1; return ARGV[nextarg] end
local function count() return tonumber(arg()) end
local function flag() return arg() == '1' end
local function args() local list = {}; for i = 1, count() do list[i] = arg() end; return list end

-- A command with any number of words: Lua can't call a function with many thousands at once
local function pieces(list, size, each)
  for i = 1, #list, size do each(unpack(list, i, math.min(i + size - 1, #list))) end
end
local function add(k, members) pieces(members, 4000, function(...) redis.call('SADD', k, ...) end) end
local function append(k, members) pieces(members, 4000, function(...) redis.call('RPUSH', k, ...) end) end

local function members(source)
  if source.kind == 'zset' then return redis.call('ZRANGE', source.key, 0, -1) end
  if source.kind == 'list' then return redis.call('LRANGE', source.key, 0, -1) end
  return redis.call('SMEMBERS', source.key)
end

local function meet(list, k)
  if #list == 1 then return list[1] end
  local keys, kind = {}, 'set'
  for i, source in ipairs(list) do
    keys[i] = source.key
    if source.kind == 'zset' then kind = 'zset' end
  end
  if kind == 'zset' then redis.call('ZINTERSTORE', k, #keys, unpack(keys))
  else redis.call('SINTERSTORE', k, unpack(keys)) end
  return {key = k, kind = kind}
end

-- Where pks come from

local build = {}
local function source() return build[arg()]() end
local function several() local list = {}; for i = 1, count() do list[i] = source() end; return list end
function build.set() return {key = key(), kind = 'set'} end
function build.zset() return {key = key(), kind = 'zset'} end
function build.key()
  local k, t = key(), temp()
  local kind = redis.call('TYPE', k).ok
  if kind == 'set' or kind == 'zset' then return {key = k, kind = kind} end
  if kind == 'list' then add(t, redis.call('LRANGE', k, 0, -1))
  elseif kind ~= 'none' then refused = {'kind', k, kind}; error('refused') end
  return {key = t, kind = 'set'}
end
function build.pks()
  local t = temp()
  add(t, args())
  return {key = t, kind = 'set'}
end
function build.scores()
  local k, t, low, high = key(), temp(), arg(), arg()
  add(t, redis.call('ZRANGEBYSCORE', k, low, high))
  return {key = t, kind = 'set'}
end
function build.splitscores()
  local k, t, low, high, separator = key(), temp(), arg(), arg(), arg()
  local found = {}
  for i, member in ipairs(redis.call('ZRANGEBYSCORE', k, low, high)) do
    local at = string.find(member, separator, 1, true)
    if at then found[#found + 1] = string.sub(member, at + #separator) end
  end
  add(t, found)
  return {key = t, kind = 'set'}
end
function build.texts()
  local k, t, separator = key(), temp(), arg()
  local ranges, without, found = args(), {}, {}
  for _, text in ipairs(args()) do without[text] = true end
  for i = 1, #ranges, 2 do
    for _, member in ipairs(redis.call('ZRANGEBYLEX', k, ranges[i], ranges[i + 1])) do
      local at, from = nil, 1
      while from do
        from = string.find(member, separator, from, true)
        if from then at = from; from = from + 1 end
      end
      if at and not without[string.sub(member, 1, at - 1)] then
        found[#found + 1] = string.sub(member, at + #separator)
      end
    end
  end
  add(t, found)
  return {key = t, kind = 'set'}
end
function build.any()
  local t = temp()
  for _, one in ipairs(several()) do
    if one.kind == 'set' then redis.call('SUNIONSTORE', t, t, one.key) else add(t, members(one)) end
  end
  return {key = t, kind = 'set'}
end
function build.all()
  local t = temp()
  return meet(several(), t)
end
function build.list()
  local k, t, known = key(), temp(), flag()
  local others = several()
  if known and redis.call('EXISTS', k) == 0 then refused = {'gone', k}; error('refused') end
  if #others == 0 then return {key = k, kind = 'list'} end
  local inside, kept = {}, {}
  for _, pk in ipairs(members(meet(others, temp()))) do inside[pk] = true end
  for _, pk in ipairs(redis.call('LRANGE', k, 0, -1)) do
    if inside[pk] then kept[#kept + 1] = pk end
  end
  append(t, kept)
  return {key = t, kind = 'list'}
end

-- In which order

local function positions(start, number)
  if number < 0 then return start, -1 end
  return start, start + number - 1
end

local function by_position(found, start, number, desc)
  if number == 0 then return {} end
  local first, last = positions(start, number)
  if found.kind == 'zset' then return redis.call(desc and 'ZREVRANGE' or 'ZRANGE', found.key, first, last) end
  if desc then
    local length = redis.call('LLEN', found.key)
    local low = last < 0 and 0 or length - 1 - last
    if low < 0 then low = 0 end
    local high = length - 1 - first
    if high < low then return {} end
    local list, reversed = redis.call('LRANGE', found.key, low, high), {}
    for i = #list, 1, -1 do reversed[#reversed + 1] = list[i] end
    return reversed
  end
  return redis.call('LRANGE', found.key, first, last)
end

-- SORT BY texts leaves items with equal texts in no order, which depends on LIMIT: here they are in the order of their pks.
local function by_text(found, start, number, words, by, desc)
  local command = {'SORT', found.key}
  for _, word in ipairs(words) do command[#command + 1] = word end
  for _, word in ipairs({'GET', '#', 'GET', by}) do command[#command + 1] = word end
  local reply = redis.pcall(unpack(command))
  if reply.err then error(reply) end
  local pks, from = {}, 1
  for i = 1, #reply, 2 do
    pks[#pks + 1] = reply[i]
    if i + 2 > #reply or reply[i + 3] ~= reply[i + 1] then
      local equal = {}
      for at = from, #pks do equal[#equal + 1] = pks[at] end
      table.sort(equal, function(a, b) if desc then return a > b end; return a < b end)
      for at = from, #pks do pks[at] = equal[at - from + 1] end
      from = #pks + 1
    end
  end
  local part, last = {}, number < 0 and #pks or math.min(#pks, start + number)
  for at = start + 1, last do part[#part + 1] = pks[at] end
  return part
end

local function sorted(found, start, number, words, lenient)
  local by, alpha, desc
  for i, word in ipairs(words) do
    if word == 'BY' then by = words[i + 1] elseif word == 'ALPHA' then alpha = true elseif word == 'DESC' then desc = true end
  end
  if by and alpha and string.find(by, '*', 1, true) then return by_text(found, start, number, words, by, desc) end
  local command = {'SORT', found.key, 'LIMIT', start, number}
  for _, word in ipairs(words) do command[#command + 1] = word end
  local reply = redis.pcall(unpack(command))
  if reply.err and lenient and string.find(reply.err, 'double', 1, true) then
    command[#command + 1] = 'ALPHA'  -- some pk is no number
    reply = redis.pcall(unpack(command))
  end
  if reply.err then error(reply) end
  return reply
end

local function scored(found, ranking, t, alpha)
  local pks, scores = members(found), {}
  for i, pk in ipairs(pks) do scores[i] = redis.call('ZSCORE', ranking, pk) end
  if alpha then
    local order = {}
    for i = 1, #pks do order[i] = i end
    table.sort(order, function(a, b)
      local one, other = scores[a] or '', scores[b] or ''
      if one ~= other then return one < other end
      return pks[a] < pks[b]
    end)
    for rank, i in ipairs(order) do scores[i] = rank end
  end
  for i, pk in ipairs(pks) do redis.call('ZADD', t, scores[i] or '-inf', pk) end
  return {key = t, kind = 'zset'}
end

local function ordered(found)
  local how, ranking, start, number = arg(), nil, nil, nil
  if how == 'any' then return members(found) end
  if how == 'score' then
    ranking = key()
    local t, alpha, desc = temp(), flag(), flag()
    start, number = count(), count()
    return by_position(scored(found, ranking, t, alpha), start, number, desc), ranking
  end
  local desc, words, lenient = flag(), args(), flag()
  start, number = count(), count()
  if how == 'own' and found.kind ~= 'set' then return by_position(found, start, number, desc) end
  return sorted(found, start, number, words, lenient)
end

-- What is read of each

local function rows(pks, ranking)
  local base, names, columns, flat = arg(), args(), {}, {}
  for i = 1, count() do columns[i] = {kind = arg(), name = arg()} end
  for _, pk in ipairs(pks) do
    local entries = base .. ':' .. pk .. ':'
    local hash = #names > 0 and redis.call('HMGET', entries .. 'hash', unpack(names))
    for _, column in ipairs(columns) do
      local value = false
      if column.kind == 'pk' then value = pk
      elseif column.kind == 'hash' then value = hash[tonumber(column.name)]
      elseif column.kind == 'string' then value = redis.call('GET', entries .. column.name)
      elseif ranking then value = redis.call('ZSCORE', ranking, pk) or '-inf' end
      flat[#flat + 1] = value
    end
  end
  return flat
end

local function size(found)
  if found.kind == 'zset' then return redis.call('ZCARD', found.key) end
  if found.kind == 'list' then return redis.call('LLEN', found.key) end
  return redis.call('SCARD', found.key)
end

local function evaluate()
  local found, wanted = source(), arg()
  if wanted == 'count' then return size(found) end
  local pks, ranking = ordered(found)
  if wanted == 'rows' then return rows(pks, ranking) end
  if wanted == 'store' then
    local target, seconds = key(), arg()
    redis.call('DEL', target)
    append(target, pks)
    if seconds ~= '' and #pks > 0 then redis.call('EXPIRE', target, seconds) end
    return #pks
  end
  return pks
end

local fine, reply = pcall(evaluate)
for _, k in ipairs(temporary) do redis.call('DEL', k) end
if fine then return {'ok', reply} end
if refused then return refused end
if type(reply) == 'table' then return {err = reply.err} end
return {err = tostring(reply)}
"""

FIRST = """
local live, number, found = KEYS[1], tonumber(ARGV[1]), {}
local some = redis.call('SRANDMEMBER', KEYS[2], number)
for _, pk in ipairs(some) do
  if redis.call('SISMEMBER', live, pk) == 1 then found[#found + 1] = pk end
end
if #found == number or #some < number then return found end
found = redis.call('SINTER', live, KEYS[2])
return {unpack(found, 1, math.min(number, #found))}
"""
"""Return up to a number of live pks of a set. It tries random members first, and reads the set only if one is not live."""
