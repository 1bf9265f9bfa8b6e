#!lua flags=allow-oom
-- copies_made: a change of this home cell is everywhere, and MySQL has all copies.
--
-- KEYS
--   1  gate      string  the epoch in which this cell is open
--   2  events    stream  not touched
--   3  uncopied  zset    "p:<product>" and "c:<coupon>", scored by the number of the event (product_set.lua)
-- ARGV
--   1  name
--   2  number    of the event that is everywhere
-- RETURNS  {outcome}
--   CHANGED  it changed again since
--   MADE
-- EFFECTS  on MADE: uncopied without it
-- RETRY    safe

if redis.call('ZSCORE', KEYS[3], ARGV[1]) ~= ARGV[2] then return {'CHANGED'} end
redis.call('ZREM', KEYS[3], ARGV[1])
return {'MADE'}
