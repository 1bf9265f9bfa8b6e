#!lua flags=allow-oom
-- cell_clear: delete a chunk of a cell's keys, the event log first.
--
-- KEYS
--   1  gate     string  "<epoch>!" of this recovery
--   2  events   stream  one entry per change
--   3  suspect  string  set first, so that a rebuild that dies is begun again
-- ARGV
--   1  token    the gate's text while this recovery owns the cell
--   2  cursor   of SCAN; 0 begins
--   3  count    keys looked at in one call
-- RETURNS  {outcome, cursor}
--   SUPERSEDED  another recovery has the cell
--   CLEARED     cursor = for the next call; "0": done
-- EFFECTS  keys of the cell are gone, but for the gate and the mark
-- RETRY    safe

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'SUPERSEDED', '0'} end
if ARGV[2] == '0' then
  redis.call('SET', KEYS[3], ARGV[1])
  redis.call('UNLINK', KEYS[2])
end
local page = redis.call('SCAN', ARGV[2], 'MATCH', string.match(KEYS[1], '^{c%d+}:') .. '*', 'COUNT', ARGV[3])
for _, key in ipairs(page[2]) do
  if key ~= KEYS[1] and key ~= KEYS[3] then redis.call('UNLINK', key) end
end
return {'CLEARED', page[1]}
