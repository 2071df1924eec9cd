//! `corelane explain` tells what the data path does: random requests are sent and explained, and the two compared.

use std::process::Command;

use corelane::base::rng::Rng;
use serde_json::Value;

use crate::support::{Gateway, Peer, Upstream};

/// Answers with the head that it was sent.
fn mirror() -> String {
    let upstream = Upstream::start();
    let url = upstream.url();
    std::thread::spawn(move || {
        for stream in upstream.listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut peer = Peer::new(stream);
                peer.stream.set_read_timeout(None).unwrap();
                while let Some(request) = peer.try_message() {
                    let end = request.find("\r\n\r\n").unwrap() + 4;
                    let head = &request[..end];
                    peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len()));
                }
            });
        }
    });
    url
}

fn config() -> String {
    let [a, b, c] = [mirror(), mirror(), mirror()];
    format!(
        r#"
[[listener]]
address = "127.0.0.1:0"
trusted = ["127.0.0.1"]
[limits]
head = "2KiB"
body = "1KiB"
[cluster.a]
endpoints = ["{a}/base"]
[cluster.b]
endpoints = ["{b}"]
host = "keep"
[cluster.c]
endpoints = ["{c}", "{a}"]
[[route]]
name = "models"
match = {{ path = "/v1/models", method = "GET" }}
respond = {{ status = 203 }}
[[route]]
name = "vision"
match = {{ path = "/v1/*", header = {{ x-team = "~^vision-[0-9]+$" }}, body = {{ model = "llama-*" }} }}
to = "a"
[[route]]
name = "chat"
match = {{ path = "/v1/*", method = "POST", body = {{ model = ["qwen", "llama-3"] }} }}
rewrite = {{ strip = "/v1", add = "/v2" }}
body = "200B"
to = [{{ cluster = "b", weight = 1 }}, {{ cluster = "c", weight = 3 }}]
[[route]]
name = "host"
match = {{ host = "*.local", path = "/v1/{{what}}" }}
to = "b"
[[route]]
name = "edited"
match = {{ path = "/edited/*" }}
set = {{ body = {{ model = "m", "a.b" = [1] }}, header = {{ accept = "text/x" }} }}
default = {{ body = {{ n = 5 }} }}
remove = {{ body = ["x"] }}
to = "b"
[[route]]
name = "rest"
match = {{ path = "/free/*" }}
to = "c"
"#
    )
}

