#!/usr/bin/env bash
# fuzz.sh: runs each fuzzed reader for a while, guided by coverage; needs no nightly compiler.
#   scripts/fuzz.sh SECONDS             each target for so long, one after the other
#   scripts/fuzz.sh SECONDS TARGET…     only these: request response body sse config
# What is found stands in .cache/fuzz/found; put it into tests/data/fuzz/TARGET, where scripts/test.sh replays it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[[ ${1:-} =~ ^[0-9]+$ ]] || usage
seconds=$1
shift
targets=("$@")
((${#targets[@]})) || targets=(request response body sse config)

cache=${CORELANE_CACHE:-.cache}/fuzz
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
command -v c++ >/dev/null || { echo "a C++ compiler is missing: install g++" >&2; exit 2; }
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked cargo-fuzz

# Longest input: past it a reader's bounds were met long ago, and each step is slower. One input has 10 s and 1 GiB.
limits=(-max_len=8192 -timeout=10 -rss_limit_mb=1024)
fuzz=(cargo fuzz run --fuzz-dir tests/fuzz -s none --target-dir "$cache/target")

CORELANE_TEST_SEEDS_TO="$cache/corpus" cargo test --quiet --locked --test codec corpora >/dev/null
failed=()
for target in "${targets[@]}"; do
  mkdir -p "$cache/corpus/$target" "$cache/found/$target"
  log=$cache/$target.log
  echo "== $target for $seconds s ($log)"
  if ! "${fuzz[@]}" "$target" "$cache/corpus/$target" -- "${limits[@]}" \
    -max_total_time="$seconds" -artifact_prefix="$cache/found/$target/" >"$log" 2>&1; then
    failed+=("$target")
    grep -E 'panicked|SUMMARY|Test unit written' -A1 "$log" >&2 || tail -5 "$log" >&2
  fi
  grep -E '^Done|stat::number_of_executed_units' "$log" || true
done
if ((${#failed[@]})); then
  echo "found something: ${failed[*]} (in $cache/found); put it into tests/data/fuzz/TARGET, and mend it"
  exit 1
fi
echo "nothing was found in $seconds s each: ${targets[*]}"
