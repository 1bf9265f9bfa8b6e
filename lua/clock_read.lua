#!lua flags=allow-oom
-- clock_read: the cell's own clock, which windows, deadlines and hours go by.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
-- RETURNS  {outcome, now_ms}
--   NOW  now_ms = milliseconds since 1970
-- EFFECTS  none
-- RETRY    safe

local time = redis.call('TIME')
return {'NOW', time[1] * 1000 + math.floor(time[2] / 1000)}
