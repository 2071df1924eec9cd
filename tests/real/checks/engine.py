"""The `openai` client through the gateway to a real engine: answers, streams, leaving, errors, load and idleness."""

import asyncio
import re
import time
from pathlib import Path

import httpx
import openai

from harness import counted
from harness.expect import equal, true
from harness.gateway import Gateway
from harness.processes import Fleet, get
from harness.report import Book, NotApplicable

check = Book("openai")
CROWD = 32


class EngineBench:
    """One engine, the gateway in front of it, and the same one, which counts tokens."""

    def __init__(self, engine, direct: str):
        self.engine, self.direct = engine, direct

    def start(self, fleet: Fleet, name: str, binary: str, io: str, folder: Path) -> None:
        self.gateway = Gateway(fleet, name, binary, io, self.direct)
        self.counting = counted.gateway(fleet, f"{name}-counted", binary, io, self.direct, folder)

    def names(self) -> list[str]:
        return [self.gateway.name, self.counting.name]

    def client(self, kind=openai.OpenAI, base: str | None = None):
        return kind(base_url=(base or self.gateway.url) + "/v1", api_key="unused", max_retries=0, timeout=60)

    def chat(self, tokens: int, content: str = "Count.", **more) -> dict:
        """A chat of exactly this many tokens, for an engine that ends as it likes can't be measured."""
        return {
            "model": self.engine.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": tokens,
            "extra_body": {"ignore_eos": True},
        } | more

    def running(self) -> float:
        """The engine's own count of running requests, asked past the gateway."""
        metrics = get(self.direct + "/metrics").decode()
        return float(re.search(rf"^{re.escape(self.engine.gauge)}(?:{{.*}})? (\S+)", metrics, re.MULTILINE)[1])

    def await_running(self, holds, within: float, what: str) -> float:
        begun = time.monotonic()
        while not holds(running := self.running()):
            true(time.monotonic() - begun < within, f"{what}: {running} running after {within} s")
            time.sleep(0.02)
        return time.monotonic() - begun


def warm_up(bench: EngineBench) -> None:
    """One of each kind, directly: the first ones wait for compilation, which is no matter of the gateway."""
    with bench.client(base=bench.direct) as api:
        api.chat.completions.create(**bench.chat(8))
        list(api.chat.completions.create(**bench.chat(8), stream=True))
        api.completions.create(model=bench.engine.model, prompt="a", max_tokens=4)


@check("models list", 10)
def models(bench):
    with bench.client() as api:
        true(bench.engine.model in [model.id for model in api.models.list()], "the model is not listed")


@check("chat", 60)
def chat(bench):
    with bench.client() as api:
        answer = api.chat.completions.create(**bench.chat(16))
    equal(answer.usage.completion_tokens, 16, "tokens")
    equal(answer.choices[0].finish_reason, "length", "finish_reason")
    true(answer.choices[0].message.content, "no content")


# An engine on a busy machine may hand out its tokens in one burst, asked directly too. A gateway that holds streams back
# does so every time: one stream that came spaced proves that it does not.
TRIES = 5


@check("streamed chat, spaced, with usage", 60)
def streamed(bench):
    for _ in range(TRIES):
        arrivals = stream_once(bench, bench.engine.stream_tokens)
        if arrivals[-1] - arrivals[0] > arrivals[-1] / 3:
            return
    raise AssertionError(f"first at {arrivals[0]:.3f} s, last at {arrivals[-1]:.3f} s, and so {TRIES} times")


def stream_once(bench, total: int) -> list[float]:
    """When each chunk of one stream came, in seconds from its request."""
    arrivals, usage, finish = [], None, None
    begun = time.monotonic()
    with bench.client() as api:
        request = bench.chat(total, stream=True, stream_options={"include_usage": True})
        for chunk in api.chat.completions.create(**request):
            arrivals.append(time.monotonic() - begun)
            usage = chunk.usage or usage
            finish = chunk.choices[0].finish_reason or finish if chunk.choices else finish
    equal(usage and usage.completion_tokens, total, "usage")
    equal(finish, "length", "finish_reason")
    # An engine may put tokens that it made together into one chunk.
    true(len(arrivals) > total / 4, f"{len(arrivals)} chunks for {total} tokens")
    return arrivals


@check("a stream whose tokens are counted is byte for byte as it would have been", 120)
def counted_stream(bench):
    body = bench.chat(12, temperature=0, seed=1)
    body |= body.pop("extra_body")
    counted.compare(bench.direct, bench.counting, body)


@check("completion", 60)
def completion(bench):
    with bench.client() as api:
        answer = api.completions.create(
            model=bench.engine.model, prompt="One, two,", max_tokens=8, extra_body={"ignore_eos": True}
        )
    equal(answer.usage.completion_tokens, 8, "tokens")


