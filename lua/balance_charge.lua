#!lua
-- balance_charge: put money into a wallet.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  one entry per change
--   3  user     hash    balance
--   4  idem     string  fingerprint and answer of the request with this key; untouched where ARGV 5 is empty
-- ARGV
--   1  user_id       decimal text, copied into the event
--   2  amount        decimal text, 1 to 13 digits; the caller has checked the limit per charge
--   3  wallet_limit  most a wallet may hold afterwards
--   4  create        1: the first charge creates the wallet; 0: it must exist
--   5  fingerprint   32 hex digits, or empty where the request has no key
--   6  idem_key      the key's text
--   7  idem_ttl_ms   how long its record is kept
-- RETURNS  {outcome, answer, balance}; answer = "<seq> <at_ms> <balance>"
--   KEY_REUSED      the key was used for another request
--   REPLAYED        answer = that of the first request with this key
--   USER_NOT_FOUND
--   LIMIT_EXCEEDED  balance = what the wallet holds
--   CHARGED         balance = what the wallet holds now
-- EFFECTS  on CHARGED only: one charged event, user.balance + amount, idem = fingerprint and answer
-- CLOCK    Redis TIME
-- RETRY    safe with a key; without one the money is charged twice

if ARGV[5] ~= '' then
  local record = redis.call('GET', KEYS[4])
  if record then
    if string.sub(record, 1, 32) ~= ARGV[5] then return {'KEY_REUSED', '', 0} end
    return {'REPLAYED', string.sub(record, 34), 0}
  end
end
local held = redis.call('HGET', KEYS[3], 'balance')
if not held and ARGV[4] ~= '1' then return {'USER_NOT_FOUND', '', 0} end
local balance = tonumber(held or '0') + tonumber(ARGV[2])
if balance > tonumber(ARGV[3]) then return {'LIMIT_EXCEEDED', '', tonumber(held or '0')} end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local id = redis.call('XADD', KEYS[2], 'NOMKSTREAM', EPOCH .. '-*', 'charged:1', string.format(
  '%d %s %s %d %s %s', now_ms, ARGV[1], ARGV[2], balance, ARGV[5] == '' and '-' or ARGV[5], ARGV[6]))
if not id then return {'CLOSED'} end
redis.call('HINCRBY', KEYS[3], 'balance', ARGV[2])
local answer = string.format('%s %d %d', string.sub(id, #EPOCH + 2), now_ms, balance)
if ARGV[5] ~= '' then
  redis.call('SET', KEYS[4], ARGV[5] .. ' ' .. answer, 'PXAT', string.format('%d', now_ms + ARGV[7]))
end
return {'CHARGED', answer, balance}
