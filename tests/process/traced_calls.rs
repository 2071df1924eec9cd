//! What collectors are told of calls that are made for several, and of several calls for one.

use corelane::control::otlp::{CLIENT, INTERNAL, SERVER};
use serde_json::json;

use crate::batching::{answer, body, embed, gather, text, vectors};
use crate::seen::{PAUSE, SHOWN_US};
use crate::support::{After, Gateway, Upstream, nobody};
use crate::tracing::{Collector, Told, start, traceparent};

fn cluster(collector: &Collector, share: &str, url: &str, sharing: &str) -> Gateway {
    let rest = format!(
        "[cluster.up]\nendpoints = [{url:?}]\nretry = {{ attempts = 1 }}\n{sharing}\n[[route]]\nname = \"all\"\nto = \"up\"\n"
    );
    start(&collector.url, share, &rest)
}

/// A route that asks two clusters at once, of which the first answer counts.
fn race(collector: &Collector, clusters: [(&str, &str); 2]) -> Gateway {
    let told = clusters
        .map(|(name, url)| format!("[cluster.{name}]\nendpoints = [{url:?}]\nretry = {{ attempts = 1 }}\n"));
    let names = clusters.map(|(name, _)| name);
    let route = format!("[[route]]\nname = \"race\"\nfanout = {{ to = {names:?}, gather = \"first\" }}\n");
    start(&collector.url, "100%", &(told.concat() + &route))
}

const BATCH: &str = "batch = { protocol = \"openai-embeddings\", max_wait = \"30s\"";

/// The call that was made for others, its attempt, and those who link to it.
fn call_of(spans: &[Told], members: usize) -> (&Told, &Told) {
    let call = spans.iter().find(|span| span.name == "call").unwrap();
    assert_eq!((call.kind, call.parent.as_str()), (INTERNAL, ""));
    let attempt = spans.iter().find(|span| span.parent == call.id).unwrap();
    assert_eq!((attempt.kind, &attempt.trace), (CLIENT, &call.trace));
    assert_eq!(linked_to(call, spans), members, "{spans:#?}");
    (call, attempt)
}

/// How many exchanges link to a call, which is of another trace.
fn linked_to(call: &Told, spans: &[Told]) -> usize {
    let link = (call.trace.clone(), call.id.clone());
    let linked = spans.iter().filter(|span| span.kind == SERVER && span.links.contains(&link));
    linked.inspect(|one| assert_ne!(one.trace, call.trace)).count()
}

#[test]
fn who_shares_a_call_links_to_its_trace() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let gateway = cluster(&collector, "100%", &upstream.url(), "single_flight = true");
    let mut clients: Vec<_> = (1..=3)
        .map(|count| {
            let mut client = gateway.connect();
            client.send(embed("", &text(4)));
            gateway.until("it came", |stats| stats["routes"]["all"]["in_flight"] == count);
            client
        })
        .collect();
    let mut up = upstream.accept();
    let request = up.read_message();
    up.send(vectors(&request));
    for client in &mut clients {
        assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    }
    let spans = collector.spans(5);
    let (call, attempt) = call_of(&spans, 3);
    assert_eq!(traceparent(&request), (attempt.trace.as_str(), attempt.id.as_str(), "01"));
    assert_eq!((call.says("error.type"), call.says("http.response.status_code")), ("", "200"));
    assert_eq!((call.says("corelane.route"), call.says("gen_ai.operation.name")), ("all", "embeddings"));
    assert_eq!(attempt.says("corelane.endpoint"), upstream.url());
}

