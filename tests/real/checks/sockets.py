"""WebSockets: the `websockets` library of Python and `ws` of Node, each as client and as server, through tunnels."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from harness.expect import equal, true
from harness.gateway import Gateway
from harness.processes import free_port
from harness.report import Book

from .openai_node import take_results

HERE = Path(__file__).resolve().parent.parent
MIB = 1 << 20
RULES = """
[cluster.python]
endpoints = ["http://127.0.0.1:{python}"]
[cluster.node]
endpoints = ["http://127.0.0.1:{node}"]
"""
ROUTE = """
[[route]]
match = {{ path = "/{name}/{server}/*" }}
to = "{server}"
rewrite = {{ strip = "/{name}" }}
upgrade = {upgrade}
"""
SERVERS = ["python", "node"]

check = Book("websockets")


def run(bench, report) -> None:
    node, modules = shutil.which("node"), bench.folder / "node"
    if not node or not (modules / "node_modules" / "ws").is_dir():
        report.skip("websockets", "node or its package `ws` is missing; run setup.sh again")
        return
    report.check("websockets: servers and gateway start", lambda: start(bench, node, modules), limit=20)
    check.run(bench, report)
    urls = [url(bench, server) for server in SERVERS]
    command = [node, HERE / "node" / "sockets.mjs", "check", modules, *urls]
    report.check(
        "websockets node: all of its checks ran", lambda: take_results(command, "websockets node", bench, report), 120
    )


def start(bench, node: str, modules: Path) -> None:
    ports = {server: free_port() for server in SERVERS}
    bench.fleet.start("sockets-python", [sys.executable, HERE / "servers" / "sockets.py", "--port", ports["python"]])
    bench.fleet.start("sockets-node", [node, HERE / "node" / "sockets.mjs", "serve", modules, ports["node"]])
    for server, port in ports.items():
        bench.fleet.await_http(f"sockets-{server}", f"http://127.0.0.1:{port}/", limit=10)
    config = bench.scratch / "sockets.toml"
    ways = {"long": "true", "short": '{ idle = "1s" }', "none": "false"}
    routes = [
        ROUTE.format(name=name, server=server, upgrade=upgrade) for name, upgrade in ways.items() for server in SERVERS
    ]
    config.write_text(RULES.format(**ports) + "".join(routes))
    bench.sockets = Gateway(bench.fleet, "corelane-sockets", bench.binary, bench.io, "", config)


def url(bench, server: str, way: str = "long") -> str:
    return f"ws://{bench.sockets.authority}/{way}/{server}/"


def opened(address: str, **options):
    return connect(address, max_size=32 * MIB, subprotocols=["one", "two"], proxy=None, **options)


async def ask(socket, message):
    await socket.send(message)
    return await socket.recv()


async def end_of(address: str, name: str) -> str:
    async with opened(address) as socket:
        for _ in range(100):
            if (end := await ask(socket, f"last {name}")) != "open":
                return end
            await asyncio.sleep(0.02)
    raise AssertionError("the server still holds the connection open")


async def close_of(socket) -> str:
    """How it ends, from this side."""
    try:
        while True:
            await socket.recv()
    except ConnectionClosed:
        return f"{socket.close_code} {socket.close_reason or ''}"


for server in SERVERS:

    def each(name: str, limit: float = 15, server=server):
        return check(f"{name} (/{server})", limit)

    @each("text, bytes and nothing come back, compressed or not")
    async def echoes(bench, server=server):
        for compression in ("deflate", None):
            async with opened(url(bench, server), compression=compression) as socket:
                equal(socket.subprotocol, "two", "subprotocol")
                for message in ["hello", "", "grüße 🦀", "x" * 70_000, *(os.urandom(n) for n in (0, 1, 125, 126, 65536))]:
                    equal(await ask(socket, message), message, "echo")

    @each("pings and pongs both ways")
    async def pings(bench, server=server):
        async with opened(url(bench, server)) as socket:
            await (await socket.ping(b"here"))
            equal(await ask(socket, "ping"), "ponged", "the server's own ping")

    @each("fragments both ways")
    async def fragments(bench, server=server):
        async with opened(url(bench, server)) as socket:
            pieces = [f"{number} " for number in range(500)]
            equal(await ask(socket, pieces), "".join(pieces), "echo of 500 fragments")
            equal(await ask(socket, "pieces 300"), "".join(f"piece {n} " for n in range(300)), "300 fragments")

    @each("16 MiB in one message both ways", limit=30)
    async def big(bench, server=server):
        async with opened(url(bench, server), compression=None) as socket:
            sent = os.urandom(16 * MIB)
            true(await ask(socket, sent) == sent, "the echo differs")
            true(await ask(socket, f"big {16 * MIB}") == b"\xa5" * (16 * MIB), "the message differs")

    @each("close codes and reasons both ways")
    async def closes(bench, server=server):
        address = url(bench, server)
        async with opened(f"{address}?python-close") as socket:
            await socket.close(4001, "enough")
            equal(socket.close_code, 4001, "echo of the code")
        equal(await end_of(address, "python-close"), "4001 enough", "as the server saw it")
        async with opened(address) as socket:
            await socket.send("close 4002 you too")
            equal(await close_of(socket), "4002 you too", "as the client saw it")

    @each("a side that breaks off is missed at once")
    async def breaks(bench, server=server):
        address = url(bench, server)
        async with opened(address) as socket:
            await socket.send("abort")
            equal(await close_of(socket), "1006 ", "as the client saw it")
        socket = await opened(f"{address}?python-abort")
        await ask(socket, "hello")
        socket.transport.abort()
        equal(await end_of(address, "python-abort"), "1006 ", "as the server saw it")

    @each("a silent peer is given up by the tunnel's clock")
    async def silent(bench, server=server):
        # No pings of the client's own: they would keep the tunnel alive.
        async with opened(url(bench, server, "short"), ping_interval=None) as socket:
            await socket.send("deaf")
            begun = time.monotonic()
            equal(await close_of(socket), "1006 ", "as the client saw it")
            true(time.monotonic() - begun > 0.9, "before its time")

    @each("sixty at once", limit=30)
    async def many(bench, server=server):
        async def one(seed: int) -> None:
            rng = random.Random(seed)
            async with opened(url(bench, server), compression=None) as socket:
                for _ in range(20):
                    sent = rng.randbytes(int(rng.random() ** 3 * 100_000))
                    true(await ask(socket, sent) == sent, "the echo differs")

        await asyncio.gather(*(one(seed) for seed in range(60)))

    @each("without `upgrade` nobody is offered one, and plain HTTP passes beside")
    async def refused(bench, server=server):
        try:
            async with opened(url(bench, server, "none")):
                raise AssertionError("it was opened")
        except InvalidStatus as refusal:
            equal(refusal.response.status_code, 200, "the server's answer to a plain request")
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(url(bench, server).replace("ws:", "http:"))
            equal(answer.text, "plain\n", "over HTTP")


@check("nothing is in flight when all are closed")
def in_flight(bench):
    seen = bench.sockets.await_stats(lambda now: now["total_in_flight"] == 0)
    equal(seen["total_in_flight"], 0, "in flight")
