#!lua
-- order_end: cancel or expire a pending order, or refund a paid one: what it took goes back.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  order    hash    status, facts (order_pay.lua says which); missing where it was paid at once
--   4  due      zset    pending orders, scored by the time until which they can be paid
--   5  settled  zset    orders that came to an end or were paid, scored by the number of their last event
--   6  rolling  zset    product id in 16 digits, scored by minus the units sold in the ranking's window
-- ARGV
--   1  order_id     decimal text
--   2  end          cancelled, expired or refunded
--   3  caller       user id of the one who asks, or empty: anybody's order
--   4  fingerprint  32 hex digits, or empty where the request has no key
--   5  idem_key     the key's text
--   6  idem_ttl_ms  how long its record is kept
--   7  read_epoch   with facts: the epoch and number of the event up to which whoever read them knew everything
--   8  read_seq     of this order; else empty
--   9  facts        of an order that has no hash, which the log or MySQL has; else empty
--   10 paid_seq     number of the event that paid it; else empty
-- RETURNS  {outcome, answer}: answer = "<seq> <at_ms> <balance or -> <facts>"
--   NOT_FOUND   no such order here, or not the caller's
--   KEY_REUSED  the key was used for another request
--   REPLAYED    answer = that of the first request with this key
--   STALE       the facts may be old: it may have been refunded since; read again
--   NOT_DUE     it can still be paid (expired only)
--   NOT_NOW     answer = its status, from which it cannot come to this end
--   ENDED
-- EFFECTS  on ENDED only: one order_<end> event; units back to each SKU that still is, limits and coupon too;
--          on refunded the user's balance + (total - discount), sales:<hour> and rolling - units while they are
--          in the window; with several cells each sku.increases + 1; order.status = end, due without it, idem = fingerprint and answer
-- CLOCK    Redis TIME
-- COST     O(lines), at most 50
-- RETRY    safe: a second call answers NOT_NOW, or with a key REPLAYED

local order = redis.call('HMGET', KEYS[3], 'status', 'facts', 'payment')
local status, facts = order[1] or 'paid', order[2] or ARGV[9]
if facts == '' then return {'NOT_FOUND', ''} end
local user, total, discount, coupon, placed_at, expires_at, paid_at, lines = string.match(
  facts, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%S+) (%S+) (%S+)$')
if ARGV[3] ~= '' and ARGV[3] ~= user then return {'NOT_FOUND', ''} end
local tag, fingerprint = '{c' .. CELL .. '}:', ARGV[4]
local idem_key = tag .. 'idem:' .. user .. ':' .. ARGV[5]
if fingerprint ~= '' then
  local record = redis.call('GET', idem_key)
  if record then
    if string.sub(record, 1, 32) ~= fingerprint then return {'KEY_REUSED', ''} end
    return {'REPLAYED', string.sub(record, 34)}
  end
end
if not order[1] then
  -- A refund leaves a hash until its event is trimmed. So where all that happened since the facts were read is still
  -- in the log, a missing hash says that there was none.
  local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', '1')[1]
  local epoch, seq = string.match(oldest and oldest[1] or '0-0', '^(%d+)-(%d+)$')
  epoch, seq = tonumber(epoch), tonumber(seq)
  local read_epoch, read_seq = tonumber(ARGV[7]), tonumber(ARGV[8])
  if epoch > read_epoch or (epoch == read_epoch and seq > read_seq + 1) then return {'STALE', ''} end
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local refunds = ARGV[2] == 'refunded'
if status ~= (refunds and 'paid' or 'pending') then return {'NOT_NOW', status} end
if not refunds then
  local is_due = now_ms >= tonumber(expires_at)
  if ARGV[2] == 'expired' and not is_due then return {'NOT_DUE', ''} end
  if ARGV[2] == 'cancelled' and is_due then return {'NOT_NOW', status} end
end

local balance, paid_seq = '-', '0'
if refunds then
  paid_seq = order[3] and string.match(order[3], '^%d+') or ARGV[10]
  balance = string.format('%d', redis.call('HGET', tag .. 'user:' .. user, 'balance') + total - discount)
end
-- What each SKU will have left; "-" for one that went with its product.
local back, left = {}, {}
for product, option, quantity, limited in string.gmatch(lines, '(%d+):(%d+):(%d+):%d+:(%d)') do
  local sku_key = tag .. 'sku:' .. product .. ':' .. option
  local remaining = redis.call('HGET', sku_key, 'remaining')
  back[#back + 1] = {product, quantity, limited, remaining and sku_key}
  left[#left + 1] = remaining and string.format('%d', remaining + quantity) or '-'
end
-- "held <issued_at_ms> <order_id>" or "used …"; another order's, or none, where the campaign was forgotten.
local issued_at
local issues_key = tag .. 'coupon:' .. coupon .. ':issues'
if coupon ~= '0' then
  local at, of = string.match(redis.call('HGET', issues_key, user) or '', '^%a+ (%d+) (%d+)$')
  if of == ARGV[1] then issued_at = at end
end
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'order_' .. ARGV[2] .. ':1', string.format(
  '%d %s %s %s %s %s %s %s %s', now_ms, ARGV[1], facts, balance, table.concat(left, ','),
  issued_at and coupon or '0', paid_seq, fingerprint == '' and '-' or fingerprint, ARGV[5]))
if not id then return {'CLOSED'} end
local seq = string.sub(id, #EPOCH + 2)
local answer = string.format('%s %d %s %s', seq, now_ms, balance, facts)
redis.call('HSET', KEYS[3], 'status', ARGV[2], 'facts', facts, 'ended_at_ms', string.format('%d', now_ms))
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[5], seq, ARGV[1])
if refunds then
  redis.call('HINCRBY', tag .. 'user:' .. user, 'balance', string.format('%d', total - discount))
end
local placed_seq = math.floor(ARGV[1] / 1024)
local hour_key = refunds and tag .. 'sales:' .. string.format('%d', math.floor(paid_at / 3600000))
for _, it in ipairs(back) do
  local product, quantity, limited, sku_key = it[1], it[2], it[3], it[4]
  if sku_key then
    redis.call('HINCRBY', sku_key, 'remaining', quantity)
    if CELLS > 1 then redis.call('HINCRBY', sku_key, 'increases', '1') end
  end
  -- A product that was deleted and listed again counts anew.
  local born = limited == '1' and redis.call('HGET', tag .. 'product:' .. product, 'born')
  if born and placed_seq > tonumber(born) then
    if redis.call('HINCRBY', tag .. 'bought:' .. product, user, '-' .. quantity) <= 0 then
      redis.call('HDEL', tag .. 'bought:' .. product, user)
    end
  end
  -- Its units are in both sets, or have left the window with their hour.
  local member = string.format('%016d', product)
  if refunds and redis.call('ZSCORE', hour_key, member) then
    for _, key in ipairs({hour_key, KEYS[6]}) do
      if tonumber(redis.call('ZINCRBY', key, quantity, member)) >= 0 then redis.call('ZREM', key, member) end
    end
  end
end
if issued_at then redis.call('HSET', issues_key, user, 'issued ' .. issued_at) end
if fingerprint ~= '' then
  redis.call('SET', idem_key, fingerprint .. ' ' .. answer, 'PXAT', string.format('%d', now_ms + ARGV[6]))
end
return {'ENDED', answer}
