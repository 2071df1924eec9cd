"""A real Prometheus scrapes the gateway: what it reads agrees with `/stats`, and the rules and the board in
`config/observability` ask for what is there."""

import json
import re
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from harness.expect import equal, true
from harness.gateway import Gateway
from harness.processes import free_port, get
from harness.report import Book

check = Book("prometheus")

OBSERVABILITY = Path(__file__).resolve().parents[3] / "config" / "observability"
# Every family that the rules and the board name has data here: a queue, batches, shared and kept answers, a limit.
RULES = """
[filter.few]
kind = "rate-limit"
requests = "1/hour"
[cluster.chat]
endpoints = [{{ url = "{one}", max_in_flight = 2 }}, {{ url = "{two}", max_in_flight = 2 }}]
queue = {{ max = 64, max_wait = "10s" }}
single_flight = true
cache = {{ ttl = "1m", max = "1MiB" }}
[cluster.embed]
endpoints = ["{one}"]
batch = {{ protocol = "openai-embeddings", max_items = 8 }}
[cluster.spare]
endpoints = ["{two}"]
[[route]]
name = "embed"
match = {{ path = "/v1/embeddings" }}
to = "embed"
[[route]]
name = "few"
match = {{ path = "/few" }}
filters = ["few"]
respond = {{ body = "one" }}
[[route]]
name = "spare"
match = {{ path = "/spare/*" }}
to = "spare"
[[route]]
name = "chat"
match = {{ path = "/v1/*" }}
to = "chat"
"""
SCRAPE = """
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: corelane
    static_configs: [{{ targets: ["{admin}"] }}]
"""


