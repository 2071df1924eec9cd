//! Many at once: clients that leave in each phase, idle connections, streams.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{Gateway, OK, PATIENCE, Peer, Upstream, one_cluster};

/// Rounds of a thousand clients in each phase; memory is compared after the first few.
const ROUNDS: usize = 8;
const WARM_ROUNDS: usize = 3;
/// What the allocator may still take after that, KiB. A leak of 512 bytes a client would be 6 MiB in the four rounds
/// of three thousand that are compared; what is seen is half of it, and flattening out.
const GROWTH_KIB: u64 = 6144;
/// Descriptors of a gateway that serves nobody, with some for the connection that asks for its statistics.
const QUIET_DESCRIPTORS: usize = 48;

/// Open descriptors of a process.
fn descriptors(gateway: &Gateway) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", gateway.process.id())).unwrap().count()
}

/// An upstream that reads everything and answers nothing but, where asked to stream, a head and one event.
fn mute() -> String {
    // A thousand connections come at once: the standard library's backlog of 128 would drop most of them.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(4096).unwrap();
    let listener = TcpListener::from(socket);
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let (mut stream, mut bytes) = (stream, [0; 4096]);
                while let Ok(count) = stream.read(&mut bytes) {
                    if count == 0 {
                        return;
                    }
                    if bytes[..count].starts_with(b"GET /stream") {
                        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: x\n\n";
                        let _ = stream.write_all(head.as_bytes());
                    }
                }
            });
        }
    });
    url
}

