//! Copies for a mirror: what they are, when there is none, and that nobody notices them.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, OK, PATIENCE, Peer, Upstream, nobody};

pub const MIB: usize = 1 << 20;

/// A route to `up`, of which `share` is copied to `shadow`, and what is said of the three and beside them.
pub struct Setting<'s> {
    pub up: &'s [&'s str],
    pub shadow: &'s str,
    pub share: &'s str,
    pub of_up: &'s str,
    pub of_shadow: &'s str,
    pub of_route: &'s str,
    pub beside: &'s str,
}

pub const PLAIN: Setting<'_> =
    Setting { up: &[], shadow: "", share: "100%", of_up: "", of_shadow: "", of_route: "", beside: "" };

pub fn start(setting: &Setting<'_>) -> Gateway {
    let Setting { up, shadow, share, of_up, of_shadow, of_route, beside } = setting;
    Gateway::start(&format!(
        "{beside}\n[cluster.up]\nendpoints = {up:?}\n{of_up}\n[cluster.shadow]\nendpoints = [{shadow:?}]\n\
         {of_shadow}\n[[route]]\nname = \"all\"\nto = \"up\"\nmirror = {{ cluster = \"shadow\", share = {share:?} }}\n\
         {of_route}\n"
    ))
}

/// An endpoint that is played by hand; a copy that does not come is waited for no longer than anything else.
pub fn by_hand() -> Upstream {
    let upstream = Upstream::start();
    socket2::SockRef::from(&upstream.listener).set_read_timeout(Some(PATIENCE)).unwrap();
    upstream
}

/// An endpoint that hands out each request as it came, and answers so.
pub fn telling(answer: &'static str) -> (String, Receiver<String>) {
    let upstream = Upstream::start();
    let (tell, told) = channel();
    let url = upstream.url();
    std::thread::spawn(move || {
        for stream in upstream.listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut peer = Peer::new(stream);
                peer.stream.set_read_timeout(None).unwrap();
                while let Some(request) = peer.try_message() {
                    let _ = tell.send(request);
                    peer.send(answer);
                }
            });
        }
    });
    (url, told)
}

pub fn next(told: &Receiver<String>) -> String {
    told.recv_timeout(PATIENCE).unwrap()
}

pub fn ask(gateway: &Gateway, request: impl AsRef<[u8]>) -> String {
    let mut client = gateway.connect();
    client.send(request);
    client.read_message()
}

