//! The access log: a line for each exchange, and nothing waits for it.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use crate::support::{After, Gateway, OK, PATIENCE, Upstream, fresh_path, one_cluster};

fn gateway(log: &str, endpoints: &[&str]) -> Gateway {
    Gateway::start(&format!(
        "[observe]\naccess_log = {log}\n[cluster.up]\nendpoints = {endpoints:?}\ntimeout = {{ first_byte = \"200ms\" }}\n[[route]]\nname = \"all\"\nto = \"up\"\n[[route]]\nname = \"ping\"\nmatch = {{ path = \"/ping\" }}\nrespond = {{ status = 200 }}\n"
    ))
}

/// The lines of a file, once there are this many.
fn lines(file: &Path, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count && text.ends_with('\n') {
            assert_eq!(lines.len(), count, "{text}");
            return lines;
        }
        assert!(begun.elapsed() < PATIENCE, "{count} lines never came: {text}");
        std::thread::yield_now();
    }
}

#[test]
fn each_exchange_is_one_json_line() {
    let file = fresh_path("access.log");
    let upstream = Upstream::start();
    let gateway = gateway(&format!("{{ to = {file:?} }}"), &[&upstream.url()]);
    let mut client = gateway.connect();
    client.send("POST /v1/chat?key=secret HTTP/1.1\r\nhost: api.local\r\ncontent-length: 5\r\n\r\nhello");
    let mut server = upstream.accept();
    server.read_until("hello");
    server.send(OK);
    let answer = client.read_message();
    client.send("GET /ping HTTP/1.1\r\nhost: x\r\n\r\n");
    client.read_message();
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    server.read_until("\r\n\r\n");
    // The clock runs out: 504.
    assert!(client.read_message().starts_with("HTTP/1.1 504 "));
    // Lines of two lanes come in either order: each of the others waits for the one before.
    lines(&file, 3);
    assert!(
        gateway.exchange("GET /a/../b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").contains(" 400 ")
    );
    lines(&file, 4);
    assert!(gateway.exchange("GET / HTTP/1.1\r\n\r\n").contains(" 400 "));
    lines(&file, 5);
    let mut leaving = gateway.connect();
    leaving.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut waiting = upstream.accept();
    waiting.read_until("\r\n\r\n");
    drop(leaving);

    let parsed: Vec<Value> = lines(&file, 6).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [chat, ping, late, bad_path, bad, left] = &parsed[..] else { panic!("{parsed:?}") };
    for (name, value) in [
        ("client", "127.0.0.1".into()),
        ("method", "POST".into()),
        ("host", "api.local".into()),
        ("path", "/v1/chat".into()),
        ("status", 200.into()),
        ("route", "all".into()),
        ("cluster", "up".into()),
        ("endpoint", upstream.url().into()),
        ("attempts", 1.into()),
        ("reused", false.into()),
        ("bytes_in", 5.into()),
        ("bytes_out", 2.into()),
        ("fault", Value::Null),
        ("code", Value::Null),
        ("ended", "well".into()),
    ] {
        assert_eq!(chat[name], value, "{name} in {chat}");
    }
    assert!(answer.contains(&format!("x-request-id: {}\r\n", chat["request_id"].as_str().unwrap())));
    assert_eq!(chat["upstream_request_id"], Value::Null, "the endpoint gave none");
    assert_eq!(chat["trace_id"].as_str().unwrap().len(), 32);
    let phases = ["head_us", "hold_us", "queue_us", "connect_us", "send_us", "wait_us", "relay_us"];
    let sum: u64 = phases.iter().map(|phase| chat[phase].as_u64().unwrap()).sum();
    assert!(sum <= chat["T_us"].as_u64().unwrap() && chat["connect_us"].as_u64() > Some(0), "{chat}");
    assert!(!chat.to_string().contains("secret"), "queries carry secrets");

    assert_eq!(
        (&ping["route"], &ping["endpoint"], &ping["attempts"]),
        (&"ping".into(), &Value::Null, &0.into())
    );
    assert_eq!((&late["status"], &late["code"]), (&504.into(), &"upstream_timeout".into()));
    assert_eq!(
        (&late["fault"], &late["stage"], &late["reused"]),
        (&"timeout".into(), &"wait".into(), &true.into())
    );
    assert!(late["wait_us"].as_u64() >= Some(200_000), "{late}");
    assert_eq!((&bad_path["code"], &bad_path["path"]), (&"bad_request".into(), &"/a/../b".into()));
    assert_eq!((&bad["status"], &bad["method"]), (&400.into(), &Value::Null));
    assert!(bad["bytes_out"].as_u64() > Some(100) && bad["T_us"].as_u64() > Some(0), "{bad}");
    assert_eq!((&left["status"], &left["ended"]), (&499.into(), &"client_left".into()));
    let _ = std::fs::remove_file(file);
}

