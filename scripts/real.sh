#!/usr/bin/env bash
# real.sh KIND: sets up a real engine (vllm, llama or infinity, CPU), puts corelane in front, drives it with the openai client.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/real.sh vllm|llama|infinity [--io io_uring|epoll] [--dir DIR]

  --io    only this driver (both)
  --dir   where everything is installed, once (${XDG_CACHE_HOME:-~/.cache}/corelane/real)

environment:
  CORELANE      a binary to test; without it a release build is made
  VLLM_VENV     a venv that has vLLM for CPU already
  LLAMA_SERVER, GGUF    a llama-server and a model that exist already (both, or none)

example: scripts/real.sh vllm --io epoll
The first run takes minutes (vllm: 5 and 6.4 GB, llama: 25, infinity: 2 and 6 GB), later ones start at once.
TEXT
}

wrong() {
  printf 'real.sh: %s\n\n' "$1" >&2
  usage >&2
  exit 2
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tests=$root/tests/real
dir=${XDG_CACHE_HOME:-${HOME:-$root/target}/.cache}/corelane/real
kind='' io=()

while (($#)); do
  case $1 in
    -h | --help) usage && exit 0 ;;
    vllm | llama | infinity) kind=$1 && shift ;;
    --io)
      [[ ${2:-} =~ ^(io_uring|epoll)$ ]] || wrong "--io takes io_uring or epoll"
      io+=(--io "$2") && shift 2
      ;;
    --dir)
      [[ -n ${2:-} ]] || wrong "--dir takes a folder"
      dir=$2 && shift 2
      ;;
    *) wrong "unknown argument: $1" ;;
  esac
done
[[ -n $kind ]] || wrong "say which engine"
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

steps=()
# step NAME COMMAND...: runs it and keeps its time for the summary.
step() {
  local begun=$SECONDS name=$1
  shift
  "$@"
  steps+=(--step "$name=$((SECONDS - begun))")
}

build() { (cd "$root" && cargo build --release --bin corelane); }

step "clients set up" "$tests/setup.sh" "$dir"
if [[ $kind == llama && -n ${LLAMA_SERVER:-} && -n ${GGUF:-} ]]; then
  echo "real.sh: using $LLAMA_SERVER with $GGUF" >&2
else
  step "$kind set up" "$tests/$kind/setup.sh" "$dir"
fi
if [[ -z ${CORELANE:-} ]]; then
  step "corelane built" build
  CORELANE=${CARGO_TARGET_DIR:-$root/target}/release/corelane
fi

exec "$dir/venv/bin/python" -B "$tests/engine.py" "$kind" --corelane "$CORELANE" --dir "$dir" "${io[@]}" "${steps[@]}"
