#!/bin/sh
# Makes sure that what `make run`, `make test` and `make fuzz-api` need is on this machine: cargo, make, a C compiler and
# the programs of the three servers; called as `setup.sh test`, Chromium with its driver and Prometheus too, as
# `setup.sh test-pages` Node.js, and as `setup.sh fuzz-api` Python's venv module. Installs what is missing with apt-get where it may; never starts, stops or
# configures a server.
#
# Exit codes: 0 all is there; 2 Rust is missing; 3 something is missing that cannot be installed from here;
# 4 apt-get failed; 5 a path given in FIRSTCOME_* is no program.
set -u

POLICY=/usr/sbin/policy-rc.d
missing=''
wrong_path=0
wrote_policy=0

say() { echo "setup: $*" >&2; }

# have NAME...: one of these programs is in PATH, or where Debian puts servers.
have() {
  for name in "$@"; do
    command -v "$name" >/dev/null 2>&1 && return 0
    for folder in /usr/bin /usr/sbin /usr/local/sbin /usr/lib/rabbitmq/bin; do
      [ -f "$folder/$name" ] && [ -x "$folder/$name" ] && return 0
    done
  done
  return 1
}

# need VARIABLE VALUE PACKAGES NAME...: a path in VARIABLE wins; else one of the names must be there.
need() {
  variable=$1 given=$2 packages=$3
  shift 3
  if [ -n "$given" ]; then
    if ! [ -f "$given" ] || ! [ -x "$given" ]; then
      say "$variable is $given, which is not an executable file"
      wrong_path=1
    fi
  elif ! have "$@"; then
    missing="$missing $packages"
  fi
}

look() {
  missing=''
  # aws-lc-sys and mimalloc compile C; cmake is not needed.
  if [ -z "${CC:-}" ]; then need '' '' 'gcc libc6-dev' cc; fi
  need '' '' make make
  need FIRSTCOME_REDIS_SERVER "${FIRSTCOME_REDIS_SERVER:-}" redis-server redis-server valkey-server
  need FIRSTCOME_MYSQLD "${FIRSTCOME_MYSQLD:-}" mariadb-server mariadbd mysqld
  need FIRSTCOME_RABBITMQ_SERVER "${FIRSTCOME_RABBITMQ_SERVER:-}" rabbitmq-server rabbitmq-server
  # Erlang's port mapper comes with RabbitMQ, but a RabbitMQ given by path may have come without it.
  need FIRSTCOME_EPMD "${FIRSTCOME_EPMD:-}" erlang-base epmd
  if [ "${1:-}" = test ]; then
    need '' '' 'chromium chromium-driver' chromedriver
    # Korean pages want letters.
    [ -e /usr/share/fonts/truetype/nanum/NanumGothic.ttf ] || missing="$missing fonts-nanum"
    need '' '' prometheus prometheus
  fi
  if [ "${1:-}" = test-pages ]; then
    need '' '' nodejs node
    need '' '' npm npm
  fi
  # Debian's python3 has no ensurepip; venv needs it.
  if [ "${1:-}" = fuzz-api ] && ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
    missing="$missing python3-venv"
  fi
  missing=${missing# }
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Debian starts a server when its package is installed, on its standard port. This file, which Debian asks
# before it does, forbids that for as long as we install. One that exists is the administrator's.
forbid_starts() {
  if [ -e "$POLICY" ]; then
    say "$POLICY exists and stays as it is"
    return
  fi
  # The script is for the shell that as_root starts, so it must not expand here.
  # shellcheck disable=SC2016
  as_root sh -c 'set -C; printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$POLICY" && wrote_policy=1
}

allow_starts() {
  [ "$wrote_policy" = 1 ] && as_root rm -f "$POLICY"
  wrote_policy=0
}

install_missing() {
  trap allow_starts EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  say "installing: $missing"
  forbid_starts || { say "cannot write $POLICY"; exit 4; }
  as_root apt-get -q -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 update ||
    say 'apt-get update failed; trying with the lists that are there'
  # The words of $missing are package names.
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get -q -y -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
    install --no-install-recommends --no-upgrade $missing || { say 'apt-get install failed'; exit 4; }
  allow_starts
  if [ -d /run/systemd/system ]; then
    say 'the services of new packages were not started now; they start with the machine unless you disable them'
  fi
}

if ! have cargo && ! [ -x "${CARGO_HOME:-${HOME:-}/.cargo}/bin/cargo" ]; then
  say 'cargo was not found. Install Rust 1.95 or newer (https://rustup.rs):'
  say "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
  exit 2
fi

look "$@"
[ "$wrong_path" = 0 ] || exit 5
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  say "missing, by the names of Debian's packages: $missing"
  say 'install them with the package manager of this system, name other server programs with'
  say 'FIRSTCOME_REDIS_SERVER, FIRSTCOME_MYSQLD, FIRSTCOME_RABBITMQ_SERVER'
  exit 3
fi
if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
  say 'some packages are missing, and only root can install them. Run'
  say "  sudo apt-get install --no-install-recommends $missing"
  say '(which starts the new servers on their standard ports)'
  exit 3
fi

install_missing
look "$@"
if [ -n "$missing" ]; then
  say "still missing after the installation: $missing"
  exit 4
fi
