#!lua
-- coupon_set: open a campaign of coupons, or change what it says, in its home cell; the other cells get copies, whose
-- units come by transfers (quota_give.lua).
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  coupon   hash    name, kind, value, max_amount, min_order, quantity, remaining, starts_at_ms, ends_at_ms,
--                       expires_at_ms, set_at_ms; with several cells version and life: of the home cell's events,
--                       the number of the one that it is a copy of, and of the campaign's first one; moved (units that
--                       came from other cells less those that went there), increases (how often units were put in)
--   4  coupons  zset    coupon ids, scored by themselves
--   5  uncopied zset    what changed in this home cell and may not be everywhere: "c:<coupon>", scored by the number of
--                       the event; untouched with one cell
-- ARGV
--   1   coupon_id      decimal text
--   2   name           any text
--   3   kind           fixed or percent
--   4   value          minor units, or whole percent
--   5   max_amount     most that a percentage takes off, or empty
--   6   min_order      least total of an order that may use it, or empty
--   7   quantity       units, those already issued included
--   8   starts_at_ms   start of issuing
--   9   ends_at_ms     its end
--   10  expires_at_ms  end of use
--   11  version        of a copy; empty in the home cell
--   12  life           of a copy; empty in the home cell
-- RETURNS  {outcome, issued, seq, life}
--   KNOWN         this copy, or a newer one, is here
--   OTHER_LIFE    a campaign of an earlier life of the id is here: forget it first
--   BELOW_ISSUED  issued = units that users have already; with several cells those that this one gave or handed out,
--                 and the unsold ones may be recalled
--   CREATED       seq = the event's number; life = that of the campaign's first event in the home cell
--   UPDATED       the same
-- EFFECTS  on CREATED and UPDATED: one coupon_set event; coupon and coupons are written
-- COST     O(1)
-- RETRY    safe: the same campaign again changes nothing but the event log

local version, life = ARGV[11], ARGV[12]
local before = redis.call('HMGET', KEYS[3], 'quantity', 'remaining', 'version', 'life', 'moved')
local issued = before[1] and before[1] - before[2] or 0
local remaining = ARGV[7] - issued
if version ~= '' then
  if before[1] and tonumber(before[3]) >= tonumber(version) then return {'KNOWN', 0, 0, 0} end
  if before[1] and before[4] ~= life then return {'OTHER_LIFE', 0, 0, 0} end
  remaining = tonumber(before[2] or '0')
end
if remaining < 0 then return {'BELOW_ISSUED', issued, 0, 0} end
local time = redis.call('TIME')
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
local function or_dash(value) return value == '' and '-' or value end
local kind, copy_of = 'coupon_set:1', ''
if CELLS > 1 then
  kind = 'coupon_set:2'
  copy_of = string.format('%s %s %s ', or_dash(version), or_dash(life), before[5] or '0')
end
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', kind, copy_of .. string.format(
  '%s %s %s %s %s %s %s %d %s %s %s %s', now_ms, ARGV[1], ARGV[3], ARGV[4],
  or_dash(ARGV[5]), or_dash(ARGV[6]), ARGV[7], remaining, ARGV[8], ARGV[9], ARGV[10], ARGV[2]))
if not id then return {'CLOSED'} end
redis.call('HSET', KEYS[3], 'name', ARGV[2], 'kind', ARGV[3], 'value', ARGV[4], 'quantity', ARGV[7],
  'remaining', string.format('%d', remaining), 'starts_at_ms', ARGV[8], 'ends_at_ms', ARGV[9], 'expires_at_ms', ARGV[10],
  'set_at_ms', now_ms)
for field, value in pairs({max_amount = ARGV[5], min_order = ARGV[6]}) do
  if value == '' then redis.call('HDEL', KEYS[3], field) else redis.call('HSET', KEYS[3], field, value) end
end
redis.call('ZADD', KEYS[4], ARGV[1], ARGV[1])
local seq = string.sub(id, #EPOCH + 2)
if life == '' then life = before[4] or seq end
if CELLS > 1 then
  redis.call('HSET', KEYS[3], 'version', version == '' and seq or version, 'life', life)
  if version == '' then
    redis.call('HINCRBY', KEYS[3], 'increases', '1')
    redis.call('ZADD', KEYS[5], seq, 'c:' .. ARGV[1])
  end
end
return {before[1] and 'UPDATED' or 'CREATED', issued, tonumber(seq), tonumber(life)}
