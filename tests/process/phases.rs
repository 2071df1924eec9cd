//! A pause shows in its phase, and in no other: in the flight recorder, in `server-timing` and in the metrics. That it does in
//! spans is shown where those are.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::seen::{PAUSE, SHOWN_US, config, endpoint, get, slow, start};
use crate::support::{Gateway, Upstream};

const PHASES: [&str; 7] = ["head_us", "hold_us", "queue_us", "connect_us", "send_us", "wait_us", "relay_us"];

/// A listener on which nobody has room for a connection for a while: who connects there waits for about a second.
fn reluctant() -> (String, std::thread::JoinHandle<()>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    // They take what room there is, until they are accepted.
    let others: Vec<_> = (0..4)
        .map(|_| {
            let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            other.set_nonblocking(true).unwrap();
            let _ = other.connect(&address.into());
            other
        })
        .collect();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(others);
        loop {
            let Ok((accepted, _)) = socket.accept() else { return };
            let mut peer = crate::support::Peer::new(accepted.into());
            if let Some(request) = peer.try_request() {
                assert!(request.starts_with("GET "), "{request}");
                peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 33\r\n\r\ndata: one\n\ndata: two\n\ndata: xxx\n\n");
                return;
            }
        }
    });
    (format!("http://{address}"), thread)
}

/// Of what `server-timing` says one figure, in milliseconds.
fn timing(answer: &str, name: &str) -> f64 {
    let field = answer.lines().find_map(|line| line.strip_prefix("server-timing: ")).unwrap();
    let begins = format!("{name};dur=");
    field.split(", ").find_map(|part| part.strip_prefix(&begins)).unwrap().parse().unwrap()
}

/// Histograms of a route and of an endpoint, by what they show.
const HISTOGRAMS: [&str; 9] = [
    "request_duration",
    "overhead",
    "queue_wait",
    "ttft",
    "itl",
    "endpoint_request_duration",
    "endpoint_connect",
    "endpoint_ttft",
    "endpoint_itl",
];

/// How many took as long as a pause, by histogram.
fn drawn_out(gateway: &Gateway) -> BTreeMap<&'static str, u64> {
    let metrics = gateway.admin("GET", "/metrics").1;
    let past = |name: &str| {
        let begins = format!("corelane_{name}_seconds_bucket{{");
        let (mut quick, mut all) = (0, 0);
        for line in metrics.lines().filter(|line| line.starts_with(&begins)) {
            let (labels, count) = line.rsplit_once(' ').unwrap();
            let count: u64 = count.parse().unwrap();
            let bound = labels.split_once("le=\"").unwrap().1.split('"').next().unwrap();
            if !labels.contains("\"all\"") && !labels.contains("\"up\"") {
                continue;
            }
            match bound {
                "+Inf" => all = count,
                bound if bound.parse::<f64>().unwrap() * 1e6 <= SHOWN_US as f64 => quick = count,
                _ => {}
            }
        }
        all - quick
    };
    HISTOGRAMS.map(|name| (name, past(name))).into()
}

/// Where one more shows than `before`.
fn shown(gateway: &Gateway, before: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    let now = drawn_out(gateway);
    HISTOGRAMS.into_iter().filter(|name| now[name] == before[name] + 1).collect()
}

#[test]
fn a_connection_that_takes_long_shows_as_that_everywhere() {
    let (url, thread) = reluctant();
    let gateway = start(&config(&url, "[observe]\nserver_timing = true\n"));
    let before = drawn_out(&gateway);
    let answer = get(&gateway, "/plain");
    assert!(answer.contains("data: two"), "{answer}");
    thread.join().unwrap();
    gateway.until("it is counted", |stats| stats["routes"]["all"]["in_flight"] == 0);
    let everywhere =
        ["request_duration", "ttft", "endpoint_request_duration", "endpoint_connect", "endpoint_ttft"];
    assert_eq!(shown(&gateway, &before), everywhere);
    assert!(timing(&answer, "connect") >= 200.0 && timing(&answer, "up") >= 200.0, "{answer}");
    assert!(timing(&answer, "gw") < 200.0 && timing(&answer, "queue") == 0.0, "{answer}");
    let told = slow(&gateway, "?limit=1").remove(0);
    for known in PHASES {
        assert_eq!(told[known].as_u64().unwrap() >= 200_000, known == "connect_us", "{known}: {told}");
    }
    assert!(told["ttft_us"].as_u64().unwrap() >= 200_000, "{told}");
}

