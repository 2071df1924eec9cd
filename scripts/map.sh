#!/usr/bin/env bash
# map.sh: prints the source tree with the first line of each file, which says its duty.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../src"
find . -name '*.rs' | sort | while read -r file; do
  printf '%-32s %s\n' "${file#./}" "$(sed -n '1s|^//! *||p' "$file")"
done
