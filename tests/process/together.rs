//! What several share must not cost any of them: their own path, plan, cluster, deadline, class and place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::batching::{answer, body, embed, gather, text, vectors};
use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, Peer, Upstream};

const BATCH: &str = "batch = { protocol = \"openai-embeddings\", max_wait = \"30s\"";

/// A cluster with these keys behind a route of this name and these keys.
fn config(url: &str, cluster: &str, route: &str) -> String {
    format!(
        "[server]\nlanes = 1\n[cluster.up]\nendpoints = [{url:?}]\nretry = {{ attempts = 1 }}\n{cluster}\n[[route]]\nname = \"all\"\nto = \"up\"\n{route}\n"
    )
}

/// The vectors for what is asked, and who gave them.
fn by(who: &str, request: &str) -> String {
    let told = vectors(request);
    let (_, document) = told.split_once("\r\n\r\n").unwrap();
    let mut document: Value = serde_json::from_str(document).unwrap();
    document["model"] = who.into();
    answer("200 OK", &document)
}

/// An endpoint that answers as the other one, or refuses with 503 while it is out: what has `bad` in it always.
fn engine(who: &'static str) -> (String, Arc<AtomicBool>, Arc<Mutex<Vec<usize>>>) {
    let (is_out, sizes) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (out, log) = (Arc::clone(&is_out), Arc::clone(&sizes));
    let url = Upstream::start().play(move |peer, request| {
        let asked = body(&request);
        log.lock().unwrap().push(asked["input"].as_array().map_or(1, Vec::len));
        let is_bad = asked["input"].to_string().contains("bad") && who == "up";
        match out.load(Ordering::SeqCst) || is_bad {
            true => peer.send(answer("503 X", &json!({ "error": "out" }))),
            false => peer.send(by(who, &request)),
        }
        After::GoOn
    });
    (url, is_out, sizes)
}

fn two(first: &str, second: &str, keys: &str) -> Gateway {
    let other = format!("fallback = [\"other\"]\n[cluster.other]\nendpoints = [{second:?}]");
    Gateway::start(&config(first, keys, &other))
}

fn ask(gateway: &Gateway, request: &str) -> String {
    let mut client = gateway.connect();
    client.send(request);
    client.read_message()
}

fn many(texts: &[&str]) -> String {
    embed("", &json!({ "model": "m", "input": texts }))
}

#[test]
fn only_the_path_of_its_protocol_is_batched() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream.url(), &format!("{BATCH}, max_items = 2 }}"), ""));
    let elsewhere = |body: &Value| embed("", body).replace("/v1/embeddings", "/v1/moderations");
    let (_first, mut call, _) = gather(&gateway, &upstream, &[]);
    // The place is taken: what speaks another protocol does not wait for it, and is not cut.
    let mut clients: Vec<Peer> = Vec::new();
    for asked in [text(2), text(3), json!({ "model": "m", "input": ["a", "b", "c"] })] {
        let mut client = gateway.connect();
        client.send(elsewhere(&asked));
        let mut peer = upstream.accept();
        let request = peer.read_message();
        assert!(request.starts_with("POST /v1/moderations ") && body(&request) == asked, "{request}");
        peer.send(answer("200 OK", &json!({ "results": [] })));
        assert_eq!(body(&client.read_message()), json!({ "results": [] }));
        clients.push(client);
    }
    call.send(vectors(&embed("", &text(1))));
}