pub fn post(fields: &str, body: &str) -> String {
    format!("POST /v1/a?b=c HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

pub fn counts(stats: &Value) -> Value {
    stats["clusters"]["shadow"]["mirror"].clone()
}

/// Waits until copies ended like this.
pub fn ended(gateway: &Gateway, sent: u64, skipped: u64, failed: u64) {
    let wanted = json!({ "sent": sent, "skipped": skipped, "failed": failed });
    gateway.until(&wanted.to_string(), |stats| counts(stats) == wanted);
}

/// A message without these fields.
fn without(message: &str, names: &[&str]) -> String {
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let is_left = |line: &&str| !names.iter().any(|name| line.starts_with(&format!("{name}: ")));
    let lines: Vec<_> = head.split("\r\n").filter(is_left).collect();
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

fn field<'m>(message: &'m str, name: &str) -> Option<&'m str> {
    let (head, _) = message.split_once("\r\n\r\n").unwrap();
    head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
}

const EDIT: &str = "[filter.edit]\nkind = \"headers\"\nrequest = { set = { x-a = \"{client}\" }, add = { x-c = \"1\" }, \
                    rename = { x-old = \"x-new\" }, remove = [\"cookie\"] }\n\
                    [filter.guard]\nkind = \"guard\"\nredact = [\"email\"]\n";

#[test]
fn a_copy_is_what_went_upstream_but_for_its_mark_its_host_and_its_credential() {
    let ((up, asked), (shadow, copied)) = (telling(OK), telling(OK));
    let gateway = start(&Setting {
        up: &[&up],
        shadow: &shadow,
        of_shadow: "auth = { bearer = \"shade\" }",
        of_route: "filters = [\"edit\"]\nrewrite = { strip = \"/v1\", add = \"/v2\" }\nmatch = { path = \"/v1/*\" }\n\
                   set = { header = { x-from = \"corelane\" } }\n\
                   [[route]]\nfilters = [\"guard\"]\nset = { body = { model = \"m\" } }\nto = \"up\"\nmirror = { cluster = \"shadow\", share = \"100%\" }",
        beside: EDIT,
        ..PLAIN
    });
    let long = "x".repeat(200_000);
    let fields = "cookie: a\r\nX-Old:  b \r\nx_mirror: 0\r\nx-mirror: 0\r\nauthorization: Bearer mine\r\n\
                  traceparent: 00-1\r\naccept: */*\r\naccept: text/plain\r\n";
    let chunks = format!("3;a=b\r\none\r\n{:x}\r\n{long}\r\n0\r\nx: y\r\n\r\n", long.len());
    // Changed on its way.
    let redacted = post(fields, "{\"messages\":[{\"content\":\"write to me@example.com!\"}]}");
    for request in [
        format!("GET /v1/a HTTP/1.1\r\nhost: x\r\n{fields}\r\n"),
        post(fields, ""),
        post(fields, "plain"),
        post(fields, &long),
        redacted.replacen("/v1/", "/other/", 1),
        format!("POST /v1/a HTTP/1.1\r\nhost: x\r\n{fields}transfer-encoding: chunked\r\n\r\n{chunks}"),
        post(&format!("expect: 100-continue\r\n{fields}"), "body"),
    ] {
        let mut client = gateway.connect();
        client.send(request.as_bytes());
        let answer = client.read_message();
        let answer = if answer.starts_with("HTTP/1.1 100 ") { client.read_message() } else { answer };
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let (original, copy) = (next(&asked), next(&copied));
        assert_eq!(field(&copy, "host").unwrap(), shadow.trim_start_matches("http://"));
        assert_eq!(field(&copy, "authorization"), Some("Bearer shade"));
        assert_eq!(copy.matches("x-mirror: ").count(), 1, "{copy}");
        assert_eq!((field(&copy, "x-mirror"), field(&original, "x-mirror")), (Some("1"), Some("0")));
        assert_eq!(field(&original, "authorization"), Some("Bearer mine"));
        assert_eq!(field(&copy, "x-from").is_some(), copy.contains(" /v2/"), "{copy}");
        assert_eq!(copy.contains("\"model\":"), copy.contains("[EMAIL]"), "{copy}");
        assert!(!original.contains("me@example") && !original.contains("x_mirror"), "{original}");
        let but = &["host", "authorization", "x-mirror", "expect"];
        assert_eq!(without(&copy, but), without(&original, but));
    }
    ended(&gateway, 7, 0, 0);
}

#[test]
fn a_copy_shows_no_credential_that_did_not_go_upstream_but_its_own() {
    let file = KeysFile::new(&entry("known", ""));
    let keys = file.filter();
    let own = "auth = { bearer = \"own\" }";
    for (of_up, of_shadow, beside, of_route, wanted) in [
        // Meant for the endpoint, it goes to whoever gets what the endpoint gets.
        ("", "", "", "", [Some("Bearer sk-known"), Some("Bearer sk-known")]),
        ("", own, "", "", [Some("Bearer sk-known"), Some("Bearer own")]),
        // The cluster's own is its own, and the client's did not go there.
        (own, "", "", "", [Some("Bearer own"), None]),
        // It was meant for the gateway.
        ("", "", keys.as_str(), "filters = [\"keys\"]", [None, None]),
        ("", own, keys.as_str(), "filters = [\"keys\"]", [None, Some("Bearer own")]),
    ] {
        let ((up, asked), (shadow, copied)) = (telling(OK), telling(OK));
        let gateway =
            start(&Setting { up: &[&up], shadow: &shadow, of_up, of_shadow, of_route, beside, ..PLAIN });
        let answer = ask(&gateway, post("authorization: Bearer sk-known\r\nx-api-key: sk-known\r\n", "body"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let messages = [next(&asked), next(&copied)];
        let shown = [0, 1].map(|at| field(&messages[at], "authorization"));
        assert_eq!(shown, wanted, "{messages:?}");
        let has_other = messages.iter().any(|message| message.contains("x-api-key"));
        assert_eq!(has_other, wanted[0] == Some("Bearer sk-known"));
    }
}

#[test]
fn whatever_becomes_of_a_copy_the_answer_is_the_same() {
    let up = Upstream::start().serve(OK);
    // It accepts, and says nothing; while it does the client has its answer.
    let stalled = by_hand();
    let gateway = start(&Setting {
        up: &[&up],
        shadow: &stalled.url(),
        of_shadow: "timeout = { total = \"300ms\" }",
        ..PLAIN
    });
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(post("", "body"));
        assert!(client.read_message().ends_with("\r\n\r\nok"));
    }
    for _ in 0..3 {
        let mut peer = stalled.accept();
        assert!(peer.read_message().ends_with("\r\n\r\nbody"));
        peer.wait_for_end();
    }
    ended(&gateway, 0, 0, 3);
    // It refuses, dies in the head, in the body, or talks nonsense.
    let dying = Upstream::start().play(|peer, request| {
        peer.send(match &request {
            request if request.ends_with("head") => "HTTP/1.1 200 O",
            request if request.ends_with("part") => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
            _ => "nonsense\r\n\r\n",
        });
        After::Reset
    });
    for (shadow, bodies) in [(nobody(), &["any"][..]), (dying, &["head", "part", "else"])] {
        let gateway = start(&Setting { up: &[&up], shadow: &shadow, ..PLAIN });
        for (at, body) in bodies.iter().enumerate() {
            assert!(ask(&gateway, post("", body)).ends_with("\r\n\r\nok"));
            ended(&gateway, 0, 0, at as u64 + 1);
        }
    }
    // What it says is its own affair.
    let (angry, told) = telling("HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno");
    let gateway = start(&Setting { up: &[&up], shadow: &angry, ..PLAIN });
    assert!(ask(&gateway, post("", "body")).ends_with("\r\n\r\nok"));
    assert!(next(&told).ends_with("body"));
    ended(&gateway, 1, 0, 0);
}

#[test]
fn nothing_of_an_exchange_knows_of_its_copy() {
    let log = crate::support::fresh_path("mirror.log");
    let (up, shadow) = (Upstream::start().serve(OK), by_hand());
    let gateway = start(&Setting {
        up: &[&up],
        shadow: &shadow.url(),
        of_route: "filters = [\"limits\"]",
        beside: &format!(
            "[observe]\naccess_log = {{ to = {:?} }}\n[filter.limits]\nkind = \"rate-limit\"\nby = \"route\"\n\
             requests = \"4/hour\"",
            log.display()
        ),
        ..PLAIN
    });
    for left in (0..4).rev() {
        let answer = ask(&gateway, post("", "body"));
        assert_eq!(field(&answer, "ratelimit-remaining"), Some(left.to_string().as_str()), "{answer}");
        let mut peer = shadow.accept();
        peer.read_message();
        // The exchange is over for everybody but the copy.
        gateway.until("nothing is in flight on the route", |stats| stats["routes"]["all"]["in_flight"] == 0);
        assert_eq!(gateway.stats()["endpoints"]["shadow"][&shadow.url()]["in_flight"], 1);
        peer.send("HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        peer.wait_for_end();
    }
    ended(&gateway, 4, 0, 0);
    let stats = gateway.stats();
    let route = &stats["routes"]["all"];
    assert_eq!((&route["requests"], &route["S"]), (&json!(4), &json!(1.0)), "{stats}");
    assert_eq!(route["B"]["requests_per_s"].as_f64().map(|rate| rate <= 4.0), Some(true));
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    gateway.until("four lines", |_| lines().lines().count() >= 4);
    assert_eq!(lines().lines().filter(|line| line.contains("\"shadow\"")).count(), 0, "{}", lines());
    let metrics = gateway.admin("GET", "/metrics").1;
    for (result, count) in [("sent", 4), ("skipped", 0), ("failed", 0)] {
        let line = format!("\ncorelane_mirror_total{{cluster=\"shadow\",result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&line), "{metrics}");
    }
    let _ = std::fs::remove_file(log);
}

#[test]
fn a_share_is_kept() {
    let (up, (shadow, copied)) = (Upstream::start().serve(OK), telling(OK));
    for (share, from, to) in [("0%", 0, 0), ("50%", 120, 280), ("100%", 400, 400)] {
        let gateway = start(&Setting { up: &[&up], shadow: &shadow, share, ..PLAIN });
        let mut client = gateway.connect();
        for _ in 0..400 {
            client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            assert!(client.read_message().ends_with("\r\n\r\nok"));
        }
        gateway.until(share, |stats| {
            let in_flight = &stats["endpoints"]["shadow"][&shadow]["in_flight"];
            let [sent, skipped, failed] =
                ["sent", "skipped", "failed"].map(|name| counts(stats)[name].as_u64().unwrap());
            // A client is faster than an endpoint at times.
            *in_flight == 0 && failed == 0 && (from..=to).contains(&(sent + skipped))
        });
        let sent = counts(&gateway.stats())["sent"].as_u64().unwrap();
        assert_eq!(copied.try_iter().count() as u64, sent);
    }
}

#[test]
fn a_request_that_is_sent_again_is_copied_once() {
    let busy = Arc::new(Mutex::new(0));
    let count = Arc::clone(&busy);
    let up = Upstream::start().play(move |peer, _| {
        *count.lock().unwrap() += 1;
        peer.send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
        After::GoOn
    });
    let other = up.replace("127.0.0.1", "localhost");
    let (shadow, copied) = telling(OK);
    let gateway = start(&Setting {
        up: &[&up, &other],
        shadow: &shadow,
        of_up: "retry = { attempts = 2, on = [\"connect\", \"503\"] }",
        ..PLAIN
    });
    for body in ["one", "two"] {
        assert!(ask(&gateway, post("", body)).starts_with("HTTP/1.1 503 "));
        assert!(next(&copied).ends_with(body));
    }
    assert_eq!(*busy.lock().unwrap(), 4);
    ended(&gateway, 2, 0, 0);
    // One that goes nowhere has no copy.
    let gateway = start(&Setting { up: &[&nobody()], shadow: &shadow, ..PLAIN });
    assert!(ask(&gateway, post("", "body")).starts_with("HTTP/1.1 502 "));
    ended(&gateway, 0, 1, 0);
    assert!(copied.try_recv().is_err());
}

#[test]
fn a_body_that_comes_in_pieces_is_copied_when_it_is_whole() {
    let (up, shadow) = (by_hand(), by_hand());
    let gateway = start(&Setting { up: &[&up.url()], shadow: &shadow.url(), ..PLAIN });
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
    let mut original = up.accept();
    original.read_until("one\r\n");
    // Its answer may have begun meanwhile.
    original.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n");
    client.read_until("ok\r\n");
    assert!(!shadow.has_waiting());
    client.send("3\r\ntwo\r\n");
    original.read_until("two\r\n");
    assert!(!shadow.has_waiting());
    client.send("0\r\n\r\n");
    original.read_until("0\r\n\r\n");
    let copy = shadow.accept().try_message().unwrap();
    assert!(
        copy.ends_with("\r\n\r\nonetwo") && copy.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{copy}"
    );
    original.send("0\r\n\r\n");
    client.read_until("0\r\n\r\n");
    // One that breaks off is none.
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf");
    let mut original = up.accept();
    original.read_until("half");
    drop(client);
    original.wait_for_end();
    gateway.until("it was skipped", |stats| counts(stats)["skipped"] == 1);
}

#[test]
fn calls_are_copied_where_requests_share_them() {
    let embed = |text: &str| {
        let body = format!("{{\"model\":\"m\",\"input\":\"{text}\"}}");
        format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let answer =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"data\":[1.0]}";
    let ((up, asked), (shadow, copied)) = (telling(answer), telling(OK));
    let gateway =
        start(&Setting { up: &[&up], shadow: &shadow, of_up: "cache = { shared = true }", ..PLAIN });
    for _ in 0..3 {
        assert!(ask(&gateway, embed("a")).ends_with("[1.0]}"));
    }
    // What was answered from what is kept went nowhere.
    ended(&gateway, 1, 0, 0);
    let but = &["host", "x-mirror"];
    assert_eq!(without(&next(&copied), but), without(&next(&asked), but));
    // What travels together is copied together.
    let up = by_hand();
    let gateway = start(&Setting {
        up: &[&up.url()],
        shadow: &shadow,
        of_up: "batch = { protocol = \"openai-embeddings\", max_wait = \"9s\", max_items = 2 }",
        ..PLAIN
    });
    let mut clients = Vec::new();
    for text in ["first", "second", "third"] {
        let mut client = gateway.connect();
        client.send(embed(text));
        clients.push(client);
        gateway.until("it came", |stats| stats["routes"]["all"]["in_flight"] == clients.len());
    }
    let mut calls = [up.accept(), up.accept()].map(|mut peer| (peer.read_message(), peer));
    calls.sort_by_key(|(message, _)| message.len());
    let mut copies = [next(&copied), next(&copied)];
    copies.sort_by_key(String::len);
    assert!(copies[1].ends_with("[\"second\",\"third\"]}"), "{copies:?}");
    for ((call, _), copy) in calls.iter().zip(&copies) {
        assert_eq!(without(copy, but), without(call, but));
    }
    ended(&gateway, 2, 0, 0);
}

#[test]
fn an_element_of_several_in_one_is_copied_as_any_request() {
    let (up, (shadow, copied)) = (Upstream::start().serve(OK), telling(OK));
    let gateway = start(&Setting {
        up: &[&up],
        shadow: &shadow,
        of_route: "[[route]]\nmatch = { path = \"/multi\" }\nmulti = {}",
        ..PLAIN
    });
    let body = "[{\"id\":\"a\",\"path\":\"/a\",\"body\":{\"n\":1}},{\"id\":\"b\",\"method\":\"GET\",\"path\":\"/b\"}]";
    let length = body.len();
    let head =
        format!("POST /multi HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    let answer = gateway.exchange(&(head + body));
    assert!(answer.contains("\"body\":\"ok\""), "{answer}");
    let mut copies = [next(&copied), next(&copied)];
    copies.sort();
    assert!(copies[0].starts_with("GET /b ") && copies[1].starts_with("POST /a "), "{copies:?}");
    assert!(copies[1].ends_with("\r\n\r\n{\"n\":1}"), "{copies:?}");
    ended(&gateway, 2, 0, 0);
}

#[test]
fn a_change_of_protocol_is_not_copied() {
    let up = Upstream::start().serve("HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n");
    let (shadow, copied) = telling(OK);
    let gateway = start(&Setting { up: &[&up], shadow: &shadow, of_route: "upgrade = true", ..PLAIN });
    let answer = ask(
        &gateway,
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    ended(&gateway, 0, 1, 0);
    assert!(copied.try_recv().is_err());
}

#[test]
fn a_drain_waits_for_no_copy() {
    let up = Upstream::start().serve(OK);
    let shadow = by_hand();
    let mut gateway = start(&Setting { up: &[&up], shadow: &shadow.url(), ..PLAIN });
    assert!(gateway.exchange(&post("connection: close\r\n", "body")).ends_with("\r\n\r\nok"));
    let mut copy = shadow.accept();
    copy.read_message();
    gateway.signal("TERM");
    copy.wait_for_end();
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn a_copy_waits_in_no_queue() {
    let up = Upstream::start().serve(OK);
    for queue in ["", "queue = { max_wait = \"9s\" }"] {
        let shadow = by_hand();
        let gateway = Gateway::start(&format!(
            "[cluster.up]\nendpoints = [{up:?}]\n[cluster.shadow]\nendpoints = [{{ url = {:?}, max_in_flight = 1 }}]\n\
             {queue}\n[[route]]\nname = \"all\"\nto = \"up\"\nmirror = {{ cluster = \"shadow\", share = \"100%\" }}\n",
            shadow.url()
        ));
        assert!(ask(&gateway, post("", "one")).ends_with("\r\n\r\nok"));
        let mut copy = shadow.accept();
        copy.read_message();
        assert!(ask(&gateway, post("", "two")).ends_with("\r\n\r\nok"));
        ended(&gateway, 0, 0, 1);
        copy.send(OK);
        ended(&gateway, 1, 0, 1);
    }
}

#[test]
fn explain_tells_of_the_mirror() {
    let file = crate::support::fresh_path("explained.toml");
    let config = "[cluster.a]\nendpoints = [\"http://127.0.0.1:1\"]\n[cluster.b]\nendpoints = [\"http://127.0.0.1:2\"]\n\
                  [[route]]\nto = \"a\"\nmirror = { cluster = \"b\", share = \"0.5%\" }\n";
    std::fs::write(&file, config).unwrap();
    let explained = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_corelane"));
        let output = command.args(["explain", "--config"]).arg(&file).args(more).arg("/").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(explained(&[]).contains("\nmirror    b (0.5% of the route's requests are copied)\n"));
    let document: Value = serde_json::from_str(&explained(&["--json"])).unwrap();
    assert_eq!(document["mirror"], json!({ "cluster": "b", "share": 0.005 }));
    let _ = std::fs::remove_file(file);
}
