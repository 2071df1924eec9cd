//! What engines say of their own load: it weighs in a pick, fades, and never costs a request.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::listing::Sim;
use crate::support::{After, Gateway, PATIENCE, Peer, Upstream};

/// What an engine does when its metrics are asked for.
#[derive(Debug, Clone)]
enum Shows {
    Text(String),
    Nothing,
    Reset,
}

/// An engine that answers with its name, and shows its metrics as it is told to.
struct Engine {
    name: &'static str,
    url: String,
    shows: Arc<Mutex<Shows>>,
    /// How it was asked for them, and when.
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// vLLM's metrics of an engine that is pressed so much.
fn waiting(count: u32) -> Shows {
    let text = format!(
        "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{engine=\"0\"}} 8.0\nvllm:num_requests_waiting{{engine=\"0\"}} {count}.0\n"
    );
    Shows::Text(answer(&text))
}

impl Engine {
    fn start(name: &'static str) -> Self {
        let (shows, asked) = (Arc::new(Mutex::new(waiting(0))), Arc::<Mutex<Vec<_>>>::default());
        let (says, log) = (Arc::clone(&shows), Arc::clone(&asked));
        let url = Upstream::start().play(move |peer, request| {
            if !request.starts_with("GET /metrics ") {
                peer.send(answer(name));
                return After::GoOn;
            }
            log.lock().unwrap().push((request, Instant::now()));
            match says.lock().unwrap().clone() {
                Shows::Text(text) => peer.send(text),
                Shows::Nothing => {}
                Shows::Reset => return After::Reset,
            }
            After::GoOn
        });
        Self { name, url, shows, asked }
    }

