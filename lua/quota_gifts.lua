#!lua flags=allow-oom
-- quota_gifts: some transfers out of this cell whose arrival MySQL does not have yet.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
--   3  gifts   set     "<pool> <cell>" of each of them (quota_give.lua)
-- ARGV
--   1  limit   most transfers
-- RETURNS  {outcome, gifts}
--   READ  gifts = {pool, cell, number, units, position, life, …}, some of them, any of them
-- EFFECTS  none
-- COST     O(limit)
-- RETRY    safe

local gifts = {}
for _, gift in ipairs(redis.call('SRANDMEMBER', KEYS[3], ARGV[1])) do
  local pool, to = string.match(gift, '^(%S+) (%d+)$')
  local tag, kind, rest = '{c' .. CELL .. '}:', string.match(pool, '^(%a):(.+)$')
  local last = redis.call('HGET', tag .. 'quota:' .. pool, 'out' .. to)
  local life = redis.call('HGET', tag .. (kind == 's' and 'sku:' or 'coupon:') .. rest, 'life')
  if last and life then
    local number, units, epoch, seq = string.match(last, '^(%d+) (%d+) (%d+) (%d+)$')
    for _, word in ipairs({pool, to, number, units, epoch .. '-' .. seq, life}) do gifts[#gifts + 1] = word end
  end
end
return {'READ', gifts}