#[test]
fn who_gathers_while_a_reload_comes_goes_where_it_was_going() {
    let upstream = Upstream::start();
    let keys = format!("{BATCH} }}");
    let gateway = Gateway::start(&config(&upstream.url(), &keys, "rewrite = { add = \"/a\" }"));
    let (mut first, mut call, mut clients) =
        gather(&gateway, &upstream, &[embed("", &text(2)), embed("", &text(3))]);
    // The route leads elsewhere now, under the same name.
    std::fs::write(&gateway.config, config(&upstream.url(), &keys, "rewrite = { add = \"/b\" }")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    let mut newcomer = gateway.connect();
    newcomer.send(embed("", &text(4)));
    gateway.until("it came", |stats| stats["routes"]["all"]["in_flight"] == 4);
    call.send(vectors(&embed("", &text(1))));
    first.read_message();
    for (path, inputs) in [("/a", json!(["aa", "aaa"])), ("/b", json!("aaaa"))] {
        let request = call.read_message();
        assert!(request.starts_with(&format!("POST {path}/v1/embeddings ")), "{request}");
        assert_eq!(body(&request)["input"], inputs);
        call.send(vectors(&request));
    }
    clients.push(newcomer);
    for (client, length) in clients.iter_mut().zip(2..) {
        assert_eq!(body(&client.read_message())["data"][0]["embedding"], json!([length]));
    }
}

#[test]
fn the_pieces_of_one_request_are_of_one_cluster_and_a_substitute_is_not_kept() {
    let ((up, is_out, _), (other, ..)) = (engine("up"), engine("other"));
    let gateway = two(&up, &other, &format!("cache = {{ max = \"1MiB\" }}\n{BATCH}, max_items = 2 }}"));
    let lengths = |told: &Value| {
        let data = told["data"].as_array().unwrap();
        data.iter().map(|one| one["embedding"][0].as_u64().unwrap()).collect::<Vec<_>>()
    };
    // One piece is refused: all of them are asked of the other cluster, and that is nobody's answer the next time.
    for _ in 0..2 {
        let told = ask(&gateway, &many(&["a", "aa", "bad", "aaaa", "aaaaa"]));
        assert!(told.contains("\r\nx-cache: miss\r\n"), "{told}");
        assert_eq!((&body(&told)["model"], lengths(&body(&told))), (&"other".into(), vec![1, 2, 3, 4, 5]));
    }
    let whole = many(&["a", "aa", "aaa"]);
    for expected in ["miss", "hit"] {
        let told = ask(&gateway, &whole);
        assert!(told.contains(&format!("\r\nx-cache: {expected}\r\n")), "{told}");
        assert_eq!(body(&told)["model"], "up");
    }
    is_out.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let told = ask(&gateway, &many(&["a", "b", "c", "d"]));
        assert!(told.contains("\r\nx-cache: miss\r\n"), "{told}");
        assert_eq!(body(&told)["model"], "other");
    }
}

