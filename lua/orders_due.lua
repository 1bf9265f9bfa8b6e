#!lua flags=allow-oom
-- orders_due: pending orders whose time is over.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
--   3  due     zset    pending orders, scored by the time until which they can be paid
-- ARGV
--   1  limit   most orders
-- RETURNS  {outcome, orders}
--   READ  orders = ids, the longest overdue first
-- EFFECTS  none
-- CLOCK    Redis TIME
-- COST     O(limit)
-- RETRY    safe

local time = redis.call('TIME')
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
return {'READ', redis.call('ZRANGE', KEYS[3], '-inf', now_ms, 'BYSCORE', 'LIMIT', '0', ARGV[1])}