@check("leaving a stream frees the engine within 2 s", 60)
def leave(bench):
    for _ in range(TRIES):
        with bench.client() as api:
            stream = api.chat.completions.create(**bench.chat(bench.engine.endless_tokens, stream=True))
            for _ in range(4):
                next(stream)
            # A burst brings the first tokens when the last one is made: there is nothing left to stop.
            was_running = bench.running() > 0
            stream.close()
            if was_running:
                bench.await_running(lambda count: count == 0, 2, "the engine generates on")
                return
    raise AssertionError(f"the engine was done before the first tokens came, {TRIES} times")


@check("leaving a plain answer ends the exchange within 2 s", 60)
async def leave_plain(bench):
    # Short, where the engine will not stop: it must be free for the next check.
    await abandon(bench, bench.engine.endless_tokens if bench.engine.aborts_plain else 150)
    seen = await asyncio.to_thread(bench.gateway.await_stats, lambda now: now["total_in_flight"] == 0, 2)
    equal(seen["total_in_flight"], 0, "in flight 2 s after the client left")


@check("leaving a plain answer frees the engine within 2 s", 60)
async def leave_plain_engine(bench):
    if not bench.engine.aborts_plain:
        raise NotApplicable(f"{bench.engine.title} finishes a plain answer whose client has gone, gateway or not")
    await abandon(bench, bench.engine.endless_tokens)
    await asyncio.to_thread(bench.await_running, lambda count: count == 0, 2, "the engine generates on")


async def abandon(bench, tokens: int) -> None:
    """Asks for a plain answer and leaves once the engine works on it."""
    async with bench.client(openai.AsyncOpenAI) as api:
        task = asyncio.create_task(api.chat.completions.create(**bench.chat(tokens)))
        await asyncio.to_thread(bench.await_running, lambda count: count > 0, 20, "the generation was never seen")
        task.cancel()
        await asyncio.wait([task])


@check("long prompt", 90)
def long_prompt(bench):
    words = bench.engine.long_words
    with bench.client() as api:
        answer = api.chat.completions.create(**bench.chat(4, content="one " * words))
    true(answer.usage.prompt_tokens >= words, f"only {answer.usage.prompt_tokens} tokens arrived")


@check("too long a prompt raises BadRequestError", 60)
def excess(bench):
    with bench.client() as api:
        try:
            api.chat.completions.create(**bench.chat(4, content="one " * bench.engine.excess_words))
        except openai.BadRequestError as error:
            true(error.message, "no message")
            return
    raise AssertionError("no error was raised")


@check("what does not exist raises NotFoundError", 20)
def missing(bench):
    with bench.client() as api:
        try:
            if bench.engine.refuses_unknown_models:
                api.chat.completions.create(**bench.chat(4, model="nobody"))
            else:  # it answers for any model's name, but has no such path
                api.files.list()
        except openai.NotFoundError as error:
            equal(error.status_code, 404, "status")
            return
    raise AssertionError("no error was raised")


@check(f"{CROWD} at once, each gets its own answer", 90)
async def crowd(bench):
    wanted = [4 + number % 8 for number in range(CROWD)]
    async with bench.client(openai.AsyncOpenAI) as api:
        answers = await asyncio.gather(*(api.chat.completions.create(**bench.chat(tokens)) for tokens in wanted))
    equal([answer.usage.completion_tokens for answer in answers], wanted, "tokens by request")


@check("POSTs around the engine's keep-alive of 5 s succeed", 60)
async def idle(bench):
    async def rest_and_ask(pause: float) -> int:
        async with bench.client(openai.AsyncOpenAI) as api:
            await api.chat.completions.create(**bench.chat(1))
            await asyncio.sleep(pause)
            answer = await api.chat.completions.create(**bench.chat(2))
            return answer.usage.completion_tokens

    tokens = await asyncio.gather(*(rest_and_ask(4.8 + step / 10) for step in range(8)))
    equal(tokens, [2] * 8, "tokens by request")


@check("/health and /metrics pass through", 20)
def pass_through(bench):
    with httpx.Client(trust_env=False, timeout=10) as http:
        for path in ("/health", "/metrics"):
            through, direct = (http.get(base + path) for base in (bench.gateway.url, bench.direct))
            equal(through.status_code, direct.status_code, f"status of {path}")
            equal(through.headers.get("content-type"), direct.headers.get("content-type"), f"type of {path}")
    true(bench.engine.gauge in through.text, "the metrics are not the engine's")


@check("nothing is in flight at the end", 10)
def at_rest(bench):
    seen = bench.gateway.await_stats(lambda now: now["total_in_flight"] == 0)
    equal(seen["total_in_flight"], 0, "in flight")
    true(seen["reused"] > 0, "no upstream connection was ever reused")
