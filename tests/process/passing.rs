//! Bodies that are sent on before they have come, once they have decided: their last byte leaves when all was found sound.

use std::time::Duration;

use serde_json::Value;

use crate::keys::{KeysFile, entry};
use crate::support::{Gateway, OK, PATIENCE, Peer, Upstream};

/// A small whole answer, with which the connection ends.
const ENDS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

/// Two models on two clusters, and what names neither on a third.
fn gateway(more: &str) -> (Gateway, [Upstream; 3]) {
    let ups = [(); 3].map(|()| Upstream::start());
    let [a, b, rest] = [0, 1, 2].map(|at: usize| ups[at].url());
    let gateway = Gateway::start(&format!(
        "{more}[cluster.a]\nendpoints = [{a:?}]\n[cluster.b]\nendpoints = [{b:?}]\n[cluster.rest]\nendpoints = [{rest:?}]\n\
         [[route]]\nname = \"a\"\nmatch = {{ body = {{ model = \"a\" }} }}\nto = \"a\"\n\
         [[route]]\nname = \"b\"\nmatch = {{ body = {{ model = \"b*\", metadata.tier = \"gold\" }} }}\nto = \"b\"\n\
         [[route]]\nname = \"rest\"\nto = \"rest\"\n"
    ));
    (gateway, ups)
}

