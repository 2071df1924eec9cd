"""The dashboard in a real Chromium: what it shows is what `/stats` says, it complains of nothing and asks nobody else."""

import json
import threading
import time
import urllib.request

from harness.browser import Page
from harness.expect import equal, true
from harness.gateway import Gateway
from harness.processes import free_port, get
from harness.report import Book

check = Book("dashboard")

RULES = """
[cluster.chat]
endpoints = ["{one}", "{two}"]
[cluster.embed]
endpoints = ["{one}"]
batch = {{ protocol = "openai-embeddings", max_items = 8 }}
[[route]]
name = "embed"
match = {{ path = "/v1/embeddings" }}
to = "embed"
[[route]]
name = "chat <b>&amp;"
to = "chat"
"""
CHAT = {"model": "sim", "stream": True, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}


def run(bench, report) -> None:
    urls = {}
    for name in ["one", "two"]:
        port = free_port()
        quick = ["--ttft", "5ms", "--itl", "2ms"]
        bench.fleet.start(f"sim-{name}", [bench.binary, "sim", "--listen", f"127.0.0.1:{port}", *quick])
        urls[name] = f"http://127.0.0.1:{port}"
        bench.fleet.await_http(f"sim-{name}", urls[name] + "/health", limit=10)
    config = bench.scratch / "dashboard.toml"
    config.write_text(RULES.format(**urls))
    gateway = Gateway(bench.fleet, "corelane-dashboard", bench.binary, bench.io, "", config)
    page = Page(bench.fleet, bench.scratch)
    page.view(1400, 1000)
    page.open(gateway.start["admin"] + "/")
    try:
        check.run((bench, gateway, page, urls), report)
    finally:
        page.close()