#[test]
fn who_travels_in_a_batch_links_to_it_and_to_the_call_that_it_is_asked_in_alone() {
    for sharing in [format!("{BATCH} }}"), format!("single_flight = true\n{BATCH} }}")] {
        let (collector, upstream) = (Collector::start(), Upstream::start());
        let gateway = cluster(&collector, "100%", &upstream.url(), &sharing);
        let requests = [embed("", &text(2)), embed("", &text(3))];
        let (mut first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
        call.send(vectors(&embed("", &text(1))));
        first.read_message();
        let together = call.read_message();
        call.send(answer("400 Bad Request", &json!({})));
        let mut other = upstream.accept();
        let alone = call.read_message();
        other.read_message();
        call.send(vectors(&alone));
        other.send(answer("400 Bad Request", &json!({})));
        let mut statuses: Vec<_> =
            clients.iter_mut().map(|client| client.read_message()[9..12].to_owned()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, ["200", "400"], "{sharing}");
        // Three exchanges, the attempt of the first, and three calls with an attempt each; those of one flight each link to the
        // call of that first, which is in those calls in their place.
        let is_single = sharing.contains("single_flight");
        let spans = collector.spans(3 + 1 + 6 + if is_single { 3 } else { 0 });
        if is_single {
            assert!(spans.iter().filter(|span| span.kind == SERVER).all(|span| span.links.len() == 1));
        }
        let kind = if is_single { INTERNAL } else { SERVER };
        let members: Vec<_> =
            spans.iter().filter(|span| span.kind == kind && span.links.len() == 2).collect();
        assert_eq!(members.len(), 2, "{sharing}: {spans:#?}");
        assert_eq!(members[0].links[0], members[1].links[0], "the batch");
        assert_ne!(members[0].links[1], members[1].links[1], "each alone");
        for (trace, span) in members.iter().flat_map(|member| &member.links) {
            let call = spans.iter().find(|known| known.id == *span).unwrap();
            assert_eq!((call.name.as_str(), &call.trace), ("call", trace));
        }
        assert_eq!(traceparent(&together).0, members[0].links[0].0);
    }
}

#[test]
fn the_flag_of_a_call_says_whether_somebody_in_it_is_told_of() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let gateway = cluster(&collector, "0%", &upstream.url(), "single_flight = true");
    let mut client = gateway.connect();
    client.send(embed("", &text(4)));
    let mut up = upstream.accept();
    let request = up.read_message();
    assert_eq!(traceparent(&request).2, "00");
    up.send(vectors(&request));
    client.read_message();
    // One that a trusted sender has traced is in a batch with one that nobody traces.
    let batching = Upstream::start();
    let trusted = "[[listener]]\naddress = \"127.0.0.1:0\"\ntrusted = [\"127.0.0.0/8\"]";
    let gateway = cluster(&collector, "0%", &batching.url(), &format!("{BATCH} }}\n{trusted}"));
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let requests = [embed("", &text(2)), embed(parent, &text(3))];
    let (mut first, mut call, mut clients) = gather(&gateway, &batching, &requests);
    call.send(vectors(&embed("", &text(1))));
    first.read_message();
    let together = call.read_message();
    call.send(vectors(&together));
    clients.iter_mut().for_each(|client| drop(client.read_message()));
    let spans = collector.spans(3);
    let (call, attempt) = call_of(&spans, 1);
    assert_eq!(traceparent(&together), (call.trace.as_str(), attempt.id.as_str(), "01"));
    assert!(!together.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "it is not the trace of one of them");
}

#[test]
fn the_pieces_of_a_request_are_parts_of_its_own_trace() {
    let upstream = Upstream::start();
    let url = upstream.play(|peer, request| {
        peer.send(vectors(&request));
        After::GoOn
    });
    for is_single in [false, true] {
        let collector = Collector::start();
        let sharing = format!("single_flight = {is_single}\n{BATCH}, max_items = 2 }}");
        let gateway = cluster(&collector, "100%", &url, &sharing);
        let mut client = gateway.connect();
        client.send(embed("", &json!({ "model": "m", "input": ["a", "bb", "ccc", "dddd", "eeeee"] })));
        assert_eq!(body(&client.read_message())["data"].as_array().unwrap().len(), 5);
        let spans = collector.spans(7 + usize::from(is_single));
        let exchange = spans.iter().find(|span| span.kind == SERVER).unwrap();
        // Where others may share it, the whole is a call of its own.
        let whole = spans.iter().find(|span| span.name == "call" && span.parent.is_empty());
        assert_eq!((whole.is_some(), exchange.links.len()), (is_single, usize::from(is_single)));
        let whole = whole.unwrap_or(exchange);
        let pieces: Vec<_> = spans.iter().filter(|span| span.parent == whole.id).collect();
        assert_eq!(pieces.len(), 3, "{spans:#?}");
        for piece in pieces {
            assert_eq!((piece.name.as_str(), &piece.trace), ("call", &whole.trace));
            assert_eq!(spans.iter().filter(|span| span.parent == piece.id && span.kind == CLIENT).count(), 1);
        }
    }
}

#[test]
fn pieces_of_a_trusted_trace_say_its_state() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let trusted = "[[listener]]\naddress = \"127.0.0.1:0\"\ntrusted = [\"127.0.0.0/8\"]";
    let sharing = format!("{BATCH}, max_items = 1 }}\n{trusted}");
    let gateway = cluster(&collector, "0%", &upstream.url(), &sharing);
    let mut client = gateway.connect();
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\ntracestate: a=b\r\n";
    client.send(embed(trace, &json!({ "model": "m", "input": ["a", "bb"] })));
    for _ in 0..2 {
        let request = upstream.accept().read_message();
        assert_eq!(traceparent(&request).0, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(request.contains("\r\ntracestate: a=b\r\n"), "{request}");
    }
}

