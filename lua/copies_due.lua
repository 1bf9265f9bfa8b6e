#!lua flags=allow-oom
-- copies_due: what changed in this home cell and may not be everywhere.
--
-- KEYS
--   1  gate      string  the epoch in which this cell is open
--   2  events    stream  not touched
--   3  uncopied  zset    "p:<product>" and "c:<coupon>", scored by the number of the event (product_set.lua)
-- ARGV
--   1  limit     most of them
-- RETURNS  {outcome, changes}
--   READ  changes = {name, number, …}, the oldest first
-- EFFECTS  none
-- COST     O(limit)
-- RETRY    safe

return {'READ', redis.call('ZRANGE', KEYS[3], '0', string.format('%d', ARGV[1] - 1), 'WITHSCORES')}
