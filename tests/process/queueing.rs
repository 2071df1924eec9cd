//! Requests wait for a place in a full cluster: in which order, for how long, and who is refused.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::{After, Gateway, PATIENCE, Peer, Upstream};

/// An endpoint that answers each request when it is told to, and tells of each that came.
struct Endpoint {
    url: String,
    came: Receiver<String>,
    answers: Arc<(Mutex<usize>, Condvar)>,
}

impl Endpoint {
    fn start() -> Self {
        let (tell, came) = channel();
        let answers = Arc::new((Mutex::new(0), Condvar::new()));
        let allowed = Arc::clone(&answers);
        let url = Upstream::start().play(move |peer, request| {
            let _ = tell.send(name_of(&request));
            let (count, changed) = &*allowed;
            let mut count = count.lock().unwrap();
            while *count == 0 {
                count = changed.wait(count).unwrap();
            }
            *count -= 1;
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            After::GoOn
        });
        Self { url, came, answers }
    }

    /// Answers so many more.
    fn answer(&self, count: usize) {
        *self.answers.0.lock().unwrap() += count;
        self.answers.1.notify_all();
    }

    fn next(&self) -> String {
        self.came.recv_timeout(PATIENCE).expect("a request comes")
    }

    fn config(&self, queue: &str, more: &str) -> String {
        format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\ntrusted = [\"127.0.0.1\"]\n\
             [cluster.up]\nendpoints = [{{ url = {:?}, max_in_flight = 1 }}]\n{queue}\n{more}",
            self.url
        )
    }
}

fn name_of(request: &str) -> String {
    request.split_whitespace().nth(1).unwrap().trim_start_matches('/').to_owned()
}

const ROUTE: &str = "[[route]]\nname = \"all\"\nto = \"up\"\n";

fn start(config: &str) -> Gateway {
    Gateway::start_with(config, &[])
}

/// A request of that name is sent, and waits.
fn send(gateway: &Gateway, name: &str, fields: &str) -> Peer {
    let before = waiting(gateway);
    let mut client = gateway.connect();
    client.send(format!("POST /{name} HTTP/1.1\r\nhost: x\r\n{fields}content-length: 2\r\n\r\nhi"));
    gateway.until("it waits", |stats| queued(stats) > before);
    client
}

fn queued(stats: &serde_json::Value) -> u64 {
    let up = stats["endpoints"]["up"].as_object().unwrap();
    up.values().next().unwrap()["queued"].as_u64().unwrap()
}

fn waiting(gateway: &Gateway) -> u64 {
    queued(&gateway.stats())
}

