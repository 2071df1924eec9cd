"""`corelane top` in a real pseudo-terminal, its screen read by a terminal emulator."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
import time
import urllib.request

import pyte

from harness.expect import equal, true
from harness.report import Book

check = Book("top")

COLUMNS, LINES = 140, 30


class Terminal:
    """A program in a terminal of its own, and what its screen shows."""

    def __init__(self, command: list, columns: int = COLUMNS, lines: int = LINES):
        self.master, slave = pty.openpty()
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.resize(columns, lines, tell=False)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=os.environ | {"TERM": "xterm"}
        )
        self.slave = slave

    def resize(self, columns: int, lines: int, tell: bool = True) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)
        if tell:
            # It has no controlling terminal to be told by.
            self.process.send_signal(28)  # SIGWINCH

    def read(self) -> None:
        while select.select([self.master], [], [], 0)[0]:
            part = os.read(self.master, 65536)
            self.raw += part
            self.stream.feed(part)

    def text(self) -> str:
        self.read()
        return "\n".join(line.rstrip() for line in self.screen.display)

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def until(self, what, limit: float = 5) -> str:
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            text = self.text()
            if what(text):
                return text
            time.sleep(0.02)
        raise AssertionError(f"not within {limit} s:\n{self.text()}")

    def end(self, limit: float = 5) -> int:
        code = self.process.wait(limit)
        self.read()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.master)


def run(bench, report) -> None:
    check.run(bench, report)


def opened(bench, *more: str) -> Terminal:
    admin = bench.chat.start["admin"].removeprefix("http://")
    return Terminal([bench.binary, "top", "--admin", admin, *more])


def ask(bench) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
    request = urllib.request.Request(bench.chat.url + "/v1/chat/completions", body, {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()


@check("it shows what /stats says, and follows")
def _(bench):
    ask(bench)
    terminal = opened(bench)
    try:
        requests = bench.chat.stats()["all"]["requests"]
        shows = lambda number: lambda text: re.search(rf"^default .* {number}$", text, re.MULTILINE)
        text = terminal.until(shows(requests))
        true(text.startswith("corelane  127.0.0.1:"), text)
        times = bench.chat.stats()["all"]["T_us"]
        told = re.search(r"T\s+([\d.]+)(us|ms|s) p50", text)
        true(told is not None, text)
        us = float(told[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[told[2]]
        true(abs(us - times["p50"]) <= max(1, times["p50"] / 100), f"{told[0]} for {times['p50']} us")
        ask(bench)
        terminal.until(shows(requests + 1), 3)
    finally:
        terminal.close()


@check("keys sort, and q leaves the terminal as it was")
def _(bench):
    terminal = opened(bench)
    try:
        terminal.until(lambda text: "cluster*" in text)
        terminal.press(b"\x1b[C")
        terminal.until(lambda text: "endpoint*" in text)
        terminal.press(b"\x1b[D")
        terminal.until(lambda text: "cluster*" in text)
        true(termios.tcgetattr(terminal.slave) != terminal.before, "keys come one by one")
        terminal.press(b"q")
        equal(terminal.end(), 0)
        equal(termios.tcgetattr(terminal.slave), terminal.before)
        true(b"\x1b[?1049l" in terminal.raw, "the screen of before is back")
    finally:
        terminal.close()


@check("Ctrl-C and SIGTERM end it in order")
def _(bench):
    for leave in [lambda t: t.press(b"\x03"), lambda t: t.process.terminate()]:
        terminal = opened(bench)
        try:
            terminal.until(lambda text: "endpoint" in text)
            leave(terminal)
            equal(terminal.end(), 0)
            equal(termios.tcgetattr(terminal.slave), terminal.before)
        finally:
            terminal.close()


@check("it fits the terminal, and follows its size")
def _(bench):
    terminal = opened(bench)
    try:
        terminal.until(lambda text: "endpoint" in text)
        terminal.resize(60, 10)
        terminal.until(lambda text: "endpoint" in text)
        terminal.resize(100, 40)
        terminal.until(lambda text: "endpoint" in text and "TTFT p50" in text)
    finally:
        terminal.close()


@check("a gateway that goes away is told, and what was known stays")
def _(bench):
    # What stands in between is not the gateway: it is closed, and opened again.
    import socket

    admin = bench.chat.start["admin"].removeprefix("http://").rsplit(":", 1)
    listener = socket.create_server(("127.0.0.1", 0))
    is_open = threading.Event()
    is_open.set()

    def relay():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if not is_open.is_set():
                client.close()
                continue
            with client, socket.create_connection((admin[0], int(admin[1]))) as server:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += client.recv(65536)
                server.sendall(request)
                while part := server.recv(65536):
                    client.sendall(part)

    threading.Thread(target=relay, daemon=True).start()
    terminal = Terminal([bench.binary, "top", "--admin", f"127.0.0.1:{listener.getsockname()[1]}"])
    try:
        terminal.until(lambda text: "endpoint" in text)
        is_open.clear()
        text = terminal.until(lambda text: "the admin API at" in text)
        true("endpoint" in text, text)
        is_open.set()
        terminal.until(lambda text: "the admin API at" not in text)
    finally:
        terminal.close()
        listener.close()


@check("once prints it as text, without a terminal")
def _(bench):
    admin = bench.chat.start["admin"].removeprefix("http://")
    told = subprocess.run([bench.binary, "top", "--once", "--admin", admin], capture_output=True, text=True, timeout=10)
    equal(told.returncode, 0)
    true("\x1b" not in told.stdout and bench.chat.upstream in told.stdout, told.stdout)
    none = [bench.binary, "top", "--once", "--admin", bench.dead.upstream.removeprefix("http://")]
    told = subprocess.run(none, capture_output=True, text=True, timeout=20)
    equal((told.returncode, told.stdout), (1, ""))
    true("does not answer" in told.stderr and "fix:" in told.stderr, told.stderr)
