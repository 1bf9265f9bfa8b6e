#!lua flags=allow-oom
-- product_list: read products in order of their ids, or those that are named.
--
-- KEYS
--   1  gate      string  the epoch in which this cell is open
--   2  events    stream  not touched
--   3  products  zset    product ids, scored by themselves
-- ARGV
--   1  after     only ids above this one; 0 for the first page
--   2  limit     most products, 1 to 201
--   3… ids       only these, where any are given; after and limit do not count then
-- RETURNS  {outcome, products, now_ms}
--   FOUND  products = {{id, name, starts_at_ms, ends_at_ms, limit, {option_id, name, price, remaining, …}, version,
--          life}, …}, those named but not listed left out,
--          an absent value is an empty text; now_ms = the cell's clock, which sale windows go by
-- EFFECTS  none
-- COST     O(limit * options of a product)
-- RETRY    safe

local tag = '{c' .. CELL .. '}:'
local ids
if #ARGV > 2 then
  ids = {}
  for i = 3, #ARGV do
    if redis.call('EXISTS', tag .. 'product:' .. ARGV[i]) == 1 then ids[#ids + 1] = ARGV[i] end
  end
else
  ids = redis.call('ZRANGE', KEYS[3], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', '0', ARGV[2])
end
local products = {}
for i, id in ipairs(ids) do
  local product = redis.call('HMGET', tag .. 'product:' .. id,
    'name', 'options', 'starts_at_ms', 'ends_at_ms', 'limit', 'version', 'life')
  local skus = {}
  for option in string.gmatch(product[2] or '', '%d+') do
    local sku = redis.call('HMGET', tag .. 'sku:' .. id .. ':' .. option, 'name', 'price', 'remaining')
    for _, value in ipairs({option, sku[1] or '', sku[2] or '', sku[3] or ''}) do skus[#skus + 1] = value end
  end
  products[i] = {id, product[1] or '', product[3] or '', product[4] or '', product[5] or '', skus, product[6] or '',
    product[7] or ''}
end
local time = redis.call('TIME')
return {'FOUND', products, time[1] * 1000 + math.floor(time[2] / 1000)}