/// One that has the only place.
fn occupy(gateway: &Gateway, endpoint: &Endpoint) -> Peer {
    let mut client = gateway.connect();
    client.send("POST /first HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(endpoint.next(), "first");
    client
}

fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn classes_go_in_their_order_and_addresses_take_turns() {
    let endpoint = Endpoint::start();
    let gateway =
        start(&endpoint.config("queue = { classes = [\"interactive\", \"default\", \"bulk\"] }", ROUTE));
    let mut clients = vec![occupy(&gateway, &endpoint)];
    let from = |address: &str| format!("x-forwarded-for: {address}\r\n");
    for (name, fields) in [
        ("bulk", "x-priority: bulk\r\n".to_owned()),
        ("a1", from("10.0.0.1")),
        ("a2", from("10.0.0.1")),
        ("b1", from("10.0.0.2")),
        ("unknown", from("10.0.0.3") + "x-priority: nobody\r\n"),
        ("urgent", "x-priority: interactive\r\n".to_owned()),
    ] {
        clients.push(send(&gateway, name, &fields));
    }
    let depth = gateway.admin("GET", "/metrics").1;
    assert!(depth.contains("corelane_queue_depth{cluster=\"up\",class=\"default\"} 4\n"), "{depth}");
    endpoint.answer(clients.len());
    let order: Vec<_> = (1..clients.len()).map(|_| endpoint.next()).collect();
    assert_eq!(order, ["urgent", "a1", "b1", "unknown", "a2", "bulk"]);
    for client in &mut clients {
        assert!(client.read_message().ends_with("ok"));
    }
    assert_eq!(waiting(&gateway), 0);
}

#[test]
fn the_class_is_the_routes_else_the_keys_and_nobody_elses_word_counts() {
    let endpoint = Endpoint::start();
    let keys = crate::support::fresh_path("keys.toml");
    // SHA-256 of "sk-bulk" and of "sk-plain".
    let key = |name: &str, more: &str| {
        let digest = corelane::base::digest::Digest::of(format!("sk-{name}").as_bytes());
        format!("[[key]]\nname = \"{name}\"\nsha256 = \"{}\"\n{more}\n", digest.text())
    };
    std::fs::write(&keys, key("bulk", "class = \"bulk\"") + &key("plain", "")).unwrap();
    let routes = format!(
        "[filter.keys]\nkind = \"keys\"\nfile = {keys:?}\n\
         [[route]]\nname = \"fast\"\nmatch = {{ path = \"/fast\" }}\nclass = \"interactive\"\nfilters = [\"keys\"]\nto = \"up\"\n\
         [[route]]\nname = \"all\"\nfilters = [\"keys\"]\nto = \"up\"\n"
    );
    let config = endpoint.config("queue = {}", &routes).replace("trusted = [\"127.0.0.1\"]\n", "");
    let gateway = start(&config);
    let bearer = |name: &str| format!("authorization: Bearer sk-{name}\r\n");
    let mut first = gateway.connect();
    first.send(format!("POST /first HTTP/1.1\r\nhost: x\r\n{}content-length: 2\r\n\r\nhi", bearer("plain")));
    assert_eq!(endpoint.next(), "first");
    let mut clients = vec![first];
    for (name, fields) in [
        ("slow", bearer("bulk") + "x-priority: interactive\r\n"),
        ("usual", bearer("plain") + "x-priority: interactive\r\n"),
        ("fast", bearer("bulk")),
    ] {
        clients.push(send(&gateway, name, &fields));
    }
    endpoint.answer(4);
    let order: Vec<_> = (0..3).map(|_| endpoint.next()).collect();
    assert_eq!(order, ["fast", "usual", "slow"]);
    clients.iter_mut().for_each(|client| assert!(client.read_message().ends_with("ok")));
    let _ = std::fs::remove_file(keys);
}

#[test]
fn a_full_line_is_told_when_to_come_back_and_a_late_one_that_it_was_too_late() {
    let endpoint = Endpoint::start();
    let gateway = start(&endpoint.config("queue = { max = 1, max_wait = \"700ms\" }", ROUTE));
    let mut first = occupy(&gateway, &endpoint);
    let mut second = send(&gateway, "second", "");
    let full = gateway
        .exchange("POST /third HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
    assert!(full.starts_with("HTTP/1.1 429") && full.contains("\"code\":\"queue_full\""), "{full}");
    assert_eq!(field(&full, "x-should-retry"), Some("true"));
    let ms: u64 = field(&full, "retry-after-ms").unwrap().parse().unwrap();
    let seconds: u64 = field(&full, "retry-after").unwrap().parse().unwrap();
    assert!(ms > 0 && seconds == ms.div_ceil(1000), "{full}");
    let late = second.read_message();
    assert!(late.starts_with("HTTP/1.1 503") && late.contains("\"code\":\"queue_timeout\""), "{late}");
    assert!(
        field(&late, "retry-after").is_some() && field(&late, "x-should-retry") == Some("true"),
        "{late}"
    );
    endpoint.answer(1);
    assert!(first.read_message().ends_with("ok"));
    assert!(
        endpoint.came.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout),
        "nobody else was sent"
    );
}

#[test]
fn a_deadline_that_cannot_be_met_is_refused_on_arrival() {
    let endpoint = Endpoint::start();
    let gateway = start(&endpoint.config("queue = {}", ROUTE));
    // How long exchanges last here is known from the first one on.
    let mut first = occupy(&gateway, &endpoint);
    std::thread::sleep(Duration::from_millis(150));
    endpoint.answer(1);
    assert!(first.read_message().ends_with("ok"));
    let mut first = occupy(&gateway, &endpoint);
    let ask = |ms: &str| {
        gateway.exchange(&format!(
            "POST /hasty HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-deadline-ms: {ms}\r\ncontent-length: 2\r\n\r\nhi"
        ))
    };
    let refused = ask("5");
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("queue_full"), "{refused}");
    // One that seems to be met waits for as long, and no longer.
    let mut patient = send(&gateway, "patient", "x-deadline-ms: 1200\r\n");
    let late = patient.read_message();
    assert!(late.starts_with("HTTP/1.1 503") && late.contains("queue_timeout"), "{late}");
    endpoint.answer(2);
    assert!(first.read_message().ends_with("ok"));
    gateway.until("its place is free", |stats| stats["all"]["in_flight"] == 0);
    let mut client = gateway.connect();
    client.send("POST /free HTTP/1.1\r\nhost: x\r\nx-deadline-ms: 1\r\ncontent-length: 2\r\n\r\nhi");
    assert!(client.read_message().ends_with("ok"), "where there is a place nobody waits");
}

