//! Reloads under load: streams lose no byte, no request fails, and what stays keeps its connections and what was learned.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::support::{After, Gateway, OK, PATIENCE, Upstream};

const STREAMS: usize = 100;
const RELOADS: usize = 60;

/// An endpoint that streams numbers until it is told to stop, and answers everything else with `ok`.
fn counting(stop: &Arc<AtomicBool>) -> String {
    let stop = Arc::clone(stop);
    Upstream::start().play(move |peer, request| {
        if !request.starts_with("GET /stream ") {
            peer.send(OK);
            return After::GoOn;
        }
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        for number in 0.. {
            let event = format!("data: {number}\n\n");
            if write!(peer.stream, "{:x}\r\n{event}\r\n", event.len()).is_err() {
                return After::Close;
            }
            if stop.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(Duration::from_millis(15));
        }
        peer.send("0\r\n\r\n");
        After::GoOn
    })
}

/// A configuration of this generation: endpoints come, go and change their order, and so do routes.
fn config(generation: usize, stays: &str, others: &[String; 2]) -> String {
    let mut endpoints = vec![stays.to_owned()];
    match generation % 4 {
        0 => endpoints.extend(others.iter().cloned()),
        1 => endpoints.insert(0, others[1].clone()),
        2 => {}
        _ => endpoints.splice(0..0, others.iter().cloned()).for_each(drop),
    }
    let stream = "[[route]]\nname = \"stream\"\nmatch = { path = \"/stream\" }\nto = \"stays\"\n";
    let rest = "[[route]]\nname = \"rest\"\nto = \"changes\"\n";
    let more =
        format!("[[route]]\nmatch = {{ path = \"/more-{generation}\" }}\nrespond = {{ body = \"more\" }}\n");
    let routes =
        if generation.is_multiple_of(2) { [stream, rest, &more] } else { [&more, rest, stream] }.concat();
    format!(
        "[cluster.changes]\nendpoints = {endpoints:?}\n[cluster.stays]\nendpoints = [{stays:?}]\n{routes}"
    )
}

#[test]
fn reloads_cost_no_stream_a_byte_and_no_request_an_answer() {
    let stop = Arc::new(AtomicBool::new(false));
    let (stays, others) = (counting(&stop), [counting(&stop), counting(&stop)]);
    let gateway =
        Gateway::start_with(&config(0, &stays, &others), &["--listen", "127.0.0.1:0", "--lanes", "2"]);
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..STREAMS {
            let mut client = gateway.connect();
            scope.spawn(move || {
                client.send("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n");
                let head = client.read_until("\r\n\r\n");
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                let mut number = 0;
                loop {
                    let line = client.read_until("\r\n");
                    let size = usize::from_str_radix(line.trim(), 16).unwrap();
                    let data = String::from_utf8(client.read_exactly(size + 2)).unwrap();
                    if size == 0 {
                        break;
                    }
                    for event in data.trim_end().split("\n\n") {
                        assert_eq!(event.trim(), format!("data: {number}"), "a byte was lost or came twice");
                        number += 1;
                    }
                }
                assert!(number > 10, "it streamed all the while: {number}");
            });
        }
        for thread in 0..4 {
            let (gateway, stop, asked) = (&gateway, &stop, &asked);
            scope.spawn(move || {
                let mut client = gateway.connect();
                while !stop.load(Ordering::SeqCst) {
                    client.send("POST /ask HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nask");
                    let answer = client.read_message();
                    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
                    asked.fetch_add(1, Ordering::SeqCst);
                    if thread == 0 {
                        // And on fresh connections.
                        client = gateway.connect();
                    }
                }
            });
        }
        gateway.until("they stream", |stats| stats["endpoints"]["stays"][&stays]["in_flight"] == STREAMS);
        let connects = gateway.stats()["endpoints"]["stays"][&stays]["connects"].clone();
        for generation in 1..=RELOADS {
            std::fs::write(&gateway.config, config(generation, &stays, &others)).unwrap();
            let (status, said) = gateway.admin("POST", "/reload");
            assert_eq!(status, 200, "{said}");
            // It is in force on all lanes once that is said.
            let path = format!("GET /more-{generation} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            assert!(gateway.exchange(&path).ends_with("more"));
        }
        let stats = gateway.stats();
        let endpoint = &stats["endpoints"]["stays"][&stays];
        assert_eq!(endpoint["in_flight"], STREAMS, "loads are kept");
        assert_eq!(endpoint["connects"], connects, "what stays keeps its connections");
        assert_eq!(stats["plan"]["generation"], RELOADS + 1);
        stop.store(true, Ordering::SeqCst);
    });
    assert!(asked.load(Ordering::SeqCst) > RELOADS, "requests went on");
    let stats = gateway.stats();
    for (name, route) in stats["routes"].as_object().unwrap() {
        assert_eq!(route["S"], 1.0, "{name}: {route}");
    }
}

#[test]
fn a_drain_under_load_loses_no_request_whose_first_byte_was_read() {
    let upstream = Upstream::start().serve(OK);
    let config = format!("[cluster.up]\nendpoints = [{upstream:?}]\n[[route]]\nto = \"up\"\n");
    let mut gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "2"]);
    let address = gateway.listening[0].clone();
    let (tell, told) = channel();
    let process = &mut gateway.process;
    let id = process.id();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let (address, tell) = (&address, tell.clone());
            scope.spawn(move || {
                loop {
                    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return };
                    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                    for number in 0..20 {
                        let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
                        let mut seen = [0; 4096];
                        // A connection that was at rest may be closed at the very moment; one that was answered less than
                        // a second ago may not, and every one here was.
                        let read = stream.write_all(request).and_then(|()| stream.read(&mut seen));
                        let count = match read {
                            Ok(count) => count,
                            // It was not accepted yet when the listener closed: nobody had read a byte of it.
                            Err(_) if number == 0 => return,
                            Err(error) => panic!("{error}"),
                        };
                        let answer = String::from_utf8_lossy(&seen[..count]).into_owned();
                        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer:?}");
                        tell.send(()).unwrap();
                        if answer.contains("connection: close\r\n") {
                            break;
                        }
                    }
                }
            });
        }
        for _ in 0..500 {
            told.recv_timeout(PATIENCE).unwrap();
        }
        std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status().unwrap();
    });
    assert!(process.wait().unwrap().success());
}
