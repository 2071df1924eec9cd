"""The Node `openai` client: runs node/checks.mjs and takes over its results line by line."""

import json
import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "node" / "checks.mjs"
LIMIT = 60


def run(bench, report) -> None:
    node, modules = shutil.which("node"), bench.folder / "node"
    if not node:
        report.skip("openai node", "node is not installed")
    elif not (modules / "node_modules" / "openai").is_dir():
        report.skip("openai node", "the package is missing; run setup.sh again")
    else:
        report.check("openai node: all of its checks ran", lambda: take_over(node, modules, bench, report), LIMIT)


def take_over(node: str, modules: Path, bench, report) -> None:
    fleet = bench.fleet
    process = fleet.start("node", [node, SCRIPT, bench.chat.url, bench.chat.upstream, modules, bench.rules.url, bench.rules.upstream], stdout=subprocess.PIPE)
    ran = expected = 0
    try:
        for line in process.stdout:
            result = json.loads(line)
            if "ran" in result:
                expected = result["ran"]
                continue
            ran += 1
            report.record(f"openai node: {result['name']}", result["seconds"], result["fault"])
    finally:
        code = fleet.end("node", patience=2)
    if code or not expected or ran != expected:
        said = fleet.tail("node", 5)
        raise AssertionError(f"{ran} of {expected or 'unknown'} checks, node ended with {code}: {said}")
