#!lua flags=allow-oom
-- ranking_roll: take the hours that left the ranking's window out of the rolling set, a chunk at a time.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  not touched
--   3  sales    hash    rolled_to = the newest hour (since 1970, UTC) that is no longer in `rolling`
--   4  rolling  zset    product id in 16 digits, scored by minus the units sold in the window
-- ARGV
--   1  window   hours in the window, the running one included
--   2  chunk    most products taken out in one call
-- RETURNS  {outcome, rolled_to}
--   CURRENT  nothing is left to do in this hour
--   ROLLED   a chunk was taken out; call again
-- EFFECTS  on ROLLED: units of the oldest hours leave `rolling` and their own sets `sales:<hour>`, product by
--          product, so that whoever calls, however often, takes each unit out once; rolled_to moves over empty hours
-- CLOCK    Redis TIME
-- COST     O(chunk * log products); after a stop of years, 1,000 hours a call
-- RETRY    safe

local function integer(number) return string.format('%d', number) end
local target = math.floor(redis.call('TIME')[1] / 3600) - ARGV[1]
local stored = redis.call('HGET', KEYS[3], 'rolled_to')
local before = tonumber(stored or target)
local rolled_to, left = before, tonumber(ARGV[2])
local moved = 0
while rolled_to < target and rolled_to - before < 1000 and left > 0 do
  local hour_key = '{c' .. CELL .. '}:sales:' .. integer(rolled_to + 1)
  local sold = redis.call('ZRANGE', hour_key, '0', integer(left - 1), 'WITHSCORES')
  if #sold == 0 then
    rolled_to = rolled_to + 1
  else
    for i = 1, #sold, 2 do
      if tonumber(redis.call('ZINCRBY', KEYS[4], integer(-sold[i + 1]), sold[i])) >= 0 then
        redis.call('ZREM', KEYS[4], sold[i])
      end
      redis.call('ZREM', hour_key, sold[i])
    end
    left = left - #sold / 2
    moved = moved + 1
  end
end
if rolled_to > before or not stored then redis.call('HSET', KEYS[3], 'rolled_to', integer(rolled_to)) end
return {(moved == 0 and rolled_to >= target) and 'CURRENT' or 'ROLLED', rolled_to}
