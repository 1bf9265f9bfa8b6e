#!lua
-- quota_give: take units of a pool (a SKU or a campaign) out of this cell, on their way to another one.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  one entry per change
--   3  pool    hash    remaining, moved, life (product_set.lua, coupon_set.lua)
--   4  quota   hash    out<cell> = "<number> <units> <epoch> <seq>" of the last transfer to a cell, in<cell> = "<number>
--                      <epoch> <seq>" of the last one from it, hold = time until which what came stays, ask<cell> =
--                      "<until> <least>" of a cell's question (quota_ask.lua)
--   5  gifts   set     "<pool> <cell>" of each transfer whose arrival MySQL does not have yet
--   6  asks    zset    cells that wait for units of this pool, scored by the order in which they asked; in its home only
-- ARGV
--   1  pool     s:<product>:<option> or c:<coupon>
--   2  to       the cell that gets them
--   3  least    fewer are of no use
--   4  wanted   units that are waited for
--   5  share    part of what is here that is given where nobody waits, as its divisor: a cell that sells asks again
--               soon; 0: this is a recall, of half of what is here
-- RETURNS  {outcome, number, units, position, life, scarce}
--   NOT_FOUND    no such pool here
--   OUTSTANDING  the transfer before is under way: number and units = its own, position = "<epoch>-<seq>" of its event
--   HELD         what came stays for those who waited for it, for a moment (a recall only)
--   WAIT         too few are here, but for what cells need that asked before; where nobody waits for them (wanted = 0), too
--                few are left to be shared out
--   GIVEN        number, units, position as above; scarce = 1 where it is no more than what is waited for, or cells wait
-- EFFECTS  on GIVEN only: one quota_given event, pool.remaining and pool.moved - units, quota.out<to>, gifts with it,
--          asks without it
-- CLOCK    Redis TIME
-- COST     O(questions before), at most 64
-- RETRY    safe: a second call answers OUTSTANDING

local pool = redis.call('HMGET', KEYS[3], 'remaining', 'life', 'moved')
if not pool[2] then return {'NOT_FOUND', 0, 0, '', 0, 0} end
local remaining, life, to = tonumber(pool[1]), tonumber(pool[2]), ARGV[2]
local last = redis.call('HGET', KEYS[4], 'out' .. to)
local number, units, epoch, seq = string.match(last or '0 0 0 0', '^(%d+) (%d+) (%d+) (%d+)$')
if redis.call('SISMEMBER', KEYS[5], ARGV[1] .. ' ' .. to) == 1 then
  return {'OUTSTANDING', tonumber(number), tonumber(units), epoch .. '-' .. seq, life, 0}
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local least, wanted, share = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local given
local waiting, scarce, before = false, false, 0
if share == 0 then
  if remaining < 1 then return {'WAIT', 0, 0, '', life, 0} end
  if now_ms < tonumber(redis.call('HGET', KEYS[4], 'hold') or '0') then return {'HELD', 0, 0, '', life, 0} end
  given = math.min(remaining, math.max(wanted, math.ceil(remaining / 2)))
else
  -- What those need who asked before stays for them. The line is looked at as far as this; who is behind that waits.
  local line = redis.call('ZRANGE', KEYS[6], '0', '63')
  if #line > 0 then
    local fields, is_there = {}, false
    for i, cell in ipairs(line) do fields[i] = 'ask' .. cell end
    for i, ask in ipairs(redis.call('HMGET', KEYS[4], unpack(fields))) do
      local ends, needs = string.match(ask or '0 0', '^(%d+) (%d+)$')
      local counts = now_ms < tonumber(ends)
      waiting, is_there = waiting or counts, is_there or line[i] == to
      if counts and not is_there then before = before + needs end
    end
    if #line == 64 and not is_there then return {'WAIT', 0, 0, '', life, 1} end
  end
  local free = remaining - before
  if free < least then return {'WAIT', 0, 0, '', life, 1} end
  given = math.min(free, waiting and wanted or math.max(wanted, math.floor(remaining / share)))
  if given < least then return {'WAIT', 0, 0, '', life, 1} end
  scarce = waiting or given <= wanted
end

local kind, item, option = string.match(ARGV[1], '^(%a):(%d+):?(%d*)$')
number = string.format('%d', number + 1)
local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'quota_given:1', string.format(
  '%d %s %s %s %s %d %s %d %d %d', now_ms, kind, item, option == '' and '0' or option, to, life, number, given,
  remaining - given, (pool[3] or 0) - given))
if not id then return {'CLOSED'} end
local minus = string.format('%d', -given)
redis.call('HINCRBY', KEYS[3], 'remaining', minus)
redis.call('HINCRBY', KEYS[3], 'moved', minus)
redis.call('HSET', KEYS[4], 'out' .. to,
  string.format('%s %d %s %s', number, given, EPOCH, string.sub(id, #EPOCH + 2)))
redis.call('SADD', KEYS[5], ARGV[1] .. ' ' .. to)
if waiting then
  redis.call('ZREM', KEYS[6], to)
  redis.call('HDEL', KEYS[4], 'ask' .. to)
end
return {'GIVEN', tonumber(number), given, id, life, scarce and 1 or 0}
