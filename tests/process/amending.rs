//! What a route changes in the requests that go upstream: members of their bodies, and fields.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::keys::{KeysFile, entry};
use crate::support::{Gateway, OK, Peer, Upstream};

/// An endpoint that keeps what it was sent, and answers so.
fn keeping(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let (upstream, seen) = (Upstream::start(), Arc::new(Mutex::new(Vec::new())));
    let (url, log) = (upstream.url(), Arc::clone(&seen));
    std::thread::spawn(move || {
        for stream in upstream.listener.incoming().flatten() {
            let log = Arc::clone(&log);
            std::thread::spawn(move || {
                let mut peer = Peer::new(stream);
                peer.stream.set_read_timeout(None).unwrap();
                while let Some(request) = peer.try_message() {
                    log.lock().unwrap().push(request);
                    peer.send(answer);
                }
            });
        }
    });
    (url, seen)
}

/// What was sent last: its head and its body.
fn last(seen: &Mutex<Vec<String>>) -> (String, String) {
    let request = seen.lock().unwrap().pop().expect("something was sent");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (format!("{head}\r\n"), body.to_owned())
}

/// Status, code and param of the answer to a request.
fn told(answer: &str) -> (u16, String, String) {
    let refusal: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (answer[9..12].parse().unwrap(), text(&refusal["error"]["code"]), text(&refusal["error"]["param"]))
}

