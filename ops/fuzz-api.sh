#!/bin/sh
# Asks a private engine for what its OpenAPI document says, and for what it does not: schemathesis makes requests
# from the document, right and wrong ones, and compares the answers with it. Finds nothing, or fails.
#
#   MAX_EXAMPLES   cases per call and phase, default 50
#   SEED           the same cases again; a failed run prints its own
#
# Settings and the reason for each: ops/fuzz-api.toml. The virtual environment and the engine's data are in the
# target folder; the engine listens on a free port and is ended with this script.
set -eu
cd "$(dirname "$0")/.."

SCHEMATHESIS=4.32.5
target=${CARGO_TARGET_DIR:-target}
engine=${FIRSTCOME:-$target/debug/firstcome}
venv=$target/schemathesis-$SCHEMATHESIS
work=$target/fuzz-api
pid=''

say() { echo "fuzz-api: $*" >&2; }

stop() {
  status=$?
  trap - EXIT
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || :
    wait "$pid" 2>/dev/null || :
  fi
  if [ "$status" != 0 ] && [ -f "$work/engine.log" ]; then
    say "the end of the engine's log ($work/engine.log):"
    tail -n 15 "$work/engine.log" >&2
  fi
  exit "$status"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if ! [ -x "$engine" ]; then
  say "$engine is missing: run cargo build first, or name another with FIRSTCOME"
  exit 2
fi

if ! [ -x "$venv/bin/st" ]; then
  rm -rf "$venv"
  if ! python3 -m venv "$venv"; then
    say 'python3 with its venv module is missing: apt-get install python3-venv'
    exit 2
  fi
  "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$SCHEMATHESIS"
fi

rm -rf "$work"
mkdir -p "$work"
RUST_LOG=${RUST_LOG:-warn} "$engine" dev --listen 127.0.0.1:0 --data-dir "$work/data" \
  >"$work/engine.log" 2>&1 </dev/null &
pid=$!
waited=0
until [ -f "$work/data/endpoints.json" ]; do
  if ! kill -0 "$pid" 2>/dev/null; then
    say 'the engine did not start'
    exit 1
  fi
  if [ "$waited" -ge 600 ]; then
    say 'the engine did not sell within 120 s'
    exit 1
  fi
  waited=$((waited + 1))
  sleep 0.2
done
url=$("$venv/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["http"])' "$work/data/endpoints.json")

"$venv/bin/python" ops/fuzz_api.py validate "$url"
# The stream has no end that could be waited for.
SCHEMATHESIS_HOOKS=ops.fuzz_api PYTHONPATH=. PYTHONDONTWRITEBYTECODE=1 \
  "$venv/bin/st" --config-file ops/fuzz-api.toml --no-color run "$url/openapi.json" --exclude-path /console/stream \
  --max-examples "${MAX_EXAMPLES:-50}" ${SEED:+--seed "$SEED"}

"$venv/bin/python" ops/fuzz_api.py reached "$url"

if ! kill -0 "$pid" 2>/dev/null; then
  say 'the engine ended meanwhile'
  exit 1
fi
if grep -E ' ERROR |panicked' "$work/engine.log" >&2; then
  say 'the engine logged errors'
  exit 1
fi
