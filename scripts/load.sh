#!/usr/bin/env bash
# load.sh: corelane under load, beside nginx and HAProxy: CPU time per request and per token, added latency, memory.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/load.sh [--peers] [--quick] [--io io_uring|epoll] [--scenario NAME,…] [--rounds N] [--before BINARY] [--observed] [--json FILE]

  --peers      with nginx and HAProxy beside it; installs them where apt-get can
  --quick      few and short rounds, a minute after the build: for a first look
  --io         only this driver of corelane's (both)
  --scenario   only these: small chat embed conc1 newconn stream100 stream400 burst big idle uploads; a beginning
               such as `stream` stands for all that begin so
  --rounds     rounds (9; 2 with --quick); fewer than 5 tell no two figures apart
  --observed   with all that is observed of exchanges on (recorder, server-timing, traces), held against all of it off
  --before     another build of corelane beside it: what a change did
  --json       all figures, for programs

example: scripts/load.sh --peers --scenario small,stream
It needs two cores: one is for whoever is measured, the other for the load and the simulated server.
TEXT
}

for argument in "$@"; do
  case $argument in
    -h | --help) usage && exit 0 ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# install PACKAGE…: from the distribution. Nothing that comes with it is started: the measurement starts its own.
install() {
  local guard=/usr/sbin/policy-rc.d made=
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "load.sh: install $* to see them too" >&2
    return
  fi
  if [[ ! -e $guard ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod +x "$guard"
    made=yes
  fi
  apt-get update -qq >&2 || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 || true
  [[ -z $made ]] || rm -f "$guard"
}

installed() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$1" >/dev/null; }

if [[ " $* " == *" --peers "* ]]; then
  missing=()
  for peer in nginx haproxy; do installed "$peer" || missing+=("$peer"); done
  ((${#missing[@]} == 0)) || install "${missing[@]}"
fi

# 5,000 idle connections need a descriptor each here, and two in the gateway.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
exec cargo bench --quiet --locked --bench load -- "$@"
