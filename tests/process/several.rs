//! One request to several clusters at once: what is told of their answers, who is cancelled, and what is counted.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{After, Gateway, Peer, Upstream, nobody};

const POST: &str = "POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";
const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-a: 1\r\nx-a: 2\r\nset-cookie: a\r\nset-cookie: b\r\n\
                    content-length: 12\r\n\r\n{\"n\":\r\n1e2}\n";
const MISSING: &str = "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\n123";
const BYTES: &str = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n\
                     2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";

/// A route to all of these endpoints, each a cluster of its own, and one to the first alone.
fn several(endpoints: &[&str], rule: &str) -> Gateway {
    filtered(endpoints, rule, ("", ""))
}

/// The same behind a filter.
fn filtered(endpoints: &[&str], rule: &str, (filter, name): (&str, &str)) -> Gateway {
    let mut config = filter.to_owned();
    let mut names = Vec::new();
    for (position, url) in endpoints.iter().enumerate() {
        config += &format!("[cluster.c{position}]\nendpoints = [{url:?}]\nretry = {{ attempts = 1 }}\n");
        names.push(format!("c{position}"));
    }
    config +=
        &format!("[[route]]\nname = \"all\"\nfanout = {{ to = {names:?}, {rule} }}\nfilters = [{name}]\n");
    Gateway::start(&config)
}

fn ask(gateway: &Gateway, request: &str) -> (String, Value) {
    let mut client = gateway.connect();
    client.send(request);
    let answer = client.read_message();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

/// Nothing is in flight any more, of the whole or of any leg.
fn rests(gateway: &Gateway) {
    let is_over = |counts: &Value| counts["in_flight"] == 0;
    gateway.until("nothing is in flight", |stats| {
        let clusters = stats["endpoints"].as_object().unwrap();
        let mut endpoints = clusters.values().flat_map(|cluster| cluster.as_object().unwrap().values());
        is_over(&stats["routes"]["all"]) && endpoints.all(is_over)
    });
}

#[test]
fn all_answers_are_told_by_their_clusters_whatever_they_are() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let good = Upstream::start().play(move |peer, request| {
        log.lock().unwrap().push(request);
        peer.send(GOOD);
        After::GoOn
    });
    let (missing, bytes) = (Upstream::start().serve(MISSING), Upstream::start().serve(BYTES));
    let gateway = several(&[&good, &missing, &bytes, &nobody()], "gather = \"all\"");
    for round in 1..=2 {
        let (head, body) = ask(&gateway, POST);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!((&body["c0"]["status"], &body["c0"]["body"]), (&200.into(), &json!({ "n": 100.0 })));
        let fields = &body["c0"]["headers"];
        assert_eq!((&fields["x-a"], &fields["set-cookie"]), (&"1, 2".into(), &json!(["a", "b"])));
        assert_eq!(fields["content-length"], Value::Null, "how it was framed is not told");
        // A number stays as it was written, and no text becomes one.
        assert_eq!((&body["c1"]["status"], &body["c1"]["body"]), (&404.into(), &"123".into()));
        assert_eq!((&body["c2"]["body"], &body["c2"]["encoding"]), (&"YWJj".into(), &"base64".into()));
        assert_eq!(body["c3"]["status"], 502);
        assert_eq!(body["c3"]["body"]["error"]["code"], "upstream_connect");
        let seen = asked.lock().unwrap();
        assert_eq!(seen.len(), round);
        assert!(seen[round - 1].ends_with("\r\n\r\nhello"), "{seen:?}");
        drop(seen);
        // Each leg is counted where it was asked, and the whole once.
        let stats = gateway.stats();
        assert_eq!(stats["routes"]["all"]["requests"], round, "{stats}");
        assert_eq!(stats["endpoints"]["c0"][&good]["requests"], round);
        assert_eq!(stats["endpoints"]["c1"][&missing]["requests"], round);
    }
    rests(&gateway);
}

#[test]
fn all_without_a_good_one_is_a_502() {
    let missing = Upstream::start().serve(MISSING);
    let gateway = several(&[&missing, &nobody()], "gather = \"all\"");
    let (head, body) = ask(&gateway, POST);
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!((&body["c0"]["status"], &body["c1"]["status"]), (&404.into(), &502.into()));
}

#[test]
fn a_leg_that_takes_too_long_counts_as_504_and_the_others_are_told() {
    let (stalled, good) = (Upstream::start(), Upstream::start().serve(GOOD));
    let gateway = several(&[&stalled.url(), &good], "gather = \"all\", timeout = \"300ms\"");
    let (head, body) = ask(&gateway, POST);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(body["c0"]["status"], 504);
    assert_eq!(body["c0"]["body"]["error"]["code"], "upstream_timeout");
    assert_eq!(body["c1"]["status"], 200);
    let mut left = stalled.accept();
    left.read_message();
    left.wait_for_end();
}

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(event: &str) -> String {
    format!("{:x}\r\n{event}\r\n", event.len())
}

/// A leg that was asked, on its own connection.
fn asked(upstream: &Upstream) -> Peer {
    let mut peer = upstream.accept();
    assert!(peer.read_message().ends_with("\r\n\r\nhello"));
    peer
}

#[test]
fn the_first_that_shows_a_token_streams_and_the_others_are_cancelled() {
    let (silent, early, winner) = (Upstream::start(), Upstream::start(), Upstream::start());
    let gateway = several(&[&silent.url(), &early.url(), &winner.url()], "gather = \"first\"");
    let mut client = gateway.connect();
    client.send(POST);
    let (mut silent, mut early, mut winner) = (asked(&silent), asked(&early), asked(&winner));
    // A comment is no token: whoever sends it has not shown anything.
    early.send(format!("{EVENTS}{}", chunk(": wait\n\n")));
    assert!(client.is_silent());
    let first = "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n";
    winner.send(format!("{EVENTS}{}{}", chunk(": hello\n\n"), chunk(first)));
    let got = client.read_until("one\"}}]}\n\n");
    assert!(got.starts_with("HTTP/1.1 200 ") && got.contains(": hello\n\n"), "from its first byte: {got}");
    silent.wait_for_end();
    early.wait_for_end();
    winner.send(format!("{}0\r\n\r\n", chunk("data: [DONE]\n\n")));
    client.read_until("0\r\n\r\n");
    // Both connections live on.
    client.send(POST);
    assert!(winner.read_message().ends_with("hello"));
    winner.send(GOOD);
    assert!(client.read_message().ends_with("1e2}\n"));
    rests(&gateway);
    let stats = gateway.stats();
    assert_eq!(
        (&stats["routes"]["all"]["requests"], &stats["routes"]["all"]["success"]),
        (&2.into(), &2.into())
    );
}

#[test]
fn with_no_good_one_the_first_failed_answer_is_told_as_it_came() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let gateway = several(&[&one.url(), &two.url(), &nobody()], "gather = \"first\"");
    let mut client = gateway.connect();
    client.send(POST);
    let (mut one, mut two) = (asked(&one), asked(&two));
    // Who does not listen failed before anybody could answer.
    one.send(MISSING);
    two.send(MISSING);
    let got = client.read_message();
    assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("upstream_connect"), "{got}");

    let (three, four) = (Upstream::start(), Upstream::start());
    let gateway = several(&[&three.url(), &four.url()], "gather = \"first\"");
    let mut client = gateway.connect();
    client.send(POST);
    let (mut three, mut four) = (asked(&three), asked(&four));
    four.send(MISSING);
    gateway.until("one has answered", |_| true);
    assert!(client.is_silent(), "the other one may be good");
    three.send("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n");
    let got = client.read_message();
    assert!(got.starts_with("HTTP/1.1 404 ") && got.ends_with("\r\n\r\n123"), "{got}");
}

