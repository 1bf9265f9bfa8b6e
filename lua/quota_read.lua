#!lua flags=allow-oom
-- quota_read: what this cell has of each of many pools, in one instant.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
--   3… pools   hashes  remaining, moved, increases, life of SKUs and campaigns; at most 1,000
-- RETURNS  {outcome, values}
--   READ  values = remaining, moved, increases, life of each pool in turn; empty texts where it is not here
-- EFFECTS  none
-- COST     O(pools)
-- RETRY    safe

local values = {}
for i = 3, #KEYS do
  local pool = redis.call('HMGET', KEYS[i], 'remaining', 'moved', 'increases', 'life')
  for field = 1, 4 do values[#values + 1] = pool[field] or '' end
end
return {'READ', values}
