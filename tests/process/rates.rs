//! Limits: so many requests in a time, exact over all lanes, and what answers tell of them.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use corelane::base::digest::Digest;
use serde_json::Value;

use crate::support::{Gateway, Peer, Upstream, fresh_path};

/// A filter of that name.
fn limit(name: &str, keys: &str) -> String {
    format!("[filter.{name}]\nkind = \"rate-limit\"\n{keys}\n")
}

const ROUTE: &str = "[[route]]\nname = \"in\"\nrespond = { body = \"in\" }\n";

/// The answer to a request without a body.
fn ask(client: &mut Peer, fields: &str) -> String {
    client.send(format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n"));
    client.read_message()
}

fn status(answer: &str) -> u16 {
    answer[9..12].parse().unwrap()
}

fn value<'a>(answer: &'a str, name: &str) -> &'a str {
    let of = |line: &'a str| line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
    answer.lines().find_map(of).unwrap_or_default()
}

#[test]
fn answers_tell_what_is_left_and_who_has_nothing_left_is_told_when_to_come_again() {
    let limits = limit("limits", "by = \"header:x-team\"\nrequests = \"2/sec\"\nburst = 3");
    let gateway = Gateway::start(&format!("{limits}{ROUTE}filters = [\"limits\"]\n"));
    let mut client = gateway.connect();
    for left in ["2", "1", "0"] {
        let answer = ask(&mut client, "x-team: a\r\n");
        assert_eq!(status(&answer), 200, "{answer}");
        for (name, expected) in [
            ("ratelimit-limit", "2"),
            ("ratelimit-remaining", left),
            ("x-ratelimit-limit-requests", "2"),
            ("x-ratelimit-remaining-requests", left),
        ] {
            assert_eq!(value(&answer, name), expected, "{answer}");
        }
    }
    let refused = ask(&mut client, "x-team: a\r\n");
    let since = Instant::now();
    assert_eq!((status(&refused), value(&refused, "retry-after")), (429, "1"), "{refused}");
    let wait: u64 = value(&refused, "retry-after-ms").parse().unwrap();
    assert!((1..=500).contains(&wait), "{refused}");
    assert_eq!((value(&refused, "x-should-retry"), value(&refused, "ratelimit-remaining")), ("true", "0"));
    assert_eq!(value(&refused, "ratelimit-reset"), "2", "{refused}");
    let reset = value(&refused, "x-ratelimit-reset-requests");
    assert!(reset == "2s" || reset == "1s", "{refused}");
    let body: Value = serde_json::from_str(refused.split_once("\r\n\r\n").unwrap().1).unwrap();
    let error = &body["error"];
    assert_eq!(
        (&error["type"], &error["code"], &error["param"]),
        (&"rate_limit_error".into(), &"rate_limited".into(), &"requests".into())
    );
    // Others have buckets of their own, and all who say nothing share one.
    assert_eq!(value(&ask(&mut client, "x-team: b\r\n"), "ratelimit-remaining"), "2");
    assert_eq!(value(&ask(&mut client, ""), "ratelimit-remaining"), "2");
    assert_eq!(value(&ask(&mut client, "x_team: c\r\n"), "ratelimit-remaining"), "1");
    // Whoever waits as long as it was told passes.
    std::thread::sleep(Duration::from_millis(wait).saturating_sub(since.elapsed()));
    assert_eq!(status(&ask(&mut client, "x-team: a\r\n")), 200);
}

