//! Endpoints that say which models they serve: who is asked for which, and what follows where that changes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{After, Gateway, OK, PATIENCE, Peer, Place, Upstream, io};

/// An engine that says its name to whoever asks for a completion, and lists what it is told to.
pub struct Engine {
    pub name: &'static str,
    pub url: String,
    /// Its list; none while it does not answer.
    pub list: Arc<Mutex<Option<String>>>,
    /// Whether it refuses all else.
    is_busy: Arc<Mutex<bool>>,
    /// How it was asked for its list.
    pub asked: Arc<Mutex<Vec<String>>>,
}

/// A list as most engines write it.
pub fn list_of(models: &[&str]) -> String {
    let model = |id: &&str| format!(r#"{{"id":{id:?},"object":"model","created":7,"owned_by":"them"}}"#);
    format!(r#"{{"object":"list","data":[{}]}}"#, models.iter().map(model).collect::<Vec<_>>().join(","))
}

const LISTS: [&str; 3] = ["/v1/models ", "/api/tags ", "/v2/repository/index "];

impl Engine {
    pub fn start(name: &'static str, list: impl Into<Option<String>>) -> Self {
        let list = Arc::new(Mutex::new(list.into()));
        let (is_busy, asked) = (Arc::<Mutex<bool>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (tells, is_so, seen) = (Arc::clone(&list), Arc::clone(&is_busy), Arc::clone(&asked));
        let url = Upstream::start().play(move |peer, request| {
            let target = request.split_once(' ').map_or("", |(_, rest)| rest);
            let is_list = LISTS.iter().any(|path| target.starts_with(path))
                && request.contains("user-agent: corelane\r\n");
            if is_list {
                seen.lock().unwrap().push(request);
                if let Some(list) = tells.lock().unwrap().as_deref() {
                    peer.send(answer(list));
                }
                return After::GoOn;
            }
            match *is_so.lock().unwrap() {
                true => peer.send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"),
                false => peer.send(answer(name)),
            }
            After::GoOn
        });
        Self { name, url, list, is_busy, asked }
    }

    pub fn serving(name: &'static str, models: &[&str]) -> Self {
        Self::start(name, list_of(models))
    }

    pub fn lists(&self, models: &[&str]) {
        *self.list.lock().unwrap() = Some(list_of(models));
    }
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// A cluster of these engines that asks those that list a model.
fn cluster(name: &str, engines: &[&Engine], keys: &str) -> String {
    let urls: Vec<_> = engines.iter().map(|engine| &engine.url).collect();
    format!("[cluster.{name}]\nendpoints = {urls:?}\nbalance = \"random\"\ndiscover = \"models\"\n{keys}\n")
}

const ALL: &str = "[[route]]\nname = \"all\"\nto = \"up\"\n";

/// Status, and who answered, or the code of the refusal.
fn ask_with(gateway: &Gateway, fields: &str, body: &str) -> (u16, String) {
    let mut client = gateway.connect();
    client.send(format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{fields}content-length: {}\r\n\r\n{body}",
        body.len()
    ));
    told(&mut client)
}

fn told(client: &mut Peer) -> (u16, String) {
    let text = client.read_message();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let code = json["error"]["code"].as_str().unwrap_or(body);
    (head[9..12].parse().unwrap(), code.to_owned())
}

fn ask(gateway: &Gateway, model: &str) -> (u16, String) {
    ask_with(gateway, "", &format!(r#"{{"messages":[],"model":{model:?}}}"#))
}

/// Asks until the answer is this.
fn until(gateway: &Gateway, model: &str, expected: (u16, &str)) {
    let begun = Instant::now();
    loop {
        let told = ask(gateway, model);
        if (told.0, &told.1[..]) == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{model}: never {expected:?} but {told:?}");
    }
}

/// Waits until each engine was read.
fn read(gateway: &Gateway, engines: &[(&Engine, &str)]) {
    for (engine, model) in engines {
        until(gateway, model, (200, engine.name));
    }
}

/// Who answers, over many requests.
fn who(ask: impl Fn() -> (u16, String)) -> BTreeSet<String> {
    let answered = |_| {
        let (status, name) = ask();
        assert_eq!(status, 200, "{name}");
        name
    };
    (0..40).map(answered).collect()
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|name| (*name).to_owned()).collect()
}

fn not_found() -> (u16, String) {
    (404, "model_not_found".to_owned())
}

#[test]
fn only_those_are_asked_that_list_the_model() {
    let engines = [
        Engine::serving("one", &["a", "b", "only-one"]),
        Engine::serving("two", &["b", "only-two"]),
        Engine::serving("three", &["c"]),
    ];
    let [one, two, three] = &engines;
    let route = "[[route]]\nname = \"path\"\nmatch = { path = \"/v2/models/{model}/infer\" }\nto = \"up\"\n";
    let gateway =
        Gateway::start(&(cluster("up", &[one, two, three], "auth = { bearer = \"secret\" }") + ALL + route));
    read(&gateway, &[(one, "only-one"), (two, "only-two"), (three, "c")]);
    assert_eq!(who(|| ask(&gateway, "a")), names(&["one"]));
    assert_eq!(who(|| ask(&gateway, "b")), names(&["one", "two"]));
    assert_eq!(who(|| ask(&gateway, "c")), names(&["three"]));
    assert_eq!(ask(&gateway, "d"), not_found());
    assert_eq!(ask(&gateway, "A"), not_found());
    assert_eq!(ask(&gateway, ""), not_found());
    // Wherever a request names one, and however it is written.
    for (fields, body) in [
        ("", r#"{"mod\u0065l":"c"}"#),
        ("content-type: application/x-www-form-urlencoded\r\n", "file=x&model=c"),
        (
            "content-type: multipart/form-data; boundary=XX\r\n",
            "--XX\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nc\r\n--XX--\r\n",
        ),
    ] {
        assert_eq!(who(|| ask_with(&gateway, fields, body)), names(&["three"]), "{body}");
    }
    let path = |model: &str| {
        let mut client = gateway.connect();
        client.send(format!(
            "POST /v2/models/{model}/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}"
        ));
        told(&mut client)
    };
    assert_eq!(who(|| path("a")), names(&["one"]));
    assert_eq!(path("d"), not_found());
    // Who names none may go to any.
    for body in ["", "{}", r#"{"model":null}"#, "not JSON", r#"{"nested":{"model":"a"}}"#] {
        assert_eq!(who(|| ask_with(&gateway, "", body)), names(&["one", "two", "three"]), "{body}");
    }
    // What nobody can read passes nowhere.
    for (fields, body, told) in [
        ("", r#"{"model":"a","model":"c"}"#, (400, "invalid_body")),
        ("", r#"{"model":"a""#, (400, "invalid_body")),
        ("content-encoding: gzip\r\n", r#"{"model":"a"}"#, (415, "unsupported_encoding")),
    ] {
        let (status, code) = ask_with(&gateway, fields, body);
        assert_eq!((status, &code[..]), told, "{body}");
    }
    let asked = one.asked.lock().unwrap()[0].clone();
    assert!(asked.starts_with("GET /v1/models HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("authorization: Bearer secret\r\n"), "{asked}");
}

#[test]
fn while_no_list_was_read_there_is_no_endpoint_and_a_later_list_counts() {
    let one = Engine::start("one", None);
    let gateway = Gateway::start(&(cluster("up", &[&one], "") + ALL));
    let mut client = gateway.connect();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{\"model\":\"a\"}");
    let text = client.read_message();
    assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\"code\":\"no_endpoint\""), "{text}");
    assert!(text.contains("\r\nx-should-retry: true\r\n"), "{text}");
    assert_eq!(
        ask_with(&gateway, "", "{}"),
        (200, "one".to_owned()),
        "a request without a model is not narrowed"
    );
    one.lists(&["a"]);
    until(&gateway, "a", (200, "one"));
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{\"model\":\"b\"}");
    let text = client.read_message();
    assert!(text.starts_with("HTTP/1.1 404 ") && text.contains("\"param\":\"model\""), "{text}");
    assert!(text.contains("\"type\":\"not_found_error\"") && text.contains("\r\nx-request-id: "), "{text}");
}

#[test]
fn further_tries_stay_among_those_that_list_it() {
    let engines = [
        Engine::serving("one", &["a", "only-one"]),
        Engine::serving("two", &["a", "only-two"]),
        Engine::serving("three", &["only-three"]),
    ];
    let [one, two, three] = &engines;
    let retry = "retry = { attempts = 3, on = [\"connect\", \"503\"], budget = \"100%\" }";
    let gateway = Gateway::start(&(cluster("up", &[one, two, three], retry) + ALL));
    read(&gateway, &[(one, "only-one"), (two, "only-two"), (three, "only-three")]);
    *one.is_busy.lock().unwrap() = true;
    assert_eq!(who(|| ask(&gateway, "a")), names(&["two"]));
    // Nobody else lists it: its own answer is told.
    assert_eq!(ask(&gateway, "only-one").0, 503);
    *two.is_busy.lock().unwrap() = true;
    for _ in 0..10 {
        assert_eq!(ask(&gateway, "a").0, 503);
    }
}

#[test]
fn of_several_clusters_those_are_drawn_that_serve_the_model() {
    let engines = [
        Engine::serving("one", &["a", "both"]),
        Engine::serving("two", &["b", "both"]),
        Engine::start("late", None),
    ];
    let [one, two, late] = &engines;
    let routes = "[[route]]\nname = \"two\"\nto = [{ cluster = \"a\", weight = 1000 }, \"b\"]\n\
        [[route]]\nname = \"late\"\nmatch = { header = { x-late = \"1\" } }\nto = [\"a\", \"late\"]\n\
        [[route]]\nname = \"fallback\"\nmatch = { header = { x-late = \"2\" } }\nto = \"a\"\nfallback = [\"b\"]\n\
        [[route]]\nname = \"unknown\"\nmatch = { header = { x-late = \"3\" } }\nto = \"late\"\nfallback = [\"a\"]\n";
    let gateway = Gateway::start(
        &(cluster("a", &[one], "") + &cluster("b", &[two], "") + &cluster("late", &[late], "") + routes),
    );
    read(&gateway, &[(one, "a"), (two, "b")]);
    assert_eq!(who(|| ask(&gateway, "a")), names(&["one"]));
    assert_eq!(who(|| ask(&gateway, "b")), names(&["two"]));
    assert_eq!(ask(&gateway, "c"), not_found());
    let with = |late: &str, model: &str| {
        ask_with(&gateway, &format!("x-late: {late}\r\n"), &format!(r#"{{"model":{model:?}}}"#))
    };
    // One of which nothing is known may serve it.
    assert_eq!(who(|| with("1", "a")), names(&["one"]));
    assert_eq!(with("1", "b"), (503, "no_endpoint".to_owned()));
    // Who does not serve it is passed by, and what a fallback does not serve is not missing.
    assert_eq!(who(|| with("2", "b")), names(&["two"]));
    assert_eq!(who(|| with("2", "both")), names(&["one"]));
    assert_eq!(with("2", "c"), not_found());
    assert_eq!(with("3", "a"), (200, "one".to_owned()));
    assert_eq!(with("3", "c"), (503, "no_endpoint".to_owned()), "it may be served once it is known by whom");
    *one.is_busy.lock().unwrap() = true;
    assert_eq!(with("2", "a"), (503, String::new()), "the answer that is there is told");
    assert_eq!(with("2", "both"), (200, "two".to_owned()));
    late.lists(&["c"]);
    let begun = Instant::now();
    while with("1", "c") != (200, "late".to_owned()) {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(with("1", "b"), not_found());
}

#[test]
fn a_cluster_that_does_not_ask_takes_part_as_it_is() {
    let (one, other) = (Engine::serving("one", &["a"]), Engine::start("other", None));
    let plain = format!("[cluster.plain]\nendpoints = [{:?}]\n", other.url);
    let routes = "[[route]]\nto = [\"a\", \"plain\"]\n";
    let gateway = Gateway::start(&(cluster("a", &[&one], "") + &plain + routes));
    let begun = Instant::now();
    while !who(|| ask(&gateway, "a")).contains("one") {
        assert!(begun.elapsed() < PATIENCE);
    }
    assert_eq!(who(|| ask(&gateway, "a")), names(&["one", "other"]));
    assert_eq!(who(|| ask(&gateway, "b")), names(&["other"]));
    assert!(other.asked.lock().unwrap().is_empty(), "nobody wants to know");
}

#[test]
fn lists_are_kept_through_reloads_and_silence() {
    let (one, two) = (Engine::serving("one", &["a"]), Engine::serving("two", &["b"]));
    let gateway = Gateway::start(&(cluster("up", &[&one], "") + ALL));
    read(&gateway, &[(&one, "a")]);
    *one.list.lock().unwrap() = None;
    std::fs::write(&gateway.config, cluster("up", &[&two, &one], "slow_start = \"0s\"") + ALL).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    assert_eq!(
        ask(&gateway, "a"),
        (200, "one".to_owned()),
        "it says nothing any more, and what it said holds"
    );
    until(&gateway, "b", (200, "two"));
    assert_eq!(ask(&gateway, "a"), (200, "one".to_owned()));
    assert_eq!(ask(&gateway, "c"), not_found());
    // Without the key all are asked again; with it, those who were known still are.
    let plain = (cluster("up", &[&two, &one], "") + ALL).replace("discover = \"models\"\n", "");
    for (config, told) in [(&plain, 200), (&(cluster("up", &[&one], "") + ALL), 404)] {
        std::fs::write(&gateway.config, config).unwrap();
        assert_eq!(gateway.admin("POST", "/reload").0, 200);
        assert_eq!(ask(&gateway, "c").0, told);
    }
    assert_eq!(ask(&gateway, "a"), (200, "one".to_owned()));
}

/// A simulated server of its own.
pub struct Sim {
    process: Child,
    pub address: String,
}

impl Sim {
    pub fn start(address: &str, models: &str) -> Self {
        Self::start_with(address, &["--models", models, "--ttft", "1ms", "--itl", "1ms", "--tokens", "2"])
    }

    pub fn start_with(address: &str, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_corelane"))
            .args(["sim", "--listen", address])
            .args(arguments)
            .args(["--io", &io()])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening http://").expect("it serves").to_owned();
        Self { process, address }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The status of a real completion.
pub fn complete(gateway: &Gateway, model: &str) -> u16 {
    let (status, text) = ask_with(
        gateway,
        "content-type: application/json\r\n",
        &format!(r#"{{"model":{model:?},"messages":[{{"role":"user","content":"go"}}]}}"#),
    );
    assert!(status != 200 || text.contains(&format!("\"model\":{model:?}")), "{text}");
    status
}

#[test]
fn an_endpoint_that_comes_back_with_another_list_is_asked_for_that() {
    let place = Place::keep();
    let sim = Sim::start(&place.address(), "a,both");
    let other = Sim::start("127.0.0.1:0", "b,both");
    let urls = [format!("http://{}", sim.address), format!("http://{}", other.address)];
    let gateway = Gateway::start(&format!(
        "[cluster.up]\nengine = \"vllm\"\nendpoints = {urls:?}\ndiscover = \"models\"\nejection = {{ consecutive_faults = 1000 }}\n{ALL}"
    ));
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "never came: {what}");
        }
    };
    for model in ["a", "b"] {
        until("they are read", &|| complete(&gateway, model) == 200);
    }
    assert_eq!((complete(&gateway, "both"), complete(&gateway, "c")), (200, 404));
    drop(sim);
    // Its list holds while it is away.
    until("it is away", &|| complete(&gateway, "a") == 502);
    assert_eq!((complete(&gateway, "b"), complete(&gateway, "c")), (200, 404));
    let _sim = Sim::start(&place.address(), "c");
    // The first connection that stands has its list read.
    until("it is asked for what it serves now", &|| {
        let _ = complete(&gateway, "a");
        complete(&gateway, "c") == 200
    });
    assert_eq!(complete(&gateway, "a"), 404);
}

#[test]
fn a_connection_that_is_made_has_the_list_read_before_its_time() {
    let list = Arc::new(Mutex::new((list_of(&["a"]), Vec::new())));
    let told = Arc::clone(&list);
    // Each answer ends its connection, so that each request makes one.
    let url = Upstream::start().play(move |peer, request| {
        match request.starts_with("GET /v1/models ") {
            true => {
                let mut told = told.lock().unwrap();
                told.1.push(Instant::now());
                peer.send(answer(&told.0));
            }
            false => peer.send(answer("one")),
        }
        After::Close
    });
    let gateway =
        Gateway::start(&format!("[cluster.up]\nendpoints = [{url:?}]\ndiscover = \"models\"\n{ALL}"));
    until(&gateway, "a", (200, "one"));
    list.lock().unwrap().0 = list_of(&["b"]);
    let begun = Instant::now();
    while ask_with(&gateway, "", "{}").0 == 200 && list.lock().unwrap().1.len() < 4 {
        assert!(begun.elapsed() < PATIENCE);
    }
    until(&gateway, "b", (200, "one"));
    let asked = list.lock().unwrap().1.clone();
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| *pause < Duration::from_secs(10)), "not before its time: {pauses:?}");
    assert!(
        pauses.iter().all(|pause| *pause > Duration::from_millis(500)),
        "more often than it may be: {pauses:?}"
    );
}

#[test]
fn each_engine_is_asked_in_its_own_words() {
    let tags = r#"{"models":[{"name":"llama3.2:latest","modified_at":"2023-11-04T14:56:49-07:00"},{"name":"qwen3:8b"}]}"#;
    let index = r#"[{"name":"a","version":"1","state":"READY"},{"name":"b","state":"UNAVAILABLE"}]"#;
    for (engine, list, asked, models) in [
        (
            "ollama",
            tags,
            "GET /api/tags HTTP/1.1\r\n",
            &[("llama3.2", 200), ("llama3.2:latest", 200), ("qwen3", 404)][..],
        ),
        ("triton", index, "POST /v2/repository/index HTTP/1.1\r\n", &[("a", 200), ("b", 404)]),
        ("sglang", &list_of(&["a"]), "GET /v1/models HTTP/1.1\r\n", &[("a", 200), ("b", 404)]),
    ] {
        let one = Engine::start("one", list.to_owned());
        let gateway = Gateway::start(&(cluster("up", &[&one], &format!("engine = \"{engine}\"")) + ALL));
        read(&gateway, &[(&one, models[0].0)]);
        for (model, status) in models {
            assert_eq!(ask(&gateway, model).0, *status, "{engine} {model}");
        }
        let request = one.asked.lock().unwrap()[0].clone();
        assert!(request.starts_with(asked), "{request}");
        assert!(engine != "triton" || request.ends_with("\r\n\r\n{\"ready\":true}"), "{request}");
    }
}

#[test]
fn what_is_no_list_is_told_once_and_costs_no_request_that_names_no_model() {
    let one = Engine::start("one", "<html>".to_owned());
    let mut gateway = Gateway::start(&(cluster("up", &[&one], "") + ALL));
    let line = gateway.next_line();
    assert!(line.contains(&format!("the models of {} cannot be read", one.url)), "{line}");
    assert!(gateway.next_line().contains("it is no list of models"));
    assert!(gateway.next_line().contains("fix: "));
    assert_eq!((ask_with(&gateway, "", "{}").0, ask(&gateway, "a").0), (200, 503));
    one.lists(&["a"]);
    until(&gateway, "a", (200, "one"));
    // What follows in the log is the next thing that happens: it was not told again.
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining");
}

#[test]
fn calls_for_several_and_legs_are_narrowed_as_well() {
    let (one, two) = (Engine::serving("one", &["a"]), Engine::serving("two", &["b"]));
    let batch = "batch = { protocol = \"json-array\", request = \"in\", answer = \"out\" }";
    let routes = "[[route]]\nto = \"flight\"\n[[route]]\nmatch = { header = { x-to = \"batch\" } }\nto = \"batch\"\n\
        [[route]]\nmatch = { header = { x-to = \"legs\" } }\nfanout = { to = [\"flight\", \"batch\"], gather = \"all\" }\n";
    let gateway = Gateway::start(
        &(cluster("flight", &[&one, &two], "single_flight = true")
            + &cluster("batch", &[&one, &two], batch)
            + routes),
    );
    let embed = |to: &str, model: &str| {
        let body = format!(r#"{{"model":{model:?},"input":"x","in":[1]}}"#);
        let mut client = gateway.connect();
        client.send(format!(
            "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\nx-to: {to}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.read_message()
    };
    let begun = Instant::now();
    while ["flight", "batch"]
        .iter()
        .any(|to| !embed(to, "a").ends_with("one") || !embed(to, "b").ends_with("two"))
    {
        assert!(begun.elapsed() < PATIENCE);
    }
    for _ in 0..10 {
        for to in ["flight", "batch"] {
            assert!(embed(to, "a").ends_with("one") && embed(to, "b").ends_with("two"));
            assert!(embed(to, "c").contains("\"code\":\"model_not_found\""));
        }
        let legs = embed("legs", "b");
        assert!(legs.starts_with("HTTP/1.1 200 ") && legs.matches("\"body\":\"two\"").count() == 2, "{legs}");
    }
    assert_eq!(embed("legs", "c").matches("\"code\":\"model_not_found\"").count(), 2);
}

#[test]
fn an_endpoint_on_a_unix_socket_is_asked_there() {
    let path = crate::support::fresh_path("engine.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4096];
            let count = stream.read(&mut bytes).unwrap();
            let is_list = String::from_utf8_lossy(&bytes[..count])
                .starts_with("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n");
            let told = if is_list { answer(&list_of(&["a"])) } else { OK.to_owned() };
            stream.write_all(told.as_bytes()).unwrap();
        }
    });
    let url = format!("unix:{}", path.display());
    let gateway =
        Gateway::start(&format!("[cluster.up]\nendpoints = [{url:?}]\ndiscover = \"models\"\n{ALL}"));
    until(&gateway, "a", (200, "ok"));
    assert_eq!(ask(&gateway, "b"), not_found());
}

#[test]
fn what_is_no_name_is_listed_by_nobody() {
    let (one, two) = (Engine::serving("one", &["m"]), Engine::serving("two", &["m"]));
    let set = "[[route]]\nname = \"set\"\nmatch = { path = \"/set/*\" }\nto = \"up\"\nset = { body = { model = \"m\" } }\n";
    let gateway = Gateway::start(&format!("{}{set}{ALL}", cluster("up", &[&one, &two], "")));
    let json = "content-type: application/json\r\n";
    gateway.until("the lists are read", |_| ask_with(&gateway, json, r#"{"model":"m"}"#).0 == 200);
    let long = format!("{{\"model\":{:?}}}", "z".repeat(5000));
    for (body, status) in [
        (r#"{"model":"other"}"#, 404),
        (&long, 404),
        (r#"{"model":"m\ud800"}"#, 404),
        (r#"{"model":{"m":1}}"#, 404),
        (r#"{"model":["m"]}"#, 404),
        // Who says nothing is asked of anybody.
        (r#"{"model":null}"#, 200),
        (r#"{"x":1}"#, 200),
        ("[1]", 200),
    ] {
        let (got, code) = ask_with(&gateway, json, body);
        assert_eq!(got, status, "{body}: {code}");
        assert!(status == 200 || code == "model_not_found", "{body}: {code}");
    }
    // Where the route says which model it is, nobody asks what the client says.
    let mut client = gateway.connect();
    let body = r#"{"model":["m"]}"#;
    let head = "POST /set/x HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    client.send(format!("{head}content-length: {}\r\n\r\n{body}", body.len()));
    assert_eq!(told(&mut client).0, 200);
}