#[test]
fn what_a_batch_is_told_by_another_cluster_is_not_kept() {
    let upstream = Upstream::start();
    let (other, ..) = engine("other");
    let gateway = two(&upstream.url(), &other, &format!("cache = {{ max = \"1MiB\" }}\n{BATCH} }}"));
    let requests = [embed("", &text(2)), embed("", &text(3))];
    let (mut first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
    call.send(vectors(&embed("", &text(1))));
    first.read_message();
    call.read_message();
    // Nobody answered, so that somebody else is asked.
    call.send(answer("503 X", &json!({ "error": "out" })));
    for client in &mut clients {
        assert!(client.read_message().starts_with("HTTP/1.1 503 "), "a failure of several is not multiplied");
    }
    drop(upstream);
    drop(call);
    for _ in 0..2 {
        let told = ask(&gateway, &embed("", &text(2)));
        assert!(told.contains("\r\nx-cache: miss\r\n"), "{told}");
        assert_eq!(body(&told)["model"], "other");
    }
}

#[test]
fn pieces_and_members_that_are_asked_alone_do_not_stand_in_their_own_way() {
    let (up, _, sizes) = engine("up");
    let endpoint = format!("{{ url = {up:?}, max_in_flight = 1 }}");
    let gateway = Gateway::start(
        &config("x", &format!("{BATCH}, max_items = 2, pieces = 4 }}"), "").replace("\"x\"", &endpoint),
    );
    let told = ask(&gateway, &many(&["a", "aa", "aaa", "aaaa", "aaaaa"]));
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
    assert_eq!(body(&told)["data"][4]["embedding"], json!([5]));
    assert_eq!(*sizes.lock().unwrap(), [2, 2, 1]);

    let upstream = Upstream::start();
    let endpoint = format!("{{ url = {:?}, max_in_flight = 1 }}", upstream.url());
    let gateway = Gateway::start(&config("x", &format!("{BATCH} }}"), "").replace("\"x\"", &endpoint));
    let requests = [2, 3, 4, 5].map(|length| embed("", &text(length)));
    let (mut first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
    call.send(vectors(&embed("", &text(1))));
    first.read_message();
    call.read_message();
    call.send(answer("400 Bad", &json!({ "error": "one is bad" })));
    for _ in 0..4 {
        let request = call.read_message();
        match body(&request)["input"] == "aaa" {
            true => call.send(answer("400 Bad", &json!({ "error": "this one" }))),
            false => call.send(vectors(&request)),
        }
    }
    let statuses: Vec<_> = clients.iter_mut().map(|client| client.read_message()[9..12].to_owned()).collect();
    assert_eq!(statuses, ["200", "400", "200", "200"]);
}

#[test]
fn members_who_left_are_not_asked_for_alone() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&config(&upstream.url(), &format!("{BATCH}, pieces = 1 }}"), ""));
    let requests = [2, 3, 4].map(|length| embed("", &text(length)));
    let (mut first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
    call.send(vectors(&embed("", &text(1))));
    first.read_message();
    call.read_message();
    drop(clients.remove(1));
    gateway.until("it left", |stats| stats["routes"]["all"]["client_closed"] == 1);
    call.send(answer("400 Bad", &json!({ "error": "one is bad" })));
    let request = call.read_message();
    assert_eq!(body(&request)["input"], "aa");
    // Whoever leaves while it is asked for alone cancels that.
    drop(clients.remove(0));
    call.wait_for_end();
    let mut call = upstream.accept();
    let request = call.read_message();
    assert_eq!(body(&request)["input"], "aaaa");
    call.send(vectors(&request));
    assert_eq!(body(&clients[0].read_message())["data"][0]["embedding"], json!([4]));
}

#[test]
fn a_deadline_holds_in_every_line() {
    for sharing in [
        format!("{BATCH} }}"),
        "single_flight = true".to_owned(),
        format!("single_flight = true\n{BATCH} }}"),
    ] {
        let upstream = Upstream::start();
        let endpoint = format!("{{ url = {:?}, max_in_flight = 1 }}", upstream.url());
        let keys = format!("{sharing}\nqueue = {{ max = 100, max_wait = \"20s\" }}");
        let gateway = Gateway::start(&config("x", &keys, "").replace("\"x\"", &endpoint));
        let mut first = gateway.connect();
        first.send(embed("", &text(1)));
        let mut call = upstream.accept();
        call.read_message();
        let told = ask(&gateway, &embed("x-deadline-ms: 300\r\n", &text(2)));
        assert!(told.starts_with("HTTP/1.1 503 ") && told.contains("\"queue_timeout\""), "{sharing}: {told}");
        // Whoever carried it is told that nobody waits any more: a place that came free before that would be used once.
        std::thread::sleep(std::time::Duration::from_millis(100));
        call.send(vectors(&embed("", &text(1))));
        first.read_message();
        gateway.until("its connection rests", |stats| stats["endpoints"]["up"][upstream.url()]["idle"] == 1);
        // Once somebody is asked it is not for the wait any more.
        let mut client = gateway.connect();
        client.send(embed("x-deadline-ms: 300\r\n", &text(3)));
        let request = call.read_message();
        std::thread::sleep(std::time::Duration::from_millis(500));
        call.send(vectors(&request));
        assert!(client.read_message().starts_with("HTTP/1.1 200 "), "{sharing}");
    }
}

#[test]
fn a_class_counts_for_calls_that_are_shared() {
    let keys = KeysFile::new(&(entry("one", "class = \"interactive\"") + &entry("two", "class = \"bulk\"")));
    for sharing in [format!("{BATCH}, in_flight = 9 }}"), "single_flight = true".to_owned()] {
        let upstream = Upstream::start();
        let endpoint = format!("{{ url = {:?}, max_in_flight = 1 }}", upstream.url());
        let cluster = format!(
            "{sharing}\nqueue = {{ max = 100, max_wait = \"20s\", classes = [\"interactive\", \"default\", \"bulk\"] }}"
        );
        let route = format!("filters = [\"keys\"]\n{}", keys.filter());
        let gateway = Gateway::start(&config("x", &cluster, &route).replace("\"x\"", &endpoint));
        let mut clients: Vec<Peer> = Vec::new();
        let mut send = |name: &str, length: usize| {
            let mut client = gateway.connect();
            client.send(embed(&format!("x-api-key: sk-{name}\r\n"), &text(length)));
            clients.push(client);
            let count = clients.len();
            gateway.until("it came", |stats| stats["routes"]["all"]["in_flight"] == count);
        };
        send("one", 1);
        let mut call = upstream.accept();
        let mut request = call.read_message();
        [("two", 2), ("two", 3), ("one", 4), ("one", 5)]
            .into_iter()
            .for_each(|(name, length)| send(name, length));
        gateway.until("they wait", |stats| stats["endpoints"]["up"][upstream.url()]["queued"] == 4);
        let mut order = Vec::new();
        for _ in 0..4 {
            call.send(vectors(&request));
            request = call.read_message();
            order.push(body(&request)["input"].as_str().unwrap().len());
        }
        assert_eq!(order, [4, 5, 2, 3], "{sharing}");
    }
}

#[test]
fn the_header_that_places_a_request_places_its_shared_call() {
    let (urls, sizes): (Vec<_>, Vec<_>) =
        (0..3).map(|_| engine("up")).map(|(url, _, sizes)| (url, sizes)).unzip();
    for sharing in ["single_flight = true".to_owned(), format!("{BATCH} }}")] {
        let cluster = format!("balance = \"hash:header:x-session\"\n{sharing}");
        let gateway = Gateway::start(&config("x", &cluster, "").replace("[\"x\"]", &format!("{urls:?}")));
        sizes.iter().for_each(|sizes| sizes.lock().unwrap().clear());
        for length in 1..=12 {
            let told = ask(&gateway, &embed("x-session: one\r\n", &text(length)));
            assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        }
        let mut counts: Vec<_> = sizes.iter().map(|sizes| sizes.lock().unwrap().len()).collect();
        counts.sort_unstable();
        assert_eq!(counts, [0, 0, 12], "{sharing}");
    }
}

#[test]
fn what_is_not_everybodys_or_not_surely_whole_is_not_kept() {
    for (cache, fields, expected) in [
        (", shared = true", "vary: authorization\r\ncontent-length: 2\r\n", "miss"),
        (", shared = true", "vary: accept, Cookie\r\ncontent-length: 2\r\n", "miss"),
        (", shared = true", "vary: accept\r\ncontent-length: 2\r\n", "hit"),
        ("", "vary: authorization\r\ncontent-length: 2\r\n", "hit"),
        // It may have broken off.
        ("", "connection: close\r\n", "miss"),
        ("", "age: 18446744073709551615\r\ncontent-length: 2\r\n", "hit"),
        ("", "age: 99999999999999999999999999\r\ncontent-length: 2\r\n", "hit"),
        ("", "age: -1\r\ncontent-length: 2\r\n", "hit"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{fields}\r\n");
        let url = Upstream::start().play(move |peer, _| {
            peer.send(format!("{head}{{}}"));
            if head.contains("close") { After::Close } else { After::GoOn }
        });
        let gateway = Gateway::start(&config(&url, &format!("cache = {{ max = \"1MiB\"{cache} }}"), ""));
        let request = embed("authorization: Bearer a\r\n", &text(1));
        ask(&gateway, &request);
        // A second later an age is no longer what it was.
        std::thread::sleep(std::time::Duration::from_millis(if fields.contains("age: 1") {
            1100
        } else {
            0
        }));
        let told = ask(&gateway, &request);
        assert!(told.contains(&format!("\r\nx-cache: {expected}\r\n")), "{fields}: {told}");
    }
}

#[test]
fn check_warns_of_fields_that_no_shared_call_carries() {
    let path = crate::support::fresh_path("shared.toml");
    let text = "[filter.team]\nkind = \"headers\"\nrequest = { set = { X-Team = \"{key}\" }, add = { accept = \"a/b\" } }\n\
                [cluster.one]\nendpoints = [\"http://127.0.0.1:1\"]\nsingle_flight = true\n\
                [cluster.two]\nendpoints = [\"http://127.0.0.1:1\"]\n\
                batch = { protocol = \"openai-embeddings\", key_headers = [\"x-team\"] }\n\
                [[route]]\nname = \"a\"\nmatch = { path = \"/a\" }\nto = \"one\"\nfilters = [\"team\"]\n\
                [[route]]\nname = \"b\"\nto = \"two\"\nfilters = [\"team\"]\nset = { header = { x-from = \"b\" } }\n";
    std::fs::write(&path, text).unwrap();
    let checked =
        std::process::Command::new(env!("CARGO_BIN_EXE_corelane")).arg("check").arg(&path).output().unwrap();
    let told = String::from_utf8(checked.stderr).unwrap();
    let of: Vec<_> = told.lines().filter(|line| line.contains("where several share a call")).collect();
    assert_eq!(of.len(), 2, "{told}");
    assert!(
        of[0].contains("the field x-team") && of[0].contains("route \"a\" does not reach cluster \"one\""),
        "{told}"
    );
    assert!(
        of[1].contains("the field x-from") && of[1].contains("route \"b\" does not reach cluster \"two\""),
        "{told}"
    );
    std::fs::remove_file(&path).unwrap();
}
