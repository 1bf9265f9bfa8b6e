#!lua flags=allow-oom
-- audit_sales: what some products sold, in the ranking's window and in each of its hours, in one instant.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  sales    hash    rolled_to = the newest hour (since 1970, UTC) that is no longer in `rolling`
--   4  rolling  zset    product id in 16 digits, scored by minus the units sold in the window
-- ARGV
--   1  window    hours in the window, the running one included
--   2… products  in 16 digits, none to 100
-- RETURNS  {outcome, top, rolled_to, left, rolling, hours}
--   BEHIND  more than 1,000 hours wait to be taken out of the window: roll first
--   READ    top = id of the newest event; left = the newest hour that has left the window, so that those in
--           (rolled_to, left] are being taken out, product by product; rolling = a score for each product, nil where
--           absent; hours = {{hour, scores}, …} of each hour after rolled_to that has a set
-- EFFECTS  none
-- CLOCK    Redis TIME
-- COST     O(products * hours): 100 products in 73 hours
-- RETRY    safe

local running = math.floor(redis.call('TIME')[1] / 3600)
local left = running - ARGV[1]
local rolled_to = tonumber(redis.call('HGET', KEYS[3], 'rolled_to') or left)
if left - rolled_to > 1000 then return {'BEHIND', '', 0, 0, {}, {}} end
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
local function scores(key)
  return #ARGV > 1 and redis.call('ZMSCORE', key, unpack(ARGV, 2)) or {}
end
local hours = {}
-- One window ahead: a clock that was set back finds what was sold before.
for hour = rolled_to + 1, running + ARGV[1] do
  local key = string.format('{c%s}:sales:%d', CELL, hour)
  if redis.call('EXISTS', key) == 1 then hours[#hours + 1] = {hour, scores(key)} end
end
return {'READ', newest and newest[1] or '0-0', rolled_to, left, scores(KEYS[4]), hours}
