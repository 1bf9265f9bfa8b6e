#!lua flags=allow-oom
-- ranking_page: some places of this cell's ranking, whatever is listed.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  not touched
--   3  sales    hash    rolled_to
--   4  rolling  zset    product id in 16 digits, scored by minus the units sold: its order is the ranking
-- ARGV
--   1  window   hours in the window, the running one included
--   2  start    places passed over
--   3  limit    most places
-- RETURNS  {outcome, places}
--   BEHIND  an hour left the window and is still counted: roll first
--   FOUND   places = product in 16 digits and minus the units, in turn, best first
-- EFFECTS  none
-- COST     O(limit)
-- RETRY    safe

local rolled_to = redis.call('HGET', KEYS[3], 'rolled_to')
if rolled_to and tonumber(rolled_to) < math.floor(redis.call('TIME')[1] / 3600) - ARGV[1] then return {'BEHIND', {}} end
return {'FOUND', redis.call('ZRANGE', KEYS[4], ARGV[2], string.format('%d', ARGV[2] + ARGV[3] - 1), 'WITHSCORES')}
