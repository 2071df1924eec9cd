//! Finding `model`, `stream` and `user` behind a prompt, and placing the request by its beginning: microseconds a body, by size
//! and by what the prompt is made of.
#![allow(clippy::print_stdout, reason = "a bench ends where nobody reads it")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use corelane::board::blocks::Blocks;
use corelane::codec::json::{Member, Scanner, Wanted};
use corelane::codec::prompt::PromptReader;

/// What is done with a body.
type Work<'w> = &'w dyn Fn(&[u8]);

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
fn least_us(bytes: usize, body: &[u8], work: impl Fn(&[u8])) -> f64 {
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
    let table = Blocks::new(8, Instant::now());
    let code = r#"    if (x == \"a\") {\n        return f(x);\n    }\n"#;
    let escapes = r#"\u00e9\n\"a\\"#;
    let rows: [(&str, Work<'_>); 2] = [
        ("finding members", &|body| scan(&wanted, body)),
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
                least_us(bytes, body(size, filling).as_bytes(), work)
            });
            println!("{size:>8}  {plain:>10.2}  {code:>10.2}  {escapes:>10.2}");
        }
    }
}
