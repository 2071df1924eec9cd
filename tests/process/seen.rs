//! What operators see of single exchanges: the flight recorder, phase by phase.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{After, Gateway, OK, Upstream, fresh_path, nobody};

/// How long a phase is drawn out, and the least that shows then: timers of the gateway count in whole milliseconds.
pub const PAUSE: Duration = Duration::from_millis(60);
pub const SHOWN_US: u64 = 55_000;

/// An endpoint that pauses before the head of its answer, or in its body, as the path says.
pub fn endpoint() -> String {
    Upstream::start().play(|peer, request| {
        let pause = |at: &str| {
            if request.contains(at) {
                std::thread::sleep(PAUSE);
            }
        };
        pause("/wait");
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 33\r\n\r\n");
        pause("/first");
        peer.send("data: one\n\n");
        pause("/gap");
        peer.send("data: two\n\ndata: xxx\n\n");
        After::GoOn
    })
}

pub fn config(url: &str, observe: &str) -> String {
    format!(
        "{observe}\n[cluster.up]\nendpoints = [\"{url}\"]\n[cluster.gone]\nendpoints = [\"{}\"]\n\
         [[route]]\nname = \"dead\"\nmatch = {{ path = \"/dead\" }}\nto = \"gone\"\n\
         [[route]]\nname = \"all\"\nto = \"up\"\n",
        nobody()
    )
}

pub fn start(config: &str) -> Gateway {
    Gateway::start_with(config, &["--listen", "127.0.0.1:0", "--lanes", "2"])
}

pub fn get(gateway: &Gateway, path: &str) -> String {
    gateway.exchange(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
}

pub fn slow(gateway: &Gateway, query: &str) -> Vec<Value> {
    let (status, body) = gateway.admin("GET", &format!("/slow{query}"));
    assert_eq!(status, 200, "{body}");
    let told: Value = serde_json::from_str(&body).unwrap();
    told["exchanges"].as_array().unwrap().clone()
}

#[test]
fn the_slowest_are_told_first_by_route_endpoint_and_time_through_reloads() {
    let url = endpoint();
    let gateway = start(&config(&url, ""));
    for path in ["/plain", "/wait", "/plain"] {
        assert!(get(&gateway, path).contains("data: two"));
    }
    let answer = get(&gateway, "/dead");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    gateway.until("all are over", |stats| stats["routes"]["all"]["in_flight"] == 0);
    let all = slow(&gateway, "");
    assert_eq!(all.len(), 4);
    let times: Vec<_> = all.iter().map(|told| told["T_us"].as_u64().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b) && times[0] >= SHOWN_US, "{times:?}");
    assert_eq!(slow(&gateway, "?limit=2"), all[..2]);
    let dead = slow(&gateway, "?route=dead");
    assert_eq!((dead.len(), &dead[0]["status"], &dead[0]["ended"]), (1, &502.into(), &"badly".into()));
    assert_eq!((&dead[0]["code"], &dead[0]["stage"]), (&"upstream_connect".into(), &"connect".into()));
    assert_eq!((&dead[0]["cluster"], &dead[0]["endpoint"]), (&"gone".into(), &nobody().into()));
    // Its id is the one that the client was told.
    let id = answer.split_once("x-request-id: ").unwrap().1.split_once("\r\n").unwrap().0;
    assert_eq!(dead[0]["request_id"], id);
    assert_eq!(dead[0]["trace_id"].as_str().unwrap().len(), 32);
    assert_eq!(slow(&gateway, &format!("?endpoint={url}")).len(), 3);
    assert_eq!(slow(&gateway, &format!("?route=dead&endpoint={url}")).len(), 0);
    // The names hold though the positions change.
    let swapped = config(&url, "")
        .replace("[cluster.up]", "[cluster.more]\nendpoints = [\"http://127.0.0.1:1\"]\n[cluster.up]");
    let more =
        "[[route]]\nname = \"more\"\nmatch = { path = \"/more\" }\nto = \"more\"\n[[route]]\nname = \"dead\"";
    std::fs::write(&gateway.config, swapped.replacen("[[route]]\nname = \"dead\"", more, 1)).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert_eq!(slow(&gateway, ""), all);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(slow(&gateway, "?last=1s").len(), 0);
    for (query, status, says) in [
        ("?route=nosuch", 404, "nosuch"),
        ("?endpoint=http://nobody", 404, "http://nobody"),
        ("?last=5", 400, "\"5s\""),
        ("?limit=0", 400, "1000"),
        ("?limit=1001", 400, "1000"),
        ("?limit=x", 400, "1000"),
    ] {
        let (got, body) = gateway.admin("GET", &format!("/slow{query}"));
        assert!(got == status && body.contains(says), "{query}: {got} {body}");
    }
    assert_eq!(gateway.admin("POST", "/slow").0, 405);
}

