#!lua flags=allow-oom
-- quota_settle: a transfer has arrived for good. Only to be called once MySQL has the event that took it.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
--   3  quota   hash    out<cell> = "<number> …" of the last transfer to a cell (quota_give.lua)
--   4  gifts   set     "<pool> <cell>" of each transfer whose arrival MySQL does not have yet
-- ARGV
--   1  pool    s:<product>:<option> or c:<coupon>
--   2  to      the cell that got it
--   3  number  of the transfer
-- RETURNS  {outcome}
--   OTHER    another transfer is under way, or none
--   SETTLED
-- EFFECTS  on SETTLED: gifts without it, so that the next one can be given
-- RETRY    safe

local number = string.match(redis.call('HGET', KEYS[3], 'out' .. ARGV[2]) or '', '^%d+')
if number ~= ARGV[3] or redis.call('SREM', KEYS[4], ARGV[1] .. ' ' .. ARGV[2]) == 0 then return {'OTHER'} end
return {'SETTLED'}