#[test]
fn a_pause_shows_in_its_phase_and_in_no_other() {
    let url = endpoint();
    let observe = "[observe]\nserver_timing = true\n";
    let gateway = start(&config(&url, observe));
    for (path, phase) in [("/plain", ""), ("/wait", "wait_us"), ("/first", "relay_us"), ("/gap", "relay_us")]
    {
        let before = drawn_out(&gateway);
        let answer = get(&gateway, path);
        assert!(answer.contains("data: two"));
        // What was over when the head left: the rest of it comes later.
        let head = timing(&answer, "head") * 1000.0 >= SHOWN_US as f64;
        assert!(head == (path == "/wait") || phase.is_empty(), "{path}: {answer}");
        assert!(timing(&answer, "gw") * 1000.0 < SHOWN_US as f64 || phase.is_empty(), "{path}: {answer}");
        gateway.until("it is counted", |stats| stats["routes"]["all"]["in_flight"] == 0);
        let everywhere: &[&str] = match path {
            "/plain" => &[],
            "/gap" => &["request_duration", "itl", "endpoint_request_duration", "endpoint_itl"],
            _ => &["request_duration", "ttft", "endpoint_request_duration", "endpoint_ttft"],
        };
        assert!(
            phase.is_empty() || shown(&gateway, &before) == everywhere,
            "{path}: {before:?} {:?}",
            drawn_out(&gateway)
        );
        let exchanges = slow(&gateway, "?limit=1");
        let told = &exchanges[0];
        for known in PHASES {
            let us = told[known].as_u64().unwrap();
            // The machine may pause whatever it likes: the sum tells whether it did.
            let is_drawn_out = us >= SHOWN_US;
            assert!(is_drawn_out == (known == phase) || phase.is_empty(), "{path} {known}: {told}");
        }
        let first = told["ttft_us"].as_u64().unwrap() >= SHOWN_US;
        assert!(first == matches!(path, "/wait" | "/first") || phase.is_empty(), "{path}: {told}");
        let gap = told["itl_max_us"].as_u64().unwrap() >= SHOWN_US;
        assert!(gap == (path == "/gap") || phase.is_empty(), "{path}: {told}");
        let parts: u64 = PHASES.iter().map(|phase| told[*phase].as_u64().unwrap()).sum();
        assert!(parts <= told["T_us"].as_u64().unwrap(), "{told}");
        // What follows is looked for among those that come then.
        std::fs::write(&gateway.config, config(&url, "[observe]\nrecorder = 0\n")).unwrap();
        assert_eq!(gateway.admin("POST", "/reload").0, 200);
        std::fs::write(&gateway.config, config(&url, observe)).unwrap();
        assert_eq!(gateway.admin("POST", "/reload").0, 200);
    }
    // A head that comes in two parts, and a body that does.
    let before = drawn_out(&gateway);
    let mut client = gateway.connect();
    client.send("POST /plain HTTP/1.1\r\nhost: x\r\n");
    std::thread::sleep(PAUSE);
    client.send("content-length: 4\r\n\r\nbo");
    std::thread::sleep(PAUSE);
    client.send("dy");
    client.read_until("data: xxx\n\n");
    gateway.until("it is counted", |stats| stats["routes"]["all"]["in_flight"] == 0);
    let told = slow(&gateway, "?limit=1").remove(0);
    let of = |name: &str| told[name].as_u64().unwrap();
    assert!(of("head_us") >= SHOWN_US && of("send_us") + of("hold_us") >= SHOWN_US, "{told}");
    assert!(of("wait_us") < SHOWN_US && of("relay_us") < SHOWN_US && of("queue_us") == 0, "{told}");
    // The first token is counted from the end of the head on.
    let everywhere = ["request_duration", "ttft", "endpoint_request_duration", "endpoint_ttft"];
    assert_eq!(shown(&gateway, &before), everywhere);
}

const ANSWER: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 11\r\n\r\ndata: one\n\n";

