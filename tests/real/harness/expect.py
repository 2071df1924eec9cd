"""Expectations that several clients share: paced arrival, a generation that stops, bodies to send."""

import base64
import functools
import hashlib
import json
import random
import time
import uuid

from .processes import get

PACE = 0.05  # what servers/chat.py and servers/echo.py keep between two tokens or lines
MiB = 1 << 20


def equal(got, wanted, what: str = "answer") -> None:
    if got != wanted:
        raise AssertionError(f"{what}: got {str(got)[:120]!r}, wanted {str(wanted)[:120]!r}")


def true(condition, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def counted(total: int) -> str:
    """What the chat server answers to `count TOTAL`."""
    return "".join(f"{number} " for number in range(1, total + 1))


def spaced(arrivals: list[float], pace: float = PACE) -> None:
    """The pieces came one by one. A burst has gaps near zero, whatever the total time was."""
    gaps = [later - earlier for earlier, later in zip(arrivals, arrivals[1:])]
    apart = sum(gap > pace / 2 for gap in gaps)
    true(len(gaps) >= 3 and apart >= 0.7 * len(gaps), f"pieces in a burst: {[round(gap, 3) for gap in gaps]}")


def generation_name() -> str:
    return f"g-{uuid.uuid4().hex[:12]}"


def stopped(direct: str, name: str, within: float = 1.0) -> None:
    """The origin stopped this generation, early and within a second of this call, asked past the gateway."""
    deadline = time.monotonic() + within
    while True:
        seen = json.loads(get(f"{direct}/generations/{name}"))
        if seen["state"] != "running":
            break
        true(time.monotonic() < deadline, f"the origin still generates {within} s after its client left: {seen}")
        time.sleep(0.02)
    equal(seen["state"], "stopped", "state of the left generation")
    true(seen["tokens"] > 0, "the generation never began")


@functools.cache
def text_of(size: int) -> str:
    """Text without repetition, the same at each run."""
    return base64.b64encode(random.Random(size).randbytes(size * 3 // 4)).decode()[:size]


def digest_of(data: str) -> str:
    """What the chat server answers to `digest DATA`."""
    return f"{len(data)} {hashlib.sha256(data.encode()).hexdigest()}"
