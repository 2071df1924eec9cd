//! The admin API: probes, statistics, metrics, configuration.

use serde_json::{Value, json};

use crate::support::{Gateway, OK, Peer, Upstream, one_cluster};

#[test]
fn probes_and_unknown_paths_answer() {
    let gateway = Gateway::start(&one_cluster(&[&Upstream::start().serve(OK)]));
    assert_eq!(gateway.admin("GET", "/livez"), (200, "ok\n".to_owned()));
    assert_eq!(gateway.admin("GET", "/readyz"), (200, "ok\n".to_owned()));
    assert_eq!(gateway.admin("GET", "/readyz?route=all").0, 200);
    assert_eq!(gateway.admin("GET", "/readyz?route=nowhere").0, 404);
    assert_eq!(gateway.admin("GET", "/nowhere").0, 404);
    assert_eq!(gateway.admin("POST", "/stats").0, 405);
}

#[test]
fn statistics_have_every_name_of_the_contract() {
    let url = Upstream::start().serve(OK);
    let gateway = Gateway::start(&one_cluster(&[&url]));
    gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let stats = gateway.stats();
    let has = |value: &Value, names: &[&str]| {
        for name in names {
            assert!(value.get(name).is_some(), "{name} is missing: {value}");
        }
    };
    has(&stats, &["uptime_s", "lanes", "io", "plan", "access_log", "routes", "endpoints"]);
    has(&stats["access_log"], &["dropped", "lost"]);
    has(&stats["plan"], &["generation", "loaded_at"]);
    let route = &stats["routes"]["all"];
    has(
        route,
        &[
            "requests",
            "success",
            "client_closed",
            "in_flight",
            "S",
            "B",
            "T_us",
            "overhead_us",
            "ttft_us",
            "itl_us",
        ],
    );
    has(&route["B"], &["requests_per_s", "bytes_in_per_s", "bytes_out_per_s", "tokens_per_s"]);
    has(&route["T_us"], &["p50", "p90", "p99", "p999", "max", "mean"]);
    let endpoint = &stats["endpoints"]["up"][&url];
    has(
        endpoint,
        &[
            "admitted",
            "state",
            "in_flight",
            "queued",
            "requests",
            "faults",
            "idle",
            "connects",
            "reused",
            "T_us",
            "ttft_us",
            "itl_us",
            "keep_alive_ms",
        ],
    );
    assert_eq!((&route["requests"], &route["success"], &route["S"]), (&1.into(), &1.into(), &1.0.into()));
    assert!(route["T_us"]["max"].as_u64() >= route["overhead_us"]["max"].as_u64());
}

#[test]
fn metrics_come_in_both_formats_and_clients_add_no_series() {
    let url = Upstream::start().serve(OK);
    let gateway = Gateway::start(&one_cluster(&[&url]));
    let series = || gateway.admin("GET", "/metrics").1.lines().filter(|line| !line.starts_with('#')).count();
    let before = {
        gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        series()
    };
    let mut client = gateway.connect();
    for number in 0..200 {
        client.send(format!(
            "GET /junk-{number}?model={number} HTTP/1.1\r\nhost: h{number}\r\nx-{number}: 1\r\n\r\n"
        ));
        client.read_message();
    }
    assert_eq!(series(), before);
    let text = gateway.admin("GET", "/metrics").1;
    assert!(text.contains("corelane_requests_total{route=\"all\",status=\"2xx\"} 201\n"), "{text}");
    assert!(text.contains(&format!("corelane_endpoint_in_flight{{cluster=\"up\",endpoint=\"{url}\"}} 0\n")));
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_corelane"))
        .arg("check")
        .arg(&gateway.config)
        .output()
        .unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains(&format!("metric series {before}\n")), "check says {said}, /metrics has {before}");
}

#[test]
fn the_format_of_metrics_is_negotiated() {
    let gateway = Gateway::start("[[route]]\nrespond = {}\n");
    for (accept, kind) in [
        ("accept: text/plain;q=0.9, application/openmetrics-text;q=0.1\r\n", "text/plain"),
        (
            "accept: text/plain;q=0.5\r\naccept: application/openmetrics-text;q=0.9\r\n",
            "application/openmetrics-text",
        ),
        ("", "text/plain"),
    ] {
        let mut peer = Peer::new(std::net::TcpStream::connect(&gateway.admin).unwrap());
        peer.send(format!("GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{accept}\r\n"));
        let answer = peer.read_to_end();
        assert!(answer.contains(&format!("\r\ncontent-type: {kind};")), "{accept}{answer}");
    }
}