#[test]
fn a_wait_for_a_place_shows_as_that_everywhere() {
    let upstream = Upstream::start();
    let endpoint = format!("{{ url = {:?}, max_in_flight = 1 }}", upstream.url());
    let config = format!(
        "[observe]\nserver_timing = true\n[cluster.up]\nendpoints = [{endpoint}]\nqueue = {{ max = 9 }}\n\
         [[route]]\nname = \"all\"\nto = \"up\"\n"
    );
    let gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    let (mut first, mut second) = (gateway.connect(), gateway.connect());
    first.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut up = upstream.accept();
    up.read_message();
    second.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    gateway.until("it waits", |stats| stats["endpoints"]["up"][upstream.url()]["queued"] == 1);
    std::thread::sleep(PAUSE);
    up.send(ANSWER);
    first.read_message();
    gateway.until("it is counted", |stats| stats["routes"]["all"]["in_flight"] == 1);
    let before = drawn_out(&gateway);
    up.read_message();
    up.send(ANSWER);
    let told = second.read_message();
    assert!(timing(&told, "queue") * 1000.0 >= SHOWN_US as f64 && timing(&told, "up") < 55.0, "{told}");
    gateway.until("it is counted", |stats| stats["routes"]["all"]["in_flight"] == 0);
    let everywhere = ["request_duration", "queue_wait", "ttft", "endpoint_request_duration", "endpoint_ttft"];
    assert_eq!(shown(&gateway, &before), everywhere);
    let exchanges = slow(&gateway, "");
    let of_second = exchanges.iter().find(|one| one["queue_us"].as_u64().unwrap() > 0).unwrap();
    for known in PHASES {
        assert_eq!(
            of_second[known].as_u64().unwrap() >= SHOWN_US,
            known == "queue_us",
            "{known}: {of_second}"
        );
    }
}

