#!lua flags=allow-oom
-- events_read: the next entries of the event log, with proof that this server was checked in this epoch.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
-- ARGV
--   1  after   event id; only entries behind it
--   2  count   most entries
-- RETURNS  {outcome, length, top, entries}
--   READ  length = entries in the stream, top = id of the newest, entries = {{id, {kind, body}}, …}
-- EFFECTS  none
-- COST     O(count)
-- RETRY    safe

local length = redis.call('XLEN', KEYS[2])
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
local entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
return {'READ', length, newest and newest[1] or '0-0', entries}
