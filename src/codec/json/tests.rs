//! The scanner against serde_json as a witness, at every split, and where readers are known to differ.

use std::sync::Arc;

use super::text::{Run, Text, skip};
use super::{JsonFault, Member, Scanner, Wanted};
use crate::base::rng::Rng;

fn wanted(paths: &[&str]) -> Arc<Wanted> {
    let mut wanted = Wanted::default();
    paths.iter().for_each(|path| assert!(wanted.add(path).is_some(), "{path}"));
    Arc::new(wanted)
}

fn scan(paths: &[&str], pieces: &[&[u8]]) -> Result<Vec<Member>, JsonFault> {
    let mut scanner = Scanner::new(wanted(paths));
    pieces.iter().try_for_each(|piece| scanner.feed(piece))?;
    scanner.finish()?;
    Ok(scanner.members().to_vec())
}

/// Scans whole, byte by byte, and cut in two at every place: one result.
fn scan_split(paths: &[&str], text: &str) -> Result<Vec<Member>, JsonFault> {
    let bytes = text.as_bytes();
    let whole = scan(paths, &[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(scan(paths, &single), whole, "byte by byte: {text}");
    for at in 0..bytes.len().min(300) {
        assert_eq!(scan(paths, &[&bytes[..at], &bytes[at..]]), whole, "cut at {at}: {text}");
    }
    whole
}

fn scalar(text: &str) -> Member {
    Member::Scalar(text.as_bytes().to_vec())
}

#[test]
fn wanted_members_are_found_wherever_they_stand() {
    let paths = ["model", "metadata.tier", "stream", "n"];
    for (text, expected) in [
        (
            r#"{"model":"a","metadata":{"tier":"gold"},"stream":true,"n":1.50e3}"#,
            [scalar("a"), scalar("gold"), scalar("true"), scalar("1.50e3")],
        ),
        (
            r#" { "messages" : [ { "model" : "no" } , ["metadata",{"tier":1}] ] , "model" : "yes" } "#,
            [scalar("yes"), Member::Absent, Member::Absent, Member::Absent],
        ),
        (
            r#"{"x":{"metadata":{"tier":"no"}},"metadata":{"a":{"tier":"no"},"tier":-0},"model":null}"#,
            [Member::Null, scalar("-0"), Member::Absent, Member::Absent],
        ),
        (
            r#"{"mod\u0065l":"\ud83d\ude00\n\"\/","metadata":[{"tier":1}],"stream":{"a":1},"n":[]}"#,
            [scalar("😀\n\"/"), Member::Absent, Member::Other, Member::Other],
        ),
        (
            r#"{"model":"\ud83d","model ":"x","models":"y","\ud83d":"z","n":false}"#,
            [Member::Other, Member::Absent, Member::Absent, scalar("false")],
        ),
        ("{}", [const { Member::Absent }; 4]),
        (r#"[{"model":"a"}]"#, [const { Member::Absent }; 4]),
        (r#""model""#, [const { Member::Absent }; 4]),
        ("12", [const { Member::Absent }; 4]),
    ] {
        assert_eq!(scan_split(&paths, text), Ok(expected.to_vec()), "{text}");
    }
}

#[test]
fn a_wanted_member_that_stands_twice_is_refused_late_ones_too() {
    for (text, member) in [
        (r#"{"model":"a","model":"b"}"#, 0),
        (r#"{"model":"a","messages":[{}],"mod\u0065l":"a"}"#, 0),
        (r#"{"model":{"x":1},"model":"b"}"#, 0),
        (r#"{"metadata":{"tier":"a"},"metadata":{}}"#, 1),
        (r#"{"metadata":null,"metadata":{"tier":"a"}}"#, 1),
        (r#"{"metadata":{"tier":"a","tier":"a"}}"#, 1),
    ] {
        assert_eq!(
            scan_split(&["model", "metadata.tier"], text),
            Err(JsonFault::Doubled { member }),
            "{text}"
        );
    }
    let text = r#"{"metadata":{"x":1,"x":2},"y":1,"y":2,"a":{"tier":1},"b":{"tier":2}}"#;
    assert!(scan_split(&["model", "metadata.tier"], text).is_ok(), "others may stand twice");
}

#[test]
fn what_python_reads_beyond_json_is_read() {
    for (text, model) in [
        ("\u{feff}{\"model\":\"a\"}", scalar("a")),
        ("\u{feff} \n{\"model\":NaN}", scalar("NaN")),
        (r#"{"x":[NaN,Infinity , -Infinity,-1],"model":-Infinity}"#, scalar("-Infinity")),
        (r#"{"model":Infinity}"#, scalar("Infinity")),
        ("NaN", Member::Absent),
    ] {
        assert_eq!(scan_split(&["model"], text), Ok(vec![model]), "{text}");
    }
}

#[test]
fn a_wanted_member_in_another_case_is_refused() {
    let paths = ["model", "metadata.tier", "metadata.task"];
    for (text, member) in [
        (r#"{"Model":"a"}"#, 0),
        (r#"{"messages":[],"MODEL":"a"}"#, 0),
        (r#"{"mode\u004c":"a"}"#, 0),
        (r#"{"Metadata":{"tier":"a"}}"#, 1),
        (r#"{"metadata":{"Tier":"a"}}"#, 1),
        // The long s and the sign of Kelvin are letters to a reader that folds simply, as Go does.
        ("{\"metadata\":{\"ta\u{17f}k\":1}}", 2),
        ("{\"metadata\":{\"tas\u{212a}\":1}}", 2),
        (r#"{"metadata":{"ta\u017f\u212a":1}}"#, 2),
    ] {
        assert_eq!(scan_split(&paths, text), Err(JsonFault::OtherCase { member }), "{text}");
    }
    for text in [r#"{"model":"a","Model":"b"}"#, r#"{"metadata":{"tier":1},"METADATA":{}}"#] {
        assert!(matches!(scan_split(&paths, text), Err(JsonFault::Doubled { .. })), "{text}");
    }
    for text in
        [r#"{"x":{"Model":1},"messages":[{"Tier":1}],"Tier":2}"#, "{\"mod\u{e9}l\":1,\"m\u{f6}del\":2}"]
    {
        assert!(scan_split(&paths, text).is_ok(), "another member: {text}");
    }
    let both = scan_split(&["model", "Model"], r#"{"Model":"b"}"#);
    assert_eq!(both, Ok(vec![Member::Absent, scalar("b")]), "where both are wanted they are told apart");
    assert_eq!(
        scan_split(&["groß"], "{\"GRO\u{1e9e}\":1}"),
        Err(JsonFault::OtherCase { member: 0 }),
        "beyond ASCII too"
    );
}

#[test]
fn nesting_has_a_bound_and_no_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(scan(&["model"], &[nested(512).as_bytes()]).is_ok());
    assert_eq!(scan(&["model"], &[nested(513).as_bytes()]), Err(JsonFault::TooDeep));
    assert_eq!(scan(&["model"], &["[".repeat(200_000).as_bytes()]), Err(JsonFault::TooDeep));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(512), "}".repeat(512));
    assert!(scan(&["a.a.a"], &[objects.as_bytes()]).is_ok());
}

#[test]
fn a_value_too_long_for_any_condition_matches_none() {
    let text = format!(r#"{{"model":"{}","n":{}}}"#, "m".repeat(5000), "1".repeat(5000));
    assert_eq!(scan(&["model", "n"], &[text.as_bytes()]), Ok(vec![Member::Other, Member::Other]));
}

#[test]
fn faults_name_their_place_and_are_final() {
    for (text, fault) in [
        ("", JsonFault::Incomplete),
        (" ", JsonFault::Incomplete),
        ("{\"a\":1", JsonFault::Incomplete),
        ("-", JsonFault::Incomplete),
        ("\"abc", JsonFault::Incomplete),
        ("tru", JsonFault::Incomplete),
        ("{\"a\":1]", JsonFault::Malformed { at: 6 }),
        ("[1}", JsonFault::Malformed { at: 2 }),
        ("[1,]", JsonFault::Malformed { at: 3 }),
        ("{\"a\":1,}", JsonFault::Malformed { at: 7 }),
        ("{,}", JsonFault::Malformed { at: 1 }),
        ("{\"a\" 1}", JsonFault::Malformed { at: 5 }),
        ("{} {}", JsonFault::Malformed { at: 3 }),
        ("[01]", JsonFault::Malformed { at: 2 }),
        ("[1.]", JsonFault::Malformed { at: 3 }),
        ("[+1]", JsonFault::Malformed { at: 1 }),
        ("[nan]", JsonFault::Malformed { at: 2 }),
        ("[NaN1]", JsonFault::Malformed { at: 4 }),
        ("[+Infinity]", JsonFault::Malformed { at: 1 }),
        ("[--Infinity]", JsonFault::Malformed { at: 2 }),
        ("[-NaN]", JsonFault::Malformed { at: 2 }),
        ("-Infinit", JsonFault::Incomplete),
        ("{\"model\":\"\\x\"}", JsonFault::Malformed { at: 11 }),
        ("{\"model\":\"\\u12g4\"}", JsonFault::Malformed { at: 14 }),
        ("{\"mod\\e\":1}", JsonFault::Malformed { at: 6 }),
        ("[\"\\\n\"]", JsonFault::Malformed { at: 3 }),
        ("[\"a\nb\"]", JsonFault::Malformed { at: 3 }),
        ("{'a':1}", JsonFault::Malformed { at: 1 }),
        (" \u{feff}{}", JsonFault::Malformed { at: 1 }),
        ("\u{feff}\u{feff}{}", JsonFault::Malformed { at: 3 }),
        ("{\u{feff}}", JsonFault::Malformed { at: 1 }),
        ("\u{fec0}{}", JsonFault::Malformed { at: 2 }),
        ("\u{feff}", JsonFault::Incomplete),
        ("\u{c}{}", JsonFault::Malformed { at: 0 }),
        ("\u{0}{}", JsonFault::Malformed { at: 0 }),
        ("{\"a\":1}\0", JsonFault::Malformed { at: 7 }),
    ] {
        assert_eq!(scan_split(&["model"], text), Err(fault), "{text:?}");
    }
    let mut scanner = Scanner::new(wanted(&["model"]));
    assert!(scanner.feed(b"]").is_err());
    assert_eq!(scanner.feed(b"{}"), Err(JsonFault::Malformed { at: 0 }));
    assert_eq!(scanner.finish(), Err(JsonFault::Malformed { at: 0 }));
}

/// A random document, often spoilt at one place.
fn document(rng: &mut Rng) -> String {
    let mut text = String::new();
    value(rng, 0, &mut text);
    if rng.below(3) == 0 {
        let at = rng.below(text.len() as u64) as usize;
        let junk = ['"', '\\', '{', '}', '[', ']', ',', ':', '0', 'e', '-', ' ', 'u', '\n', 't'];
        if text.is_char_boundary(at) {
            text.insert(at, junk[rng.below(junk.len() as u64) as usize]);
        }
    }
    text
}

fn value(rng: &mut Rng, depth: usize, out: &mut String) {
    let blank = ["", "", "", " ", "\n\t"][rng.below(5) as usize];
    out.push_str(blank);
    match rng.below(if depth > 4 { 6 } else { 10 }) {
        0 => out.push_str("null"),
        1 => out.push_str("true"),
        2 => out.push_str(["0", "-1", "12.5e-3", "1E9", "-0.0", "123456789"][rng.below(6) as usize]),
        3..=5 => string(rng, out),
        6 | 7 => {
            out.push('[');
            for item in 0..rng.below(4) {
                out.push_str(if item > 0 { "," } else { "" });
                value(rng, depth + 1, out);
            }
            out.push(']');
        }
        _ => {
            out.push('{');
            for item in 0..rng.below(5) {
                out.push_str(if item > 0 { "," } else { "" });
                let keys =
                    ["\"model\"", "\"metadata\"", "\"tier\"", "\"mod\\u0065l\"", "\"messages\"", "\"x\""];
                out.push_str(keys[rng.below(6) as usize]);
                out.push(':');
                value(rng, depth + 1, out);
            }
            out.push('}');
        }
    }
    out.push_str(blank);
}

fn string(rng: &mut Rng, out: &mut String) {
    let pieces = [
        "plain words ",
        "\\n",
        "\\\"",
        "\\\\",
        "\\u00e9",
        "\\ud83d\\ude00",
        "é",
        "😀",
        "{\"model\":\"x\"}",
        "/",
    ];
    out.push('"');
    for _ in 0..rng.below(12) {
        let piece = pieces[rng.below(10) as usize];
        out.push_str(if piece.starts_with('{') { "{model:x}" } else { piece });
    }
    out.push('"');
}

/// What serde_json makes of a document: whether it is JSON, and its members unless a string holds half a surrogate
/// pair, which no Rust string can. It takes the last of doubled members, so those are told apart first.
fn witness(text: &str) -> Option<Option<Vec<Member>>> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    Some(serde_json::from_str(text).ok().map(members))
}

fn members(tree: serde_json::Value) -> Vec<Member> {
    let look = |value: Option<&serde_json::Value>| match value {
        None => Member::Absent,
        Some(serde_json::Value::Null) => Member::Null,
        Some(serde_json::Value::String(text)) => scalar(text),
        Some(serde_json::Value::Bool(bool)) => scalar(&bool.to_string()),
        // Written forms of numbers differ: only that there is one is compared.
        Some(serde_json::Value::Number(_)) => scalar("number"),
        Some(_) => Member::Other,
    };
    vec![look(tree.get("model")), look(tree.get("metadata").and_then(|inner| inner.get("tier")))]
}

#[test]
fn it_accepts_what_serde_json_accepts_and_reads_the_same() {
    let (mut accepted, mut refused, mut doubled, mut strange) = (0, 0, 0, 0);
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let text = document(&mut rng);
        let cut = rng.below(text.len() as u64 + 1) as usize;
        let (head, tail) = text.as_bytes().split_at(cut);
        let ours = scan(&["model", "metadata.tier"], &[head, tail]);
        match (ours, witness(&text)) {
            (Err(JsonFault::Doubled { .. }), _) => doubled += 1,
            // An escape that does not exist, in a string that nobody wants: not looked at.
            (Ok(_), None) if text.contains('\\') => strange += 1,
            (Err(_), None) => refused += 1,
            (Ok(_), Some(None)) => {}
            (Ok(ours), Some(Some(theirs))) => {
                accepted += 1;
                let number = |member: Member| match member {
                    Member::Scalar(text) if serde_json::from_slice::<serde_json::Number>(&text).is_ok() => {
                        scalar("number")
                    }
                    other => other,
                };
                let ours: Vec<_> = ours.into_iter().map(number).collect();
                assert_eq!(ours, theirs, "seed {seed}: {text}");
            }
            (ours, theirs) => panic!("seed {seed}: {ours:?}, but {theirs:?}: {text}"),
        }
    }
    assert!(accepted > 5000 && refused > 2000 && doubled > 100, "{accepted} {refused} {doubled}");
    assert!(strange < accepted / 20, "{strange} of {accepted}");
}

/// Where a string ends, told the slow way.
fn slow_end(text: &[u8]) -> Run {
    let mut is_escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match (is_escaped, byte) {
            (_, 0..0x20) => return Run::Malformed(at),
            (false, b'"') => return Run::Closed(at),
            (false, b'\\') => is_escaped = true,
            _ => is_escaped = false,
        }
    }
    Run::Spent(if is_escaped { Text::Escape } else { Text::Plain })
}

#[test]
fn strings_are_skipped_to_the_quote_that_ends_them() {
    for seed in 0..40_000 {
        let mut rng = Rng::new(seed);
        let length = rng.below(200) as usize;
        // From all backslashes to hardly any, and now and then a quote or a control character.
        let (backslashes, others) = (1 + rng.below(64), 8 + rng.below(256));
        let text: Vec<u8> = (0..length)
            .map(|_| match (rng.below(backslashes), rng.below(others)) {
                (0, _) => b'\\',
                (_, 0) => b'"',
                (_, 1) => rng.below(0x21) as u8,
                _ => rng.below(256).max(0x20) as u8,
            })
            .collect();
        assert_eq!(skip(&text, 0), slow_end(&text), "seed {seed}: {text:?}");
    }
    for run in 0..200 {
        let text = [&b"x".repeat(run % 7)[..], &b"\\".repeat(run), b"\"rest of it"].concat();
        assert_eq!(skip(&text, 0), slow_end(&text), "{run} backslashes");
    }
}