#[test]
fn a_call_that_all_have_left_is_told_of_as_that() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let gateway = cluster(&collector, "100%", &upstream.url(), "single_flight = true");
    let mut client = gateway.connect();
    client.send(embed("", &text(4)));
    let mut up = upstream.accept();
    up.read_message();
    drop(client);
    assert!(up.read_to_end().is_empty());
    let spans = collector.spans(3);
    let (call, attempt) = call_of(&spans, 1);
    assert_eq!((call.says("http.response.status_code"), call.failed), ("", false));
    let exchange = spans.iter().find(|span| span.kind == SERVER).unwrap();
    assert_eq!((exchange.says("http.response.status_code"), exchange.says("error.type")), ("499", ""));
    assert_eq!((attempt.says("http.response.status_code"), attempt.failed), ("", false));
}

#[test]
fn who_loses_a_race_has_a_span_until_it_is_cancelled() {
    let (collector, fast, slow) = (Collector::start(), Upstream::start(), Upstream::start());
    let gateway = race(&collector, [("slow", &slow.url()), ("fast", &fast.url())]);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let (mut one, mut other) = (fast.accept(), slow.accept());
    let traces = [one.read_message(), other.read_message()].map(|request| traceparent(&request).1.to_owned());
    one.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nho");
    client.read_until("ho");
    assert!(other.read_to_end().is_empty(), "it is cancelled");
    std::thread::sleep(std::time::Duration::from_millis(80));
    one.send("me");
    client.read_until("me");
    let spans = collector.spans(3);
    let of = |id: &str| spans.iter().find(|span| span.id == id).unwrap();
    let (won, lost) = (of(&traces[0]), of(&traces[1]));
    assert_eq!((won.says("corelane.endpoint"), won.says("http.response.status_code")), (&*fast.url(), "200"));
    assert_eq!((lost.says("corelane.endpoint"), lost.says("http.response.status_code")), (&*slow.url(), ""));
    assert!(won.lasts_us >= lost.lasts_us + 70_000, "{spans:#?}");
    assert!(!won.failed && !lost.failed);
}

#[test]
fn a_client_that_leaves_a_race_leaves_the_spans_of_all_who_ran() {
    let (collector, gone, slow) = (Collector::start(), nobody(), Upstream::start());
    let gateway = race(&collector, [("slow", &slow.url()), ("gone", &gone)]);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut up = slow.accept();
    up.read_message();
    std::thread::sleep(PAUSE);
    drop(client);
    assert!(up.read_to_end().is_empty());
    let spans = collector.spans(3);
    let exchange = spans.iter().find(|span| span.kind == SERVER).unwrap();
    assert_eq!(spans.iter().filter(|span| span.parent == exchange.id && span.kind == CLIENT).count(), 2);
    assert!(spans.iter().all(|span| span.lasts_us <= exchange.lasts_us), "{spans:#?}");
    // What it waited for is no time of the gateway's own.
    let ms = |name: &str| exchange.says(&format!("corelane.{name}_ms")).parse::<f64>().unwrap();
    assert!(ms("wait") * 1000.0 >= SHOWN_US as f64, "{exchange:#?}");
    let (_, told) = gateway.admin("GET", "/slow");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap()["exchanges"][0]["attempts"], 2);
    let overhead = gateway.stats()["routes"]["race"]["overhead_us"]["max"].as_u64().unwrap();
    assert!(overhead < SHOWN_US, "{overhead}");
}

#[test]
fn a_race_without_a_winner_lasts_until_its_last_leg_is_over() {
    let (collector, breaks, refuses) = (Collector::start(), Upstream::start(), Upstream::start());
    let gateway = race(&collector, [("breaks", &breaks.url()), ("refuses", &refuses.url())]);
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let (mut one, mut other) = (breaks.accept(), refuses.accept());
    one.read_message();
    other.read_message();
    one.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    drop(one);
    std::thread::sleep(PAUSE);
    other.send("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n");
    assert!(!client.read_message().starts_with("HTTP/1.1 200 "));
    let spans = collector.spans(3);
    let exchange = spans.iter().find(|span| span.kind == SERVER).unwrap();
    assert!(exchange.lasts_us >= SHOWN_US && spans.iter().all(|span| span.lasts_us <= exchange.lasts_us));
    assert!(gateway.stats()["routes"]["race"]["T_us"]["max"].as_u64().unwrap() >= SHOWN_US);
}

