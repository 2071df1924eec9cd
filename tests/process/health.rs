//! What endpoints show, and what follows: ejection and return, a smaller share, probes, ceilings.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{After, Gateway, OK, PATIENCE, Peer, Upstream, one_cluster};

const POST: &str = "POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops";
const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 4\r\n\r\nbusy";

/// An endpoint whose answers change, which counts what it is asked.
struct Moody {
    url: String,
    answer: Arc<Mutex<&'static str>>,
    asked: Arc<AtomicUsize>,
}

impl Moody {
    fn start(answer: &'static str) -> Self {
        let (answer, asked) = (Arc::new(Mutex::new(answer)), Arc::new(AtomicUsize::new(0)));
        let (says, count) = (Arc::clone(&answer), Arc::clone(&asked));
        let url = Upstream::start().play(move |peer, _| {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = *says.lock().unwrap();
            peer.send(answer);
            After::GoOn
        });
        Self { url, answer, asked }
    }

    fn become_so(&self, answer: &'static str) {
        *self.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn gateway(endpoints: &[&str], keys: &str) -> Gateway {
    let config = one_cluster(endpoints).replace("[[route]]", &format!("{keys}\n[[route]]"));
    Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "2"])
}

/// The status of one request on a connection of its own.
fn ask(gateway: &Gateway) -> u16 {
    let mut client = gateway.connect();
    client.send(POST);
    client.read_message()[9..12].parse().unwrap()
}

