"""`aiohttp` through the gateway: plain, streamed, and 64 streams at once."""

import asyncio
import json
import time

import aiohttp

from harness.expect import counted, equal, spaced, true
from harness.report import Book

check = Book("aiohttp")
run = check.run


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=12), connector=aiohttp.TCPConnector(limit=0))


async def stream(http, bench, total: int) -> tuple[str, list[float]]:
    """The content of one streamed chat and when its tokens came."""
    request = {"model": "counter", "stream": True, "messages": [{"role": "user", "content": f"count {total}"}]}
    tokens, arrivals, ended = [], [], False
    async with http.post(bench.chat.url + "/v1/chat/completions", json=request) as response:
        equal((response.status, response.content_type), (200, "text/event-stream"), "status and type")
        async for line in response.content:
            data = line.removeprefix(b"data: ").strip()
            if data == b"[DONE]":
                ended = True
            elif data and (token := json.loads(data)["choices"][0]["delta"].get("content")):
                tokens.append(token)
                arrivals.append(time.monotonic())
    true(ended, "the stream had no [DONE]")
    return "".join(tokens), arrivals


@check("plain")
async def plain(bench):
    async with session() as http, http.get(bench.echo.url + "/plain") as response:
        equal((response.status, await response.text()), (200, "plain text\n"))


@check("streamed answer arrives token by token")
async def streamed(bench):
    async with session() as http:
        text, arrivals = await stream(http, bench, 12)
    equal(text, counted(12))
    spaced(arrivals)


@check("64 streams at once, each whole and its own")
async def many(bench):
    totals = [5 + number % 16 for number in range(64)]
    async with session() as http:
        results = await asyncio.gather(*(stream(http, bench, total) for total in totals))
    equal([text for text, _ in results], [counted(total) for total in totals], "answers")


@check("64 requests at once")
async def requests(bench):
    async def ask(http, number: int) -> str:
        async with http.post(bench.echo.url + "/echo", data=f"body {number}".encode()) as response:
            return await response.text()

    async with session() as http:
        answers = await asyncio.gather(*(ask(http, number) for number in range(64)))
    equal(answers, [f"body {number}" for number in range(64)], "answers")
