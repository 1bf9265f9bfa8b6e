#!lua
-- order_place: buy units of one or more SKUs and pay for them, or take them and pay later; all or nothing.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  user     hash    balance
--   4  idem     string  fingerprint and answer of the request with this key; untouched where ARGV 2 is empty
--   5  coupon   hash    kind, value, max_amount, min_order, expires_at_ms; untouched where ARGV 5 is 0
--   6  issues   hash    user id -> "issued <issued_at_ms>", "held <issued_at_ms> <order_id>" or "used <…> <…>"
--   7  rolling  zset    product id in 16 digits, scored by minus the units sold in the ranking's window
--   8  due      zset    pending orders, scored by the time until which they can be paid
--   9… skus     hash    price, remaining, starts_at_ms, ends_at_ms, limit, has_options; each SKU once
-- ARGV
--   1  user_id      decimal text, copied into the event
--   2  fingerprint  32 hex digits, or empty where the request has no key
--   3  idem_key     the key's text
--   4  idem_ttl_ms  how long its record is kept
--   5  coupon_id    decimal text; 0: none
--   6  within_ms    how long it can be paid; 0: it is paid at once
--   7… items        for each SKU: product_id, option_id, quantity (decimal text, 1 to 1000)
-- RETURNS  {outcome, answer, item, remaining}; item = index (from 1) of the item that was refused, or of the one of which the
--          fewest units are left;
--          answer = "<seq> <at_ms> <total> <discount> <balance or -> <coupon_id or 0> <unit price,…> [<expires_at_ms>]"
--   KEY_REUSED       the key was used for another request
--   REPLAYED         answer = that of the first request with this key
--   USER_NOT_FOUND
--   NOT_FOUND        item names no product or option that is sold
--   OPTION_REQUIRED  item names a product with options, and no option
--   TOTAL_TOO_LARGE  above 9,999,999,999,999
--   SALE_NOT_OPEN    item is outside its sale window
--   LIMIT_EXCEEDED   item takes the user over the product's limit; remaining = units they may still buy in all
--   OUT_OF_STOCK     remaining = units left of the item
--   COUPON_INVALID   answer = not_issued, held, used, expired or below_minimum
--   BALANCE_TOO_LOW  only where it is paid at once
--   PAID             remaining = units left of the item
--   PLACED           to be paid before expires_at_ms; remaining as above
-- EFFECTS  on PAID only: one order_paid event, user.balance - (total - discount), each sku.remaining - quantity,
--          bought:<product>[user] + quantity where the product has a limit, issues[user] = used,
--          sales:<hour> and rolling + quantity, idem = fingerprint and answer;
--          on PLACED: one order_placed event, each sku.remaining and bought:<product> as above, issues[user] = held,
--          the order's hash (order_pay.lua says what it holds), due with it, idem
-- CLOCK    Redis TIME, so that nodes with different clocks agree on what "open" means
-- COST     O(items), at most 50
-- RETRY    safe with a key; without one the order is placed twice

local fingerprint = ARGV[2]
if fingerprint ~= '' then
  local record = redis.call('GET', KEYS[4])
  if record then
    if string.sub(record, 1, 32) ~= fingerprint then return {'KEY_REUSED', '', 0, 0} end
    return {'REPLAYED', string.sub(record, 34), 0, 0}
  end
end
local balance = redis.call('HGET', KEYS[3], 'balance')
if not balance then return {'USER_NOT_FOUND', '', 0, 0} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

-- Every item passes one rule before the first meets the next, so that the first refusal in the
-- contract's order is the one that is told.
local tag = '{c' .. CELL .. '}:'
local later = ARGV[6] ~= '0'
local total, lines, lefts, prices, limited = 0, nil, nil, nil, nil
local closed, over, over_left, short, short_left, fewest, fewest_left
for i = 9, #KEYS do
  local arg = 7 + (i - 9) * 3
  local product, quantity = ARGV[arg], tonumber(ARGV[arg + 2])
  local sku = redis.call('HMGET', KEYS[i], 'price', 'remaining', 'starts_at_ms', 'ends_at_ms', 'limit', 'has_options')
  local price, remaining = sku[1], sku[2]
  if not price then
    return {sku[6] and 'OPTION_REQUIRED' or 'NOT_FOUND', '', i - 8, 0}
  end
  total = total + price * quantity
  if (sku[3] and now_ms < tonumber(sku[3])) or (sku[4] and now_ms >= tonumber(sku[4])) then
    closed = closed or i - 8
  end
  if sku[5] then
    limited = limited or {}
    local had = limited[product] or tonumber(redis.call('HGET', tag .. 'bought:' .. product, ARGV[1]) or '0')
    limited[product] = had + quantity
    if not over and limited[product] > tonumber(sku[5]) then
      local before = redis.call('HGET', tag .. 'bought:' .. product, ARGV[1]) or '0'
      over, over_left = i - 8, math.max(sku[5] - before, 0)
    end
  end
  local left = remaining - quantity
  if left < 0 and not short then short, short_left = i - 8, tonumber(remaining) end
  if not fewest or left < fewest_left then fewest, fewest_left = i - 8, left end
  local line
  if later then
    line = string.format('%s:%s:%s:%s:%s', product, ARGV[arg + 1], ARGV[arg + 2], price, sku[5] and '1' or '0')
    lefts = lefts and string.format('%s,%d', lefts, left) or string.format('%d', left)
  else
    line = string.format(
      '%s:%s:%s:%s:%d:%s', product, ARGV[arg + 1], ARGV[arg + 2], price, left, sku[5] and '1' or '0')
  end
  lines = lines and lines .. ',' .. line or line
  prices = prices and prices .. ',' .. price or price
