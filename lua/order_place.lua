#!lua
-- order_place: buy units of one or more SKUs and pay for them, all or nothing.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
--   3  user    hash    balance
--   4  bought  hash    product id -> units this user bought while the product had a limit per user
--   5  idem    string  fingerprint and answer of the request with this key; untouched where ARGV 2 is empty
--   6… skus    hash    price, remaining, starts_at_ms, ends_at_ms, limit, has_options; each SKU once
-- ARGV
--   1  user_id      decimal text, copied into the event
--   2  fingerprint  32 hex digits, or empty where the request has no key
--   3  idem_key     the key's text
--   4  idem_ttl_ms  how long its record is kept
--   5… items        for each SKU: product_id, option_id, quantity (decimal text, 1 to 1000)
-- RETURNS  {outcome, answer, item, remaining}; item = index (from 1) of the item that was refused;
--          answer = "<seq> <at_ms> <total> <discount> <balance> <coupon_id or 0> <unit price,…>"
--   KEY_REUSED       the key was used for another request
--   REPLAYED         answer = that of the first request with this key
--   USER_NOT_FOUND
--   NOT_FOUND        item names no product or option that is sold
--   OPTION_REQUIRED  item names a product with options, and no option
--   TOTAL_TOO_LARGE  above 9,999,999,999,999
--   SALE_NOT_OPEN    item is outside its sale window
--   LIMIT_EXCEEDED   item takes the user over the product's limit; remaining = units they may still buy
--   OUT_OF_STOCK     remaining = units left of the item
--   BALANCE_TOO_LOW
--   PAID
-- EFFECTS  on PAID only: one order_paid event, user.balance - total, each sku.remaining - quantity,
--          bought + quantity where the product has a limit, idem = fingerprint and answer
-- CLOCK    Redis TIME, so that nodes with different clocks agree on what "open" means
-- COST     O(items), at most 50
-- RETRY    safe with a key; without one the order is placed twice

local fingerprint = ARGV[2]
if fingerprint ~= '' then
  local record = redis.call('GET', KEYS[5])
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
local total, lines, prices, limited = 0, nil, nil, nil
local closed, over, over_left, short, short_left
for i = 6, #KEYS do
  local arg = 5 + (i - 6) * 3
  local product, quantity = ARGV[arg], tonumber(ARGV[arg + 2])
  local sku = redis.call('HMGET', KEYS[i], 'price', 'remaining', 'starts_at_ms', 'ends_at_ms', 'limit', 'has_options')
  local price, remaining = sku[1], sku[2]
  if not price then
    return {sku[6] and 'OPTION_REQUIRED' or 'NOT_FOUND', '', i - 5, 0}
  end
  total = total + price * quantity
  if (sku[3] and now_ms < tonumber(sku[3])) or (sku[4] and now_ms >= tonumber(sku[4])) then
    closed = closed or i - 5
  end
  if sku[5] then
    limited = limited or {}
    local had = limited[product] or tonumber(redis.call('HGET', KEYS[4], product) or '0')
    limited[product] = had + quantity
    if not over and limited[product] > tonumber(sku[5]) then
      over, over_left = i - 5, math.max(sku[5] - had, 0)
    end
  end
  local left = remaining - quantity
  if left < 0 and not short then short, short_left = i - 5, tonumber(remaining) end
  local line = string.format(
    '%s:%s:%s:%s:%d:%s', product, ARGV[arg + 1], ARGV[arg + 2], price, left, sku[5] and '1' or '0')
  lines = lines and lines .. ',' .. line or line
  prices = prices and prices .. ',' .. price or price
end
if total > 9999999999999 then return {'TOTAL_TOO_LARGE', '', 0, 0} end
if closed then return {'SALE_NOT_OPEN', '', closed, 0} end
if over then return {'LIMIT_EXCEEDED', '', over, over_left} end
if short then return {'OUT_OF_STOCK', '', short, short_left} end
balance = balance - total
if balance < 0 then return {'BALANCE_TOO_LOW', '', 0, 0} end

local amounts = string.format('%d 0 %d 0', total, balance)
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'order_paid:1', string.format(
  '%d %s %s %s %s %s', now_ms, ARGV[1], amounts, lines,
  fingerprint == '' and '-' or fingerprint, ARGV[3]))
if not id then return {'CLOSED'} end
redis.call('HINCRBY', KEYS[3], 'balance', string.format('%d', -total))
for i = 6, #KEYS do
  redis.call('HINCRBY', KEYS[i], 'remaining', '-' .. ARGV[7 + (i - 6) * 3])
end
if limited then
  for product, units in pairs(limited) do
    redis.call('HSET', KEYS[4], product, string.format('%d', units))
  end
end
local answer = string.format('%s %d %s %s', string.sub(id, #EPOCH + 2), now_ms, amounts, prices)
if fingerprint ~= '' then
  redis.call('SET', KEYS[5], fingerprint .. ' ' .. answer, 'PXAT', string.format('%d', now_ms + ARGV[4]))
end
return {'PAID', answer, 0, 0}
