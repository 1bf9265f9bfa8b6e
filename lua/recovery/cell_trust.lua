#!lua flags=allow-oom
-- cell_trust: take the mark of a kept cell away, once its server's append-only file was written anew.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  not touched
--   3  suspect  string  marks data that must be rebuilt
-- ARGV
--   1  epoch    only in this epoch
-- RETURNS  {outcome}
--   TRUSTED
--   OTHER_EPOCH  the gate is of another epoch, or shut
-- EFFECTS  on TRUSTED: the mark is gone
-- RETRY    not on another connection: the server may have restarted in between

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'OTHER_EPOCH'} end
redis.call('DEL', KEYS[3])
return {'TRUSTED'}
