"""The `openai` Python client, synchronous: answers, streams, leaving, large prompts and typed errors."""

import time

import openai

from harness.expect import MiB, counted, digest_of, equal, generation_name, spaced, stopped, text_of, true
from harness.report import Book

check = Book("openai")
run = check.run

TYPED = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


def client(gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.url + "/v1", api_key="unused", max_retries=0, timeout=10)


def say(content) -> list:
    return [{"role": "user", "content": content}]


@check("models list")
def models(bench):
    with client(bench.chat) as api:
        equal([model.id for model in api.models.list()], ["counter"], "models")


@check("plain chat")
def plain(bench):
    with client(bench.chat) as api:
        answer = api.chat.completions.create(model="counter", messages=say("count 3"))
    equal(answer.choices[0].message.content, counted(3))
    equal(answer.choices[0].finish_reason, "stop", "finish_reason")


@check("streamed chat arrives token by token")
def streamed(bench):
    tokens, arrivals = [], []
    with client(bench.chat) as api:
        for chunk in api.chat.completions.create(model="counter", messages=say("count 12"), stream=True):
            if chunk.choices[0].delta.content:
                tokens.append(chunk.choices[0].delta.content)
                arrivals.append(time.monotonic())
    equal("".join(tokens), counted(12))
    spaced(arrivals)


@check("leaving a stream stops the origin within a second")
def leave(bench):
    name = generation_name()
    with client(bench.chat) as api:
        stream = api.chat.completions.create(model="counter", messages=say("count 200"), stream=True, user=name)
        for _ in range(3):
            next(stream)
        stream.close()
        stopped(bench.chat.upstream, name)
        # The gateway and the client are both fit for more.
        answer = api.chat.completions.create(model="counter", messages=say("count 1"))
        equal(answer.choices[0].message.content, counted(1))


@check("prompt of 4 MiB")
def long_prompt(bench):
    data = text_of(4 * MiB)
    with client(bench.chat) as api:
        answer = api.chat.completions.create(model="counter", messages=say("digest " + data))
    equal(answer.choices[0].message.content, digest_of(data))


@check("image of 8 MiB in base64")
def image(bench):
    url = "data:image/png;base64," + text_of(8 * MiB)
    parts = [{"type": "text", "text": "digest "}, {"type": "image_url", "image_url": {"url": url}}]
    with client(bench.chat) as api:
        answer = api.chat.completions.create(model="counter", messages=say(parts))
    equal(answer.choices[0].message.content, digest_of(url))


def status_check(status: int, kind: type):
    @check(f"{status} raises {kind.__name__}")
    def typed(bench):
        error = caught(bench.chat, kind, f"status-{status}")
        equal(error.status_code, status, "status")
        equal(error.code, f"origin_{status}", "code")
        if status in (429, 503):
            equal(error.response.headers.get("retry-after"), "7", "retry-after")


def caught(gateway, kind: type, model: str) -> openai.APIStatusError:
    with client(gateway) as api:
        try:
            api.chat.completions.create(model=model, messages=say("count 1"))
        except kind as error:
            return error
    raise AssertionError("no error was raised")


for one in TYPED.items():
    status_check(*one)


@check("the gateway's own 502 is typed and says whether to retry")
def own_error(bench):
    error = caught(bench.dead, openai.InternalServerError, "counter")
    equal((error.status_code, error.code), (502, "upstream_connect"), "status and code")
    true(error.response.headers.get("x-should-retry") in ("true", "false"), "no x-should-retry")
    true(bench.dead.upstream.split(":")[-1] not in error.response.text, "the answer names the upstream's address")
