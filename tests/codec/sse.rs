//! Event streams as engines send them (`tests/data/sse`): which events carry a token, however the bytes come.
//!
//! A file begins with comments, which are part of the stream: engine and dialect with the source and its date, then
//! `: tokens` and the numbers of the events behind them that carry one.

use std::fs;
use std::path::Path;

use corelane::codec::sse::EventCounter;

struct Stream {
    name: String,
    text: String,
    /// The events behind the head, each with the empty line that ends it.
    events: Vec<String>,
    /// Numbers of those that carry a token, from 1.
    tokens: Vec<usize>,
}

fn streams() -> Vec<Stream> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sse");
    let mut streams: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| stream(&entry.unwrap().path())).collect();
    streams.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(streams.len() >= 15, "streams are missing");
    streams
}

fn stream(path: &Path) -> Stream {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut events: Vec<_> = text.split_inclusive("\n\n").map(str::to_owned).collect();
    let head = events.remove(0);
    let lines: Vec<_> = head.lines().collect();
    assert!(lines[0].starts_with(": ") && lines[0].contains("Source: "), "{name}: where is it from?");
    let tokens = lines[1].strip_prefix(": tokens").unwrap_or_else(|| panic!("{name}: which events?"));
    let tokens = tokens.split_whitespace().map(|number| number.parse().unwrap()).collect();
    Stream { name, text, events, tokens }
}

#[test]
fn each_event_of_each_engine_is_judged_as_its_file_says() {
    for stream in streams() {
        let mut counter = EventCounter::new();
        let carrying = |(at, event): (usize, &String)| (counter.feed(event.as_bytes()) > 0).then_some(at + 1);
        let found: Vec<_> = stream.events.iter().enumerate().filter_map(carrying).collect();
        assert_eq!(found, stream.tokens, "{}", stream.name);
    }
}

#[test]
fn every_split_of_every_stream_counts_the_same() {
    for stream in streams() {
        let expected = stream.tokens.len() as u64;
        let bytes = stream.text.as_bytes();
        for at in 0..=bytes.len() {
            let mut counter = EventCounter::new();
            assert_eq!(
                counter.feed(&bytes[..at]) + counter.feed(&bytes[at..]),
                expected,
                "{} at {at}",
                stream.name
            );
        }
        for step in [1, 2, 3, 7, 64, 1000] {
            let mut counter = EventCounter::new();
            let count: u64 = bytes.chunks(step).map(|piece| counter.feed(piece)).sum();
            assert_eq!(count, expected, "{} by {step}", stream.name);
        }
    }
}

#[test]
fn every_line_end_that_may_be_counts_the_same() {
    for stream in streams() {
        for end in ["\r\n", "\r"] {
            let text = stream.text.replace('\n', end);
            let mut counter = EventCounter::new();
            let count: u64 = text.as_bytes().chunks(5).map(|piece| counter.feed(piece)).sum();
            assert_eq!(count, stream.tokens.len() as u64, "{} with {end:?}", stream.name);
        }
    }
}
