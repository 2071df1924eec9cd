"""Spans, as the messages that OpenTelemetry itself publishes read them: what a collector gets is what happened."""

import http.server
import json
import threading
import time
import urllib.request

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from harness.expect import equal, true
from harness.gateway import Gateway
from harness.processes import free_port
from harness.report import Book

check = Book("traces")

RULES = """
[observe]
trace = {{ otlp = "{collector}", share = "0%" }}
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.0/8"]
[cluster.chat]
endpoints = ["{sim}"]
engine = "vllm"
[cluster.shared]
endpoints = ["{sim}"]
single_flight = true
[[route]]
name = "shared"
match = {{ path = "/v1/embeddings" }}
to = "shared"
[[route]]
name = "chat"
match = {{ path = "/v1/*" }}
to = "chat"
"""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CHAT = {"model": "sim", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}


class Collector(http.server.ThreadingHTTPServer):
    """Takes what it is sent, and keeps the spans."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans, self.resources, self.unknown = [], [], 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait_for(self, count: int) -> list:
        deadline = time.monotonic() + 10
        while len(self.spans) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.spans


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        message = ExportTraceServiceRequest.FromString(body)
        # What is read and written again is what came: nothing of it is unknown.
        self.server.unknown += message.SerializeToString(deterministic=True) != body
        for sent in message.resource_spans:
            self.server.resources.append(attributes(sent.resource))
            self.server.spans += [span for scope in sent.scope_spans for span in scope.spans]
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def attributes(of) -> dict:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in of.attributes}


def run(bench, report) -> None:
    port = free_port()
    bench.fleet.start("sim-traces", [bench.binary, "sim", "--listen", f"127.0.0.1:{port}", "--ttft", "5ms", "--itl", "2ms"])
    bench.fleet.await_http("sim-traces", f"http://127.0.0.1:{port}/health", limit=10)
    collector = Collector()
    config = bench.scratch / "traces.toml"
    config.write_text(RULES.format(collector=f"http://127.0.0.1:{collector.server_port}", sim=f"http://127.0.0.1:{port}"))
    gateway = Gateway(bench.fleet, "corelane-traces", bench.binary, bench.io, "", config)
    check.run((gateway, collector), report)
    collector.shutdown()


@check("a sampled exchange is one trace, of the spans and attributes of OpenTelemetry's conventions")
def _(given):
    gateway, collector = given
    for flag in ["00", "01"]:
        head = {"content-type": "application/json", "traceparent": f"00-{TRACE}-{PARENT}-{flag}"}
        body = json.dumps(CHAT | {"stream": flag == "01", "stream_options": {"include_usage": True}}).encode()
        with urllib.request.urlopen(urllib.request.Request(gateway.url + "/v1/chat/completions", body, head), timeout=10) as answer:
            answer.read()
    spans = collector.wait_for(2)
    equal(len(spans), 2)
    equal(collector.unknown, 0)
    server = next(span for span in spans if span.kind == Span.SPAN_KIND_SERVER)
    client = next(span for span in spans if span.kind == Span.SPAN_KIND_CLIENT)
    equal((server.trace_id.hex(), server.parent_span_id.hex(), server.name), (TRACE, PARENT, "POST chat"))
    equal((client.trace_id.hex(), client.parent_span_id), (TRACE, server.span_id))
    true(server.start_time_unix_nano <= client.start_time_unix_nano, "an attempt begins within its exchange")
    true(client.end_time_unix_nano <= server.end_time_unix_nano, "and ends there")
    true(abs(server.end_time_unix_nano / 1e9 - time.time()) < 60, "times are those of the wall")
    said = attributes(server)
    known = ["gen_ai.operation.name", "gen_ai.request.model", "gen_ai.response.model", "http.route", "http.response.status_code"]
    equal([said.get(key) for key in known], ["chat", "sim", "sim", "/v1/*", 200])
    true(said["gen_ai.usage.output_tokens"] == 4 and said["gen_ai.usage.input_tokens"] > 0, str(said))
    true(said["corelane.ttft_ms"] >= 5, str(said))
    equal(attributes(client)["gen_ai.provider.name"], "vllm")
    equal(collector.resources[0]["service.name"], "corelane")


@check("a call that is made for others is a trace of its own, and who shares it links to that")
def _(given):
    gateway, collector = given
    head = {"content-type": "application/json", "traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    before = len(collector.spans)
    body = json.dumps({"model": "sim", "input": "hello"}).encode()
    with urllib.request.urlopen(urllib.request.Request(gateway.url + "/v1/embeddings", body, head), timeout=10) as answer:
        answer.read()
    spans = collector.wait_for(before + 3)[before:]
    equal(len(spans), 3)
    equal(collector.unknown, 0)
    server, call, attempt = (next(span for span in spans if span.kind == getattr(Span, "SPAN_KIND_" + kind)) for kind in ["SERVER", "INTERNAL", "CLIENT"])
    equal((server.trace_id.hex(), server.trace_state, call.trace_state), (TRACE, "vendor=1", ""))
    equal([(link.trace_id, link.span_id) for link in server.links], [(call.trace_id, call.span_id)])
    true(call.trace_id.hex() != TRACE, "a trace of its own")
    equal((attempt.trace_id, attempt.parent_span_id), (call.trace_id, call.span_id))
