#!lua flags=allow-oom
-- ranking_top: the listed products of which most units were sold in the window.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  not touched
--   3  sales    hash    rolled_to
--   4  rolling  zset    product id in 16 digits, scored by minus the units sold: its order is the ranking
-- ARGV
--   1  window   hours in the window, the running one included
--   2  limit    most products, 1 to 100
-- RETURNS  {outcome, products}
--   BEHIND  an hour left the window and is still counted: roll first
--   FOUND   products = {{id, name, price, stock, sold}, …}, best first, ties by lower id; price = that of the
--           cheapest option, stock = the sum
-- EFFECTS  none
-- COST     O(limit * options of a product); products no longer listed are passed over, at most 2,000
-- RETRY    safe

local rolled_to = redis.call('HGET', KEYS[3], 'rolled_to')
if rolled_to and tonumber(rolled_to) < math.floor(redis.call('TIME')[1] / 3600) - ARGV[1] then return {'BEHIND', {}} end
local tag, limit = '{c' .. CELL .. '}:', tonumber(ARGV[2])
local products = {}
for start = 0, 2000, limit do
  local sold = redis.call(
    'ZRANGE', KEYS[4], string.format('%d', start), string.format('%d', start + limit - 1), 'WITHSCORES')
  for i = 1, #sold, 2 do
    local id = string.match(sold[i], '^0*(%d+)$')
    local product = redis.call('HMGET', tag .. 'product:' .. id, 'name', 'options')
    if product[1] then
      local price, stock = nil, 0
      for option in string.gmatch(product[2], '%d+') do
        local sku = redis.call('HMGET', tag .. 'sku:' .. id .. ':' .. option, 'price', 'remaining')
        price = math.min(price or sku[1], sku[1])
        stock = stock + sku[2]
      end
      products[#products + 1] = {
        id, product[1], string.format('%d', price), string.format('%d', stock), string.format('%d', -sold[i + 1])}
      if #products == limit then return {'FOUND', products} end
    end
  end
  if #sold < 2 * limit then break end
end
return {'FOUND', products}
