#!/usr/bin/env bash
# Takes one mechanism away at a time, and asserts that the test which proves it fails: a proof that cannot fail proves
# nothing. Each tests/mutants/*.patch names its mechanism and its test. Works on a copy; nothing of this ships.
#   ops/mutants.sh [NAME…]        all, or those named
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
copy=$target/mutants
mkdir -p "$copy"
copy=$(cd "$copy" && pwd)

# Times are kept, so that only what a mutant changes is compiled.
find "$copy" -mindepth 1 -delete
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -cf - | tar -C "$copy" -xf -

# The copy is no repository: git would else apply nothing below a folder that it ignores.
apply() { (cd "$copy" && GIT_CEILING_DIRECTORIES=$(dirname "$copy") git apply "$@"); }

if [ $# -gt 0 ]; then patches=("${@/%/.patch}"); else patches=(tests/mutants/*.patch); fi
survivors=0
for patch in "${patches[@]}"; do
  patch=$root/tests/mutants/$(basename "$patch")
  name=$(basename "$patch" .patch)
  mechanism=$(sed -n 's/^Mechanism: //p' "$patch") test=$(sed -n 's/^Caught by: //p' "$patch")
  if ! apply "$patch"; then
    echo "$name: does not apply any more"
    survivors=$((survivors + 1))
    continue
  fi
  log=$target/mutants-$name.log
  started=$SECONDS
  (cd "$copy" && CARGO_TARGET_DIR=$target RUST_BACKTRACE=0 timeout 600 cargo test --test it -- --exact "$test") \
    >"$log" 2>&1 && passed=1 || passed=0
  apply -R "$patch"
  if grep -q "^test $test \.\.\. FAILED" "$log"; then
    echo "$name: caught by $test in $((SECONDS - started)) s ($mechanism)"
    rm "$log"
  else
    survivors=$((survivors + 1))
    [ $passed = 1 ] && how="SURVIVES $test" || how='did not build, or hangs'
    echo "$name: $how ($mechanism); see $log"
  fi
done
# The program of the copy must not be taken for ours.
rm -rf "$copy"
touch src/main.rs
if [ $survivors -gt 0 ]; then
  echo "$survivors of ${#patches[@]} mutants were not caught"
  exit 1
fi
echo "all ${#patches[@]} mutants were caught"
