#!lua flags=allow-oom
-- fence: does nothing. That a server has this text in its script cache says "checked in this epoch":
-- the cache is gone after a restart, and a promoted replica does not have it.
--
-- KEYS
--   1  gate    string  the epoch in which this cell is open
--   2  events  stream  not touched
-- RETURNS  {outcome}
--   PRESENT
-- EFFECTS  none
-- RETRY    safe

return {'PRESENT'}
