//! One that waits for its turn and asked for a stream is told so, in an answer that has begun.

use serde_json::{Value, json};

use crate::support::{Gateway, OK, Peer, Upstream, fresh_path};

/// The comment, as a chunk.
const WAITING: &str = "b\r\n: waiting\n\n\r\n";

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-engine: 1\r\ncontent-length: 13\r\n\r\ndata: hello\n\n";

const STREAM: &str = r#"{"messages":[{"content":"hi"}],"stream":true}"#;

fn start(upstream: &Upstream, queue: &str) -> Gateway {
    Gateway::start(&config(upstream, queue))
}

fn config(upstream: &Upstream, queue: &str) -> String {
    format!(
        "[server]\nlanes = 1\n[limits]\nbuffered = \"16MiB\"\nbody = \"8MiB\"\n[cluster.up]\nendpoints = [{{ url = {:?}, max_in_flight = 1 }}]\nqueue = {{ {queue} }}\n\
         [[route]]\nname = \"all\"\nto = \"up\"\n",
        upstream.url()
    )
}

/// One that has the only place: its client, and what the endpoint has of it.
fn occupy(gateway: &Gateway, upstream: &Upstream) -> (Peer, Peer) {
    let mut client = gateway.connect();
    client.send(post("/first", "{}"));
    let mut server = upstream.accept();
    server.read_until("{}");
    (client, server)
}

/// One that asks for a stream and waits, and was told so.
fn wait(gateway: &Gateway, path: &str) -> Peer {
    let mut client = gateway.connect();
    client.send(post(path, STREAM));
    client.read_until(WAITING);
    client
}

/// The one that has the place is answered, and gives it to the next.
fn make_room(first: &mut Peer, server: &mut Peer) {
    server.send(OK);
    assert!(first.read_message().ends_with("ok"));
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// What the events say that came behind the comments, in an answer that breaks off.
fn error_of(answer: &str) -> Value {
    let event = answer.split("data: ").nth(1).unwrap_or_else(|| panic!("no event in {answer:?}"));
    serde_json::from_str(event.split('\n').next().unwrap()).unwrap()
}

#[test]
fn a_stream_that_waits_begins_with_comments_and_goes_on_with_its_answer() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "comments = \"150ms\"");
    let (mut first, mut server) = occupy(&gateway, &upstream);
    let mut client = gateway.connect();
    client.send(post("/second", STREAM));
    let head = client.read_until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"), "{head}");
    assert!(
        head.contains("\r\nx-request-id: ") && head.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{head}"
    );
    for _ in 0..3 {
        client.read_until(WAITING);
    }
    make_room(&mut first, &mut server);
    let request = server.read_message();
    assert!(request.starts_with("POST /second ") && request.ends_with(STREAM), "{request}");
    // Interim answers have no place behind a head.
    server.send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
    server.send(EVENTS);
    let rest = client.read_until("0\r\n\r\n");
    assert!(rest.ends_with("d\r\ndata: hello\n\n\r\n0\r\n\r\n"), "{rest}");
    assert!(!rest.contains("x-engine") && !rest.contains("103"), "{rest}");
    // The connection lives on.
    client.send(post("/third", "{}"));
    assert!(server.read_until("{}").starts_with("POST /third "));
    server.send(OK);
    assert!(client.read_message().ends_with("ok"));
    let route = &gateway.stats()["routes"]["all"];
    assert_eq!((&route["requests"], &route["S"]), (&json!(3), &json!(1.0)), "{route}");
}

