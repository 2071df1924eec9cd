#!/usr/bin/env bash
# soak.sh: everything at once against the running gateway, with faults injected; fails where an answer is wrong, or where
# memory or descriptors grow.
#   scripts/soak.sh MINUTES                 on io_uring, then on epoll
#   scripts/soak.sh MINUTES io_uring|epoll  on one of them
#   scripts/soak.sh 20s                     so many seconds instead: the short form that scripts/test.sh runs
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
case ${1:-} in
  *[!0-9s]* | '' | s) usage ;;
  *s) seconds=${1%s} ;;
  *) seconds=$(($1 * 60)) ;;
esac
drivers=("${2:-io_uring}")
(($# > 1)) || drivers+=(epoll)
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true

for driver in "${drivers[@]}"; do
  [[ $driver == io_uring || $driver == epoll ]] || usage
  cargo bench --quiet --locked --bench soak -- --seconds "$seconds" --io "$driver"
done
