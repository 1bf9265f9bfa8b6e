#!lua flags=allow-oom
-- cell_opener: append the first entry of an epoch.
--
-- KEYS
--   1  gate     string  "<epoch>!" of this recovery
--   2  events   stream  one entry per change
--   3  suspect  string  not touched
-- ARGV
--   1  token    the gate's text while this recovery owns the cell
--   2  id       "<epoch>-<base>"; base is past every number that may ever have been handed out
--   3  kept     event id of the last event before it that MySQL has
-- RETURNS  {outcome}
--   SUPERSEDED  another recovery has the cell
--   APPENDED
-- EFFECTS  on APPENDED: one opener event, the only legal gap in the log
-- RETRY    not safe: Redis refuses the id a second time

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'SUPERSEDED'} end
local time = redis.call('TIME')
redis.call('XADD', KEYS[2], ARGV[2], 'opener:1',
  string.format('%.0f %s', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[3]))
return {'APPENDED'}