#[test]
fn many_clients_on_two_lanes_get_exactly_what_there_is() {
    let limits = limit("limits", "by = \"ip\"\nrequests = \"600/min\"\nburst = 60");
    let config = format!("[server]\nlanes = 2\n{limits}{ROUTE}filters = [\"limits\"]\n");
    let gateway = Gateway::start(&config);
    let (passed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut clients: Vec<_> = (0..64).map(|_| gateway.connect()).collect();
    let since = Instant::now();
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| {
                while since.elapsed() < Duration::from_secs(3) {
                    match status(&ask(client, "")) {
                        200 => passed.fetch_add(1, Ordering::Relaxed),
                        _ => refused.fetch_add(1, Ordering::Relaxed),
                    };
                }
            });
        }
    });
    // Ten a second: no more than that, and all that there were when somebody was last told that there are none.
    let mut passed = passed.into_inner() as f64;
    let refused_at = loop {
        let asked_at = since.elapsed();
        match status(&ask(&mut clients[0], "")) {
            200 => passed += 1.0,
            _ => break asked_at,
        }
    };
    let permits = |time: Duration| 60.0 + time.as_secs_f64() * 10.0;
    assert!(passed <= permits(since.elapsed()), "{passed} of {}", permits(since.elapsed()));
    assert!(passed >= permits(refused_at) - 1.0, "{passed} of {}", permits(refused_at));
    assert!(refused.into_inner() > 1000);
}

