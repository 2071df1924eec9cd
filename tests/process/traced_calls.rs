//! What collectors are told of calls that are made for several, and of several calls for one.

use corelane::control::otlp::{CLIENT, INTERNAL, SERVER};
use serde_json::json;

use crate::batching::{answer, body, embed, gather, text, vectors};
use crate::support::{After, Gateway, Upstream};
use crate::tracing::{Collector, Told, start, traceparent};

fn cluster(collector: &Collector, share: &str, url: &str, sharing: &str) -> Gateway {
    let rest = format!(
        "[cluster.up]\nendpoints = [{url:?}]\nretry = {{ attempts = 1 }}\n{sharing}\n[[route]]\nname = \"all\"\nto = \"up\"\n"
    );
    start(&collector.url, share, &rest)
}

const BATCH: &str = "batch = { protocol = \"openai-embeddings\", max_wait = \"30s\"";

/// The call that was made for others, its attempt, and those who link to it.
fn call_of(spans: &[Told], members: usize) -> (&Told, &Told) {
    let call = spans.iter().find(|span| span.name == "call").unwrap();
    assert_eq!((call.kind, call.parent.as_str()), (INTERNAL, ""));
    let attempt = spans.iter().find(|span| span.parent == call.id).unwrap();
    assert_eq!((attempt.kind, &attempt.trace), (CLIENT, &call.trace));
    let link = [(call.trace.clone(), call.id.clone())];
    let linked: Vec<_> = spans.iter().filter(|span| span.kind == SERVER && span.links == link).collect();
    assert_eq!(linked.len(), members, "{spans:#?}");
    assert!(linked.iter().all(|one| one.trace != call.trace), "it is a trace of its own");
    (call, attempt)
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
        // Three exchanges, the attempt of the first or its call, and three calls with an attempt each.
        let is_single = sharing.contains("single_flight");
        let spans = collector.spans(3 + if is_single { 2 } else { 1 } + 6);
        let members: Vec<_> =
            spans.iter().filter(|span| span.kind == SERVER && span.links.len() == 2).collect();
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
    let (collector, upstream) = (Collector::start(), Upstream::start());
    let url = upstream.play(|peer, request| {
        peer.send(vectors(&request));
        After::GoOn
    });
    let gateway = cluster(&collector, "100%", &url, &format!("{BATCH}, max_items = 2 }}"));
    let mut client = gateway.connect();
    client.send(embed("", &json!({ "model": "m", "input": ["a", "bb", "ccc", "dddd", "eeeee"] })));
    assert_eq!(body(&client.read_message())["data"].as_array().unwrap().len(), 5);
    let spans = collector.spans(7);
    let exchange = spans.iter().find(|span| span.kind == SERVER).unwrap();
    assert!(exchange.links.is_empty() && spans.iter().all(|span| span.trace == exchange.trace));
    let calls: Vec<_> = spans.iter().filter(|span| span.name == "call").collect();
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert_eq!(call.parent, exchange.id);
        assert_eq!(spans.iter().filter(|span| span.parent == call.id && span.kind == CLIENT).count(), 1);
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
    assert_eq!((call.says("http.response.status_code"), call.failed), ("499", false));
    assert_eq!((attempt.says("http.response.status_code"), attempt.failed), ("", false));
}

#[test]
fn who_loses_a_race_has_a_span_until_it_is_cancelled() {
    let (collector, fast, slow) = (Collector::start(), Upstream::start(), Upstream::start());
    let gateway = start(
        &collector.url,
        "100%",
        &format!(
            "[cluster.fast]\nendpoints = [{:?}]\n[cluster.slow]\nendpoints = [{:?}]\n\
             [[route]]\nname = \"race\"\nfanout = {{ to = [\"slow\", \"fast\"], gather = \"first\" }}\n",
            fast.url(),
            slow.url()
        ),
    );
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
