#!/usr/bin/env bash
# How long a cell's rebuild from MySQL takes, and how long the shop is shut for it: users with wallets, and as many open
# facts (pending orders, coupons, idempotency records), which the rebuild reads and writes one by one. The audit
# afterwards must be clean.
#   USERS=1000000 FACTS=1000000 loadtest/rebuild.sh [FIRSTCOME]
set -euo pipefail
cd "$(dirname "$0")/.."
firstcome=${1:-target/release/firstcome} users=${USERS:-1000000} facts=${FACTS:-1000000}
orders=$((facts * 3 / 10)) coupons=$((facts * 3 / 10)) records=$((facts * 4 / 10))

folder=$(mktemp -d)
RUST_LOG=warn "$firstcome" dev --listen 127.0.0.1:0 --catalogue empty --data-dir "$folder" >"$folder/log" 2>&1 </dev/null &
engine=$!
trap 'kill -INT "$engine" 2>/dev/null; wait "$engine" 2>/dev/null; rm -rf "$folder"' EXIT
until [ -f "$folder/endpoints.json" ]; do
  kill -0 "$engine" || { cat "$folder/log"; exit 1; }
  sleep 0.2
done
endpoint() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$folder/endpoints.json" "$1"; }
http=$(endpoint http)
export FIRSTCOME_REDIS_URL FIRSTCOME_MYSQL_URL FIRSTCOME_AMQP_URL
FIRSTCOME_REDIS_URL=$(endpoint redis) FIRSTCOME_MYSQL_URL=$(endpoint mysql) FIRSTCOME_AMQP_URL=$(endpoint amqp)

put() { curl -sf -o /dev/null -X PUT "$http$1" -H 'Content-Type: application/json' -d "$2"; }
echo "seeding $users users"
"$firstcome" seed --users "$users" --products 0 2>/dev/null
put /admin/products/1 '{"name": "limited", "price": 1000, "stock": 1000000000, "limitPerUser": 5}'
put /admin/coupons/1 "{\"name\": \"many\", \"discount\": {\"kind\": \"fixed\", \"value\": 10}, \"quantity\": $((coupons + 1)), \"startsAt\": \"2020-01-01T00:00:00Z\", \"endsAt\": \"2037-01-01T00:00:00Z\"}"
until curl -sf "$http/admin/overview" | grep -q '"backlogEvents":0'; do sleep 0.5; done
"$firstcome" cell close 0

# Facts as the write-behind would have written them, with numbers below those of this epoch.
url=${FIRSTCOME_MYSQL_URL#mysql://}
user=${url%%@*} rest=${url#*@}
host=${rest%%[:/]*} port=${rest#*:} database=${rest##*/}
sql() { mariadb --no-defaults -h "$host" -P "${port%%/*}" -u "${user%%:*}" "$database" -e "$1"; }
sequence() { echo "SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d + 100000 * f.d AS n FROM digits a, digits b, digits c, digits d, digits e, digits f"; }
echo "writing $orders pending orders, $coupons coupons, $records idempotency records"
sql "CREATE TABLE digits (d BIGINT); INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9);
CREATE TABLE numbers AS $(sequence);
INSERT INTO orders (id, cell, seq, user_id, status, total, discount, paid, placed_at, expires_at)
  SELECT n * 1024, 0, n, 1 + n % $users, 'pending', 1000, 0, 0, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 1 DAY
  FROM numbers WHERE n <= $orders;
INSERT INTO order_lines SELECT n * 1024, 0, 1, 0, 1, 1000, 1 FROM numbers WHERE n <= $orders;
UPDATE skus SET remaining = remaining - $orders WHERE product_id = 1;
INSERT INTO coupon_issues SELECT 1, n, 0, 'issued', NULL, UTC_TIMESTAMP(3), 100000000 + n, 100000000 + n FROM numbers WHERE n <= $coupons;
UPDATE coupons SET remaining = remaining - $coupons WHERE coupon_id = 1;
INSERT INTO idempotency SELECT 1 + n % $users, CONCAT('018f-', n), MD5(n), 0, n,
  CONCAT(n, ' ', ROUND(UNIX_TIMESTAMP(UTC_TIMESTAMP(3)) * 1000), ' 1000 0 999000 0 1000'), UTC_TIMESTAMP(3)
  FROM numbers WHERE n <= $records;
DROP TABLE numbers, digits"

"$firstcome" cell open 0
shut_at=$(date +%s%N)
"$firstcome" cell rebuild 0 2>/dev/null
echo "rebuilt in $(( ($(date +%s%N) - shut_at) / 1000000 )) ms"
"$firstcome" audit 2>/dev/null
