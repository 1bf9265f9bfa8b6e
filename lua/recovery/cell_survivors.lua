#!lua flags=allow-oom
-- cell_survivors: the next entries of the event log, read by a recovery.
--
-- KEYS
--   1  gate    string  "<epoch>!" of this recovery
--   2  events  stream  one entry per change
--   3  suspect string  not touched
-- ARGV
--   1  token   the gate's text while this recovery owns the cell
--   2  after   event id; only entries behind it
--   3  count   most entries
-- RETURNS  {outcome, entries}
--   SUPERSEDED  another recovery has the cell
--   READ        entries = {{id, {kind, body}}, …}
-- EFFECTS  none
-- RETRY    safe

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'SUPERSEDED', {}} end
return {'READ', redis.call('XRANGE', KEYS[2], '(' .. ARGV[2], '+', 'COUNT', ARGV[3])}
