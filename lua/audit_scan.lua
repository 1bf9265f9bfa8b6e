#!lua flags=allow-oom
-- audit_scan: the next keys of wallets, SKUs and campaigns that Redis has, whatever MySQL knows.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
-- ARGV
--   1  cursor   of SCAN; 0 begins
--   2  pattern  glob of the keys that are wanted; others of the cell may match it too
--   3  count    keys looked at in one call
-- RETURNS  {outcome, cursor, keys}
--   SCANNED  cursor = for the next call, "0": done; keys = some or none, perhaps one of them again
-- EFFECTS  none
-- COST     O(count)
-- RETRY    safe; a cursor means something only in the epoch in which it was given

local page = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
return {'SCANNED', page[1], page[2]}
