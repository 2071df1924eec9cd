"""A WebSocket server of the `websockets` library: echoes messages, and does what some of them ask for.

`ping`: pings and says `ponged`; `pieces N`: one message in N fragments; `big N`: N bytes in one; `close CODE REASON`;
`abort`: resets the connection; `deaf`: reads no more; `last`: how the last connection of this name (the query) ended.
"""

import argparse
import asyncio

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.datastructures import Headers

MIB = 1 << 20
ended: dict[str, str] = {}


async def talk(socket) -> None:
    name = socket.request.path.partition("?")[2]
    try:
        async for message in socket:
            await obey(socket, message)
    except ConnectionClosed:
        pass
    finally:
        if name:
            ended[name] = f"{socket.close_code or 1006} {socket.close_reason or ''}"


async def obey(socket, message) -> None:
    word, _, rest = message.partition(" ") if isinstance(message, str) else ("", "", "")
    match word:
        case "ping":
            await (await socket.ping(b"are you there"))
            await socket.send("ponged")
        case "pieces":
            await socket.send([f"piece {number} " for number in range(int(rest))])
        case "big":
            await socket.send(b"\xa5" * int(rest))
        case "close":
            code, _, reason = rest.partition(" ")
            await socket.close(int(code), reason)
        case "abort":
            socket.transport.abort()
        case "deaf":
            await asyncio.sleep(3600)
        case "last":
            await socket.send(ended.get(rest, "open"))
        case _:
            await socket.send(message)


def plain(_, request):
    """What asks for no WebSocket is told so in HTTP."""
    if request.headers.get("upgrade") is None:
        return Response(200, "OK", Headers([("content-length", "6"), ("connection", "close")]), b"plain\n")
    return None


async def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    given = options.parse_args()
    async with serve(
        talk, "127.0.0.1", given.port, process_request=plain, subprotocols=["two", "one"], max_size=32 * MIB
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
