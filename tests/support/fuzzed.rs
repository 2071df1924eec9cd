//! What is fuzzed: one function for each reader of what strangers send. The first byte of the input chooses how it is split.
//! Each is run over its corpus and seeded mutants of it.

use std::sync::Arc;

use bytes::Bytes;
use corelane::codec::body_editor::BodyEditor;
use corelane::codec::fields::FieldTable;
use corelane::codec::json::{BodyEdits, Edit, Scanner, Wanted};
use corelane::codec::method::Method;
use corelane::codec::multipart::FormScanner;
use corelane::codec::split::split_request;
use corelane::codec::sse::EventCounter;
use corelane::codec::urlencoded::PairScanner;
use corelane::control::load::{Origin, Source, load};

use crate::invariants as hold;
use crate::trace::Sender;

/// A function to be fuzzed.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 5] =
    [("request", request), ("response", response), ("body", body), ("sse", sse), ("config", config)];

/// The bytes behind the first one, in pieces as that says.
fn pieces(input: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let Some((how, bytes)) = input.split_first() else { return (Vec::new(), &[]) };
    (bytes.chunks(1 + usize::from(*how)).collect(), bytes)
}

fn messages(sender: Sender, input: &[u8]) {
    let (pieces, bytes) = pieces(input);
    let whole = hold::all(sender, bytes);
    hold::split_blind(sender, &whole, &pieces);
}

/// Requests one after the other, their chunks and trailers.
pub fn request(input: &[u8]) {
    messages(Sender::Client, input);
}

/// One response, to a GET or a HEAD, of an endpoint that closes behind it or not.
pub fn response(input: &[u8]) {
    let how = input.first().copied().unwrap_or_default();
    let asked = if how & 1 == 0 { Method::Get } else { Method::Head };
    messages(Sender::Upstream { asked, closes: how & 2 == 0 }, input);
}

/// A body that decides: as JSON, as a form, as pairs; split or not it decides the same.
pub fn body(input: &[u8]) {
    let (pieces, bytes) = pieces(input);
    let mut wanted = Wanted::default();
    for path in ["model", "stream", "metadata.tier"] {
        wanted.add(path);
    }
    let wanted = Arc::new(wanted);
    let json = |pieces: &[&[u8]]| {
        let mut scanner = Scanner::new(Arc::clone(&wanted));
        let outcome = pieces.iter().try_for_each(|piece| scanner.feed(piece)).and_then(|()| scanner.finish());
        format!("{outcome:?} {:?}", outcome.is_ok().then(|| scanner.members().to_vec()))
    };
    assert_eq!(json(&[bytes]), json(&pieces), "JSON");
    let form = |pieces: &[&[u8]]| {
        let mut scanner = FormScanner::new(Arc::clone(&wanted), b"XX");
        let outcome = pieces.iter().try_for_each(|piece| scanner.feed(piece)).and_then(|()| scanner.finish());
        format!("{outcome:?} {:?}", outcome.is_ok().then(|| scanner.members().to_vec()))
    };
    assert_eq!(form(&[bytes]), form(&pieces), "form");
    let pairs = |pieces: &[&[u8]]| {
        let mut scanner = PairScanner::new(Arc::clone(&wanted));
        let outcome = pieces.iter().try_for_each(|piece| scanner.feed(piece));
        scanner.end();
        format!("{outcome:?} {:?}", outcome.is_ok().then(|| scanner.members().to_vec()))
    };
    assert_eq!(pairs(&[bytes]), pairs(&pieces), "pairs");
    edited(bytes, &pieces);
}

/// A body that is changed: split or not it becomes the same, JSON where it was JSON, and says what it is to say.
fn edited(bytes: &[u8], pieces: &[&[u8]]) {
    let all = [
        ("model", Edit::Set("\"m\"".to_owned())),
        ("metadata.tier", Edit::Set("[1]".to_owned())),
        ("max_tokens", Edit::Default("5".to_owned())),
        ("max_tokens", Edit::Clamp("9".to_owned())),
        ("stream", Edit::Remove),
    ];
    let edits = Arc::new(BodyEdits::new(all.iter().map(|(path, edit)| (*path, edit))).expect("they are few"));
    let text = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
    let head = split_request(Bytes::from(text), FieldTable::default()).expect("it is a head");
    let run = |pieces: &[&[u8]]| {
        let mut editor = BodyEditor::new(&edits, &head);
        let mut out = Vec::new();
        let fed = pieces.iter().try_for_each(|piece| {
            editor.feed(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes))
        });
        let ended = fed.and_then(|()| editor.end(|bytes| out.extend_from_slice(&bytes)));
        ended.map(|()| out).map_err(|refusal| refusal.message)
    };
    let whole = run(&[bytes]);
    assert_eq!(run(pieces), whole, "edited");
    if let (Ok(out), true) = (whole, serde_json::from_slice::<serde_json::Value>(bytes).is_ok()) {
        let says: serde_json::Value = serde_json::from_slice(&out).expect("what was JSON stays JSON");
        assert_eq!((&says["model"], &says["metadata"]["tier"][0]), (&"m".into(), &1.into()));
        assert!(says.get("stream").is_none());
        let bound = says["max_tokens"].as_f64();
        assert!(bound.is_none_or(|bound| bound <= 9.0), "{says}");
    }
}

/// A stream of events: split or not, as many carry a token.
pub fn sse(input: &[u8]) {
    let (pieces, bytes) = pieces(input);
    let whole = EventCounter::new().feed(bytes);
    let mut counter = EventCounter::new();
    let split: u64 = pieces.iter().map(|piece| counter.feed(piece)).sum();
    assert_eq!(whole, split);
}

/// A configuration: a plan, or problems that each have a place.
pub fn config(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A name would be looked up, and a secret's file be read.
    if ["file:", "${"].iter().any(|word| text.contains(word)) || has_a_name(text) {
        return;
    }
    if let Err(problems) = load(&Origin::new(Source::Text("f", text.to_owned())), None) {
        assert!(!problems.is_empty());
        for problem in problems {
            assert!(!problem.what.is_empty() && !problem.fix.is_empty(), "{problem:?}");
        }
    }
}

/// Whether some endpoint has a host that is no address.
fn has_a_name(text: &str) -> bool {
    text.split("://")
        .skip(1)
        .any(|rest| rest.trim_start_matches('[').starts_with(|c: char| !c.is_ascii_digit()))
}
