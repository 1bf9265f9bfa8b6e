#!lua
-- product_delete: take a product off the list for good; its orders keep it.
--
-- KEYS
--   1  gate      string  the epoch in which this cell is open
--   2  events    stream  one entry per change
--   3  product   hash    options, unlisted, ends_at_ms, set_at_ms, version
--   4  products  zset    product ids, scored by themselves
--   5  bought    hash    user id -> units bought while the product had a limit per user
--   6  gifts     set     transfers on their way out of this cell (quota_give.lua)
--   7  uncopied  zset    what changed in this home cell and may not be everywhere (product_set.lua)
-- ARGV
--   1  product_id       decimal text
--   2  ended_before_ms  only a product whose sale ended, and which was last set, before this; empty: any
--   3  before           only a copy of what the home cell said before this event of its; empty: this is the home cell
-- RETURNS  {outcome, seq}
--   NOT_FOUND
--   NOT_ENDED
--   NEWER      it was listed again since
--   DELETED    seq = the event's number
-- EFFECTS  on DELETED: one product_deleted event that says what remained; product, bought, all its SKUs and their
--          transfers are gone. The same id may be listed again: a new product with a stock of its own.
-- COST     O(SKUs of its life), at most 1,050; a large `bought` is freed in the background
-- RETRY    safe: a second call answers NOT_FOUND

local product = redis.call('HMGET', KEYS[3], 'options', 'unlisted', 'ends_at_ms', 'set_at_ms', 'version')
if not product[1] then return {'NOT_FOUND', 0} end
local is_over = product[3] and math.max(product[3], product[4]) < (tonumber(ARGV[2]) or 0)
if ARGV[2] ~= '' and not is_over then return {'NOT_ENDED', 0} end

if ARGV[3] ~= '' and tonumber(product[5]) >= tonumber(ARGV[3]) then return {'NEWER', 0} end

local tag = '{c' .. CELL .. '}:'
local sku_key = tag .. 'sku:' .. ARGV[1] .. ':'
-- SKU 0 marks a product with options even where it is none of its SKUs.
local keys, left, gifts = {KEYS[3], KEYS[5], sku_key .. '0'}, {}, {}
for option in string.gmatch(product[1] .. ',' .. (product[2] or ''), '%d+') do
  local units = redis.call('HMGET', sku_key .. option, 'remaining', 'moved')
  keys[#keys + 1] = sku_key .. option
  left[#left + 1] = option .. ':' .. units[1]
  if CELLS > 1 then
    left[#left] = left[#left] .. ':' .. (units[2] or '0')
    local pool = 's:' .. ARGV[1] .. ':' .. option
    for _, field in ipairs(redis.call('HKEYS', tag .. 'quota:' .. pool)) do
      local peer = string.match(field, '^out(%d+)$')
      if peer then gifts[#gifts + 1] = pool .. ' ' .. peer end
    end
    keys[#keys + 1] = tag .. 'quota:' .. pool
    keys[#keys + 1] = tag .. 'asks:' .. pool
  end
end
local time = redis.call('TIME')
local kind = CELLS > 1 and 'product_deleted:2' or 'product_deleted:1'
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', kind, string.format(
  '%d %s %s', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1], table.concat(left, ',')))
if not id then return {'CLOSED'} end
redis.call('UNLINK', unpack(keys))
redis.call('ZREM', KEYS[4], ARGV[1])
for _, gift in ipairs(gifts) do redis.call('SREM', KEYS[6], gift) end
local seq = string.sub(id, #EPOCH + 2)
if CELLS > 1 and ARGV[3] == '' then redis.call('ZADD', KEYS[7], seq, 'p:' .. ARGV[1]) end
return {'DELETED', tonumber(seq)}
