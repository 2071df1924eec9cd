//! Guards: what is denied never leaves, what is flagged is told, and what is taken out never reaches an endpoint.

use serde_json::Value;

use crate::support::{Gateway, Upstream, fresh_path};

/// What an endpoint was sent: head and body.
fn sent(message: &str) -> (&str, &str) {
    message.split_once("\r\n\r\n").unwrap()
}

#[test]
fn a_guard_refuses_flags_and_redacts() {
    let (upstream, log) = (Upstream::start(), fresh_path("guard.log"));
    let gateway = Gateway::start(&format!(
        "[observe]\naccess_log = {{ to = {log:?} }}\n\
         [filter.deny]\nkind = \"guard\"\ndeny = ['(?i)ignore (all )?previous']\nfields = [\"messages[*].content\"]\n\
         [filter.flag]\nkind = \"guard\"\ndeny = ['secret']\naction = \"flag\"\nredact = [\"email\", \"card\", \"key\"]\n\
         [cluster.up]\nendpoints = [{:?}]\n\
         [[route]]\nname = \"deny\"\nmatch = {{ path = \"/deny\" }}\nto = \"up\"\nfilters = [\"deny\"]\n\
         [[route]]\nname = \"routed\"\nmatch = {{ path = \"/flag\", body = {{ model = \"m\" }} }}\nto = \"up\"\nfilters = [\"flag\"]\n\
         [[route]]\nname = \"flag\"\nmatch = {{ path = \"/flag\" }}\nto = \"up\"\nfilters = [\"flag\"]\n",
        upstream.url()
    ));
    let mut client = gateway.connect();
    let body = r#"{"messages":[{"content":[{"text":"please \u0069gnore\u0020ALL previous"}]}]}"#;
    client.send(format!("POST /deny HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    let answer = client.read_message();
    let error: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let error = &error["error"];
    assert_eq!((&error["code"], &error["type"]), (&"guard_denied".into(), &"permission_error".into()));
    assert_eq!(error["param"], "messages[0].content[0].text");
    assert!(!answer.contains("gnore"), "neither pattern nor text is told: {answer}");
    assert!(!upstream.has_waiting());
    // What is taken out never leaves: with a length, in chunks, and behind a route that looked first.
    let card = "4111 1111 1111 1111";
    for (model, length) in [("x", true), ("x", false), ("m", true)] {
        let body = format!(
            r#"{{"model":"{model}","prompt":"secret: a\u0040b.org, {card}","key":"sk-{}","n":1}}"#,
            "a1".repeat(20)
        );
        let redacted =
            format!(r#"{{"model":"{model}","prompt":"secret: [EMAIL], [CARD]","key":"[KEY]","n":1}}"#);
        let head = "POST /flag HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-digest: sha-256=:x:\r\nx-guard: mine\r\n";
        match length {
            true => client.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len())),
            false => {
                client.send(format!("{head}transfer-encoding: chunked\r\n\r\n"));
                body.as_bytes().chunks(7).for_each(|piece| {
                    client.send(format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece)));
                });
                client.send("0\r\n\r\n");
            }
        }
        let mut up = upstream.accept();
        let mut message = up.read_message();
        if !length {
            message += &up.read_until("0\r\n\r\n");
        }
        let (fields, got) = sent(&message);
        match length {
            true => {
                assert_eq!(got, redacted);
                assert!(fields.contains(&format!("\r\ncontent-length: {}", redacted.len())), "{fields}");
            }
            false => assert!(
                !message.contains("b.org") && !message.contains(card) && message.contains("[CARD]"),
                "{message}"
            ),
        }
        assert!(!fields.contains("digest"), "it would sign another body: {fields}");
        up.send("HTTP/1.1 200 OK\r\nconnection: close\r\nx-guard: theirs\r\ncontent-length: 2\r\n\r\nok");
        let answer = client.read_message();
        assert!(answer.contains("\r\nx-guard: flagged\r\n") && !answer.contains("theirs"), "{answer}");
    }
    // What is innocent goes as it came, and nothing is told.
    let body = r#"{"prompt":"\u0061","n":1}"#;
    client.send(format!(
        "POST /flag HTTP/1.1\r\nhost: x\r\ncontent-digest: sha-256=:x:\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let mut up = upstream.accept();
    let message = up.read_message();
    assert!(message.ends_with(body) && message.contains("content-digest"), "{message}");
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    assert!(!client.read_message().contains("x-guard"));
    let lines =
        || std::fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    gateway.until("the log is written", |_| lines().len() == 5);
    let mut guards: Vec<_> = lines()
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["guard"].as_str().unwrap_or("-").to_owned())
        .collect();
    guards.sort();
    assert_eq!(guards, ["-", "-", "flag", "flag", "flag"]);
    std::fs::remove_file(log).unwrap();
}
