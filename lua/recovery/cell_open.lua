#!lua flags=allow-oom
-- cell_open: open the gate at the end of a recovery.
--
-- KEYS
--   1  gate     string  "<epoch>!" of this recovery
--   2  events   stream  not touched
--   3  suspect  string  marks data that must be rebuilt
-- ARGV
--   1  token    the gate's text while this recovery owns the cell
--   2  epoch    the new epoch
-- RETURNS  {outcome}
--   SUPERSEDED  another recovery has the cell
--   OPENED
-- EFFECTS  on OPENED: gate = epoch, the mark is gone
-- RETRY    not safe: start again with the next epoch

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'SUPERSEDED'} end
redis.call('DEL', KEYS[3])
redis.call('SET', KEYS[1], ARGV[2])
return {'OPENED'}
