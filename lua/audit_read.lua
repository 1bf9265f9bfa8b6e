#!lua flags=allow-oom
-- audit_read: a field, or the number of fields, of each of many hashes, and the event that they reflect, in one instant.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
--   3… hashes  wallets, SKUs, coupons or their issues, at most 1,000; one may be named again
-- ARGV
--   1… fields  for each hash, the field to read; empty: how many fields it has
-- RETURNS  {outcome, top, values}
--   READ  top = id of the newest event, values = the fields, empty where absent; "not a hash" where it is none
-- EFFECTS  none
-- COST     O(hashes)
-- RETRY    safe

local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
local values = {}
for i = 3, #KEYS do
  local field = ARGV[i - 2]
  -- A key of another type is somebody's hand in Redis: the audit names it and goes on.
  local value = field == '' and redis.pcall('HLEN', KEYS[i]) or redis.pcall('HGET', KEYS[i], field)
  values[i - 2] = type(value) == 'table' and 'not a hash' or tostring(value or '')
end
return {'READ', newest and newest[1] or '0-0', values}
