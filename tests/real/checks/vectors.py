"""What checks of embeddings have in common: texts, how they are asked for, and what an answer to one is."""

import asyncio
import time

import numpy
import openai

from harness.expect import equal, true
from harness.gateway import Gateway

WORDS = ["river", "Zürich", "駅", "🚲 and 🚋", "\t tab", '"quoted"', "\\u0041", "naïve café", "Привет", "e\u0301"]
TEXTS = [f"{number}: {WORDS[number % 10]} " + "and so on " * (number % 7) for number in range(100)]
TOLERANCE = 1e-4  # others in a call change how a text is padded, and by that its last digits


def client(base: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=base + "/v1", api_key="unused", max_retries=0, timeout=20)


async def ask(api, text, encoding: str | None = None, **more):
    more |= {"encoding_format": encoding} if encoding else {}  # the client's own is base64
    return await api.embeddings.create(model="minilm", input=text, **more)


async def each_alone(base: str) -> list:
    """What the server at `base` answers to each text when it is asked directly and for it alone."""
    async with client(base) as api:
        return [await ask(api, text) for text in TEXTS]


def same(item, wanted, place: int = 0) -> None:
    equal((item.index, item.object), (place, "embedding"), "index and kind")
    got, wanted = numpy.array(item.embedding), numpy.array(wanted.data[0].embedding)
    apart, cosine = numpy.abs(got - wanted).max(), got @ wanted
    true(apart <= TOLERANCE and cosine >= 0.9999, f"a vector is {apart:.2g} off, with a cosine of {cosine:.6f}")


def answered(answers: list, wanted: list) -> None:
    """Each is the answer to its own text."""
    for answer, one in zip(answers, wanted, strict=True):
        equal((len(answer.data), answer.model, answer.object), (1, "minilm", "list"), "answer")
        same(answer.data[0], one)


def in_order(answer, wanted: list) -> None:
    """One answer has the items of all of them."""
    equal(len(answer.data), len(wanted), "items")
    for place, (item, one) in enumerate(zip(answer.data, wanted)):
        same(item, one, place)


def used(answers: list, tokens: int) -> None:
    """What the clients were told that they used is what the server counted."""
    for answer in answers:
        true(answer.usage.prompt_tokens > 0, "an answer with no usage")
        equal(answer.usage.total_tokens, answer.usage.prompt_tokens, "total_tokens")
    equal(sum(answer.usage.prompt_tokens for answer in answers), tokens, "usage of all")


async def is_minilm(base: str) -> None:
    """The similarities are those that the model's authors print."""
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    async with client(base) as api:
        answer = await ask(api, texts)
    vectors = numpy.array([item.embedding for item in answer.data])
    wanted = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
    true(numpy.abs(vectors @ vectors.T - wanted).max() < 1e-3, f"similarities are {vectors @ vectors.T}")


async def a_third_leaves(through: Gateway, wanted: list) -> None:
    """Clients leave while calls are under way and others gather; those who stay get what they asked for."""
    async with client(through.url) as api:
        tasks = [asyncio.create_task(ask(api, text)) for text in TEXTS[: len(wanted)]]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        left = [task for task in tasks[::3] if task.cancel()]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    true(len(left) >= 5, f"only {len(left)} were there to leave")
    stayed = [(answer, one) for task, answer, one in zip(tasks, answers, wanted) if task not in left]
    answered(*zip(*stayed))
    seen = through.await_stats(lambda now: now["total_in_flight"] == 0)
    equal(seen["total_in_flight"], 0, "in flight")


def passed(through: Gateway, cluster: str) -> int:
    """Calls of a cluster; lanes tell their counts a moment later."""
    time.sleep(0.3)
    return sum(one["requests"] for one in through.stats()["endpoints"][cluster].values())
