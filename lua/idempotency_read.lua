#!lua flags=allow-oom
-- idempotency_read: what the record of a key says, for an operation whose order has left Redis.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
--   3  idem    string  fingerprint and answer of the request with this key
-- ARGV
--   1  fingerprint  32 hex digits
-- RETURNS  {outcome, answer}
--   UNUSED
--   KEY_REUSED  the key was used for another request
--   REPLAYED    answer = that of the first request with this key
-- EFFECTS  none
-- RETRY    safe

local record = redis.call('GET', KEYS[3])
if not record then return {'UNUSED', ''} end
if string.sub(record, 1, 32) ~= ARGV[1] then return {'KEY_REUSED', ''} end
return {'REPLAYED', string.sub(record, 34)}
