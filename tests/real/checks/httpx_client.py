"""`httpx` through the gateway: keep-alive on both sides, streams, and uploads without a length."""

import asyncio
import hashlib
import time

import httpx

from harness.expect import equal, spaced, text_of, true
from harness.report import Book

check = Book("httpx")
run = check.run
LINES = [f"line {number}" for number in range(1, 11)]
BLOCK = text_of(64 * 1024).encode()
BLOCKS = 64


def client(bench) -> httpx.Client:
    return httpx.Client(base_url=bench.echo.url, timeout=10, trust_env=False)


@check("plain GET and POST")
def plain(bench):
    with client(bench) as http:
        equal(http.get("/plain").text, "plain text\n")
        seen = http.post("/describe?a=1&b=%20", json={"x": 1}).json()
    equal((seen["method"], seen["target"]), ("POST", "/describe?a=1&b=%20"), "what the origin saw")
    true("corelane" in seen["headers"].get("via", ""), "no via at the origin")
    true(seen["headers"].get("x-request-id"), "no x-request-id at the origin")


@check("streamed answer arrives line by line")
def streamed(bench):
    lines, arrivals = [], []
    with client(bench) as http, http.stream("GET", "/stream") as response:
        for line in response.iter_lines():
            lines.append(line)
            arrivals.append(time.monotonic())
    equal(lines, LINES)
    spaced(arrivals)


@check("300 requests on one connection, and few upstream")
def keep_alive(bench):
    total, connects = 300, 0

    def trace(event, _):
        nonlocal connects
        connects += event == "connection.connect_tcp.complete"

    before = bench.echo.endpoint_sum()
    with client(bench) as http:
        for number in range(total):
            path = "/plain" if number % 2 else "/describe"
            equal(http.get(path, extensions={"trace": trace}).status_code, 200, "status")
    equal(connects, 1, "downstream connections")

    after = bench.echo.await_stats(lambda now: now["requests"] - before["requests"] >= total)
    grown = {key: after[key] - before[key] for key in before}
    equal(grown["requests"], total, "requests that the gateway counted")
    true(grown["connects"] <= total // 30, f"upstream connections were not reused: {grown}")
    true(grown["reused"] >= total - total // 30, f"reuses are missing: {grown}")


@check("POSTs around the moment at which uvicorn closes idle connections (5 s)")
async def idle(bench):
    # Each client has had an answer, rests for 4.9 to 5.2 s, and then sends what must not be lost or sent twice.
    async def rest_and_post(pause: float) -> int:
        async with httpx.AsyncClient(base_url=bench.echo.url, timeout=10, trust_env=False) as http:
            await http.post("/echo", content=b"first")
            await asyncio.sleep(pause)
            return (await http.post("/echo", content=b"second")).status_code

    codes = await asyncio.gather(*(rest_and_post(4.9 + step / 100) for step in range(31)))
    equal(codes, [200] * 31, "statuses")


def wanted() -> tuple[int, str]:
    return len(BLOCK) * BLOCKS, hashlib.sha256(BLOCK * BLOCKS).hexdigest()


@check("chunked upload from a generator")
def chunked(bench):
    with client(bench) as http:
        seen = http.post("/describe", content=(BLOCK for _ in range(BLOCKS))).json()
    equal((seen["length"], seen["sha256"]), wanted(), "body at the origin")


@check("chunked uploads from asynchronous generators, 8 at once")
async def chunked_async(bench):
    async def blocks():
        for _ in range(BLOCKS):
            yield BLOCK
            await asyncio.sleep(0)

    async with httpx.AsyncClient(base_url=bench.echo.url, timeout=10, trust_env=False) as http:
        answers = await asyncio.gather(*(http.post("/describe", content=blocks()) for _ in range(8)))
    seen = [(answer.json()["length"], answer.json()["sha256"]) for answer in answers]
    equal(seen, [wanted()] * 8, "bodies at the origin")


@check("chunked upload in tiny pieces with pauses")
def dribble(bench):
    def pieces():
        for number in range(20):
            yield b"%d," % number
            time.sleep(0.01)

    with client(bench) as http:
        equal(http.post("/echo", content=pieces()).content, b"".join(b"%d," % number for number in range(20)))
