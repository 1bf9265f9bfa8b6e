#!lua flags=allow-oom
-- cell_shut: shut the gate of one epoch.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  not touched
--   3  suspect  string  marks data that must be rebuilt
-- ARGV
--   1  epoch    only the gate of this epoch is shut
--   2  suspect  1: a script may have stopped half-way, so the data must be rebuilt; 0: an orderly close
-- RETURNS  {outcome}
--   SHUT
--   OTHER_EPOCH  the gate is of another epoch, or shut already
-- EFFECTS  on SHUT: the gate is gone; suspect is set where ARGV 2 is 1
-- RETRY    safe

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'OTHER_EPOCH'} end
if ARGV[2] == '1' then redis.call('SET', KEYS[3], ARGV[1]) end
redis.call('DEL', KEYS[1])
return {'SHUT'}
