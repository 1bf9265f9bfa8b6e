#!lua flags=allow-oom
-- balance_get: read one wallet.
--
-- KEYS
--   1  gate     string  the epoch in which this cell is open
--   2  events   stream  not touched
--   3  user     hash    balance
-- RETURNS  {outcome, balance}
--   NOT_FOUND  no such user
--   FOUND      balance = what the wallet holds
-- EFFECTS  none
-- RETRY    safe

local balance = redis.call('HGET', KEYS[3], 'balance')
if not balance then return {'NOT_FOUND', 0} end
return {'FOUND', tonumber(balance)}