#[test]
fn a_call_that_fails_is_told_as_those_are_told_for_whom_it_was_made() {
    for (sharing, gives) in [
        ("single_flight = true", "upstream_connect"),
        ("single_flight = true\ntimeout = { first_byte = \"50ms\" }", "upstream_timeout"),
        ("single_flight = true\nqueue = { max = 9, max_wait = \"50ms\" }", "queue_timeout"),
    ] {
        let (collector, upstream) = (Collector::start(), Upstream::start());
        let url = if gives == "upstream_connect" { nobody() } else { upstream.url() };
        let endpoint = match gives {
            "queue_timeout" => format!("{{ url = {url:?}, max_in_flight = 1 }}"),
            _ => format!("{url:?}"),
        };
        let rest = format!(
            "[cluster.up]\nendpoints = [{endpoint}]\nretry = {{ attempts = 1 }}\n{sharing}\n\
             [[route]]\nname = \"all\"\nmatch = {{ path = \"/v1/*\" }}\nto = \"up\"\n\
             [[route]]\nname = \"other\"\nto = \"up\"\n"
        );
        let gateway = start(&collector.url, "100%", &rest);
        let (mut other, mut taken) = (gateway.connect(), None);
        if gives == "queue_timeout" {
            other.send("GET /other HTTP/1.1\r\nhost: x\r\n\r\n");
            taken.insert(upstream.accept()).read_message();
            gateway.until("it has the place", |stats| stats["routes"]["other"]["in_flight"] == 1);
        }
        let mut client = gateway.connect();
        client.send(embed("", &text(4)));
        let status = client.read_message()[9..12].to_owned();
        let until = std::time::Instant::now() + crate::support::PATIENCE;
        let spans = loop {
            let spans = collector.some_spans();
            if spans.iter().any(|span| span.name == "POST all")
                && spans.iter().any(|span| span.name == "call")
            {
                break spans;
            }
            assert!(std::time::Instant::now() < until, "{spans:#?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        let call = spans.iter().find(|span| span.name == "call").unwrap();
        assert_eq!((call.says("http.response.status_code"), call.says("error.type")), (&*status, gives));
        assert_eq!(linked_to(call, &spans), 1, "{gives}: {spans:#?}");
    }
}

#[test]
fn a_shared_answer_that_a_clock_cuts_is_told_so_to_all() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let sharing = "single_flight = true\ntimeout = { between_bytes = \"100ms\" }";
    let gateway = cluster(&collector, "100%", &upstream.url(), sharing);
    let mut client = gateway.connect();
    client.send(embed("", &text(4)));
    let mut up = upstream.accept();
    up.read_message();
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    client.read_until("half");
    client.read_to_end();
    let spans = collector.spans(3);
    assert!(
        spans.iter().all(|span| span.failed && span.says("error.type") == "upstream_timeout"),
        "{spans:#?}"
    );
}

#[test]
fn the_copy_of_a_request_is_a_call_in_its_trace() {
    let (collector, upstream, copies) = (Collector::start(), Upstream::start(), Upstream::start());
    let gateway = start(
        &collector.url,
        "100%",
        &format!(
            "[cluster.up]\nendpoints = [{:?}]\n[cluster.copies]\nendpoints = [{:?}]\n\
             [[route]]\nname = \"all\"\nto = \"up\"\nmirror = {{ cluster = \"copies\", share = \"100%\" }}\n",
            upstream.url(),
            copies.url()
        ),
    );
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let (mut up, mut copy) = (upstream.accept(), copies.accept());
    let asked = [up.read_message(), copy.read_message()];
    for peer in [&mut up, &mut copy] {
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    }
    client.read_message();
    let spans = collector.spans(4);
    let exchange = spans.iter().find(|span| span.kind == SERVER).unwrap();
    let call = spans.iter().find(|span| span.name == "call").unwrap();
    let attempts = [&exchange.id, &call.id]
        .map(|parent| spans.iter().find(|span| span.kind == CLIENT && span.parent == *parent).unwrap());
    for (attempt, request) in attempts.iter().zip(&asked) {
        assert_eq!(traceparent(request), (attempt.trace.as_str(), attempt.id.as_str(), "01"));
    }
    assert_eq!((&call.parent, &call.trace), (&exchange.id, &exchange.trace));
}

#[test]
fn an_answer_that_breaks_off_fails_its_attempt_too() {
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let gateway = cluster(&collector, "100%", &upstream.url(), "");
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut up = upstream.accept();
    up.read_message();
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    client.read_until("half");
    drop(up);
    client.read_to_end();
    let spans = collector.spans(2);
    assert!(
        spans.iter().all(|span| span.failed && span.says("error.type") == "upstream_reset"),
        "{spans:#?}"
    );
}