#[test]
fn the_recorder_keeps_as_many_as_it_is_told() {
    let up = Upstream::start().serve(OK);
    let gateway = Gateway::start_with(
        &config(&up, "[observe]\nrecorder = 3\n"),
        &["--listen", "127.0.0.1:0", "--lanes", "1"],
    );
    for _ in 0..8 {
        get(&gateway, "/");
    }
    gateway.until("all are over", |stats| stats["routes"]["all"]["requests"] == 8);
    assert_eq!(slow(&gateway, "").len(), 3);
    std::fs::write(&gateway.config, config(&up, "[observe]\nrecorder = 0\n")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    get(&gateway, "/");
    assert_eq!(slow(&gateway, "").len(), 0);
}

#[test]
fn the_command_shows_a_table_and_says_what_is_wrong() {
    let url = endpoint();
    let gateway = start(&config(&url, ""));
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_corelane"))
            .args(["slow", "--admin", &gateway.admin])
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = run(&[]);
    assert!(code == Some(0) && out.contains("no exchange ended"), "{out}");
    get(&gateway, "/wait");
    gateway.until("it is over", |stats| stats["routes"]["all"]["requests"] == 1);
    let (code, out, err) = run(&["--route", "all", "--last", "1m", "--endpoint", &url]);
    assert_eq!((code, out.lines().count()), (Some(0), 2), "{out}{err}");
    assert!(out.starts_with(' ') && out.contains("relay") && out.contains(&url), "{out}");
    let (code, out, _) = run(&["--json", "--limit", "5"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, told["exchanges"].as_array().unwrap().len()), (Some(0), 1));
    let (code, _, err) = run(&["--route", "no such"]);
    assert!(code == Some(1) && err.contains("there is no route \"no such\""), "{err}");
    let (code, _, err) = run(&["--last", "5"]);
    assert!(code == Some(2) && err.contains("\"5s\""), "{err}");
}

#[test]
fn slow_exchanges_are_written_down_when_a_route_is_slower_than_it_should_be() {
    let folder = fresh_path("dumps");
    std::fs::create_dir(&folder).unwrap();
    let observe = format!("[observe]\ndump = {{ p99 = \"20ms\", to = {:?} }}\n", folder.to_str().unwrap());
    let mut gateway = start(&config(&endpoint(), &observe));
    get(&gateway, "/plain");
    get(&gateway, "/wait");
    let told = gateway.next_line();
    assert!(
        told.contains("p99 of route all is ") && told.contains("past 20ms: the slowest exchanges stand in"),
        "{told}"
    );
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let dump: Value = serde_json::from_slice(&std::fs::read(&files[0]).unwrap()).unwrap();
    assert_eq!((&dump["why"][0]["route"], &dump["why"][0]["bound_us"]), (&"all".into(), &20_000.into()));
    assert!(dump["exchanges"][0]["wait_us"].as_u64().unwrap() >= SHOWN_US, "{dump}");
    assert!(dump["exchanges"].as_array().unwrap().iter().all(|one| one["route"] == "all"));
    // Once in ten minutes.
    get(&gateway, "/wait");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}
