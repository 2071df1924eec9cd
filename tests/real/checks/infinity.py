"""The `openai` client through the gateway to a real embedding server, with batching and without."""

import asyncio
import re
from pathlib import Path

import httpx
import openai

from harness.expect import equal, true
from harness.gateway import Gateway
from harness.processes import Fleet, get
from harness.report import Book

from .vectors import TEXTS, a_third_leaves, answered, ask, client, each_alone, in_order, is_minilm, passed, used

check = Book("openai")

RULES = """
[cluster.embed]
endpoints = ["{upstream}"]
batch = {{ protocol = "openai-embeddings", max_items = 32, max_wait = "20ms" }}
[[route]]
match = {{ path = "/v1/embeddings" }}
to = "embed"
[cluster.rest]
endpoints = ["{upstream}"]
[[route]]
to = "rest"
"""
TOO_LONG = "x" * 122_881  # one character more than the server takes: 422


class EngineBench:
    """The server, and two gateways in front of it: one that hands on, and one that batches."""

    def __init__(self, engine, direct: str):
        self.engine, self.direct = engine, direct
        self.alone: list = []

    def start(self, fleet: Fleet, name: str, binary: str, io: str, folder: Path) -> None:
        config = folder / f"{name}-batching.toml"
        config.write_text(RULES.format(upstream=self.direct))
        self.plain = Gateway(fleet, name, binary, io, self.direct)
        self.batching = Gateway(fleet, f"{name}-batching", binary, io, self.direct, config)
        self.alone = asyncio.run(each_alone(self.direct))

    def names(self) -> list[str]:
        return [self.plain.name, self.batching.name]

    def calls(self) -> int:
        """Requests for vectors by the server's own count, of those that it took and those that it refused."""
        metrics = get(self.direct + "/metrics").decode()
        counts = re.findall(rf"^{re.escape(self.engine.gauge)}.*}} (\S+)", metrics, re.MULTILINE)
        return sum(int(float(count)) for count in counts)


class Calls:
    """What the server and the gateway that batches count within a `with` block, which must agree."""

    def __init__(self, bench: EngineBench):
        self.bench = bench

    def __enter__(self):
        self.before = self._read()
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            by_gateway, by_server = (now - before for now, before in zip(self._read(), self.before))
            equal(by_gateway, by_server, "calls by the gateway's count and by the server's")
            self.count = by_server

    def _read(self) -> tuple[int, int]:
        return passed(self.bench.batching, "embed"), self.bench.calls()


def tokens(answers: list) -> int:
    return sum(answer.usage.prompt_tokens for answer in answers)


def warm_up(bench: EngineBench) -> None:
    asyncio.run(is_minilm(bench.direct))


@check("models list", 10)
def models(bench):
    for gateway in (bench.plain, bench.batching):
        with openai.OpenAI(base_url=gateway.url + "/v1", api_key="unused", max_retries=0) as api:
            equal([model.id for model in api.models.list()], [bench.engine.model], "models")


@check("the server behind is the model it says it is", 30)
async def model(bench):
    for gateway in (bench.plain, bench.batching):
        await is_minilm(gateway.url)


@check("one after the other, asked without asyncio", 30)
def in_turn(bench):
    for gateway in (bench.plain, bench.batching):
        with openai.OpenAI(base_url=gateway.url + "/v1", api_key="unused", max_retries=0) as api:
            answers = [api.embeddings.create(model="minilm", input=text) for text in TEXTS[:8]]
        answered(answers, bench.alone[:8])
        used(answers, tokens(bench.alone[:8]))


@check("64 at once without batching are answered as if alone", 60)
async def apart(bench):
    async with client(bench.plain.url) as api:
        answers = await asyncio.gather(*(ask(api, text) for text in TEXTS[:64]))
    answered(answers, bench.alone[:64])
    used(answers, tokens(bench.alone[:64]))


for encoding in (None, "float"):

    @check(f"64 at once ({encoding or 'base64'}) are answered as if alone, by fewer calls", 60)
    async def together(bench, encoding=encoding):
        async with client(bench.batching.url) as api:
            with Calls(bench) as calls:
                answers = await asyncio.gather(*(ask(api, text, encoding) for text in TEXTS[:64]))
        answered(answers, bench.alone[:64])
        used(answers, tokens(bench.alone[:64]))
        true(calls.count <= 32, f"{calls.count} calls for 64 requests")


