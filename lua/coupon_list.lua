#!lua flags=allow-oom
-- coupon_list: read campaigns in order of their ids.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  not touched
--   3  coupons  zset    coupon ids, scored by themselves
-- ARGV
--   1  after    only ids above this one; 0 for the first page
--   2  limit    most campaigns, 1 to 201
-- RETURNS  {outcome, coupons}
--   FOUND  coupons = {{id, name, kind, value, max_amount, min_order, quantity, remaining, starts_at_ms, ends_at_ms,
--          expires_at_ms, version, life}, …}, an absent value is an empty text
-- EFFECTS  none
-- COST     O(limit)
-- RETRY    safe

local ids = redis.call('ZRANGE', KEYS[3], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', '0', ARGV[2])
local coupons = {}
for i, id in ipairs(ids) do
  local coupon = redis.call('HMGET', '{c' .. CELL .. '}:coupon:' .. id, 'name', 'kind', 'value', 'max_amount',
    'min_order', 'quantity', 'remaining', 'starts_at_ms', 'ends_at_ms', 'expires_at_ms',
    'version', 'life')
  local row = {id}
  for field = 1, 12 do row[field + 1] = coupon[field] or '' end
  coupons[i] = row
end
return {'FOUND', coupons}
