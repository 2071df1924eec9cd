//! Reload and drain.

use std::time::{Duration, Instant};

use crate::support::{Gateway, OK, Peer, Upstream, one_cluster};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn a_reload_takes_effect_before_it_answers_and_keeps_idle_connections_of_what_stays() {
    let (stays, goes) = (Upstream::start().serve(OK), Upstream::start().serve(OK));
    let gateway = Gateway::start(
        &one_cluster(&[&stays, &goes]).replace("[[route]]", "balance = \"round-robin\"\n[[route]]"),
    );
    let mut client = gateway.connect();
    for _ in 0..4 {
        client.send(GET);
        client.read_message();
    }
    let connects = gateway.endpoint(&stays)["connects"].clone();
    let text = format!(
        "{}[[route]]\nmatch = {{ path = \"/ping\" }}\nrespond = {{ status = 200, body = \"pong\" }}\n",
        one_cluster(&[&stays])
    );
    std::fs::write(&gateway.config, text).unwrap();
    assert_eq!(gateway.admin("POST", "/reload"), (200, "{\"generation\":2}".to_owned()));
    client.send("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.read_message().ends_with("pong"));
    client.send(GET);
    client.read_message();
    let stats = gateway.stats();
    assert_eq!(stats["plan"]["generation"], 2);
    assert_eq!(stats["endpoints"]["up"][&stays]["connects"], connects);
    assert!(stats["endpoints"]["up"].get(&goes).is_none());
    assert_eq!(stats["routes"]["all"]["requests"], 5, "what was counted before the reload stays");
}

#[test]
fn a_broken_file_leaves_the_old_plan_running() {
    let mut gateway = Gateway::start("[[route]]\nrespond = { status = 200, body = \"old\" }\n");
    std::fs::write(&gateway.config, "[[route]]\nrespnd = 1\n").unwrap();
    let (status, body) = gateway.admin("POST", "/reload");
    assert_eq!(status, 422);
    assert!(body.contains("unknown key `respnd`") && body.contains("fix: write `respond`"), "{body}");
    gateway.signal("HUP");
    let mut said = String::new();
    while !said.contains("not reloaded") {
        said = gateway.next_line();
    }
    assert!(gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("old"));
    std::fs::write(&gateway.config, "[[route]]\nrespond = { status = 200, body = \"new\" }\n").unwrap();
    gateway.signal("HUP");
    assert_eq!(gateway.next_line(), "reloaded generation=2");
    assert!(gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("new"));
}

#[test]
fn a_reload_that_takes_long_holds_up_nobody() {
    let mut gateway = Gateway::start("[[route]]\nrespond = { body = \"old\" }\n");
    // Reading a pipe that nobody writes to waits, as names do that a resolver does not know.
    std::fs::remove_file(&gateway.config).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&gateway.config).status().unwrap().success());
    let mut waiting = Peer::new(std::net::TcpStream::connect(&gateway.admin).unwrap());
    waiting.send("POST /reload HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(waiting.is_silent());
    gateway.signal("HUP");
    assert_eq!(gateway.admin("GET", "/livez").0, 200);
    assert_eq!(gateway.admin("GET", "/metrics").0, 200);
    for (generation, body) in [(2, "first"), (3, "second")] {
        // One at a time: each reads the file anew.
        std::fs::write(&gateway.config, format!("[[route]]\nrespond = {{ body = \"{body}\" }}\n")).unwrap();
        gateway.until("it is published", |stats| stats["plan"]["generation"] == generation);
        // Lanes adopt it one after the other; only whoever asked for a reload is answered after that.
        gateway.until("it is in force", |_| {
            gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with(body)
        });
    }
    assert!(waiting.read_to_end().ends_with("{\"generation\":2}"));
    // Nor does it hold up the end.
    gateway.signal("HUP");
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn reloads_that_come_together_take_turns() {
    let gateway = Gateway::start_with(
        "[[route]]\nrespond = { body = \"old\" }\n",
        &["--listen", "127.0.0.1:0", "--lanes", "2"],
    );
    std::fs::write(&gateway.config, "[[route]]\nrespond = { body = \"new\" }\n").unwrap();
    let mut generations: Vec<u64> = std::thread::scope(|scope| {
        let reload = || {
            let (status, body) = gateway.admin("POST", "/reload");
            assert_eq!(status, 200, "{body}");
            serde_json::from_str::<serde_json::Value>(&body).unwrap()["generation"].as_u64().unwrap()
        };
        let all: Vec<_> = (0..20).map(|_| scope.spawn(reload)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    generations.sort_unstable();
    assert_eq!(generations, (2..=21).collect::<Vec<_>>());
    for _ in 0..8 {
        let answer = gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert!(answer.ends_with("new"), "{answer}");
    }
}

#[test]
fn what_cannot_change_while_running_is_refused() {
    let gateway = Gateway::start_with(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[route]]\nrespond = { status = 200 }\n",
        &[],
    );
    std::fs::write(
        &gateway.config,
        "[[listener]]\naddress = \"127.0.0.1:1\"\n[[route]]\nrespond = { status = 200 }\n",
    )
    .unwrap();
    let (status, body) = gateway.admin("POST", "/reload");
    assert!(status == 422 && body.contains("[[listener]] cannot change"), "{body}");
}

#[test]
fn an_exchange_ends_under_the_plan_it_began_with() {
    let upstream = Upstream::start();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(GET);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    client.read_until("hello");
    std::fs::write(&gateway.config, "[[route]]\nname = \"all\"\nrespond = { status = 404 }\n").unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    server.send("world");
    client.read_until("world");
    client.send(GET);
    assert!(client.read_message().starts_with("HTTP/1.1 404 "));
    server.wait_for_end();
    gateway.until("both are counted", |stats| {
        stats["routes"]["all"]["requests"] == 2 && stats["routes"]["all"]["in_flight"] == 0
    });
}

#[test]
fn a_drain_finishes_what_runs_closes_what_is_idle_and_exits_with_zero() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::before(&upstream);
    let (mut busy, mut idle, mut late) = (gateway.connect(), gateway.connect(), gateway.connect());
    busy.send(GET);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    gateway.until("all are open", |stats| {
        stats["connections"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>() == 3
    });
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining");
    assert_eq!(gateway.admin("GET", "/readyz").0, 503);
    // A request that was on its way when the drain began is still answered.
    late.send(GET);
    let mut second = upstream.accept();
    second.read_until("\r\n\r\n");
    second.send(OK);
    assert!(late.read_to_end().contains("connection: close\r\n"));
    assert!(idle.wait_for_end() < Duration::from_secs(3));
    server.send(OK);
    let answer = busy.read_to_end();
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("ok"), "{answer}");
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn a_client_between_two_requests_has_its_second_whatever_came_before() {
    let upstream = Upstream::start().serve(OK);
    for before in 0..3 {
        let gateway = Gateway::start(&one_cluster(&[&upstream]));
        let mut client = gateway.connect();
        for _ in 0..before {
            client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            assert!(client.read_message().ends_with("ok"));
        }
        gateway.signal("TERM");
        // Long enough for a lane to fall silent, shorter than the grace.
        std::thread::sleep(Duration::from_millis(400));
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        let answer = client.read_message();
        assert!(answer.contains("connection: close\r\n") && answer.ends_with("ok"), "{before}: {answer}");
    }
}

#[test]
fn a_second_signal_ends_a_drain_at_once() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::before(&upstream);
    let mut busy = gateway.connect();
    busy.send(GET);
    let _server = upstream.accept();
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining");
    let begun = Instant::now();
    gateway.signal("INT");
    gateway.process.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_drain_delay_keeps_accepting_while_readiness_says_no() {
    let mut gateway =
        Gateway::start("[server]\ndrain_delay = \"2s\"\n[[route]]\nrespond = { status = 200 }\n");
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining");
    assert_eq!(gateway.admin("GET", "/readyz").0, 503);
    assert!(
        gateway
            .exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(gateway.process.wait().unwrap().success());
}