#[test]
fn who_leaves_the_line_lets_the_next_one_through() {
    let endpoint = Endpoint::start();
    let gateway = start(&endpoint.config("queue = {}", ROUTE));
    let mut first = occupy(&gateway, &endpoint);
    let leaves = send(&gateway, "leaves", "");
    let mut stays = send(&gateway, "stays", "");
    drop(leaves);
    gateway.until("it left", |stats| queued(stats) == 1);
    endpoint.answer(2);
    assert!(first.read_message().ends_with("ok"));
    assert_eq!(endpoint.next(), "stays");
    assert!(stays.read_message().ends_with("ok"));
}

#[test]
fn places_that_a_reload_gives_are_used_by_those_who_wait() {
    let endpoint = Endpoint::start();
    let config = endpoint.config("queue = {}", ROUTE);
    let gateway = start(&config);
    let mut clients = vec![occupy(&gateway, &endpoint)];
    for name in ["a", "b"] {
        clients.push(send(&gateway, name, ""));
    }
    let reload = |config: &str| {
        std::fs::write(&gateway.config, config).unwrap();
        let (status, answer) = gateway.admin("POST", "/reload");
        assert_eq!(status, 200, "{answer}");
    };
    reload(&config.replace("max_in_flight = 1", "max_in_flight = 2"));
    assert_eq!(endpoint.next(), "a", "it goes beside the first one, which is not answered yet");
    assert_eq!(waiting(&gateway), 1);
    // A queue that goes leaves nobody behind.
    reload(&config.replace("queue = {}", "").replace("max_in_flight = 1", "max_in_flight = 3"));
    assert_eq!(endpoint.next(), "b");
    endpoint.answer(3);
    clients.iter_mut().for_each(|client| assert!(client.read_message().ends_with("ok")));
}

#[test]
fn all_of_many_are_served_over_all_lanes_and_no_more_at_once_than_there_are_places() {
    let at_once = Arc::new((Mutex::new((0usize, 0usize)), ()));
    let seen = Arc::clone(&at_once);
    let url = Upstream::start().play(move |peer, _| {
        {
            let mut now = seen.0.lock().unwrap();
            now.0 += 1;
            now.1 = now.1.max(now.0);
        }
        std::thread::sleep(Duration::from_millis(5));
        seen.0.lock().unwrap().0 -= 1;
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        After::GoOn
    });
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nendpoints = [{{ url = {url:?}, max_in_flight = 4 }}]\nqueue = {{ max = 1000, max_wait = \"60s\" }}\n{ROUTE}"
    ));
    let threads: Vec<_> = (0..32)
        .map(|_| {
            let mut client = gateway.connect();
            std::thread::spawn(move || {
                for _ in 0..20 {
                    client.send("POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi");
                    assert!(client.read_message().ends_with("ok"));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let most = at_once.0.lock().unwrap().1;
    assert!((2..=4).contains(&most), "{most} at once");
    gateway.until("nobody is left", |stats| {
        queued(stats) == 0 && stats["endpoints"]["up"][&url]["in_flight"] == 0
    });
}
