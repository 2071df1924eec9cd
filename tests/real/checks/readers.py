"""No body that a real reader takes for the forbidden model passes the route that is closed to it.

Each body is read by Python's `json`, by `rapidjson` and by Starlette's forms (vLLM's reader), and sent to a gateway with a
closed route for `secret` and an open one for the rest. Who reads `secret` must have been refused.
"""

import asyncio
import http.client
import json
import logging

import rapidjson
from starlette.requests import Request

from harness.expect import equal, true
from harness.gateway import Gateway
from harness.report import Book

check = Book("readers")
run = check.run
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # it tells each form that it refuses

CLOSED = """
[cluster.none]
endpoints = ["http://127.0.0.1:1"]
[[route]]
match = { body = { model = "secret" } }
respond = { status = 403, body = "closed" }
[[route]]
respond = { body = "open" }
"""

JSON = "application/json"
FORM = "multipart/form-data; boundary=XX"
PAIRS = "application/x-www-form-urlencoded"
SECRET, OK = '{"model":"secret"}', '{"model":"ok"}'
NAME = 'Content-Disposition: form-data; name="model"'


def part(head: str, content: str = "secret") -> bytes:
    return f"--XX\r\n{head}\r\n\r\n{content}\r\n--XX--\r\n".encode("latin-1")


DOCUMENTS = [
    (JSON, SECRET.encode()),
    (JSON, SECRET.encode("utf-8-sig")),
    *((JSON, SECRET.encode(f"utf-{width}{order}")) for width in (16, 32) for order in ("", "-le", "-be")),
    (JSON, b'{"a":NaN,"model":"secret"}'),
    (JSON, b'{"a":[Infinity,-Infinity],"model":"secret"}'),
    (JSON, b'{"model":"ok","model":"secret"}'),
    (JSON, b'{"mod\\u0065l":"\\u0073ecret"}'),
    (FORM, SECRET.encode()),
    (PAIRS, SECRET.encode()),
    ("application/json; charset=utf-7", SECRET.encode()),
    ("audio/wav", b" \r\n\t" + SECRET.encode()),
]
FORMS = [
    (FORM, part(NAME)),
    (FORM, part('Content-Disposition: form-data; name="a"; name="model"')),
    (FORM, part(f'Content-Disposition: form-data; name="a"\r\n{NAME}')),
    (FORM, part('Content-Disposition: attachment; name="model"')),
    (FORM, part("Content-Disposition: form-data; NAME=model")),
    (FORM, part(NAME + '; filename=""')),
    (FORM, part(NAME + '; filename="x"')),
    (FORM, part("Content-Disposition: form-data;\r\n name=model")),
    (FORM, part("Content-Disposition: form-data; name*=utf-8''model")),
    (FORM, part(NAME)[:-4]),
    (FORM, b"before\r\n" + part(NAME)),
    (FORM, part(NAME, "ok")[:-6] + part(NAME)),
    ("multipart/form-data; boundary=yy; boundary=XX", part(NAME)),
    ("multipart/form-data; boundary=XX; boundary=yy", part(NAME)),
    (FORM + "; charset=utf-7", part('Content-Disposition: form-data; name="mod+AGU-l"')),
    (PAIRS, b"model=secret"),
    (PAIRS, b"%6dodel=%73ecret"),
    (PAIRS, b"model=ok&model=secret"),
    (PAIRS, b'{"model":"ok","a":"&model=secret&b="}'),
]


def parsed(read, body: bytes):
    try:
        document = read(body)
        return document.get("model") if isinstance(document, dict) else None
    except ValueError:
        return None


def field(content_type: str, body: bytes):
    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def read():
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", content_type.encode())]}
        model = (await Request(scope, receive).form()).get("model")
        return (await model.read()).decode() if hasattr(model, "read") else model

    try:
        return asyncio.run(read())
    except Exception:  # whatever it raises, it reads no model
        return None


def asked(gateway: Gateway, content_type: str, body: bytes) -> int:
    connection = http.client.HTTPConnection(gateway.authority, timeout=5)
    connection.request("POST", "/v1/x", body, {"content-type": content_type})
    status = connection.getresponse().status
    connection.close()
    return status


@check("what one of them reads as the closed model is refused")
def closed(bench):
    config = bench.scratch / "readers.toml"
    config.write_text(CLOSED)
    gateway = Gateway(bench.fleet, "corelane-readers", bench.binary, bench.io, "", config)
    read = 0
    for content_type, body in DOCUMENTS + FORMS:
        readers = [parsed(json.loads, body), parsed(rapidjson.loads, body), field(content_type, body)]
        if "secret" in readers:
            read += 1
            status = asked(gateway, content_type, body)
            true(status in (400, 403), f"{status} for {readers} of {content_type} {body!r}")
    true(read >= 25, f"only {read} of {len(DOCUMENTS + FORMS)} bodies were read as the closed model")
    for content_type, body in [(JSON, OK.encode()), (FORM, part(NAME, "ok")), (PAIRS, b"model=ok"), ("audio/wav", b"RIFF")]:
        equal(asked(gateway, content_type, body), 200, f"an open body under {content_type}")
    equal(bench.fleet.end("corelane-readers"), 0, "exit code")
