#!lua flags=allow-oom
-- quota_ask: a cell waits for units of a pool, in the pool's home.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
--   3  pool    hash    remaining, life (product_set.lua, coupon_set.lua)
--   4  quota   hash    ask<cell> = "<until> <least>": the time until which a cell's question counts, and what it needs
--   5  asks    zset    cells that wait for units of this pool, scored by the order in which they asked
-- ARGV
--   1  cell    that waits
--   2  least   fewer are of no use
--   3  ask_ms  how long the question counts; a cell that still waits asks again, and keeps its place; 0: it waits no more
-- RETURNS  {outcome}
--   NOT_FOUND  no such pool here
--   READY      so many are here, and what cells need that asked before; its place is kept for a fifth of ask_ms
--   GONE       it waits no more
--   WAITING
-- EFFECTS  on GONE asks without the cell, on WAITING with it; questions that are over leave, 16 at most
-- CLOCK    Redis TIME
-- COST     O(questions before), at most 64
-- RETRY    safe

local pool = redis.call('HMGET', KEYS[3], 'remaining', 'life')
if not pool[2] then return {'NOT_FOUND'} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local line = redis.call('ZRANGE', KEYS[5], '0', '63')
local before, gone, has_place = 0, 0, false
if #line > 0 then
  local fields = {}
  for i, cell in ipairs(line) do fields[i] = 'ask' .. cell end
  for i, ask in ipairs(redis.call('HMGET', KEYS[4], unpack(fields))) do
    if line[i] == ARGV[1] then
      has_place = true
      break
    end
    local ends, needs = string.match(ask or '0 0', '^(%d+) (%d+)$')
    if now_ms < tonumber(ends) then
      before = before + needs
    elseif gone < 16 then
      gone = gone + 1
      redis.call('ZREM', KEYS[5], line[i])
      redis.call('HDEL', KEYS[4], fields[i])
    end
    -- The line is looked at as far as this.
    if i == 64 then before = math.huge end
  end
end
if ARGV[3] == '0' then
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('HDEL', KEYS[4], 'ask' .. ARGV[1])
  return {'GONE'}
end
local function counts_for(ms)
  redis.call('HSET', KEYS[4], 'ask' .. ARGV[1], string.format('%d %s', now_ms + ms, ARGV[2]))
end
if pool[1] - before >= tonumber(ARGV[2]) then
  -- Until it was given them; without its place others could take them first, again and again.
  if has_place then counts_for(ARGV[3] / 5) end
  return {'READY'}
end
local newest = redis.call('ZRANGE', KEYS[5], '-1', '-1', 'WITHSCORES')[2]
redis.call('ZADD', KEYS[5], 'NX', string.format('%d', (newest or 0) + 1), ARGV[1])
counts_for(ARGV[3])
return {'WAITING'}