#[test]
fn an_id_that_the_endpoint_gave_stands_beside_ours() {
    let file = fresh_path("access.log");
    let named = "HTTP/1.1 200 OK\r\nx-request-id: cmpl-17\r\ncontent-length: 2\r\n\r\nok";
    let config = one_cluster(&[&Upstream::start().serve(named)]);
    let log = format!("[observe]\naccess_log = {{ to = {:?} }}\n", file.display().to_string());
    let gateway = Gateway::start(&(log + &config));
    let answer = gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(
        answer.contains("x-request-id: cmpl-17\r\n") && answer.matches("x-request-id").count() == 1,
        "{answer}"
    );
    let line: Value = serde_json::from_str(&lines(&file, 1)[0]).unwrap();
    assert_eq!(line["upstream_request_id"], "cmpl-17", "{line}");
    assert_eq!(line["request_id"].as_str().map(str::len), Some(32), "{line}");
    let _ = std::fs::remove_file(file);
}

#[test]
fn a_template_makes_the_line_and_a_share_thins_it_out() {
    let file = fresh_path("access.log");
    let log = format!(
        "{{ to = {file:?}, format = \"{{method}} {{path}} {{status}} {{route}}\", sample = \"0%\" }}"
    );
    let gateway = gateway(&log, &["http://127.0.0.1:9"]);
    let ask = || gateway.exchange("GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    (0..20).for_each(|_| assert!(ask().contains(" 200 ")));
    let config = std::fs::read_to_string(&gateway.config).unwrap().replace("\"0%\"", "\"100%\"");
    std::fs::write(&gateway.config, config).unwrap();
    assert_eq!(gateway.admin("POST", "/reload").0, 200);
    ask();
    assert_eq!(lines(&file, 1), ["GET /ping 200 ping"]);
    let _ = std::fs::remove_file(file);
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    let (file, moved) = (fresh_path("access.log"), fresh_path("moved.log"));
    let gateway = gateway(&format!("{{ to = {file:?}, format = \"{{path}}\" }}"), &["http://127.0.0.1:9"]);
    let ask = || gateway.exchange("GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    ask();
    lines(&file, 1);
    std::fs::rename(&file, &moved).unwrap();
    gateway.signal("USR1");
    let begun = Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < PATIENCE, "the file is not made anew");
        std::thread::yield_now();
    }
    ask();
    assert_eq!((lines(&file, 1), lines(&moved, 1)), (vec!["/ping".to_owned()], vec!["/ping".to_owned()]));
    let _ = (std::fs::remove_file(file), std::fs::remove_file(moved));
}

#[test]
fn a_log_that_takes_nothing_holds_up_nobody() {
    // Opening a pipe that nobody reads waits for ever: the channel fills up.
    let pipe = fresh_path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut gateway = gateway(&format!("{{ to = {pipe:?} }}"), &["http://127.0.0.1:9"]);
    let mut client = gateway.connect();
    let batch = "GET /ping HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
    for _ in 0..170 {
        client.send(&batch);
        (0..100).for_each(|_| assert!(client.read_message().contains(" 200 ")));
    }
    let metrics = gateway.admin("GET", "/metrics").1;
    let dropped =
        metrics.lines().find_map(|line| line.strip_prefix("corelane_access_log_dropped_total ")).unwrap();
    assert_eq!(dropped, (17_000 - 16 * 1024).to_string());
    drop(client);
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
    let _ = std::fs::remove_file(pipe);
}

