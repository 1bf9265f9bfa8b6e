#!lua flags=allow-oom
-- product_list: read products in order of their ids.
--
-- KEYS
--   1  gate      string  the epoch in which this cell is open
--   2  events    stream  not touched
--   3  products  zset    product ids, scored by themselves
-- ARGV
--   1  after     only ids above this one; 0 for the first page
--   2  limit     most products, 1 to 201
-- RETURNS  {outcome, products, now_ms}
--   FOUND  products = {{id, name, starts_at_ms, ends_at_ms, limit, {option_id, name, price, remaining, …}}, …},
--          an absent value is an empty text; now_ms = the cell's clock, which sale windows go by
-- EFFECTS  none
-- COST     O(limit * options of a product)
-- RETRY    safe

local tag = '{c' .. CELL .. '}:'
local ids = redis.call('ZRANGE', KEYS[3], '(' .. ARGV[1], '+inf', 'BYSCORE', 'LIMIT', '0', ARGV[2])
local products = {}
for i, id in ipairs(ids) do
  local product = redis.call('HMGET', tag .. 'product:' .. id, 'name', 'options', 'starts_at_ms', 'ends_at_ms', 'limit')
  local skus = {}
  for option in string.gmatch(product[2] or '', '%d+') do
    local sku = redis.call('HMGET', tag .. 'sku:' .. id .. ':' .. option, 'name', 'price', 'remaining')
    for _, value in ipairs({option, sku[1] or '', sku[2] or '', sku[3] or ''}) do skus[#skus + 1] = value end
  end
  products[i] = {id, product[1] or '', product[3] or '', product[4] or '', product[5] or '', skus}
end
local time = redis.call('TIME')
return {'FOUND', products, time[1] * 1000 + math.floor(time[2] / 1000)}