#[test]
fn an_answer_that_breaks_before_it_shows_anything_is_not_the_first() {
    let (broken, good) = (Upstream::start(), Upstream::start());
    let gateway = several(&[&broken.url(), &good.url()], "gather = \"first\"");
    let mut client = gateway.connect();
    client.send(POST);
    let (mut broken, mut good) = (asked(&broken), asked(&good));
    broken.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    assert!(client.is_silent());
    drop(broken);
    good.send(GOOD);
    assert!(client.read_message().ends_with("1e2}\n"));
}

#[test]
fn a_quorum_is_told_as_soon_as_it_is_there_and_the_rest_is_cancelled() {
    let silent = Upstream::start();
    let (one, two) = (Upstream::start().serve(GOOD), Upstream::start().serve(GOOD));
    let gateway = several(&[&one, &silent.url(), &two], "gather = \"quorum\"");
    let (head, body) = ask(&gateway, POST);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["c0", "c2"]);
    asked(&silent).wait_for_end();
}

#[test]
fn a_quorum_out_of_reach_is_told_at_once_with_the_answers() {
    let silent = Upstream::start();
    let missing = Upstream::start().serve(MISSING);
    let gateway = several(&[&missing, &silent.url(), &nobody()], "gather = \"quorum\", need = 2");
    let (head, body) = ask(&gateway, POST);
    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert_eq!(body["error"]["code"], "quorum_failed");
    assert_eq!(
        (&body["answers"]["c0"]["status"], &body["answers"]["c2"]["status"]),
        (&404.into(), &502.into())
    );
    asked(&silent).wait_for_end();
}

