//! Who waits for a place where there is none to come for them, or where others have theirs: nobody waits for nothing, and
//! nobody is told that time ran out before it did.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::listing::list_of;
use crate::support::{After, Gateway, OK, Peer, Upstream};

/// An engine that lists these models, and holds each request back whose body says `hold` until it is let go.
struct Engine {
    url: String,
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl Engine {
    fn start(models: &'static [&'static str]) -> Self {
        let held = Arc::new((Mutex::new(true), Condvar::new()));
        let holds = Arc::clone(&held);
        let url = Upstream::start().play(move |peer, request| {
            if request.starts_with("GET /v1/models ") {
                let list = list_of(models);
                peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{list}", list.len()));
                return After::GoOn;
            }
            let (is_held, changed) = &*holds;
            let mut is_held = is_held.lock().unwrap();
            while request.contains("\"hold\"") && *is_held {
                is_held = changed.wait(is_held).unwrap();
            }
            drop(is_held);
            peer.send(OK);
            After::GoOn
        });
        Self { url, held }
    }

    fn let_go(&self) {
        *self.held.0.lock().unwrap() = false;
        self.held.1.notify_all();
    }
}

fn cluster(engines: &[&Engine], keys: &str) -> String {
    let endpoints: Vec<_> =
        engines.iter().map(|engine| format!("{{ url = {:?}, max_in_flight = 1 }}", engine.url)).collect();
    format!("[cluster.up]\nendpoints = [{}]\n{keys}\n", endpoints.join(", "))
}

const ALL: &str = "[[route]]\nname = \"all\"\nto = \"up\"\n";

fn start(config: &str, lanes: &str) -> Gateway {
    Gateway::start_with(config, &["--listen", "127.0.0.1:0", "--lanes", lanes])
}

fn send(gateway: &Gateway, body: &str) -> Peer {
    let mut client = gateway.connect();
    let length = body.len();
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    client
}

fn ask(gateway: &Gateway, body: &str) -> (String, Duration) {
    let begun = Instant::now();
    let answer = send(gateway, body).read_message();
    (answer, begun.elapsed())
}

/// One that has the place of an engine until it lets go.
fn occupy(gateway: &Gateway, engine: &Engine, model: &str) -> Peer {
    let client = send(gateway, &format!("{{\"model\":{model:?},\"x\":\"hold\"}}"));
    gateway.until("it has the place", |stats| stats["endpoints"]["up"][&engine.url]["in_flight"] == 1);
    client
}

fn one_waits(gateway: &Gateway, engine: &Engine) {
    gateway.until("one waits", |stats| stats["endpoints"]["up"][&engine.url]["queued"] == 1);
}