#[test]
fn nobody_else_is_told() {
    let upstream = Upstream::start();
    for (queue, body) in [
        ("comments = \"150ms\"", r#"{"messages":[],"stream":false}"#),
        ("comments = \"150ms\"", r#"{"metadata":{"stream":true}}"#),
        ("comments = \"150ms\"", "[true]"),
        ("comments = \"150ms\"", "no JSON"),
        ("", STREAM),
    ] {
        let gateway = start(&upstream, queue);
        let (mut first, mut server) = occupy(&gateway, &upstream);
        let mut client = gateway.connect();
        client.send(post("/second", body));
        for _ in 0..2 {
            assert!(client.is_silent(), "{queue} {body}");
        }
        make_room(&mut first, &mut server);
        assert!(server.read_message().ends_with(body));
        server.send("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok");
        let answer = client.read_message();
        assert!(answer.starts_with("HTTP/1.1 201") && answer.ends_with("ok"), "{answer}");
    }
}

#[test]
fn what_is_refused_then_is_an_event_and_a_visible_break() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "comments = \"150ms\", max_wait = \"700ms\"");
    let (mut first, mut server) = occupy(&gateway, &upstream);
    let mut client = gateway.connect();
    client.send(post("/late", STREAM));
    let (late, clean) = client.read_to_any_end();
    assert!(clean && late.matches(": waiting").count() >= 2 && !late.ends_with("0\r\n\r\n"), "{late}");
    assert_eq!(error_of(&late)["error"]["code"], "queue_timeout", "{late}");
    // A reset ends it where nothing else shows a break.
    let mut old = gateway.connect();
    old.send(post("/old", STREAM).replace("HTTP/1.1", "HTTP/1.0"));
    let (late, clean) = old.read_to_any_end();
    assert!(!clean && late.contains("\r\n\r\n: waiting\n\n: waiting\n\n"), "{late}");
    assert!(!late.contains("transfer-encoding"), "{late}");
    make_room(&mut first, &mut server);
}

#[test]
fn another_answer_than_a_stream_is_told_as_an_error() {
    let upstream = Upstream::start();
    let log = fresh_path("comments.log");
    let observe = format!("[observe]\naccess_log = {{ to = {log:?}, format = \"{{path}} {{status}}\" }}\n");
    let gateway = Gateway::start(&(config(&upstream, "comments = \"150ms\"") + &observe));
    let (mut first, mut server) = occupy(&gateway, &upstream);
    for (answer, error) in [
        (
            "HTTP/1.1 400 Bad\r\ncontent-type: application/json\r\nx-engine: 1\r\ncontent-length: 45\r\n\r\n{\"error\": {\n\"message\": \"too long\", \"code\":7}}",
            json!({"error": {"message": "too long", "code": 7}}),
        ),
        (
            "HTTP/1.1 429 Too Many\r\ncontent-length: 21\r\n\r\n{\"detail\":\"too much\"}",
            json!("rate_limited"),
        ),
        ("HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\nOOM!", json!("upstream_invalid")),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            json!("upstream_invalid"),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
            json!("upstream_invalid"),
        ),
    ] {
        let mut client = wait(&gateway, "/second");
        make_room(&mut first, &mut server);
        server.read_message();
        server.send(answer);
        let (told, clean) = client.read_to_any_end();
        assert!(clean && !told.ends_with("0\r\n\r\n") && !told.contains("x-engine"), "{told}");
        let said = error_of(&told);
        match error.is_string() {
            true => assert_eq!(said["error"]["code"], error, "{told}"),
            false => assert_eq!(said, error, "{told}"),
        }
        // Nothing is wrong with the endpoint's connection, and the place is free.
        first.send(post("/next", "{}"));
        assert!(server.read_until("{}").starts_with("POST /next "), "{answer}");
    }
    // What its client was told, whatever the endpoint said.
    gateway.until("all are logged", |_| {
        std::fs::read_to_string(&log).unwrap().matches("/second 200\n").count() == 5
    });
    let _ = std::fs::remove_file(log);
}

#[test]
fn what_breaks_off_behind_comments_is_cut() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "comments = \"150ms\"");
    let (mut first, mut server) = occupy(&gateway, &upstream);
    let mut client = wait(&gateway, "/second");
    make_room(&mut first, &mut server);
    server.read_message();
    server
        .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99\r\n\r\ndata: 1\n\n");
    client.read_until("data: 1\n\n\r\n");
    drop(server);
    assert_eq!(client.read_to_any_end().0, "");
}

