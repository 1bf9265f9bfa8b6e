#!/usr/bin/env bash
# What the scripts of a purchase and of a coupon claim cost one Redis, side by side in one run: requests per second
# by redis-benchmark, pipelined (the script's own cost) and not, with and without an idempotency key.
#   ROUNDS=3 CALLS=200000 loadtest/scripts.sh [REDIS-SERVER]
set -euo pipefail
cd "$(dirname "$0")/.."
server=${1:-redis-server} rounds=${ROUNDS:-3} calls=${CALLS:-200000}

folder=$(mktemp -d)
socket=$folder/redis.sock
"$server" --port 0 --unixsocket "$socket" --dir "$folder" --save '' --appendonly no >"$folder/log" &
redis=$!
trap 'kill "$redis" 2>/dev/null; wait "$redis" 2>/dev/null; rm -rf "$folder"' EXIT
cli() { redis-cli -s "$socket" "$@"; }
until [ "$(cli PING 2>/dev/null)" = PONG ]; do sleep 0.05; done

# load STEM: the script behind the loader's prologue (lua/README.md); prints its digest.
load() {
  { head -n 1 "lua/$1.lua"
    echo "local CELL, EPOCH = '0', '1'"
    echo "if redis.call('GET', KEYS[1]) ~= EPOCH then return {'CLOSED'} end"
    echo "if redis.call('XLEN', KEYS[2]) >= 100000000 then return {'BACKLOG_FULL'} end"
    tail -n +2 "lua/$1.lua"; } | cli -x SCRIPT LOAD
}

fill() {
  cli FLUSHDB >/dev/null
  cli SET '{c0}:gate' 1 >/dev/null
  cli XADD '{c0}:events' 1-1 opener:1 '1 0-0' >/dev/null
  cli HSET '{c0}:user:1' balance 9999999999999 >/dev/null
  cli HSET '{c0}:sku:1:0' name '' price 1000 remaining 1000000000 initial 1000000000 \
    starts_at_ms 1 ends_at_ms 9999999999999 >/dev/null
  cli HSET '{c0}:coupon:1' name c kind percent value 10 max_amount 500 quantity 1000000000 remaining 1000000000 \
    starts_at_ms 1 ends_at_ms 9999999999999 expires_at_ms 9999999999999 >/dev/null
}

purchase=$(load order_place)
claim=$(load coupon_issue)

# Each call is another user's claim and another key's purchase.
per_second() {
  local pipeline=$1 name=$2 fingerprint=$3
  fill
  case $name in
    purchase) set -- "$purchase" 9 '{c0}:gate' '{c0}:events' '{c0}:user:1' '{c0}:idem:1:__rand_int__' \
      '{c0}:coupon' '{c0}:coupon:issues' '{c0}:sales:rolling' '{c0}:due' '{c0}:sku:1:0' \
      1 "$fingerprint" __rand_int__ 86400000 0 0 1 0 1 ;;
    claim) set -- "$claim" 6 '{c0}:gate' '{c0}:events' '{c0}:user:1' '{c0}:coupon:1' '{c0}:coupon:1:issues' \
      '{c0}:idem:1:__rand_int__' 1 __rand_int__ '' "$fingerprint" __rand_int__ 86400000 ;;
  esac
  redis-benchmark -s "$socket" -n "$calls" -r 1000000000 -c 50 -P "$pipeline" --csv EVALSHA "$@" |
    tail -n 1 | cut -d, -f2 | tr -d '"'
  # Each call must have appended its event; a few random numbers come twice.
  [ "$(cli XLEN '{c0}:events')" -ge $((calls * 99 / 100)) ] || { echo "calls of $name failed" >&2; exit 1; }
}

key=00112233445566778899aabbccddeeff
printf '%-8s %-10s %-5s %s\n' round pipeline key 'purchase/s  claim/s'
for round in $(seq "$rounds"); do
  for pipeline in 16 1; do
    for fingerprint in '' "$key"; do
      printf '%-8s %-10s %-5s %s  %s\n' "$round" "$pipeline" "$([ -n "$fingerprint" ] && echo yes || echo no)" \
        "$(per_second "$pipeline" purchase "$fingerprint")" "$(per_second "$pipeline" claim "$fingerprint")"
    done
  done
done
