#!lua
-- product_restock: add units to a SKU, or take unsold ones away, in its home cell.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  sku      hash    remaining, price, has_options, moved (written by product_set.lua)
--   4  idem     string  fingerprint and answer of the request with this key; untouched where ARGV 5 is empty
-- ARGV
--   1  product_id   decimal text, copied into the event
--   2  option_id    decimal text, copied into the event
--   3  delta        decimal text, may be negative
--   4  stock_max    most units a SKU may hold
--   5  fingerprint  32 hex digits, or empty where the request has no key
--   6  idem_key     the key's text
--   7  idem_ttl_ms  how long its record is kept
--   8  caller       user id that the key belongs to; 0 for an administrator
--   9  elsewhere    units of all other cells, less what came to each by transfers; 0 with one cell
-- RETURNS  {outcome, answer, remaining}; answer = "<seq> <at_ms> <remaining>"; remaining = units in all cells
--   KEY_REUSED       the key was used for another request
--   REPLAYED         answer = that of the first request with this key
--   NOT_FOUND        no such product or option, or no longer sold
--   OPTION_REQUIRED  the product has options and none was named
--   OUT_OF_RANGE     remaining = units left, which the delta would take below zero or over stock_max
--   SHORT            there are enough, but in other cells: recall them, then call again
--   RESTOCKED        remaining = units left now
-- EFFECTS  on RESTOCKED only: one restocked event, sku.remaining + delta, idem = fingerprint and answer; with several
--          cells sku.increases + 1
-- RETRY    safe with a key; without one the units are added twice

if ARGV[5] ~= '' then
  local record = redis.call('GET', KEYS[4])
  if record then
    if string.sub(record, 1, 32) ~= ARGV[5] then return {'KEY_REUSED', '', 0} end
    return {'REPLAYED', string.sub(record, 34), 0}
  end
end
local sku = redis.call('HMGET', KEYS[3], 'price', 'remaining', 'has_options', 'moved')
if not sku[1] then
  return {sku[3] and 'OPTION_REQUIRED' or 'NOT_FOUND', '', 0}
end
-- Units that are on their way count in neither cell: what came and went is taken out on both sides.
local others = ARGV[9] - (sku[4] or 0)
local here = tonumber(sku[2]) + tonumber(ARGV[3])
local remaining = here + others
if remaining < 0 or remaining > tonumber(ARGV[4]) then return {'OUT_OF_RANGE', '', tonumber(sku[2]) + others} end
if here < 0 then return {'SHORT', '', 0} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kind = CELLS > 1 and 'restocked:2' or 'restocked:1'
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', kind, string.format(
  '%d %s %s %s %d %s%s %s %s', now_ms, ARGV[1], ARGV[2], ARGV[3], here,
  CELLS > 1 and string.format('%d ', remaining) or '', ARGV[8], ARGV[5] == '' and '-' or ARGV[5], ARGV[6]))
if not id then return {'CLOSED'} end
redis.call('HINCRBY', KEYS[3], 'remaining', ARGV[3])
if CELLS > 1 then redis.call('HINCRBY', KEYS[3], 'increases', '1') end
local answer = string.format('%s %d %d', string.sub(id, #EPOCH + 2), now_ms, remaining)
if ARGV[5] ~= '' then
  redis.call('SET', KEYS[4], ARGV[5] .. ' ' .. answer, 'PXAT', string.format('%d', now_ms + ARGV[7]))
end
return {'RESTOCKED', answer, remaining}
