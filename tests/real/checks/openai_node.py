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
        urls = [bench.chat.url, bench.chat.upstream, modules, bench.rules.url, bench.rules.upstream]
        take = lambda: take_results([node, SCRIPT, *urls], "openai node", bench, report)
        report.check("openai node: all of its checks ran", take, LIMIT)


def take_results(command: list, name: str, bench, report) -> None:
    """Runs a script that prints how many checks it has, then a line for each."""
    fleet = bench.fleet
    process = fleet.start("node", command, stdout=subprocess.PIPE)
    ran = expected = 0
    try:
        for line in process.stdout:
            result = json.loads(line)
            if "ran" in result:
                expected = result["ran"]
                continue
            ran += 1
            report.record(f"{name}: {result['name']}", result["seconds"], result["fault"])
    finally:
        code = fleet.end("node", patience=2)
    if code or not expected or ran != expected:
        said = fleet.tail("node", 5)
        raise AssertionError(f"{ran} of {expected or 'unknown'} checks, node ended with {code}: {said}")
