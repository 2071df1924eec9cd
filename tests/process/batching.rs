//! Requests of several clients that travel as one call, and requests that travel as several.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::keys::{KeysFile, entry};
use crate::support::{After, Gateway, Peer, Upstream};

/// A cluster that batches embeddings, as long as a place is taken.
fn config(url: &str, keys: &str) -> String {
    format!(
        "[cluster.up]\nendpoints = [{url:?}]\nretry = {{ attempts = 1 }}\n\
         batch = {{ protocol = \"openai-embeddings\", max_wait = \"30s\"{keys} }}\n[[route]]\nname = \"all\"\nto = \"up\"\n"
    )
}

fn batching(url: &str, keys: &str) -> Gateway {
    Gateway::start(&config(url, keys))
}

pub fn embed(fields: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

pub fn body(message: &str) -> Value {
    serde_json::from_str(message.split_once("\r\n\r\n").unwrap().1).unwrap()
}

/// An answer to all that `request` asks for: each vector is how long its text is.
pub fn vectors(request: &str) -> String {
    let asked = body(request);
    let inputs = match &asked["input"] {
        Value::Array(inputs) => inputs.clone(),
        one => vec![one.clone()],
    };
    let data: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": [text.as_str().unwrap().len()] }))
        .collect();
    let tokens: usize = inputs.iter().map(|text| text.as_str().unwrap().len()).sum();
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    answer("200 OK", &json!({ "object": "list", "model": asked["model"], "data": data, "usage": usage }))
}

pub fn answer(status: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nset-cookie: a\r\nx-request-id: theirs\r\ncontent-digest: x\r\n\
         x-model: m\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn text(letters: usize) -> Value {
    json!({ "model": "m", "input": "a".repeat(letters) })
}

/// One that is under way, and so many that gather meanwhile, in this order.
pub fn gather(gateway: &Gateway, upstream: &Upstream, requests: &[String]) -> (Peer, Peer, Vec<Peer>) {
    let mut first = gateway.connect();
    first.send(embed("", &text(1)));
    let mut call = upstream.accept();
    call.read_message();
    let clients = requests
        .iter()
        .enumerate()
        .map(|(position, request)| {
            let mut client = gateway.connect();
            client.send(request);
            gateway.until("it came", |stats| stats["routes"]["all"]["in_flight"] == position + 2);
            client
        })
        .collect();
    assert!(!upstream.has_waiting(), "they wait for the place");
    (first, call, clients)
}

#[test]
fn those_who_come_while_all_are_busy_travel_as_one_and_each_gets_its_own_part() {
    let upstream = Upstream::start();
    let gateway = batching(&upstream.url(), "");
    let requests = [
        embed("user-agent: one\r\n", &text(2)),
        embed("x-team: two\r\n", &json!({ "input": ["aaa", "aaaa"], "model": "m" })),
        embed("", &text(5)),
    ];
    let (mut first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
    call.send(vectors(&embed("", &text(1))));
    assert_eq!(body(&first.read_message())["data"][0]["embedding"], json!([1]));
    let request = call.read_message();
    assert_eq!(body(&request)["input"], json!(["aa", "aaa", "aaaa", "aaaaa"]));
    for own in ["user-agent", "x-team", "x-forwarded-for"] {
        assert!(!request.contains(own), "{request}");
    }
    call.send(vectors(&request));
    let mut used = 0;
    for (client, lengths) in clients.iter_mut().zip([&[2][..], &[3, 4], &[5]]) {
        let got = client.read_message();
        for own in ["set-cookie", "theirs", "content-digest"] {
            assert!(!got.contains(own), "{got}");
        }
        assert!(got.contains("\r\nx-model: m\r\n") && got.contains("\r\nx-request-id: "), "{got}");
        let told = body(&got);
        let data: Vec<_> =
            told["data"].as_array().unwrap().iter().map(|one| one["embedding"][0].clone()).collect();
        assert_eq!(json!(data), json!(lengths));
        let indexes: Vec<_> =
            told["data"].as_array().unwrap().iter().map(|one| one["index"].clone()).collect();
        assert_eq!(json!(indexes), json!((0..lengths.len()).collect::<Vec<_>>()));
        used += told["usage"]["total_tokens"].as_u64().unwrap();
    }
    assert_eq!(used, 14, "the shares sum to the whole");
    let stats = gateway.stats();
    assert_eq!(stats["endpoints"]["up"][upstream.url()]["requests"], 2);
    assert_eq!(stats["clusters"]["up"]["batch"]["calls"], 2);
    assert_eq!(stats["clusters"]["up"]["batch"]["members"]["max"], 3);
    let metrics = gateway.admin("GET", "/metrics").1;
    assert!(metrics.contains("\ncorelane_batch_members_sum{cluster=\"up\"} 4\n"), "{metrics}");
    assert!(metrics.contains("\ncorelane_batch_wait_seconds_count{cluster=\"up\"} 4\n"), "{metrics}");
}

#[test]
fn nobody_waits_while_a_place_is_free_and_no_longer_than_said() {
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    let url = Upstream::start().play(move |peer, request| {
        *count.lock().unwrap() += 1;
        peer.send(vectors(&request));
        After::GoOn
    });
    let gateway = batching(&url, "");
    let mut client = gateway.connect();
    for _ in 0..5 {
        // Thirty seconds are the most that anybody waits here: a test that passes did not.
        client.send(embed("", &text(3)));
        assert_eq!(body(&client.read_message())["data"][0]["embedding"], json!([3]));
    }
    assert_eq!(*seen.lock().unwrap(), 5);

    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{:?}]\nbatch = {{ protocol = \"openai-embeddings\", max_wait = \"20ms\" }}\n\
         [[route]]\nname = \"all\"\nto = \"up\"\n",
        upstream.url()
    ));
    let (mut busy, mut waits) = (gateway.connect(), gateway.connect());
    busy.send(embed("", &text(1)));
    let mut call = upstream.accept();
    call.read_message();
    waits.send(embed("", &text(2)));
    let mut other = upstream.accept();
    let request = other.read_message();
    assert_eq!(body(&request)["input"], "aa", "one that is alone goes as it came");
    other.send(vectors(&request));
    assert_eq!(body(&waits.read_message())["data"][0]["embedding"], json!([2]));
}

#[test]
fn what_differs_travels_apart_and_what_cannot_be_batched_alone() {
    let upstream = Upstream::start();
    let gateway = batching(&upstream.url(), ", key_headers = [\"X-Team\"]");
    let requests = [
        embed("", &text(2)),
        embed("", &json!({ "model": "other", "input": "aa" })),
        embed("authorization: Bearer one\r\n", &text(2)),
        embed("x-team: one\r\n", &text(2)),
        embed("x-team: two\r\n", &text(2)),
        embed("accept: text/plain\r\n", &text(2)),
    ];
    let (_first, mut call, _clients) = gather(&gateway, &upstream, &requests);
    // One that cannot be taken apart waits for nobody.
    let mut alone = gateway.connect();
    alone.send(embed("", &json!({ "model": "m", "input": { "no": "list" } })));
    let mut other = upstream.accept();
    assert!(other.read_message().contains("\"no\""));
    let mut calls = Vec::new();
    for _ in 0..requests.len() {
        call.send(vectors(&embed("", &text(1))));
        calls.push(call.read_message());
    }
    assert!(calls.iter().all(|request| body(request)["input"] == "aa"), "{calls:?}");
    assert!(
        calls[2].contains("\r\nauthorization: Bearer one\r\n") && calls[3].contains("\r\nx-team: one\r\n")
    );
}

#[test]
fn after_a_refusal_of_all_each_is_asked_alone_once_and_no_other_failure_is_repeated() {
    for (status, alone) in [("400 Bad Request", true), ("422 X", true), ("500 X", false), ("429 X", false)] {
        let upstream = Upstream::start();
        let gateway = batching(&upstream.url(), ", pieces = 1");
        let requests = [embed("", &text(2)), embed("", &text(3))];
        let (_first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
        call.send(vectors(&embed("", &text(1))));
        call.read_message();
        call.send(answer(status, &json!({ "error": "all" })));
        if alone {
            for length in [2, 3] {
                let request = call.read_message();
                assert_eq!(body(&request)["input"], "a".repeat(length), "{status}");
                match length {
                    2 => call.send(answer(status, &json!({ "error": "one" }))),
                    _ => call.send(vectors(&request)),
                }
            }
        }
        let (one, two) = (clients[0].read_message(), clients[1].read_message());
        assert!(one.starts_with(&format!("HTTP/1.1 {status}")), "{one}");
        match alone {
            true => {
                assert!(one.contains("\"one\""), "{one}");
                assert_eq!(body(&two)["data"][0]["embedding"], json!([3]));
            }
            false => {
                assert!(two.starts_with(&format!("HTTP/1.1 {status}")) && two.contains("\"all\""), "{two}")
            }
        }
        assert!(call.is_silent(), "{status}: nothing is sent again");
    }
}

#[test]
fn an_answer_that_cannot_be_taken_apart_or_breaks_off_is_an_error_for_each() {
    for broken in [
        answer("200 OK", &json!({ "data": [{ "index": 0, "embedding": [1] }] })),
        answer("200 OK", &json!({ "data": [{ "index": 0 }, { "index": 0 }] })),
        answer("200 OK", &json!({ "data": 3 })),
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_owned(),
        String::new(),
    ] {
        let upstream = Upstream::start();
        let gateway = batching(&upstream.url(), "");
        let requests = [embed("", &text(2)), embed("", &text(3))];
        let (_first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
        call.send(vectors(&embed("", &text(1))));
        call.read_message();
        call.send(&broken);
        if !broken.contains("data") {
            drop(call);
        }
        for client in &mut clients {
            let got = client.read_message();
            assert!(got.starts_with("HTTP/1.1 502 ") && got.contains("upstream_"), "{broken}: {got}");
        }
        assert!(!upstream.has_waiting(), "nothing is sent again");
    }
}

#[test]
fn who_leaves_is_taken_out_and_the_last_one_cancels() {
    let upstream = Upstream::start();
    let gateway = batching(&upstream.url(), "");
    let requests = [embed("", &text(2)), embed("", &text(3)), embed("", &text(4))];
    let (_first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
    drop(clients.remove(0));
    gateway.until("it left", |stats| stats["routes"]["all"]["client_closed"] == 1);
    call.send(vectors(&embed("", &text(1))));
    let request = call.read_message();
    assert_eq!(body(&request)["input"], json!(["aaa", "aaaa"]));
    drop(clients.remove(0));
    gateway.until("another one left", |stats| stats["routes"]["all"]["client_closed"] == 2);
    call.send(vectors(&request));
    assert_eq!(body(&clients[0].read_message())["data"][0]["embedding"], json!([4]));

    let upstream = Upstream::start();
    let gateway = batching(&upstream.url(), "");
    let (_first, mut call, _) = gather(&gateway, &upstream, &[]);
    let mut last = gateway.connect();
    last.send(embed("", &text(6)));
    gateway.until("it came", |stats| stats["routes"]["all"]["in_flight"] == 2);
    call.send(vectors(&embed("", &text(1))));
    call.read_message();
    drop(last);
    call.wait_for_end();
    gateway
        .until("nothing is in flight", |stats| stats["endpoints"]["up"][&upstream.url()]["in_flight"] == 0);
}

#[test]
fn a_request_with_too_many_items_travels_in_pieces_and_is_told_as_one() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let url = Upstream::start().play(move |peer, request| {
        let many = body(&request)["input"].as_array().unwrap().len();
        log.lock().unwrap().push(many);
        match body(&request)["input"][0] == "bad" {
            true => peer.send(answer("400 Bad Request", &json!({ "error": { "message": "too long" } }))),
            false => peer.send(vectors(&request)),
        }
        After::GoOn
    });
    let gateway = batching(&url, ", max_items = 4");
    let inputs: Vec<String> = (0..10).map(|length| "a".repeat(length)).collect();
    let mut client = gateway.connect();
    client.send(embed("", &json!({ "model": "m", "input": inputs })));
    let told = body(&client.read_message());
    let data: Vec<_> = told["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["index"].clone(), one["embedding"][0].clone()))
        .collect();
    assert_eq!(json!(data), json!((0..10).map(|length| [length, length]).collect::<Vec<_>>()));
    assert_eq!(told["usage"], json!({ "prompt_tokens": 45, "total_tokens": 45 }));
    let counted = "corelane_usage_tokens_total{route=\"all\",kind=\"input\"} 45\n";
    let metrics = gateway.admin("GET", "/metrics").1;
    assert!(metrics.contains(counted), "{metrics}");
    let mut sizes = std::mem::take(&mut *seen.lock().unwrap());
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 4, 4]);
    assert_eq!(gateway.stats()["clusters"]["up"]["batch"]["pieces"], 3);
    let mut inputs = inputs;
    inputs[4] = "bad".to_owned();
    client.send(embed("", &json!({ "model": "m", "input": inputs })));
    let got = client.read_message();
    assert!(got.starts_with("HTTP/1.1 400 "), "{got}");
    let error = &body(&got)["error"];
    assert_eq!((&error["param"], &error["code"]), (&"input[4..8]".into(), &"invalid_body".into()));
    assert!(error["message"].as_str().unwrap().ends_with("too long"), "{error}");
}

#[test]
fn a_request_is_not_cut_into_any_number_of_pieces() {
    let upstream = Upstream::start();
    let gateway = batching(&upstream.url(), ", max_items = 1");
    let mut client = gateway.connect();
    client.send(embed("", &json!({ "model": "m", "input": vec!["a"; 4097] })));
    let told = client.read_message();
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    assert_eq!(
        (&body(&told)["error"]["code"], &body(&told)["error"]["param"]),
        (&json!("body_too_large"), &json!("input"))
    );
    assert!(!upstream.has_waiting(), "nobody is asked");
}

#[test]
fn what_cannot_be_batched_makes_nobody_wait() {
    let upstream = Upstream::start();
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{:?}]\nbatch = {{ protocol = \"openai-completions\", max_wait = \"30s\" }}\n\
         [[route]]\nname = \"all\"\nto = \"up\"\n",
        upstream.url()
    ));
    let ask = |body: &str| {
        let mut client = gateway.connect();
        client.send(format!(
            "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        client
    };
    let alone = [
        r#"{"prompt":"x","stream":true}"#,
        r#"{"prompt":"x","str\u0065am":true}"#,
        r#"{"prompt_embeds":"x"}"#,
        r#"{"model":"m"}"#,
    ];
    for body in alone {
        let one = ask(body);
        let mut call = upstream.accept();
        call.read_message();
        // One that could travel with others finds the place free.
        let other = ask(r#"{"prompt":"y"}"#);
        upstream.accept().read_message();
        drop((one, other));
        gateway.until("both are over", |stats| stats["routes"]["all"]["in_flight"] == 0);
    }
    assert_eq!(gateway.stats()["clusters"]["up"]["batch"]["calls"], alone.len());
}

#[test]
fn what_goes_unread_is_asked_again_as_what_was_read() {
    let (good, bad) = (Upstream::start(), Upstream::start());
    let good = good.play(|peer, request| {
        peer.send(vectors(&request));
        After::GoOn
    });
    let bad = bad.serve("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n");
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{good:?}, {bad:?}]\nbalance = \"round-robin\"\n\
         retry = {{ attempts = 2, on = [\"503\"], replay = \"8B\", budget = \"100%\" }}\n\
         batch = {{ protocol = \"openai-embeddings\" }}\n[[route]]\nname = \"all\"\nto = \"up\"\n"
    ));
    // However a body comes, in one piece with its head or not.
    for pause in [false, true].repeat(3) {
        let mut client = gateway.connect();
        let request = embed("", &text(4));
        let (head, body) = request.split_at(request.len() - 9);
        client.send(head);
        if pause {
            // Nothing tells a client that its head was read.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        client.send(body);
        assert!(client.read_message().starts_with("HTTP/1.1 200 "), "{pause}");
        let mut client = gateway.connect();
        client.send(embed("", &text(4)));
        assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_reload_leaves_those_who_gather_together_and_a_drain_waits_for_them() {
    let upstream = Upstream::start();
    let mut gateway = batching(&upstream.url(), "");
    let requests = [embed("", &text(2)), embed("", &text(3))];
    let (mut first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
    // The places of before are not those of now: who waits for them is still served.
    std::fs::write(&gateway.config, config(&upstream.url(), ", max_items = 9")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    call.send(vectors(&embed("", &text(1))));
    first.read_message();
    let request = call.read_message();
    assert_eq!(body(&request)["input"], json!(["aa", "aaa"]));
    gateway.signal("TERM");
    call.send(vectors(&request));
    for (client, length) in clients.iter_mut().zip([2, 3]) {
        assert_eq!(body(&client.read_message())["data"][0]["embedding"], json!([length]));
    }
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn whatever_dies_and_whoever_leaves_each_gets_one_answer_and_no_place_is_lost() {
    let count = Arc::new(Mutex::new(0));
    let url = Upstream::start().play(move |peer, request| {
        let turn = {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count % 9
        };
        let good = vectors(&request);
        match turn {
            0 => return After::Reset,
            2 => peer.send(answer("400 Bad Request", &json!({ "error": "all" }))),
            4 => peer.send(answer("500 X", &json!({ "error": "all" }))),
            6 => {
                peer.send(&good[..good.len() / 2]);
                return After::Close;
            }
            8 => return After::Close,
            _ => peer.send(good),
        }
        After::GoOn
    });
    let gateway = Arc::new(batching(&url, ", max_items = 8, in_flight = 2"));
    let clients: Vec<_> = (0..16_usize)
        .map(|number| {
            let gateway = Arc::clone(&gateway);
            std::thread::spawn(move || {
                let mut client = gateway.connect();
                for round in 0..25_usize {
                    let length = 1 + (number * 25 + round) % 40;
                    let items = if round % 8 == 7 { 20 } else { 1 };
                    let inputs = vec!["a".repeat(length); items];
                    client.send(embed("", &json!({ "model": "m", "input": inputs })));
                    if (number + round).is_multiple_of(5) {
                        client = gateway.connect();
                        continue;
                    }
                    let got = client.read_message();
                    let status: u16 = got[9..12].parse().unwrap();
                    match status {
                        200 => {
                            let told = body(&got);
                            let data = told["data"].as_array().unwrap();
                            assert_eq!(data.len(), items);
                            assert!(data.iter().all(|one| one["embedding"] == json!([length])), "{got}");
                        }
                        400 | 500 | 502 => {}
                        _ => panic!("{got}"),
                    }
                    if got.contains("\r\nconnection: close\r\n") {
                        client = gateway.connect();
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    gateway.until("nothing is in flight", |stats| {
        stats["routes"]["all"]["in_flight"] == 0 && stats["endpoints"]["up"][&url]["in_flight"] == 0
    });
    // Nobody waits for a place that nobody has: thirty seconds are longer than any of these is waited for.
    let mut client = gateway.connect();
    for _ in 0..9 {
        client.send(embed("", &text(1)));
        client.read_message();
    }
}

#[test]
fn a_failure_of_several_goes_to_nobody_else() {
    let upstream = Upstream::start();
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let other = Upstream::start().play(move |peer, request| {
        *count.lock().unwrap() += 1;
        peer.send(vectors(&request));
        After::GoOn
    });
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{:?}]\nretry = {{ attempts = 3, on = [\"503\", \"429\"], budget = \"100%\" }}\n\
         batch = {{ protocol = \"openai-embeddings\", max_wait = \"30s\" }}\n[cluster.other]\nendpoints = [{other:?}]\n\
         [[route]]\nname = \"all\"\nto = \"up\"\nfallback = [\"other\"]\n",
        upstream.url()
    ));
    let requests = [embed("", &text(2)), embed("", &text(3))];
    let (_first, mut call, mut clients) = gather(&gateway, &upstream, &requests);
    call.send(vectors(&embed("", &text(1))));
    call.read_message();
    call.send(answer("503 X", &json!({ "error": "all" })));
    for client in &mut clients {
        let got = client.read_message();
        assert!(got.starts_with("HTTP/1.1 503 "), "{got}");
    }
    assert!(call.is_silent());
    assert_eq!(*asked.lock().unwrap(), 0);
}

#[test]
fn what_filters_write_for_one_client_travels_as_it_was_written() {
    let upstream = Upstream::start();
    let keys = KeysFile::new(&(entry("one", "") + &entry("two", "")));
    let gateway = Gateway::start(&format!(
        "{}[filter.edit]\nkind = \"headers\"\nrequest = {{ set = {{ x-team = \"{{key}}\" }}, add = {{ x-own = \"{{key}}\" }} }}\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nfilters = [\"keys\", \"edit\"]\n{}",
        keys.filter(),
        config(&upstream.url(), ", key_headers = [\"x-team\"]"),
    ));
    let as_key = |name: &str| embed(&format!("x-api-key: sk-{name}\r\n"), &text(2));
    let mut first = gateway.connect();
    first.send(as_key("one"));
    let mut call = upstream.accept();
    let request = call.read_message();
    assert!(request.contains("\r\nx-team: one\r\n") && request.contains("\r\nx-own: one\r\n"), "{request}");
    let mut clients = Vec::new();
    for (position, name) in ["one", "two", "one"].into_iter().enumerate() {
        let mut client = gateway.connect();
        client.send(as_key(name));
        gateway.until("it came", |stats| stats["routes"]["all"]["in_flight"] == position + 2);
        clients.push(client);
    }
    for (name, inputs) in [("one", json!(["aa", "aa"])), ("two", json!("aa"))] {
        call.send(vectors(&embed("", &text(1))));
        let request = call.read_message();
        assert_eq!(body(&request)["input"], inputs);
        assert!(request.contains(&format!("\r\nx-team: {name}\r\n")), "{request}");
        assert_eq!(request.matches("x-team").count(), 1, "{request}");
        assert!(!request.contains("x-own"), "nothing is written for nobody: {request}");
    }
}
