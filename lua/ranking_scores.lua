#!lua flags=allow-oom
-- ranking_scores: what this cell sold of some products, in the ranking's window.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  not touched
--   3  rolling  zset    product id in 16 digits, scored by minus the units sold
-- ARGV
--   1… products  in 16 digits, 1 to 1,000
-- RETURNS  {outcome, scores}
--   FOUND  scores = minus the units of each, 0 where it sold none
-- EFFECTS  none
-- COST     O(products)
-- RETRY    safe

local scores = redis.call('ZMSCORE', KEYS[3], unpack(ARGV))
for i = 1, #ARGV do scores[i] = scores[i] or '0' end
return {'FOUND', scores}
