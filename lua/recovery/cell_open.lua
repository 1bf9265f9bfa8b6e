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
--   3  doubtful 1: a restart may still bring back what was cut off; 0: it cannot, or nothing can be done about it
-- RETURNS  {outcome}
--   SUPERSEDED  another recovery has the cell
--   OPENED
-- EFFECTS  on OPENED: gate = epoch; the mark is there where ARGV 3 is 1, else gone
-- RETRY    not safe: start again with the next epoch

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'SUPERSEDED'} end
if ARGV[3] == '1' then redis.call('SET', KEYS[3], ARGV[2]) else redis.call('DEL', KEYS[3]) end
redis.call('SET', KEYS[1], ARGV[2])
return {'OPENED'}
