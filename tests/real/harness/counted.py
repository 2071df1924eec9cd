"""A stream of which the gateway counts tokens: what its client sees is what it would have seen, byte for byte."""

import re
from pathlib import Path

import httpx

from .expect import equal, true
from .gateway import Gateway
from .processes import Fleet

RULES = """
[filter.tokens]
kind = "rate-limit"
by = "ip"
tokens = "2000/day"
[cluster.up]
endpoints = ["{upstream}"]
[[route]]
name = "all"
to = "up"
filters = ["tokens"]
"""
# An engine may join tokens that it made together into one event, asked directly too: so a pair may differ by chance.
TRIES = 5
# No two answers to the same question have these alike: names, times, and what the engine still had in its cache.
UNLIKE = rb'"(id|created|cached_tokens|cache_n|prompt_n|\w+_ms|\w+_per_second)":\s*("[^"]*"|[-+.\deE]+)'


def gateway(fleet: Fleet, name: str, binary: str, io: str, upstream: str, scratch: Path) -> Gateway:
    config = scratch / f"{name}.toml"
    config.write_text(RULES.format(upstream=upstream))
    return Gateway(fleet, name, binary, io, upstream, config)


def compare(direct: str, through: Gateway, body: dict) -> None:
    """Streams `body` directly and through the gateway, as it is and with usage asked for."""
    left = remaining(through)
    for more in ({}, {"stream_options": {"include_usage": True}}):
        for _ in range(TRIES):
            wanted, got = (streamed(base, body | more) for base in (direct, through.url))
            before, left = left, remaining(through)
            if wanted == got:
                break
        equal(got, wanted, f"the stream with {more}")
        used = re.findall(rb'"total_tokens":\s*(\d+)', got)
        if used:
            # Meanwhile the limit refills, by one in 43 s.
            true(0 <= int(used[-1]) - (before - left) <= 1, f"{used[-1]} were used, {before - left} taken")
        else:
            true(left < before, f"nothing was counted: {before} before, {left} behind it")
    true(used, "the engine told no usage where it was asked for")


def streamed(base: str, body: dict) -> bytes:
    """The bytes of a stream, but for what no two of the same have alike."""
    answer = httpx.post(base + "/v1/chat/completions", json=body | {"stream": True}, timeout=60)
    equal(answer.status_code, 200, f"status of {base}")
    return re.sub(UNLIKE, rb'"\1":0', answer.content)


def remaining(through: Gateway) -> int:
    """What is left once nothing is under way; asking for the models takes nothing."""
    through.await_stats(lambda reading: reading["in_flight"] == 0)
    return int(httpx.get(through.url + "/v1/models", timeout=10).headers["x-ratelimit-remaining-tokens"])
