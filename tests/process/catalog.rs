//! The models that clients are told of: the lists of all clusters as one, and what of it is whose.

use std::time::Instant;

use serde_json::Value;

use crate::keys::{KeysFile, entry};
use crate::listing::{Engine, Sim, complete};
use crate::support::{Gateway, PATIENCE, Place};

/// The answer to a GET, whole.
fn get(gateway: &Gateway, target: &str, fields: &str) -> String {
    gateway.exchange(&format!("GET {target} HTTP/1.1\r\nhost: x\r\n{fields}connection: close\r\n\r\n"))
}

/// The ids of the list that is told.
fn listed(gateway: &Gateway, fields: &str) -> Vec<String> {
    let text = get(gateway, "/v1/models", fields);
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    let list: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(list["object"], "list");
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

const TELLS: &str = "[[route]]\nname = \"list\"\nmatch = { path = \"/v1/models\" }\nrespond = \"models\"\n\
    [[route]]\nname = \"one\"\nmatch = { path = \"/v1/models/{model*}\" }\nrespond = \"models\"\n";

#[test]
fn the_lists_of_all_clusters_are_told_as_one() {
    let [one, two, third, unused] = [
        Engine::serving("one", &["b", "org/m"]),
        Engine::start("two", r#"{"data":[{"id":"b","created":1,"owned_by":"late"},{"id":"a","created":5,"owned_by":"x","root":"/secret"}]}"#.to_owned()),
        Engine::serving("third", &["leg", "backup"]),
        Engine::serving("unused", &["never"]),
    ];
    let plain = |name: &str, engine: &Engine| format!("[cluster.{name}]\nendpoints = [{:?}]\n", engine.url);
    let routes = "[[route]]\nname = \"chat\"\nmatch = { body = { model = [\"alias\", \"b\", \"glob-*\", \"~^re\"], metadata.model = \"no\" } }\nto = [\"first\", { cluster = \"second\", weight = 0 }]\n\
        [[route]]\nname = \"blocked\"\nmatch = { body = { model = \"blocked\" } }\nrespond = { status = 403 }\n\
        [[route]]\nname = \"legs\"\nmatch = { path = \"/legs\" }\nfanout = { to = [\"legs\"] }\n";
    let clusters =
        plain("first", &one) + &plain("second", &two) + &plain("legs", &third) + &plain("unused", &unused);
    let gateway = Gateway::start(&format!("{clusters}{routes}{TELLS}"));
    let expected = ["a", "alias", "b", "backup", "leg", "org/m"];
    let begun = Instant::now();
    while listed(&gateway, "") != expected {
        assert!(begun.elapsed() < PATIENCE, "{:?}", listed(&gateway, ""));
    }
    let text = get(&gateway, "/v1/models", "");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    for field in
        ["content-type: application/json", "x-request-id: ", &format!("content-length: {}", body.len())]
    {
        assert!(head.contains(&format!("\r\n{field}")), "{head}");
    }
    let list: Value = serde_json::from_str(body).unwrap();
    // As the first wrote it, and no more than that.
    assert_eq!(
        list["data"][2],
        serde_json::json!({"id": "b", "object": "model", "created": 7, "owned_by": "them"})
    );
    assert_eq!(
        list["data"][0],
        serde_json::json!({"id": "a", "object": "model", "created": 5, "owned_by": "x"})
    );
    let alias = &list["data"][1];
    assert_eq!(alias["owned_by"], "corelane");
    assert_eq!(alias["created"], gateway.stats()["plan"]["loaded_at"]);
    // HEAD says the same, without a body, and nothing else is done there.
    let mut client = gateway.connect();
    client.send("HEAD /v1/models HTTP/1.1\r\nhost: x\r\n\r\nGET /v1/models/b HTTP/1.1\r\nhost: x\r\n\r\n");
    let head = client.read_until("\r\n\r\n");
    assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
    let told = client.read_message();
    assert!(
        told.ends_with("\r\n\r\n{\"id\":\"b\",\"object\":\"model\",\"created\":7,\"owned_by\":\"them\"}"),
        "{told}"
    );
    for (target, found) in [
        ("/v1/models/org/m", true),
        ("/v1/models/org%2Fm", true),
        ("/v1/models/alias", true),
        ("/v1/models/never", false),
        ("/v1/models/B", false),
        ("/v1/models/blocked", false),
    ] {
        let text = get(&gateway, target, "");
        assert_eq!(text.starts_with("HTTP/1.1 200 "), found, "{text}");
        assert_eq!(text.contains("\"code\":\"model_not_found\""), !found, "{text}");
    }
    client.send("POST /v1/models HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    let refused = client.read_message();
    assert!(
        refused.starts_with("HTTP/1.1 405 ") && refused.contains("\r\nallow: GET, HEAD\r\n"),
        "{refused}"
    );
    assert!(unused.asked.lock().unwrap().is_empty(), "no route leads to it");
    assert_eq!(gateway.stats()["routes"]["list"]["S"], 1.0);
}

#[test]
fn a_key_is_told_of_its_own_models_only() {
    let one = Engine::serving("one", &["qwen3-8b", "llama-3", "gpt"]);
    let keys = KeysFile::new(
        &(entry("some", "models = [\"qwen3-*\", \"llama-*\", \"alias\"]")
            + &entry("none", "models = []")
            + &entry("all", "")),
    );
    let tells = TELLS.replace("respond = ", "filters = [\"keys\"]\nrespond = ");
    let gateway = Gateway::start(&format!(
        "{}[cluster.up]\nendpoints = [{:?}]\n[[route]]\nmatch = {{ body = {{ model = [\"alias\", \"other\"] }} }}\nto = \"up\"\nfilters = [\"keys\"]\n{tells}",
        keys.filter(),
        one.url
    ));
    let of = |key: &str| listed(&gateway, &format!("x-api-key: sk-{key}\r\n"));
    let begun = Instant::now();
    while of("all") != ["alias", "gpt", "llama-3", "other", "qwen3-8b"] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", of("all"));
    }
    assert_eq!(of("some"), ["alias", "llama-3", "qwen3-8b"]);
    assert_eq!(of("none"), [""; 0]);
    assert!(get(&gateway, "/v1/models", "").starts_with("HTTP/1.1 401 "));
    for (key, model, status) in [
        ("some", "qwen3-8b", 200),
        ("some", "gpt", 403),
        ("some", "qwen3-0", 404),
        ("none", "gpt", 403),
        ("all", "gpt", 200),
        ("all", "no", 404),
    ] {
        let text = get(&gateway, &format!("/v1/models/{model}"), &format!("x-api-key: sk-{key}\r\n"));
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{key} {model}: {text}");
    }
}

#[test]
fn what_is_told_follows_the_endpoints_and_the_configuration() {
    let place = Place::keep();
    let sim = Sim::start(&place.address(), "b,a");
    let config = |more: &str| {
        format!(
            "[cluster.up]\nendpoints = [\"http://{}\"]\n[[route]]\nto = \"up\"\n{more}{TELLS}",
            sim.address
        )
    };
    let gateway = Gateway::start(&config(""));
    let until = |expected: &[&str]| {
        let begun = Instant::now();
        while listed(&gateway, "") != expected {
            assert!(begun.elapsed() < PATIENCE, "{:?}", listed(&gateway, ""));
        }
    };
    until(&["a", "b"]);
    let alias = "[[route]]\nname = \"alias\"\nmatch = { body = { model = \"c\" } }\nto = \"up\"\n";
    std::fs::write(&gateway.config, config(alias)).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert_eq!(listed(&gateway, ""), ["a", "b", "c"], "an endpoint that stays keeps its list");
    drop(sim);
    assert_eq!(listed(&gateway, ""), ["a", "b", "c"], "and who is away is not gone");
    let _sim = Sim::start(&place.address(), "d");
    // Whoever is sent there makes a connection, which has its list read.
    let begun = Instant::now();
    while listed(&gateway, "") != ["c", "d"] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", listed(&gateway, ""));
        let _ = complete(&gateway, "d");
    }
}
