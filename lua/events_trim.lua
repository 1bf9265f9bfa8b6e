#!lua flags=allow-oom
-- events_trim: drop the oldest persisted entries, but for the newest ones that are kept.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  settled  zset    orders that came to an end or were paid, scored by the number of their last event
-- ARGV
--   1  seq     number of the newest persisted event of this epoch
--   2  keep    persisted entries that stay, for a MySQL failover that lost its tail
--   3  chunk   most entries dropped in one call
-- RETURNS  {outcome, dropped}
--   TRIMMED  dropped = entries dropped
-- EFFECTS  the stream is shorter, and the hashes of settled orders go whose last event went; nothing that MySQL does not have is ever dropped, since all entries
--          behind ARGV 1 count as wanted
-- COST     O(chunk)
-- RETRY    safe

local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
if not newest then return {'TRIMMED', 0} end
-- Entries of one epoch are contiguous, so the difference of two numbers is a count of entries.
local unpersisted = string.sub(newest[1], #EPOCH + 2) - ARGV[1]
local length = redis.call('XLEN', KEYS[2])
local surplus = math.min(length - unpersisted - ARGV[2], tonumber(ARGV[3]))
if unpersisted < 0 or surplus <= 0 then return {'TRIMMED', 0} end
local dropped = redis.call('XTRIM', KEYS[2], 'MAXLEN', '=', string.format('%.0f', length - surplus))
-- Each entry settles one order at most.
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', '1')[1]
local before = oldest and string.match(oldest[1], '%d+$') or '0'
local settled = redis.call('ZRANGE', KEYS[3], '-inf', '(' .. before, 'BYSCORE', 'LIMIT', '0', ARGV[3])
local hashes = {}
for i, order in ipairs(settled) do hashes[i] = '{c' .. CELL .. '}:order:' .. order end
if #settled > 0 then
  redis.call('UNLINK', unpack(hashes))
  redis.call('ZREM', KEYS[3], unpack(settled))
end
return {'TRIMMED', dropped}
