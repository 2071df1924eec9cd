"""curl through the gateway: methods, framings, HTTP/1.0, 100-continue and connection reuse."""

import os
import shutil
import subprocess
import time

from harness.expect import MiB, equal, spaced, text_of, true
from harness.report import Book

check = Book("curl")
LINES = b"".join(b"line %d\n" % number for number in range(1, 11))


def run(bench, report) -> None:
    if shutil.which("curl"):
        check.run(bench, report)
    else:
        report.skip("curl", "the program is not installed")


def curl(*arguments: str, stdin: bytes = b"") -> bytes:
    # -q: a curlrc of the machine must not change what is sent.
    command = ["curl", "-q", "-sS", "--max-time", "10", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=12)
    true(done.returncode == 0, f"curl ended with {done.returncode}: {done.stderr.decode().strip()}")
    return done.stdout


def body_file(bench, size: int) -> tuple[str, bytes]:
    path, data = bench.scratch / f"body-{size}", text_of(size).encode()
    path.write_bytes(data)
    return f"@{path}", data


@check("GET")
def get(bench):
    head, _, body = curl("-i", bench.echo.url + "/plain").partition(b"\r\n\r\n")
    equal(head.split(b"\r\n")[0], b"HTTP/1.1 200 OK", "status line")
    equal(body, b"plain text\n", "body")
    true(b"\nvia: 1.1 corelane" in head.lower(), f"the answer did not pass the gateway: {head}")


@check("HEAD has the length and no body")
def head(bench):
    fields = curl("-I", bench.echo.url + "/plain").lower()
    true(b"content-length: 11\r\n" in fields, f"no content-length of 11: {fields}")


@check("POST of 64 KiB comes back whole")
def post(bench):
    at, data = body_file(bench, 64 * 1024)
    equal(curl("--data-binary", at, bench.echo.url + "/echo"), data, "body")


@check("POST of 2 MiB with expect: 100-continue does not wait")
def expect_continue(bench):
    at, data = body_file(bench, 2 * MiB)
    answer = bench.scratch / "continued"
    # curl waits a second for the 100 before it sends the body anyway; an answer sooner means that the 100 came.
    took = curl(
        *("-H", "expect: 100-continue", "--data-binary", at),
        *("-o", str(answer), "-w", "%{time_total}", bench.echo.url + "/echo"),
    )
    equal(answer.read_bytes(), data, "body")
    true(float(took) < 0.9, f"took {took.decode()} s")


@check("chunked upload")
def chunked(bench):
    data = text_of(300_000).encode()
    url = bench.echo.url + "/echo"
    equal(curl("-H", "transfer-encoding: chunked", "--data-binary", "@-", url, stdin=data), data, "body")


@check("stream with -N arrives line by line")
def stream(bench):
    command = ["curl", "-q", "-sS", "-N", "--max-time", "10", bench.echo.url + "/stream"]
    lines, arrivals = [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            lines.append(line)
            arrivals.append(time.monotonic())
    equal(b"".join(lines), LINES, "body")
    spaced(arrivals)


@check("HTTP/1.0 GET")
def http10(bench):
    equal(curl("--http1.0", bench.echo.url + "/plain"), b"plain text\n", "body")


@check("HTTP/1.0 POST")
def http10_post(bench):
    at, data = body_file(bench, 64 * 1024)
    equal(curl("--http1.0", "--data-binary", at, bench.echo.url + "/echo"), data, "body")


@check("HTTP/1.0 stream has no chunk framing and ends with the connection")
def http10_stream(bench):
    head, _, body = curl("--http1.0", "-i", bench.echo.url + "/stream").partition(b"\r\n\r\n")
    true(b"transfer-encoding" not in head.lower(), f"chunked to HTTP/1.0: {head}")
    equal(body, LINES, "body")


@check("several requests share one connection")
def reuse(bench):
    url = bench.echo.url + "/plain"
    counts = curl("-w", "%{num_connects} ", *["-o", os.devnull, url] * 5)
    equal(counts.split(), [b"1", b"0", b"0", b"0", b"0"], "new connections by request")
