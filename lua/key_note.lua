#!lua
-- key_note: remember a key's answer for a request that changes nothing here: a payment of an order that was paid before, or
-- a change that another cell makes.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
--   3  idem    string  fingerprint and answer of the request with this key
-- ARGV
--   1  scope        the user whose key it is; 0: an administrator's
--   2  fingerprint  32 hex digits
--   3  key          the caller's key, for the event
--   4  ttl_ms       how long the key is kept
--   5  answer       what the caller is told, as the record holds it
-- RETURNS  {outcome, answer}
--   KEY_REUSED  the key was used for another request
--   REPLAYED    answer = that of the first request with this key
--   NOTED       answer = number of the event
-- EFFECTS  on NOTED: one key_noted event; idem = fingerprint and answer
-- CLOCK    Redis TIME
-- RETRY    safe

local record = redis.call('GET', KEYS[3])
if record then
  if string.sub(record, 1, 32) ~= ARGV[2] then return {'KEY_REUSED', ''} end
  return {'REPLAYED', string.sub(record, 34)}
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local _, spaces = string.gsub(ARGV[5], ' ', ' ')

local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'key_noted:1', string.format(
  '%d %s %d %s %s %s', now_ms, ARGV[1], spaces + 1, ARGV[5], ARGV[2], ARGV[3]))
if not id then return {'CLOSED'} end
redis.call('SET', KEYS[3], ARGV[2] .. ' ' .. ARGV[5], 'PXAT', string.format('%d', now_ms + ARGV[4]))
return {'NOTED', string.sub(id, #EPOCH + 2)}
