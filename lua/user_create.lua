#!lua
-- user_create: make a user with an empty wallet, or find the one that exists.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  user     hash    balance
-- ARGV
--   1  user_id  decimal text, copied into the event
-- RETURNS  {outcome, seq, balance}
--   EXISTS   balance = what the wallet holds; seq = the newest event's number, not before its user's
--   CREATED  seq = the event's number
-- EFFECTS  on CREATED only: one user_created event, user.balance = 0
-- RETRY    safe: a second call answers EXISTS

local balance = redis.call('HGET', KEYS[3], 'balance')
if balance then
  local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
  return {'EXISTS', newest and tonumber(string.match(newest[1], '%d+$')) or 0, tonumber(balance)}
end
local time = redis.call('TIME')
local now_ms = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))

local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'user_created:1', now_ms .. ' ' .. ARGV[1])
if not id then return {'CLOSED'} end
redis.call('HSET', KEYS[3], 'balance', '0')
return {'CREATED', tonumber(string.sub(id, #EPOCH + 2)), 0}
