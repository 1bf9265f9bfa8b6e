#!/usr/bin/env bash
# Upgrades a shop that sells: builds the release before this one, lets both write to the same data at once, then only
# this one. Nothing is lost, nothing is twice (tests/it/upgrade.rs).
#   PREVIOUS=v0.1.0 ops/test-upgrade.sh        a tag or commit; without it the last tag
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
previous=${PREVIOUS:-$(git describe --tags --abbrev=0 2>/dev/null || :)}
if [ -z "$previous" ]; then
  echo 'no release is tagged yet: name a commit with PREVIOUS=…' >&2
  exit 2
fi
commit=$(git rev-parse --verify "$previous^{commit}")
program=$target/previous/firstcome-$commit

if ! [ -x "$program" ]; then
  source=$target/previous/src
  rm -rf "$source"
  mkdir -p "$source"
  git archive "$commit" | tar -x -C "$source"
  echo "building the release before: $previous ($commit)"
  (cd "$source" && CARGO_TARGET_DIR=$target cargo build --locked --quiet)
  cp "$target/debug/firstcome" "$program"
  rm -rf "$source"
  # The program of the other source must not be taken for ours.
  touch src/main.rs
fi
FIRSTCOME_PREVIOUS=$program cargo test --test it -- --ignored --nocapture --exact upgrade::two_releases_write_to_the_same_data