#[test]
fn a_client_that_leaves_cancels_all_legs() {
    for rule in ["all", "first", "quorum"] {
        let (one, two) = (Upstream::start(), Upstream::start());
        let gateway = several(&[&one.url(), &two.url()], &format!("gather = \"{rule}\""));
        let mut client = gateway.connect();
        client.send(POST);
        let (mut one, mut two) = (asked(&one), asked(&two));
        two.send(format!("{EVENTS}{}", chunk(": wait\n\n")));
        drop(client);
        one.wait_for_end();
        two.wait_for_end();
        rests(&gateway);
    }
}

#[test]
fn a_large_body_goes_to_each_whole_and_one_without_room_is_refused() {
    let (one, two) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let url = |seen: &Arc<Mutex<usize>>| {
        let seen = Arc::clone(seen);
        Upstream::start().play(move |peer, request| {
            *seen.lock().unwrap() = request.len() - request.find("\r\n\r\n").unwrap() - 4;
            peer.send(GOOD);
            After::GoOn
        })
    };
    let gateway = several(&[&url(&one), &url(&two)], "gather = \"all\"");
    let body = "b".repeat(3 << 20);
    let request = format!("POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (head, _) = ask(&gateway, &request);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!((*one.lock().unwrap(), *two.lock().unwrap()), (body.len(), body.len()));
}

#[test]
fn what_filters_change_in_an_answer_they_change_in_each_leg() {
    let filter = "[filter.edit]\nkind = \"headers\"\nresponse = { remove = [\"set-cookie\"], set = { x-a = \"ours\" } }\n";
    let url = Upstream::start().serve(GOOD);
    let gateway = filtered(&[&url], "gather = \"all\"", (filter, "\"edit\""));
    let (head, body) = ask(&gateway, POST);
    assert!(head.contains("\r\nx-a: ours\r\n") || head.ends_with("\r\nx-a: ours"), "{head}");
    let fields = &body["c0"]["headers"];
    assert_eq!((&fields["x-a"], &fields["set-cookie"]), (&"ours".into(), &Value::Null), "{fields}");
}

#[test]
fn a_stream_that_ends_without_a_token_is_not_the_first() {
    let oom = "data: {\"error\":{\"message\":\"out of memory\"}}\n\n";
    for (head, body, end) in [
        (EVENTS, chunk(oom), "0\r\n\r\n"),
        (EVENTS, chunk("data: [DONE]\n\n"), "0\r\n\r\n"),
        (EVENTS, String::new(), "0\r\n\r\n"),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
            oom.to_owned(),
            "",
        ),
    ] {
        let (empty, good) = (Upstream::start(), Upstream::start());
        let gateway = several(&[&empty.url(), &good.url()], "gather = \"first\"");
        let mut client = gateway.connect();
        client.send(POST);
        let (mut empty, mut good) = (asked(&empty), asked(&good));
        empty.send(format!("{head}{body}{end}"));
        drop(empty);
        assert!(client.is_silent(), "the other one may show a token: {body}");
        good.send(GOOD);
        assert!(client.read_message().ends_with("1e2}\n"), "{body}");
        rests(&gateway);
    }
    // Where none shows any, the first is told as it came.
    let (one, two) = (Upstream::start(), Upstream::start());
    let gateway = several(&[&one.url(), &two.url()], "gather = \"first\"");
    let mut client = gateway.connect();
    client.send(POST);
    let (mut one, mut two) = (asked(&one), asked(&two));
    one.send(format!("{EVENTS}{}0\r\n\r\n", chunk(oom)));
    assert!(client.is_silent());
    two.send(format!("{EVENTS}0\r\n\r\n"));
    let got = client.read_until("0\r\n\r\n");
    assert!(got.starts_with("HTTP/1.1 200 ") && got.contains("out of memory"), "{got}");
}
