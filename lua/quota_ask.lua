#!lua flags=allow-oom
-- quota_ask: a cell waits for units of a pool, in the pool's home.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
--   3  pool    hash    remaining, life (product_set.lua, coupon_set.lua)
--   4  quota   hash    ask<cell> = time until which a cell's question counts
--   5  asks    zset    cells that wait for units of this pool, scored by the order in which they asked
-- ARGV
--   1  cell    that waits
--   2  least   fewer are of no use
--   3  ask_ms  how long the question counts; a cell that still waits asks again, and keeps its place; 0: it waits no more
-- RETURNS  {outcome}
--   NOT_FOUND  no such pool here
--   READY      it is the cell's turn, and so many are here
--   GONE       it waits no more
--   WAITING
-- EFFECTS  on READY and GONE asks without the cell, on WAITING with it; questions that are over leave, 16 at most
-- CLOCK    Redis TIME
-- COST     O(log cells)
-- RETRY    safe

local pool = redis.call('HMGET', KEYS[3], 'remaining', 'life')
if not pool[2] then return {'NOT_FOUND'} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local first
for _ = 1, 16 do
  first = redis.call('ZRANGE', KEYS[5], '0', '0')[1]
  if not first or now_ms < tonumber(redis.call('HGET', KEYS[4], 'ask' .. first) or '0') then break end
  redis.call('ZREM', KEYS[5], first)
  redis.call('HDEL', KEYS[4], 'ask' .. first)
end
local is_ready = (not first or first == ARGV[1]) and tonumber(pool[1]) >= tonumber(ARGV[2])
if is_ready or ARGV[3] == '0' then
  redis.call('ZREM', KEYS[5], ARGV[1])
  redis.call('HDEL', KEYS[4], 'ask' .. ARGV[1])
  if is_ready then return {'READY'} end
  return {'GONE'}
end
local newest = redis.call('ZRANGE', KEYS[5], '-1', '-1', 'WITHSCORES')[2]
redis.call('ZADD', KEYS[5], 'NX', string.format('%d', (newest or 0) + 1), ARGV[1])
redis.call('HSET', KEYS[4], 'ask' .. ARGV[1], string.format('%d', now_ms + ARGV[3]))
return {'WAITING'}