fn ask(gateway: &Gateway, path: &str, fields: &str, body: &str) -> (u16, String, String) {
    let mut client = gateway.connect();
    client.send(format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    told(&client.read_message())
}

fn good() -> (u16, String, String) {
    (200, String::new(), String::new())
}

fn refused(status: u16, code: &str, param: &str) -> (u16, String, String) {
    (status, code.to_owned(), param.to_owned())
}

const ALL: &str = r#"
set = { body = { model = "real/model", "metadata.tier" = "gold", stop = ["a", { b = 1.5 }] }, header = { x-from = "cor{key}", X-Team = "b" } }
default = { body = { max_tokens = 512, "options.seed" = -7 } }
clamp = { body = { max_tokens = 4096, temperature = 1.5 } }
remove = { body = ["logprobs", "metadata.user"] }
"#;

#[test]
fn bodies_go_on_as_the_route_says_and_every_other_byte_as_it_came() {
    let (url, seen) = keeping(OK);
    let gateway =
        Gateway::start(&format!("[cluster.up]\nendpoints = [{url:?}]\n[[route]]\nto = \"up\"\n{ALL}"));
    let signed = "Digest: a\r\ncontent-md5: b\r\nx-other: c\r\n";
    for (body, sent) in [
        (
            r#"{ "model": "alias",	"logprobs":true, "messages":[{"model":"x","content":"é\u00e9"}],"max_tokens":1e5,"temperature": 2 }"#,
            r#"{ "model": "real/model", "messages":[{"model":"x","content":"é\u00e9"}],"max_tokens":4096,"temperature": 1.5 ,"metadata":{"tier":"gold"},"stop":["a",{"b":1.5}],"options":{"seed":-7}}"#,
        ),
        (
            r#"{"stop":null,"options":{"seed":1},"metadata":{"user":"u"},"max_completion_tokens":7,"model":1}"#,
            r#"{"stop":["a",{"b":1.5}],"options":{"seed":1},"metadata":{"tier":"gold"},"max_completion_tokens":7,"model":"real/model"}"#,
        ),
    ] {
        assert_eq!(ask(&gateway, "/x", signed, body), good(), "{body}");
        let (head, got) = last(&seen);
        assert_eq!(got, sent);
        assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", sent.len())), "{head}");
        assert!(!head.contains("igest") && !head.contains("md5") && head.contains("x-other: c"), "{head}");
    }
    // In pieces and chunks it is the same.
    let mut client = gateway.connect();
    client.send("POST /x HTTP/1.1\r\nhost: x\r\nx_from: me\r\nX-From: me\r\nx-team: a\r\nx_team: a\r\ntransfer-encoding: chunked\r\n\r\n");
    for byte in r#"{"messages":[]}"#.bytes() {
        client.send(format!("1\r\n{}\r\n", char::from(byte)));
    }
    client.send("0\r\n\r\n");
    assert!(client.read_message().ends_with("ok"));
    let (head, body) = last(&seen);
    assert_eq!(
        body,
        r#"{"messages":[],"model":"real/model","metadata":{"tier":"gold"},"stop":["a",{"b":1.5}],"max_tokens":512,"options":{"seed":-7}}"#
    );
    assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
    let said: Vec<_> = head.lines().filter(|line| line.contains("from") || line.contains("eam")).collect();
    assert_eq!(said, ["x-from: cor{key}", "X-Team: b"]);
    // A document in front of tensors has another length.
    let (document, tensors) = (r#"{"inputs":[]}"#, "\0\u{1}{\"");
    client.send(format!(
        "POST /x HTTP/1.1\r\nhost: x\r\ninference-header-content-length: {}\r\ninference_header_content_length: 1\r\ncontent-length: {}\r\n\r\n{document}{tensors}",
        document.len(),
        document.len() + tensors.len()
    ));
    assert!(client.read_message().ends_with("ok"));
    let (head, body) = last(&seen);
    let edited = r#"{"inputs":[],"model":"real/model","metadata":{"tier":"gold"},"stop":["a",{"b":1.5}],"max_tokens":512,"options":{"seed":-7}}"#;
    assert_eq!(body, edited.to_owned() + tensors);
    let said: Vec<_> = head.lines().filter(|line| line.contains("length")).collect();
    let (whole, document) = (
        format!("content-length: {}", body.len()),
        format!("inference-header-content-length: {}", edited.len()),
    );
    assert_eq!(said, [document.as_str(), whole.as_str()]);
    // What has no body has nothing that could be changed, but its fields.
    client.send("GET /x HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.read_message().ends_with("ok"));
    assert!(last(&seen).0.contains("x-from: cor{key}\r\n"));
}

#[test]
fn what_cannot_be_changed_is_refused_or_passes_as_it_came() {
    let (url, seen) = keeping(OK);
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{url:?}]\n[[route]]\nmatch = {{ path = \"/set\" }}\nto = \"up\"\n{ALL}\
         [[route]]\nmatch = {{ path = \"/clamp\" }}\nto = \"up\"\nclamp = {{ body = {{ n = 5 }} }}\nremove = {{ body = [\"a.b\"] }}\n"
    ));
    let invalid = |param| refused(400, "invalid_body", param);
    let form = "content-type: multipart/form-data; boundary=XX\r\n";
    let part = "--XX\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\na\r\n--XX--\r\n";
    let zipped = "content-encoding: gzip\r\n";
    for (path, fields, body, expected) in [
        ("/set", "", r#"{"model":"a","model":"b"}"#, invalid("model")),
        ("/set", "", r#"{"model":"a","Model":"b"}"#, invalid("model")),
        ("/set", "", r#"{"LOGPROBS":1}"#, invalid("logprobs")),
        ("/set", "", r#"{"metadata":"a"}"#, invalid("metadata.tier")),
        ("/set", "", r#"{"options":[]}"#, invalid("options.seed")),
        ("/set", "", r#"{"model":"a""#, invalid("")),
        ("/set", "", r#"{"model":"a"}{}"#, invalid("")),
        ("/set", "", "[{}]", invalid("")),
        ("/set", "", "hello", invalid("")),
        ("/set", "", "", invalid("")),
        ("/set", form, part, invalid("")),
        ("/set", "content-type: application/x-www-form-urlencoded\r\n", "a=b", invalid("")),
        ("/set", zipped, "{}", refused(415, "unsupported_encoding", "")),
        ("/clamp", zipped, "{}", refused(415, "unsupported_encoding", "")),
        ("/clamp", "", r#"{"n":1,"n":9}"#, invalid("n")),
        ("/clamp", "", r#"{"N":9}"#, invalid("n")),
        ("/clamp", "", r#"{"n":9"#, invalid("")),
        ("/clamp", "", "[9]", good()),
        ("/clamp", "", "hello", good()),
        ("/clamp", "", "", good()),
        ("/clamp", form, part, good()),
        ("/clamp", "digest: x\r\n", r#"{"n":5,"a":{"c":1}}"#, good()),
    ] {
        assert_eq!(ask(&gateway, path, fields, body), expected, "{path} {body}");
        if expected == good() {
            let (head, sent) = last(&seen);
            assert_eq!(sent, body);
            assert_eq!(head.contains("digest: x"), fields.contains("digest"), "what signs it holds: {head}");
        }
        assert!(seen.lock().unwrap().is_empty(), "{path} {body}");
    }
}

#[test]
fn filters_judge_what_the_client_wrote() {
    let (url, seen) = keeping(OK);
    let keys = KeysFile::new(
        &(entry("a", "models = [\"alias-*\"]\ntpm = 100000") + &entry("b", "models = [\"real\"]")),
    );
    let gateway = Gateway::start(&format!(
        "{}[filter.shape]\nkind = \"validate\"\nschema = \"openai\"\n[filter.guard]\nkind = \"guard\"\nredact = [\"email\"]\n\
         [filter.fields]\nkind = \"headers\"\nrequest = {{ set = {{ x-model = \"{{model}}\" }} }}\n[cluster.up]\nendpoints = [{url:?}]\n\
         [[route]]\nmatch = {{ path = \"/set/*\" }}\nrewrite = {{ strip = \"/set\", add = \"/v1\" }}\nto = \"up\"\nfilters = [\"keys\", \"shape\", \"guard\", \"fields\"]\n\
         set = {{ body = {{ model = \"real\", user = \"c@d.example\" }} }}\nremove = {{ body = [\"stream\"] }}\n\
         [[route]]\nmatch = {{ path = \"/default/*\" }}\nto = \"up\"\nfilters = [\"keys\", \"fields\"]\ndefault = {{ body = {{ model = \"real\", stream = true }} }}\n",
        keys.filter()
    ));
    let key = |name: &str| format!("authorization: Bearer sk-{name}\r\ncontent-type: application/json\r\n");
    let denied = || refused(403, "model_not_allowed", "model");
    let chat =
        |model: &str| format!(r#"{{{model}"messages":[{{"role":"user","content":"to a@b.example"}}]}}"#);
    for (path, holder, body, expected, model, sent) in [
        (
            "/set/chat/completions",
            "a",
            chat(r#""model":"alias-1","#),
            good(),
            "alias-1",
            r#"{"model":"real","messages":[{"role":"user","content":"to [EMAIL]"}],"user":"c@d.example"}"#,
        ),
        (
            "/set/chat/completions",
            "a",
            chat(r#""stream":true,"model":"alias-1","#),
            good(),
            "alias-1",
            r#"{"model":"real","messages":[{"role":"user","content":"to [EMAIL]"}],"user":"c@d.example"}"#,
        ),
        ("/set/chat/completions", "a", chat(r#""model":"real","#), denied(), "", ""),
        ("/set/chat/completions", "a", chat(""), denied(), "", ""),
        (
            "/set/chat/completions",
            "b",
            chat(""),
            good(),
            "real",
            r#"{"messages":[{"role":"user","content":"to [EMAIL]"}],"model":"real","user":"c@d.example"}"#,
        ),
        (
            "/set/chat/completions",
            "b",
            chat(r#""model":null,"#),
            good(),
            "real",
            r#"{"model":"real","messages":[{"role":"user","content":"to [EMAIL]"}],"user":"c@d.example"}"#,
        ),
        (
            "/set/chat/completions",
            "b",
            chat(r#""model":{},"#),
            refused(403, "model_not_allowed", "model"),
            "",
            "",
        ),
        ("/set/chat/completions", "b", chat(r#""model":"alias-1","#), denied(), "", ""),
        (
            "/set/chat/completions",
            "b",
            "{}".to_owned(),
            refused(400, "validation_failed", "messages"),
            "",
            "",
        ),
        ("/default/x", "b", "{}".to_owned(), good(), "real", r#"{"model":"real","stream":true}"#),
        ("/default/x", "a", "{}".to_owned(), denied(), "", ""),
        (
            "/default/x",
            "a",
            r#"{"model":"alias-2"}"#.to_owned(),
            good(),
            "alias-2",
            r#"{"model":"alias-2","stream":true}"#,
        ),
        (
            "/default/chat/completions",
            "a",
            r#"{"model":"alias-2","stream":null}"#.to_owned(),
            good(),
            "alias-2",
            r#"{"stream_options":{"include_usage":true},"model":"alias-2","stream":true}"#,
        ),
    ] {
        assert_eq!(ask(&gateway, path, &key(holder), &body), expected, "{path} {holder} {body}");
        if expected == good() {
            let (head, got) = last(&seen);
            assert_eq!(got, sent, "{path} {holder} {body}");
            assert!(head.contains(&format!("x-model: {model}\r\n")), "{head}");
        }
        assert!(seen.lock().unwrap().is_empty());
    }
}

#[test]
fn wherever_a_request_goes_it_was_changed_once() {
    let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    let ((full, first), (url, seen)) = (keeping(busy), keeping(OK));
    let gateway = Gateway::start(&format!(
        "[cluster.full]\nendpoints = [{full:?}]\n[cluster.up]\nendpoints = [{url:?}]\n[cluster.one]\nendpoints = [{url:?}]\nsingle_flight = true\n\
         [cluster.lot]\nendpoints = [{url:?}]\nbatch = {{ protocol = \"openai-embeddings\" }}\n\
         [[route]]\nmatch = {{ path = \"/back\" }}\nto = \"full\"\nfallback = [\"up\"]\nset = {{ body = {{ m = 1 }}, header = {{ x-set = \"1\" }} }}\n\
         [[route]]\nmatch = {{ path = \"/all\" }}\nfanout = {{ to = [\"up\", \"full\"] }}\nset = {{ body = {{ m = 1 }}, header = {{ x-set = \"1\" }} }}\n\
         [[route]]\nmatch = {{ path = \"/many\" }}\nmulti = {{}}\n\
         [[route]]\nmatch = {{ path = \"/v1/embeddings\" }}\nto = \"one\"\nset = {{ body = {{ model = \"m\" }}, header = {{ x-set = \"1\" }} }}\n\
         [[route]]\nmatch = {{ path = \"/lot/*\" }}\nrewrite = {{ strip = \"/lot\", add = \"/v1\" }}\nto = \"lot\"\nset = {{ body = {{ model = \"m\" }} }}\n"
    ));
    let sent = r#"{"a":"b","m":1}"#;
    assert_eq!(ask(&gateway, "/back", "", r#"{"a":"b"}"#), good());
    for seen in [&first, &seen] {
        let (head, body) = last(seen);
        assert_eq!((body.as_str(), head.matches("x-set: 1").count()), (sent, 1), "{head}");
    }
    assert_eq!(ask(&gateway, "/all", "", r#"{"a":"b"}"#).0, 200);
    for seen in [&first, &seen] {
        let (head, body) = last(seen);
        assert_eq!((body.as_str(), head.matches("x-set: 1").count()), (sent, 1), "{head}");
    }
    let many = r#"[{"id":"1","method":"POST","path":"/back","body":{"a":"b"}},{"id":"2","method":"POST","path":"/back","body":[1]}]"#;
    let mut client = gateway.connect();
    client.send(format!(
        "POST /many HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{many}",
        many.len()
    ));
    let answer = client.read_to_end();
    assert!(answer.contains(r#""status":200"#) && answer.contains(r#""status":400"#), "{answer}");
    assert_eq!(last(&seen).1, sent);
    // What is shared is what goes upstream.
    for path in ["/v1/embeddings", "/lot/embeddings"] {
        assert_eq!(ask(&gateway, path, "", r#"{"model":"x","input":"a"}"#), good());
        assert_eq!(last(&seen).1, r#"{"model":"m","input":"a"}"#, "{path}");
    }
}

#[test]
fn those_who_ask_the_same_once_it_is_changed_share_an_answer() {
    let upstream = Upstream::start();
    let url = upstream.url();
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{url:?}]\nsingle_flight = true\n[[route]]\nto = \"up\"\nset = {{ body = {{ model = \"m\" }} }}\n"
    ));
    let mut clients: Vec<Peer> = ["a", "b"]
        .map(|model| {
            let mut client = gateway.connect();
            let body = format!(r#"{{"model":"{model}","input":"x"}}"#);
            client.send(format!(
                "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ));
            client
        })
        .into();
    let mut up = upstream.accept();
    assert!(up.read_message().ends_with(r#"{"model":"m","input":"x"}"#));
    gateway.until("both ask", |stats| stats["routes"]["route-1"]["in_flight"] == 2);
    up.send(OK);
    for client in &mut clients {
        assert!(client.read_message().ends_with("ok"));
    }
    assert!(!upstream.has_waiting());
}