#[test]
fn what_is_left_is_kept_through_reloads() {
    let limits =
        |requests: &str| limit("limits", &format!("by = [\"ip\", \"route\"]\nrequests = \"{requests}\""));
    let config = |requests: &str| format!("{}{ROUTE}filters = [\"limits\"]\n", limits(requests));
    let gateway = Gateway::start(&config("3/hour"));
    let mut client = gateway.connect();
    (0..3).for_each(|_| assert_eq!(status(&ask(&mut client, "")), 200));
    assert_eq!(status(&ask(&mut client, "")), 429);
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert_eq!(status(&ask(&mut client, "")), 429);
    // A limit that is raised counts what was used before.
    std::fs::write(&gateway.config, config("3600/hour")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    let answer = ask(&mut client, "");
    assert_eq!(status(&answer), 429, "an hour's worth of permits is still missing: {answer}");
}

#[test]
fn what_a_route_has_used_stays_with_its_name_when_routes_are_reordered() {
    let config = |first: &str, second: &str| {
        let route = |name: &str| {
            format!(
                "[[route]]\nname = {name:?}\nmatch = {{ path = \"/{name}\" }}\nrespond = {{}}\nfilters = [\"limits\"]\n"
            )
        };
        limit("limits", "by = \"route\"\nrequests = \"1/hour\"") + &route(first) + &route(second)
    };
    let gateway = Gateway::start(&config("a", "b"));
    let mut client = gateway.connect();
    let mut get = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        status(&client.read_message())
    };
    assert_eq!(get("/a"), 200);
    std::fs::write(&gateway.config, config("b", "a")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert_eq!(["/a", "/b", "/b"].map(&mut get), [429, 200, 429]);
}

#[test]
fn of_several_limits_none_gives_anything_where_one_has_nothing_left() {
    let two = limit("mine", "by = \"header:x-a\"\nrequests = \"2/hour\"")
        + &limit("all", "by = \"ip\"\nrequests = \"3/hour\"");
    let config = format!(
        "{two}[[listener]]\naddress = \"127.0.0.1:0\"\nfilters = [\"all\"]\n{ROUTE}filters = [\"mine\"]\n\
         [[route]]\nname = \"free\"\nmatch = {{ path = \"/free\" }}\nrespond = {{}}\n"
    );
    let gateway = Gateway::start_with(&config, &[]);
    let mut client = gateway.connect();
    // The one that is nearest to refusing is told.
    assert_eq!(value(&ask(&mut client, "x-a: 1\r\n"), "ratelimit-limit"), "2");
    assert_eq!(value(&ask(&mut client, "x-a: 1\r\n"), "ratelimit-remaining"), "0");
    for _ in 0..5 {
        assert_eq!(status(&ask(&mut client, "x-a: 1\r\n")), 429);
    }
    let answer = ask(&mut client, "x-a: 2\r\n");
    assert_eq!(
        (status(&answer), value(&answer, "ratelimit-limit")),
        (200, "3"),
        "the refused ones took nothing: {answer}"
    );
    let answer = ask(&mut client, "x-a: 3\r\n");
    assert_eq!((status(&answer), value(&answer, "ratelimit-limit")), (429, "3"));
}

#[test]
fn a_limit_before_the_keys_counts_those_who_guess() {
    let file = fresh_path("keys.toml");
    let digest = Digest::of(b"sk-a").text();
    std::fs::write(&file, format!("[[key]]\nname = \"a\"\nsha256 = \"{digest}\"\n")).unwrap();
    let keys = format!("[filter.keys]\nkind = \"keys\"\nfile = {file:?}\n");
    let both = limit("tries", "by = \"ip\"\nrequests = \"5/hour\"") + &limit("mine", "requests = \"2/hour\"");
    let gateway = Gateway::start(&format!("{keys}{both}{ROUTE}filters = [\"tries\", \"keys\", \"mine\"]\n"));
    let mut client = gateway.connect();
    let got: Vec<_> = (0..6)
        .map(|at| {
            status(&ask(&mut client, if at < 2 { "x-api-key: guess\r\n" } else { "x-api-key: sk-a\r\n" }))
        })
        .collect();
    assert_eq!(got, [401, 401, 200, 200, 429, 429], "three tries are left, and two of them the key has");
    // Who is refused by the limit of its key takes no try from others.
    assert_eq!(status(&ask(&mut client, "x-api-key: guess\r\n")), 401);
    assert_eq!(status(&ask(&mut client, "x-api-key: guess\r\n")), 429);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn what_an_endpoint_says_of_its_own_limits_passes_only_where_there_is_none_of_ours() {
    let up = Upstream::start().serve(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nRateLimit-Limit: 7\r\nx-ratelimit-remaining-tokens: 9\r\n\r\nok",
    );
    let gateway = Gateway::start(&format!(
        "{}[cluster.up]\nendpoints = [{up:?}]\n[[route]]\nto = \"up\"\nfilters = [\"limits\"]\n\
         [[route]]\nmatch = {{ path = \"/free\" }}\nto = \"up\"\n",
        limit("limits", "by = \"route\"\nrequests = \"5/min\"")
    ));
    let mut client = gateway.connect();
    let answer = ask(&mut client, "");
    assert_eq!(value(&answer, "ratelimit-limit"), "5");
    assert!(!answer.contains("RateLimit-Limit") && !answer.contains("-tokens"), "{answer}");
    client.send("GET /free HTTP/1.1\r\nhost: x\r\n\r\n");
    let answer = client.read_message();
    assert!(
        answer.contains("RateLimit-Limit: 7") && answer.contains("x-ratelimit-remaining-tokens: 9"),
        "{answer}"
    );
}

#[test]
fn a_limit_by_route_on_the_listener_counts_once_the_route_is_known() {
    let config = format!(
        "{}[[listener]]\naddress = \"127.0.0.1:0\"\nfilters = [\"limits\"]\n\
         [[route]]\nmatch = {{ path = \"/a\" }}\nrespond = {{}}\n[[route]]\nmatch = {{ path = \"/b\" }}\nrespond = {{}}\n",
        limit("limits", "by = \"route\"\nrequests = \"1/hour\"")
    );
    let gateway = Gateway::start_with(&config, &[]);
    let mut client = gateway.connect();
    let mut get = |path: &str| {
        client.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        status(&client.read_message())
    };
    assert_eq!(["/a", "/a", "/none", "/none", "/b", "/b"].map(&mut get), [200, 429, 404, 404, 200, 429]);
}

#[test]
fn a_limit_by_key_that_stands_before_the_keys_is_warned_of() {
    let folder = fresh_path("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("keys.toml"), "").unwrap();
    let config = |chain: &str| {
        format!(
            "[filter.keys]\nkind = \"keys\"\nfile = \"keys.toml\"\n{}{ROUTE}filters = [{chain}]\n",
            limit("limits", "requests = \"1/min\"")
        )
    };
    for (chain, warned) in [("\"limits\", \"keys\"", true), ("\"keys\", \"limits\"", false)] {
        let file = folder.join("gateway.toml");
        std::fs::write(&file, config(chain)).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_corelane")).arg("check").arg(&file).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert_eq!(told.starts_with("warning: ") && told.contains("counts by key"), warned, "{told}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
