//! Where requests go when the cluster of their route cannot serve them, and when they do not.

use std::sync::{Arc, Mutex};

use crate::support::{After, Gateway, OK, Upstream, nobody};

const POST: &str = "POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello";

/// What an endpoint does with each request.
#[derive(Clone, Copy)]
enum Does {
    Answer(&'static str),
    Reset,
}

/// An endpoint that keeps what it was asked.
fn endpoint(does: Does) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let url = Upstream::start().play(move |peer, request| {
        log.lock().unwrap().push(request);
        match does {
            Does::Answer(answer) => peer.send(answer),
            Does::Reset => return After::Reset,
        }
        After::GoOn
    });
    (url, seen)
}

fn answer(status: &'static str) -> Does {
    let body = "content-length: 3\r\n\r\nown";
    Does::Answer(Box::leak(format!("HTTP/1.1 {status} X\r\n{body}").into_boxed_str()))
}

/// A route to the first of these endpoints, each a cluster of its own, that falls back to the others.
fn falling_back(endpoints: &[&str], keys: &str) -> Gateway {
    let mut config = String::new();
    for (position, url) in endpoints.iter().enumerate() {
        config += &format!("[cluster.c{position}]\nendpoints = [{url:?}]\n{keys}\n");
    }
    let fallback: Vec<_> = (1..endpoints.len()).map(|position| format!("c{position}")).collect();
    config += &format!("[[route]]\nname = \"all\"\nto = \"c0\"\nfallback = {fallback:?}\n");
    Gateway::start(&config)
}

fn ask(gateway: &Gateway, request: &str) -> String {
    let mut client = gateway.connect();
    client.send(request);
    client.read_message()
}

#[test]
fn an_answer_that_refuses_moves_the_request_on_with_its_body_and_no_other_does() {
    for (status, moves) in [
        ("429", true),
        ("500", true),
        ("502", true),
        ("503", true),
        ("504", false),
        ("400", false),
        ("404", false),
    ] {
        let ((first, asked), (second, seen)) = (endpoint(answer(status)), endpoint(Does::Answer(OK)));
        let gateway = falling_back(&[&first, &second], "");
        let got = ask(&gateway, POST);
        let expected = if moves { "200" } else { status };
        assert!(got.starts_with(&format!("HTTP/1.1 {expected} ")), "{status}: {got}");
        assert_eq!(
            (asked.lock().unwrap().len(), seen.lock().unwrap().len()),
            (1, usize::from(moves)),
            "{status}"
        );
        // Whether it moved on or not, it is booked as what it is.
        let is_fault = matches!(status, "500" | "502" | "504");
        let stats = gateway.stats();
        assert_eq!(stats["endpoints"]["c0"][&first]["faults"], u64::from(is_fault), "{status}");
        if moves {
            assert!(seen.lock().unwrap()[0].ends_with("\r\n\r\nhello"), "{:?}", seen.lock().unwrap());
        }
    }
}

