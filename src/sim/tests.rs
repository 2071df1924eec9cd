//! The simulated server over real sockets, on both drivers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Sim;
use super::options::SimOptions;
use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::net::driver::choose;

fn drivers() -> Vec<IoDriver> {
    let mut drivers = vec![IoDriver::Epoll, choose()];
    drivers.dedup();
    drivers
}

fn start(options: SimOptions, driver: IoDriver) -> Sim {
    Sim::start(&Address::Tcp("127.0.0.1:0".parse().unwrap()), options, driver).unwrap()
}

fn connect(sim: &Sim) -> TcpStream {
    let Address::Tcp(address) = sim.address() else { panic!("it listens on TCP") };
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

/// Sends a request that asks for the connection's end and reads everything.
fn ask(sim: &Sim, method: &str, path: &str, fields: &str, body: &str) -> (std::io::Result<usize>, String) {
    let mut stream = connect(sim);
    let length = body.len();
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}content-length: {length}\r\n\r\n{body}").unwrap();
    let mut bytes = Vec::new();
    let result = stream.read_to_end(&mut bytes);
    (result, String::from_utf8_lossy(&bytes).into_owned())
}

fn stats(sim: &Sim) -> Value {
    let (_, text) = ask(sim, "GET", "/sim/stats", "", "");
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn quick() -> SimOptions {
    SimOptions { ttft: Duration::ZERO, itl: Duration::ZERO, tokens: 4, ..SimOptions::default() }
}

const CHAT: &str = r#"{"model":"sim","messages":[{"role":"user","content":"hi"}]}"#;
const ONE_TOKEN: &str =
    r#"{"model":"sim","stream":true,"max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#;
const STREAM: &str = r#"{"model":"sim","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn a_stream_says_what_the_plain_answer_says() {
    for driver in drivers() {
        let sim = start(quick(), driver);
        let (_, plain) = ask(&sim, "POST", "/v1/chat/completions", "", CHAT);
        let plain: Value = serde_json::from_str(plain.split_once("\r\n\r\n").unwrap().1).unwrap();
        let (_, stream) = ask(&sim, "POST", "/v1/chat/completions", "", STREAM);
        let said: String = stream
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
            .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
            .collect();
        assert_eq!(plain["choices"][0]["message"]["content"], said);
        assert!(stream.contains("data: [DONE]\n\n") && stream.ends_with("0\r\n\r\n"), "{stream}");
        assert_eq!(stats(&sim)["finished"], 2);
    }
}

#[test]
fn a_client_that_leaves_cancels_its_generation_and_frees_the_slot() {
    for driver in drivers() {
        let sim = start(SimOptions { itl: Duration::from_secs(60), slots: 1, ..quick() }, driver);
        let mut client = connect(&sim);
        write!(
            client,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{STREAM}",
            STREAM.len()
        )
        .unwrap();
        let mut first = [0; 64];
        client.read_exact(&mut first).unwrap();
        drop(client);
        let begun = Instant::now();
        while stats(&sim)["cancelled"] != 1 {
            assert!(begun.elapsed() < Duration::from_secs(5), "{}", stats(&sim));
        }
        assert_eq!(stats(&sim)["running"], 0);
    }
}

#[test]
fn faults_break_answers_as_asked() {
    for driver in drivers() {
        let sim = start(quick(), driver);
        let chat = |fault: &str, body| {
            ask(&sim, "POST", "/v1/chat/completions", &format!("x-sim: {fault}\r\n"), body)
        };
        assert!(chat("status=429, retry-after=2", CHAT).1.contains("429 Too Many Requests"));
        assert!(chat("status=429, retry-after=2", CHAT).1.contains("retry-after: 2\r\n"));
        assert!(chat("reset=head", CHAT).0.is_err());
        assert!(chat("reset=body", STREAM).0.is_err());
        let (ended, text) = chat("truncate", STREAM);
        assert!(ended.is_ok() && text.contains("data: ") && !text.ends_with("0\r\n\r\n"), "{text}");
        let (_, text) = chat("truncate", ONE_TOKEN);
        assert!(text.contains("data: ") && !text.ends_with("0\r\n\r\n"), "one token: {text}");
        for nonsense in ["nonsense", "first=5", "token=", "body=never"] {
            assert!(chat(nonsense, CHAT).1.starts_with("HTTP/1.1 400"), "{nonsense}");
        }
        for (pause, body) in [("first", STREAM), ("token", STREAM), ("body", STREAM), ("body", CHAT)] {
            let begun = Instant::now();
            let (ended, text) = chat(&format!("{pause}=30ms"), body);
            assert!(begun.elapsed() >= Duration::from_millis(30), "{pause}");
            assert!(ended.is_ok() && text.starts_with("HTTP/1.1 200 "), "{pause}: {text}");
        }
    }
}

#[test]
fn an_idle_connection_is_closed_like_uvicorn_does() {
    for driver in drivers() {
        let sim = start(SimOptions { keep_alive: Some(Duration::from_millis(50)), ..quick() }, driver);
        let mut client = connect(&sim);
        write!(client, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn other_dialects_answer_in_their_shapes() {
    let sim = start(SimOptions { kv_blocks: 64, ..quick() }, IoDriver::Epoll);
    let body =
        |method, path, body| ask(&sim, method, path, "", body).1.split_once("\r\n\r\n").unwrap().1.to_owned();
    let json = |method, path, text| serde_json::from_str::<Value>(&body(method, path, text)).unwrap();
    assert_eq!(json("POST", "/v1/embeddings", r#"{"model":"sim","input":["a","b"]}"#)["data"][1]["index"], 1);
    assert_eq!(
        json("POST", "/v1/embeddings", r#"{"model":"sim","input":[1,2]}"#)["data"].as_array().unwrap().len(),
        1
    );
    assert_eq!(json("POST", "/embed", r#"{"inputs":"a"}"#).as_array().unwrap().len(), 1);
    assert_eq!(json("POST", "/rerank", r#"{"query":"q","texts":["a","b"]}"#).as_array().unwrap().len(), 2);
    let tensor = r#"{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1.5]}]}"#;
    assert_eq!(json("POST", "/v2/models/sim/infer", tensor)["outputs"][0]["data"][0], 1.5);
    assert_eq!(json("POST", "/api", r#"{"data":"hello"}"#)["received"], "hello");
    assert_eq!(body("PUT", "/echo", "exactly this"), "exactly this");
    assert!(body("GET", "/metrics", "").contains("vllm:num_requests_running{model_name=\"sim\"} 0"));
    let long = format!(r#"{{"model":"sim","prompt":"{}"}}"#, "x".repeat(256));
    assert_eq!(json("POST", "/v1/completions", &long)["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(json("POST", "/v1/completions", &long)["usage"]["prompt_tokens_details"]["cached_tokens"], 64);
    for (method, path, text, status) in [
        ("POST", "/v1/chat/completions", r#"{"model":"other","messages":[{}]}"#, "404"),
        ("POST", "/v1/chat/completions", "nonsense", "400"),
        ("GET", "/v1/chat/completions", "", "405"),
        ("GET", "/nowhere", "", "404"),
    ] {
        assert!(ask(&sim, method, path, "", text).1.starts_with(&format!("HTTP/1.1 {status}")), "{path}");
    }
}
