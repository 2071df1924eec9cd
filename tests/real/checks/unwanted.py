"""A refusal is read behind a body that nobody wants: clients that send all of it first see the answer, not a reset."""

import http.client
import json
import urllib.error
import urllib.request

import httpx
import openai

from harness.expect import equal, true
from harness.report import Book

check = Book("unwanted")
run = check.run
# It could decide up to its end, so that its size is what refuses it; one that is no JSON is refused by its first byte.
BODY = b'{"prompt":"' + b"x" * 20_000_000 + b'"}'
NO_JSON = b"x" * 20_000_000
REFUSALS = [("/chat/completions", 413, "body_too_large"), ("/nothing", 404, "route_not_found")]


def told(name: str, text: bytes, code: str) -> None:
    equal(json.loads(text)["error"]["code"], code, f"{name}: code")


def by_urllib(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=BODY), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def by_http_client(url: str, body: bytes = BODY) -> tuple[int, bytes]:
    _, _, authority, path = url.split("/", 3)
    connection = http.client.HTTPConnection(authority, timeout=10)
    # In pieces, without a length.
    connection.request("POST", f"/{path}", iter([body[at : at + 65536] for at in range(0, len(body), 65536)]))
    answer = connection.getresponse()
    return answer.status, answer.read()


def by_httpx(url: str) -> tuple[int, bytes]:
    with httpx.Client(timeout=10, trust_env=False) as client:
        answer = client.post(url, content=BODY)
        return answer.status_code, answer.content


for name, post in [("urllib", by_urllib), ("http.client", by_http_client), ("httpx", by_httpx)]:

    @check(f"{name} reads 413 and 404 behind 20 MB")
    def reads(bench, name=name, post=post):
        for path, status, code in REFUSALS:
            seen, text = post(f"{bench.rules.url}/v1{path}")
            equal(seen, status, f"{name}: status")
            told(name, text, code)


@check("http.client reads 400 behind 20 MB that are no JSON")
def reads_no_json(bench):
    seen, text = by_http_client(f"{bench.rules.url}/v1/chat/completions", NO_JSON)
    equal(seen, 400, "status")
    told("http.client", text, "invalid_body")


@check("openai reads 413 behind a prompt of 20 MB")
def by_openai(bench):
    with openai.OpenAI(base_url=bench.rules.url + "/v1", api_key="unused", timeout=10) as api:
        try:
            api.chat.completions.create(model="ok", messages=[{"role": "user", "content": BODY.decode()}])
        except openai.APIStatusError as error:
            equal((error.status_code, error.code), (413, "body_too_large"), "error")
            true(error.request_id, "no x-request-id")
            return
    raise AssertionError("no error was raised")
