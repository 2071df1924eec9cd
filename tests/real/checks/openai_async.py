"""The `openai` Python client, asynchronous: the same API from one event loop, also many at once."""

import asyncio
import time

import openai

from checks.openai_sync import say
from harness.expect import MiB, counted, digest_of, equal, generation_name, spaced, stopped, text_of
from harness.report import Book

check = Book("openai async")
run = check.run


def client(bench) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=bench.chat.url + "/v1", api_key="unused", max_retries=0, timeout=10)


async def count(api, total: int) -> str:
    answer = await api.chat.completions.create(model="counter", messages=say(f"count {total}"))
    return answer.choices[0].message.content


@check("plain chat")
async def plain(bench):
    async with client(bench) as api:
        equal(await count(api, 3), counted(3))


@check("streamed chat arrives token by token")
async def streamed(bench):
    tokens, arrivals = [], []
    async with client(bench) as api:
        async for chunk in await api.chat.completions.create(model="counter", messages=say("count 12"), stream=True):
            if chunk.choices[0].delta.content:
                tokens.append(chunk.choices[0].delta.content)
                arrivals.append(time.monotonic())
    equal("".join(tokens), counted(12))
    spaced(arrivals)


@check("closing a stream stops the origin within a second")
async def close(bench):
    name = generation_name()
    async with client(bench) as api:
        stream = await api.chat.completions.create(model="counter", messages=say("count 200"), stream=True, user=name)
        await anext(stream)
        await stream.close()
        await asyncio.to_thread(stopped, bench.chat.upstream, name)


@check("cancelling a task that streams stops the origin within a second")
async def cancel(bench):
    name = generation_name()
    async with client(bench) as api:
        stream = await api.chat.completions.create(model="counter", messages=say("count 200"), stream=True, user=name)
        await anext(stream)

        async def follow():
            async with stream:
                async for _ in stream:
                    pass

        task = asyncio.create_task(follow())
        await asyncio.sleep(0)  # one turn of the loop: the task now waits for a token
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(stopped, bench.chat.upstream, name)


@check("32 at once, each gets its own answer")
async def many(bench):
    totals = [1 + number % 8 for number in range(32)]
    async with client(bench) as api:
        answers = await asyncio.gather(*(count(api, total) for total in totals))
    equal(answers, [counted(total) for total in totals], "answers")


@check("prompt of 4 MiB")
async def long_prompt(bench):
    data = text_of(4 * MiB)
    async with client(bench) as api:
        answer = await api.chat.completions.create(model="counter", messages=say("digest " + data))
    equal(answer.choices[0].message.content, digest_of(data))


@check("429 raises RateLimitError")
async def typed(bench):
    async with client(bench) as api:
        try:
            await api.chat.completions.create(model="status-429", messages=say("count 1"))
        except openai.RateLimitError as error:
            equal(error.code, "origin_429", "code")
            return
    raise AssertionError("no error was raised")
