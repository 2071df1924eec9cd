//! Many requests in one: each is an exchange of its own, and the answers are told in one.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, Peer, Upstream};

/// A route that takes several in one, and one to `url` for what they ask; `keys` stand in the multi.
fn many(url: &str, keys: &str) -> Gateway {
    Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{url:?}]\n\
         [[route]]\nname = \"multi\"\nmatch = {{ path = \"/multi\" }}\nmulti = {{ {keys} }}\n\
         [[route]]\nname = \"all\"\nmatch = {{ path = \"/v1/*\" }}\nto = \"up\"\n\
         [[route]]\nname = \"ping\"\nmatch = {{ path = \"/ping\" }}\nrespond = {{ body = \"pong\" }}\n"
    ))
}

/// An endpoint that answers each request with its own path, headers aside, and body.
fn echo() -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let url = Upstream::start().play(move |peer, request| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let answer =
            format!("{{\"path\":\"{path}\",\"body\":{}}}", if body.is_empty() { "null" } else { body });
        log.lock().unwrap().push(request.clone());
        peer.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        ));
        After::GoOn
    });
    (url, seen)
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /multi HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

/// The head, and the body without its chunks.
fn answer(client: &mut Peer) -> (String, String) {
    let message = client.try_message().unwrap();
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn ask(gateway: &Gateway, request: &str) -> (String, Value) {
    let mut client = gateway.connect();
    client.send(request);
    let (head, body) = answer(&mut client);
    (head, serde_json::from_str(&body).unwrap_or_else(|_| body.into()))
}

#[test]
fn each_element_takes_its_own_way_and_the_answers_keep_their_order() {
    let (url, seen) = echo();
    let gateway = many(&url, "");
    let body = "[{\"id\":\"a\",\"path\":\"/v1/x\",\"body\":{\"n\": 1E400}},\n{\"id\":2,\"path\":\"/ping\"},\
                {\"path\":\"/nowhere\"},{\"id\":\"m\",\"path\":\"/multi\",\"body\":[]},{\"id\":null},3]";
    let mut client = gateway.connect();
    for round in 1..=2 {
        client.send(post("authorization: Bearer mine\r\n", body));
        let (head, told) = answer(&mut client);
        assert!(
            head.starts_with("HTTP/1.1 200 ") && head.contains("\r\ncontent-type: application/json"),
            "{head}"
        );
        // A number that no float can hold comes back as it was written.
        assert!(
            told.starts_with("[{\"id\":\"a\",\"status\":200,") && told.contains("{\"n\": 1E400}"),
            "{told}"
        );
        let told: Vec<Value> = serde_json::from_str(&told.replace("1E400", "1")).unwrap();
        let short: Vec<_> =
            told.iter().map(|one| json!([one["id"], one["status"], one["body"]["error"]["code"]])).collect();
        assert_eq!(
            short,
            [
                json!(["a", 200, null]),
                json!([2, 200, null]),
                json!([null, 404, "route_not_found"]),
                json!(["m", 400, "invalid_body"]),
                json!([null, 400, "invalid_body"]),
                json!([null, 400, "invalid_body"]),
            ]
        );
        assert_eq!((&told[1]["body"], &told[0]["body"]["path"]), (&"pong".into(), &"/v1/x".into()));
        // The id of each is that of the whole, with its place.
        let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
        assert_eq!(told[0]["headers"]["x-request-id"], format!("{id}-0"));
        let requests = seen.lock().unwrap();
        assert_eq!(requests.len(), round);
        assert!(requests[round - 1].contains("\r\nauthorization: Bearer mine\r\n"), "{requests:?}");
        drop(requests);
        let stats = gateway.stats();
        assert_eq!(
            stats["routes"]["multi"]["requests"],
            round * 2,
            "the whole, and the one that is one itself"
        );
        assert_eq!(stats["routes"]["all"]["requests"], round);
        assert_eq!(stats["endpoints"]["up"][&url]["requests"], round);
    }
}

#[test]
fn what_is_no_envelope_or_too_many_is_refused_as_a_whole_and_nothing_is_asked() {
    let (url, seen) = echo();
    let gateway = many(&url, "max = 2, lines = 2");
    let element = "{\"path\":\"/v1/x\"}";
    for (body, code) in [
        (format!("[{element},{element},{element}]"), "too_many_requests_in_one"),
        (element.to_owned(), "invalid_body"),
        (format!("[{element}"), "invalid_body"),
        (format!("[{element}] {element}"), "invalid_body"),
        (String::new(), "invalid_body"),
    ] {
        let (head, told) = ask(&gateway, &post("", &body));
        assert!(head.starts_with("HTTP/1.1 400 "), "{body}: {head}");
        assert_eq!(told["error"]["code"], code, "{body}");
    }
    let lines = "{\"url\":\"/v1/x\"}\n".repeat(3);
    let (head, told) = ask(&gateway, &post("content-type: application/jsonl\r\n", &lines));
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(told["error"]["code"], "too_many_requests_in_one");
    for method in ["GET", "HEAD", "PUT"] {
        let mut client = gateway.connect();
        client.send(post("", "[]").replace("POST", method));
        let head = client.read_until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 405 ") && head.contains("\r\nallow: POST"), "{method}: {head}");
        if method == "HEAD" {
            assert!(client.is_silent(), "a head is all that is told");
        }
    }
    let (head, _) = ask(&gateway, &post("content-encoding: gzip\r\n", "[]"));
    assert!(head.starts_with("HTTP/1.1 415 "), "{head}");
    assert!(seen.lock().unwrap().is_empty());
    assert_eq!(ask(&gateway, &post("", "[]")).1, json!([]));
}

#[test]
fn lines_are_told_as_they_finish_where_that_is_accepted() {
    let upstream = Upstream::start();
    let gateway = many(&upstream.url(), "");
    let mut client = gateway.connect();
    let body = "[{\"id\":\"slow\",\"path\":\"/v1/x\"},{\"id\":\"quick\",\"path\":\"/ping\"}]";
    client.send(post("accept: application/x-ndjson\r\n", body));
    let got = client.read_until("\"pong\"}\n\r\n");
    assert!(got.contains("{\"id\":\"quick\",\"status\":200,") && !got.contains("slow"), "{got}");
    assert!(got.contains("\r\ncontent-type: application/x-ndjson\r\n"), "{got}");
    let mut peer = upstream.accept();
    peer.read_message();
    peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n9\r\ndata: a\n\n\r\n0\r\n\r\n");
    let got = client.read_until("0\r\n\r\n");
    // A stream is collected.
    assert!(
        got.contains("{\"id\":\"slow\",\"status\":200,") && got.contains("\"body\":\"data: a\\n\\n\"}\n"),
        "{got}"
    );
}

#[test]
fn a_batch_file_is_answered_line_by_line_in_order_while_it_is_still_being_sent() {
    let (url, _) = echo();
    let gateway = many(&url, "in_flight = 2");
    let mut client = gateway.connect();
    client.send("POST /multi HTTP/1.1\r\nhost: x\r\ncontent-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n");
    let line = |number: usize| {
        format!(
            "{{\"custom_id\":\"r{number}\",\"method\":\"POST\",\"url\":\"/v1/x\",\"body\":{{\"n\":{number}}}}}\n"
        )
    };
    for number in 0..20 {
        let line = line(number);
        // Each in two chunks, and a blank line between.
        let (first, second) = line.split_at(7);
        client.send(format!("7\r\n{first}\r\n{:x}\r\n{second}\n\r\n", second.len() + 1));
        let got = client.read_until(&format!("\"body\":{{\"n\":{number}}}}}}},\"error\":null}}\n"));
        assert!(
            got.contains(&format!(
                "\"custom_id\":\"r{number}\",\"response\":{{\"status_code\":200,\"request_id\":\""
            )),
            "{got}"
        );
        assert!(got.contains("{\"id\":\"batch_req_"), "{got}");
    }
    // The last line needs no end, and one that is no request says so.
    client.send("b\r\n{\"url\":\"no\"\r\n1\r\n}\r\n0\r\n\r\n");
    let got = client.read_until("0\r\n\r\n");
    assert!(got.contains("\"response\":null,\"error\":{\"code\":\"invalid_body\""), "{got}");
    client.send("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.read_message().ends_with("pong"), "the connection lives on");
}

#[test]
fn no_more_are_at_work_at_once_than_allowed() {
    let upstream = Upstream::start();
    let gateway = many(&upstream.url(), "in_flight = 2");
    let mut client = gateway.connect();
    let element = "{\"path\":\"/v1/x\"}";
    client.send(post("", &format!("[{}]", [element; 4].join(","))));
    let (mut one, mut two) = (upstream.accept(), upstream.accept());
    one.read_message();
    two.read_message();
    assert!(!upstream.has_waiting());
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1";
    one.send(ok);
    one.read_message();
    two.send(ok);
    two.read_message();
    one.send(ok);
    two.send(ok);
    assert_eq!(answer(&mut client).1.matches("\"status\":200").count(), 4);
}

#[test]
fn an_answer_past_what_may_be_held_is_its_own_502() {
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n{}", "a".repeat(3000));
    let url = Upstream::start().serve(Box::leak(large.into_boxed_str()));
    let gateway = many(&url, "answers = \"2KiB\"");
    let (_, told) = ask(&gateway, &post("", "[{\"path\":\"/v1/x\"},{\"path\":\"/ping\"}]"));
    assert_eq!((&told[0]["status"], &told[1]["status"]), (&502.into(), &200.into()));
    assert_eq!(told[0]["body"]["error"]["code"], "answer_too_large");
}

#[test]
fn an_element_is_under_its_own_filters_limits_and_the_body_limit_of_its_route() {
    let (url, seen) = echo();
    let keys = KeysFile::new(&(entry("good", "rpm = 2\n") + &entry("bad", "routes = [\"multi\"]\n")));
    let gateway = Gateway::start(&format!(
        "{}[cluster.up]\nendpoints = [{url:?}]\n[[route]]\nname = \"multi\"\nmatch = {{ path = \"/multi\" }}\nmulti = {{}}\n\
         [[route]]\nname = \"all\"\nmatch = {{ path = \"/v1/*\" }}\nto = \"up\"\nfilters = [\"keys\"]\nbody = \"20B\"\n",
        keys.filter()
    ));
    let element = "{\"path\":\"/v1/x\"}";
    let statuses = |fields: &str, elements: &[&str]| -> Vec<u64> {
        let told = ask(&gateway, &post(fields, &format!("[{}]", elements.join(",")))).1;
        told.as_array().unwrap().iter().map(|one| one["status"].as_u64().unwrap()).collect()
    };
    assert_eq!(statuses("", &[element]), [401]);
    let own = "{\"path\":\"/v1/x\",\"headers\":{\"x-api-key\":\"sk-good\"}}";
    let long = format!("{{\"path\":\"/v1/x\",\"body\":\"{}\"}}", "b".repeat(30));
    // The outer credential is for nothing else; each element may bring its own, and is under its limit.
    assert_eq!(statuses("x-api-key: sk-bad\r\n", &[element, own]), [403, 200]);
    assert_eq!(statuses("x-api-key: sk-good\r\n", &[&long, element, element]), [413, 200, 429]);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[test]
fn a_client_that_leaves_cancels_all_elements() {
    let upstream = Upstream::start();
    let gateway = many(&upstream.url(), "");
    let mut client = gateway.connect();
    client.send(post("", "[{\"path\":\"/v1/x\"},{\"path\":\"/v1/y\"}]"));
    let (mut one, mut two) = (upstream.accept(), upstream.accept());
    one.read_message();
    two.read_message();
    drop(client);
    one.wait_for_end();
    two.wait_for_end();
    gateway.until("all are booked", |stats| {
        stats["routes"]["all"]["client_closed"] == 2
            && stats["routes"]["all"]["in_flight"] == 0
            && stats["routes"]["multi"]["client_closed"] == 1
    });
}

#[test]
fn an_element_cannot_say_who_sends_it() {
    let (url, seen) = echo();
    let gateway = many(&url, "");
    let _ = ask(
        &gateway,
        &post(
            "",
            "[{\"path\":\"/v1/x\",\"headers\":{\"x-forwarded-for\":\"10.1.1.1\",\"X-Request-Id\":\"mine\",\"via\":\"1.1 none\"}}]",
        ),
    );
    let seen = seen.lock().unwrap();
    let head = seen[0].to_ascii_lowercase();
    assert!(head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{head}");
    assert!(!head.contains("10.1.1.1") && !head.contains("mine") && !head.contains("none"), "{head}");
}

#[test]
fn the_head_of_an_element_is_under_the_limit_of_heads() {
    let (url, seen) = echo();
    let gateway = Gateway::start(
        &std::fs::read_to_string(&many(&url, "").config)
            .unwrap()
            .replace("[cluster.up]", "[limits]\nhead = \"8KiB\"\n[cluster.up]"),
    );
    let long = "x".repeat(8 << 10);
    let (_, told) = ask(
        &gateway,
        &post(
            "",
            &format!("[{{\"path\":\"/v1/x\",\"headers\":{{\"x-long\":\"{long}\"}}}},{{\"path\":\"/v1/y\"}}]"),
        ),
    );
    assert_eq!(
        (&told[0]["status"], &told[0]["body"]["error"]["code"]),
        (&431.into(), &"head_too_large".into())
    );
    assert_eq!(told[1]["status"], 200);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn a_file_may_begin_with_a_mark_and_what_is_no_request_is_told_in_words() {
    let (url, _) = echo();
    let gateway = many(&url, "");
    let file = "\u{feff}{\"custom_id\":\"a\",\"url\":\"/v1/x\"}\n[1]\n";
    let request = post("content-type: application/jsonl\r\n", file);
    let mut client = gateway.connect();
    client.send(request);
    let (_, body) = answer(&mut client);
    let mut lines = body.lines();
    assert!(lines.next().unwrap().contains("\"status_code\":200"), "{body}");
    let second = lines.next().unwrap();
    assert!(second.contains("invalid_body") && !second.contains("Written"), "{body}");
}
