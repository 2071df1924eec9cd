//! Requests that are answered by one call, and answers that are kept: who is told what, and who never is.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, Peer, Upstream};

fn sharing(url: &str, keys: &str) -> Gateway {
    Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{url:?}]\n{keys}\n[[route]]\nname = \"all\"\nto = \"up\"\n"
    ))
}

fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

fn embed(fields: &str, body: &str) -> String {
    post("/v1/embeddings", fields, body)
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: mine\r\nx-request-id: theirs\r\n\
                      x-model: m\r\ncontent-length: 14\r\n\r\n{\"data\":[1.0]}";

/// An endpoint that counts what it is asked, and answers so.
fn counting(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let url = Upstream::start().play(move |peer, request| {
        log.lock().unwrap().push(request);
        peer.send(answer);
        After::GoOn
    });
    (url, seen)
}

fn ask(gateway: &Gateway, request: &str) -> String {
    let mut client = gateway.connect();
    client.send(request);
    client.read_message()
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

#[test]
fn a_thousand_same_questions_on_all_lanes_make_one_call() {
    let upstream = Upstream::start();
    let gateway = sharing(&upstream.url(), "single_flight = true");
    let mut clients: Vec<Peer> = Vec::new();
    for number in 0..1000 {
        let mut client = gateway.connect();
        // White space, the order of keys, escapes and numerals make no difference.
        client.send(match number % 3 {
            0 => embed("", "{\"model\":\"m\",\"input\":\"aé\",\"n\":10}"),
            1 => embed("", "{ \"input\" : \"\\u0061\\u00e9\", \"n\": 1e1, \"model\":\"m\" }"),
            _ => embed("user-agent: other\r\n", "{\"n\":10.0,\"model\":\"m\",\"input\":\"aé\"}"),
        });
        clients.push(client);
    }
    let mut peer = upstream.accept();
    let request = peer.read_message();
    gateway.until("all of them wait", |stats| stats["routes"]["all"]["in_flight"] == 1000);
    assert!(!upstream.has_waiting(), "one call is made");
    // It carries nothing of anybody that was not compared.
    assert!(!request.contains("user-agent") && !request.contains("x-forwarded-for"), "{request}");
    assert!(request.contains("\r\nx-request-id: ") && request.contains("\r\ntraceparent: "), "{request}");
    peer.send(ANSWER);
    let mut ids = std::collections::HashSet::new();
    for client in &mut clients {
        let answer = client.read_message();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n{\"data\":[1.0]}"),
            "{answer}"
        );
        assert_eq!((field(&answer, "set-cookie"), field(&answer, "x-model")), (None, Some("m")));
        assert!(ids.insert(field(&answer, "x-request-id").unwrap().to_owned()), "each has its own id");
    }
    assert!(!ids.contains("theirs"));
    assert_eq!(gateway.endpoint(&upstream.url())["requests"], 1);
    assert_eq!(gateway.stats()["clusters"]["up"]["shared"], 999);
    let metrics = gateway.admin("GET", "/metrics").1;
    assert!(metrics.contains("\ncorelane_shared_total{cluster=\"up\"} 999\n"), "{metrics}");
    // The next one asks anew, on a connection of its own lane, which may be another one.
    let again = Upstream::start().serve(ANSWER);
    let other = sharing(&again, "single_flight = true");
    for _ in 0..2 {
        ask(&other, &embed("", "{\"model\":\"m\",\"input\":\"aé\",\"n\":10}"));
    }
    assert_eq!(other.endpoint(&again)["requests"], 2);
}

#[test]
fn who_asks_as_somebody_else_or_for_something_else_asks_alone() {
    let upstream = Upstream::start();
    let gateway = sharing(&upstream.url(), "single_flight = true");
    let body = "{\"model\":\"m\",\"input\":\"a\"}";
    let requests = [
        embed("", body),
        embed("authorization: Bearer one\r\n", body),
        embed("authorization: Bearer two\r\n", body),
        embed("x-api-key: one\r\n", body),
        embed("cookie: one\r\n", body),
        embed("accept: text/plain\r\n", body),
        embed("openai-project: p\r\n", body),
        embed("", "{\"model\":\"m\",\"input\":\"a \"}"),
        embed("", "{\"model\":\"m\",\"input\":\"a\",\"user\":null}"),
        embed("", "{\"model\":\"m\",\"input\":\"a\",\"input\":\"a\"}"),
        embed("content-encoding: gzip\r\n", body),
        post("/v1/embeddings?a", "", body),
        post("/v1/chat/completions", "", "{\"temperature\":0}"),
        post("/v1/chat/completions", "", "{\"temperature\":0.1}"),
        post("/v1/chat/completions", "", "{\"temperature\":0,\"tools\":[]}"),
        post("/v1/chat/completions", "", "{\"temperature\":0,\"n\":2}"),
    ];
    let mut clients: Vec<_> = requests
        .iter()
        .map(|request| {
            let mut client = gateway.connect();
            client.send(request);
            client
        })
        .collect();
    // Each is asked, whatever else is under way; and is told its own answer.
    let mut calls: Vec<_> = (0..requests.len()).map(|_| upstream.accept()).collect();
    for call in &mut calls {
        let request = call.read_message();
        let credential =
            ["authorization", "x-api-key", "cookie"].map(|name| field(&request, name).unwrap_or("none"));
        let told = credential.join(",");
        call.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{told}", told.len()));
    }
    for (client, request) in clients.iter_mut().zip(&requests) {
        let own = ["authorization", "x-api-key", "cookie"].map(|name| field(request, name).unwrap_or("none"));
        assert!(client.read_message().ends_with(&format!("\r\n\r\n{}", own.join(","))), "{request}");
    }
}

#[test]
fn names_of_keys_tell_clients_apart_and_not_their_credentials() {
    let (url, seen) = counting(ANSWER);
    let keys = KeysFile::new(&(entry("one", "") + &entry("two", "")));
    let gateway = Gateway::start(&format!(
        "{}[cluster.up]\nendpoints = [{url:?}]\ncache = {{}}\n[[route]]\nname = \"all\"\nto = \"up\"\nfilters = [\"keys\"]\n",
        keys.filter()
    ));
    let body = "{\"input\":\"a\"}";
    let result = |fields: &str| field(&ask(&gateway, &embed(fields, body)), "x-cache").unwrap().to_owned();
    assert_eq!(result("x-api-key: sk-one\r\n"), "miss");
    assert_eq!(result("authorization: Bearer sk-one\r\n"), "hit");
    assert_eq!(result("x-api-key: sk-two\r\n"), "miss");
    assert_eq!(seen.lock().unwrap().len(), 2);
    assert!(!seen.lock().unwrap()[0].contains("sk-"), "a credential that was for us goes nowhere");
}

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(event: &str) -> String {
    format!("{:x}\r\n{event}\r\n", event.len())
}

#[test]
fn a_stream_is_shared_as_it_arrives_whoever_leaves_and_the_last_one_cancels() {
    let upstream = Upstream::start();
    let gateway = sharing(&upstream.url(), "single_flight = true");
    let request = post("/v1/chat/completions", "", "{\"temperature\":0,\"stream\":true}");
    let mut first = gateway.connect();
    first.send(&request);
    let mut call = upstream.accept();
    call.read_message();
    call.send(format!("{EVENTS}{}", chunk("data: one\n\n")));
    first.read_until("data: one\n\n");
    // Who comes later is told from the beginning.
    let (mut second, mut third) = (gateway.connect(), gateway.connect());
    second.send(&request);
    third.send(&request);
    second.read_until("data: one\n\n");
    third.read_until("data: one\n\n");
    drop(first);
    gateway.until("the first one left", |stats| stats["routes"]["all"]["client_closed"] == 1);
    call.send(chunk("data: two\n\n"));
    second.read_until("data: two\n\n");
    third.read_until("data: two\n\n");
    drop(second);
    drop(third);
    call.wait_for_end();
    gateway.until("nothing is in flight", |stats| {
        stats["routes"]["all"]["in_flight"] == 0
            && stats["endpoints"]["up"][&upstream.url()]["in_flight"] == 0
    });
    // The call is counted where it was made, though nobody is left who asked for it.
    gateway.until("it is counted", |stats| stats["endpoints"]["up"][&upstream.url()]["requests"] == 1);
    assert!(!upstream.has_waiting());
}

#[test]
fn an_error_is_everybodys_and_an_answer_that_breaks_looks_broken_to_all() {
    let upstream = Upstream::start();
    let gateway = sharing(&upstream.url(), "single_flight = true\nretry = { attempts = 1 }");
    let request = embed("", "{\"input\":\"a\"}");
    for breaks in [true, false] {
        let mut clients: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
        clients.iter_mut().for_each(|client| client.send(&request));
        let mut call = upstream.accept();
        call.read_message();
        gateway.until("all wait", |stats| stats["routes"]["all"]["in_flight"] == 3);
        if breaks {
            call.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        }
        drop(call);
        for client in &mut clients {
            if breaks {
                client.read_until("half");
                client.wait_for_end();
            } else {
                let answer = client.read_message();
                assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("upstream_reset"), "{answer}");
            }
        }
    }
    assert!(!upstream.has_waiting());
}

#[test]
fn a_kept_answer_is_told_with_its_age_until_it_is_stale_and_to_nobody_else() {
    let (url, seen) = counting(ANSWER);
    let gateway = sharing(&url, "cache = { ttl = \"3s\" }");
    let result = |fields: &str| {
        let answer = ask(&gateway, &embed(fields, "{\"input\":\"a\"}"));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"data\":[1.0]}"), "{answer}");
        (field(&answer, "x-cache").unwrap().to_owned(), field(&answer, "age").map(str::to_owned))
    };
    let told = |result: &str, age: Option<&str>| (result.to_owned(), age.map(str::to_owned));
    assert_eq!(result(""), told("miss", None));
    let first = result("");
    assert_eq!((first.0.as_str(), first.1.is_some()), ("hit", true));
    assert_eq!(result("authorization: Bearer other\r\n").0, "miss");
    assert_eq!(result("cache-control: no-store\r\n"), told("bypass", None));
    assert_eq!(result("cache-control: no-cache\r\n").0, "miss", "it is refreshed");
    assert_eq!(seen.lock().unwrap().len(), 4);
    assert_eq!(result("").0, "hit");
    let (begun, mut hits) = (Instant::now(), 2);
    while result("").0 == "hit" {
        hits += 1;
        assert!(begun.elapsed() < Duration::from_secs(30), "it is never stale");
    }
    assert_eq!(seen.lock().unwrap().len(), 5, "it was asked for once more");
    let other = ask(&gateway, &post("/v1/chat/completions", "", "{}"));
    assert_eq!(field(&other, "x-cache"), Some("bypass"));
    let counted = &gateway.stats()["clusters"]["up"]["cache"];
    assert_eq!(counted, &serde_json::json!({ "hit": hits, "miss": 4, "bypass": 2 }));
    let metrics = gateway.admin("GET", "/metrics").1;
    assert!(metrics.contains("\ncorelane_cache_total{cluster=\"up\",result=\"miss\"} 4\n"), "{metrics}");
}

