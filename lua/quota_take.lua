#!lua
-- quota_take: units of a pool arrive from another cell. Only to be called once MySQL has the event that gave them.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
--   3  pool    hash    remaining, moved, life (product_set.lua, coupon_set.lua)
--   4  quota   hash    in<cell> = "<number> <epoch> <seq>" of the last transfer from a cell; hold (quota_give.lua)
-- ARGV
--   1  pool     s:<product>:<option> or c:<coupon>
--   2  from     the cell that gave them
--   3  life     of the pool when they were given
--   4  number   of the transfer, among those from that cell to this one
--   5  units
--   6  hold_ms  how long they may not be recalled; 0: others do not wait for them
-- RETURNS  {outcome, position}
--   UNKNOWN      the pool is not here (yet), or is of an earlier life
--   VOID         the pool is of a later life: units of the earlier one went with it
--   OUT_OF_TURN  the one before it has not arrived
--   ALREADY      position = "<epoch>-<seq>" of the event that took them
--   TAKEN        the same
-- EFFECTS  on TAKEN: one quota_taken event, pool.remaining and pool.moved + units, quota.in<from>, quota.hold
-- CLOCK    Redis TIME
-- RETRY    safe: a second call answers ALREADY

local pool = redis.call('HMGET', KEYS[3], 'remaining', 'life', 'moved')
local life = tonumber(pool[2] or '0')
if life < tonumber(ARGV[3]) then return {'UNKNOWN', ''} end
if life > tonumber(ARGV[3]) then return {'VOID', ''} end
local last = redis.call('HGET', KEYS[4], 'in' .. ARGV[2])
local number, epoch, seq = string.match(last or '0 0 0', '^(%d+) (%d+) (%d+)$')
if tonumber(number) >= tonumber(ARGV[4]) then return {'ALREADY', epoch .. '-' .. seq} end
if number + 1 ~= tonumber(ARGV[4]) then return {'OUT_OF_TURN', ''} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local kind, item, option = string.match(ARGV[1], '^(%a):(%d+):?(%d*)$')
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'quota_taken:1', string.format(
  '%d %s %s %s %s %d %s %s %d %d', now_ms, kind, item, option == '' and '0' or option, ARGV[2], life, ARGV[4],
  ARGV[5], pool[1] + ARGV[5], (pool[3] or 0) + ARGV[5]))
if not id then return {'CLOSED'} end
redis.call('HINCRBY', KEYS[3], 'remaining', ARGV[5])
redis.call('HINCRBY', KEYS[3], 'moved', ARGV[5])
redis.call('HSET', KEYS[4], 'in' .. ARGV[2], string.format('%s %s %s', ARGV[4], EPOCH, string.sub(id, #EPOCH + 2)))
if ARGV[6] ~= '0' then redis.call('HSET', KEYS[4], 'hold', string.format('%d', now_ms + ARGV[6])) end
return {'TAKEN', id}
