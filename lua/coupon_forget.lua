#!lua
-- coupon_forget: take a campaign that is over out of Redis; MySQL keeps it and its issues.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  coupon   hash    ends_at_ms, expires_at_ms, set_at_ms, version
--   4  coupons  zset    coupon ids, scored by themselves
--   5  issues   hash    user id -> state
--   6  gifts    set     transfers on their way out of this cell (quota_give.lua)
--   7  quota    hash    transfers of this campaign; with several cells
--   8  asks     zset    cells that wait for its units; with several cells
--   9  uncopied zset    what changed in this home cell and may not be everywhere (coupon_set.lua)
-- ARGV
--   1  coupon_id        decimal text
--   2  ended_before_ms  only a campaign whose issuing and use ended, and which was last set, before this; empty: any
--   3  before           only a copy of what the home cell said before this event of its; empty: this is the home cell
-- RETURNS  {outcome, seq}
--   NOT_FOUND
--   NOT_ENDED
--   NEWER      it was opened again since
--   FORGOTTEN  seq = the event's number
-- EFFECTS  on FORGOTTEN: one coupon_forgotten event; coupon, issues and transfers are gone. The same id may open a new campaign.
-- COST     O(1); a large `issues` is freed in the background
-- RETRY    safe: a second call answers NOT_FOUND

local coupon = redis.call('HMGET', KEYS[3], 'ends_at_ms', 'expires_at_ms', 'set_at_ms', 'version')
if not coupon[1] then return {'NOT_FOUND', 0} end
local is_over = math.max(coupon[1], coupon[2], coupon[3]) < (tonumber(ARGV[2]) or 0)
if ARGV[2] ~= '' and not is_over then return {'NOT_ENDED', 0} end
if ARGV[3] ~= '' and tonumber(coupon[4]) >= tonumber(ARGV[3]) then return {'NEWER', 0} end
local time = redis.call('TIME')
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'coupon_forgotten:1', string.format(
  '%d %s', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1]))
if not id then return {'CLOSED'} end
for _, field in ipairs(CELLS > 1 and redis.call('HKEYS', KEYS[7]) or {}) do
  local peer = string.match(field, '^out(%d+)$')
  if peer then redis.call('SREM', KEYS[6], 'c:' .. ARGV[1] .. ' ' .. peer) end
end
redis.call('UNLINK', KEYS[3], KEYS[5], KEYS[7], KEYS[8])
redis.call('ZREM', KEYS[4], ARGV[1])
local seq = string.sub(id, #EPOCH + 2)
if CELLS > 1 and ARGV[3] == '' then redis.call('ZADD', KEYS[9], seq, 'c:' .. ARGV[1]) end
return {'FORGOTTEN', tonumber(seq)}
