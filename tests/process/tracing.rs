//! What collectors are told of exchanges, by OTLP over HTTP, and what is told upstream of the trace.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use corelane::control::otlp::{CLIENT, Export, INTERNAL, KeyValue, SERVER, Span, Value};
use prost::Message;

use crate::support::{Gateway, PATIENCE, Peer, Upstream, nobody};

/// A collector, and the calls that it got.
pub struct Collector {
    pub url: String,
    calls: Arc<Mutex<Vec<Export>>>,
}

impl Collector {
    pub fn start() -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&calls);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mut peer, log) = (Peer::new(stream), Arc::clone(&log));
                std::thread::spawn(move || {
                    peer.stream.set_read_timeout(None).unwrap();
                    loop {
                        let head = peer.read_until("\r\n\r\n");
                        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
                        let field = |name: &str| {
                            let begins = format!("{name}: ");
                            head.lines().find_map(|line| line.strip_prefix(&begins)).unwrap().to_owned()
                        };
                        assert_eq!(field("content-type"), "application/x-protobuf");
                        let body = peer.read_exactly(field("content-length").parse().unwrap());
                        log.lock().unwrap().push(Export::decode(&body[..]).unwrap());
                        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                    }
                });
            }
        });
        Self { url, calls }
    }

    /// The spans that came so far.
    pub fn some_spans(&self) -> Vec<Told> {
        let calls = self.calls.lock().unwrap();
        let scopes = calls.iter().flat_map(|call| &call.resource_spans).flat_map(|sent| &sent.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(Told::of).collect()
    }

    /// The spans that came, once there are so many.
    pub fn spans(&self, count: usize) -> Vec<Told> {
        let until = Instant::now() + PATIENCE;
        loop {
            let spans = self.some_spans();
            if spans.len() >= count {
                assert_eq!(spans.len(), count, "{spans:#?}");
                return spans;
            }
            assert!(Instant::now() < until, "{count} spans: {spans:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A span as it is read.
#[derive(Debug)]
pub struct Told {
    pub name: String,
    pub kind: i32,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub lasts_us: u64,
    begins_us: u64,
    pub failed: bool,
    pub state: String,
    /// Trace and span of each.
    pub links: Vec<(String, String)>,
    says: BTreeMap<String, String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |said: &KeyValue| match said.value.clone().unwrap().value.unwrap() {
        Value::Text(text) => text,
        Value::Whole(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
    };
    all.iter().map(|said| (said.key.clone(), text(said))).collect()
}

impl Told {
    fn of(span: &Span) -> Self {
        assert_eq!((span.trace_id.len(), span.span_id.len(), span.flags), (16, 8, 1));
        Self {
            name: span.name.clone(),
            kind: span.kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            lasts_us: (span.end_time_unix_nano - span.start_time_unix_nano) / 1000,
            begins_us: span.start_time_unix_nano / 1000,
            state: span.trace_state.clone(),
            links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
            failed: span.status.as_ref().is_some_and(|status| status.code == 2),
            says: texts(&span.attributes),
        }
    }

    pub fn says(&self, key: &str) -> &str {
        self.says.get(key).map_or("", String::as_str)
    }
}

pub fn start(collector: &str, share: &str, rest: &str) -> Gateway {
    Gateway::start(&format!("[observe]\ntrace = {{ otlp = \"{collector}\", share = \"{share}\" }}\n{rest}"))
}

fn one(url: &str) -> String {
    format!(
        "[cluster.up]\nendpoints = [{url:?}]\nengine = \"vllm\"\n[[route]]\nname = \"chat\"\nmatch = {{ path = \"/v1/*\" }}\nto = \"up\"\n"
    )
}

fn chat(fields: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions?x=secret HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const STREAM: &str = "data: {\"id\":1,\"model\":\"m-7b\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n";

/// What an endpoint was sent, with whatever traceparent.
pub fn traceparent(request: &str) -> (&str, &str, &str) {
    let value = request.split("\r\ntraceparent: ").nth(1).unwrap().split("\r\n").next().unwrap();
    let mut parts = value.split('-');
    assert_eq!(parts.next(), Some("00"));
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
}

fn answer(peer: &mut Peer, kind: &str, body: &str) {
    peer.send(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
}

#[test]
fn an_exchange_and_its_attempt_are_told_with_what_was_asked_and_used() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let gateway = start(&collector.url, "100%", &one(&upstream.url()));
    let mut client = gateway.connect();
    client.send(chat("", "{\"messages\":[],\"model\":\"m\"}"));
    let mut up = upstream.accept();
    let request = up.read_message();
    answer(&mut up, "text/event-stream", STREAM);
    client.read_message();
    let spans = collector.spans(2);
    let [exchange, attempt] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!((exchange.name.as_str(), exchange.kind, exchange.parent.as_str()), ("POST chat", SERVER, ""));
    assert_eq!((attempt.name.as_str(), attempt.kind), ("attempt", CLIENT));
    assert_eq!((&attempt.parent, &attempt.trace), (&exchange.id, &exchange.trace));
    // Who is asked belongs to the attempt.
    assert_eq!(traceparent(&request), (attempt.trace.as_str(), attempt.id.as_str(), "01"));
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/*"),
        ("http.response.status_code", "200"),
        ("url.path", "/v1/chat/completions"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.response.model", "m-7b"),
        ("gen_ai.usage.input_tokens", "5"),
        ("gen_ai.usage.output_tokens", "1"),
        ("corelane.route", "chat"),
        ("corelane.cluster", "up"),
        ("corelane.endpoint", &upstream.url()),
        ("error.type", ""),
        ("corelane.key", ""),
    ] {
        assert_eq!(exchange.says(key), value, "{key} {exchange:#?}");
    }
    assert!(exchange.says("corelane.ttft_ms").parse::<f64>().unwrap() > 0.0);
    let port = upstream.url().rsplit(':').next().unwrap().to_owned();
    for (key, value) in [
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("gen_ai.provider.name", "vllm"),
        ("gen_ai.response.model", "m-7b"),
        ("corelane.attempt", "1"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(attempt.says(key), value, "{key} {attempt:#?}");
    }
    assert!(!exchange.failed && !attempt.failed && attempt.lasts_us <= exchange.lasts_us);
    let calls = collector.calls.lock().unwrap();
    let sent = &calls[0].resource_spans[0];
    assert_eq!(texts(&sent.resource.as_ref().unwrap().attributes)["service.name"], "corelane");
    assert_eq!(sent.scope_spans[0].scope.as_ref().unwrap().name, "corelane");
    drop(calls);
    let metrics = gateway.admin("GET", "/metrics").1;
    assert!(metrics.contains("corelane_spans_total{result=\"sent\"} 2\n"), "{metrics}");
}

#[test]
fn a_pause_shows_in_its_phase_of_the_span() {
    const PAUSE: Duration = Duration::from_millis(60);
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let gateway = start(&collector.url, "100%", &one(&upstream.url()));
    for (number, (at, phase)) in
        [("wait", "wait"), ("first", "relay"), ("gap", "relay"), ("body", "send")].into_iter().enumerate()
    {
        let mut client = gateway.connect();
        let request = chat("connection: close\r\n", "{\"model\":\"m\"}");
        let (begin, end) = request.split_at(request.len() - 4);
        client.send(begin);
        let mut up = upstream.accept();
        let head = up.read_until("\r\n\r\n");
        let pause = |now: &str| std::thread::sleep(if at == now { PAUSE } else { Duration::ZERO });
        pause("body");
        client.send(end);
        up.read_exactly(13);
        pause("wait");
        up.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n");
        pause("first");
        up.send("data: one\n\n");
        pause("gap");
        up.send("data: two\n\n");
        drop(up);
        client.read_to_end();
        assert!(head.contains("\r\ntraceparent: "), "{head}");
        let spans = collector.spans(2 * (number + 1));
        let exchange = spans.iter().rfind(|span| span.kind == SERVER).unwrap();
        let ms = |name: &str| exchange.says(&format!("corelane.{name}_ms")).parse::<f64>().unwrap();
        for known in ["head", "hold", "queue", "connect", "send", "wait", "relay"] {
            assert_eq!(ms(known) >= 55.0, known == phase, "{at} {known}: {exchange:#?}");
        }
        assert_eq!(ms("ttft") >= 55.0, at != "gap", "{at}: {exchange:#?}");
        assert_eq!(ms("itl_max") >= 55.0, at == "gap", "{at}: {exchange:#?}");
    }
}

#[test]
fn what_a_client_says_is_cut_to_what_a_span_may_hold() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let gateway = start(&collector.url, "100%", &one(&upstream.url()));
    let mut client = gateway.connect();
    client.send(format!("{} /v1/{} HTTP/1.1\r\nhost: x\r\n\r\n", "M".repeat(2000), "p".repeat(20_000)));
    let mut up = upstream.accept();
    up.read_message();
    answer(&mut up, "application/json", "{}");
    client.read_message();
    let exchange = &collector.spans(2)[0];
    assert_eq!((exchange.name.as_str(), exchange.says("http.request.method")), ("HTTP", "_OTHER"));
    assert_eq!(exchange.says("url.path").len(), 512);
    assert_eq!(exchange.says("http.request.method_original").len(), 512);
}

#[test]
fn a_trusted_trace_goes_on_as_it_says_and_any_other_begins_anew() {
    const PARENT: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";
    for (trusted, flag, share, told) in [
        ("127.0.0.1/32", "01", "0%", true),
        ("127.0.0.1/32", "00", "100%", false),
        ("10.0.0.0/8", "01", "0%", false),
        ("10.0.0.0/8", "00", "100%", true),
    ] {
        let (collector, upstream) = (Collector::start(), Upstream::start());
        let listener = format!("[[listener]]\naddress = \"127.0.0.1:0\"\ntrusted = [\"{trusted}\"]\n");
        let gateway = start(&collector.url, share, &(listener + &one(&upstream.url())));
        let mut client = gateway.connect();
        client.send(chat(&format!("traceparent: 00-{PARENT}-{flag}\r\ntracestate: a=b\r\n"), "{}"));
        let mut up = upstream.accept();
        let request = up.read_message();
        answer(&mut up, "application/json", "{}");
        client.read_message();
        let is_trusted = trusted.starts_with("127");
        let (trace, span, sampled) = traceparent(&request);
        assert_eq!(trace == &PARENT[..32], is_trusted, "{request}");
        assert_eq!(sampled, if told { "01" } else { "00" }, "{request}");
        assert_eq!(request.contains("tracestate: a=b"), is_trusted, "{request}");
        match told {
            true => {
                let spans = collector.spans(2);
                assert_eq!(spans[0].parent, if is_trusted { &PARENT[33..] } else { "" });
                assert_eq!((spans[0].trace.as_str(), spans[1].id.as_str()), (trace, span));
                assert_eq!(spans[0].state, if is_trusted { "a=b" } else { "" });
            }
            false => {
                std::thread::sleep(Duration::from_millis(900));
                assert!(collector.calls.lock().unwrap().is_empty());
            }
        }
    }
}

#[test]
fn each_attempt_and_the_wait_for_a_place_have_spans_of_their_own() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let gone = nobody();
    let gateway = start(
        &collector.url,
        "100%",
        &format!(
            "[server]\nlanes = 1\n[cluster.gone]\nendpoints = [{gone:?}]\nretry = {{ attempts = 1 }}\n[cluster.up]\nendpoints = [{{ url = {:?}, max_in_flight = 1 }}]\n\
             queue = {{ max = 9 }}\n[[route]]\nname = \"both\"\nmatch = {{ path = \"/both\" }}\nto = \"gone\"\nfallback = [\"up\"]\n\
             [[route]]\nname = \"all\"\nto = \"up\"\n",
            upstream.url()
        ),
    );
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    first.send("GET /a HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut up = upstream.accept();
    up.read_message();
    second.send("GET /both HTTP/1.1\r\nhost: x\r\n\r\n");
    gateway.until("it waits", |stats| stats["routes"]["both"]["in_flight"] == 1);
    std::thread::sleep(Duration::from_millis(80));
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    first.read_message();
    up.read_message();
    up.send("HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n");
    assert!(second.read_message().starts_with("HTTP/1.1 500 "));
    let spans = collector.spans(6);
    let of: Vec<_> = spans.iter().filter(|span| span.says("corelane.route") == "both").collect();
    let exchange = of.iter().find(|span| span.kind == SERVER).unwrap();
    let attempts: Vec<_> = of.iter().filter(|span| span.kind == CLIENT).collect();
    assert_eq!((exchange.says("error.type"), exchange.failed), ("500", true));
    let told: Vec<_> = attempts
        .iter()
        .map(|span| {
            (
                span.says("corelane.attempt"),
                span.says("error.type"),
                span.says("corelane.endpoint"),
                span.failed,
            )
        })
        .collect();
    let up_url = upstream.url();
    assert_eq!(told, [("1", "upstream_connect", gone.as_str(), true), ("2", "500", up_url.as_str(), true)]);
    let queue = spans.iter().find(|span| span.kind == INTERNAL).unwrap();
    assert_eq!((queue.name.as_str(), &queue.parent, &queue.trace), ("queue", &exchange.id, &exchange.trace));
    assert!(queue.lasts_us >= 75_000, "{queue:#?}");
    assert!(
        queue.begins_us >= exchange.begins_us
            && queue.begins_us + queue.lasts_us <= attempts[1].begins_us + 1000
    );
    let ids: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
    assert_eq!(ids.len(), 6);
}

#[test]
fn a_collector_that_is_gone_or_hangs_costs_no_request() {
    let url = Upstream::start().serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let hangs = Upstream::start();
    for collector in [nobody(), hangs.url()] {
        let mut gateway = start(&collector, "100%", &one(&url));
        let mut client = gateway.connect();
        for _ in 0..1500 {
            client.send("GET /v1/a HTTP/1.1\r\nhost: x\r\n\r\n");
            assert!(client.read_message().ends_with("ok"));
        }
        let lost = || {
            let metrics = gateway.admin("GET", "/metrics").1;
            let count = |result: &str| -> u64 {
                let line = format!("corelane_spans_total{{result=\"{result}\"}} ");
                metrics.lines().find_map(|line_of| line_of.strip_prefix(&line)).unwrap().parse().unwrap()
            };
            (count("sent"), count("dropped") + count("failed"))
        };
        let until = Instant::now() + PATIENCE;
        while lost().1 == 0 {
            assert!(Instant::now() < until, "{:?}", lost());
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(lost().0, 0);
        if collector != hangs.url() {
            let told = gateway.next_line();
            assert!(
                told.contains("spans are lost: the collector at ") && told.contains("does not take them"),
                "{told}"
            );
        }
    }
}