    fn show(&self, shows: Shows) {
        *self.shows.lock().unwrap() = shows;
    }
}

fn gateway(engines: &[&Engine], keys: &str) -> Gateway {
    let urls: Vec<_> = engines.iter().map(|engine| &engine.url).collect();
    Gateway::start(&format!(
        "[cluster.up]\nendpoints = {urls:?}\n{keys}\n[[route]]\nname = \"all\"\nto = \"up\"\n"
    ))
}

/// Who answers one request; each must be answered well, whatever metrics say.
fn ask(client: &mut Peer) -> String {
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}");
    let text = client.read_message();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Asks until so many in a row are answered by those.
fn until(client: &mut Peer, what: &str, names: &[&str]) {
    let begun = Instant::now();
    let mut row = Vec::new();
    // With two engines at ease one of them answers thirty in a row once in a billion.
    while row.len() < 30 || !names.iter().all(|name| row.iter().any(|answered| answered == name)) {
        let answered = ask(client);
        match names.contains(&&answered[..]) {
            true => row.push(answered),
            false => row.clear(),
        }
        assert!(begun.elapsed() < PATIENCE, "never came: {what}");
    }
}

#[test]
fn who_is_pressed_by_its_own_word_is_passed_by_until_that_is_old_and_no_request_is_lost() {
    let (one, two) = (Engine::start("one"), Engine::start("two"));
    let gateway = gateway(&[&one, &two], "engine = \"vllm\"\nauth = { bearer = \"secret\" }");
    let mut client = gateway.connect();
    until(&mut client, "both are asked", &["one", "two"]);
    let not_found = Shows::Text("HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n".to_owned());
    for then in [
        Shows::Nothing,
        Shows::Reset,
        not_found,
        Shows::Text(answer("<html>vllm:num_requests_waiting 9</html>")),
        Shows::Text("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nvllm:num_requests_waiting 9\n".to_owned()),
        waiting(0),
    ] {
        one.show(waiting(9));
        until(&mut client, &format!("the other one is asked, before {then:?}"), &["two"]);
        one.show(then.clone());
        until(&mut client, &format!("both are asked again, with {then:?}"), &["one", "two"]);
    }
    let (request, _) = one.asked.lock().unwrap()[0].clone();
    assert!(request.starts_with("GET /metrics HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer secret\r\n"), "{request}");
    let stats = gateway.stats();
    for engine in [&one, &two] {
        let shown = &stats["endpoints"]["up"][&engine.url];
        assert_eq!((&shown["faults"], &shown["state"]), (&0.into(), &"up".into()), "{}", engine.name);
    }
}

#[test]
fn all_that_are_pressed_are_asked_as_if_none_were() {
    let (one, two) = (Engine::start("one"), Engine::start("two"));
    let full = "vllm:num_requests_waiting 1000000\nvllm:num_requests_running 0\nvllm:kv_cache_usage_perc 1\n";
    one.show(Shows::Text(answer(full)));
    two.show(Shows::Text(answer(full)));
    let gateway = gateway(&[&one, &two], "engine = \"vllm\"");
    let begun = Instant::now();
    while [&one, &two].iter().any(|engine| engine.asked.lock().unwrap().len() < 3) {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    until(&mut gateway.connect(), "both are asked", &["one", "two"]);
    // Each second, and not more often.
    let asked = one.asked.lock().unwrap().clone();
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(pauses.iter().all(|pause| *pause > Duration::from_millis(500)), "{pauses:?}");
}

#[test]
fn nobody_is_asked_where_it_would_count_for_nothing() {
    let engines = ["one", "two", "three", "four", "five", "six"].map(Engine::start);
    let [one, two, three, four, five, six] = &engines;
    let cluster = |name: &str, engines: &[&Engine], keys: &str| {
        let urls: Vec<_> = engines.iter().map(|engine| &engine.url).collect();
        format!("[cluster.{name}]\nendpoints = {urls:?}\n{keys}\n")
    };
    let gateway = Gateway::start(
        &(cluster("random", &[one, two], "engine = \"vllm\"\nbalance = \"random\"")
            + &cluster("alone", &[three], "engine = \"vllm\"")
            + &cluster("tei", &[four, five], "engine = \"tei\"")
            + &cluster("plain", &[three, four], "")
            + &cluster("asked", &[five, six], "engine = \"vllm\"")
            + "[[route]]\nto = [\"random\", \"alone\", \"tei\", \"plain\", \"asked\"]\n"),
    );
    let begun = Instant::now();
    // Where others were asked three times, these would have been.
    while six.asked.lock().unwrap().len() < 3 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    for engine in [one, two, three, four] {
        assert!(engine.asked.lock().unwrap().is_empty(), "{}", engine.name);
    }
    drop(gateway);
}

#[test]
fn a_simulated_server_with_a_queue_is_passed_by() {
    let busy = Sim::start_with(
        "127.0.0.1:0",
        &["--models", "busy", "--slots", "1", "--tokens", "100000", "--itl", "50ms"],
    );
    let idle = Sim::start_with("127.0.0.1:0", &["--models", "idle"]);
    let urls = [&busy, &idle].map(|sim| format!("http://{}", sim.address));
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nengine = \"vllm\"\nendpoints = {urls:?}\n[[route]]\nto = \"up\"\n"
    ));
    let generate = "{\"model\":\"busy\",\"prompt\":\"x\",\"stream\":true}";
    // Others load it, past this gateway: one generation runs, two wait.
    let _others: Vec<_> = (0..3)
        .map(|_| {
            let mut peer = Peer::new(std::net::TcpStream::connect(&busy.address).unwrap());
            peer.send(format!(
                "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{generate}",
                generate.len()
            ));
            peer
        })
        .collect();
    let mut client = gateway.connect();
    let (begun, mut row) = (Instant::now(), 0);
    while row < 30 {
        client.send("GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n");
        row = if client.read_message().contains("\"idle\"") { row + 1 } else { 0 };
        assert!(begun.elapsed() < PATIENCE, "it is asked all the same");
    }
}