#[test]
fn lines_of_the_last_exchanges_are_written_before_the_end() {
    let file = fresh_path("access.log");
    let mut gateway =
        gateway(&format!("{{ to = {file:?}, format = \"{{path}}\" }}"), &["http://127.0.0.1:9"]);
    for _ in 0..50 {
        gateway.exchange("GET /ping HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    }
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "/ping\n".repeat(50));
    let _ = std::fs::remove_file(file);
}

#[test]
fn answers_say_where_their_time_went_if_asked_to() {
    let upstream = Upstream::start().serve(OK);
    let gateway = Gateway::start(&format!(
        "[observe]\nserver_timing = true\n[cluster.up]\nendpoints = [\"{upstream}\"]\n[[route]]\nto = \"up\"\n"
    ));
    let answer = gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let timing = answer.lines().find_map(|line| line.strip_prefix("server-timing: ")).unwrap();
    let parts: Vec<_> = timing.split(", ").map(|part| part.split_once(";dur=").unwrap()).collect();
    assert_eq!(
        parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["queue", "gw", "up", "connect", "head"]
    );
    for (_, number) in parts {
        assert!(number.split_once('.').is_some_and(|(_, decimals)| decimals.len() == 3), "{timing}");
    }
}

#[test]
fn waits_for_others_are_not_the_gateways_own() {
    let upstream = Upstream::start();
    let gateway = gateway("\"off\"", &[&upstream.url()]);
    // The upstream never answers; the client sends its head and its body in two pieces each.
    let mut client = gateway.connect();
    for piece in ["POST / HTTP/1.1\r\nhost:", " x\r\ncontent-length: 4\r\n\r\nab", "cd"] {
        client.send(piece);
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    let mut server = upstream.accept();
    server.read_until("abcd");
    assert!(client.read_message().starts_with("HTTP/1.1 504 "));
    // A client that leaves while it waits.
    let mut leaving = gateway.connect();
    leaving.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    upstream.accept().read_until("\r\n\r\n");
    std::thread::sleep(std::time::Duration::from_millis(150));
    drop(leaving);
    gateway.until("both ended", |stats| stats["routes"]["all"]["requests"] == 2);
    let times = gateway.stats()["routes"]["all"].clone();
    let of = |measure: &str, part: &str| times[measure][part].as_u64().unwrap();
    assert!(of("T_us", "max") > 450_000, "{times}");
    assert!(of("overhead_us", "max") * 4 < of("T_us", "max"), "{times}");
}

fn ping(gateway: &Gateway, path: &str) {
    let answer = gateway.exchange(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn long_lines_that_nobody_takes_are_bounded_by_their_bytes() {
    let pipe = fresh_path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let gateway = Gateway::start(&format!(
        "[observe]\naccess_log = {{ to = {pipe:?} }}\n[[route]]\nrespond = {{ status = 200 }}\n"
    ));
    let mut client = gateway.connect();
    let batch = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(2100)).repeat(50);
    for _ in 0..200 {
        client.send(&batch);
        (0..50).for_each(|_| assert!(client.read_message().contains(" 200 ")));
    }
    let dropped = gateway.stats()["access_log"]["dropped"].as_u64().unwrap();
    assert!(
        dropped >= 10_000 - 8192,
        "{dropped} of 10000 lines were dropped: fewer than 16384 wait, of 4 KiB each"
    );
    let _ = std::fs::remove_file(pipe);
}

#[test]
fn what_clients_say_is_cut_in_a_line() {
    let file = fresh_path("access.log");
    let gateway = Gateway::start(&format!(
        "[observe]\naccess_log = {{ to = {file:?} }}\n[[route]]\nrespond = {{ status = 200 }}\n"
    ));
    ping(&gateway, &format!("/{}", "x".repeat(30_000)));
    let line: Value = serde_json::from_str(&lines(&file, 1)[0]).unwrap();
    assert_eq!(line["path"].as_str().unwrap().len(), 2048);
    let _ = std::fs::remove_file(file);
}

#[test]
fn lines_that_a_full_disk_takes_none_of_are_counted_and_told() {
    let mut gateway = Gateway::start(
        "[observe]\naccess_log = { to = \"/dev/full\", format = \"{path}\" }\n[[route]]\nrespond = { status = 200 }\n",
    );
    (0..73).for_each(|_| ping(&gateway, "/ping"));
    gateway.until("all are lost", |stats| stats["access_log"]["lost"] == 73);
    let metrics = gateway.admin("GET", "/metrics").1;
    assert!(metrics.contains("\ncorelane_access_log_lost_total 73\n"), "{metrics}");
    let said = gateway.next_line();
    assert!(said.starts_with("the access log \"/dev/full\" cannot be written, "), "{said}");
    assert!(gateway.next_line().starts_with("why: No space left"));
    assert!(gateway.next_line().starts_with("fix: "));
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining", "it is told once");
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn a_log_whose_folder_is_gone_is_opened_again_once_it_is_back() {
    let folder = fresh_path("logs");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("access.log");
    let mut gateway = Gateway::start(&format!(
        "[observe]\naccess_log = {{ to = {file:?}, format = \"{{path}}\" }}\n[[route]]\nrespond = {{}}\n"
    ));
    // Nobody hears of it either: what is said ends no thread.
    gateway.deafen();
    std::fs::remove_dir_all(&folder).unwrap();
    gateway.signal("USR1");
    gateway.until("it is seen", |stats| {
        ping(&gateway, "/lost");
        stats["access_log"]["lost"].as_u64() > Some(0)
    });
    std::fs::create_dir(&folder).unwrap();
    let begun = Instant::now();
    while !std::fs::read_to_string(&file).unwrap_or_default().ends_with("/again\n") {
        ping(&gateway, "/again");
        assert!(begun.elapsed() < PATIENCE, "the log ended for good");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn model_tokens_and_times_between_them_join_the_line_and_a_prompt_only_where_it_is_asked_for() {
    let event = |text: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":3,\"total_tokens\":14,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n";
    let events = [event("a"), event("b"), event("c"), usage.to_owned()];
    // Each event waits until the client has the one before: so no two are nearer to each other than the pause, however
    // late the machine hands them on.
    let (seen, taken) = std::sync::mpsc::channel::<()>();
    let taken = std::sync::Mutex::new(taken);
    let upstream = Upstream::start().play(move |peer, _| {
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        for event in &events {
            peer.send(format!("{:x}\r\n{event}\r\n", event.len()));
            taken.lock().unwrap().recv().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        peer.send("0\r\n\r\n");
        After::GoOn
    });
    for (prompt, told) in [("", Value::Null), (", prompt = \"30B\"", "write to [EMAIL] and é".into())] {
        let file = fresh_path("usage.log");
        let gateway = Gateway::start(&format!(
            "[observe]\naccess_log = {{ to = {file:?}{prompt} }}\n[filter.guard]\nkind = \"guard\"\nredact = [\"email\"]\n\
             [cluster.up]\nendpoints = [{upstream:?}]\n[[route]]\nto = \"up\"\nfilters = [\"guard\"]\n"
        ));
        let body = r#"{"mode\u006c":"qwen","stream":true,"messages":[{"role":"user","content":"write to a@b.org"},{"content":[{"text":"and \u00e9"}]}]}"#;
        let mut client = gateway.connect();
        client.send(format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        let mut answer = String::new();
        for end in ["\"a\"}}]}\n\n\r\n", "\"b\"}}]}\n\n\r\n", "\"c\"}}]}\n\n\r\n", "}}}\n\n\r\n"] {
            answer += &client.read_until(end);
            seen.send(()).unwrap();
        }
        answer += &client.read_to_end();
        assert!(answer.contains("cached_tokens"), "what the client gets is what it asked for: {answer}");
        let line: Value = serde_json::from_str(&lines(&file, 1)[0]).unwrap();
        for (name, value) in
            [("model", 4), ("input_tokens", 11), ("output_tokens", 3), ("cached_tokens", 8), ("tokens", 3)]
        {
            let number = if name == "model" {
                line[name].as_str().unwrap().len() as u64
            } else {
                line[name].as_u64().unwrap()
            };
            assert_eq!(number, value, "{name} in {line}");
        }
        let (middle, longest) = (line["itl_p50_us"].as_u64().unwrap(), line["itl_max_us"].as_u64().unwrap());
        assert!(middle > 19_000 && longest >= 20_000 && line["ttft_us"].is_number(), "{line}");
        let shown = line["prompt"].as_str().map(|text| text.replace('\n', " "));
        assert_eq!(shown.map_or(Value::Null, Value::from), told, "{line}");
        assert!(!line.to_string().contains("a@b.org"), "{line}");
        std::fs::remove_file(file).unwrap();
    }
}