#[test]
fn when_all_endpoints_are_out_nobody_waits_for_them() {
    let (engine, other) = (Engine::start(&[]), Engine::start(&[]));
    let queue = "queue = { max = 8, max_wait = \"60s\" }";
    let spare = format!("[cluster.spare]\nendpoints = [{:?}]\n", other.url);
    for (fallback, status) in [("", "503"), ("fallback = [\"spare\"]", "200")] {
        let gateway = start(&format!("{}{spare}{ALL}{fallback}\n", cluster(&[&engine], queue)), "2");
        let _first = occupy(&gateway, &engine, "m");
        let mut waiting = send(&gateway, "{}");
        one_waits(&gateway, &engine);
        let begun = Instant::now();
        let (code, _) = gateway.admin("POST", &format!("/endpoints/up/drain?url={}", engine.url));
        assert_eq!(code, 200);
        let answer = waiting.read_message();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(status == "200" || answer.contains("\"code\":\"no_endpoint\""), "{answer}");
        let (answer, took) = ask(&gateway, "{}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(5) && took < Duration::from_secs(2), "{took:?}");
        gateway.until("nobody waits", |stats| stats["endpoints"]["up"][&engine.url]["queued"] == 0);
        // It is back, and all is as before.
        gateway.admin("POST", &format!("/endpoints/up/undrain?url={}", engine.url));
        let waiting = send(&gateway, "{}");
        one_waits(&gateway, &engine);
        drop(waiting);
    }
    engine.let_go();
}

#[test]
fn who_waits_for_some_endpoints_waits_no_more_when_those_are_out() {
    let (one, two) = (Engine::start(&["m1"]), Engine::start(&["m2"]));
    let keys = "discover = \"models\"\nqueue = { max = 8, max_wait = \"60s\" }";
    let gateway = start(&format!("{}{ALL}", cluster(&[&one, &two], keys)), "2");
    gateway
        .until("the lists are read", |_| ask(&gateway, r#"{"model":"m2"}"#).0.starts_with("HTTP/1.1 200 "));
    gateway
        .until("the lists are read", |_| ask(&gateway, r#"{"model":"m1"}"#).0.starts_with("HTTP/1.1 200 "));
    let (_first, _second) = (occupy(&gateway, &one, "m1"), occupy(&gateway, &two, "m2"));
    let mut waiting = send(&gateway, r#"{"model":"m1"}"#);
    one_waits(&gateway, &one);
    // The other one is there, and does not list it; no place comes free.
    gateway.admin("POST", &format!("/endpoints/up/drain?url={}", one.url));
    assert!(waiting.read_message().contains("\"code\":\"no_endpoint\""));
    one.let_go();
    two.let_go();
}

#[test]
fn a_model_that_nobody_lists_is_told_at_once_however_full_it_is() {
    let engine = Engine::start(&["m"]);
    let keys = "discover = \"models\"\nqueue = { max = 1, max_wait = \"60s\", comments = \"200ms\" }";
    let gateway = start(&format!("{}{ALL}", cluster(&[&engine], keys)), "1");
    gateway.until("the list is read", |_| ask(&gateway, r#"{"model":"m"}"#).0.starts_with("HTTP/1.1 200 "));
    let _first = occupy(&gateway, &engine, "m");
    for _ in 0..2 {
        for stream in ["false", "true"] {
            let (answer, _) = ask(&gateway, &format!("{{\"model\":\"typo\",\"stream\":{stream}}}"));
            assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("model_not_found"), "{answer}");
        }
        // The line is full as well.
        let waiting = send(&gateway, r#"{"model":"m"}"#);
        gateway.until("one waits", |stats| stats["endpoints"]["up"][&engine.url]["queued"] == 1);
        let (answer, _) = ask(&gateway, r#"{"model":"typo"}"#);
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        drop(waiting);
        gateway.until("nobody waits", |stats| stats["endpoints"]["up"][&engine.url]["queued"] == 0);
    }
    engine.let_go();
}

#[test]
fn nobody_is_told_that_time_ran_out_before_it_did() {
    // One waits for the engine that is full. Places of the other one come and go: each is offered to whoever waits, and told
    // to its lane, which may look only after it waits again.
    let (one, two) = (Engine::start(&["m1"]), Engine::start(&["m2"]));
    let keys = "discover = \"models\"\nqueue = { max = 50, max_wait = \"60s\" }";
    let gateway = start(&format!("{}{ALL}", cluster(&[&one, &two], keys)), "2");
    for model in ["m1", "m2"] {
        let body = format!("{{\"model\":{model:?}}}");
        gateway.until("the lists are read", |_| ask(&gateway, &body).0.starts_with("HTTP/1.1 200 "));
    }
    let mut first = occupy(&gateway, &one, "m1");
    let mut waiting = send(&gateway, r#"{"model":"m1"}"#);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = gateway.connect();
                for _ in 0..400 {
                    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 14\r\n\r\n{\"model\":\"m2\"}");
                    let answer = client.read_message();
                    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
                }
            });
        }
    });
    one.let_go();
    for client in [&mut first, &mut waiting] {
        assert!(client.read_message().starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn who_waits_for_a_full_endpoint_is_told_so_though_another_one_has_room() {
    let (one, two) = (Engine::start(&["m1"]), Engine::start(&["m2"]));
    let keys = "discover = \"models\"\nqueue = { max = 8, max_wait = \"60s\", comments = \"250ms\" }";
    let gateway = start(&format!("{}{ALL}", cluster(&[&one, &two], keys)), "1");
    gateway
        .until("the lists are read", |_| ask(&gateway, r#"{"model":"m1"}"#).0.starts_with("HTTP/1.1 200 "));
    let _first = occupy(&gateway, &one, "m1");
    let mut waiting = send(&gateway, r#"{"model":"m1","stream":true}"#);
    for _ in 0..3 {
        waiting.read_until(": waiting\n\n");
    }
    one.let_go();
}
