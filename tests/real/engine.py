"""Runs the `openai` client through corelane to a real engine on CPU, with each io driver, and prints a summary."""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.engines import ENGINES
from harness.entry import clean_environment, end_in_order, enter_venv
from harness.processes import Fleet, free_port, get
from harness.report import Report

DRIVERS = ["io_uring", "epoll"]
BUDGET = 1200  # seconds for everything, the engine's start included


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, epilog="scripts/real.sh sets everything up and calls this")
    parser.add_argument("kind", choices=ENGINES)
    parser.add_argument("--corelane", required=True, metavar="PATH", help="the binary under test")
    parser.add_argument("--io", choices=DRIVERS, action="append", help="only this driver; both without it")
    parser.add_argument("--dir", required=True, type=Path, help="the folder given to setup.sh")
    parser.add_argument("--step", metavar="NAME=SECONDS", action="append", default=[], help="a step done before")
    return parser.parse_args()


class Run:
    """One engine, started once, with a gateway per driver in front of it in turn."""

    def __init__(self, given: argparse.Namespace, fleet: Fleet, binary: str):
        self.given, self.fleet, self.binary = given, fleet, binary
        self.report = Report(BUDGET)
        self.steps = [step.partition("=")[::2] for step in given.step]
        port = free_port()
        self.engine = ENGINES[given.kind](given.dir, port)
        self.direct = f"http://127.0.0.1:{port}"

    def step(self, name: str, function, limit: float) -> bool:
        begun = time.monotonic()
        done = self.report.check(name, function, limit)
        self.steps.append((name, f"{time.monotonic() - begun:.1f}"))
        return done

    def start_engine(self) -> None:
        self.fleet.start(self.engine.kind, self.engine.command, env=self.engine.env, cwd=self.fleet.logs)
        self.fleet.await_http(self.engine.kind, self.direct + "/health", self.engine.start_limit)

    def through(self, io: str, checks) -> None:
        bench = checks.EngineBench(self.engine, self.direct)

        def start():
            bench.start(self.fleet, f"corelane-{io}", self.binary, io, self.fleet.logs)

        def end():
            for one in bench.names():
                code = self.fleet.end(one, patience=10)
                assert code == 0, f"{one}: exit code {code}"

        if self.report.check(f"{io}: gateway starts", start, limit=30):
            checks.check.run(bench, self.report, prefix=f"{io}: ")
            self.report.check(f"{io}: SIGTERM ends the gateway with 0", end)

    def all(self) -> None:
        checks = importlib.import_module(f"checks.{self.engine.checks}")
        title = self.engine.title
        direct = checks.EngineBench(self.engine, self.direct)
        if not self.step(f"{title} starts", self.start_engine, self.engine.start_limit + 10):
            return
        if not self.step(f"{title} is warm", lambda: checks.warm_up(direct), 180):
            return
        for io in self.given.io or DRIVERS:
            begun = time.monotonic()
            self.through(io, checks)
            self.steps.append((f"checks with {io}", f"{time.monotonic() - begun:.1f}"))

    def summary(self) -> None:
        drivers = self.given.io or DRIVERS
        print(f"\n{', '.join(self.versions())}\n")
        print("Steps: " + ", ".join(f"{name} {seconds} s" for name, seconds in self.steps) + "\n")
        cells = {}
        for name, seconds, fault in self.report.results:
            io, _, what = name.partition(": ")
            if io in drivers:
                cells.setdefault(what, {})[io] = f"FAILED after {seconds:.2f} s" if fault else f"{seconds:.2f} s"
        print(f"| check | {' | '.join(drivers)} |\n|---|{'---:|' * len(drivers)}")
        for what, by_driver in cells.items():
            print(f"| {what} | {' | '.join(by_driver.get(io, 'not run') for io in drivers)} |")
        print()

    def versions(self) -> list[str]:
        yield f"{self.engine.title} {self.engine_version()}"
        yield f"openai {importlib.metadata.version('openai')}"
        yield f"Python {platform.python_version()}"
        yield f"Linux {platform.release()}"
        yield f"{len(os.sched_getaffinity(0))} cores"

    def engine_version(self) -> str:
        if self.engine.kind == "vllm":
            try:
                return json.loads(get(self.direct + "/version"))["version"]
            except OSError:
                return "(not running)"
        command = self.engine.version or [self.engine.command[0], "--version"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return (told.stderr + told.stdout).partition("version: ")[2].split("\n")[0] or "(version unknown)"


def main() -> int:
    given = options()
    given.dir = given.dir.resolve()
    enter_venv(given.dir)
    clean_environment()
    end_in_order()
    binary = shutil.which(given.corelane) or sys.exit(f"engine.py: {given.corelane} is not a program")

    scratch = Path(tempfile.mkdtemp(prefix="corelane-engine-"))
    with Fleet(scratch) as fleet:
        run = Run(given, fleet, os.path.abspath(binary))
        begun = time.monotonic()
        try:
            run.all()
        except KeyboardInterrupt:
            run.report.record("interrupted", time.monotonic() - begun, "stopped from outside")
        run.summary()
    if run.report.failed:
        print(f"logs: {scratch}")
    else:
        shutil.rmtree(scratch)
    return run.report.close()


if __name__ == "__main__":
    sys.exit(main())
