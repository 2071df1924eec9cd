"""A bare ASGI application on uvicorn: echoes bodies, streams lines, and answers KServe binary tensors."""

import argparse
import asyncio
import hashlib
import json

import uvicorn

PACE = 0.05  # seconds between two lines of /stream


async def body_of(receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client left within its body")
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def answer(send, body: bytes, content_type: str, extra: list = ()) -> None:
    length = str(len(body)).encode()
    headers = [(b"content-type", content_type.encode()), (b"content-length", length), *extra]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def plain(scope, receive, send) -> None:
    await answer(send, b"plain text\n", "text/plain")


async def echo(scope, receive, send) -> None:
    """The body as it came."""
    await answer(send, await body_of(receive), "application/octet-stream")


async def describe(scope, receive, send) -> None:
    """What arrived: the method, the target, the header fields and a digest of the body."""
    body = await body_of(receive)
    seen = {
        "method": scope["method"],
        "target": scope["raw_path"].decode() + "?" + scope["query_string"].decode(),
        "headers": {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
        "length": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    await answer(send, json.dumps(seen).encode(), "application/json")


async def stream(scope, receive, send) -> None:
    """Ten lines, one each PACE, without a length: chunked for HTTP/1.1, until the close for HTTP/1.0."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for number in range(1, 11):
        await asyncio.sleep(PACE)
        line = f"line {number}\n".encode()
        await send({"type": "http.response.body", "body": line, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def infer(scope, receive, send) -> None:
    """KServe v2 with the binary tensor extension, which MLServer lacks: each input comes back as an output."""
    body = await body_of(receive)
    headers = dict(scope["headers"])
    split = int(headers[b"inference-header-content-length"])
    head, tensors = json.loads(body[:split]), body[split:]
    outputs = [{key: tensor[key] for key in ("name", "shape", "datatype", "parameters")} for tensor in head["inputs"]]
    reply = json.dumps({"model_name": "binary", "model_version": "1", "outputs": outputs}).encode()
    extra = [(b"inference-header-content-length", str(len(reply)).encode())]
    await answer(send, reply + tensors, "application/octet-stream", extra)


ROUTES = {
    "/plain": plain,
    "/echo": echo,
    "/describe": describe,
    "/stream": stream,
    "/v2/models/binary/infer": infer,
}


async def app(scope, receive, send) -> None:
    if scope["type"] != "http":
        return
    route = ROUTES.get(scope["path"])
    if route is None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        return
    await route(scope, receive, send)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    given = options.parse_args()
    # h11 here, httptools under LitServe: uvicorn has two HTTP parsers, and both are met in the field.
    uvicorn.run(app, host="127.0.0.1", port=given.port, http="h11", lifespan="off", log_level="warning")


if __name__ == "__main__":
    main()
