//! Every row of the case table, read whole, split at every byte, and held to each invariant by its name.

use bytes::BytesMut;
use corelane::base::limits::{CHUNK_LINE_BYTES_MAX, HEAD_BYTES_MAX, TRAILER_BYTES_MAX};
use corelane::base::rng::Rng;
use corelane::codec::method::Method;
use corelane::codec::request::RequestReader;
use corelane::codec::version::Reuse;

use crate::cases::{Outcome, RequestCase, ResponseCase, request_cases, response_cases};
use crate::invariants as hold;
use crate::trace::{Event, Sender, request_event, shown, trace};

/// A row as any reader sees it.
pub struct Row {
    pub name: String,
    pub sender: Sender,
    pub bytes: Vec<u8>,
    /// What a reader must make of it, in the words of `Trace::lines`.
    pub lines: Vec<String>,
}

/// All rows.
pub fn rows() -> Vec<Row> {
    let requests = request_cases().into_iter().map(of_request);
    requests.chain(response_cases().into_iter().map(of_response)).collect()
}

fn of_request(case: RequestCase) -> Row {
    let mut lines = Vec::new();
    for request in &case.requests {
        let reuse = if request.keeps { Reuse::KeepAlive } else { Reuse::Close };
        lines.push(format!(
            "{} {} for {:?} {} {reuse:?}",
            shown(request.method.as_bytes()),
            shown(request.target.as_bytes()),
            request.authority,
            request.framing
        ));
        lines.extend(request.fields.iter().map(|field| shown(field)));
        lines.extend((!request.body.is_empty()).then(|| format!("body {}", shown(&request.body))));
        lines.extend((!request.is_cut).then(|| "end".to_owned()));
    }
    lines.extend(case.refused.map(|refused| format!("{} {}", refused.status, refused.by)));
    lines.extend((!case.left.is_empty()).then(|| format!("left {}", shown(&case.left))));
    Row { name: case.name, sender: Sender::Client, bytes: case.input, lines }
}

fn of_response(case: ResponseCase) -> Row {
    let mut lines: Vec<_> = case.interim.iter().map(|head| format!("interim {head}")).collect();
    let mut reuse = Reuse::Close;
    match case.outcome {
        Outcome::Refused { by, .. } => lines.push(by),
        Outcome::Relayed(response) => {
            let reason = shown(&response.reason);
            lines.push(format!("{} {reason:?} {}", response.status, response.framing));
            lines.extend(response.fields.iter().map(|field| shown(field)));
            lines.extend((!response.body.is_empty()).then(|| format!("body {}", shown(&response.body))));
            lines.push(response.broken.unwrap_or_else(|| "end".to_owned()));
            lines.extend((!response.left.is_empty()).then(|| format!("left {}", shown(&response.left))));
            if response.reuse {
                reuse = Reuse::KeepAlive;
            }
        }
    }
    lines.push(format!("{reuse:?}"));
    let sender = Sender::Upstream { asked: Method::of(case.asked.as_bytes()), closes: case.closes };
    Row { name: case.name, sender, bytes: case.answer, lines }
}

#[test]
fn each_row_is_read_as_it_says() {
    let rows = rows();
    assert!(rows.len() >= 500, "the table lost rows: {}", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let lines = trace(row.sender, &[&row.bytes]).lines();
        if lines != row.lines {
            wrong.push(format!("{}\n   says {:?}\n   read {:?}", row.name, row.lines, lines));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn split_blind() {
    let mut rng = Rng::new(1);
    for row in rows() {
        let bytes = &row.bytes[..];
        let whole = trace(row.sender, &[bytes]);
        let places: Vec<usize> = match bytes.len() {
            0..=600 => (0..=bytes.len()).collect(),
            // A long row is split in seeded places, and around its ends, where limits are met.
            length => {
                let seeded = (0..64).map(|_| rng.below(length as u64) as usize);
                seeded.chain([1, length - 4, length - 3, length - 2, length - 1]).collect()
            }
        };
        for at in places {
            told(&row, || hold::split_blind(row.sender, &whole, &[&bytes[..at], &bytes[at..]]));
        }
        let step = if bytes.len() <= 600 { 1 } else { 97 };
        let pieces: Vec<_> = bytes.chunks(step).collect();
        told(&row, || hold::split_blind(row.sender, &whole, &pieces));
    }
}

#[test]
fn conserving() {
    for row in rows() {
        let pieces: Vec<_> = row.bytes.chunks(7).collect();
        told(&row, || {
            hold::conserving(&trace(row.sender, &[&row.bytes]));
            hold::conserving(&trace(row.sender, &pieces));
        });
    }
}

#[test]
fn bounded() {
    for row in rows() {
        let step = if row.bytes.len() <= 20_000 { 1 } else { 13 };
        let pieces: Vec<_> = row.bytes.chunks(step).collect();
        told(&row, || hold::bounded(&trace(row.sender, &pieces)));
    }
}

#[test]
fn final_after_an_error() {
    for row in rows() {
        told(&row, || hold::last(row.sender, &row.bytes));
    }
}

/// A part that trickles in is looked at once: each call goes on where the last one stopped, but for the few bytes in
/// which a line end may straddle. The reader's own notes tell where it stopped; a reader that began again at the start
/// would look at the square of the length.
#[test]
fn linear() {
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(HEAD_BYTES_MAX - 40));
    let start = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let extension = format!("{start}1;{}\r\n", "e".repeat(CHUNK_LINE_BYTES_MAX - 10));
    let trailer = format!("{start}0\r\nx: {}\r\n\r\n", "t".repeat(TRAILER_BYTES_MAX - 10));
    for bytes in [head, extension, trailer] {
        let mut reader = RequestReader::new(HEAD_BYTES_MAX);
        let (mut input, mut looked, mut heads) = (BytesMut::new(), 0, 0);
        for byte in bytes.as_bytes() {
            let searched = scanned(&reader);
            input.extend_from_slice(&[*byte]);
            looked += input.len() - searched;
            while let Event::Request(_) = request_event(&mut reader, &mut input).unwrap() {
                heads += 1;
            }
        }
        assert_eq!(heads, 1);
        assert!(looked <= 5 * bytes.len(), "{looked} looks at {} bytes", bytes.len());
    }
}

/// How far the reader says it has searched the part it waits for.
fn scanned(reader: &RequestReader) -> usize {
    let notes = format!("{reader:?}");
    let of = |part: &str| {
        let digits = part.split("scanned: ").nth(1).unwrap_or("0");
        digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or("0").parse().unwrap_or(0)
    };
    // The body's own note comes first where there is a body.
    of(&notes)
}

#[test]
fn what_is_accepted_httparse_reads_the_same() {
    for row in rows() {
        told(&row, || hold::like_httparse(&trace(row.sender, &[&row.bytes])));
    }
}

#[test]
fn what_is_written_reads_back_as_the_same() {
    for row in rows() {
        told(&row, || {
            let trace = trace(row.sender, &[&row.bytes]);
            hold::round_trip(&trace);
            hold::relayed_heads_read_back(&trace);
        });
    }
}

/// Says which row it was, should `check` fail.
fn told(row: &Row, check: impl FnOnce()) {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
    if let Err(panic) = outcome {
        eprintln!("in the row {}", row.name);
        std::panic::resume_unwind(panic);
    }
}