def send(gateway, path: str, body: dict) -> int:
    request = urllib.request.Request(gateway.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def cells(page, table: str) -> list[dict]:
    """The rows of a table, by the titles of its columns."""
    rows = page.ask(f"[...document.querySelectorAll('#{table} tr')].map(row => [...row.cells].map(cell => cell.textContent))")
    return [dict(zip(rows[0], row)) for row in rows[1:]]


def text(page, name: str) -> str:
    return page.ask(f"document.getElementById('{name}').textContent")


@check("it is live, and shows what there is before anything passed")
def _(given):
    _, _, page, urls = given
    page.until("document.getElementById('link')?.textContent === 'live'", 10)
    equal(sorted(row["endpoint"] for row in cells(page, "endpoints")), sorted([urls["one"], urls["two"], urls["one"]]))
    # A name is text, whatever it looks like.
    equal([row["route"] for row in cells(page, "routes")], ["chat <b>&amp;", "embed"])
    equal(text(page, "t50"), "–")


@check("what it shows is what /stats says")
def _(given):
    _, gateway, page, _ = given
    for _ in range(12):
        equal(send(gateway, "/v1/chat/completions", CHAT), 200)
    for _ in range(5):
        equal(send(gateway, "/v1/embeddings", {"model": "sim", "input": "hello"}), 200)
    page.until("document.getElementById('s-why').textContent.startsWith('17 requests')", 5)
    # Rates fall from second to second: the page and the document are of the same one, or both are asked again.
    for _ in range(25):
        shown = {name: text(page, name) for name in ["t50", "t99", "s", "b", "f50", "i99", "o50", "flight"]}
        stats = gateway.stats()
        told = stats["all"]
        format = lambda function, value: page.ask(f"{function}({json.dumps(value)})")
        expected = {
            "t50": format("time", told["T_us"]["p50"]),
            "t99": format("time", told["T_us"]["p99"]),
            "s": "100 %",
            "b": format("count", told["B"]["requests_per_s"]),
            "f50": format("time", told["ttft_us"]["p50"]),
            "i99": format("time", told["itl_us"]["p99"]),
            "o50": format("time", told["overhead_us"]["p50"]),
            "flight": "0",
        }
        if shown == expected:
            break
        time.sleep(0.4)
    equal(shown, expected)
    rows = {row["route"]: row for row in cells(page, "routes")}
    equal({name: row["requests"] for name, row in rows.items()}, {"chat <b>&amp;": "12", "embed": "5"})
    ends = {(row["cluster"], row["endpoint"]): int(row["requests"]) for row in cells(page, "endpoints")}
    expected = {(c, e): one["requests"] for c, all in stats["endpoints"].items() for e, one in all.items()}
    equal(ends, expected)
    equal(cells(page, "clusters")[0]["calls"], "5")
    # Times for people are the numbers of the document, to three figures.
    median = told["T_us"]["p50"]
    true(abs(float(shown["t50"].split()[0]) * 1000 - median) <= median / 100, f"{shown['t50']} for {median} us")


@check("a route can be looked at alone, and tables sort")
def _(given):
    _, gateway, page, _ = given
    page.ask("(r => { r.value = 'embed'; r.dispatchEvent(new Event('change')) })(document.getElementById('route'))")
    page.until("document.getElementById('s-why').textContent.startsWith('5 requests')", 3)
    equal(text(page, "f50"), "–")
    page.ask("(r => { r.value = ''; r.dispatchEvent(new Event('change')) })(document.getElementById('route'))")
    sort = "[...document.querySelectorAll('#routes th button')].find(b => b.textContent === 'requests').click()"
    page.ask(sort)
    equal([row["requests"] for row in cells(page, "routes")], ["12", "5"])
    page.ask(sort)
    equal([row["requests"] for row in cells(page, "routes")], ["5", "12"])


@check("the slowest exchanges are shown phase by phase")
def _(given):
    _, gateway, page, _ = given
    page.until("document.querySelectorAll('#slow tbody tr').length === 10", 8)
    slowest = json.loads(get(gateway.start["admin"] + "/slow?limit=10"))["exchanges"]
    equal([row["request id"] for row in cells(page, "slow")], [one["request_id"] for one in slowest])
    told = page.ask("document.querySelector('#slow .phases').getAttribute('aria-label')")
    true(told.startswith("head ") and "wait " in told and "relay " in told, told)
    widths = page.ask("[...document.querySelectorAll('#slow tr:nth-child(1) .phases rect')].map(r => +r.getAttribute('width'))")
    true(999 <= sum(widths) <= 1001, f"the phases of the slowest one fill its bar: {widths}")


@check("the heat map is drawn")
def _(given):
    _, _, page, _ = given
    painted = "(c => c.getContext('2d').getImageData(c.width * .9, 0, c.width * .1, c.height * .8).data.some(v => v))"
    true(page.ask(painted + "(document.getElementById('heat'))"), "nothing is drawn at its right edge")


@check("the death of an endpoint appears within two seconds", limit=30)
def _(given):
    bench, gateway, page, urls = given
    over = threading.Event()

    def load():
        while not over.is_set():
            send(gateway, "/v1/chat/completions", CHAT)

    threads = [threading.Thread(target=load) for _ in range(4)]
    [thread.start() for thread in threads]
    try:
        bench.fleet.end("sim-two")
        shown = f"[...document.querySelectorAll('#endpoints tr')].some(r => r.textContent.includes('{urls['two']}ejected'))"
        took = page.until(shown, 2)
        marked = f"[...document.querySelectorAll('#marks li')].some(m => m.textContent.includes('{urls['two']}'))"
        page.until(marked, 2)
    finally:
        over.set()
        [thread.join() for thread in threads]
    true(took <= 2, f"it took {took:.1f} s")


@check("it fits a phone, in the light and in the dark")
def _(given):
    _, _, page, _ = given
    grounds = []
    for dark in [False, True]:
        page.view(390, 844, dark=dark, phone=True)
        true(page.ask("document.documentElement.scrollWidth") <= 390, "the page is wider than the phone")
        grounds.append(page.ask("getComputedStyle(document.body).backgroundColor"))
    true(grounds[0] != grounds[1], f"both are {grounds[0]}")


@check("it complained of nothing and asked nobody else")
def _(given):
    _, gateway, page, _ = given
    page.ask("1")  # hears what was said until now
    equal(page.complaints, [])
    own = gateway.start["admin"]
    paths = {url.removeprefix(own).split("?")[0] for url in page.requests if not url.startswith("data:")}
    equal(paths, {"/", "/live", "/slow"})


@check("it comes back by itself after the gateway did")
def _(given):
    bench, gateway, page, _ = given
    bench.fleet.end(gateway.name)
    page.until("document.getElementById('link').textContent === 'no connection'", 5)
    own = ["--listen", gateway.authority, "--admin", gateway.start["admin"].removeprefix("http://")]
    config = bench.scratch / "dashboard.toml"
    bench.fleet.start(gateway.name, [bench.binary, "run", "--config", config, "--io", bench.io, *own])
    page.until("document.getElementById('link').textContent === 'live'", 8)
    page.until("document.getElementById('s-why').textContent.startsWith('0 requests')", 3)
