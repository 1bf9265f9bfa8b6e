#!/usr/bin/env bash
# The first figures: paid orders/s over HTTP against a bare handler with one EVALSHA of a similar script,
# and events/s from HTTP all the way to MySQL and RabbitMQ. All in one run, on private servers with the
# durable settings, in turns, so that the machine's mood cancels out.
#
# Needs wrk, redis-cli, curl and python3; builds in release mode. ROUNDS (default 3), SECONDS_EACH (8),
# CONNECTIONS (64), USERS (10000), SUSTAINED (30).
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-8} connections=${CONNECTIONS:-64} sustained=${SUSTAINED:-30}
export USERS=${USERS:-10000} PRODUCT=1000
cargo build --release --bins --examples
folder=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done || true
  rm -rf "$folder"
}
trap finish EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
endpoint() { python3 -c "import json, sys; print(json.load(open('$folder/dev/endpoints.json'))[sys.argv[1]])" "$1"; }
ready() { until curl -sf -o /dev/null "$1/readyz"; do sleep 0.1; done; }

RUST_LOG=warn target/release/firstcome dev --catalogue empty --data-dir "$folder/dev" \
  --listen "127.0.0.1:$(free_port)" >"$folder/dev.log" 2>&1 &
pids+=($!)
until [ -f "$folder/dev/endpoints.json" ]; do sleep 0.2; done
all=$(endpoint http)
export FIRSTCOME_REDIS_URL=$(endpoint redis) FIRSTCOME_MYSQL_URL=$(endpoint mysql) FIRSTCOME_AMQP_URL=$(endpoint amqp)
export RUST_LOG=warn
curl -sf -o /dev/null -X PUT "$all/admin/products/$PRODUCT" -H 'Content-Type: application/json' \
  -d '{"name": "Load", "price": 1, "stock": 1000000000}'
target/release/firstcome seed --products 0 --users "$USERS" --balance 1000000000
port=$(free_port)
target/release/examples/bare_evalsha "$FIRSTCOME_REDIS_URL" "127.0.0.1:$port" >"$folder/bare.log" 2>&1 &
pids+=($!)
bare=http://127.0.0.1:$port
sql() { python3 - "$1" <<PY
import subprocess, sys, urllib.parse as u
at = u.urlparse("$FIRSTCOME_MYSQL_URL")
print(subprocess.run(["mysql", "--no-defaults", "--protocol=tcp", "-h", at.hostname, "-P", str(at.port), "-u", at.username,
      at.path[1:], "-N", "-e", sys.argv[1]], capture_output=True, text=True, check=True).stdout.strip())
PY
}
# Events in Redis that MySQL does not have yet.
backlog() {
  local newest persisted
  newest=$(redis-cli -u "$FIRSTCOME_REDIS_URL" XREVRANGE '{c0}:events' + - COUNT 1 | head -1 | cut -d- -f2)
  persisted=$(sql 'SELECT persisted_seq FROM cells')
  echo $((newest - persisted))
}
load() { wrk -t1 -c"$connections" -d"$2s" -s loadtest/purchase.lua "$1" | grep RESULT; }
field() { awk -v want="$2" '{for (i = 1; i < NF; i++) if ($i == want) print $(i + 1)}' <<<"$1"; }

# A node of its own takes the orders; `dev` (its worker) sleeps meanwhile: the burst is the front half.
front_port=$(free_port)
target/release/firstcome serve --role api --listen "127.0.0.1:$front_port" >"$folder/front.log" 2>&1 &
pids+=($!)
front=http://127.0.0.1:$front_port
ready "$front"
dev_pid=${pids[0]}

echo "machine: $(nproc) cores, $(uname -sr), $(redis-server --version | cut -d' ' -f1-3), wrk -t1 -c$connections, $USERS users"
echo "burst: paid orders/s, worker asleep"
for round in $(seq "$rounds"); do
  kill -STOP "$dev_pid"
  bare_line=$(load "$bare" "$seconds")
  plain_line=$(KEYS=0 load "$front" "$seconds")
  keyed_line=$(KEYS=1 load "$front" "$seconds")
  kill -CONT "$dev_pid"
  until [ "$(sql 'SELECT COUNT(*) FROM outbox')" = 0 ] && [ "$(backlog)" = 0 ]; do sleep 0.5; done
  echo "  $round bare         $bare_line"
  echo "  $round engine       $plain_line"
  echo "  $round engine, keys $keyed_line"
  python3 -c "b, e, k = map(float, '$(field "$bare_line" created_per_s) $(field "$plain_line" created_per_s) $(field "$keyed_line" created_per_s)'.split())
print(f'  $round engine / bare = {e / b:.2f}; with keys on half of the requests = {k / b:.2f}')"
done

echo "all the way: HTTP to MySQL to RabbitMQ, everything running, $sustained s of load, then until the last confirm"
before=$(sql 'SELECT published FROM publishing')
began=$(date +%s.%N)
line=$(load "$all" "$sustained")
until [ "$(backlog)" = 0 ] && [ "$(sql 'SELECT COUNT(*) FROM outbox')" = 0 ]; do sleep 0.2; done
ended=$(date +%s.%N)
after=$(sql 'SELECT published FROM publishing')
echo "  accepted $line"
python3 -c "print(f'  persisted and published: {($after - $before) / ($ended - $began):.0f} orders/s ({$after - $before} in {$ended - $began:.1f} s)')"
target/release/firstcome audit