#[test]
fn no_connection_no_place_and_no_endpoint_move_it_on() {
    let dead = nobody();
    let (second, seen) = endpoint(Does::Answer(OK));
    let gateway = falling_back(&[&dead, &second], "");
    assert!(ask(&gateway, POST).starts_with("HTTP/1.1 200 "));
    let (status, _) = gateway.admin("POST", &format!("/endpoints/c0/drain?url={dead}"));
    assert_eq!(status, 200);
    assert!(ask(&gateway, POST).starts_with("HTTP/1.1 200 "));
    assert_eq!(gateway.admin("GET", "/readyz").0, 200, "the fallback serves");
    assert_eq!(seen.lock().unwrap().len(), 2);

    let busy = Upstream::start();
    let config = format!(
        "[cluster.c0]\nendpoints = [{{ url = {:?}, max_in_flight = 1 }}]\n[cluster.c1]\nendpoints = [{second:?}]\n\
        [[route]]\nto = \"c0\"\nfallback = [\"c1\"]\n",
        busy.url()
    );
    let gateway = Gateway::start(&config);
    let mut first = gateway.connect();
    first.send(POST);
    let mut server = busy.accept();
    server.read_message();
    assert!(ask(&gateway, POST).starts_with("HTTP/1.1 200 "));
    server.send(OK);
    assert!(first.read_message().starts_with("HTTP/1.1 200 "));
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[test]
fn what_may_have_been_executed_never_moves_on() {
    let (second, seen) = endpoint(Does::Answer(OK));
    let (resets, asked) = endpoint(Does::Reset);
    let gateway = falling_back(&[&resets, &second], "");
    let got = ask(&gateway, POST);
    assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("x-should-retry: false\r\n"), "{got}");
    // Nor does an answer that broke off behind its head.
    let cut = Upstream::start();
    let gateway = falling_back(&[&cut.url(), &second], "");
    let mut client = gateway.connect();
    client.send(POST);
    let mut server = cut.accept();
    server.read_message();
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
    drop(server);
    assert!(client.read_to_any_end().0.ends_with("half"));
    // Nor one that was late.
    let late = Upstream::start();
    let gateway = falling_back(&[&late.url(), &second], "timeout = { first_byte = \"100ms\" }");
    let got = ask(&gateway, POST);
    assert!(got.starts_with("HTTP/1.1 504 ") && got.contains("upstream_timeout"), "{got}");
    assert_eq!((asked.lock().unwrap().len(), seen.lock().unwrap().len()), (1, 0));
}

#[test]
fn where_nobody_else_answers_the_first_answer_is_delivered_unless_somebody_else_may_have_executed_it() {
    let dead = nobody();
    let (first, _) = endpoint(answer("503"));
    let got = ask(&falling_back(&[&first, &dead], ""), POST);
    assert!(got.starts_with("HTTP/1.1 503 ") && got.ends_with("own"), "{got}");
    let (resets, asked) = endpoint(Does::Reset);
    let got = ask(&falling_back(&[&first, &resets], ""), POST);
    assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("upstream_reset"), "{got}");
    assert!(
        got.contains("x-should-retry: false\r\n"),
        "a client that repeats it would have it executed twice: {got}"
    );
    assert_eq!(asked.lock().unwrap().len(), 1);
    // The last one's own answer is as good as any.
    let (last, _) = endpoint(answer("500"));
    let got = ask(&falling_back(&[&first, &dead, &last], ""), POST);
    assert!(got.starts_with("HTTP/1.1 500 ") && got.ends_with("own"), "{got}");
}

#[test]
fn a_body_that_is_not_kept_stays_where_it_was_sent() {
    let ((first, _), (second, seen)) = (endpoint(answer("503")), endpoint(Does::Answer(OK)));
    let gateway = falling_back(&[&first, &second], "retry = { replay = \"1KiB\" }");
    let post = |length: usize| {
        format!("POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length))
    };
    assert!(ask(&gateway, &post(1024)).starts_with("HTTP/1.1 200 "));
    assert!(ask(&gateway, &post(1025)).starts_with("HTTP/1.1 503 "));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn of_all_tries_the_last_one_is_the_fallbacks_and_each_further_fallback_has_one_more() {
    for (attempts, here) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
        let endpoints: Vec<_> = (0..4).map(|_| endpoint(answer("503"))).collect();
        let (second, third) = (endpoint(answer("503")), endpoint(answer("503")));
        let urls: Vec<_> = endpoints.iter().map(|(url, _)| url.as_str()).collect();
        let gateway = Gateway::start(&format!(
            "[cluster.a]\nendpoints = {urls:?}\nretry = {{ attempts = {attempts}, on = [\"503\"] }}\n\
            [cluster.b]\nendpoints = [{:?}]\n[cluster.c]\nendpoints = [{:?}]\n\
            [[route]]\nto = \"a\"\nfallback = [\"b\", \"c\"]\n",
            second.0, third.0
        ));
        assert!(ask(&gateway, POST).starts_with("HTTP/1.1 503 "));
        let asked: usize = endpoints.iter().map(|(_, seen)| seen.lock().unwrap().len()).sum();
        let beyond = [&second, &third].map(|(_, seen)| seen.lock().unwrap().len());
        assert_eq!((asked, beyond), (here, [1, 1]), "attempts = {attempts}");
    }
}
