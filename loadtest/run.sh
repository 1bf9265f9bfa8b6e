#!/bin/sh
# Runs one scenario of this folder with k6, against the engine that answers on BASE_URL.
#   loadtest/run.sh flash_sale              VUS, RATE, DURATION, STOCK … as loadtest/README.md says
# k6 is the one in PATH (K6 names another one), or else that of the profile `loadtest` of docker-compose.yml.
#
# Exit codes: 0 passed; 2 no such scenario; 3 nothing ran, because k6 or the engine is missing; 1 the report says that the
# run failed; any other is k6's own (99: a bound was not kept, 107: the script ended early).
set -u
cd "$(dirname "$0")/.." || exit 1

BASE_URL=${BASE_URL:-http://127.0.0.1:8080}
export BASE_URL
scenario=${1:-}
out=${CARGO_TARGET_DIR:-target}/loadtest

# What the scenarios read besides BASE_URL.
variables='TOKEN VUS RATE DURATION STOCK BUYERS PRODUCTS PAUSE PEAK CALM RECOVERY WATCH
  P95_MS P99_MS PATIENCE TIMEOUT AUDIT KEEP'

say() { echo "loadtest: $*" >&2; }

if [ -z "$scenario" ] || ! [ -f "loadtest/$scenario.js" ]; then
  say "there is no scenario '$scenario'; name one: make loadtest SCENARIO=flash_sale"
  for file in loadtest/*.js; do
    file=${file##*/}
    say "  ${file%.js}"
  done
  exit 2
fi

# has_profile: docker runs, and compose knows a service k6 in the profile.
has_profile() {
  docker info >/dev/null 2>&1 &&
    docker compose --profile loadtest config --services 2>/dev/null | grep -qx k6
}

k6=${K6:-k6}
if command -v "$k6" >/dev/null 2>&1; then
  runner=local
elif [ -z "${K6:-}" ] && has_profile; then
  runner=compose
else
  say "nothing ran: there is no $k6 here, and no docker compose with the profile 'loadtest'"
  say "install k6 (https://grafana.com/docs/k6/latest/set-up/install-k6/), or name it: K6=/path/to/k6"
  exit 3
fi

# Without curl, the scenario itself says so.
if command -v curl >/dev/null 2>&1 &&
  ! curl --silent --output /dev/null --max-time 5 --noproxy 127.0.0.1,localhost "$BASE_URL/healthz"; then
  say "nothing ran: nothing answers on $BASE_URL"
  say "start an engine (make run), or name one: BASE_URL=http://host:port"
  exit 3
fi

# A container has a loopback of its own: from there, this machine's engine is that of docker compose or none.
if [ "$runner" = compose ]; then
  case $BASE_URL in
    *//127.0.0.1:8080* | *//localhost:8080*)
      if ! docker compose ps --services --status running 2>/dev/null | grep -qx firstcome; then
        say "nothing ran: the k6 of docker compose cannot reach $BASE_URL"
        say "start the engine of docker compose (docker compose up), or install k6"
        exit 3
      fi
      BASE_URL=http://firstcome:8080
      ;;
  esac
fi

mkdir -p "$out" || exit 1
rm -f "$out/$scenario.json" "$out/$scenario.html"

if [ "$runner" = local ]; then
  OUT=$out K6_NO_USAGE_REPORT=true "$k6" run "loadtest/$scenario.js"
  code=$?
else
  set --
  for name in $variables; do
    if [ -n "$(printenv "$name")" ]; then
      # The value is taken from the environment, so that no token is seen in the list of processes.
      set -- "$@" -e "$name"
    fi
  done
  [ -t 0 ] || set -- "$@" -T
  docker compose --profile loadtest run --rm --no-deps --user "$(id -u):$(id -g)" -v "$(cd "$out" && pwd):/out" \
    -e BASE_URL -e OUT=/out -e K6_NO_USAGE_REPORT=true "$@" k6 run "/loadtest/$scenario.js"
  code=$?
fi

if [ "$code" -eq 0 ] && ! grep -q '^  "verdict": "passed",$' "$out/$scenario.json" 2>/dev/null; then
  say "the run failed: $out/$scenario.json says so, or was not written"
  code=1
fi
[ ! -f "$out/$scenario.html" ] || say "the report is $out/$scenario.html"
exit "$code"
