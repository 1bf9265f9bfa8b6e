#!lua
-- cell_restore: write a chunk of a cell's keys, rebuilt from MySQL.
--
-- KEYS
--   1  gate      string  "<epoch>!" of this recovery
--   2  events    stream  not touched
--   3  suspect   string  not touched
-- ARGV
--   1  token     the gate's text while this recovery owns the cell
--   2… commands  for each: the number of its words, then the words (HSET, ZADD, SADD or SET with its arguments)
-- RETURNS  {outcome}
--   SUPERSEDED  another recovery has the cell
--   RESTORED
-- EFFECTS  what the commands say
-- COST     O(commands); the caller bounds a chunk
-- RETRY    safe: the commands set absolute values

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'SUPERSEDED'} end
local at = 2
while at <= #ARGV do
  local words = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + words))
  at = at + words + 1
end
return {'RESTORED'}
