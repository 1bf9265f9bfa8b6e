#!lua flags=allow-oom
-- audit_members: the next users of a campaign's issues, or the next products of a set of units sold.
--
-- KEYS
--   1  gate     string        the epoch in which this cell is open
--   2  events   stream        not touched
--   3  members  hash or zset  what is walked through
-- ARGV
--   1  command  HSCAN for a hash, ZSCAN for a zset
--   2  cursor   of that command; 0 begins
--   3  count    members looked at in one call
-- RETURNS  {outcome, cursor, names}
--   SCANNED  cursor = for the next call, "0": done; names = some or none, perhaps one of them again
-- EFFECTS  none
-- COST     O(count); a small one whole
-- RETRY    safe; a cursor means something only in the epoch in which it was given

local page = redis.call(ARGV[1], KEYS[3], ARGV[2], 'COUNT', ARGV[3])
local names = {}
for i = 1, #page[2], 2 do names[#names + 1] = page[2][i] end
return {'SCANNED', page[1], names}
