//! Edited bodies against serde_json as a witness, in any split, and byte by byte where it matters.

use serde_json::{Map, Value, json};

use super::*;
use crate::base::rng::Rng;
use crate::codec::fields::FieldTable;
use crate::codec::json::Edit;
use crate::codec::split::split_request;

fn head(fields: &str) -> RequestHead {
    let text = format!("POST / HTTP/1.1\r\nhost: x\r\n{fields}content-length: 9\r\n\r\n");
    split_request(Bytes::from(text), FieldTable::default()).unwrap()
}

fn edits(all: &[(&str, Edit)]) -> Arc<BodyEdits> {
    Arc::new(BodyEdits::new(all.iter().map(|(path, edit)| (*path, edit))).unwrap())
}

fn set(value: &str) -> Edit {
    Edit::Set(value.to_owned())
}

fn default(value: &str) -> Edit {
    Edit::Default(value.to_owned())
}

fn clamp(value: &str) -> Edit {
    Edit::Clamp(value.to_owned())
}

/// What becomes of a body in these pieces. What was told of its length, and that nothing more is changed, holds.
fn edit_pieces(edits: &Arc<BodyEdits>, fields: &str, pieces: &[&[u8]]) -> Result<Vec<u8>, ErrorReply> {
    let mut editor = BodyEditor::new(edits, &head(fields));
    let (mut out, mut came) = (Vec::new(), 0);
    let mut settled: Option<(i64, bool)> = None;
    for piece in pieces {
        editor.feed(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes))?;
        came += piece.len() as u64;
        if editor.is_settled() && !matches!(editor.scanner.read_as(), ReadAs::Undecided) {
            let now = (editor.growth(), editor.is_changed());
            assert_eq!(*settled.get_or_insert(now), now, "what was settled changed");
            assert_eq!(editor.waiting(), 0, "nothing waits where nothing can change");
        }
    }
    editor.end(|bytes| out.extend_from_slice(&bytes))?;
    assert_eq!(out.len() as i64 - came as i64, editor.growth());
    assert_eq!(editor.waiting(), 0);
    if !editor.is_changed() {
        assert_eq!(out, pieces.concat());
    }
    Ok(out)
}

fn edit_all(edits: &Arc<BodyEdits>, fields: &str, text: &str) -> Result<String, (u16, Option<String>)> {
    let told = |edited: Result<Vec<u8>, ErrorReply>| {
        edited
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .map_err(|refusal| (refusal.status, refusal.param.map(String::from)))
    };
    let bytes = text.as_bytes();
    let whole = told(edit_pieces(edits, fields, &[bytes]));
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(told(edit_pieces(edits, fields, &single)), whole, "byte by byte: {text}");
    for at in 0..bytes.len().min(300) {
        let halves = [&bytes[..at], &bytes[at..]];
        assert_eq!(told(edit_pieces(edits, fields, &halves)), whole, "cut at {at}: {text}");
    }
    whole
}

