#!lua
-- product_delete: take a product off the list for good; its orders keep it.
--
-- KEYS
--   1  gate      string  the epoch in which this cell is open
--   2  events    stream  one entry per change
--   3  product   hash    options, unlisted, ends_at_ms, set_at_ms
--   4  products  zset    product ids, scored by themselves
--   5  bought    hash    user id -> units bought while the product had a limit per user
-- ARGV
--   1  product_id       decimal text
--   2  ended_before_ms  only a product whose sale ended, and which was last set, before this; empty: any
-- RETURNS  {outcome, seq}
--   NOT_FOUND
--   NOT_ENDED
--   DELETED    seq = the event's number
-- EFFECTS  on DELETED: one product_deleted event that says what remained; product, bought and all its SKUs are
--          gone. The same id may be listed again: a new product with a stock of its own.
-- COST     O(SKUs of its life), at most 1,050; a large `bought` is freed in the background
-- RETRY    safe: a second call answers NOT_FOUND

local product = redis.call('HMGET', KEYS[3], 'options', 'unlisted', 'ends_at_ms', 'set_at_ms')
if not product[1] then return {'NOT_FOUND', 0} end
local is_over = product[3] and math.max(product[3], product[4]) < (tonumber(ARGV[2]) or 0)
if ARGV[2] ~= '' and not is_over then return {'NOT_ENDED', 0} end

local sku_key = '{c' .. CELL .. '}:sku:' .. ARGV[1] .. ':'
-- SKU 0 marks a product with options even where it is none of its SKUs.
local keys, left = {KEYS[3], KEYS[5], sku_key .. '0'}, {}
for option in string.gmatch(product[1] .. ',' .. (product[2] or ''), '%d+') do
  keys[#keys + 1] = sku_key .. option
  left[#left + 1] = option .. ':' .. redis.call('HGET', sku_key .. option, 'remaining')
end
local time = redis.call('TIME')
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'product_deleted:1', string.format(
  '%d %s %s', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1], table.concat(left, ',')))
if not id then return {'CLOSED'} end
redis.call('UNLINK', unpack(keys))
redis.call('ZREM', KEYS[4], ARGV[1])
return {'DELETED', tonumber(string.sub(id, #EPOCH + 2))}
