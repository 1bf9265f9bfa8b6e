#!lua
-- coupon_issue: give one unit of a limited coupon to one user, at most once per user.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
--   3  user    hash    balance
--   4  coupon  hash    kind, value, max_amount, remaining, starts_at_ms, ends_at_ms, expires_at_ms
--   5  issues  hash    user id -> "issued <issued_at_ms>", "held <issued_at_ms> <order_id>" or "used <…> <…>"
--   6  idem    string  fingerprint and answer of the request with this key; untouched where ARGV 4 is empty
-- ARGV
--   1  coupon_id    decimal text, copied into the event
--   2  user_id      decimal text
--   3  create       1: a missing user is made; else empty
--   4  fingerprint  32 hex digits, or empty where the request has no key
--   5  idem_key     the key's text
--   6  idem_ttl_ms  how long its record is kept
-- RETURNS  {outcome, answer, number}: answer = "<seq> <at_ms> <kind> <value> <max_amount or -> <expires_at_ms>"
--   KEY_REUSED      the key was used for another request
--   REPLAYED        answer = that of the first request with this key
--   NOT_FOUND       no such coupon
--   USER_NOT_FOUND
--   NOT_STARTED     number = when issuing begins, in milliseconds
--   EXPIRED         number = when it ended
--   ALREADY_ISSUED
--   SOLD_OUT
--   ISSUED          number = units left
-- EFFECTS  on ISSUED only: one coupon_issued event, coupon.remaining - 1, issues[user] = issued, the wallet of a
--          user who was missing, idem = fingerprint and answer
-- CLOCK    Redis TIME, so that nodes with different clocks agree on what "open" means
-- COST     O(1)
-- RETRY    safe: a second call by the same user answers ALREADY_ISSUED, or with a key REPLAYED

local fingerprint = ARGV[4]
if fingerprint ~= '' then
  local record = redis.call('GET', KEYS[6])
  if record then
    if string.sub(record, 1, 32) ~= fingerprint then return {'KEY_REUSED', '', 0} end
    return {'REPLAYED', string.sub(record, 34), 0}
  end
end
local coupon = redis.call(
  'HMGET', KEYS[4], 'remaining', 'starts_at_ms', 'ends_at_ms', 'kind', 'value', 'max_amount', 'expires_at_ms')
if not coupon[1] then return {'NOT_FOUND', '', 0} end
local exists = redis.call('EXISTS', KEYS[3]) == 1
if not exists and ARGV[3] == '' then return {'USER_NOT_FOUND', '', 0} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if now_ms < tonumber(coupon[2]) then return {'NOT_STARTED', '', tonumber(coupon[2])} end
if now_ms >= tonumber(coupon[3]) then return {'EXPIRED', '', tonumber(coupon[3])} end
if redis.call('HEXISTS', KEYS[5], ARGV[2]) == 1 then return {'ALREADY_ISSUED', '', 0} end
local remaining = coupon[1] - 1
if remaining < 0 then return {'SOLD_OUT', '', 0} end

local terms = string.format('%s %s %s %s', coupon[4], coupon[5], coupon[6] or '-', coupon[7])
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'coupon_issued:1', string.format(
  '%d %s %s %d %d %s %s %s', now_ms, ARGV[1], ARGV[2], remaining, exists and 0 or 1, terms,
  fingerprint == '' and '-' or fingerprint, ARGV[5]))
if not id then return {'CLOSED'} end
redis.call('HINCRBY', KEYS[4], 'remaining', '-1')
redis.call('HSET', KEYS[5], ARGV[2], string.format('issued %d', now_ms))
if not exists then redis.call('HSET', KEYS[3], 'balance', '0') end
local answer = string.format('%s %d %s', string.sub(id, #EPOCH + 2), now_ms, terms)
if fingerprint ~= '' then
  redis.call('SET', KEYS[6], fingerprint .. ' ' .. answer, 'PXAT', string.format('%d', now_ms + ARGV[6]))
end
return {'ISSUED', answer, remaining}
