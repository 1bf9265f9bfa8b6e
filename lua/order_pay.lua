#!lua
-- order_pay: pay for a pending order, with the coupon it holds or with another one.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  order    hash    status, facts ("<user> <total> <discount> <coupon or 0> <placed_at_ms> <expires_at_ms or ->
--                       <paid_at_ms or -> <lines>", a line being product:option:quantity:unit_price:limited)
--   4  due      zset    pending orders, scored by the time until which they can be paid
--   5  rolling  zset    product id in 16 digits, scored by minus the units sold in the ranking's window
--   6  settled  zset    orders that came to an end or were paid, scored by the number of their last event
-- ARGV
--   1  order_id     decimal text
--   2  caller       user id of the one who asks, or empty: anybody's order
--   3  coupon_id    the coupon to use instead of the one it holds; 0: that one, or none
--   4  fingerprint  32 hex digits, or empty where the request has no key
--   5  idem_key     the key's text
--   6  idem_ttl_ms  how long its record is kept
-- RETURNS  {outcome, answer}: answer = "<seq> <at_ms> <balance> <facts>"
--   NOT_FOUND        no such order here, or not the caller's
--   KEY_REUSED       the key was used for another request
--   REPLAYED         answer = that of the first request with this key
--   ALREADY_PAID     answer = that of the payment
--   NOT_PAYABLE      it is neither pending nor paid, or its time is over
--   COUPON_INVALID   answer = not_issued, held, used, expired or below_minimum
--   BALANCE_TOO_LOW
--   PAID
-- EFFECTS  on PAID only: one order_settled event, the user's balance - (total - discount), the coupon used, one that
--          was held instead of it free again, order.status = paid, due without it, sales:<hour> and rolling + units,
--          idem = fingerprint and answer
-- CLOCK    Redis TIME
-- COST     O(lines), at most 50
-- RETRY    safe: a second payment answers ALREADY_PAID, or with a key REPLAYED

local order = redis.call('HMGET', KEYS[3], 'status', 'facts', 'payment')
local status, facts = order[1], order[2]
if not status then return {'NOT_FOUND', ''} end
local user, total, discount, held, placed_at, expires_at, _, lines = string.match(
  facts, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+)$')
if ARGV[2] ~= '' and ARGV[2] ~= user then return {'NOT_FOUND', ''} end
local tag, fingerprint = '{c' .. CELL .. '}:', ARGV[4]
local idem_key = tag .. 'idem:' .. user .. ':' .. ARGV[5]
if fingerprint ~= '' then
  local record = redis.call('GET', idem_key)
  if record then
    if string.sub(record, 1, 32) ~= fingerprint then return {'KEY_REUSED', ''} end
    return {'REPLAYED', string.sub(record, 34)}
  end
end
if status == 'paid' then return {'ALREADY_PAID', order[3]} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if status ~= 'pending' or now_ms >= tonumber(expires_at) then return {'NOT_PAYABLE', ''} end

total, discount = tonumber(total), tonumber(discount)
local coupon, issued_at = held, nil
local issues_key = tag .. 'coupon:' .. held .. ':issues'
if ARGV[3] ~= '0' and ARGV[3] ~= held then
  coupon = ARGV[3]
  local coupon_key = tag .. 'coupon:' .. coupon
  local state = redis.call('HGET', coupon_key .. ':issues', user)
  local word, at = string.match(state or 'not_issued -', '^([%a_]+) (%S+)')
  if word ~= 'issued' then return {'COUPON_INVALID', word} end
  issued_at = at
  local terms = redis.call('HMGET', coupon_key, 'kind', 'value', 'max_amount', 'min_order', 'expires_at_ms')
  if now_ms >= tonumber(terms[5]) then return {'COUPON_INVALID', 'expired'} end
  if terms[4] and total < tonumber(terms[4]) then return {'COUPON_INVALID', 'below_minimum'} end
  discount = tonumber(terms[2])
  if terms[1] == 'percent' then
    local hundredfold = total * discount
    discount = (hundredfold - hundredfold % 100) / 100
    if terms[3] then discount = math.min(discount, tonumber(terms[3])) end
  end
  discount = math.min(discount, total)
end
local balance = redis.call('HGET', tag .. 'user:' .. user, 'balance') - total + discount
if balance < 0 then return {'BALANCE_TOO_LOW', ''} end
-- What it held before, if anything: "held <issued_at_ms> <order_id>"; another order's, or none, where the campaign was
-- forgotten.
local held_since, holder
if held ~= '0' then
  held_since, holder = string.match(redis.call('HGET', issues_key, user) or '', '^held (%d+) (%d+)$')
  if holder ~= ARGV[1] then held_since = nil end
end

local paid_facts = string.format(
  '%s %d %d %s %s %s %d %s', user, total, discount, coupon, placed_at, expires_at, now_ms, lines)
local freed = held_since and coupon ~= held and held or '0'
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'order_settled:1', string.format(
  '%d %s %s %d %s %s %s', now_ms, ARGV[1], paid_facts, balance, freed,
  fingerprint == '' and '-' or fingerprint, ARGV[5]))
if not id then return {'CLOSED'} end
local seq = string.sub(id, #EPOCH + 2)
local answer = string.format('%s %d %d %s', seq, now_ms, balance, paid_facts)
redis.call('HINCRBY', tag .. 'user:' .. user, 'balance', string.format('%d', discount - total))
redis.call('HSET', KEYS[3], 'status', 'paid', 'facts', paid_facts, 'payment', answer)
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[6], seq, ARGV[1])
if held_since then
  redis.call('HSET', issues_key, user, (coupon == held and 'used ' or 'issued ') .. held_since
    .. (coupon == held and ' ' .. ARGV[1] or ''))
end
if issued_at then
  redis.call('HSET', tag .. 'coupon:' .. coupon .. ':issues', user, 'used ' .. issued_at .. ' ' .. ARGV[1])
end
local hour_key = tag .. 'sales:' .. string.format('%d', math.floor(time[1] / 3600))
for product, quantity in string.gmatch(lines, '(%d+):%d+:(%d+):%d+:%d') do
  local member = string.format('%016d', product)
  redis.call('ZINCRBY', hour_key, '-' .. quantity, member)
  redis.call('ZINCRBY', KEYS[5], '-' .. quantity, member)
end
if fingerprint ~= '' then
  redis.call('SET', idem_key, fingerprint .. ' ' .. answer, 'PXAT', string.format('%d', now_ms + ARGV[6]))
end
return {'PAID', answer}
