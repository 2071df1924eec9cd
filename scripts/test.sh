#!/usr/bin/env bash
# test.sh: everything that must hold, from format to real clients and servers; installs what it needs.
#   scripts/test.sh           all of it
#   scripts/test.sh PART…     only these parts: format lints unit io_uring epoll docs benches costs soak real
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

parts=("$@")
((${#parts[@]})) || parts=(format lints unit io_uring epoll docs benches costs soak real)
table=() failed=()
cache=${CORELANE_CACHE:-.cache}/real

say() { printf '\n== %s\n' "$*"; }
# unable WHY: a part that cannot run is named loudly; where CI=true it is a failure.
unable() {
  printf '\n!! NOT RUN: %s\n' "$*" >&2
  [[ ${CI:-} != true ]]
}

need_tools() {
  command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.88 or later" >&2; exit 2; }
  command -v cc >/dev/null || { echo "a C compiler is missing: install gcc" >&2; exit 2; }
  # 5,000 idle connections need two descriptors each, in the gateway and in the test.
  ulimit -n "$(ulimit -Hn)" 2>/dev/null || echo "the limit of open files stays at $(ulimit -n)"
}

format() {
  cargo fmt --all --check
  # It finds files by their `mod`, and not those of the rooms, which a macro of lib.rs names.
  find src -name '*.rs' -exec rustfmt --edition 2024 --check {} +
}
lints() {
  cargo clippy --quiet --all-targets --locked -- -D warnings
  # Without the tests what nobody uses any more shows.
  cargo clippy --quiet --lib --bins --locked -- -D warnings
}
unit() { cargo test --quiet --locked --lib --test house --test codec --test config --test simulation; }
# The whole program between scripted peers, once on each driver.
process() {
  CORELANE_TEST_IO=$1 cargo test --quiet --locked --test process
}
# Whether the kernel and the container allow io_uring.
has_io_uring() {
  cargo build --quiet --locked
  target/debug/corelane sim --listen 127.0.0.1:0 --io io_uring </dev/null >/dev/null 2>&1 &
  local probe=$!
  sleep 0.5
  kill "$probe" 2>/dev/null || return 1
  wait "$probe" 2>/dev/null || true # it was ended by us, with the status of a signal
}
io_uring() {
  if has_io_uring; then
    process io_uring
  else
    unable "process tests on io_uring: this kernel or container forbids it"
  fi
}
epoll() { process epoll; }
docs() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --document-private-items --features testing; }
benches() { cargo bench --quiet --locked --bench codec --bench json --bench filters --bench load -- --once; }
# System calls, instructions and allocations of an exchange and of a token, each with its bound.
costs() {
  local tool missing=()
  for tool in strace valgrind; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  if ((${#missing[@]})) && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 || true
  fi
  if ! command -v strace >/dev/null || ! command -v valgrind >/dev/null; then
    unable "costs: install strace and valgrind"
    return
  fi
  cargo bench --quiet --locked --bench costs
}
# Everything at once with faults injected, in short.
soak() {
  scripts/soak.sh 20s epoll
  if has_io_uring; then
    scripts/soak.sh 20s io_uring
  else
    unable "the soak on io_uring: this kernel or container forbids it"
  fi
}
real() {
  cargo build --quiet --locked --release
  if ! bash tests/real/setup.sh "$cache"; then
    unable "real clients and servers: see above what is missing"
    return
  fi
  for driver in io_uring epoll; do
    "$cache/venv/bin/python" tests/real/run.py --corelane target/release/corelane --io "$driver" --dir "$cache"
  done
}

need_tools
for part in "${parts[@]}"; do
  say "$part"
  begun=$SECONDS
  # In a subshell of its own and outside any condition: only there does errexit hold inside a function.
  set +e
  (set -e; "$part")
  code=$?
  set -e
  if ((code == 0)); then outcome=ok; else outcome=FAILED failed+=("$part"); fi
  table+=("$(printf '%-10s %5d s  %s' "$part" $((SECONDS - begun)) "$outcome")")
done

say "where the time went"
printf '%s\n' "${table[@]}"
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}"
  exit 1
fi
echo "all of it passed in $SECONDS s"
