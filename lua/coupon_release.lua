#!lua
-- coupon_release: a pending order lets go of the coupon that it holds.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
--   3  order   hash    status, facts (order_pay.lua says which)
--   4  issues  hash    user id -> "held <issued_at_ms> <order_id>", …
-- ARGV
--   1  order_id     decimal text
--   2  coupon_id    decimal text
--   3  caller       user id of the one who asks, or empty: anybody's order
--   4  fingerprint  32 hex digits, or empty where the request has no key
--   5  idem_key     the key's text
--   6  idem_ttl_ms  how long its record is kept
-- RETURNS  {outcome, answer}: answer = "<seq> <at_ms>"
--   NOT_FOUND    no such order here, or not the caller's
--   KEY_REUSED   the key was used for another request
--   REPLAYED     answer = that of the first request with this key
--   NOT_PAYABLE  it is not pending, or its time is over
--   NOT_HELD     it holds another coupon, or none
--   RELEASED
-- EFFECTS  on RELEASED only: one coupon_released event, order.facts without discount and coupon,
--          issues[user] = issued, idem = fingerprint and answer
-- CLOCK    Redis TIME
-- COST     O(1)
-- RETRY    safe: a second call answers NOT_HELD, or with a key REPLAYED

local order = redis.call('HMGET', KEYS[3], 'status', 'facts')
if not order[1] then return {'NOT_FOUND', ''} end
local user, total, held, placed_at, expires_at, lines = string.match(
  order[2], '^(%d+) (%d+) %d+ (%d+) (%d+) (%S+) %S+ (%S+)$')
if ARGV[3] ~= '' and ARGV[3] ~= user then return {'NOT_FOUND', ''} end
local fingerprint = ARGV[4]
local idem_key = '{c' .. CELL .. '}:idem:' .. user .. ':' .. ARGV[5]
if fingerprint ~= '' then
  local record = redis.call('GET', idem_key)
  if record then
    if string.sub(record, 1, 32) ~= fingerprint then return {'KEY_REUSED', ''} end
    return {'REPLAYED', string.sub(record, 34)}
  end
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if order[1] ~= 'pending' or now_ms >= tonumber(expires_at) then return {'NOT_PAYABLE', ''} end
if held ~= ARGV[2] then return {'NOT_HELD', ''} end

local facts = string.format('%s %s 0 0 %s %s - %s', user, total, placed_at, expires_at, lines)
-- Another order's, or none, where the campaign was forgotten.
local issued_at, holder = string.match(redis.call('HGET', KEYS[4], user) or '', '^held (%d+) (%d+)$')
if holder ~= ARGV[1] then issued_at = nil end
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'coupon_released:1', string.format(
  '%d %s %s %s %s %s', now_ms, ARGV[1], facts, ARGV[2], fingerprint == '' and '-' or fingerprint, ARGV[5]))
if not id then return {'CLOSED'} end
redis.call('HSET', KEYS[3], 'facts', facts)
if issued_at then redis.call('HSET', KEYS[4], user, 'issued ' .. issued_at) end
local answer = string.format('%s %d', string.sub(id, #EPOCH + 2), now_ms)
if fingerprint ~= '' then
  redis.call('SET', idem_key, fingerprint .. ' ' .. answer, 'PXAT', string.format('%d', now_ms + ARGV[6]))
end
return {'RELEASED', answer}
