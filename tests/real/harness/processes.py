"""Starts processes in groups of their own, waits until they answer, and ends every one of them whatever happens."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

# Loopback must never travel through a proxy of the environment.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotReady(Exception):
    """A process ended or stayed silent before it was ready."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url: str, timeout: float = 5) -> bytes:
    with _opener.open(url, timeout=timeout) as response:
        return response.read()


class Fleet:
    """The processes of one run; leaving the `with` block ends them all, by id."""

    def __init__(self, logs: Path):
        self.logs = logs
        self.running: dict[str, subprocess.Popen] = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A second Ctrl-C must not cut the ending short; it is bounded.
        held = {name: signal.signal(name, signal.SIG_IGN) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        self.end_all()
        for name, handler in held.items():
            signal.signal(name, handler)

    def log_of(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def start(self, name: str, command: list, cwd: Path | None = None, env: dict | None = None, **streams):
        with self.log_of(name).open("wb") as log:
            streams = {"stdout": log, "stderr": log} | streams
            # A group of its own, so that the workers of a server end with it.
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=cwd,
                env=os.environ | (env or {}),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **streams,
            )
        self.running[name] = process
        return process

    def await_http(self, name: str, url: str, limit: float) -> None:
        """Returns once `url` answers with a success."""
        process, deadline = self.running[name], time.monotonic() + limit
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise NotReady(f"{name} ended with {process.returncode}\n{self.tail(name)}")
            try:
                get(url, timeout=2)
                return
            except OSError:  # also URLError, HTTPError and timeouts
                time.sleep(0.05)
        raise NotReady(f"{name} did not answer {url} within {limit:.0f} s\n{self.tail(name)}")

    def tail(self, name: str, lines: int = 20) -> str:
        text = self.log_of(name).read_text(errors="replace").splitlines()
        return "\n".join(f"    | {line}" for line in text[-lines:])

    def end(self, name: str, patience: float = 5) -> int:
        """Asks the process to end, insists after `patience`, and returns its exit code."""
        process = self.running.pop(name)
        _signal(process, signal.SIGTERM)
        return _reap(process, patience)

    def end_all(self) -> None:
        # All are asked first, so that their patience runs side by side; the deadline is shared.
        processes, deadline = list(self.running.values()), time.monotonic() + 5
        for process in processes:
            _signal(process, signal.SIGTERM)
        for process in processes:
            _reap(process, deadline - time.monotonic())
        self.running.clear()


def _signal(process: subprocess.Popen, which: int) -> None:
    if process.poll() is None:
        process.send_signal(which)


def _reap(process: subprocess.Popen, patience: float) -> int:
    try:
        code = process.wait(max(patience, 0.1))
    except subprocess.TimeoutExpired:
        code = None
    try:
        os.killpg(process.pid, signal.SIGKILL)  # what is left of the group, most often nothing
    except ProcessLookupError:
        pass
    return process.wait() if code is None else code