class Prometheus:
    def __init__(self, bench, admin: str):
        config = bench.scratch / "prometheus.yml"
        config.write_text(SCRAPE.format(rules=OBSERVABILITY / "alerts.yml", admin=admin))
        self.url = f"http://127.0.0.1:{free_port()}"
        listen = f"--web.listen-address={self.url.removeprefix('http://')}"
        store = f"--storage.tsdb.path={bench.scratch / 'prometheus'}"
        bench.fleet.start("prometheus", [shutil.which("prometheus"), f"--config.file={config}", listen, store])
        bench.fleet.await_http("prometheus", self.url + "/-/ready", limit=20)

    def ask(self, query: str) -> list:
        body = get(f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        told = json.loads(body)
        equal(told["status"], "success")
        return told["data"]["result"]

    def value(self, query: str) -> float:
        result = self.ask(query)
        equal(len(result), 1)
        return float(result[0]["value"][1])

    def until(self, query: str, limit: float = 10) -> list:
        deadline = time.monotonic() + limit
        while not (result := self.ask(query)):
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing within {limit} s: {query}")
            time.sleep(0.2)
        return result


class Given:
    def __init__(self, bench):
        urls = {}
        for name in ["one", "two"]:
            port = free_port()
            quick = ["--ttft", "4ms", "--itl", "2ms"]
            bench.fleet.start(f"sim-p-{name}", [bench.binary, "sim", "--listen", f"127.0.0.1:{port}", *quick])
            urls[name] = f"http://127.0.0.1:{port}"
            bench.fleet.await_http(f"sim-p-{name}", urls[name] + "/health", limit=10)
        config = bench.scratch / "scraped.toml"
        config.write_text(RULES.format(**urls))
        self.urls = urls
        self.gateway = Gateway(bench.fleet, "corelane-scraped", bench.binary, bench.io, "", config)
        self.admin = self.gateway.start["admin"]
        self.prometheus = Prometheus(bench, self.admin.removeprefix("http://"))


def run(bench, report) -> None:
    given = []
    if report.check("prometheus: it starts", lambda: given.append(Given(bench)), limit=40):
        check.run(given[0], report)


def send(given, path: str, body: dict | None) -> int:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(given.gateway.url + path, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def load(given) -> None:
    """Some of everything, for so long that rates have several samples."""

    def client(number: int) -> None:
        until = time.monotonic() + 6
        step = 0
        while time.monotonic() < until:
            step += 1
            words = [{"role": "user", "content": f"hello {number} {step // 3}"}]
            body = {"model": "sim", "stream": step % 2 == 0, "max_tokens": 3 + number, "messages": words}
            send(given, "/v1/chat/completions", body | ({"temperature": 0} if step % 3 else {}))
            send(given, "/v1/embeddings", {"model": "sim", "input": f"hello {step}"})
            send(given, "/few", None)
            send(given, "/nowhere", None)

    threads = [threading.Thread(target=client, args=[number]) for number in range(10)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


@check("promtool finds nothing wrong with the metrics and the rules", limit=30)
def _(given):
    load(given)
    for name, command, text in [
        ("metrics", ["promtool", "check", "metrics"], get(given.admin + "/metrics")),
        ("rules", ["promtool", "check", "rules", OBSERVABILITY / "alerts.yml"], b""),
    ]:
        told = subprocess.run(command, input=text, capture_output=True, timeout=20)
        true(told.returncode == 0, f"{name}: {told.stderr.decode()[:2000]}")
        equal(told.stderr.decode(), "")


@check("its quantiles are those of /stats within a bucket", limit=20)
def _(given):
    time.sleep(1.5)  # the last scrape saw the last exchange
    given.prometheus.until('up{job="corelane"} == 1')
    stats = given.gateway.stats()
    for route in ["chat", "embed"]:
        for family, member in [("request_duration", "T_us"), ("ttft", "ttft_us"), ("itl", "itl_us")]:
            for name, quantile in [("p50", 0.5), ("p99", 0.99)]:
                told = stats["routes"][route][member][name] / 1e6
                if told < 0.0001:
                    continue  # below the first bound there is nothing to tell apart
                read = given.prometheus.value(
                    f'histogram_quantile({quantile}, corelane_{family}_seconds_bucket{{route="{route}"}})'
                )
                ratio = max(read, told) / min(read, told)
                true(ratio <= 1.2 * 1.01, f"{route} {family} {name}: {read} read, {told} told")
        requests = given.prometheus.value(f'sum(corelane_requests_total{{route="{route}"}})')
        equal(requests, float(stats["routes"][route]["requests"]))


def queries() -> dict[str, str]:
    board = json.loads((OBSERVABILITY / "grafana.json").read_text())
    panels = {
        f"{panel['title']} {target['refId']}": target["expr"] for panel in board["panels"] for target in panel["targets"]
    }
    notes = {f"annotation {note['name']}": note["expr"] for note in board["annotations"]["list"]}
    return {
        name: expr.replace("$__rate_interval", "30s").replace("$instance", ".*").replace("$route", ".*")
        for name, expr in (panels | notes).items()
    }


@check("each query of the board finds something", limit=30)
def _(given):
    empty = [name for name, expr in queries().items() if not given.prometheus.ask(expr)]
    # Nothing was ejected, and nothing reloaded.
    equal(empty, ["annotation ejections", "annotation reloads"])


@check("each family that rules and board name is there", limit=20)
def _(given):
    texts = [(OBSERVABILITY / "alerts.yml").read_text(), *queries().values()]
    names = sorted({name for text in texts for name in re.findall(r"\bcorelane_[a-z_]+", text)} - {"corelane_"})
    # Words name a histogram by its family, queries by its buckets.
    is_there = lambda name: given.prometheus.ask(f'count({{__name__=~"{name}(_bucket)?"}})')
    missing = [name for name in names if not is_there(name)]
    equal(missing, [])
    true(len(names) > 15, str(names))


@check("each rule is read, and one that should fires", limit=30)
def _(given):
    rules = json.loads(get(given.prometheus.url + "/api/v1/rules"))["data"]["groups"][0]["rules"]
    equal([rule["name"] for rule in rules if rule["health"] != "ok"], [])
    equal([rule["name"] for rule in rules if rule["state"] != "inactive"], [])
    drain = f"{given.admin}/endpoints/spare/drain?url={given.urls['two']}"
    urllib.request.urlopen(urllib.request.Request(drain, b"", method="POST"), timeout=5).read()
    given.prometheus.until('ALERTS{alertname="CorelaneNoEndpoint", cluster="spare", alertstate="pending"}')


@check("made-up models, paths and keys leave the number of series as it is", limit=90)
def _(given):
    series = lambda: sum(1 for line in get(given.admin + "/metrics").splitlines() if not line.startswith(b"#"))
    before = series()

    def invent(part: int) -> None:
        import http.client

        host, port = given.gateway.authority.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        for step in range(25000):
            fields = {"authorization": f"Bearer key-{part}-{step}", "x-request-id": f"{part}-{step}"}
            connection.request("GET", f"/nowhere/{part}/{step}?model=m{step}", headers=fields)
            connection.getresponse().read()

    threads = [threading.Thread(target=invent, args=[part]) for part in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal(series(), before)