#[test]
fn members_are_set_where_they_stand_or_at_the_end() {
    let edits = edits(&[("model", set("\"m\"")), ("meta.tier", set("1")), ("meta.by", set("{\"a\":[]}"))]);
    let fresh = r#""meta":{"tier":1,"by":{"a":[]}}"#;
    for (text, edited) in [
        (r#"{"model":"x","meta":{"tier":"a","by":null}}"#.to_owned(), r#"{"model":"m","meta":{"tier":1,"by":{"a":[]}}}"#.to_owned()),
        ("{}".into(), format!(r#"{{"model":"m",{fresh}}}"#)),
        (" { } ".into(), format!(r#" {{ "model":"m",{fresh}}} "#)),
        ("\u{feff}{\"a\" : 1 }\n".into(), format!("\u{feff}{{\"a\" : 1 ,\"model\":\"m\",{fresh}}}\n")),
        (r#"{ "model" : {"x":[1,{}]} , "a":-1.5e3, "meta":{}}"#.into(), r#"{ "model" : "m" , "a":-1.5e3, "meta":{"tier":1,"by":{"a":[]}}}"#.into()),
        (r#"{"model":[],"meta":null}"#.into(), r#"{"model":"m","meta":{"tier":1,"by":{"a":[]}}}"#.into()),
        (r#"{"model":-Infinity,"meta":{"x":1,"tier":12}}"#.into(), r#"{"model":"m","meta":{"x":1,"tier":1,"by":{"a":[]}}}"#.into()),
        (r#"{"meta":{"tier":{"model":1},"by":"\ud83d\ude00"},"mod\u0065l":true}"#.into(), r#"{"meta":{"tier":1,"by":{"a":[]}},"mod\u0065l":"m"}"#.into()),
        // Others of these names are others.
        (r#"{"model":1,"x":{"model":2,"meta":3},"y":[{"model":4}],"meta":{"meta":{"tier":5},"tier":6,"by":7}}"#.into(),
         r#"{"model":"m","x":{"model":2,"meta":3},"y":[{"model":4}],"meta":{"meta":{"tier":5},"tier":1,"by":{"a":[]}}}"#.into()),
    ] {
        assert_eq!(edit_all(&edits, "", &text), Ok(edited), "{text}");
    }
    for (text, param) in [
        (r#"{"model":"a","model":"b"}"#, Some("model")),
        (r#"{"MODEL":"a"}"#, Some("model")),
        (r#"{"model":"a","x":1,"mod\u0065L":"b"}"#, Some("model")),
        (r#"{"meta":{},"meta":{}}"#, Some("meta.tier")),
        (r#"{"meta":{"by":1,"by":1}}"#, Some("meta.by")),
        (r#"{"meta":"text"}"#, Some("meta.tier")),
        (r#"{"meta":5}"#, Some("meta.tier")),
        (r#"{"meta":true}"#, Some("meta.tier")),
        (r#"{"meta":NaN}"#, Some("meta.tier")),
        (r#"{"meta":-Infinity}"#, Some("meta.tier")),
        (r#"{"meta":[1]}"#, Some("meta.tier")),
        (r#"{"model":"a""#, None),
        (r#"{"model":"a"} x"#, None),
        (r#"{"model":}"#, None),
        ("[{}]", None),
        ("\"text\"", None),
        ("5", None),
        ("null", None),
        ("true", None),
        ("", None),
        (" ", None),
        ("hello", None),
        ("model=a", None),
    ] {
        assert_eq!(edit_all(&edits, "", text), Err((400, param.map(str::to_owned))), "{text}");
    }
}

#[test]
fn what_is_left_out_or_null_is_filled_in() {
    let edits = edits(&[("n", default("1")), ("a.b", default("\"x\""))]);
    for (text, edited) in [
        (r#"{}"#, r#"{"n":1,"a":{"b":"x"}}"#),
        (r#"{"n":null,"a":{"b":null}}"#, r#"{"n":1,"a":{"b":"x"}}"#),
        (r#"{"n":0,"a":{"b":false}}"#, r#"{"n":0,"a":{"b":false}}"#),
        (r#"{"n":[null],"a":null}"#, r#"{"n":[null],"a":{"b":"x"}}"#),
        (r#"{"n":"null","a":{"c":null}}"#, r#"{"n":"null","a":{"c":null,"b":"x"}}"#),
        (r#"{"n":NaN,"a":{"b":{}}}"#, r#"{"n":NaN,"a":{"b":{}}}"#),
    ] {
        assert_eq!(edit_all(&edits, "", text), Ok(edited.to_owned()), "{text}");
    }
    assert!(edit_all(&edits, "", r#"{"a":1}"#).is_err());
}

#[test]
fn a_bound_under_its_new_name_counts() {
    let edits = edits(&[("max_tokens", default("512")), ("max_tokens", clamp("4096"))]);
    for (text, edited) in [
        (r#"{}"#, r#"{"max_tokens":512}"#),
        (r#"{"max_tokens":null}"#, r#"{"max_tokens":512}"#),
        (r#"{"max_completion_tokens":null}"#, r#"{"max_completion_tokens":null,"max_tokens":512}"#),
        (r#"{"max_completion_tokens":5}"#, r#"{"max_completion_tokens":5}"#),
        (r#"{"max_completion_tokens":5000}"#, r#"{"max_completion_tokens":4096}"#),
        (r#"{"max_completion_tokens":"5000"}"#, r#"{"max_completion_tokens":"5000"}"#),
        (
            r#"{"max_tokens":null,"a":1,"max_completion_tokens":5}"#,
            r#"{"max_tokens":null,"a":1,"max_completion_tokens":5}"#,
        ),
        (
            r#"{"max_tokens":null,"a":1,"max_completion_tokens":null}"#,
            r#"{"max_tokens":512,"a":1,"max_completion_tokens":null}"#,
        ),
        (r#"{"max_tokens":null,"a":[1,{}],"b":2}"#, r#"{"max_tokens":512,"a":[1,{}],"b":2}"#),
        (
            r#"{"max_completion_tokens":1e4,"max_tokens":null}"#,
            r#"{"max_completion_tokens":4096,"max_tokens":null}"#,
        ),
        (
            r#"{"max_completion_tokens":{},"max_tokens":9000}"#,
            r#"{"max_completion_tokens":{},"max_tokens":4096}"#,
        ),
        (r#"{"x":{"max_completion_tokens":1e9}}"#, r#"{"x":{"max_completion_tokens":1e9},"max_tokens":512}"#),
    ] {
        assert_eq!(edit_all(&edits, "", text), Ok(edited.to_owned()), "{text}");
    }
    for text in [r#"{"max_completion_tokens":1,"max_completion_tokens":2}"#, r#"{"Max_Completion_Tokens":1}"#]
    {
        assert!(edit_all(&edits, "", text).is_err(), "{text}");
    }
}

#[test]
fn the_lower_of_two_bounds_counts_and_what_is_set_or_gone_is_no_longer_there() {
    let both = edits(&[("max_tokens", clamp("100")), ("max_completion_tokens", clamp("200"))]);
    let text = r#"{"max_tokens":150,"max_completion_tokens":150}"#;
    assert_eq!(edit_all(&both, "", text).unwrap(), r#"{"max_tokens":100,"max_completion_tokens":100}"#);
    let given = edits(&[("max_tokens", default("1")), ("max_completion_tokens", set("7"))]);
    let text = r#"{"max_tokens":null}"#;
    assert_eq!(edit_all(&given, "", text).unwrap(), r#"{"max_tokens":null,"max_completion_tokens":7}"#);
    let gone = edits(&[("max_tokens", default("1")), ("max_completion_tokens", Edit::Remove)]);
    let text = r#"{"max_tokens":null,"max_completion_tokens":9}"#;
    assert_eq!(edit_all(&gone, "", text).unwrap(), r#"{"max_tokens":1}"#);
}

#[test]
fn numbers_are_lowered_and_nothing_else() {
    let edits = edits(&[("n", clamp("10")), ("a.b.t", clamp("0.5"))]);
    let (long, tiny) = (format!("1{}", "0".repeat(500)), format!("0.{}1", "0".repeat(500)));
    for (text, edited) in [
        (r#"{"n":10,"a":{"b":{"t":0.5}}}"#.to_owned(), r#"{"n":10,"a":{"b":{"t":0.5}}}"#.to_owned()),
        (r#"{"n":11,"a":{"b":{"t":0.50001}}}"#.into(), r#"{"n":10,"a":{"b":{"t":0.5}}}"#.into()),
        (r#"{"n": 1e6 ,"a":{"b":{"t":5E-1}}}"#.into(), r#"{"n": 10 ,"a":{"b":{"t":5E-1}}}"#.into()),
        (r#"{"n":9007199254740993}"#.into(), r#"{"n":10}"#.into()),
        (format!("{{\"n\":{long}}}"), r#"{"n":10}"#.into()),
        (format!("{{\"n\":{tiny}}}"), format!("{{\"n\":{tiny}}}")),
        (r#"{"n":-1e400}"#.into(), r#"{"n":-1e400}"#.into()),
        (r#"{"n":Infinity,"a":{"b":{"t":NaN}}}"#.into(), r#"{"n":10,"a":{"b":{"t":0.5}}}"#.into()),
        (r#"{"n":-Infinity}"#.into(), r#"{"n":-Infinity}"#.into()),
        (r#"{"n":"11","a":{"b":"x"}}"#.into(), r#"{"n":"11","a":{"b":"x"}}"#.into()),
        (r#"{"n":null,"a":[{"b":{"t":9}}]}"#.into(), r#"{"n":null,"a":[{"b":{"t":9}}]}"#.into()),
        (r#"{"n":[11],"a":{"b":{"x":9}}}"#.into(), r#"{"n":[11],"a":{"b":{"x":9}}}"#.into()),
        ("{}".into(), "{}".into()),
        ("[11]".into(), "[11]".into()),
        ("11".into(), "11".into()),
        ("hello".into(), "hello".into()),
        (String::new(), String::new()),
        ("  ".into(), "  ".into()),
    ] {
        assert_eq!(edit_all(&edits, "", &text), Ok(edited), "{text}");
    }
    for text in [r#"{"n":1,"n":2}"#, r#"{"N":1}"#, r#"{"n":1"#, "[1", "{}{}"] {
        assert!(edit_all(&edits, "", text).is_err(), "{text}");
    }
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    assert_eq!(edit_all(&edits, form, "n=11&n=12"), Err((400, Some("n".into()))));
    assert_eq!(edit_all(&edits, form, "n=11&m=12"), Ok("n=11&m=12".into()));
}

#[test]
fn members_go_with_one_comma() {
    let edits = edits(&[("a", Edit::Remove), ("b", Edit::Remove), ("o.a", Edit::Remove)]);
    for (text, edited) in [
        (r#"{"a":1}"#, r#"{}"#),
        (r#"{ "a" : 1 }"#, r#"{ }"#),
        (r#"{"a":1,"b":2}"#, r#"{}"#),
        (r#"{"a":1,"b":2,"c":3}"#, r#"{"c":3}"#),
        (r#"{"c":3,"a":1,"b":2}"#, r#"{"c":3}"#),
        (r#"{"a":1,"c":3,"b":2}"#, r#"{"c":3}"#),
        (r#"{"c":3 , "a" : [1,{"a":2}] , "d":4}"#, r#"{"c":3  , "d":4}"#),
        (r#"{ "a":"x\"y" , "c":3}"#, r#"{ "c":3}"#),
        (r#"{"o":{"a":null,"b":1},"\u0061":true}"#, r#"{"o":{"b":1}}"#),
        (r#"{"o":{"b":1,"a":-1.5e2},"x":{"a":1}}"#, r#"{"o":{"b":1},"x":{"a":1}}"#),
        (r#"{"o":[{"a":1}],"x":{"a":1}}"#, r#"{"o":[{"a":1}],"x":{"a":1}}"#),
        (r#"{"b":{"a":{}},"a":[]}"#, r#"{}"#),
        (r#"{"c":1}"#, r#"{"c":1}"#),
        (r#"[{"a":1}]"#, r#"[{"a":1}]"#),
    ] {
        assert_eq!(edit_all(&edits, "", text), Ok(edited.to_owned()), "{text}");
    }
    let with_set = super::tests::edits(&[("a", Edit::Remove), ("m", set("1"))]);
    for (text, edited) in [
        (r#"{"a":1}"#, r#"{"m":1}"#),
        (r#"{"a":1,"m":2}"#, r#"{"m":1}"#),
        (r#"{"m":2,"a":1}"#, r#"{"m":1}"#),
        (r#"{"c":2,"a":1}"#, r#"{"c":2,"m":1}"#),
    ] {
        assert_eq!(edit_all(&with_set, "", text), Ok(edited.to_owned()), "{text}");
    }
}

#[test]
fn what_goes_is_let_go_of_as_it_comes_and_only_little_waits() {
    let edits = edits(&[("big", set("0")), ("gone", Edit::Remove), ("max_tokens", default("1"))]);
    let long = "x".repeat(1 << 20);
    let text = format!(
        r#"{{"messages":["{long}"],"big":["{long}",{{"a":"{long}"}}],"k{long}":1,"gone":"{long}","max_tokens":2,"z":"{long}"}}"#
    );
    let mut editor = BodyEditor::new(&edits, &head(""));
    let mut out = Vec::new();
    for piece in text.as_bytes().chunks(4096) {
        editor.feed(Bytes::copy_from_slice(piece), |bytes| out.extend_from_slice(&bytes)).unwrap();
        assert!(editor.waiting() <= 4096 + 64, "{}", editor.waiting());
    }
    editor.end(|bytes| out.extend_from_slice(&bytes)).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(r#"{{"messages":["{long}"],"big":0,"k{long}":1,"max_tokens":2,"z":"{long}"}}"#)
    );
}

/// The same edits made in a tree; none where they cannot be made.
fn witness(all: &[(&str, Edit)], document: &Value) -> Option<Value> {
    let mut document = document.clone();
    let inserts = |edit: &Edit| matches!(edit, Edit::Set(_) | Edit::Default(_));
    if !document.is_object() {
        return (!all.iter().any(|(_, edit)| inserts(edit))).then_some(document);
    }
    let has_twin = document.get("max_completion_tokens").is_some_and(|value| !value.is_null());
    for (path, edit) in all {
        let value = |text: &String| serde_json::from_str::<Value>(text).unwrap();
        let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
        let mut at = &mut document;
        let mut is_there = true;
        for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
            if inserts(edit) && at.get(parent).is_none_or(Value::is_null) {
                at.as_object_mut()?.insert(parent.to_owned(), json!({}));
            }
            if at.get(parent).is_none_or(|inner| !inner.is_object()) {
                is_there = false;
                break;
            }
            at = &mut at[parent];
        }
        let Some(object) = at.as_object_mut().filter(|_| is_there) else {
            if inserts(edit) {
                return None;
            }
            continue;
        };
        make(edit, object, name, has_twin && *path == "max_tokens", value);
        if *path == "max_tokens" && matches!(edit, Edit::Clamp(_)) {
            make(edit, object, "max_completion_tokens", false, value);
        }
    }
    Some(document)
}

fn make(
    edit: &Edit,
    object: &mut Map<String, Value>,
    name: &str,
    has_twin: bool,
    value: impl Fn(&String) -> Value,
) {
    match edit {
        Edit::Set(text) => drop(object.insert(name.to_owned(), value(text))),
        Edit::Default(text) if object.get(name).is_none_or(Value::is_null) && !has_twin => {
            object.insert(name.to_owned(), value(text));
        }
        Edit::Default(_) => {}
        Edit::Clamp(text) => {
            let most = value(text);
            let number = object.get(name).and_then(Value::as_f64);
            if number.is_some_and(|number| number > most.as_f64().unwrap()) {
                object.insert(name.to_owned(), most);
            }
        }
        Edit::Remove => drop(object.remove(name)),
    }
}

const NAMES: [&str; 6] = ["a", "b", "o", "max_tokens", "max_completion_tokens", "x\\u0079z"];

fn document(rng: &mut Rng, depth: usize, out: &mut String) {
    let blank = |rng: &mut Rng| ["", "", "", " ", "\n\t", "  "][rng.below(6) as usize];
    out.push_str(blank(rng));
    let kind = match depth {
        0 if rng.below(4) > 0 => 10,
        0..=3 => rng.below(11),
        _ => rng.below(8),
    };
    match kind {
        0 | 1 => out.push_str("null"),
        2 => out.push_str(["true", "false"][rng.below(2) as usize]),
        3..=5 => out.push_str(["0", "-1", "12.5e-3", "1E9", "7", "123456789", "0.25"][rng.below(7) as usize]),
        6 | 7 => out.push_str(
            ["\"\"", "\"a,}]:\\\"{\"", "\"\\\\\"", "\"é\\u00e9\\ud83d\\ude00\""][rng.below(4) as usize],
        ),
        8 => {
            out.push('[');
            for item in 0..rng.below(4) {
                out.push_str(if item > 0 { "," } else { "" });
                document(rng, depth + 1, out);
            }
            out.push_str(blank(rng));
            out.push(']');
        }
        _ => {
            let mut names = NAMES.to_vec();
            out.push('{');
            for item in 0..rng.below(6) {
                let name = names.swap_remove(rng.below(names.len() as u64) as usize);
                out.push_str(if item > 0 { "," } else { "" });
                out.push_str(blank(rng));
                out.push_str(&format!("\"{name}\""));
                out.push_str(blank(rng));
                out.push(':');
                document(rng, depth + 1, out);
            }
            out.push_str(blank(rng));
            out.push('}');
        }
    }
    out.push_str(blank(rng));
}

fn random_edits(rng: &mut Rng) -> Vec<(&'static str, Edit)> {
    let mut paths = vec!["a", "b", "max_tokens", "xyz", "o.a", "o.b", "o.o.a", "o.o.o.b"];
    let mut all = Vec::new();
    for _ in 0..1 + rng.below(5) {
        let path = paths.swap_remove(rng.below(paths.len() as u64) as usize);
        let value = ["1", "\"v\"", "[1,{}]", "{\"k\":null}", "false"][rng.below(5) as usize];
        match rng.below(5) {
            0 => all.push((path, set(value))),
            1 => all.push((path, default(value))),
            2 => all.push((path, clamp(["5", "0.25", "-3"][rng.below(3) as usize]))),
            3 => all.push((path, Edit::Remove)),
            _ => all.extend([(path, default("2")), (path, clamp("6"))]),
        }
    }
    all
}

#[test]
fn any_document_in_any_split_is_edited_as_its_tree_is() {
    let (mut edited, mut refused, mut same) = (0, 0, 0);
    for seed in 0..30_000 {
        let mut rng = Rng::new(seed);
        let all = random_edits(&mut rng);
        let mut text = String::new();
        document(&mut rng, 0, &mut text);
        let rules = edits(&all);
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut rest = text.as_bytes();
        let most = [1, 2, 5, 1000][rng.below(4) as usize];
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(1 + rng.below(rest.len().min(most) as u64) as usize);
            pieces.push(piece);
            rest = tail;
        }
        // The witness takes numbers for what a machine makes of them, as these are.
        let expected = witness(&all, &serde_json::from_str(&text).unwrap());
        match (edit_pieces(&rules, "content-type: application/json\r\n", &pieces), expected) {
            (Ok(out), Some(expected)) => {
                let got: Value = serde_json::from_slice(&out).unwrap_or_else(|error| {
                    panic!("seed {seed}: {all:?}\n{text}\n{}\n{error}", out.escape_ascii())
                });
                assert_eq!(got, expected, "seed {seed}: {all:?}\n{text}\n{}", out.escape_ascii());
                edited += 1;
                same += usize::from(out == text.as_bytes());
                let whole = edit_pieces(&rules, "content-type: application/json\r\n", &[text.as_bytes()]);
                assert_eq!(whole.unwrap(), out, "seed {seed}: in one piece");
            }
            (Err(refusal), None) => {
                assert_eq!(refusal.status, 400);
                refused += 1;
            }
            (got, expected) => {
                panic!("seed {seed}: {all:?}\n{text}\n{:?}\n{expected:?}", got.map_err(|r| r.message))
            }
        }
    }
    assert!(edited > 10_000 && refused > 3_000 && same > 2_000, "{edited} {refused} {same}");
}
