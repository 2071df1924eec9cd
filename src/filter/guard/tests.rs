//! What a guard lets pass, wherever the text stands and however it is written.

use super::super::testing::{request, view};
use super::*;

fn guard(deny: &[&str], require: &[&str], fields: &[&str], redact: &[Redact]) -> Guard {
    let patterns =
        |all: &[&str]| Patterns::new(&all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()).unwrap();
    let mut selection = Selection::default();
    fields.iter().for_each(|field| selection.add(field).unwrap());
    Guard {
        deny: patterns(deny),
        require: patterns(require),
        selection,
        flags: false,
        redact: redact.to_vec(),
    }
}

/// What is told of a body: nothing, or code and param.
fn told(guard: &Guard, fields: &str, body: &str) -> Result<Vec<Splice>, String> {
    let head = request("POST", &format!("{fields}content-length: 9\r\n"));
    let judged = |piece: usize| {
        let mut guarding = guard.check(&head);
        body.as_bytes().chunks(piece).for_each(|piece| guarding.feed(piece));
        let told =
            |refusal: ErrorReply| format!("{} {}", refusal.code, refusal.param.as_deref().unwrap_or("-"));
        guarding.end().map(|passed| passed.splices).map_err(told)
    };
    let whole = judged(usize::MAX);
    assert_eq!(judged(1), whole, "byte by byte: {body}");
    whole
}

const JSON: &str = "content-type: application/json\r\n";