#[test]
fn triton_shows_its_metrics_at_a_port_of_their_own_where_no_credential_goes() {
    // An address of this test alone, for the port is the same everywhere.
    let number = std::process::id();
    let host = format!("127.{}.{}.8", 64 + (number >> 8) % 64, number % 256);
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = Arc::clone(&asked);
    let metrics = Upstream { listener: TcpListener::bind((&host[..], 8002)).unwrap() };
    metrics.play(move |peer, request| {
        log.lock().unwrap().push(request);
        peer.send(answer("nv_inference_pending_request_count{model=\"a\"} 9\n"));
        After::GoOn
    });
    let pressed = Upstream { listener: TcpListener::bind((&host[..], 0)).unwrap() };
    let pressed = pressed.play(|peer, _| {
        peer.send(answer("pressed"));
        After::GoOn
    });
    let two = Engine::start("two");
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nengine = \"triton\"\nendpoints = [\"{pressed}/base\", {:?}]\nauth = {{ bearer = \"secret\" }}\n[[route]]\nto = \"up\"\n",
        two.url
    ));
    until(&mut gateway.connect(), "the other one is asked", &["two"]);
    let request = asked.lock().unwrap()[0].clone();
    assert!(request.starts_with(&format!("GET /metrics HTTP/1.1\r\nhost: {host}:8002\r\n")), "{request}");
    assert!(!request.contains("secret"), "{request}");
}

#[test]
fn metrics_that_are_not_there_are_told_once() {
    let (one, two) = (Engine::start("one"), Engine::start("two"));
    one.show(Shows::Text("HTTP/1.1 501 X\r\ncontent-length: 0\r\n\r\n".to_owned()));
    let mut gateway = gateway(&[&one, &two], "engine = \"vllm\"");
    assert_eq!(gateway.next_line(), format!("the metrics of {} cannot be read", one.url));
    assert_eq!(gateway.next_line(), "why: it answered /metrics with 501");
    assert!(gateway.next_line().starts_with("fix: "));
    let begun = Instant::now();
    while one.asked.lock().unwrap().len() < 3 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining", "it was told again");
}

#[test]
fn what_an_answer_says_of_load_weighs_and_fades() {
    let says = Arc::new(Mutex::new("TEXT named_metrics.num_requests_waiting=90".to_owned()));
    let told = Arc::clone(&says);
    let play = |name: &'static str, load: Option<Arc<Mutex<String>>>| {
        Upstream::start().play(move |peer, request| {
            if request.starts_with("GET /metrics ") {
                peer.send("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
                return After::GoOn;
            }
            let load =
                load.as_ref().map(|load| format!("endpoint-load-metrics: {}\r\n", load.lock().unwrap()));
            let load = load.unwrap_or_default();
            peer.send(format!("HTTP/1.1 200 OK\r\n{load}content-length: {}\r\n\r\n{name}", name.len()));
            After::GoOn
        })
    };
    let (pressed, idle) = (play("pressed", Some(told)), play("idle", None));
    let config = |engine: &str| {
        format!(
            "[cluster.up]\n{engine}endpoints = [{pressed:?}, {idle:?}]\n[[route]]\nname = \"all\"\nto = \"up\"\n"
        )
    };
    let share = |gateway: &Gateway| {
        let mut client = gateway.connect();
        let asked = (0..60).filter(|_| {
            client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
            client.read_message().ends_with("pressed")
        });
        asked.count()
    };
    let gateway =
        Gateway::start_with(&config("engine = \"vllm\"\n"), &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    // Once it said so it is passed over while the other one has room.
    assert!(share(&gateway) <= 1);
    std::thread::sleep(Duration::from_millis(3200));
    *says.lock().unwrap() = "JSON {\"named_metrics\":{\"num_requests_waiting\":0}}".to_owned();
    let at_ease = share(&gateway);
    assert!((10..=50).contains(&at_ease), "it fades, and at ease it has its part: {at_ease}");
    // Where no engine is named nobody looks.
    *says.lock().unwrap() = "TEXT named_metrics.num_requests_waiting=90".to_owned();
    let gateway = Gateway::start_with(&config(""), &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    let unnamed = share(&gateway);
    assert!((10..=50).contains(&unnamed), "{unnamed}");
}