#[test]
fn an_upstreams_own_499_counts_as_its_answer() {
    let url = Upstream::start().serve("HTTP/1.1 499 x\r\ncontent-length: 0\r\n\r\n");
    let gateway = Gateway::start(&one_cluster(&[&url]));
    assert!(gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").contains(" 499 "));
    let metrics = gateway.admin("GET", "/metrics").1;
    for (status, count) in [("4xx", 1), ("499", 0)] {
        let line = format!("corelane_requests_total{{route=\"all\",status=\"{status}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert_eq!(gateway.stats()["routes"]["all"]["client_closed"], 0);
}

#[test]
fn the_configuration_is_shown_as_written_and_as_understood() {
    let url = Upstream::start().serve(OK);
    let gateway = Gateway::start(&one_cluster(&[&url]));
    let config: Value = serde_json::from_str(&gateway.admin("GET", "/config").1).unwrap();
    assert!(config["written"].as_str().unwrap().contains("[cluster.up]"));
    assert_eq!(config["understood"]["cluster"]["up"]["timeout"]["between_bytes"], "300s");
    assert_eq!(config["understood"]["cluster"]["up"]["endpoints"][0]["url"], url);
}

#[test]
fn what_was_understood_has_the_shape_of_the_file() {
    let file = "
        [limits]
        connections = 100
        body_rate = \"0B\"
        write_timeout = \"1500ms\"
        [[route]]
        respond = { status = 203, body = \"pong\\n\" }
        [[route]]
        name = \"some\"
        match = { host = \"*.Local\", path = \"/a/*\", body = { model = [\"m-*\", \"~^n\"], meta.tier = 1 } }
        to = [{ cluster = \"up\", weight = 3 }, { cluster = \"down\", weight = 0 }]
        rewrite = { strip = \"/a\" }
        body = \"1MiB\"
        [cluster.up]
        endpoints = [\"HTTP://127.0.0.1:1/b/\"]
        keep_alive = { idle = \"2m\" }
        [cluster.down]
        endpoints = [{ url = \"unix:/x\", weight = 7 }]
        [observe]
        access_log = { to = \"stderr\", format = \"{status} {T_us}\", sample = \"12.5%\" }
    ";
    let gateway = Gateway::start(file);
    let document: Value = serde_json::from_str(&gateway.admin("GET", "/config").1).unwrap();
    let understood = &document["understood"];
    // Routes stand in the order in which they are tried, each once.
    let expected = json!([
        {
            "name": "some",
            "match": {
                "host": "*.local",
                "path": "/a/*",
                "body": { "model": ["m-*", "~^n"], "meta.tier": "1" },
            },
            "to": [{ "cluster": "up", "weight": 3 }, { "cluster": "down", "weight": 0 }],
            "filters": [],
            "fallback": [],
            "rewrite": { "strip": "/a" },
            "upgrade": false,
            "body": "1MiB",
        },
        {
            "name": "route-1",
            "match": {},
            "filters": [],
            "fallback": [],
            "respond": { "status": 203, "body": "pong\n", "content_type": "text/plain; charset=utf-8" },
            "upgrade": false,
            "body": "64MiB",
        },
    ]);
    assert_eq!(understood["route"], expected);
    let limits = &understood["limits"];
    assert_eq!((&limits["head"], &limits["body_rate"]), (&"64KiB".into(), &"0B".into()));
    assert_eq!((&limits["write_timeout"], &limits["connections"]), (&"1500ms".into(), &100.into()));
    let up = json!({ "url": "HTTP://127.0.0.1:1/b/", "weight": 1, "addresses": ["127.0.0.1:1"],
        "base": "/b", "host": "127.0.0.1:1" });
    assert_eq!(understood["cluster"]["up"]["endpoints"], json!([up]));
    assert_eq!(understood["cluster"]["up"]["keep_alive"], json!({ "idle": "120s", "max_idle": 128 }));
    assert_eq!(understood["cluster"]["down"]["endpoints"][0]["addresses"], json!(["unix:/x"]));
    let log = json!({ "to": "stderr", "format": "{status} {T_us}", "sample": "12.5%", "prompt": "0B" });
    let observed = json!({ "access_log": log, "log": "info", "server_timing": false, "recorder": 65536 });
    assert_eq!(understood["observe"], observed);
    assert!(understood["server"]["lanes"].is_u64(), "{understood}");
}

#[test]
fn the_operator_takes_endpoints_out_and_back_in() {
    let (one, two) = (Upstream::start(), Upstream::start());
    let (first, second) = (one.url(), two.url());
    let gateway = Gateway::start(&one_cluster(&[&first, &second]));
    // An exchange that is under way stays where it is.
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    one.listener.set_nonblocking(true).unwrap();
    two.listener.set_nonblocking(true).unwrap();
    let (mut server, held, free) = loop {
        if let Ok((stream, _)) = one.listener.accept() {
            break (stream, first.clone(), second.clone());
        }
        if let Ok((stream, _)) = two.listener.accept() {
            break (stream, second.clone(), first.clone());
        }
    };
    let command = |name: &str, url: &str| gateway.admin("POST", &format!("/endpoints/up/{name}?url={url}"));
    assert_eq!(command("drain", &held).0, 200);
    let state = gateway.endpoint(&held);
    assert_eq!((&state["admitted"], &state["state"]), (&false.into(), &"drained".into()));
    server.set_nonblocking(false).unwrap();
    std::io::Write::write_all(&mut server, OK.as_bytes()).unwrap();
    assert!(client.read_message().ends_with("ok"));

    for upstream in [one, two] {
        upstream.listener.set_nonblocking(false).unwrap();
        upstream.serve(OK);
    }
    let ask = || gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let requests = |url: &str| gateway.endpoint(url)["requests"].as_u64().unwrap();
    let before = requests(&held);
    (0..20).for_each(|_| assert!(ask().contains(" 200 ")));
    assert_eq!((requests(&held), requests(&free)), (before, 20), "new exchanges go elsewhere");

    // A reload forgets nothing that the operator said.
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert_eq!(gateway.endpoint(&held)["admitted"], false);
    assert_eq!(command("drain", &free).0, 200);
    let answer = ask();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("no_endpoint"), "{answer}");
    assert_eq!(gateway.admin("GET", "/readyz").0, 503);
    assert_eq!(gateway.admin("GET", "/readyz?route=all").0, 503);
    assert_eq!(command("undrain", &held).0, 200);
    assert_eq!(gateway.admin("GET", "/readyz").0, 200);
    assert!(ask().contains(" 200 "));

    for (method, path, status) in [
        ("GET", "/endpoints/up/drain?url=x", 405),
        ("POST", "/endpoints/up/drain", 400),
        ("POST", "/endpoints/up/drain?url=http://nowhere", 404),
        ("POST", "/endpoints/down/drain?url=x", 404),
        ("POST", "/endpoints/up/explode?url=x", 404),
    ] {
        assert_eq!(gateway.admin(method, path).0, status, "{method} {path}");
    }
}

#[test]
fn the_dashboard_is_one_page_that_may_do_nothing_else_and_its_events_go_on() {
    let gateway = Gateway::start(&one_cluster(&[&Upstream::start().serve(OK)]));
    let (status, page) = gateway.admin("GET", "/");
    assert!(status == 200 && page.starts_with("<!doctype html>"), "{page}");
    let mut peer = Peer::new(std::net::TcpStream::connect(&gateway.admin).unwrap());
    peer.send("HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let head = peer.read_to_end();
    for part in ["default-src 'none'", "script-src 'sha256-", "frame-ancestors 'none'", "nosniff"] {
        assert!(head.contains(part), "{part}: {head}");
    }
    let mut peer = Peer::new(std::net::TcpStream::connect(&gateway.admin).unwrap());
    peer.send("GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let first = peer.read_until("\n\n");
    assert!(first.contains("content-type: text/event-stream\r\n"), "{first}");
    // The second one has what changed in between, and not the past once more.
    gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let text = first.split_once("data: ").unwrap_or_else(|| panic!("{first}")).1.to_owned();
    let document: Value = serde_json::from_str(text.trim()).unwrap();
    assert!(
        document["past"]["all"].is_array() && document["stats"]["routes"]["all"].is_object(),
        "{document}"
    );
    let last = (0..5).map(|_| peer.read_until("\n\n")).find(|event| event.contains("\"requests\":1"));
    let event = last.expect("an event tells of the request");
    let document: Value = serde_json::from_str(event.split_once("data: ").unwrap().1.trim()).unwrap();
    assert!(document["past"].is_null() && document["now"]["all"]["n"].as_u64() <= Some(1), "{document}");
    // Nobody listens: that is noticed, and the place is free again.
    drop(peer);
    assert_eq!(gateway.admin("POST", "/live").0, 405);
    assert_eq!(gateway.admin("GET", "/stats").0, 200);
}
