"""Drives real clients through a corelane binary to real servers on this machine, and counts what passed."""

import argparse
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from harness.bench import Bench
from harness.processes import Fleet, NotReady
from harness.report import Report

PARTS = {
    "curl": "checks.curl",
    "openai": "checks.openai_sync",
    "openai async": "checks.openai_async",
    "openai node": "checks.openai_node",
    "httpx": "checks.httpx_client",
    "aiohttp": "checks.aiohttp_client",
    "tritonclient": "checks.triton",
    "gateway": "checks.closing",
}
BUDGET = 240  # seconds for everything; a usual run takes a fifth of it


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: setup.sh DIR && run.py --dir DIR --corelane target/release/corelane")
    parser.add_argument("--corelane", required=True, metavar="PATH", help="the binary under test")
    parser.add_argument("--io", choices=["io_uring", "epoll"], default="epoll", help="the gateway's io driver (epoll)")
    parser.add_argument("--dir", required=True, type=Path, help="the folder given to setup.sh")
    parser.add_argument("--only", metavar="PART", action="append", choices=PARTS, help="run this part only; repeatable")
    return parser.parse_args()


def enter_venv(folder: Path) -> None:
    """Goes on inside the interpreter of the venv, which has the clients and the servers."""
    venv = folder / "venv"
    if Path(sys.prefix).resolve() == venv.resolve():
        return
    python = venv / "bin" / "python"
    if not python.exists():
        sys.exit(f"run.py: there is no {python}; run {Path(__file__).with_name('setup.sh')} {folder} first")
    os.execv(python, [str(python), "-B", os.path.abspath(__file__), *sys.argv[1:]])


def clean_environment() -> None:
    """Proxies and keys of the caller's environment must not reach the clients."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("OPENAI_"):
            del os.environ[name]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


def interrupt(*_):
    raise KeyboardInterrupt


def main() -> int:
    given = options()
    given.dir = given.dir.resolve()
    enter_venv(given.dir)
    clean_environment()
    binary = shutil.which(given.corelane) or sys.exit(f"run.py: {given.corelane} is not a program")
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, interrupt)

    begun, report = time.monotonic(), Report(BUDGET)
    scratch = Path(tempfile.mkdtemp(prefix="corelane-real-"))
    try:
        with Fleet(scratch) as fleet:
            bench = None

            def start():
                nonlocal bench
                bench = Bench.start(fleet, os.path.abspath(binary), given.io, given.dir, scratch)

            if report.check(f"bench: servers and gateways start, io={given.io}", start, limit=60):
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
