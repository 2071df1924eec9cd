//! Times the deciders that every request passes: heads, chunks, events, routes. `--once` runs each a single time.
#![allow(clippy::print_stdout, reason = "a bench ends where nobody reads it")]

use std::hint::black_box;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use corelane::base::ids::{Id, RouteId};
use corelane::codec::chunk_line::ChunksOf;
use corelane::codec::chunked::{ChunkEvent, ChunkReader, write_chunk};
use corelane::codec::fields::FieldTable;
use corelane::codec::json::Wanted;
use corelane::codec::progress::Progress;
use corelane::codec::split::split_request;
use corelane::codec::sse::EventCounter;
use corelane::route::RouteTable;
use corelane::route::matcher::{Matcher, PathRule};

const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:8080\r\nAccept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 1.99.0\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 1.99.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\nX-Stainless-Runtime-Version: 3.11.7\r\nAuthorization: Bearer sk-0123456789abcdef0123456789abcdef\r\nAccept-Encoding: gzip, deflate\r\nContent-Length: 512\r\n\r\n";
const EVENT: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"finish_reason\":null}]}\n\n";

/// Runs `work` until it took about half a second (or once), best of five, and prints nanoseconds a run.
fn bench(name: &str, once: bool, mut work: impl FnMut()) {
    let (rounds, runs) = if once { (1, 1) } else { (5, 200_000) };
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let begun = Instant::now();
        (0..runs).for_each(|_| work());
        best = best.min(begun.elapsed().as_nanos() as f64 / f64::from(runs));
    }
    println!("{name:<44} {best:>9.0} ns");
}

fn main() {
    let once = std::env::args().any(|argument| argument == "--once");

    let head = Bytes::from_static(HEAD.as_bytes());
    let mut table = FieldTable::default();
    bench("request head, 13 fields", once, || {
        let split = split_request(head.clone(), std::mem::take(&mut table)).expect("the head is well formed");
        assert_eq!(split.path(), b"/v1/chat/completions");
        table = split.into_table();
    });

    let mut chunk = Vec::new();
    write_chunk(&mut chunk, EVENT.as_bytes());
    let mut input = BytesMut::with_capacity(4096);
    let mut reader = ChunkReader::new(ChunksOf::Request);
    bench("one chunk of 170 bytes", once, || {
        input.extend_from_slice(&chunk);
        match reader.next(&mut input) {
            Ok(Progress::Ready(ChunkEvent::Data(data))) => assert_eq!(data.len(), EVENT.len()),
            other => panic!("{other:?}"),
        }
    });

    let mut counter = EventCounter::new();
    bench("one event judged", once, || assert_eq!(counter.feed(black_box(EVENT.as_bytes())), 1));

    let rule = |path: &str| Matcher { path: Some(PathRule::new(path)), ..Matcher::default() };
    let paths = [
        "/v1/models",
        "/v1/embeddings",
        "/v1/completions",
        "/v2/models/{model}/infer",
        "/ping",
        "/v1/chat/completions",
    ];
    let rows = paths.iter().enumerate().map(|(at, path)| (rule(path), RouteId::at(at))).collect();
    let routes = RouteTable::new(rows, Wanted::default());
    let split = split_request(head, FieldTable::default()).expect("the head is well formed");
    bench("route out of six", once, || {
        black_box(routes.find(black_box(&split)));
    });
}