@check("other parameters travel apart: who asks for 64 dimensions gets as many", 60)
async def dimensions(bench):
    async with client(bench.batching.url) as api:
        short = [ask(api, text, dimensions=64) for text in TEXTS[:24]]
        answers = await asyncio.gather(*(ask(api, text) for text in TEXTS[:24]), *short)
    answered(answers[:24], bench.alone[:24])
    lengths = {len(answer.data[0].embedding) for answer in answers[24:]}
    equal(lengths, {64}, "lengths of the short ones")


@check("100 inputs are cut, and told in order with one usage", 60)
async def cut(bench):
    async with client(bench.batching.url) as api:
        with Calls(bench) as calls:
            answer = await ask(api, TEXTS)
    in_order(answer, bench.alone)
    used([answer], tokens(bench.alone))
    equal(calls.count, 4, "calls")


@check("a wrong input among many is UnprocessableEntityError for its own client alone", 60)
async def wrong(bench):
    async with client(bench.batching.url) as api:
        texts = TEXTS[:12] + [TOO_LONG] + TEXTS[12:24]
        answers = await asyncio.gather(*(ask(api, text) for text in texts), return_exceptions=True)
    refusal = answers.pop(12)
    answered(answers, bench.alone[:24])
    used(answers, tokens(bench.alone[:24]))
    refused(refusal, "at most 122880 characters")


@check("an input of numbers is refused in the server's own words", 20)
async def numbers(bench):
    async with client(bench.batching.url) as api:
        [answer] = await asyncio.gather(ask(api, [1, 2, 3]), return_exceptions=True)
    refused(answer, "should be a valid string")


@check("a wrong one of 100 inputs is named with its piece", 60)
async def cut_wrong(bench):
    async with client(bench.batching.url) as api:
        [error] = await asyncio.gather(
            ask(api, TEXTS[:70] + [TOO_LONG] + TEXTS[71:]), return_exceptions=True
        )
    equal(type(error).__name__, "UnprocessableEntityError", f"error {error}")
    equal((error.status_code, error.param), (422, "input[64..96]"), "status and param")


@check("clients that leave disturb nobody", 60)
async def leaving(bench):
    await a_third_leaves(bench.batching, bench.alone[:60])


@check("a client that leaves without batching disturbs nobody", 60)
async def leaving_apart(bench):
    await a_third_leaves(bench.plain, bench.alone[:60])


@check("POSTs around the server's keep-alive of 5 s succeed", 30)
async def idle(bench):
    async def rest_and_ask(base: str, pause: float) -> None:
        async with client(base) as api:
            await ask(api, TEXTS[0])
            await asyncio.sleep(pause)
            answered([await ask(api, TEXTS[1])], bench.alone[1:2])

    bases = [bench.plain.url, bench.batching.url]
    await asyncio.gather(*(rest_and_ask(base, 4.8 + step / 10) for base in bases for step in range(8)))


@check("/health and /metrics pass through", 10)
def pass_through(bench):
    with httpx.Client(trust_env=False, timeout=10) as http:
        for path in ("/health", "/metrics"):
            through, direct = (http.get(base + path) for base in (bench.batching.url, bench.direct))
            equal(through.status_code, direct.status_code, f"status of {path}")
            equal(through.headers.get("content-type"), direct.headers.get("content-type"), f"type of {path}")
    true("http_requests_total" in through.text, "the metrics are not the server's")


@check("nothing is in flight at the end", 10)
def at_rest(bench):
    for gateway in (bench.plain, bench.batching):
        seen = gateway.await_stats(lambda now: now["total_in_flight"] == 0)
        equal(seen["total_in_flight"], 0, "in flight")
        true(seen["reused"] > 0, "no upstream connection was ever reused")


def refused(error, words: str) -> None:
    equal(type(error).__name__, "UnprocessableEntityError", f"error {error}")
    # The words are the server's own, in a form that the client does not read.
    told = error.response.text
    true(words in told, f"it is told of something else: {told[:300]}")