struct Request {
    method: &'static str,
    target: String,
    headers: Vec<String>,
    body: Option<String>,
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn request(rng: &mut Rng) -> Request {
    let target = pick(
        rng,
        &[
            "/v1/models",
            "/v1/chat",
            "/v1/chat?x=1",
            "/v1/a/b",
            "/free",
            "/free/%7Eu?%2f",
            "/edited/x",
            "/edited/y?z",
            "/other",
            "/v1/../free",
            "/v1/a%2fb",
            "/v1/a;b",
            "//v1/chat",
            "/free/a%2F/;b",
            "*",
            "http://api.local/v1/chat",
        ],
    );
    let method = pick(rng, &["GET", "POST", "POST", "POST", "HEAD", "PUT", "OPTIONS", "TRACE"]);
    let mut headers = Vec::new();
    let all = [
        "host: api.local.",
        "x-team: vision-7",
        "x-team: other",
        "x-team: vision-8",
        "expect: 100-continue",
        "expect: more",
        "connection: x-drop",
        "x-drop: 1",
        "x-forwarded-for: 9.9.9.9",
        "x-request-id: given-1",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate: a=b",
        "max-forwards: 0",
        "max-forwards: 3",
        "te: trailers",
        "via: 1.0 before",
        "accept: */*",
        "content-encoding: gzip",
        "content-type: application/json",
        "content-type: application/x-www-form-urlencoded",
        "inference-header-content-length: 16",
    ];
    for header in all {
        if rng.below(6) == 0 {
            headers.push(header.to_owned());
        }
    }
    if rng.below(40) == 0 {
        headers.push(format!("x-long: {}", "y".repeat(3000)));
    }
    let long = format!("{{\"model\":\"qwen\",\"x\":\"{}\"}}", "z".repeat(rng.below(2000) as usize));
    let bodies = [
        r#"{"model":"qwen"}"#,
        r#"{"model":"llama-3"}"#,
        r#"{"model":"llama-9"}"#,
        r#"{"model":"none"}"#,
        r#"{"model":"qwen","model":"qwen"}"#,
        r#"{"model":"qwen""#,
        r#"{"Model":"qwen"}"#,
        "\u{feff}{\"model\":\"qwen\",\"x\":NaN}",
        "model=llama-3",
        "hello",
        "",
        &long,
    ];
    let body = (method == "POST" || rng.below(5) == 0).then(|| pick(rng, &bodies).to_owned());
    Request { method, target: target.to_owned(), headers, body }
}

fn explained(gateway: &Gateway, request: &Request) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(["explain", "--json", "--config"]).arg(&gateway.config).args(["-X", request.method]);
    for header in &request.headers {
        command.args(["-H", header]);
    }
    if let Some(body) = &request.body {
        command.args(["-d", body]);
    }
    let output = command.arg(&request.target).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A head without what is random in life.
fn settled(head: &str) -> Vec<String> {
    head.lines()
        .map(|line| match line.split_once(": ") {
            Some(("x-request-id", id)) if id.len() == 32 => "x-request-id: …".to_owned(),
            Some(("traceparent", trace)) if trace.ends_with("-00") => "traceparent: …".to_owned(),
            // The span is ours.
            Some(("traceparent", trace)) => format!("traceparent: {}", &trace[..36]),
            _ => line.to_owned(),
        })
        .collect()
}

#[test]
fn it_equals_what_the_data_path_does() {
    let gateway = Gateway::start_with(&config(), &[]);
    let (mut forwarded, mut refused) = (0, 0);
    for seed in 0..300 {
        let request = request(&mut Rng::new(seed));
        let explained = explained(&gateway, &request);
        let host = match request.headers.iter().any(|header| header.starts_with("host:")) {
            true => "",
            false => "host: 127.0.0.1:0\r\n",
        };
        let length = request.body.as_ref().map(|body| format!("content-length: {}\r\n", body.len()));
        let fields: String = request.headers.iter().map(|header| format!("{header}\r\n")).collect();
        let mut client = gateway.connect();
        client.send(format!(
            "{} {} HTTP/1.1\r\n{host}{fields}{}\r\n{}",
            request.method,
            request.target,
            length.unwrap_or_default(),
            request.body.as_deref().unwrap_or_default()
        ));
        let mut head = client.read_until("\r\n\r\n");
        while head.starts_with("HTTP/1.1 100 ") {
            head = client.read_until("\r\n\r\n");
        }
        let status: u64 = head[9..12].parse().unwrap();
        let shown = format!(
            "seed {seed}: {} {} {:?}\n{explained:#}\n{head}",
            request.method, request.target, request.headers
        );
        match explained["to"].as_array() {
            Some(targets) => {
                forwarded += 1;
                assert_eq!(status, 200, "{shown}");
                if request.method == "HEAD" {
                    continue;
                }
                let length: usize = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .unwrap()
                    .parse()
                    .unwrap();
                let seen = String::from_utf8(client.read_exactly(length)).unwrap();
                let heads = targets.iter().flat_map(|target| target["endpoints"].as_array().unwrap());
                let mut heads = heads.map(|endpoint| settled(endpoint["head"].as_str().unwrap()));
                assert!(heads.any(|told| told == settled(&seen)), "{shown}\nsent:\n{seen}");
            }
            None => {
                refused += 1;
                assert_eq!(Some(status), explained["status"].as_u64(), "{shown}");
            }
        }
    }
    assert!(forwarded > 60 && refused > 60, "{forwarded} {refused}");
}

#[test]
fn it_says_so_in_words() {
    let file = crate::support::fresh_path("explained.toml");
    std::fs::write(&file, config()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
        let output = command.args(["explain", "--config"]).arg(&file).args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, out, _) = run(&["-d", r#"{"model":"qwen"}"#, "/v1/chat"]);
    assert_eq!(code, Some(0));
    for part in [
        "route     chat\n",
        "cluster   b (25 % of the route's requests)\n",
        "endpoint  -> http://127.0.0.1:",
        ": score 0.000: there is no other\n",
        "\nPOST /v2/chat HTTP/1.1\r\n",
    ] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let (code, out, _) = run(&["-d", r#"{"model":"x"}"#, "/v1/chat"]);
    assert!(code == Some(0) && out.contains("answer    404 model_not_found\n"), "{out}");
    let edited = r#"{"model":"x","x":[1]}"#;
    let (code, out, _) = run(&["-d", edited, "/edited/x"]);
    let told = "edit      model: \"x\" becomes \"m\"\nedit      a.b: absent becomes [1]\nedit      n: absent becomes 5\n\
                edit      x: [1] becomes absent\nedit      accept: text/x\n";
    assert!(code == Some(0) && out.contains(told) && out.contains("content-length: 33\r\n"), "{out}");
    let (_, out, _) = run(&["--json", "-d", edited, "/edited/x"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    let edits = r#"[{"member":"model","from":"x","to":"m"},{"member":"a.b","to":[1]},{"member":"n","to":5},{"member":"x","from":[1]},{"header":"accept","to":"text/x"}]"#;
    assert_eq!(told["edits"], serde_json::from_str::<Value>(edits).unwrap(), "{out}");
    let (code, _, error) = run(&["-d", "@/nowhere", "/v1/chat"]);
    assert!(code == Some(2) && error.contains("cannot be read") && error.contains("fix:"), "{error}");
    let _ = std::fs::remove_file(file);
}

#[test]
fn a_body_is_framed_as_its_head_says() {
    let file = crate::support::fresh_path("explain.toml");
    std::fs::write(&file, "[[route]]\nmatch = { body = { model = \"m\" } }\nrespond = { status = 202 }\n")
        .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_corelane"))
        .args(["explain", "--json", "--config"])
        .arg(&file)
        .args(["-H", "transfer-encoding: chunked", "-d", "{\"model\":\"m\"}", "/v1"])
        .output()
        .unwrap();
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["status"], 202, "{explained}");
    std::fs::remove_file(file).unwrap();
}

/// What the command prints, asked of the running gateway.
fn told_by(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_corelane"))
        .args(["explain", "--admin", &gateway.admin])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_running_gateway_tells_whom_it_would_ask_and_why() {
    let (upstream, other) = (Upstream::start(), Upstream::start());
    let urls = [upstream.url(), other.url()];
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = {urls:?}\nsingle_flight = true\n[[route]]\nname = \"all\"\nto = \"up\"\n"
    ));
    assert_eq!(gateway.admin("POST", &format!("/endpoints/up/drain?url={}", urls[1])).0, 200);
    let mut client = gateway.connect();
    client.send("POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello");
    let mut server = upstream.accept();
    server.read_until("hello");
    assert_eq!(gateway.admin("POST", &format!("/endpoints/up/undrain?url={}", urls[1])).0, 200);

    let told: Value = serde_json::from_str(&told_by(&gateway, &["--json", "-d", "hello", "/x"])).unwrap();
    assert_eq!((&told["route"], &told["cluster"]), (&"all".into(), &"up".into()), "{told}");
    let [busy, idle] = &told["endpoints"].as_array().unwrap()[..] else { panic!("two of them: {told}") };
    assert_eq!(
        (&busy["url"], &busy["picked"], &busy["admitted"]),
        (&urls[0].as_str().into(), &false.into(), &true.into())
    );
    assert_eq!(busy["terms"]["work"], 4096.0 + 5.0, "{told}");
    assert_eq!((&idle["picked"], &idle["score"]), (&true.into(), &0.0.into()), "{told}");
    assert_eq!(idle["why"], "the least work for its weight");
    let host = urls[1].trim_start_matches("http://");
    assert!(told["head"].as_str().unwrap().contains(&format!("host: {host}\r\n")), "{told}");
    let text = told_by(&gateway, &["-d", "hello", "/x"]);
    assert!(text.contains("together  the same question is asked once at a time\n"), "{text}");
    assert!(text.contains(&format!("endpoint  -> {}: score 0.000", urls[1])), "{text}");

    assert_eq!(gateway.admin("POST", &format!("/endpoints/up/drain?url={}", urls[1])).0, 200);
    let told: Value = serde_json::from_str(&told_by(&gateway, &["--json", "-d", "hello", "/x"])).unwrap();
    let [busy, out] = &told["endpoints"].as_array().unwrap()[..] else { panic!("two of them: {told}") };
    assert_eq!(
        (&busy["picked"], &out["admitted"], &out["score"]),
        (&true.into(), &false.into(), &Value::Null)
    );
    assert_eq!(out["why"], "an operator took it out");
    server.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    client.read_message();
    // What is no request is told as the gateway would answer it.
    assert!(told_by(&gateway, &["-H", "host: a b", "/x"]).contains("400"));
}
