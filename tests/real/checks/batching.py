"""Requests that travel together: `openai` to a real model under LitServe, and `tritonclient` to MLServer."""

import asyncio

import numpy
import openai
import tritonclient.http.aio as triton

from harness import embedding
from harness.embedding import Counted
from harness.expect import equal, true
from harness.gateway import Gateway
from harness.report import Book

from .vectors import TEXTS, a_third_leaves, answered, ask, client, each_alone, in_order, is_minilm, passed, used

check = Book("batching")
run = check.run

MAX_ITEMS = 32
RULES = """
[cluster.embed]
endpoints = ["{embed}"]
batch = {{ protocol = "openai-embeddings", max_items = 32, max_wait = "20ms" }}
[cluster.kserve]
endpoints = ["{kserve}"]
batch = {{ protocol = "kserve-v2", max_items = 32, max_wait = "20ms" }}
[cluster.binary]
endpoints = ["{echo}"]
batch = {{ protocol = "kserve-v2", max_items = 32, max_wait = "20ms" }}
[[route]]
name = "embed"
match = {{ path = "/v1/embeddings" }}
to = "embed"
[[route]]
name = "binary"
match = {{ path = "/v2/models/binary/*" }}
to = "binary"
[[route]]
name = "kserve"
to = "kserve"
"""
WRONG = ["", "x" * 2001]  # what the server refuses with 400


def gateway(bench) -> Gateway:
    """The gateway that batches; one for all checks, with a server of its own behind."""
    if not hasattr(bench, "batching"):
        bench.embed = embedding.start(bench.fleet)
        config = bench.scratch / "batching.toml"
        upstreams = {"embed": bench.embed, "kserve": bench.kserve.upstream, "echo": bench.echo.upstream}
        config.write_text(RULES.format(**upstreams))
        bench.batching = Gateway(bench.fleet, "corelane-batching", bench.binary, bench.io, bench.embed, config)
    return bench.batching


async def alone(bench) -> list:
    """What the server answers to each text when it is asked directly and for it alone."""
    if not hasattr(bench, "alone"):
        bench.alone = await each_alone(bench.embed)
    return bench.alone


def refused(error) -> None:
    equal(type(error).__name__, "BadRequestError", "error")
    equal((error.status_code, error.type), (400, "invalid_request_error"), "status and type")


@check("openai: the server behind is the model it says it is", limit=60)
async def model(bench):
    await is_minilm(gateway(bench).url)


for encoding in (None, "float"):

    @check(f"openai: 64 at once ({encoding or 'base64'}) are answered as if alone, by fewer calls", limit=40)
    async def together(bench, encoding=encoding):
        through = gateway(bench)
        wanted = (await alone(bench))[:64]
        async with client(through.url) as api:
            with Counted(bench.embed) as seen:
                answers = await asyncio.gather(*(ask(api, text, encoding) for text in TEXTS[:64]))
        answered(answers, wanted)
        used(answers, seen.tokens)
        equal(seen.tokens, sum(one.usage.prompt_tokens for one in wanted), "tokens")
        equal((seen.texts, seen.runs), (64, seen.requests), "texts and runs")
        true(seen.requests <= 32, f"{seen.requests} calls for 64 requests")


@check("openai: a wrong input among many is BadRequestError for its own client alone", limit=40)
async def wrong(bench):
    wanted = (await alone(bench))[:30]
    async with client(gateway(bench).url) as api:
        texts = TEXTS[:10] + WRONG[:1] + TEXTS[10:20] + WRONG[1:] + TEXTS[20:30]
        with Counted(bench.embed) as seen:
            answers = await asyncio.gather(*(ask(api, text) for text in texts), return_exceptions=True)
    refusals = [answers.pop(21), answers.pop(10)]
    answered(answers, wanted)
    used(answers, seen.tokens)
    for error, length in zip(refusals, (2001, 0)):
        refused(error)
        true(f"has {length} characters" in error.message, f"it is told of another text: {error.message}")
    equal(seen.texts, 30, "texts, each once")


