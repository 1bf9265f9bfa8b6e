#!lua flags=allow-oom
-- audit_read: a field of each of many hashes, and the event that they reflect, in one instant.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
--   3… hashes  wallets, SKUs, coupons or their issues, at most 1,000; one may be named again
-- ARGV
--   1… fields  for each hash, the field to read
-- RETURNS  {outcome, top, values}
--   READ  top = id of the newest event, values = the fields, empty where absent
-- EFFECTS  none
-- COST     O(hashes)
-- RETRY    safe

local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
local values = {}
for i = 3, #KEYS do values[i - 2] = redis.call('HGET', KEYS[i], ARGV[i - 2]) or '' end
return {'READ', newest and newest[1] or '0-0', values}