fn head(fields: &str, length: usize) -> String {
    format!("POST /v1/x HTTP/1.1\r\nhost: x\r\n{fields}content-length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST /v1/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// The next so many bytes of a body in chunks, which end with one of them.
fn dechunked(up: &mut Peer, length: usize) -> String {
    let mut got = String::new();
    while got.len() < length {
        let size = usize::from_str_radix(up.read_until("\r\n").trim(), 16).unwrap();
        assert!(size > 0, "it ended: {got}");
        let data = String::from_utf8(up.read_exactly(size + 2)).unwrap();
        got.push_str(data.strip_suffix("\r\n").unwrap());
    }
    assert_eq!(got.len(), length, "{got}");
    got
}

/// Status, code and param of an answer that refuses.
fn told(answer: &str) -> (u16, String, String) {
    let refusal: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (answer[9..12].parse().unwrap(), text(&refusal["error"]["code"]), text(&refusal["error"]["param"]))
}

fn invalid(param: &str) -> (u16, String, String) {
    (400, "invalid_body".to_owned(), param.to_owned())
}

/// What `/stats` says of faults of all endpoints.
fn faults(gateway: &Gateway) -> u64 {
    let stats = gateway.stats();
    let clusters = stats["endpoints"].as_object().unwrap().values();
    let endpoints = clusters.flat_map(|cluster| cluster.as_object().unwrap().values());
    endpoints.map(|endpoint| endpoint["faults"].as_u64().unwrap()).sum()
}

#[test]
fn a_body_goes_on_from_the_byte_that_decides_and_its_last_byte_when_all_has_come() {
    let (gateway, [a, b, rest]) = gateway("");
    for (up, decides, between, last) in [
        (&a, r#"{"model":"a","#, r#""messages":[{"model":"b"}]"#, "}"),
        (&b, r#"{"metadata":{"tier":"gold"},"model":"bb","#, r#""x":1"#, "}"),
        (&rest, r#"{"model":"bb","metadata":{"x":1},"#, r#""x":1"#, "}  \n"),
        (&rest, r#"{"model":5,"metadata":"#, r#""gold""#, "}"),
        (&rest, r#"{"model":["a"],"#, r#""metadata":{"tier":"gold"}"#, "}"),
        (&rest, r#"{"model":"c","#, r#""metadata":{}"#, "}"),
        (&rest, "hello", " world", "!"),
        (&rest, "\0\0\0\x20ftyp", "x", "y"),
    ] {
        let body = [decides, between, last].concat();
        let mut client = gateway.connect();
        client.send(head("", body.len()) + decides);
        let mut up = up.accept();
        let upstream_head = up.read_until("\r\n\r\n");
        assert!(
            upstream_head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())),
            "{upstream_head}"
        );
        let is_json = decides.starts_with('{');
        // What is nobody's business passes as it comes.
        let kept = usize::from(is_json);
        assert_eq!(up.read_exactly(decides.len() - kept), decides.as_bytes()[..decides.len() - kept]);
        assert!(up.is_silent(), "{body}");
        client.send(between);
        let so_far = decides.len() + between.len();
        assert_eq!(up.read_exactly(between.len()), body.as_bytes()[decides.len() - kept..so_far - kept]);
        client.send(last);
        assert_eq!(up.read_exactly(last.len() + kept), body.as_bytes()[so_far - kept..]);
        up.send(OK);
        assert!(client.read_message().ends_with("ok"), "{body}");
        // In chunks neither the last one nor what ends them comes before.
        client.send(CHUNKED.to_owned() + &chunk(decides));
        up.read_until("\r\n\r\n");
        client.send(chunk(between) + &chunk(last));
        assert_eq!(dechunked(&mut up, body.len() - kept), body[..body.len() - kept]);
        assert!(up.is_silent(), "{body}");
        client.send("0\r\n\r\n");
        assert_eq!(dechunked(&mut up, kept), body[body.len() - kept..]);
        assert_eq!(up.read_exactly(5), b"0\r\n\r\n");
        up.send(OK);
        assert!(client.read_message().ends_with("ok"));
    }
    assert_eq!(faults(&gateway), 0);
}

#[test]
fn what_does_not_decide_is_held() {
    let (gateway, [a, b, rest]) = gateway("");
    for (first, last, up) in [
        (r#"{"messages":[{"model":"a"}],"metadata":{"tier":"gold"},"#, r#""model":"a"}"#, &a),
        (r#"{"model":"bb","metadata":{"x":{"tier":"gold"},"#, r#""tier":"gold"}}"#, &b),
        (r#"{"model":"bb""#, "}", &rest),
        (r#"["#, "]", &rest),
        ("  \u{b}", "\0", &rest),
    ] {
        let mut client = gateway.connect();
        client.send(head("", first.len() + last.len()) + first);
        // That nothing is sent shows only in that nothing comes for a while.
        std::thread::sleep(Duration::from_millis(100));
        assert!(!a.has_waiting() && !b.has_waiting() && !rest.has_waiting(), "{first}");
        client.send(last);
        let mut up = up.accept();
        assert!(up.read_message().ends_with(&(first.to_owned() + last)));
        up.send(ENDS);
        assert!(client.read_message().ends_with("ok"), "{first}");
    }
}

#[test]
fn what_is_found_late_breaks_the_request_off_before_its_last_byte() {
    let (gateway, [a, ..]) = gateway("[limits]\nbody = \"200KiB\"\n");
    let filling = format!(r#""messages":["{}"],"#, "m".repeat(100_000));
    let mut asked = 0;
    for (late, answer) in [
        (r#""model":"b"}"#, invalid("model")),
        (r#""model":"a"}"#, invalid("model")),
        (r#""MODEL":"b"}"#, invalid("model")),
        (r#""mod\u0065l":"b"}"#, invalid("model")),
        (r#""metadata":{},"metadata":{}}"#, invalid("metadata.tier")),
        (r#""x":[}"#, invalid("")),
        (r#""x":1]"#, invalid("")),
        (r#""x":1"#, invalid("")),
        (r#""x":1},"#, invalid("")),
        (r#""x":1}{}"#, invalid("")),
        (r#""x":1} x"#, invalid("")),
        (r#""x":1}x"#, invalid("")),
        (r#""x":tru}"#, invalid("")),
        (r#""x":"}"#, invalid("")),
    ] {
        let body = format!(r#"{{"model":"a",{filling}{late}"#);
        for chunked in [false, true] {
            let mut client = gateway.connect();
            let (first, last) = body.split_at(body.len() - late.len());
            if chunked {
                client.send(CHUNKED.to_owned() + &chunk(first));
            } else {
                client.send(head("", body.len()) + first);
            }
            let mut up = a.accept();
            asked += 1;
            up.read_until("\r\n\r\n");
            client.send(if chunked { chunk(last) + "0\r\n\r\n" } else { last.to_owned() });
            let (got, _) = up.read_to_any_end();
            assert!(got.len() < body.len() || chunked, "{late}: {}", got.len());
            assert!(!got.contains("\r\n0\r\n") && !got.ends_with(last), "{late}");
            let refusal = client.read_message();
            assert_eq!(told(&refusal), answer, "{late} {chunked}");
            assert!(!refusal.contains("x-should-retry"), "{refusal}");
            // It was read to its end, or not at all any more.
            client.send("GET /v1/y HTTP/1.1\r\nhost: x\r\n\r\n");
        }
    }
    // A size over the limit.
    let mut client = gateway.connect();
    client.send(CHUNKED.to_owned() + &chunk(r#"{"model":"a","x":""#));
    let mut up = a.accept();
    for _ in 0..210 {
        client.send(chunk(&"y".repeat(1024)));
    }
    assert!(!up.read_to_any_end().0.contains("\r\n0\r\n"));
    assert_eq!(told(&client.read_message()), (413, "body_too_large".to_owned(), String::new()));
    let stats = gateway.stats();
    let endpoint = stats["endpoints"]["a"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!((endpoint["faults"].as_u64(), endpoint["in_flight"].as_u64()), (Some(0), Some(0)), "{stats}");
    assert_eq!(endpoint["requests"].as_u64(), Some(asked + 1), "nothing is sent again: {endpoint}");
    assert!(!a.has_waiting());
}

#[test]
fn an_answer_that_has_begun_is_cut_visibly_and_nobody_is_blamed() {
    let (gateway, [a, ..]) = gateway("");
    for (begun, shown) in [
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "hello"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\n\r\nhello", "hello"),
    ] {
        let mut client = gateway.connect();
        client.send(head("", 60) + r#"{"model":"a","#);
        let mut up = a.accept();
        up.read_until("model");
        up.send(begun);
        let answer = client.read_until(shown);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        client.send(r#""model":"b"}                                   "#);
        assert!(!up.read_to_any_end().0.contains('}'));
        let (rest, is_clean) = client.read_to_any_end();
        assert!(!rest.contains("0\r\n\r\n") && !rest.contains("error"), "{rest}");
        assert!(!is_clean || !answer.contains("close"), "an answer that ends with its connection is reset");
    }
    gateway.until("all is over", |stats| stats["routes"]["a"]["in_flight"] == 0);
    assert_eq!(faults(&gateway), 0);
    assert_eq!(gateway.stats()["routes"]["a"]["client_closed"], 3);
}

#[test]
fn filters_that_ask_for_the_whole_hold_it_and_others_do_not() {
    let keys = KeysFile::new(
        &(entry("free", "") + &entry("model", "models = [\"a\"]") + &entry("tokens", "tpm = 1000")),
    );
    let service = Upstream::start().serve(OK);
    let up = Upstream::start();
    let (url, mut routes) = (up.url(), String::new());
    for (path, filters) in [
        ("/keys", "keys"),
        ("/shape", "shape"),
        ("/guard", "guard"),
        ("/told", "told"),
        ("/asked", "asked"),
        ("/tokens", "tokens"),
        ("/model", "model"),
    ] {
        routes += &format!(
            "[[route]]\nmatch = {{ path = {path:?}, body = {{ model = \"a\" }} }}\nto = \"up\"\nfilters = [{filters:?}]\n"
        );
    }
    let gateway = Gateway::start(&format!(
        "{}[filter.shape]\nkind = \"validate\"\n[filter.guard]\nkind = \"guard\"\ndeny = [\"x\"]\n\
         [filter.told]\nkind = \"ask\"\nurl = {service:?}\nbody = \"3B\"\n[filter.asked]\nkind = \"ask\"\nurl = {service:?}\n\
         [filter.tokens]\nkind = \"rate-limit\"\ntokens = \"1000/min\"\nby = \"ip\"\n\
         [filter.model]\nkind = \"rate-limit\"\nrequests = \"1000/min\"\nby = \"model\"\n[cluster.up]\nendpoints = [{url:?}]\n{routes}",
        keys.filter()
    ));
    let (first, last) = (r#"{"model":"a","messages":"#, "[]}");
    for (path, key, is_held) in [
        ("/keys", "free", false),
        ("/keys", "model", false),
        ("/asked", "", false),
        ("/model", "", false),
        ("/keys", "tokens", true),
        ("/shape", "", true),
        ("/guard", "", true),
        ("/told", "", true),
        ("/tokens", "", true),
    ] {
        let mut client = gateway.connect();
        let length = first.len() + last.len();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: sk-{key}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{first}"
        ));
        let mut sent = (!is_held).then(|| up.accept());
        match &mut sent {
            Some(up) => drop(up.read_until("messages")),
            None => {
                std::thread::sleep(Duration::from_millis(100));
                assert!(!up.has_waiting(), "{path} {key}");
            }
        }
        client.send(last);
        let mut sent = sent.unwrap_or_else(|| up.accept());
        sent.read_until(last);
        sent.send(ENDS);
        assert!(client.read_message().ends_with("ok"), "{path} {key}");
    }
    // A model that stands twice is found by whoever asked for it, though no route did.
    let up = Upstream::start();
    let gateway = Gateway::start(&format!(
        "{}[cluster.up]\nendpoints = [{:?}]\n[[route]]\nto = \"up\"\nfilters = [\"keys\"]\n",
        keys.filter(),
        up.url()
    ));
    for (late, answer) in [(r#""model":"b"}"#, invalid("model")), ("}}", invalid(""))] {
        let mut client = gateway.connect();
        client.send(head("x-api-key: sk-model\r\n", first.len() + 2 + late.len()) + first);
        let mut up = up.accept();
        up.read_until("messages");
        client.send("5,".to_owned() + late);
        assert!(!up.read_to_any_end().0.ends_with(late));
        assert_eq!(told(&client.read_message()), answer);
    }
    assert_eq!(faults(&gateway), 0);
}

#[test]
fn a_form_goes_on_from_the_part_that_decides() {
    let (gateway, [a, ..]) = gateway("");
    let fields = "content-type: multipart/form-data; boundary=XX\r\n";
    let model = "--XX\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\na\r\n--XX\r\n";
    let file =
        format!("content-disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n{}", "f".repeat(1000));
    for (last, is_sound) in [
        ("\r\n--XX--\r\n".to_owned(), true),
        (format!("\r\n{model}\r\n--XX--\r\n"), false),
        ("\r\n--XX-\r\n".to_owned(), false),
        ("\r\n--XX\r\n".to_owned(), false),
    ] {
        let mut client = gateway.connect();
        client.send(head(fields, model.len() + file.len() + last.len()) + model);
        let mut up = a.accept();
        up.read_until("\r\n\r\na\r\n");
        client.send(&file);
        client.send(&last);
        if is_sound {
            up.read_until(&last);
            up.send(ENDS);
            assert!(client.read_message().ends_with("ok"));
        } else {
            assert!(!up.read_to_any_end().0.ends_with(&last));
            assert_eq!(told(&client.read_message()).0, 400, "{last}");
        }
    }
}

#[test]
fn what_waits_to_be_told_is_told_and_sent_on() {
    let (gateway, [a, ..]) = gateway("");
    let mut client = gateway.connect();
    let (first, last) = (r#"{"model":"a","#, r#""x":1}"#);
    client.send(head("expect: 100-continue\r\n", first.len() + last.len()));
    assert_eq!(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(first);
    let mut up = a.accept();
    assert!(!up.read_until("\r\n\r\n").contains("expect"));
    client.send(last);
    up.read_until(last);
    up.send(OK);
    assert!(client.read_message().ends_with("ok"));
}

#[test]
fn what_was_sent_on_early_is_sent_again_where_that_is_allowed() {
    // The first cluster refuses by its own word, and the second gets the same, of which the client has sent half.
    let (full, up) = (Upstream::start(), Upstream::start());
    let gateway = Gateway::start(&format!(
        "[cluster.full]\nendpoints = [{:?}]\n[cluster.up]\nendpoints = [{:?}]\n\
         [[route]]\nmatch = {{ body = {{ model = \"a\" }} }}\nto = \"full\"\nfallback = [\"up\"]\nset = {{ body = {{ model = \"real\", user = \"u\" }} }}\n",
        full.url(),
        up.url()
    ));
    let filling = format!(r#""messages":["{}"]"#, "m".repeat(60_000));
    let mut client = gateway.connect();
    let (first, last) = (format!(r#"{{"model":"a",{filling},"#), r#""x":1}"#);
    client.send(head("", first.len() + last.len()) + &first);
    let mut refuses = full.accept();
    refuses.read_until("\"]");
    refuses.send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    let mut takes = up.accept();
    let told = takes.read_until("\r\n\r\n");
    assert!(told.contains("transfer-encoding: chunked\r\n"), "{told}");
    client.send(last);
    let sent = format!(r#"{{"model":"real",{filling},"x":1,"user":"u"}}"#);
    assert_eq!(dechunked(&mut takes, sent.len()), sent);
    assert_eq!(takes.read_exactly(5), b"0\r\n\r\n");
    takes.send(OK);
    assert!(client.read_message().ends_with("ok"));
    // On a pooled connection that had ended a whole body goes again on a fresh one.
    drop((refuses, takes));
    let mut client = gateway.connect();
    client.send(head("", first.len() + last.len()) + &first);
    let mut refuses = full.accept();
    refuses.read_until("\"]");
    client.send(r#""model":1"#);
    assert!(!refuses.read_to_any_end().0.contains('}'));
    assert!(client.read_message().starts_with("HTTP/1.1 400 "));
    assert!(!up.has_waiting(), "a body that is wrong goes to nobody else");
}

#[test]
fn a_large_body_is_never_held() {
    let (gateway, [a, ..]) =
        gateway("[server]\nlanes = 1\n[limits]\nbuffered = \"64MiB\"\nbody = \"32MiB\"\n");
    const LENGTH: usize = 20 << 20;
    let first = r#"{"model":"a","x":""#;
    let before = gateway.resident_bytes();
    // Eight of them, of which three would fill the room.
    let mut clients: Vec<Peer> = (0..8).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(head("", LENGTH) + first));
    let mut ups: Vec<Peer> = (0..8).map(|_| a.accept()).collect();
    let readers: Vec<_> = ups
        .drain(..)
        .map(|mut up| {
            std::thread::spawn(move || {
                up.stream.set_read_timeout(Some(6 * PATIENCE)).unwrap();
                up.read_until("\r\n\r\n");
                up.read_exactly(LENGTH);
                up.send(OK);
                up
            })
        })
        .collect();
    let piece = "y".repeat(1 << 20);
    let mut left = LENGTH - first.len() - 2;
    let mut most = 0;
    while left > 0 {
        let sent = &piece[..left.min(piece.len())];
        clients.iter_mut().for_each(|client| client.send(sent));
        left -= sent.len();
        most = most.max(gateway.resident_bytes());
    }
    clients.iter_mut().for_each(|client| client.send("\"}"));
    for client in &mut clients {
        client.stream.set_read_timeout(Some(6 * PATIENCE)).unwrap();
        assert!(client.read_message().ends_with("ok"));
    }
    readers.into_iter().for_each(|reader| drop(reader.join().unwrap()));
    // The buffers of a relay, on both sides, and what decided; held they would be 160 MiB.
    assert!(most < before + (24 << 20), "{before} {most}");
    // The same where the model stands twice, behind five megabytes.
    let mut client = gateway.connect();
    client.send(head("", LENGTH) + first);
    let mut up = a.accept();
    let reader = std::thread::spawn(move || {
        let (got, _) = up.read_to_any_end();
        got.len()
    });
    (0..5).for_each(|_| client.send(&piece));
    client.send("\",\"model\":\"b\",\"x\":\"");
    assert_eq!(told(&client.read_message()), invalid("model"));
    let got = reader.join().unwrap();
    assert!((4 << 20..6 << 20).contains(&got), "{got}");
    assert_eq!(faults(&gateway), 0);
}

#[test]
fn an_upload_of_20_mb_takes_no_256_kib_of_memory() {
    let (gateway, [a, ..]) = gateway("[server]\nlanes = 1\n[limits]\nbody = \"32MiB\"\n");
    const LENGTH: usize = 20_000_000;
    let first = r#"{"model":"a","x":""#;
    let piece = "y".repeat(1 << 18);
    // The first ones leave behind what a lane has once: its buffers, and the pages that the allocator keeps.
    let mut before = 0;
    for turn in 0..6 {
        let mut client = gateway.connect();
        client.send(head("connection: close\r\n", LENGTH) + first);
        let mut up = a.accept();
        up.read_until("\r\n\r\n");
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let reader = std::thread::spawn(move || {
            // Nobody reads at first, so that whatever would be held is.
            let _ = gone.recv_timeout(Duration::from_millis(200));
            up.read_exactly(LENGTH);
            up.send(ENDS);
            up
        });
        let mut left = LENGTH - first.len() - 2;
        let mut most = 0;
        while left > 0 {
            let sent = &piece[..left.min(piece.len())];
            client.send(sent);
            left -= sent.len();
            most = most.max(gateway.resident_bytes());
        }
        client.send("\"}");
        assert!(client.read_message().ends_with("ok"));
        drop((go, reader.join().unwrap()));
        if turn > 2 {
            assert!(most < before + (256 << 10), "{before} {most}");
        }
        before = gateway.resident_bytes();
    }
}

#[test]
fn edits_are_spliced_into_what_passes() {
    let up = Upstream::start();
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{:?}]\n[[route]]\nto = \"up\"\nset = {{ body = {{ model = \"real-model\" }} }}\n\
         clamp = {{ body = {{ n = 5 }} }}\nremove = {{ body = [\"gone\"] }}\n",
        up.url()
    ));
    let digest = "digest: x\r\n";
    // All of them are made before the head leaves: what follows has a known length.
    let (first, last) = (r#"{"n":77,"gone":{"a":[]},"model":"m","messages":["#, r#""n n n"],"x":-1.5e3}"#);
    let sent = r#"{"n":5,"model":"real-model","messages":["n n n"],"x":-1.5e3}"#;
    let mut client = gateway.connect();
    client.send(head(digest, first.len() + last.len()) + first);
    let mut server = up.accept();
    let told_head = server.read_until("\r\n\r\n");
    assert!(told_head.contains(&format!("content-length: {}\r\n", sent.len())), "{told_head}");
    assert!(!told_head.contains("digest"));
    server.read_until("messages");
    client.send(last);
    assert_eq!(
        server.read_exactly(sent.len() - sent.find("messages").unwrap() - 8),
        sent.as_bytes()[sent.find("messages").unwrap() + 8..]
    );
    server.send(ENDS);
    assert!(client.read_message().ends_with("ok"));
    // None is made by then: it goes in chunks, spliced as it comes.
    let (first, last) = (r#"{"messages":["n n n"],"gone":"#, r#"[1,2],"x":1,"n":1e3}"#);
    client.send(head(digest, first.len() + last.len()) + first);
    let mut server = up.accept();
    let told_head = server.read_until("\r\n\r\n");
    assert!(
        told_head.contains("transfer-encoding: chunked\r\n") && !told_head.contains("content-length"),
        "{told_head}"
    );
    assert!(!told_head.contains("digest"));
    let sent = r#"{"messages":["n n n"],"x":1,"n":5,"model":"real-model"}"#;
    // Up to the comma of what goes, but for the last byte of what may leave.
    assert_eq!(dechunked(&mut server, 20), sent[..20]);
    client.send(last);
    assert_eq!(dechunked(&mut server, sent.len() - 20), sent[20..]);
    assert_eq!(server.read_exactly(5), b"0\r\n\r\n");
    server.send(ENDS);
    assert!(client.read_message().ends_with("ok"));
    // What breaks it late is told as it is of others.
    for (late, answer) in [
        (r#""n":1,"n":2}"#, invalid("n")),
        (r#""N":1}"#, invalid("n")),
        (r#""x":1"#, invalid("")),
        (r#""x":1}}"#, invalid("")),
    ] {
        let mut client = gateway.connect();
        client.send(CHUNKED.to_owned() + &chunk(r#"{"messages":[],"#));
        let mut server = up.accept();
        server.read_until("messages");
        client.send(chunk(late) + "0\r\n\r\n");
        assert!(!server.read_to_any_end().0.contains("\r\n0\r\n"), "{late}");
        assert_eq!(told(&client.read_message()), answer, "{late}");
    }
    assert_eq!(faults(&gateway), 0);
}

/// An answer and a fault of its request, at the same moment: the one or the other is told, whole or visibly cut.
#[test]
fn an_answer_that_meets_a_fault_is_refused_or_cut() {
    let (gateway, [a, ..]) = gateway("");
    let (mut cut, mut refused) = (0, 0);
    for round in 0..200 {
        let mut client = gateway.connect();
        client.send(head("connection: close\r\n", 60) + r#"{"model":"a","#);
        let mut up = a.accept();
        up.read_until("model");
        let late = r#""model":"b"}                                   "#;
        let answers = std::thread::spawn(move || {
            up.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel");
            up.read_to_any_end();
        });
        if round % 2 == 0 {
            std::thread::sleep(Duration::from_micros(round * 3));
        }
        client.send(late);
        let (answer, _) = client.read_to_any_end();
        answers.join().unwrap();
        match answer.get(..13) {
            Some("HTTP/1.1 400 ") => {
                refused += 1;
                assert_eq!(told(&answer), invalid("model"), "{answer}");
                assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
            }
            Some("HTTP/1.1 200 ") => {
                cut += 1;
                assert!(!answer.contains("invalid_body"), "{answer}");
                assert!(answer.split_once("\r\n\r\n").unwrap().1.len() < 5, "{answer}");
            }
            _ => panic!("{answer}"),
        }
    }
    assert_eq!(cut + refused, 200);
    gateway.until("all is over", |stats| stats["routes"]["a"]["in_flight"] == 0);
    assert_eq!(faults(&gateway), 0);
}
