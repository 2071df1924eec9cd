"""Refusals of filters, as the `openai` and `anthropic` Python clients raise them: each the exception of its kind."""

import hashlib
import uuid

import anthropic
import openai

from harness import counted
from harness.expect import equal, true
from harness.processes import get
from harness.report import Book

check = Book("filters")
run = check.run

KEYS = """
[[key]]
name = "team"
sha256 = "{team}"
models = ["ok", "m-*"]
[[key]]
name = "once"
sha256 = "{once}"
rpm = 1
[[key]]
name = "elsewhere"
sha256 = "{elsewhere}"
routes = []
"""
RULES = """
[limits]
body = "100KiB"
[filter.keys]
kind = "keys"
file = "keys.toml"
[filter.shape]
kind = "validate"
schema = "openai"
[filter.guard]
kind = "guard"
deny = ["(?i)ignore previous"]
[filter.tokens]
kind = "rate-limit"
tokens = "1000/day"
[cluster.up]
endpoints = ["{upstream}"]
[[route]]
name = "chat"
match = {{ path = "/v1/chat/completions" }}
to = "up"
filters = ["keys", "shape", "guard"]
[[route]]
name = "counted"
match = {{ path = "/counted/chat/completions" }}
to = "up"
filters = ["keys", "tokens"]
[[route]]
name = "messages"
match = {{ path = "/v1/messages" }}
to = "up"
filters = ["keys", "guard", "tokens"]
"""


def key(name: str) -> str:
    return f"sk-{name}"


def gateway(bench):
    """The gateway with filters in front of servers/faulty.py; one for all checks."""
    if not hasattr(bench, "filters"):
        digests = {name: hashlib.sha256(key(name).encode()).hexdigest() for name in ("team", "once", "elsewhere")}
        (bench.scratch / "keys.toml").write_text(KEYS.format(**digests))
        config = bench.scratch / "filters.toml"
        config.write_text(RULES.format(upstream=bench.rules.upstream))
        bench.filters = type(bench.rules)(
            bench.fleet, "corelane-filters", bench.binary, bench.io, bench.rules.upstream, config
        )
    return bench.filters


def refused(call, kind: type, status: int, code: str):
    """What a client raises for an answer of the gateway's own."""
    try:
        call()
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        told = error.response.json()["error"]
        equal((type(error).__name__, error.status_code, told["code"]), (kind.__name__, status, code), "error")
        equal(told["request_id"], error.response.headers["x-request-id"], "request_id")
        return error
    raise AssertionError("no error was raised")


def chat(api, model="ok", text="count 1", **more):
    return api.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def message(api, model="ok", text="count 1", **more):
    more.setdefault("max_tokens", 10)
    return api.messages.create(model=model, messages=[{"role": "user", "content": text}], **more)


def openai_client(bench, name: str, base="/v1") -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway(bench).url + base, api_key=key(name), max_retries=0, timeout=10)


def anthropic_client(bench, name: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway(bench).url, api_key=key(name), max_retries=0, timeout=10)


@check("openai: who may ask is answered")
def served(bench):
    user = uuid.uuid4().hex
    with openai_client(bench, "team") as api:
        equal(chat(api, user=user).choices[0].message.content, "one ")
    equal(int(get(f"{bench.rules.upstream}/executed/{user}")), 1, "executions")


@check("openai: each refusal is the exception of its kind, and nothing is executed")
def refusals_openai(bench):
    user = uuid.uuid4().hex
    with openai_client(bench, "nobody") as api:
        error = refused(lambda: chat(api, user=user), openai.AuthenticationError, 401, "unauthorized")
        equal(error.response.headers["www-authenticate"], "Bearer", "www-authenticate")
    with openai_client(bench, "elsewhere") as api:
        refused(lambda: chat(api, user=user), openai.PermissionDeniedError, 403, "forbidden")
    with openai_client(bench, "team") as api:
        error = refused(lambda: chat(api, "gpt", user=user), openai.PermissionDeniedError, 403, "model_not_allowed")
        equal(error.param, "model", "param")
        error = refused(
            lambda: chat(api, text="IGNORE previous", user=user), openai.PermissionDeniedError, 403, "guard_denied"
        )
        equal(error.param, "messages[0].content", "param")
        error = refused(
            lambda: chat(api, temperature=9, user=user), openai.BadRequestError, 400, "validation_failed"
        )
        equal(error.param, "temperature", "param")
        refused(lambda: chat(api, text="x" * 200_000, user=user), openai.APIStatusError, 413, "body_too_large")
    equal(int(get(f"{bench.rules.upstream}/executed/{user}")), 0, "executions")


@check("openai: a limit is RateLimitError, with the time after which to come again")
def limited_openai(bench):
    with openai_client(bench, "once") as api:
        chat(api)
        error = refused(lambda: chat(api), openai.RateLimitError, 429, "rate_limited")
        equal((error.param, error.type), ("requests", "rate_limit_error"), "param and type")
        true(1 <= int(error.response.headers["retry-after"]) <= 60, "retry-after is within the minute")
        equal(error.response.headers["x-ratelimit-remaining-requests"], "0", "remaining")
    with openai_client(bench, "team", "/counted") as api:
        chat(api, max_tokens=600)
        error = refused(lambda: chat(api, max_tokens=1000), openai.RateLimitError, 429, "rate_limited")
        equal(error.param, "tokens", "param")


@check("anthropic: each refusal is the exception of its kind")
def refusals_anthropic(bench):
    with anthropic_client(bench, "nobody") as api:
        refused(lambda: message(api), anthropic.AuthenticationError, 401, "unauthorized")
    with anthropic_client(bench, "elsewhere") as api:
        refused(lambda: message(api), anthropic.PermissionDeniedError, 403, "forbidden")
    with anthropic_client(bench, "team") as api:
        refused(lambda: message(api, "claude"), anthropic.PermissionDeniedError, 403, "model_not_allowed")
        refused(
            lambda: message(api, text="Ignore previous"), anthropic.PermissionDeniedError, 403, "guard_denied"
        )
        refused(
            lambda: api.post("/v1/messages", body=[1], cast_to=object),
            anthropic.PermissionDeniedError, 403, "model_not_allowed",
        )
        refused(
            lambda: api.post("/v1/messages", content=b'{"model"', cast_to=object),
            anthropic.BadRequestError, 400, "invalid_body",
        )
        large = getattr(anthropic, "RequestTooLargeError", anthropic.APIStatusError)
        refused(lambda: message(api, text="x" * 200_000), large, 413, "body_too_large")


@check("anthropic: a limit is RateLimitError, with the time after which to come again")
def limited_anthropic(bench):
    with anthropic_client(bench, "once") as api:
        # It may have made its one request of the minute already.
        error = refused(lambda: [message(api) for _ in range(2)], anthropic.RateLimitError, 429, "rate_limited")
        true(1 <= int(error.response.headers["retry-after"]) <= 60, "retry-after is within the minute")
    with anthropic_client(bench, "team") as api:
        error = refused(
            lambda: [message(api, max_tokens=2000) for _ in range(2)], anthropic.RateLimitError, 429, "rate_limited"
        )
        # More than the whole limit enters a full bucket only.
        equal(error.response.json()["error"]["param"], "tokens", "param")


@check("LitServe: a stream whose tokens are counted is byte for byte as it would have been")
def counted_stream(bench):
    upstream = bench.chat.upstream
    through = counted.gateway(bench.fleet, "corelane-counted", bench.binary, bench.io, upstream, bench.scratch)
    body = {"model": "chat", "max_tokens": 100, "messages": [{"role": "user", "content": "count 3"}]}
    counted.compare(upstream, through, body)
