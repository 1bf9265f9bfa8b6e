#!lua flags=allow-oom
-- quota_settle: a transfer has arrived for good. Only to be called once MySQL has the event that took it.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
--   3  quota   hash    out<cell> = "<number> …" of the last transfer to a cell (quota_give.lua)
--   4  gifts   set     "<pool> <cell>" of each transfer whose arrival MySQL does not have yet
--   5  pool    hash    life (product_set.lua, coupon_set.lua)
-- ARGV
--   1  pool    s:<product>:<option> or c:<coupon>
--   2  to      the cell that got it
--   3  number  of the transfer
--   4  life    of the pool when it was given: the numbers of each begin anew
-- RETURNS  {outcome}
--   OTHER    another transfer is under way, or none, or the pool is of another life
--   SETTLED
-- EFFECTS  on SETTLED: gifts without it, so that the next one can be given
-- RETRY    safe

if redis.call('HGET', KEYS[5], 'life') ~= ARGV[4] then return {'OTHER'} end
local number = string.match(redis.call('HGET', KEYS[3], 'out' .. ARGV[2]) or '', '^%d+')
if number ~= ARGV[3] or redis.call('SREM', KEYS[4], ARGV[1] .. ' ' .. ARGV[2]) == 0 then return {'OTHER'} end
return {'SETTLED'}