fn state(gateway: &Gateway, url: &str) -> (bool, String) {
    let endpoint = gateway.endpoint(url);
    (endpoint["admitted"].as_bool().unwrap(), endpoint["state"].as_str().unwrap().to_owned())
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_out_on_all_lanes_and_one_request_brings_it_back() {
    let (bad, good) = (Moody::start(BROKEN), Moody::start(OK));
    let keys = "balance = \"round-robin\"\nslow_start = \"0s\"\n\
        ejection = { consecutive_faults = 3, window = \"1s\" }";
    let gateway = gateway(&[&bad.url, &good.url], keys);
    let begun = Instant::now();
    while state(&gateway, &bad.url).0 {
        assert!(matches!(ask(&gateway), 200 | 500));
        assert!(begun.elapsed() < Duration::from_secs(5), "it is still admitted");
    }
    assert_eq!(bad.asked(), 3, "its faults are counted over all lanes");
    assert_eq!(state(&gateway, &bad.url), (false, "ejected".into()));
    for _ in 0..20 {
        assert_eq!(ask(&gateway), 200);
    }
    assert_eq!(bad.asked(), 3);
    // After the window one request decides, and it fails: out for twice as long.
    gateway.until("it is tried", |stats| stats["endpoints"]["up"][&bad.url]["state"] == "trial");
    let before = Instant::now();
    while bad.asked() == 3 {
        assert!(matches!(ask(&gateway), 200 | 500));
    }
    assert_eq!(state(&gateway, &bad.url), (false, "ejected".into()));
    bad.become_so(OK);
    gateway.until("it is tried", |stats| stats["endpoints"]["up"][&bad.url]["state"] == "trial");
    assert!(before.elapsed() >= Duration::from_secs(2), "{:?}", before.elapsed());
    while bad.asked() == 4 {
        assert_eq!(ask(&gateway), 200);
    }
    assert_eq!(state(&gateway, &bad.url), (true, "up".into()));
    let asked = bad.asked();
    (0..20).for_each(|_| assert_eq!(ask(&gateway), 200));
    assert!(bad.asked() >= asked + 8, "it has its share: {} of 20", bad.asked() - asked);
    let (_, metrics) = gateway.admin("GET", "/metrics");
    let label = format!("{{cluster=\"up\",endpoint=\"{}\"}}", bad.url);
    assert!(metrics.contains(&format!("corelane_ejections_total{label} 2\n")), "{metrics}");
    assert!(metrics.contains(&format!("corelane_endpoint_admitted{label} 1\n")));
}

#[test]
fn the_last_endpoint_stays_and_what_clients_do_wrong_ejects_nobody() {
    let only = Moody::start(BROKEN);
    let gateway_of_one = gateway(&[&only.url], "ejection = { consecutive_faults = 1 }");
    for _ in 0..10 {
        assert_eq!(ask(&gateway_of_one), 500);
    }
    assert_eq!(state(&gateway_of_one, &only.url), (true, "up".into()));
    let (picky, other) =
        (Moody::start("HTTP/1.1 422 Unprocessable Content\r\ncontent-length: 0\r\n\r\n"), Moody::start(OK));
    let gateway = gateway(&[&picky.url, &other.url], "ejection = { consecutive_faults = 1 }");
    while picky.asked() < 10 {
        assert!(matches!(ask(&gateway), 200 | 422));
    }
    assert_eq!(state(&gateway, &picky.url), (true, "up".into()));
}

#[test]
fn a_busy_endpoint_is_left_alone_for_as_long_as_it_asks_and_is_never_out() {
    let (busy, other) = (Moody::start(BUSY), Moody::start(OK));
    let gateway = gateway(&[&busy.url, &other.url], "balance = \"round-robin\"");
    while busy.asked() == 0 {
        assert!(matches!(ask(&gateway), 200 | 429));
    }
    let since = Instant::now();
    let mut asked = 0;
    while since.elapsed() < Duration::from_millis(1500) {
        assert_eq!(ask(&gateway), 200);
        asked += 1;
    }
    assert_eq!(busy.asked(), 1, "in {asked} requests");
    assert_eq!(state(&gateway, &busy.url), (true, "up".into()));
    busy.become_so(OK);
    while busy.asked() == 1 {
        assert_eq!(ask(&gateway), 200);
        assert!(since.elapsed() < Duration::from_secs(6), "it is asked no more");
    }
    // Where nobody else is there it is asked all the same.
    busy.become_so(BUSY);
    while busy.asked() < 3 {
        ask(&gateway);
    }
    let (status, _) = gateway.admin("POST", &format!("/endpoints/up/drain?url={}", other.url));
    assert_eq!((status, ask(&gateway), ask(&gateway)), (200, 429, 429));
}

#[test]
fn an_endpoint_at_its_ceiling_is_passed_over_and_with_none_left_the_client_is_told_when_to_come_back() {
    let upstream = Upstream::start();
    let config = one_cluster(&["URL"])
        .replace("[\"URL\"]", &format!("[{{ url = {:?}, max_in_flight = 2 }}]", upstream.url()));
    let gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "2"]);
    let mut clients: Vec<Peer> = (0..2).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| client.send(POST));
    let mut servers: Vec<Peer> = (0..2).map(|_| upstream.accept()).collect();
    let mut third = gateway.connect();
    third.send(POST);
    let answer = third.read_message();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("\"code\":\"queue_full\""), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n") && answer.contains("retry-after-ms: "), "{answer}");
    assert!(answer.contains("x-should-retry: true\r\n"), "{answer}");
    assert!(!upstream.has_waiting());
    // A place is given back by an answer, and by a client that leaves.
    for server in &mut servers {
        server.read_message();
    }
    servers[0].send(OK);
    servers[1].send(OK);
    clients.iter_mut().for_each(|client| assert!(client.read_message().starts_with("HTTP/1.1 200 ")));
    gateway.until("they are free", |stats| stats["endpoints"]["up"][upstream.url()]["in_flight"] == 0);
    clients.iter_mut().for_each(|client| client.send(POST));
    gateway.until("both are taken", |stats| stats["endpoints"]["up"][upstream.url()]["in_flight"] == 2);
    drop(clients);
    gateway.until("they are free", |stats| stats["endpoints"]["up"][upstream.url()]["in_flight"] == 0);
    third.send(POST);
    gateway.until("one is taken", |stats| stats["endpoints"]["up"][upstream.url()]["in_flight"] == 1);
}

/// An endpoint that answers requests with 200 and probes as told; keeps what they look like.
struct Probed {
    url: String,
    answer: Arc<Mutex<&'static str>>,
    silent: Arc<AtomicBool>,
    probes: Receiver<String>,
}

fn probed() -> Probed {
    let (answer, silent) = (Arc::new(Mutex::new(OK)), Arc::new(AtomicBool::new(false)));
    let (says, is_silent) = (Arc::clone(&answer), Arc::clone(&silent));
    let (sender, probes) = channel();
    let url = Upstream::start().play(move |peer, request| {
        if !request.starts_with("GET /base/healthz ") {
            peer.send(OK);
            return After::GoOn;
        }
        // Nobody counts them any more at the end of a test.
        let _ = sender.send(request);
        if !is_silent.load(Ordering::SeqCst) {
            let answer = *says.lock().unwrap();
            peer.send(answer);
        }
        After::GoOn
    });
    Probed { url, answer, silent, probes }
}

