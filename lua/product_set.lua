#!lua
-- product_set: list a product, or change what is listed. Stock is set when a product or option is new.
--
-- KEYS
--   1  gate       string  the epoch in which this cell is open
--   2  events     stream  one entry per change
--   3  product    hash    name, options (ids in the order shown, "0" for none), unlisted (ids left out since,
--                         ascending), starts_at_ms, ends_at_ms, limit, set_at_ms
--   4  products   zset    product ids, scored by themselves
--   5… skus       hash    one for each option given: name, price, remaining, initial, starts_at_ms, ends_at_ms, limit
-- ARGV
--   1  product_id    decimal text
--   2  name          any text
--   3  names_json    a JSON array for the event: the product's name, then the options' names
--   4  starts_at_ms  start of the sale window, or empty
--   5  ends_at_ms    its end, or empty
--   6  limit         most units per user, or empty
--   7  count         number of SKUs, then for each of them
--   +1 option_id     0 where the product has no options
--   +2 name          any text
--   +3 price         decimal text
--   +4 stock         units of a new SKU, or empty (0)
-- RETURNS  {outcome, item, seq}
--   STOCK_DIFFERS     item = index (from 1) of the SKU that exists with another initial stock
--   TOO_MANY_OPTIONS  more than 1,000 would have been left out in the product's life
--   CREATED           seq = the event's number
--   UPDATED           seq = the event's number
-- EFFECTS  on CREATED and UPDATED: one product_set event; product, products and the SKUs are written;
--          SKUs of options left out lose their price, window and limit, which ends their sale; their units stay
-- COST     O(SKUs given + SKUs listed or left out before), at most 50 and 1,050
-- RETRY    safe: the same product again changes nothing but the event log

local count = tonumber(ARGV[7])
local listed = {}
local skus = {}
for i = 1, count do
  local base = 7 + (i - 1) * 4
  local option, stock = ARGV[base + 1], ARGV[base + 4]
  local known = redis.call('HMGET', KEYS[4 + i], 'initial', 'remaining')
  if known[1] and stock ~= '' and tonumber(stock) ~= tonumber(known[1]) then
    return {'STOCK_DIFFERS', i, 0}
  end
  local initial = known[1] or (stock ~= '' and stock or '0')
  listed[option] = true
  skus[i] = {option, ARGV[base + 2], ARGV[base + 3], initial, known[2] or initial}
end
local before = redis.call('HMGET', KEYS[3], 'options', 'unlisted')
local left_out, unlisted = {}, {}
for option in string.gmatch((before[1] or '') .. ',' .. (before[2] or ''), '%d+') do
  if not listed[option] then unlisted[#unlisted + 1] = option end
end
if #unlisted > 1000 then return {'TOO_MANY_OPTIONS', 0, 0} end
table.sort(unlisted, function(a, b) return tonumber(a) < tonumber(b) end)
for option in string.gmatch(before[1] or '', '%d+') do
  if not listed[option] then left_out[#left_out + 1] = option end
end
local time = redis.call('TIME')
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))

local text, options = {}, {}
for i = 1, count do
  options[i] = skus[i][1]
  text[i] = skus[i][1] .. ':' .. skus[i][3] .. ':' .. skus[i][4] .. ':' .. skus[i][5]
end
options = table.concat(options, ',')
local function or_dash(value) return value == '' and '-' or value end
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'product_set:1', table.concat({
  now_ms, ARGV[1], or_dash(ARGV[4]), or_dash(ARGV[5]), or_dash(ARGV[6]), table.concat(text, ','), ARGV[3]}, ' '))
if not id then return {'CLOSED'} end

local function window_and_limit(key)
  for field, value in pairs({starts_at_ms = ARGV[4], ends_at_ms = ARGV[5], limit = ARGV[6]}) do
    if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
  end
end
redis.call('HSET', KEYS[3], 'name', ARGV[2], 'options', options, 'set_at_ms', now_ms)
if #unlisted > 0 then
  redis.call('HSET', KEYS[3], 'unlisted', table.concat(unlisted, ','))
else
  redis.call('HDEL', KEYS[3], 'unlisted')
end
window_and_limit(KEYS[3])
redis.call('ZADD', KEYS[4], ARGV[1], ARGV[1])
for i = 1, count do
  local sku = skus[i]
  redis.call('HSET', KEYS[4 + i], 'name', sku[2], 'price', sku[3], 'initial', sku[4], 'remaining', sku[5])
  window_and_limit(KEYS[4 + i])
end
local sku_key = '{c' .. CELL .. '}:sku:' .. ARGV[1] .. ':'
for _, option in ipairs(left_out) do
  redis.call('HDEL', sku_key .. option, 'price', 'starts_at_ms', 'ends_at_ms', 'limit')
end
-- A product with options has no SKU 0 to sell; the mark tells "which option?" from "no such product".
if listed['0'] then
  redis.call('HDEL', sku_key .. '0', 'has_options')
else
  redis.call('HSET', sku_key .. '0', 'has_options', '1')
end
return {before[1] and 'UPDATED' or 'CREATED', 0, tonumber(string.sub(id, #EPOCH + 2))}
