"""Runs checks within their time, prints one line for each, and counts."""

import asyncio
import inspect
import os
import signal
import time
import traceback
from contextlib import contextmanager


class NotApplicable(Exception):
    """What a check asks for is not in the server's nature, with the reason; neither a pass nor a failure."""


class Overtime(BaseException):
    """A check ran out of time. Not an Exception, so that no client library takes it for a network error."""


class Book:
    """The checks of one client, collected by decorating functions that take the bench."""

    def __init__(self, client: str):
        self.client = client
        self.checks = []

    def __call__(self, name: str, limit: float = 15):
        def add(function):
            self.checks.append((f"{self.client}: {name}", function, limit))
            return function

        return add

    def run(self, bench, report, prefix: str = "") -> None:
        for name, function, limit in self.checks:
            report.check(prefix + name, lambda: function(bench), limit)


class Report:
    def __init__(self, budget: float):
        self.deadline = time.monotonic() + budget
        self.passed = self.failed = 0
        self.results: list[tuple[str, float, str | None]] = []
        self.strict = os.environ.get("CI") == "true"

    def check(self, name: str, function, limit: float = 15) -> bool:
        start = time.monotonic()
        if start >= self.deadline:
            return self.record(name, 0, "not run: the time for all checks is used up")
        try:
            with alarm(min(limit, self.deadline - start)):
                result = function()
                if inspect.isawaitable(result):
                    asyncio.run(_awaited(result))
        except NotApplicable as why:
            print(f"NOT APPLICABLE: {name}: {why}", flush=True)
            return True
        except (Exception, Overtime) as error:
            return self.record(name, time.monotonic() - start, describe(error))
        return self.record(name, time.monotonic() - start)

    def record(self, name: str, seconds: float, fault: str | None = None) -> bool:
        self.results.append((name, seconds, fault))
        if fault is None:
            self.passed += 1
        else:
            self.failed += 1
        verdict, why = ("PASS", "") if fault is None else ("FAIL", f"  [{fault}]")
        print(f"{verdict} {seconds:7.3f} s  {name}{why}", flush=True)
        return fault is None

    def skip(self, name: str, why: str) -> None:
        self.failed += self.strict
        print(f"SKIPPED: {name}: {why}{' (a failure, for CI=true)' if self.strict else ''}", flush=True)

    def close(self) -> int:
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


async def _awaited(awaitable) -> None:
    await awaitable


@contextmanager
def alarm(seconds: float):
    """Raises Overtime in the main thread; again each second, should something swallow the first one."""

    def ring(*_):
        raise Overtime(f"not done within {seconds:.1f} s")

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def describe(error: BaseException) -> str:
    """The error and the line of ours it came from, on one line."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(here)]
    ours = [frame for frame in frames if os.sep + "checks" + os.sep in frame.filename] or frames
    place = f" at {os.path.basename(ours[-1].filename)}:{ours[-1].lineno}" if ours else ""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}{place}"