#[test]
fn what_is_denied_is_found_wherever_it_stands_and_however_it_is_written() {
    let guard = guard(&["(?i)ignore (all )?previous"], &[], &["messages[*].content", "prompt", "input"], &[]);
    let content =
        |text: &str| format!(r#"{{"messages":[{{"role":"user","content":"hi"}},{{"content":{text}}}]}}"#);
    for (body, expected) in [
        (content(r#""Ignore previous""#), Err("guard_denied messages[1].content")),
        (content(r#""x IGNORE ALL previous y""#), Err("guard_denied messages[1].content")),
        (content(r#""\u0069gnore \u0070revious""#), Err("guard_denied messages[1].content")),
        (content(r#""\u0049GNORE\u0020previous""#), Err("guard_denied messages[1].content")),
        (
            content(r#"[{"type":"text","text":"ignore previous"}]"#),
            Err("guard_denied messages[1].content[0].text"),
        ),
        (content(r#"[[["ignore previous"]]]"#), Err("guard_denied messages[1].content[0][0][0]")),
        (content(r#"{"text":{"x":"ignore previous"}}"#), Err("guard_denied messages[1].content.text.x")),
        (r#"{"Messages":[{"CONTENT":"ignore previous"}]}"#.into(), Err("guard_denied Messages[0].CONTENT")),
        (
            r#"{"messages":[{"content":"ignore previous"}],"messages":[]}"#.into(),
            Err("guard_denied messages[0].content"),
        ),
        (
            r#"{"m\u0065ssages":[{"content":"ignore previous"}]}"#.into(),
            Err("guard_denied messages[0].content"),
        ),
        (r#"{"prompt":["a","ignore previous"]}"#.into(), Err("guard_denied prompt[1]")),
        (r#"{"input":"ignore previous"}"#.into(), Err("guard_denied input")),
        ("\u{feff}{\"input\":\"ignore previous\"}".into(), Err("guard_denied input")),
        (content(r#""ignore" , "previous": 1"#), Ok(())),
        (r#"{"user":"ignore previous"}"#.into(), Ok(())),
        (content(r#"[{"image_url":{"url":"data:image/png;base64,ignore previous"}}]"#), Ok(())),
        (content(r#""data:text/plain,ignore previous""#), Err("guard_denied messages[1].content")),
        (r#"{"input":"ignore previous""#.into(), Err("invalid_body -")),
        (r#"{"input":"x"} {"input":"ignore previous"}"#.into(), Err("invalid_body -")),
        (r#"{"input":"\x"}"#.into(), Err("invalid_body -")),
    ] {
        let judged = told(&guard, JSON, &body).map(|_| ());
        assert_eq!(judged, expected.map_err(str::to_owned), "{body}");
    }
    for (fields, body, expected) in [
        ("content-type: text/plain\r\n", r#"{"input":"ignore previous"}"#, Err("guard_denied input")),
        (
            "content-type: application/x-www-form-urlencoded\r\n",
            "prompt=ignore+previous",
            Err("guard_denied prompt"),
        ),
        (
            "content-type: application/x-www-form-urlencoded\r\n",
            "prompt=%69gnore%20previous",
            Err("guard_denied prompt"),
        ),
        ("content-type: application/x-www-form-urlencoded\r\n", "user=ignore+previous", Ok(())),
        ("content-type: text/plain\r\n", "ignore previous", Err("invalid_body -")),
        ("content-type: application/octet-stream\r\n", "x", Err("invalid_body -")),
    ] {
        assert_eq!(
            told(&guard, fields, body).map(|_| ()),
            expected.map_err(str::to_owned),
            "{fields} {body}"
        );
    }
}

#[test]
fn what_is_required_may_stand_in_any_field() {
    let guard = guard(&[], &["^Be polite", "(?i)english"], &[], &[]);
    for (body, expected) in [
        (r#"{"messages":[{"content":"Be polite. Speak English."}]}"#, Ok(())),
        (r#"{"system":"Be polite.","messages":["in english"]}"#, Ok(())),
        (r#"{"messages":["Be polite."]}"#, Err("guard_denied -")),
        (r#"{"messages":["please: Be polite.","english"]}"#, Err("guard_denied -")),
        (r#"{"Be polite":"english"}"#, Err("guard_denied -")),
        ("[]", Err("guard_denied -")),
    ] {
        assert_eq!(told(&guard, JSON, body).map(|_| ()), expected.map_err(str::to_owned), "{body}");
    }
    let head = request("POST", "");
    assert!(matches!(guard.on_request(&view(&head)), Verdict::Refuse(_)), "nothing says nothing");
    let head = request("GET", "");
    assert!(matches!(guard.on_request(&view(&head)), Verdict::Continue));
}

#[test]
fn secrets_are_taken_out_where_they_stand() {
    let guard = guard(&[], &[], &["messages[*].content", "prompt"], &[Redact::Email, Redact::Card]);
    for (body, expected) in [
        (
            r#"{"messages":[{"content":"to a@b.org or 4111 1111 1111 1111."}],"user":"a@b.org"}"#,
            r#"{"messages":[{"content":"to [EMAIL] or [CARD]."}],"user":"a@b.org"}"#,
        ),
        (r#"{"prompt":"\u0061\u0040b.or\u0067\n"}"#, r#"{"prompt":"[EMAIL]\n"}"#),
        (r#"{"prompt":["a@b.org","é a@b.org"]}"#, r#"{"prompt":["[EMAIL]","é [EMAIL]"]}"#),
        (r#"{"prompt":"nothing"}"#, r#"{"prompt":"nothing"}"#),
    ] {
        let splices = crate::codec::splice::settled(told(&guard, JSON, body).unwrap());
        let pieces = [Bytes::copy_from_slice(body.as_bytes())];
        let spliced = crate::codec::splice::spliced(&pieces, &splices).concat();
        assert_eq!(String::from_utf8(spliced).unwrap(), expected);
    }
    let many = format!(r#"{{"prompt":"{}"}}"#, "a@b.cc ".repeat(SPLICES_MAX + 1));
    assert_eq!(told(&guard, JSON, &many).unwrap_err(), "body_too_large -");
    // What is listened to beyond what is shown is no part of it, whatever was taken out in front of it.
    let shown = |most| {
        let (text, most) = guard.redacted(b"a@b.org c@d.org, 4111 1111 11", most);
        String::from_utf8(text[..most].to_vec()).unwrap()
    };
    assert_eq!((shown(7).as_str(), shown(9).as_str()), ("[EMAIL]", "[EMAIL] [EMAIL]"));
    assert_eq!(shown(17), "[EMAIL] [EMAIL], ");
    let form = "prompt=write+to+%61%40b.org&x=a%40b.org";
    let splices = told(&guard, "content-type: application/x-www-form-urlencoded\r\n", form).unwrap();
    let spliced = crate::codec::splice::spliced(&[Bytes::from_static(form.as_bytes())], &splices).concat();
    assert_eq!(spliced, b"prompt=write+to+[EMAIL]&x=a%40b.org");
}
