//! Which endpoint a request is placed at: by its work, by a value, by what its prompt has in common with others.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::{After, Gateway, Peer, Upstream};

/// Answers at once with its own address, and with what it was told to say of the prompt.
fn named(says: &'static str) -> String {
    let upstream = Upstream::start();
    let url = upstream.url();
    let body = url.clone();
    upstream.play(move |peer, _| {
        let body = format!(r#"{{"by":"{body}"{says}}}"#);
        let length = body.len();
        peer.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        After::GoOn
    });
    url
}

/// Keeps each request waiting until it is told to answer; tells of each that came.
fn patient() -> (String, Receiver<String>, Sender<()>) {
    let upstream = Upstream::start();
    let url = upstream.url();
    let ((came, tells), (answer, told)) = (channel(), channel::<()>());
    let told = Arc::new(Mutex::new(told));
    upstream.play(move |peer, request| {
        let _ = came.send(request);
        let _ = told.lock().unwrap().recv();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::GoOn
    });
    (url, tells, answer)
}

fn config(endpoints: &[String], balance: &str) -> String {
    format!(
        "[cluster.up]\nendpoints = {endpoints:?}\nbalance = \"{balance}\"\nslow_start = \"0s\"\n[[route]]\nname = \"all\"\nto = \"up\"\n"
    )
}

fn post(fields: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Who answered, while nobody was asked anything else.
fn by(gateway: &Gateway, fields: &str, body: &str) -> String {
    gateway.until("the last one is over", |stats| {
        let endpoints = stats["endpoints"]["up"].as_object().unwrap();
        endpoints.values().all(|endpoint| endpoint["in_flight"] == 0)
    });
    let mut client = gateway.connect();
    client.send(post(fields, body));
    of(&client.read_message())
}

fn of(answer: &str) -> String {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\"by\":\"").unwrap().1.split('"').next().unwrap().to_owned()
}

fn chat(turns: &[&str]) -> String {
    let turn = |text: &&str| format!(r#"{{"role":"user","content":"{text}"}}"#);
    let turns: Vec<_> = turns.iter().map(turn).collect();
    format!(r#"{{"messages":[{}],"model":"m"}}"#, turns.join(","))
}

#[test]
fn the_same_value_of_a_header_finds_the_same_endpoint_in_every_gateway_and_after_a_reload() {
    let urls: Vec<_> = (0..4).map(|_| named("")).collect();
    let balance = "hash:header:X-Session";
    let (one, two) = (Gateway::start(&config(&urls, balance)), {
        let turned: Vec<_> = urls.iter().rev().cloned().collect();
        Gateway::start(&config(&turned, balance))
    });
    let field = |value: usize| format!("x-session: user-{value}\r\n");
    let homes: HashMap<usize, String> = (0..40).map(|value| (value, by(&one, &field(value), "{}"))).collect();
    let used = urls.iter().filter(|url| homes.values().any(|home| home == *url)).count();
    assert!(used >= 3, "they are spread: {homes:?}");
    for (value, home) in &homes {
        assert_eq!(by(&two, &field(*value), "{}"), *home, "whatever order they are written in");
    }

    std::fs::write(&one.config, config(&urls[..3], balance)).unwrap();
    assert_eq!(one.admin("POST", "/reload").0, 200);
    for (value, home) in &homes {
        let now = by(&one, &field(*value), "{}");
        assert!(now == *home || *home == urls[3], "{value} was at {home} and is at {now}");
    }
    assert_eq!(one.admin("POST", &format!("/endpoints/up/drain?url={}", urls[0])).0, 200);
    for (value, home) in homes.iter().filter(|(_, home)| **home != urls[3]) {
        let now = by(&one, &field(*value), "{}");
        assert_eq!(now == *home, *home != urls[0], "only the values of one that is out move");
    }
}

#[test]
fn a_value_of_the_body_counts_wherever_it_stands_and_a_request_without_it_is_served() {
    let urls: Vec<_> = (0..4).map(|_| named("")).collect();
    let gateway = Gateway::start(&config(&urls, "hash:body:metadata.user"));
    let filler = "f".repeat(300_000);
    for user in ["ann", "bob", "eve", "kim", "zoe", "7"] {
        let first = format!(r#"{{"metadata":{{"user":"{user}"}},"x":1}}"#);
        let last = format!(r#"{{"messages":"{filler}","metadata":{{"a":[1],"user":"{user}"}}}}"#);
        let home = by(&gateway, "", &first);
        assert_eq!(by(&gateway, "", &last), home);
        assert_eq!(by(&gateway, "", &first.replace("user\"", "us\\u0065r\"")), home);
    }
    for body in ["", "{}", "no json", "[1]", r#"{"metadata":{"user":{}}}"#, r#"{"metadata":{"user":null}}"#] {
        assert!(urls.contains(&by(&gateway, "", body)), "{body}");
    }
    assert!(urls.contains(&by(&gateway, "content-encoding: gzip\r\n", "not looked into")));
}

#[test]
fn a_conversation_returns_to_the_endpoint_that_knows_its_beginning_over_all_lanes() {
    let urls: Vec<_> = (0..4).map(|_| named("")).collect();
    let gateway = Gateway::start(&config(&urls, "prefix"));
    let mut homes = Vec::new();
    for number in 0..12 {
        let opening = format!("{number}{}", "o".repeat(3000));
        homes.push((by(&gateway, "", &chat(&[&opening])), opening));
    }
    assert!(homes.iter().any(|(home, _)| *home != homes[0].0), "not all are at one: {homes:?}");
    for turn in 0..4 {
        for (home, opening) in &homes {
            let more = "m".repeat(turn * 500);
            assert_eq!(by(&gateway, "", &chat(&[opening, &more])), *home, "each time on another connection");
        }
    }
    // What is known of endpoints that stay is kept by a reload that moves them.
    let turned: Vec<_> = urls.iter().rev().cloned().collect();
    std::fs::write(&gateway.config, config(&turned, "prefix")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    for (home, opening) in &homes {
        assert_eq!(by(&gateway, "", &chat(&[opening, "after"])), *home);
    }
}

#[test]
fn an_endpoint_that_says_it_forgot_is_no_longer_preferred() {
    let forgets = r#","usage":{"prompt_tokens":1000,"prompt_tokens_details":{"cached_tokens":0}}"#;
    let (home, other) = (named(forgets), named(forgets));
    let gateway = Gateway::start(&config(&[home.clone(), other.clone()], "prefix"));
    let drain = |what: &str| {
        assert_eq!(gateway.admin("POST", &format!("/endpoints/up/{what}?url={other}")).0, 200);
    };
    drain("drain");
    let openings: Vec<_> = (0..24).map(|number| format!("{number}{}", "o".repeat(3000))).collect();
    openings.iter().for_each(|opening| assert_eq!(by(&gateway, "", &chat(&[opening])), home));
    // The youngest of them is asked once more, and nothing of it is there: the older ones are believed gone.
    assert_eq!(by(&gateway, "", &chat(&[&openings[23], "again"])), home);
    drain("undrain");
    let elsewhere =
        openings[..20].iter().filter(|opening| by(&gateway, "", &chat(&[opening])) == other).count();
    assert!(elsewhere > 0, "of twenty that nobody is believed to know one goes elsewhere");
}

#[test]
fn a_long_prompt_is_sent_on_before_its_end() {
    let upstream = Upstream::start();
    // Where there is nothing to choose nothing is looked for: the other one is out.
    let other = named("");
    let gateway = Gateway::start(&config(&[upstream.url(), other.clone()], "prefix"));
    assert_eq!(gateway.admin("POST", &format!("/endpoints/up/drain?url={other}")).0, 200);
    let text = "x".repeat(1 << 20);
    for framing in ["content-length", "chunked"] {
        let body = chat(&[&text]);
        let mut client = gateway.connect();
        let half = body.len() / 2;
        match framing {
            "chunked" => {
                client.send("POST /v1 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
                client.send(format!("{half:x}\r\n{}\r\n", &body[..half]));
            }
            _ => client.send(&post("", &body)[..half]),
        }
        let mut server = upstream.accept();
        let head = server.read_until("\r\n\r\n");
        assert!(head.starts_with("POST /v1"), "{head}");
        server.read_exactly(half - 70_000);
        match framing {
            "chunked" => {
                client.send(format!("{:x}\r\n{}\r\n0\r\n\r\n", body.len() - half, &body[half..]));
                server.read_until("\r\n0\r\n\r\n");
            }
            _ => {
                client.send(&post("", &body)[half..]);
                server.read_exactly(body.len() - (half - 70_000));
            }
        }
        server.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
        assert!(client.read_message().ends_with("ok"));
    }
}

#[test]
fn a_prompt_in_another_shape_is_served_and_a_client_that_waits_is_told_to_go_on() {
    let (url, other) = (named(""), named(""));
    let gateway = Gateway::start(&config(&[url.clone(), other.clone()], "prefix"));
    assert_eq!(gateway.admin("POST", &format!("/endpoints/up/drain?url={other}")).0, 200);
    for body in ["", "{", "[]", "model=x", r#"{"messages":7}"#, r#"{"prompt":{"a":[1,2]}}"#] {
        assert_eq!(by(&gateway, "", body), url, "{body}");
    }
    let body = chat(&["hello"]);
    let mut client = gateway.connect();
    let (head, _) = post("expect: 100-continue\r\n", &body)
        .split_once("\r\n\r\n")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    client.send(format!("{head}\r\n\r\n"));
    assert!(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 100"));
    client.send(&body);
    assert_eq!(of(&client.read_message()), url);
}

#[test]
fn a_long_prompt_weighs_more_than_several_short_ones() {
    let ((one, ones, answer_one), (two, twos, answer_two)) = (patient(), patient());
    let gateway = Gateway::start(&config(&[one.clone(), two.clone()], "least-work"));
    let send = |body: &str| -> Peer {
        let mut client = gateway.connect();
        client.send(post("", body));
        client
    };
    let mut clients = vec![send(&"x".repeat(200_000))];
    let wait = Duration::from_secs(10);
    // Whoever has it gets nothing more, while the other one has less work.
    let (heavy, light) = match ones.recv_timeout(Duration::from_millis(300)) {
        Ok(_) => (&ones, &twos),
        Err(_) => {
            twos.recv_timeout(wait).expect("one of them has it");
            (&twos, &ones)
        }
    };
    for _ in 0..12 {
        clients.push(send("short"));
        light.recv_timeout(wait).expect("it goes where less work is");
    }
    assert!(heavy.try_recv().is_err());
    for _ in 0..13 {
        let _ = (answer_one.send(()), answer_two.send(()));
    }
    clients.iter_mut().for_each(|client| assert!(client.read_message().ends_with("ok")));
    for url in [&one, &two] {
        gateway.until("all are over", |stats| stats["endpoints"]["up"][url]["in_flight"] == 0);
    }
}

#[test]
fn who_answers_slowly_is_asked_less() {
    let slow = Upstream::start().play(|peer, _| {
        std::thread::sleep(Duration::from_millis(400));
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::GoOn
    });
    let fast = Upstream::start().serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let gateway = Gateway::start(&config(&[slow.clone(), fast.clone()], "peak-ewma"));
    for _ in 0..60 {
        let mut client = gateway.connect();
        client.send(post("", "{}"));
        assert!(client.read_message().ends_with("ok"));
    }
    gateway.until("all are counted", |stats| stats["routes"]["all"]["requests"] == 60);
    let asked = gateway.endpoint(&slow)["requests"].as_u64().unwrap();
    assert!(asked <= 6, "one that takes far longer was asked {asked} times of 60");
}

/// A simulated inference server with a prefix cache; ended when dropped.
struct Engine {
    process: std::process::Child,
    url: String,
}

impl Engine {
    fn start() -> Self {
        Self::at("127.0.0.1:0")
    }

    fn at(listen: &str) -> Self {
        use std::io::BufRead;
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_corelane"))
            .args([
                "sim",
                "--listen",
                listen,
                "--kv-blocks",
                "4096",
                "--ttft",
                "0ms",
                "--itl",
                "0ms",
                "--tokens",
                "4",
            ])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_whitespace().find(|word| word.contains("127.0.0.1")).unwrap().to_owned();
        let url = if address.starts_with("http://") { address } else { format!("http://{address}") };
        Self { process, url }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Conversations, each of them all that was said in it.
struct Talk(Vec<Vec<String>>);

impl Talk {
    fn of(conversations: usize) -> Self {
        Self(vec![Vec::new(); conversations])
    }

    /// Each conversation's next turns: the share of prompt tokens that the engines' caches had, over these turns.
    fn go_on(&mut self, gateway: &Gateway, turns: usize) -> f64 {
        let (mut cached, mut asked) = (0, 0);
        for _ in 0..turns {
            for (number, turns) in self.0.iter_mut().enumerate() {
                turns.push(format!("{number}.{} {}", turns.len(), "word ".repeat(400)));
                let texts: Vec<&str> = turns.iter().map(String::as_str).collect();
                let mut client = gateway.connect();
                client.send(post("", &chat(&texts).replace("\"model\":\"m\"", "\"model\":\"sim\"")));
                let answer = client.read_message();
                let (_, body) = answer.split_once("\r\n\r\n").unwrap();
                let body: serde_json::Value =
                    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
                let usage = &body["usage"];
                asked += usage["prompt_tokens"].as_u64().unwrap_or_else(|| panic!("{answer}"));
                cached += usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap_or(0);
            }
        }
        cached as f64 / asked as f64
    }
}

/// The share of prompt tokens that real engines' caches had, of conversations turn by turn.
fn cached_share(balance: &str) -> f64 {
    let engines: Vec<_> = (0..4).map(|_| Engine::start()).collect();
    let urls: Vec<_> = engines.iter().map(|engine| engine.url.clone()).collect();
    Talk::of(12).go_on(&Gateway::start(&config(&urls, balance)), 5)
}

#[test]
fn engines_find_more_of_prompts_that_return_to_them() {
    // The turns before the last one are four fifteenths to twelve fifteenths of a prompt: ten of fifteen parts in all.
    let (prefix, turns) = (cached_share("prefix"), cached_share("round-robin"));
    assert!((0.6..0.68).contains(&prefix), "nearly all that there is to find: {prefix}");
    assert!(prefix > 1.5 * turns, "{prefix} and {turns}");
}

#[test]
fn conversations_of_an_engine_that_restarts_go_on_and_are_found_again() {
    let mut engines: Vec<_> = (0..8).map(|_| Engine::start()).collect();
    let urls: Vec<_> = engines.iter().map(|engine| engine.url.clone()).collect();
    let gateway = Gateway::start(&config(&urls, "prefix"));
    let mut talk = Talk::of(16);
    // Of three turns what was said before the last one: one third of the second, two thirds of the third, of six in all.
    let found = talk.go_on(&gateway, 3);
    assert!((0.42..0.51).contains(&found), "{found}");
    let at = engines[0].url.trim_start_matches("http://").to_owned();
    drop(engines.remove(0));
    // What is sent into a connection while that ends may have been read, and would be told so.
    gateway.until("its connections are gone", |stats| stats["endpoints"]["up"][&urls[0]]["idle"] == 0);
    // An answer to each while it is gone: `go_on` would not get over a refusal.
    let without = talk.go_on(&gateway, 1);
    engines.push(Engine::at(&at));
    let forgot = talk.go_on(&gateway, 1);
    assert!(without > 0.5 && forgot > 0.5, "the others find what they had: {without} {forgot}");
    // Eleven parts of thirteen are old in the turns six and seven.
    let again = talk.go_on(&gateway, 2);
    assert!((0.8..0.86).contains(&again), "{again}");
}