#[test]
fn the_member_is_looked_for_in_long_and_slow_bodies_and_both_go_upstream_whole() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "comments = \"150ms\" }\nretry = { replay = \"1KiB\"");
    let prompt = "x".repeat(3 << 20);
    // Room that is not given back would be gone soon.
    for chunked in [false, true].repeat(4) {
        let (mut first, mut server) = occupy(&gateway, &upstream);
        let mut client = gateway.connect();
        let body = format!("{{\"prompt\":\"{prompt}\",\"stream\":true}}");
        let head = match chunked {
            true => "transfer-encoding: chunked".to_owned(),
            false => format!("expect: 100-continue\r\ncontent-length: {}", body.len()),
        };
        client.send(format!("POST /long HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n"));
        if !chunked {
            assert_eq!(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        }
        let (start, end) = body.split_at(body.len() - 7);
        let chunk =
            |text: &str| if chunked { format!("{:x}\r\n{text}\r\n", text.len()) } else { text.to_owned() };
        client.send(chunk(start));
        assert!(client.is_silent());
        client.send(chunk(end) + if chunked { "0\r\n\r\n" } else { "" });
        client.read_until(WAITING);
        make_room(&mut first, &mut server);
        assert!(server.try_message().unwrap().ends_with(&body));
        server.send(EVENTS);
        client.read_until("data: hello\n\n\r\n0\r\n\r\n");
    }
}

/// It kept all of the room that its body would have taken until more of that came.
#[test]
fn one_whose_turn_comes_before_it_said_what_it_asks_for_gives_room_back() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "comments = \"150ms\"");
    let (mut first, mut server) = occupy(&gateway, &upstream);
    let mut slow = gateway.connect();
    slow.send("POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 3500000\r\n\r\n{\"prompt\":\"");
    assert!(slow.is_silent());
    make_room(&mut first, &mut server);
    assert!(server.read_until("prompt").starts_with("POST /slow "));
    let mut long = gateway.connect();
    long.send(post("/long", &format!("{{\"prompt\":\"{}\",\"stream\":true}}", "x".repeat(3 << 20))));
    long.read_until(WAITING);
}

#[test]
fn who_leaves_while_it_is_told_frees_its_place_and_a_broken_body_is_refused() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "comments = \"150ms\"");
    let (mut first, mut server) = occupy(&gateway, &upstream);
    drop(wait(&gateway, "/leaves"));
    let mut breaks = gateway.connect();
    breaks.send("POST /breaks HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}zz\r\n");
    let refused = breaks.read_message();
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    let mut stays = wait(&gateway, "/stays");
    make_room(&mut first, &mut server);
    assert!(server.read_message().starts_with("POST /stays "));
    server.send(EVENTS);
    stays.read_until("0\r\n\r\n");
    gateway.until("nobody waits", |stats| {
        stats["endpoints"]["up"]
            .as_object()
            .unwrap()
            .values()
            .all(|one| one["queued"] == 0 && one["in_flight"] == 0)
    });
}

#[test]
fn the_answer_to_head_has_no_comments() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "comments = \"150ms\"");
    let (mut first, mut server) = occupy(&gateway, &upstream);
    let mut client = gateway.connect();
    client.send(post("/second", STREAM).replacen("POST", "HEAD", 1));
    for _ in 0..2 {
        assert!(client.is_silent());
    }
    make_room(&mut first, &mut server);
    assert!(server.read_until(STREAM).starts_with("HEAD /second "));
    server.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
    assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 200 "));
    // What follows is the next answer and nothing else.
    client.send(post("/third", "{}"));
    server.read_until("{}");
    server.send(OK);
    let answer = client.read_message();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
}

#[test]
fn what_waited_and_went_nowhere_is_not_mirrored() {
    let (upstream, shadow) = (Upstream::start(), Upstream::start());
    let queue = "max_wait = \"400ms\", comments = \"100ms\"";
    let config = config(&upstream, queue)
        + &format!(
            "mirror = {{ cluster = \"shadow\", share = \"100%\" }}\n[cluster.shadow]\nendpoints = [{:?}]\n",
            shadow.url()
        );
    let gateway = Gateway::start(&config);
    let (_first, _server) = occupy(&gateway, &upstream);
    drop(shadow.accept());
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(300_000));
    for body in ["{}", STREAM, &long] {
        let mut client = gateway.connect();
        client.send(post("/second", body));
        client.read_until("queue_timeout");
        let mut left = gateway.connect();
        left.send(post("/third", body));
        assert!(left.is_silent() || body == STREAM);
        drop(left);
    }
    gateway.until("all are over", |stats| stats["clusters"]["shadow"]["mirror"]["skipped"] == 6);
    assert!(!shadow.has_waiting());
    assert_eq!(gateway.stats()["clusters"]["shadow"]["mirror"]["sent"], 0);
}