#[test]
fn what_an_endpoint_says_of_keeping_is_obeyed_and_only_whole_200s_are_kept() {
    for (answer, kept) in [
        ("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ncontent-length: 1\r\n\r\n1", true),
        ("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\nage: 60\r\ncontent-length: 1\r\n\r\n1", false),
        ("HTTP/1.1 200 OK\r\ncache-control: max-age=0\r\ncontent-length: 1\r\n\r\n1", false),
        ("HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: 1\r\n\r\n1", false),
        ("HTTP/1.1 200 OK\r\ncache-control: private\r\ncontent-length: 1\r\n\r\n1", true),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 1\r\n\r\n1", false),
        ("HTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\n1", false),
        ("HTTP/1.1 400 Bad Request\r\ncontent-length: 1\r\n\r\n1", false),
    ] {
        let (url, seen) = counting(answer);
        let gateway = sharing(&url, "cache = {}");
        for _ in 0..2 {
            assert!(ask(&gateway, &embed("", "{\"input\":\"a\"}")).ends_with("\r\n\r\n1"));
        }
        assert_eq!(seen.lock().unwrap().len(), if kept { 1 } else { 2 }, "{answer}");
    }
    // What is shared by all is not for one alone.
    let (url, seen) = counting("HTTP/1.1 200 OK\r\ncache-control: private\r\ncontent-length: 1\r\n\r\n1");
    let gateway = sharing(&url, "cache = { shared = true }");
    for _ in 0..2 {
        ask(&gateway, &embed("", "{\"input\":\"a\"}"));
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
    let (url, seen) = counting(ANSWER);
    let gateway = sharing(&url, "cache = { shared = true }");
    for name in ["one", "two"] {
        ask(&gateway, &embed(&format!("authorization: Bearer {name}\r\n"), "{\"input\":\"a\"}"));
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn a_client_that_falls_far_behind_is_cut_and_the_others_go_on() {
    let upstream = Upstream::start();
    let gateway = sharing(&upstream.url(), "single_flight = true");
    let request = embed("", "{\"input\":\"a\"}");
    let (mut fast, mut slow) = (gateway.connect(), gateway.connect());
    fast.send(&request);
    slow.send(&request);
    let mut call = upstream.accept();
    call.read_message();
    gateway.until("both wait", |stats| stats["routes"]["all"]["in_flight"] == 2);
    let length = 24 << 20;
    let sending = std::thread::spawn(move || {
        call.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"));
        for _ in 0..length >> 20 {
            call.send(vec![b'a'; 1 << 20]);
        }
        call
    });
    let head = fast.read_until("\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(fast.read_exactly(length).len(), length);
    sending.join().unwrap();
    slow.read_until("\r\n\r\n");
    let (got, _) = slow.read_to_any_end();
    assert!(got.len() < length, "{} bytes", got.len());
}

#[test]
fn an_empty_answer_says_that_it_is_empty_however_it_is_shared() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let url = Upstream::start().serve(answer);
        let gateway = sharing(&url, "single_flight = true\ncache = {}\nretry = { attempts = 1 }");
        let mut client = gateway.connect();
        for _ in 0..2 {
            client.send(embed("", "{\"input\":\"a\"}"));
            let got = client.try_message().unwrap();
            let is_told = got.contains("\r\ncontent-length: 0\r\n")
                || got.contains("\r\ntransfer-encoding: chunked\r\n");
            assert_eq!(is_told, !got.starts_with("HTTP/1.1 204 "), "{answer}: {got}");
        }
    }
}

#[test]
fn a_clusters_own_credential_goes_to_no_other_cluster_and_the_clients_where_it_would() {
    let busy = Upstream::start().serve("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n");
    for keys in
        ["single_flight = true", "cache = {}", "batch = { protocol = \"openai-embeddings\", max_items = 1 }"]
    {
        let (url, seen) = counting(ANSWER);
        let gateway = Gateway::start(&format!(
            "[cluster.a]\nendpoints = [{busy:?}]\nauth = {{ bearer = \"secret-of-a\" }}\n{keys}\n\
             [cluster.b]\nendpoints = [{url:?}]\n[[route]]\nname = \"all\"\nto = \"a\"\nfallback = [\"b\"]\n"
        ));
        ask(&gateway, &embed("authorization: Bearer client\r\n", "{\"input\":\"a\"}"));
        ask(&gateway, &embed("authorization: Bearer client\r\n", "{\"input\":[\"a\",\"b\"]}"));
        let seen = seen.lock().unwrap();
        assert!(!seen.is_empty());
        for request in seen.iter() {
            assert!(request.contains("\r\nauthorization: Bearer client\r\n"), "{keys}: {request}");
            assert!(!request.contains("secret"), "{keys}: {request}");
        }
    }
}

#[test]
fn what_a_shared_answer_used_is_paid_by_each_who_is_told_it() {
    let used = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n\
                {\"data\":[1.0],\"usage\":{\"total_tokens\":500}}       ";
    for keys in ["single_flight = true", "cache = {}"] {
        let (url, _) = counting(used);
        let gateway = Gateway::start(&format!(
            "[filter.l]\nkind = \"rate-limit\"\nby = \"ip\"\ntokens = \"600/day\"\n[cluster.up]\nendpoints = [{url:?}]\n{keys}\n\
             [[route]]\nname = \"all\"\nto = \"up\"\nfilters = [\"l\"]\n"
        ));
        let statuses: Vec<_> = (0..4)
            .map(|_| {
                let answer = ask(&gateway, &embed("", "{\"model\":\"m\",\"input\":\"a\"}"));
                // It is paid when the exchange is over, which is a moment after its client has the answer.
                gateway.until("it is booked", |stats| stats["routes"]["all"]["in_flight"] == 0);
                answer[9..12].to_owned()
            })
            .collect();
        assert_eq!(statuses, ["200", "200", "429", "429"], "{keys}");
    }
}

#[test]
fn hosts_types_and_routes_share_nothing_and_a_fallback_is_not_kept_as_what_it_stands_for() {
    let (url, seen) = counting(ANSWER);
    let gateway = sharing(&url, "cache = { shared = true }");
    let body = "{\"input\":\"a\"}";
    let results: Vec<_> = [
        embed("", body),
        embed("", body).replace("host: x", "host: y"),
        embed("content-type: text/plain\r\n", body),
        embed("", body),
    ]
    .iter()
    .map(|request| field(&ask(&gateway, request), "x-cache").unwrap().to_owned())
    .collect();
    assert_eq!(results, ["miss", "miss", "miss", "hit"]);
    assert_eq!(seen.lock().unwrap().len(), 3);

    let busy = Upstream::start().serve("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n");
    let (other, seen) = counting(ANSWER);
    let gateway = Gateway::start(&format!(
        "[cluster.a]\nendpoints = [{busy:?}]\ncache = {{}}\n[cluster.b]\nendpoints = [{other:?}]\n\
         [[route]]\nname = \"all\"\nto = \"a\"\nfallback = [\"b\"]\n"
    ));
    for _ in 0..2 {
        assert_eq!(field(&ask(&gateway, &embed("", body)), "x-cache"), Some("miss"));
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[test]
fn what_varies_with_more_than_is_compared_or_has_expired_is_not_kept() {
    for (said, kept) in [
        ("vary: accept, Accept-Encoding", true),
        ("vary: *", false),
        ("vary: x-tenant", false),
        ("expires: Thu, 01 Jan 1970 00:00:00 GMT", false),
        ("expires: 0", false),
        ("expires: Thu, 01 Jan 2099 00:00:00 GMT", true),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{said}\r\ncontent-length: 1\r\n\r\n1");
        let (url, seen) = counting(Box::leak(answer.into_boxed_str()));
        let gateway = sharing(&url, "cache = {}");
        for _ in 0..2 {
            ask(&gateway, &embed("", "{\"input\":\"a\"}"));
        }
        assert_eq!(seen.lock().unwrap().len(), if kept { 1 } else { 2 }, "{said}");
    }
    let (url, seen) = counting(ANSWER);
    let gateway = sharing(&url, "cache = {}");
    for fields in ["", "", "cache-control: max-age=0\r\n"] {
        ask(&gateway, &embed(fields, "{\"input\":\"a\"}"));
    }
    assert_eq!(seen.lock().unwrap().len(), 2, "a client may ask for what is fresh");
}
