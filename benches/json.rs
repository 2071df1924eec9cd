//! Finding `model`, `stream` and `user` behind a prompt, changing members there, and placing the request by its beginning:
//! microseconds a body, by size and by what the prompt is made of.
#![allow(clippy::print_stdout, reason = "a bench ends where nobody reads it")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use corelane::base::limits::RELAY_BYTES_LARGE;
use corelane::board::blocks::Blocks;
use corelane::codec::body_editor::BodyEditor;
use corelane::codec::fields::FieldTable;
use corelane::codec::head::RequestHead;
use corelane::codec::json::{BodyEdits, Edit, Member, Scanner, Wanted};
use corelane::codec::prompt::PromptReader;
use corelane::codec::split::split_request;

/// What is done with a body.
type Work<'w> = &'w dyn Fn(&Bytes);

/// What one read of a socket brings.
const READ_BYTES: usize = 16 << 10;

fn body(size: usize, filling: &str) -> String {
    let tail = r#""}],"model":"qwen3-32b","stream":true,"user":"u1"}"#;
    let mut text = String::from(r#"{"messages":[{"role":"user","content":""#);
    while text.len() + tail.len() + filling.len() <= size {
        text.push_str(filling);
    }
    text + tail
}

fn scan(wanted: &Arc<Wanted>, body: &[u8]) {
    let mut scanner = Scanner::new(Arc::clone(wanted));
    scanner.feed(black_box(body)).expect("the body is JSON");
    scanner.finish().expect("the body is whole");
    assert_eq!(scanner.members()[0], Member::Scalar(b"qwen3-32b".to_vec()));
}

/// Changes the body in pieces as a relay takes them.
fn edit(edits: &Arc<BodyEdits>, head: &RequestHead, body: &Bytes) {
    let mut editor = BodyEditor::new(edits, head);
    let (mut rest, mut length) = (black_box(body).clone(), 0);
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(RELAY_BYTES_LARGE));
        editor.feed(piece, |piece| length += piece.len()).expect("the body is JSON");
    }
    editor.end(|piece| length += piece.len()).expect("the body is whole");
    // `model` is one byte longer, and `max_tokens` is put in.
    assert_eq!(length, body.len() + 1 + r#","max_tokens":512"#.len());
}

fn edits() -> Arc<BodyEdits> {
    let all = [
        ("model", Edit::Set(r#""Qwen3-32B_""#.to_owned())),
        ("max_tokens", Edit::Default("512".to_owned())),
        ("max_tokens", Edit::Clamp("4096".to_owned())),
        ("logprobs", Edit::Remove),
    ];
    Arc::new(BodyEdits::new(all.iter().map(|(path, edit)| (*path, edit))).expect("there is room for four"))
}

/// Reads the beginning of the prompt, asks who knows it, and notes who is sent it.
fn place(table: &Blocks, body: &[u8]) {
    let mut reader = PromptReader::default();
    black_box(body).chunks(READ_BYTES).for_each(|piece| reader.feed(piece));
    let blocks = reader.blocks(None);
    let mut known = 0;
    table.look_up(&blocks, |_, before, _| known = known.max(before + 1));
    table.note(&blocks, known % 8, 1);
}

/// The least of nine rounds, each of about `bytes` bytes: what the work costs, not what disturbed it.
fn least_us(bytes: usize, body: &Bytes, work: Work<'_>) -> f64 {
    let times = (bytes / body.len()).max(1);
    let round = || {
        let begun = Instant::now();
        (0..times).for_each(|_| work(body));
        begun.elapsed().as_secs_f64() * 1e6 / times as f64
    };
    (0..9).map(|_| round()).fold(f64::MAX, f64::min)
}

fn main() {
    let once = std::env::args().any(|argument| argument == "--once");
    let mut wanted = Wanted::default();
    for path in ["model", "stream", "user"] {
        wanted.add(path).expect("there is room for three");
    }
    let wanted = Arc::new(wanted);
    let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n";
    let head = split_request(Bytes::from(head), FieldTable::default()).expect("it is a head");
    let edits = edits();
    let table = Blocks::new(8, Instant::now());
    let code = r#"    if (x == \"a\") {\n        return f(x);\n    }\n"#;
    let escapes = r#"\u00e9\n\"a\\"#;
    let rows: [(&str, Work<'_>); 3] = [
        ("finding members", &|body| scan(&wanted, body)),
        ("changing them", &|body| edit(&edits, &head, body)),
        ("placing by the prompt's beginning, beside it", &|body| place(&table, body)),
    ];
    for (name, work) in rows {
        println!(
            "{name}\n{:>8}  {:>10}  {:>10}  {:>10}   µs a body, least of nine",
            "bytes", "plain", "code", "escapes"
        );
        for size in [1 << 10, 8 << 10, 220 << 10, 1 << 20, 16 << 20] {
            let [plain, code, escapes] = ["lorem ipsum dolor sit amet, ", code, escapes].map(|filling| {
                let bytes = if once { 1 } else { 32 << 20 };
                least_us(bytes, &body(size, filling).into(), work)
            });
            println!("{size:>8}  {plain:>10.2}  {code:>10.2}  {escapes:>10.2}");
        }
    }
}