@check("openai: 100 inputs are cut, and told in order with one usage", limit=40)
async def cut(bench):
    wanted = await alone(bench)
    async with client(gateway(bench).url) as api:
        with Counted(bench.embed) as seen:
            answer = await ask(api, TEXTS)
    in_order(answer, wanted)
    used([answer], seen.tokens)
    equal((seen.requests, seen.texts), (4, 100), "calls and texts")


@check("openai: a wrong one of 100 inputs is named with its piece", limit=40)
async def cut_wrong(bench):
    async with client(gateway(bench).url) as api:
        try:
            await ask(api, TEXTS[:70] + WRONG[:1] + TEXTS[71:])
        except openai.APIStatusError as error:
            refused(error)
            equal(error.param, "input[64..96]", "param")
            return
    raise AssertionError("no error was raised")


@check("openai: clients that leave disturb nobody", limit=40)
async def leaving(bench):
    await a_third_leaves(gateway(bench), (await alone(bench))[:60])


def tensors(number: int) -> dict[str, numpy.ndarray]:
    """Two inputs of one to three rows, like no other request's."""
    rows = 1 + number % 3
    floats = numpy.arange(rows * 6, dtype=numpy.float32).reshape(rows, 6) / 7 + number
    return {"floats": floats, "whole": numpy.full((rows, 2), number - (1 << 53), dtype=numpy.int64)}


async def infer_all(through: Gateway, model: str, numbers, binary: bool = False, outputs: list = ()) -> list:
    """Sends `tensors` of each number, all at once, expects them back, and returns the results."""
    types, calls = {"floats": "FP32", "whole": "INT64"}, []
    # The client of event loops: the other one waits 10 ms between two requests. It says of no body that it
    # is JSON, which MLServer wants to hear.
    headers = {} if binary else {"content-type": "application/json"}
    async with triton.InferenceServerClient(through.authority, conn_timeout=15) as api:
        for number in numbers:
            inputs = []
            for name, tensor in tensors(number).items():
                inputs.append(triton.InferInput(name, tensor.shape, types[name]))
                inputs[-1].set_data_from_numpy(tensor, binary_data=binary)
            wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in (*types, *outputs)]
            calls.append(api.infer(model, inputs, outputs=wanted, request_id=f"r{number}", headers=headers))
        results = await asyncio.gather(*calls)
    for number, result in zip(numbers, results, strict=True):
        for name, tensor in tensors(number).items():
            got = result.as_numpy(name)
            true(got is not None and numpy.array_equal(got, tensor), f"{name} of {number} came back as {got}")
    return results


@check("tritonclient: 48 infer calls at once get their own rows, from fewer calls of MLServer")
async def rows(bench):
    results = await infer_all(gateway(bench), "together", range(48), outputs=["call", "rows"])
    calls: dict[int, list] = {}
    for number, result in enumerate(results):
        equal(result.get_response()["id"], f"r{number}", "id")
        call, size = (result.as_numpy(name) for name in ("call", "rows"))
        equal(call.shape, (1 + number % 3, 1), "shape of an output")
        true((call == call[0]).all(), f"rows of one request from the calls {call}")
        calls.setdefault(int(call[0, 0]), []).append((len(call), int(size[0, 0])))
    for members in calls.values():
        equal({size for _, size in members}, {sum(rows for rows, _ in members)}, "rows of a call, as MLServer saw it")
    true(max(sum(rows for rows, _ in members) for members in calls.values()) <= MAX_ITEMS, "a call has too many rows")
    true(len(calls) <= 24, f"{len(calls)} calls for 48 requests")


@check("tritonclient: binary tensors pass alone, and come back right")
async def binary(bench):
    through = gateway(bench)
    before = passed(through, "binary")
    await infer_all(through, "binary", range(24), binary=True)
    equal(passed(through, "binary") - before, 24, "calls")
