"""Answers of the gateway's own, as the `openai` Python client sees them, and that no generation runs twice behind it."""

import uuid

import httpx
import openai

from harness.expect import equal, true
from harness.processes import get
from harness.report import Book

check = Book("openai refusals")
run = check.run


def client(bench, **more) -> openai.OpenAI:
    """With the retries that the client makes by itself."""
    return openai.OpenAI(base_url=bench.rules.url + "/v1", api_key="unused", timeout=10, **more)


def refused(call, kind: type, status: int, code: str) -> openai.APIStatusError:
    try:
        call()
    except openai.APIStatusError as error:
        equal((type(error).__name__, error.status_code, error.code), (kind.__name__, status, code), "error")
        equal(error.response.json()["error"]["request_id"], error.response.headers["x-request-id"], "request_id")
        true(bench_address not in error.response.text, "the answer names an upstream's address")
        return error
    raise AssertionError("no error was raised")


bench_address = "127.0.0.1"


def ask(api, model: str, user: str = "nobody", **more):
    messages = [{"role": "user", "content": "count 1"}]
    return api.chat.completions.create(model=model, messages=messages, user=user, **more)


def executed(bench, user: str) -> int:
    return int(get(f"{bench.rules.upstream}/executed/{user}"))


@check("a model that is served answers")
def served(bench):
    with client(bench) as api:
        user = uuid.uuid4().hex
        equal(ask(api, "ok", user).choices[0].message.content, "one ")
        equal(executed(bench, user), 1, "executions")


def fails(model: str, status: int, code: str, proxy_status: str):
    @check(f"{code} of a server that does {model}: typed, told not to retry, executed once")
    def once(bench):
        user = uuid.uuid4().hex
        with client(bench) as api:
            error = refused(lambda: ask(api, model, user), openai.InternalServerError, status, code)
        equal(error.response.headers["x-should-retry"], "false", "x-should-retry")
        equal(error.response.headers["proxy-status"], f"corelane; error={proxy_status}", "proxy-status")
        equal(executed(bench, user), 1, "executions")


fails("reset", 502, "upstream_reset", "connection_terminated")
fails("garbage", 502, "upstream_invalid", "http_protocol_error")
fails("stall", 504, "upstream_timeout", "http_response_timeout")


@check("a stream that breaks off raises, and is executed once")
def truncated(bench):
    user, tokens = uuid.uuid4().hex, []
    with client(bench) as api:
        try:
            for chunk in ask(api, "truncate", user, stream=True):
                tokens.append(chunk.choices[0].delta.content)
        except (openai.APIConnectionError, httpx.RemoteProtocolError):
            pass
        else:
            raise AssertionError("a broken stream looked whole")
    equal((tokens, executed(bench, user)), (["one "], 1), "tokens and executions")


@check("upstream_connect: told to retry, and retried")
def dead(bench):
    before = bench.rules.stats()["routes"]["dead"]["requests"]
    with client(bench, max_retries=2) as api:
        error = refused(lambda: ask(api, "dead"), openai.InternalServerError, 502, "upstream_connect")
    equal(error.response.headers["x-should-retry"], "true", "x-should-retry")
    equal(bench.rules.stats()["routes"]["dead"]["requests"] - before, 3, "requests")


@check("model_not_found names the parameter")
def unknown_model(bench):
    with client(bench) as api:
        error = refused(lambda: ask(api, "nobody"), openai.NotFoundError, 404, "model_not_found")
    equal(error.param, "model", "param")


@check("the other refusals are typed")
def others(bench):
    with client(bench) as api:
        path = "/chat/completions"
        post = lambda body: api.post(path, body=body, cast_to=object)  # noqa: E731
        refused(lambda: post([1]), openai.BadRequestError, 400, "invalid_body")
        refused(lambda: api.get("/nothing", cast_to=object), openai.NotFoundError, 404, "route_not_found")
        error = refused(lambda: api.get(path, cast_to=object), openai.APIStatusError, 405, "method_not_allowed")
        equal(error.response.headers["allow"], "POST", "allow")
        large = {"model": "ok", "messages": [{"role": "user", "content": "x" * 200_000}]}
        refused(lambda: post(large), openai.APIStatusError, 413, "body_too_large")
        encoded = {"content-encoding": "gzip"}
        refused(
            lambda: api.post(path, body={"model": "ok"}, cast_to=object, options={"headers": encoded}),
            openai.APIStatusError, 415, "unsupported_encoding",
        )
        wide = {"headers": {"x-wide": "y" * 70_000}}
        refused(lambda: api.get("/nothing", cast_to=object, options=wide), openai.APIStatusError, 431, "head_too_large")
        refused(lambda: api.get("/" + "z" * 40_000, cast_to=object), openai.APIStatusError, 414, "uri_too_long")
        expects = {"headers": {"expect": "more"}}
        refused(
            lambda: api.get("/nothing", cast_to=object, options=expects),
            openai.APIStatusError, 417, "expectation_failed",
        )
        refused(lambda: api.get("/a%2f..%2fb", cast_to=object), openai.BadRequestError, 400, "bad_request")
        refused(
            lambda: api.post("/chat%2fcompletions", body={"model": "ok"}, cast_to=object),
            openai.BadRequestError, 400, "bad_request",
        )
