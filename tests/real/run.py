"""Drives real clients through a corelane binary to real servers on this machine, and counts what passed."""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from harness.bench import Bench
from harness.entry import clean_environment, end_in_order, enter_venv
from harness.processes import Fleet
from harness.report import Report

PARTS = {
    "curl": "checks.curl",
    "openai": "checks.openai_sync",
    "openai refusals": "checks.openai_refusals",
    "filters": "checks.filters",
    "openai async": "checks.openai_async",
    "openai node": "checks.openai_node",
    "httpx": "checks.httpx_client",
    "aiohttp": "checks.aiohttp_client",
    "tritonclient": "checks.triton",
    "batching": "checks.batching",
    "readers": "checks.readers",
    "unwanted": "checks.unwanted",
    "websockets": "checks.sockets",
    "dashboard": "checks.dashboard",
    "top": "checks.top",
    "prometheus": "checks.prometheus",
    "traces": "checks.traces",
    "phases": "checks.phases",
    "gateway": "checks.closing",
}
BUDGET = 240  # seconds for everything; a usual run takes a tenth of it


def options() -> argparse.Namespace:
    example = "example: setup.sh DIR && run.py --dir DIR --corelane target/release/corelane"
    parser = argparse.ArgumentParser(description=__doc__, epilog=example)
    parser.add_argument("--corelane", required=True, metavar="PATH", help="the binary under test")
    parser.add_argument("--io", choices=["io_uring", "epoll"], default="epoll", help="the gateway's io driver (epoll)")
    parser.add_argument("--dir", required=True, type=Path, help="the folder given to setup.sh")
    parser.add_argument("--only", metavar="PART", action="append", choices=PARTS, help="run this part only; repeatable")
    return parser.parse_args()


def main() -> int:
    given = options()
    given.dir = given.dir.resolve()
    enter_venv(given.dir)
    clean_environment()
    end_in_order()
    binary = shutil.which(given.corelane) or sys.exit(f"run.py: {given.corelane} is not a program")

    begun, report = time.monotonic(), Report(BUDGET)
    scratch = Path(tempfile.mkdtemp(prefix="corelane-real-"))
    try:
        with Fleet(scratch) as fleet:
            bench = Bench(fleet, os.path.abspath(binary), given.io, given.dir, scratch)
            if report.check(f"bench: servers and gateways start, io={given.io}", bench.start, limit=60):
                run_parts(bench, report, given.only or PARTS)
    except KeyboardInterrupt:
        report.record("interrupted", time.monotonic() - begun, "stopped from outside")
    if report.failed:
        print(f"logs: {scratch}")
    else:
        shutil.rmtree(scratch)
    print(f"io={given.io}: {time.monotonic() - begun:.1f} s")
    return report.close()


def run_parts(bench: Bench, report: Report, parts) -> None:
    for part in parts:
        try:
            module = importlib.import_module(PARTS[part])
        except ImportError as error:
            report.skip(part, f"{error}; run setup.sh again")
            continue
        module.run(bench, report)


if __name__ == "__main__":
    sys.exit(main())