#[test]
fn a_thousand_clients_that_leave_in_each_phase_leave_nothing_behind() {
    let url = mute();
    let gateway = Gateway::start(&one_cluster(&[&url]));
    let phases = [
        ("sending", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf", None),
        ("waiting", "GET / HTTP/1.1\r\nhost: x\r\n\r\n", None),
        ("streaming", "GET /stream HTTP/1.1\r\nhost: x\r\n\r\n", Some("data: x\n\n")),
    ];
    let mut settled: Option<(u64, usize)> = None;
    for round in 0..ROUNDS {
        for (phase, request, until) in phases {
            let mut clients: Vec<Peer> = (0..1000).map(|_| gateway.connect()).collect();
            clients.iter_mut().for_each(|client| client.send(request));
            match until {
                Some(end) => clients.iter_mut().for_each(|client| drop(client.read_until(end))),
                None => gateway
                    .until("all are in flight", |stats| stats["endpoints"]["up"][&url]["in_flight"] == 1000),
            }
            drop(clients);
            gateway.until(phase, |stats| {
                let endpoint = &stats["endpoints"]["up"][&url];
                endpoint["in_flight"] == 0
                    && endpoint["idle"] == 0
                    && stats["connections"].as_array().unwrap().iter().all(|n| *n == 0)
            });
        }
        let open = settled.map_or(usize::MAX, |(_, open)| open);
        let begun = Instant::now();
        while descriptors(&gateway) > open {
            assert!(
                begun.elapsed() < PATIENCE,
                "round {round}: {open} descriptors became {}",
                descriptors(&gateway)
            );
        }
        let memory = gateway.resident_bytes() >> 10;
        match settled {
            Some((before, _)) if round > WARM_ROUNDS => {
                assert!(memory < before + GROWTH_KIB, "round {round}: {before} KiB became {memory} KiB");
            }
            // The first rounds fill allocator and tables; after that nothing may grow.
            _ => settled = Some((memory, descriptors(&gateway).max(QUIET_DESCRIPTORS))),
        }
    }
    assert_eq!(gateway.stats()["routes"]["all"]["client_closed"], ROUNDS * 3000);
}

#[test]
fn five_thousand_idle_connections_and_five_hundred_streams_live_on_one_lane() {
    const IDLE: usize = 5000;
    const STREAMS: usize = 500;
    const TOKENS: usize = 40;
    let sim = corelane_sim(TOKENS);
    let gateway =
        Gateway::start_with(&one_cluster(&[&sim.url]), &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    let mut idle: Vec<TcpStream> =
        (0..IDLE).map(|_| TcpStream::connect(&gateway.listening[0]).unwrap()).collect();
    gateway.until("all are open", |stats| stats["connections"] == serde_json::json!([IDLE]));

    let body = r#"{"model":"sim","stream":true,"messages":[{"role":"user","content":"go"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut streams: Vec<Peer> = (0..STREAMS).map(|_| gateway.connect()).collect();
    let begun = Instant::now();
    streams.iter_mut().for_each(|client| client.send(&request));
    for client in &mut streams {
        let text = client.read_until("0\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("[DONE]"), "{text}");
        assert_eq!(text.matches("\"content\":").count(), TOKENS + 1);
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let stats = gateway.stats();
    let route = &stats["routes"]["all"];
    assert_eq!((&route["requests"], &route["success"]), (&STREAMS.into(), &STREAMS.into()));

    // Those that lay idle, and gave their buffers back, are served like any other.
    for client in idle.iter_mut().step_by(50) {
        client.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

struct SimProcess {
    process: std::process::Child,
    url: String,
}

impl Drop for SimProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A simulated inference server that gives 20 tokens a second to each of a thousand.
fn corelane_sim(tokens: usize) -> SimProcess {
    use std::io::BufRead;
    let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_corelane"))
        .args([
            "sim",
            "--listen",
            "127.0.0.1:0",
            "--itl",
            "50ms",
            "--slots",
            "1000",
            "--tokens",
            &tokens.to_string(),
        ])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(process.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().trim_start_matches("listening ").to_owned();
    SimProcess { process, url }
}

const ASK: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// Each lane accepts from a queue of its own: who has been answered has a place for certain.
fn answered(gateway: &Gateway) -> Peer {
    let mut client = gateway.connect();
    client.send(ASK);
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    client
}

#[test]
fn past_the_limit_who_has_rested_longest_makes_room() {
    let upstream = Upstream::start().serve(OK);
    for lanes in ["1", "2"] {
        let config = format!("[limits]\nconnections = 2\n{}", one_cluster(&[&upstream]));
        let gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", lanes]);
        let mut first = answered(&gateway);
        // Rests are told apart to within two ticks.
        std::thread::sleep(Duration::from_millis(300));
        let mut second = answered(&gateway);
        let mut third = answered(&gateway);
        assert!(first.read_to_end().is_empty(), "it is closed, and nothing is said");
        second.send(ASK);
        assert!(second.read_message().starts_with("HTTP/1.1 200 "), "one newcomer costs one place");
        // Who never said anything rests too.
        drop((second, third));
        let silent = [gateway.connect(), gateway.connect()];
        third = answered(&gateway);
        drop(silent);
        third.send(ASK);
        assert!(third.read_message().starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn past_the_limit_newcomers_wait_while_all_are_busy() {
    let upstream = Upstream::start();
    let config = format!("[limits]\nconnections = 2\n{}", one_cluster(&[&upstream.url()]));
    let gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    let mut busy = [(); 2].map(|()| {
        let mut client = gateway.connect();
        client.send(ASK);
        let mut server = upstream.accept();
        server.read_until("\r\n\r\n");
        (client, server)
    });
    let mut third = gateway.connect();
    third.send(ASK);
    std::thread::sleep(Duration::from_secs(1));
    assert!(third.is_silent());
    // Its exchange is over: soon it counts as one that rests.
    let (client, server) = &mut busy[0];
    server.send(OK);
    assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    server.read_until("\r\n\r\n");
    server.send(OK);
    assert!(third.read_message().starts_with("HTTP/1.1 200 "));
    assert!(client.read_to_end().is_empty());
    let (client, server) = &mut busy[1];
    server.send(OK);
    assert!(client.read_message().starts_with("HTTP/1.1 200 "), "it was busy all the while");
}

#[test]
fn clients_leave_descriptors_for_the_endpoints_they_wait_for() {
    let config = one_cluster(&[&Upstream::start().serve(OK)]);
    let gateway = Gateway::start_within(128, &config, &["--listen", "127.0.0.1:0", "--lanes", "2"]);
    let mut first = gateway.connect();
    // It is about to ask, so it is not the one that has to go.
    first.send("GET / HTTP/1.1\r\nho");
    gateway.until("it is accepted", |stats| stats["connections"].to_string().contains('1'));
    let _crowd: Vec<_> = (0..150).map(|_| gateway.connect()).collect();
    let sum = |stats: &serde_json::Value| {
        stats["connections"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>()
    };
    gateway.until("there is no place left", |stats| sum(stats) >= 20);
    first.send("st: x\r\n\r\n");
    let answer = first.read_message();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(gateway.admin("GET", "/livez").0, 200);
    assert!(sum(&gateway.stats()) < 60);
    let config: serde_json::Value = serde_json::from_str(&gateway.admin("GET", "/config").1).unwrap();
    assert!(config["understood"]["limits"]["connections"].as_u64() < Some(60), "{config}");
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
}
