#!/usr/bin/env bash
# setup.sh DIR: installs the pinned clients and servers of run.py into DIR/venv (Python) and DIR/node, once.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
apt_updated=

say() { printf 'setup: %s\n' "$*" >&2; }
missing() {
  say "MISSING: $1. Install $2 and run this again."
  exit 3
}

if [[ $# -ne 1 || $1 == -* ]]; then
  say "usage: tests/real/setup.sh DIR   (for example: tests/real/setup.sh ~/.cache/corelane/real)"
  exit 2
fi

# apt_install PACKAGE...: tries, where that is possible at all; whether it helped is for the caller to see.
apt_install() {
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then return 0; fi
  say "apt-get install $*"
  if [[ -z $apt_updated ]]; then
    apt-get update -qq >&2 || true
    apt_updated=yes
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 || true
}

has_venv() { "$python" -c 'import venv, ensurepip' 2>/dev/null; }
has_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null
has_prometheus() { command -v prometheus && command -v promtool; } >/dev/null
has_node() { command -v node >/dev/null && command -v npm >/dev/null; }

need_tools() {
  command -v "$python" >/dev/null || apt_install python3
  command -v "$python" >/dev/null || missing "$python" "Python 3.11 or 3.12"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    missing "Python 3.11 or later as $python" "it, or set PYTHON"
  has_venv || apt_install python3-venv
  has_venv || missing "Python's venv module" "python3-venv"
  has_node || apt_install nodejs npm
  has_node || missing "node or npm" "nodejs (20 or later) and npm"
  command -v curl >/dev/null || apt_install curl
  has_browser || apt_install chromium
  has_browser || missing "Chromium" "chromium"
  has_prometheus || apt_install prometheus
  has_prometheus || missing "prometheus or promtool" "prometheus"
}

# stamp FILE...: what an installation depends on; it is done again only when this changes.
stamp() { cat "$@" | sha256sum | cut -d' ' -f1; }

setup_python() {
  local want
  want="$("$python" --version) $(stamp "$here/requirements.txt" "$here/alone.txt")"
  if [[ $(cat "$dir/venv/.stamp" 2>/dev/null) == "$want" ]]; then
    say "$dir/venv is up to date"
    return
  fi
  rm -rf "$dir/venv"
  "$python" -m venv "$dir/venv"
  local install=("$dir/venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check)
  "${install[@]}" -r "$here/requirements.txt"
  "${install[@]}" --no-deps -r "$here/alone.txt"
  printf '%s\n' "$want" >"$dir/venv/.stamp"
}

setup_node() {
  local want
  want=$(stamp "$here"/node/package.json "$here"/node/package-lock.json "$here"/node/.npmrc)
  if [[ $(cat "$dir/node/.stamp" 2>/dev/null) == "$want" ]]; then
    say "$dir/node is up to date"
    return
  fi
  rm -rf "$dir/node"
  mkdir -p "$dir/node"
  cp "$here"/node/package.json "$here"/node/package-lock.json "$here"/node/.npmrc "$dir/node/"
  (cd "$dir/node" && npm ci --silent --no-audit --no-fund >&2)
  printf '%s\n' "$want" >"$dir/node/.stamp"
}

mkdir -p "$1"
dir=$(cd "$1" && pwd)
need_tools
setup_python
python_done=$SECONDS
setup_node
say "done in $SECONDS s (python $python_done s, node $((SECONDS - python_done)) s): $dir"
