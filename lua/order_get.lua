#!lua flags=allow-oom
-- order_get: find an order here: as it stands, or as the event that placed it says.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  the order's event, until it is persisted and trimmed
--   3  order   hash    status, facts, ended_at_ms, payment, of one that was placed for later payment, or refunded
-- ARGV
--   1  seq     number of the event that placed the order
-- RETURNS  {outcome, first, second, third}
--   NOT_FOUND  not here: in MySQL, or nowhere; events of older epochs are in MySQL since the cell opened
--   HELD       status, facts, ended_at_ms or an empty text
--   LOGGED     kind and body of the event of an order paid at once
-- EFFECTS  none
-- RETRY    safe

local order = redis.call('HMGET', KEYS[3], 'status', 'facts', 'ended_at_ms')
if order[1] then return {'HELD', order[1], order[2], order[3] or ''} end
local id = EPOCH .. '-' .. ARGV[1]
local entry = redis.call('XRANGE', KEYS[2], id, id)[1]
if not entry then return {'NOT_FOUND', '', '', ''} end
return {'LOGGED', entry[2][1], entry[2][2], ''}
