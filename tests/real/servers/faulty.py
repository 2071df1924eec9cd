"""An inference server that fails as the model's name says, and counts what it executed, by the request's `user`.

`ok` answers, `reset` closes without a word, `stall` says nothing, `garbage` answers what is not HTTP, `truncate` breaks
off a stream after one event. A request counts as executed once its body was read whole.
"""

import argparse
import asyncio
import json
from collections import Counter

executed: Counter = Counter()
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
CHUNK["choices"] = [{"index": 0, "delta": {"role": "assistant", "content": "one "}, "finish_reason": None}]
ANSWER = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
ANSWER["choices"] = [{"index": 0, "message": {"role": "assistant", "content": "one "}, "finish_reason": "stop"}]


def answer(document) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def stream() -> bytes:
    event = b"data: " + json.dumps(CHUNK).encode() + b"\n\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (len(event), event)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await exchange(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def exchange(reader, writer) -> bool:
    """One request and what becomes of it; whether the connection lives on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    if head.startswith("GET /executed/"):
        writer.write(answer(executed[head.split()[1].rsplit("/", 1)[1]]))
        await writer.drain()
        return True
    length = next(int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length:"))
    request = json.loads(await reader.readexactly(length))
    executed[request.get("user")] += 1
    match request["model"]:
        case "ok":
            writer.write(answer(ANSWER))
            await writer.drain()
            return True
        case "stall":
            await reader.read(1)
        case "garbage":
            writer.write(b"220 mail.local ready\r\n\r\n")
        case "truncate":
            writer.write(stream())
    await writer.drain()
    return False


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    server = await asyncio.start_server(serve, "127.0.0.1", parser.parse_args().port)
    async with server:
        await server.serve_forever()


asyncio.run(main())
