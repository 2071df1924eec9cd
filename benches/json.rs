//! Finding `model`, `stream` and `user` behind a prompt: microseconds a body, by size and by what the prompt is made of.
#![allow(clippy::print_stdout, reason = "a bench ends where nobody reads it")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use corelane::codec::json::{Member, Scanner, Wanted};

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

/// The least of nine rounds, each of about `bytes` bytes: what the work costs, not what disturbed it.
fn least_us(bytes: usize, wanted: &Arc<Wanted>, body: &[u8]) -> f64 {
    let times = (bytes / body.len()).max(1);
    let round = || {
        let begun = Instant::now();
        (0..times).for_each(|_| scan(wanted, body));
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
    println!("{:>8}  {:>10}  {:>10}  {:>10}   µs a body, least of nine", "bytes", "plain", "code", "escapes");
    let code = r#"    if (x == \"a\") {\n        return f(x);\n    }\n"#;
    let escapes = r#"\u00e9\n\"a\\"#;
    for size in [1 << 10, 8 << 10, 220 << 10, 1 << 20, 16 << 20] {
        let [plain, code, escapes] = ["lorem ipsum dolor sit amet, ", code, escapes].map(|filling| {
            let work = if once { 1 } else { 32 << 20 };
            least_us(work, &wanted, body(size, filling).as_bytes())
        });
        println!("{size:>8}  {plain:>10.2}  {code:>10.2}  {escapes:>10.2}");
    }
}
