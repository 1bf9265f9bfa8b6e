#!lua
-- product_set: list a product, or change what is listed. Stock is set when a product or option is new, in the home cell;
-- the other cells get copies, whose units come by transfers (quota_give.lua).
--
-- KEYS
--   1  gate       string  the epoch in which this cell is open
--   2  events     stream  one entry per change
--   3  product    hash    name, options (ids in the order shown, "0" for none), unlisted (ids left out since,
--                         ascending), starts_at_ms, ends_at_ms, limit, set_at_ms, born (number of its first
--                         event); with several cells version and life: of the home cell's events, the number of the
--                         one that it is a copy of, and of the product's first one
--   4  products   zset    product ids, scored by themselves
--   5  uncopied   zset    what changed in this home cell and may not be everywhere: "p:<product>", scored by the number
--                         of the event; untouched with one cell
--   6… skus       hash    one for each option given: name, price, remaining, initial, starts_at_ms, ends_at_ms, limit;
--                         with several cells life, moved (units that came from other cells less those that went there)
--                         and increases (how often units came back or were put in)
-- ARGV
--   1  product_id    decimal text
--   2  name          any text
--   3  names_json    a JSON array for the event: the product's name, then the options' names
--   4  starts_at_ms  start of the sale window, or empty
--   5  ends_at_ms    its end, or empty
--   6  limit         most units per user, or empty
--   7  version       of a copy; empty in the home cell
--   8  life          of a copy; empty in the home cell
--   9  count         number of SKUs, then for each of them
--   +1 option_id     0 where the product has no options
--   +2 name          any text
--   +3 price         decimal text
--   +4 stock         units of a new SKU, or empty (0)
-- RETURNS  {outcome, item, seq, life}
--   KNOWN             this copy, or a newer one, is here
--   OTHER_LIFE        a product of an earlier life of the id is here: delete it first
--   STOCK_DIFFERS     item = index (from 1) of the SKU that exists with another initial stock
--   TOO_MANY_OPTIONS  more than 1,000 would have been left out in the product's life
--   CREATED           seq = the event's number; life = that of the product's first event in the home cell
--   UPDATED           the same
-- EFFECTS  on CREATED and UPDATED: one product_set event; product, products and the SKUs are written;
--          SKUs of options left out lose their price, window and limit, which ends their sale; their units stay
-- COST     O(SKUs given + SKUs listed or left out before), at most 50 and 1,050
-- RETRY    safe: the same product again changes nothing but the event log

local version, life = ARGV[7], ARGV[8]
local before = redis.call('HMGET', KEYS[3], 'options', 'unlisted', 'born', 'version', 'life')
if version ~= '' and before[1] then
  if tonumber(before[4]) >= tonumber(version) then return {'KNOWN', 0, 0, 0} end
  if before[5] ~= life then return {'OTHER_LIFE', 0, 0, 0} end
end
local count = tonumber(ARGV[9])
local listed = {}
local skus = {}
for i = 1, count do
  local base = 9 + (i - 1) * 4
  local option, stock = ARGV[base + 1], ARGV[base + 4]
  local known = redis.call('HMGET', KEYS[5 + i], 'initial', 'remaining')
  if known[1] and stock ~= '' and tonumber(stock) ~= tonumber(known[1]) then
    return {'STOCK_DIFFERS', i, 0, 0}
  end
  local initial = known[1] or (stock ~= '' and stock or '0')
  listed[option] = true
  skus[i] = {option, ARGV[base + 2], ARGV[base + 3], initial, known[2] or initial}
end
local left_out, unlisted = {}, {}
for option in string.gmatch((before[1] or '') .. ',' .. (before[2] or ''), '%d+') do
  if not listed[option] then unlisted[#unlisted + 1] = option end
end
if #unlisted > 1000 then return {'TOO_MANY_OPTIONS', 0, 0, 0} end
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
local kind, copy_of = 'product_set:1', ''
if CELLS > 1 then
  kind, copy_of = 'product_set:2', or_dash(version) .. ' ' .. or_dash(life) .. ' '
end
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', kind, copy_of .. table.concat({
  now_ms, ARGV[1], or_dash(ARGV[4]), or_dash(ARGV[5]), or_dash(ARGV[6]), table.concat(text, ','), ARGV[3]}, ' '))
if not id then return {'CLOSED'} end

local function window_and_limit(key)
  for field, value in pairs({starts_at_ms = ARGV[4], ends_at_ms = ARGV[5], limit = ARGV[6]}) do
    if value == '' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
  end
end
local seq = string.sub(id, #EPOCH + 2)
local born = before[1] and before[3] or seq
if life == '' then life = born end
redis.call('HSET', KEYS[3], 'name', ARGV[2], 'options', options, 'set_at_ms', now_ms, 'born', born)
if CELLS > 1 then
  redis.call('HSET', KEYS[3], 'version', version == '' and seq or version, 'life', life)
  if version == '' then redis.call('ZADD', KEYS[5], seq, 'p:' .. ARGV[1]) end
end
if #unlisted > 0 then
  redis.call('HSET', KEYS[3], 'unlisted', table.concat(unlisted, ','))
else
  redis.call('HDEL', KEYS[3], 'unlisted')
end
window_and_limit(KEYS[3])
redis.call('ZADD', KEYS[4], ARGV[1], ARGV[1])
for i = 1, count do
  local sku = skus[i]
  redis.call('HSET', KEYS[5 + i], 'name', sku[2], 'price', sku[3], 'initial', sku[4], 'remaining', sku[5])
  if CELLS > 1 then redis.call('HSET', KEYS[5 + i], 'life', life) end
  window_and_limit(KEYS[5 + i])
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
return {before[1] and 'UPDATED' or 'CREATED', 0, tonumber(seq), tonumber(life)}
