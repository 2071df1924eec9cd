//! A body that some server reads as the forbidden model never passes a closed route: conditions on bodies do not fail open.

use serde_json::Value;

use crate::routing::{gateway, post};
use crate::support::Gateway;

/// A closed route (403) for one model, and an open one (200) for the rest.
fn guarded() -> Gateway {
    Gateway::start(
        r#"
[cluster.none]
endpoints = ["http://127.0.0.1:1"]
[[route]]
match = { path = "/v1/*", body = { model = "secret" } }
respond = { status = 403, body = "closed" }
[[route]]
match = { path = "/v1/*", body = { metadata.tier = "secret" } }
respond = { status = 403, body = "closed" }
[[route]]
respond = { body = "open" }
"#,
    )
}

/// The status, code and parameter of the answer to a POST of these bytes, sent in two pieces.
fn ask(gateway: &Gateway, fields: &str, body: &[u8]) -> (u16, String, String) {
    let mut client = gateway.connect();
    client.send(format!(
        "POST /v1/chat HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}content-length: {}\r\n\r\n",
        body.len()
    ));
    client.send(body);
    let answer = client.read_to_end();
    let refusal: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (code, param) = (text(&refusal["error"]["code"]), text(&refusal["error"]["param"]));
    (answer[9..12].parse().unwrap(), code, param)
}

/// Each row is the fields, the body and the status; of a refusal also that its code is the right one.
fn all(rows: &[(&str, &[u8], u16)]) {
    let gateway = guarded();
    for (fields, body, status) in rows {
        let (got, code, _) = ask(&gateway, fields, body);
        let expected = match status {
            400 => "invalid_body",
            415 => "unsupported_encoding",
            _ => "",
        };
        assert_eq!((got, &code[..]), (*status, expected), "{fields:?} {:?}", String::from_utf8_lossy(body));
    }
}

const JSON: &str = "content-type: application/json\r\n";
const FORM: &str = "content-type: multipart/form-data; boundary=XX\r\n";
const PAIRS: &str = "content-type: application/x-www-form-urlencoded\r\n";
const OCTETS: &str = "content-type: application/octet-stream\r\n";

const SECRET: &[u8] = br#"{"model":"secret"}"#;
const OK: &[u8] = br#"{"model":"ok"}"#;

fn utf16(mark: &[u8], unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let text = std::str::from_utf8(SECRET).unwrap();
    [mark.to_vec(), text.encode_utf16().flat_map(unit).collect()].concat()
}

fn utf32(mark: &[u8], unit: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let text = std::str::from_utf8(SECRET).unwrap();
    [mark.to_vec(), text.chars().flat_map(|letter| unit(letter as u32)).collect()].concat()
}

