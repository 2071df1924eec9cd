"""Five milliseconds that a simulated server puts into one phase are seen in that phase and in no other: in `/slow`, in
`server-timing`, in the histograms and in spans. Judged by medians, so that what the machine does besides does not matter."""

import json
import re
import statistics
import urllib.request

from checks.traces import Collector, attributes
from harness.expect import equal, true
from harness.gateway import Gateway
from harness.processes import free_port, get
from harness.report import Book
from opentelemetry.proto.trace.v1.trace_pb2 import Span

check = Book("phases")

PAUSE_MS, SHOWN_MS, TIMES = 5, 4.5, 25
RULES = """
[observe]
server_timing = true
trace = {{ otlp = "{collector}", share = "100%" }}
[cluster.up]
endpoints = ["{sim}"]
"""
ROUTE = """
[[route]]
name = "{name}"
match = {{ header = {{ x-case = "{name}" }} }}
to = "up"
"""
# What shows of the time before the head, before the first token, before another one, and inside the body.
CASES = {"none": "", "head": "delay", "first": "first", "token": "token", "body": "body"}
TOLD = {
    "wait_us": {"head"},
    "relay_us": {"first", "token", "body"},
    "ttft_us": {"head", "first"},
    "itl_max_us": {"token"},
    "T_us": {"head", "first", "token", "body"},
} | {phase: set() for phase in ["head_us", "hold_us", "queue_us", "connect_us", "send_us"]}
TIMINGS = {"head": {"head"}, "up": {"head"}, "gw": set(), "queue": set(), "connect": set()}
# One time between tokens of three is drawn out, so that no median is.
HISTOGRAMS = {"request_duration": TOLD["T_us"], "ttft": TOLD["ttft_us"], "overhead": set(), "queue_wait": set()}
CHAT = {"model": "sim", "stream": True, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}


def run(bench, report) -> None:
    port = free_port()
    options = ["--listen", f"127.0.0.1:{port}", "--ttft", "0ms", "--itl", "0ms", "--keep-alive", "none"]
    bench.fleet.start("sim-phases", [bench.binary, "sim", *options])
    bench.fleet.await_http("sim-phases", f"http://127.0.0.1:{port}/health", limit=10)
    collector = Collector()
    rules = RULES.format(collector=f"http://127.0.0.1:{collector.server_port}", sim=f"http://127.0.0.1:{port}")
    config = bench.scratch / "phases.toml"
    config.write_text(rules + "".join(ROUTE.format(name=name) for name in CASES))
    gateway = Gateway(bench.fleet, "corelane-phases", bench.binary, bench.io, "", config)
    timings = {name: [ask(gateway, name) for _ in range(TIMES)] for name in CASES}
    check.run((gateway, collector, timings), report)
    collector.shutdown()


def ask(gateway, name: str) -> dict[str, float]:
    """What `server-timing` says of one exchange, milliseconds."""
    head = {"content-type": "application/json", "x-case": name}
    if CASES[name]:
        head["x-sim"] = f"{CASES[name]}={PAUSE_MS}ms"
    request = urllib.request.Request(gateway.url + "/v1/chat/completions", json.dumps(CHAT).encode(), head)
    with urllib.request.urlopen(request, timeout=10) as answer:
        true(b"[DONE]" in answer.read(), "a whole stream")
        parts = answer.headers["server-timing"].split(", ")
    return {part.split(";")[0]: float(part.split("dur=")[1]) for part in parts}


def judge(where: str, found: dict[str, float], expected: dict[str, set], name: str) -> None:
    shown = {figure for figure, ms in found.items() if ms >= SHOWN_MS}
    equal((where, name, shown), (where, name, {figure for figure, cases in expected.items() if name in cases}))


@check("in the answer's own `server-timing`")
def _(given):
    _, _, timings = given
    for name, told in timings.items():
        judge("server-timing", {figure: statistics.median(one[figure] for one in told) for figure in TIMINGS}, TIMINGS, name)


@check("in the flight recorder")
def _(given):
    gateway, _, _ = given
    for name in CASES:
        told = json.loads(get(gateway.start["admin"] + f"/slow?route={name}&limit={TIMES}"))["exchanges"]
        equal(len(told), TIMES)
        judge("/slow", {figure: statistics.median(one[figure] or 0 for one in told) / 1000 for figure in TOLD}, TOLD, name)


@check("in the histograms of its route")
def _(given):
    gateway, _, _ = given
    metrics = get(gateway.start["admin"] + "/metrics").decode()
    for name in CASES:
        judge("/metrics", {figure: median(metrics, figure, name) * 1000 for figure in HISTOGRAMS}, HISTOGRAMS, name)
        # Three times between tokens an exchange, of which one is drawn out.
        buckets = histogram(metrics, "itl", name)
        short = max((count for bound, count in buckets if bound * 1000 < SHOWN_MS), default=0)
        long = buckets[-1][1] - short
        true(abs(long - (TIMES if name == "token" else 0)) <= TIMES // 4, f"itl {name}: {long}")


def histogram(metrics: str, figure: str, route: str) -> list[tuple[float, int]]:
    found = re.findall(rf'^corelane_{figure}_seconds_bucket{{route="{route}",le="([^"]+)"}} (\d+)$', metrics, re.MULTILINE)
    return [(float(bound), int(count)) for bound, count in found]


def median(metrics: str, figure: str, route: str) -> float:
    """The lower bound of the bucket in which it lies: a bucket is a fifth wide."""
    before = 0.0
    buckets = histogram(metrics, figure, route)
    for bound, count in buckets:
        if 2 * count >= buckets[-1][1]:
            return before * 1.2
        before = bound
    return before


@check("in its span")
def _(given):
    _, collector, _ = given
    # Each has its own span and that of its attempt.
    spans = collector.wait_for(2 * TIMES * len(CASES))
    for name in CASES:
        said = [attributes(span) for span in spans if span.kind == Span.SPAN_KIND_SERVER and span.name == f"POST {name}"]
        equal(len(said), TIMES)
        figures = {figure: f"corelane.{figure[:-3]}_ms" for figure in TOLD if figure != "T_us"}
        found = {figure: statistics.median(one.get(key, 0) for one in said) for figure, key in figures.items()}
        judge("spans", found, {figure: TOLD[figure] for figure in figures}, name)