#[test]
fn probes_take_an_endpoint_out_and_bring_it_back_and_are_no_requests() {
    let endpoint = probed();
    let url = format!("{}/base", endpoint.url);
    let keys = "slow_start = \"0s\"\nhealth = { path = \"/healthz\", interval = \"100ms\", timeout = \"200ms\", \
        unhealthy_after = 2, healthy_after = 2 }";
    let gateway = gateway(&[&url], keys);
    let is = |what: &str, expected: &str| {
        gateway.until(what, |stats| stats["endpoints"]["up"][&url]["state"] == expected);
    };
    let ready = || gateway.admin("GET", "/readyz").0;
    assert_eq!((ask(&gateway), ready()), (200, 200));
    for broken in
        ["HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 302 X\r\nlocation: /\r\n\r\n", "no\r\n\r\n"]
    {
        *endpoint.answer.lock().unwrap() = broken;
        is("it is out", "unhealthy");
        assert_eq!((ask(&gateway), ready()), (503, 503));
        *endpoint.answer.lock().unwrap() = OK;
        is("it is back", "up");
        assert_eq!((ask(&gateway), ready()), (200, 200));
    }
    endpoint.silent.store(true, Ordering::SeqCst);
    is("it is out", "unhealthy");
    endpoint.silent.store(false, Ordering::SeqCst);
    is("it is back", "up");
    // Busy is not dead.
    *endpoint.answer.lock().unwrap() = "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n";
    while endpoint.probes.try_recv().is_ok() {}
    (0..4).for_each(|_| drop(endpoint.probes.recv_timeout(PATIENCE).unwrap()));
    assert_eq!(state(&gateway, &url), (true, "up".into()));
    let probe = endpoint.probes.recv_timeout(PATIENCE).unwrap();
    assert!(
        probe.contains("user-agent: corelane-probe\r\n") && probe.contains("connection: close\r\n"),
        "{probe}"
    );
    let stats: Value = gateway.endpoint(&url);
    assert_eq!((&stats["requests"], &stats["faults"]), (&4.into(), &0.into()), "probes are not counted");
}

#[test]
fn an_engine_says_where_it_is_asked_unless_a_path_is_written() {
    for (engine, keys, asked) in [
        ("vllm", "", "/health"),
        ("triton", "", "/v2/health/ready"),
        ("ollama", "", "/"),
        ("vllm", "path = \"/other\", ", "/other"),
    ] {
        let upstream = Upstream::start();
        let keys = format!("engine = \"{engine}\"\nhealth = {{ {keys}interval = \"100ms\" }}");
        let _gateway = gateway(&[&format!("{}/base", upstream.url())], &keys);
        let line = upstream.accept().read_until("\r\n");
        assert_eq!(line, format!("GET /base{asked} HTTP/1.1\r\n"), "{engine}");
    }
    // It turns nothing on.
    let upstream = Upstream::start();
    let gateway = gateway(&[&upstream.url()], "engine = \"vllm\"\nbalance = \"random\"");
    gateway.until("it runs", |stats| stats["endpoints"]["up"][upstream.url()]["state"] == "up");
    assert!(!upstream.has_waiting());
}

#[test]
fn a_request_that_succeeds_outweighs_failed_probes_and_one_lane_asks_for_all() {
    let endpoint = probed();
    endpoint.silent.store(true, Ordering::SeqCst);
    let url = format!("{}/base", endpoint.url);
    let keys =
        "health = { path = \"/healthz\", interval = \"100ms\", timeout = \"100ms\", unhealthy_after = 4 }";
    let gateway = gateway(&[&url], keys);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(ask(&gateway), 200, "it serves, however busy it is");
        std::thread::sleep(Duration::from_millis(20));
    }
    let probes = endpoint.probes.try_iter().count();
    assert!((5..=21).contains(&probes), "{probes} probes in 2 s");
    gateway.until("nobody asks any more", |stats| stats["endpoints"]["up"][&url]["state"] == "unhealthy");
}

#[test]
fn a_probe_that_is_under_way_holds_up_no_end_and_says_nothing_once_it_is_not_wanted_any_more() {
    let upstream = Upstream::start();
    let config =
        |keys: &str| one_cluster(&[&upstream.url()]).replace("[[route]]", &format!("{keys}\n[[route]]"));
    let probed = |timeout: &str| {
        config(&format!("health = {{ path = \"/healthz\", timeout = \"{timeout}\", unhealthy_after = 1 }}"))
    };
    let mut gateway = Gateway::start(&probed("1s"));
    let mut silent = upstream.accept();
    silent.read_until("\r\n\r\n");
    std::fs::write(&gateway.config, config("")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    silent.wait_for_end();
    assert_eq!(state(&gateway, &upstream.url()), (true, "up".into()), "nobody would ever bring it back");
    std::fs::write(&gateway.config, probed("60s")).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    let mut silent = upstream.accept();
    silent.read_until("\r\n\r\n");
    let begun = Instant::now();
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
}