#[test]
fn what_several_in_one_wait_for_is_no_time_of_the_gateway() {
    let url = endpoint();
    let gateway = start(&format!(
        "[cluster.up]\nendpoints = [{url:?}]\n[[route]]\nname = \"multi\"\nmatch = {{ path = \"/multi\" }}\nmulti = {{ max = 4 }}\n\
         [[route]]\nname = \"all\"\nto = \"up\"\n"
    ));
    let body = r#"[{"method":"GET","path":"/wait"},{"method":"GET","path":"/plain"}]"#;
    let length = body.len();
    let answer = gateway.exchange(&format!(
        "POST /multi HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    ));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    gateway.until("they are counted", |stats| stats["all"]["requests"] == 3);
    let stats = gateway.stats();
    let of = |figure: &str| stats["routes"]["multi"][figure]["max"].as_u64().unwrap();
    assert!(of("T_us") >= SHOWN_US && of("overhead_us") < SHOWN_US, "{stats}");
    let told = slow(&gateway, "?route=multi").remove(0);
    for known in PHASES {
        assert_eq!(told[known].as_u64().unwrap() >= SHOWN_US, known == "relay_us", "{known}: {told}");
    }
}

#[test]
fn who_leaves_in_a_phase_leaves_its_time_there() {
    let upstream = Upstream::start();
    let endpoint = format!("{{ url = {:?}, max_in_flight = 1 }}", upstream.url());
    let config = format!(
        "[cluster.up]\nendpoints = [{endpoint}]\nqueue = {{ max = 9 }}\n\
         [[route]]\nname = \"held\"\nmatch = {{ path = \"/held\" }}\nto = \"up\"\nset = {{ body = {{ x = 1 }} }}\n\
         [[route]]\nname = \"all\"\nto = \"up\"\n"
    );
    let gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    let mut count = 0;
    let mut left = |phase: &str| {
        count += 1;
        gateway.until("it is counted", |stats| stats["all"]["requests"] == count);
        let told = slow(&gateway, "").into_iter().find(|told| told[phase].as_u64().unwrap() >= SHOWN_US);
        let told = told.unwrap_or_else(|| panic!("{phase}: {:?}", slow(&gateway, "")));
        assert_eq!(told["status"], 499, "{told}");
        for known in PHASES {
            assert_eq!(told[known].as_u64().unwrap() >= SHOWN_US, known == phase, "{phase} {known}: {told}");
        }
        let overhead = gateway.stats()["all"]["overhead_us"]["max"].as_u64().unwrap();
        assert!(overhead < SHOWN_US, "{phase}: {overhead}");
    };
    // Before the rest of a body that is changed, and before the rest of one that is passed on.
    let mut client = gateway.connect();
    client.send("POST /held HTTP/1.1\r\nhost: x\r\ncontent-length: 30\r\n\r\n{\"model\":");
    std::thread::sleep(PAUSE);
    drop(client);
    left("hold_us");
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf");
    let mut up = upstream.accept();
    up.read_until("half");
    std::thread::sleep(PAUSE);
    drop(client);
    left("send_us");
    // Before the head of an answer, with another one that waits for the place, and inside the body.
    let mut first = gateway.connect();
    first.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut up = upstream.accept();
    up.read_message();
    let mut second = gateway.connect();
    second.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    gateway.until("it waits", |stats| stats["endpoints"]["up"][upstream.url()]["queued"] == 1);
    std::thread::sleep(PAUSE);
    drop(second);
    left("queue_us");
    drop(first);
    left("wait_us");
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut up = upstream.accept();
    up.read_message();
    up.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
    client.read_until("half");
    std::thread::sleep(PAUSE);
    drop(client);
    left("relay_us");
}

/// What sums to more than its T, or leaves much of it unexplained, or was the gateway's own.
fn judge(gateway: &Gateway, case: &str) {
    for told in slow(gateway, "") {
        let parts: u64 = PHASES.iter().map(|phase| told[*phase].as_u64().unwrap()).sum();
        let total = told["T_us"].as_u64().unwrap();
        assert!(parts <= total, "{case}: {told}");
        assert!(total - parts < SHOWN_US, "{case}: {told}");
    }
    let overhead = gateway.stats()["all"]["overhead_us"]["max"].as_u64().unwrap();
    assert!(overhead < SHOWN_US, "{case}: {overhead}");
}

#[test]
fn where_the_time_went_is_told_of_exchanges_of_many_ends() {
    let start = |rules: &str| Gateway::start_with(rules, &["--listen", "127.0.0.1:0", "--lanes", "1"]);
    let route = "[[route]]\nname = \"all\"\nto = \"up\"\n";
    // An answer is set aside for a fallback that breaks off.
    let (one, other) = (Upstream::start(), Upstream::start());
    let gateway = start(&format!(
        "[cluster.up]\nendpoints = [{:?}]\n[cluster.other]\nendpoints = [{:?}]\n\
         [[route]]\nname = \"all\"\nto = \"up\"\nfallback = [\"other\"]\n",
        one.url(),
        other.url()
    ));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut up = one.accept();
    up.read_message();
    std::thread::sleep(PAUSE);
    up.send("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n");
    let mut up = other.accept();
    up.read_message();
    std::thread::sleep(PAUSE);
    drop(up);
    client.read_message();
    gateway.until("it is counted", |stats| stats["all"]["requests"] == 1);
    judge(&gateway, "a fallback that breaks off");
    // A leg of a race breaks off behind its head, the only one there is.
    let up = Upstream::start();
    let gateway = start(&format!(
        "[cluster.up]\nendpoints = [{:?}]\n[[route]]\nname = \"all\"\nfanout = {{ to = [\"up\"], gather = \"first\" }}\n",
        up.url()
    ));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut leg = up.accept();
    leg.read_message();
    leg.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    std::thread::sleep(PAUSE);
    drop(leg);
    client.read_message();
    gateway.until("it is counted", |stats| stats["all"]["requests"] == 1);
    judge(&gateway, "a leg that breaks off");
    // A tunnel.
    let up = Upstream::start();
    let gateway = start(&format!("[cluster.up]\nendpoints = [{:?}]\n{route}", up.url()));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    let mut peer = up.accept();
    peer.read_until("\r\n\r\n");
    peer.send("HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    client.read_until("\r\n\r\n");
    std::thread::sleep(PAUSE);
    drop((client, peer));
    gateway.until("it is counted", |stats| stats["all"]["requests"] == 1);
    judge(&gateway, "a tunnel");
    // A client that leaves an upload which is held, of which each part came after a while.
    let gateway =
        start(&format!("[cluster.up]\nendpoints = [{:?}]\nsingle_flight = true\n{route}", up.url()));
    let mut client = gateway.connect();
    client.send("POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n");
    for _ in 0..3 {
        std::thread::sleep(PAUSE);
        client.send("{");
    }
    std::thread::sleep(PAUSE);
    drop(client);
    gateway.until("it is counted", |stats| stats["all"]["requests"] == 1);
    judge(&gateway, "an upload that is left");
    // A service that is asked takes its time, and an endpoint takes the rest of an upload behind its answer.
    let (service, up) = (Upstream::start(), Upstream::start());
    let ask = format!("[filter.gate]\nkind = \"ask\"\nurl = {:?}\n", service.url());
    let gateway =
        start(&format!("{ask}[cluster.up]\nendpoints = [{:?}]\n{route}filters = [\"gate\"]\n", up.url()));
    let mut client = gateway.connect();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut asked = service.accept();
    asked.read_message();
    std::thread::sleep(PAUSE);
    asked.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let mut peer = up.accept();
    peer.read_message();
    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    client.read_message();
    gateway.until("it is counted", |stats| stats["all"]["requests"] == 1);
    let told = slow(&gateway, "").remove(0);
    for known in PHASES {
        // It is kept here for the filter, and that is nobody's time but ours.
        assert_eq!(told[known].as_u64().unwrap() >= SHOWN_US, known == "hold_us", "{known}: {told}");
    }
}
