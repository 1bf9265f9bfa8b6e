#!lua flags=allow-oom
-- cell_take: take the gate over for a recovery into a new epoch.
--
-- KEYS
--   1  gate     string  "8" open, "8!" being recovered, "8?" shut by a script that stopped half-way and could not set
--                      the mark, missing shut
--   2  events   stream  one entry per change
--   3  suspect  string  marks data that must be rebuilt
-- ARGV
--   1  epoch    the new epoch
-- RETURNS  {outcome, suspect, oldest, newest}
--   NEWER  the gate or the log is of this epoch or a newer one: somebody was faster
--   TAKEN  suspect = 1 or 0; oldest and newest event id, "0-0" where there is none
-- EFFECTS  on TAKEN: gate = "<epoch>!", which stops every script of the engine and every older recovery; suspect where
--          the gate says that it should be
-- RETRY    not safe: start again with the next epoch

local function epoch_of(id) return tonumber(string.match(id, '^%d+')) or 0 end
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', '1')[1]
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
newest = newest and newest[1] or '0-0'
local epoch = tonumber(ARGV[1])
local gate = redis.call('GET', KEYS[1]) or ''
if epoch_of(gate) >= epoch or epoch_of(newest) >= epoch then
  return {'NEWER', 0, '0-0', '0-0'}
end
if string.sub(gate, -1) == '?' then redis.call('SET', KEYS[3], ARGV[1]) end
redis.call('SET', KEYS[1], ARGV[1] .. '!')
return {'TAKEN', redis.call('EXISTS', KEYS[3]), oldest and oldest[1] or '0-0', newest}
