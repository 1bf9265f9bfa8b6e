#!lua flags=allow-oom
-- order_get: find an order of the running epoch in the event log.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  the order's event, until it is persisted and trimmed
-- ARGV
--   1  seq     number of the event that placed the order
-- RETURNS  {outcome, kind, body}
--   NOT_FOUND  not here: in MySQL, or nowhere; events of older epochs are in MySQL since the cell opened
--   FOUND      kind and body of the event
-- EFFECTS  none
-- RETRY    safe

local id = EPOCH .. '-' .. ARGV[1]
local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
if not entry then return {'NOT_FOUND', '', ''} end
return {'FOUND', entry[2][1], entry[2][2]}