end
if total > 9999999999999 then return {'TOTAL_TOO_LARGE', '', 0, 0} end
if closed then return {'SALE_NOT_OPEN', '', closed, 0} end
if over then return {'LIMIT_EXCEEDED', '', over, over_left} end
if short then return {'OUT_OF_STOCK', '', short, short_left} end

local discount, issued_at = 0, nil
if ARGV[5] ~= '0' then
  local state = redis.call('HGET', KEYS[6], ARGV[1])
  local word, at = string.match(state or 'not_issued -', '^([%a_]+) (%S+)')
  if word ~= 'issued' then return {'COUPON_INVALID', word, 0, 0} end
  issued_at = at
  local coupon = redis.call('HMGET', KEYS[5], 'kind', 'value', 'max_amount', 'min_order', 'expires_at_ms')
  if now_ms >= tonumber(coupon[5]) then return {'COUPON_INVALID', 'expired', 0, 0} end
  if coupon[4] and total < tonumber(coupon[4]) then return {'COUPON_INVALID', 'below_minimum', 0, 0} end
  discount = tonumber(coupon[2])
  if coupon[1] == 'percent' then
    -- Exact: below 2^53, and only then divided.
    local hundredfold = total * discount
    discount = (hundredfold - hundredfold % 100) / 100
    if coupon[3] then discount = math.min(discount, tonumber(coupon[3])) end
  end
  discount = math.min(discount, total)
end
balance = balance - total + discount
if balance < 0 and not later then return {'BALANCE_TOO_LOW', '', 0, 0} end

local kind, fields, facts, amounts, expires_at
if later then
  expires_at = string.format('%d', now_ms + ARGV[6])
  facts = string.format('%s %d %d %s %d %s - %s', ARGV[1], total, discount, ARGV[5], now_ms, expires_at, lines)
  amounts = string.format('%d %d - %s', total, discount, ARGV[5])
  kind, fields = 'order_placed:1', facts .. ' ' .. lefts
else
  amounts = string.format('%d %d %d %s', total, discount, balance, ARGV[5])
  kind, fields = 'order_paid:1', string.format('%s %s %s', ARGV[1], amounts, lines)
end
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', kind, string.format(
  '%d %s %s %s', now_ms, fields, fingerprint == '' and '-' or fingerprint, ARGV[3]))
if not id then return {'CLOSED'} end
local seq = string.sub(id, #EPOCH + 2)
local hour_key
if not later then
  redis.call('HINCRBY', KEYS[3], 'balance', string.format('%d', discount - total))
  hour_key = tag .. 'sales:' .. string.format('%d', math.floor(time[1] / 3600))
end
for i = 9, #KEYS do
  local arg = 7 + (i - 9) * 3
  local minus = '-' .. ARGV[arg + 2]
  redis.call('HINCRBY', KEYS[i], 'remaining', minus)
  if not later then
    local member = string.format('%016d', ARGV[arg])
    redis.call('ZINCRBY', hour_key, minus, member)
    redis.call('ZINCRBY', KEYS[7], minus, member)
  end
end
if limited then
  for product, units in pairs(limited) do
    redis.call('HSET', tag .. 'bought:' .. product, ARGV[1], string.format('%d', units))
  end
end
local answer = string.format('%s %d %s %s', seq, now_ms, amounts, prices)
if issued_at or later then
  local order = string.format('%d', seq * 1024 + CELL)
  if issued_at then
    redis.call('HSET', KEYS[6], ARGV[1], (later and 'held ' or 'used ') .. issued_at .. ' ' .. order)
  end
  if later then
    redis.call('HSET', tag .. 'order:' .. order, 'status', 'pending', 'facts', facts)
    redis.call('ZADD', KEYS[8], expires_at, order)
    answer = answer .. ' ' .. expires_at
  end
end
if fingerprint ~= '' then
  redis.call('SET', KEYS[4], fingerprint .. ' ' .. answer, 'PXAT', string.format('%d', now_ms + ARGV[4]))
end
return {later and 'PLACED' or 'PAID', answer, fewest, fewest_left}