#[test]
fn json_is_read_as_the_servers_behind_read_it() {
    let marked = |text: &[u8]| [b"\xEF\xBB\xBF", text].concat();
    all(&[
        (JSON, SECRET, 403),
        (JSON, OK, 200),
        ("", SECRET, 403),
        (OCTETS, SECRET, 403),
        (JSON, &marked(SECRET), 403),
        (JSON, &marked(OK), 200),
        ("", &marked(SECRET), 403),
        (JSON, br#"{"a":NaN,"model":"secret"}"#, 403),
        (JSON, br#"{"a":[Infinity,-Infinity],"model":"secret"}"#, 403),
        (JSON, br#"{"model":"ok","a":-Infinity}"#, 200),
        (JSON, b"[1]", 200),
        (JSON, br#""text""#, 200),
        ("", b"hello", 200),
        ("", b" \n", 200),
        ("", b"", 200),
        (JSON, b"", 200),
        (OCTETS, b"\0\0\0\x20ftypisom", 200),
        (OCTETS, &[0; 64], 200),
        ("content-type: audio/pcm\r\n", &[0, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF], 200),
        ("content-type: audio/mpeg\r\n", b"\xFF\xFB\x90\x64", 200),
        ("content-type: multipart/mixed; boundary=XX\r\n", b"--XX\r\n\r\nx\r\n--XX--\r\n", 200),
    ]);
}

#[test]
fn json_that_cannot_be_read_does_not_pass() {
    all(&[
        ("", &utf16(b"\xFF\xFE", u16::to_le_bytes), 400),
        ("", &utf16(b"\xFE\xFF", u16::to_be_bytes), 400),
        ("", &utf16(b"", u16::to_le_bytes), 400),
        ("", &utf16(b"", u16::to_be_bytes), 400),
        ("", &utf32(b"\xFF\xFE\0\0", u32::to_le_bytes), 400),
        ("", &utf32(b"\0\0\xFE\xFF", u32::to_be_bytes), 400),
        ("", &utf32(b"", u32::to_le_bytes), 400),
        ("", &utf32(b"", u32::to_be_bytes), 400),
        (JSON, b"hello", 400),
        (JSON, b" ", 400),
        (JSON, b"model=secret", 400),
        ("", br#"{"model":"secret""#, 400),
        ("", br#"{"model":"secret"} {}"#, 400),
        ("", br#"{'model':'secret'}"#, 400),
        ("", b"[1", 400),
        ("", b"\x0C{\"model\":\"secret\"}", 400),
        ("", b"\0{\"model\":\"secret\"}", 400),
        ("", b"\xEF\xBB\xBFhello", 400),
        ("content-type: application/json; charset=utf-7\r\n", OK, 400),
        ("content-type: text/plain; charset=utf-16\r\n", OK, 400),
        ("content-type: application/json\r\ncontent-type: application/x-www-form-urlencoded\r\n", OK, 400),
    ]);
}

#[test]
fn a_label_of_compression_does_not_pass() {
    all(&[
        ("content-encoding: gzip\r\n", SECRET, 415),
        ("content-encoding: gzip\r\n", OK, 415),
        ("content-encoding: anything\r\n", SECRET, 415),
        ("content-encoding: identity\r\ncontent-encoding: br\r\n", SECRET, 415),
        ("content-encoding: identity\r\n", SECRET, 403),
        ("content-encoding: gzip\r\ncontent-type: multipart/form-data; boundary=XX\r\n", SECRET, 415),
        ("content-encoding: gzip\r\n", b"", 200),
    ]);
}

#[test]
fn json_under_the_type_of_a_form_is_json() {
    all(&[
        (FORM, SECRET, 403),
        (FORM, OK, 200),
        (FORM, br#"{"model":"ok","#, 400),
        (FORM, b"{\r\n--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nsecret\r\n--XX--", 400),
        ("content-type: multipart/form-data\r\n", SECRET, 403),
        (PAIRS, SECRET, 403),
        (PAIRS, OK, 200),
        (PAIRS, br#"{"model":"ok","a":"&model=secret"}"#, 400),
        (PAIRS, br#"{"model":"ok","a":";%6dodel=secret&"}"#, 400),
    ]);
}

#[test]
fn tensors_behind_json_are_no_part_of_it() {
    let length = format!("{OCTETS}inference-header-content-length: {}\r\n", SECRET.len());
    let tensors = |text: &[u8]| [text, &[0, 255, b'{', b'"', 0]].concat();
    all(&[
        (&length, SECRET, 403),
        (&length, &tensors(SECRET), 403),
        (&length, br#"{"model":"ok"}    {"model":"secret"}"#, 200),
        (&length, OK, 400),
        (&length, &tensors(OK), 400),
        (&format!("{length}{length}"), SECRET, 400),
        ("inference-header-content-length: x\r\n", SECRET, 400),
        ("inference-header-content-length: -1\r\n", OK, 400),
        ("inference-header-content-length: 0\r\n", SECRET, 403),
        (&format!("{OCTETS}inference-header-content-length: 0\r\n"), &[0, 1, 2], 200),
        (&format!("{PAIRS}inference-header-content-length: 14\r\n"), b"{\"model\":\"ok\"}&model=secret", 400),
        (
            &format!("{FORM}inference-header-content-length: 14\r\n"),
            b"{\"model\":\"ok\"}\r\n--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nsecret\r\n--XX--",
            400,
        ),
    ]);
}

#[test]
fn a_member_in_another_case_is_refused_and_named() {
    let gateway = guarded();
    for (body, param) in [
        (r#"{"Model":"secret"}"#, "model"),
        (r#"{"model":"ok","MODEL":"secret"}"#, "model"),
        (r#"{"MODEL":"secret","model":"ok"}"#, "model"),
        (r#"{"metadata":{"Tier":"secret"}}"#, "metadata.tier"),
        (r#"{"metaData":{"tier":"secret"}}"#, "metadata.tier"),
    ] {
        let expected = (400, "invalid_body".to_owned(), param.to_owned());
        assert_eq!(ask(&gateway, JSON, body.as_bytes()), expected, "{body}");
    }
    let pairs = ask(&gateway, PAIRS, b"Model=secret");
    assert_eq!(pairs, (400, "invalid_body".to_owned(), "model".to_owned()));
}

/// A form of one part with this head and content.
fn part(head: &str, content: &str) -> Vec<u8> {
    format!("--XX\r\n{head}\r\n\r\n{content}\r\n--XX--\r\n").into_bytes()
}

#[test]
fn forms_that_servers_read_differently_are_refused() {
    let gateway = guarded();
    for (head, status) in [
        ("Content-Disposition: form-data; name=\"model\"", 403),
        ("content-disposition:form-data;name=model", 403),
        ("Content-Disposition: form-data; name=\"a\"", 200),
        ("Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav", 200),
        ("Content-Disposition: form-data; name=\"a\"; name=\"model\"", 400),
        ("Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"model\"", 400),
        ("Content-Disposition: form-data;\r\n name=\"model\"", 400),
        ("Content-Disposition: form-data; name=\"a\"; name*=utf-8''model", 400),
        ("Content-Disposition: form-data; name*0=mod; name*1=el", 400),
        ("Content-Disposition: attachment; name=\"model\"", 400),
        ("Content-Disposition: form-data; name=\"model\"; filename=\"\"", 400),
        ("Content-Disposition: form-data; name=\"model\"; filename=\"x\"", 400),
        ("Content-Disposition: form-data; filename=\"\\\"; name=\"model\"; x=\"\"", 400),
        ("Content-Disposition: form-data; x=\"; name=model; y=\"; name=\"a\"", 400),
        ("Content-Disposition: form-data; name=\"Model\"", 400),
        ("Content-Disposition: form-data; name=\"model\"\r\nContent-Type: text/plain; charset=utf-16", 400),
        (
            "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: quoted-printable",
            400,
        ),
    ] {
        assert_eq!(ask(&gateway, FORM, &part(head, "secret")).0, status, "{head}");
    }
    let model = part("Content-Disposition: form-data; name=\"model\"", "secret");
    for (content_type, status) in [
        ("multipart/form-data; boundary=XX", 403),
        ("Multipart/Form-Data; charset=utf-8; Boundary=\"XX\"", 403),
        ("multipart/form-data; boundary=xx; boundary=XX", 400),
        ("multipart/form-data; boundary=XX; boundary=xx", 400),
        ("multipart/form-data; x=\"boundary=yy\"; boundary=XX", 400),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=XX; charset=utf-7", 400),
        ("multipart/form-data; boundary=yy", 400),
    ] {
        assert_eq!(
            ask(&gateway, &format!("content-type: {content_type}\r\n"), &model).0,
            status,
            "{content_type}"
        );
    }
    let ok = "--XX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nok\r\n";
    let secret = ok.replace("ok", "secret");
    let other = ok.replace("model", "a");
    for (form, status) in [
        (format!("{ok}--XX--\r\n"), 200),
        (format!("{ok}{secret}--XX--\r\n"), 400),
        (format!("{secret}{ok}--XX--\r\n"), 400),
        (secret.clone(), 400),
        (other.clone(), 400),
        (format!("{secret}--XX-"), 400),
        (format!("{ok}--XX--\r\n{secret}--XX--\r\n"), 400),
        (format!("before\r\n{secret}--XX--\r\n"), 400),
        (format!("{}\n{}--XX--\r\n", other.trim_end(), secret.replace("\r\n", "\n")), 400),
        ("model=secret".to_owned(), 400),
    ] {
        assert_eq!(ask(&gateway, FORM, form.as_bytes()).0, status, "{form}");
    }
}

#[test]
fn fields_of_a_form_in_a_line_count_like_parts() {
    all(&[
        (PAIRS, b"model=secret", 403),
        (PAIRS, b"a=1&%6dodel=%73ecret", 403),
        (PAIRS, b"model=ok", 200),
        (PAIRS, b"model=se+cret", 200),
        (PAIRS, b"a=model", 200),
        (PAIRS, b"model=ok&model=secret", 400),
        (PAIRS, b"model=secret&mode%6c=ok", 400),
        (PAIRS, b"model=ok;model=secret", 400),
        (PAIRS, b"a=1;model=secret", 400),
        (PAIRS, b"a=%zz", 400),
        ("content-type: application/x-www-form-urlencoded; charset=utf-16\r\n", b"model=ok", 400),
    ]);
}

#[test]
fn a_mark_in_front_of_a_body_is_forwarded() {
    let gateway =
        gateway("[[route]]\nmatch = { body = { model = \"m\" } }\nto = \"a\"\n[[route]]\nto = \"b\"\n");
    let body = "\u{feff}{\"model\":\"m\",\"x\":NaN}";
    let (status, answer) = post(&gateway, JSON, body);
    assert!(
        status == 200 && answer.starts_with("a\n") && answer.ends_with(&format!("\r\n\r\n{body}")),
        "{answer}"
    );
}

#[test]
fn a_request_that_no_condition_on_bodies_stands_before_is_not_looked_into() {
    let gateway = gateway(
        "[[route]]\nmatch = { path = \"/open/*\", body = { model = \"m\" } }\nto = \"a\"\n[[route]]\nto = \"b\"\n",
    );
    for (fields, body) in
        [("content-encoding: gzip\r\n", "x"), (JSON, "{{ name }}"), (FORM, "no form"), (JSON, "\u{feff}x")]
    {
        let (status, answer) = post(&gateway, fields, body);
        assert!(status == 200 && answer.starts_with("b\n"), "{body}: {answer}");
    }
}
