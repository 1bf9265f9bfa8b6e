#!lua flags=allow-oom
-- cell_look: what a cell's gate and event log say, before or during a recovery.
--
-- KEYS
--   1  gate     string  "8" open, "8!" being recovered, "8?" shut half-way, missing shut
--   2  events   stream  one entry per change
--   3  suspect  string  present: a script may have stopped half-way, or a rebuild did not end
-- RETURNS  {outcome, gate, suspect, oldest, newest}
--   LOOKED  gate = its text or empty; suspect = 1 or 0; oldest and newest event id, "0-0" where there is none
-- EFFECTS  none
-- RETRY    safe

local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', '1')[1]
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
return {'LOOKED', redis.call('GET', KEYS[1]) or '', redis.call('EXISTS', KEYS[3]),
  oldest and oldest[1] or '0-0', newest and newest[1] or '0-0'}
