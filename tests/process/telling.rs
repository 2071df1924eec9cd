//! What the program says on stderr and prints on stdout: nobody who reads slowly, or not at all, holds it up.

use std::io::Write;
use std::process::{Command, Output};

use crate::support::{Gateway, OK, Upstream, fresh_path, one_cluster};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

#[test]
fn a_gateway_whose_words_nobody_hears_goes_on_and_drains() {
    let upstream = Upstream::start();
    let mut gateway = Gateway::before(&upstream);
    let mut busy = gateway.connect();
    busy.send(GET);
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    gateway.deafen();
    std::fs::write(&gateway.config, "[[route]]\nrespnd = 1\n").unwrap();
    for signal in ["HUP", "HUP", "HUP"] {
        gateway.signal(signal);
        assert_eq!(gateway.admin("GET", "/livez").0, 200);
    }
    std::fs::write(&gateway.config, one_cluster(&[&upstream.url()])).unwrap();
    gateway.signal("HUP");
    // The signals before may have been heard so late that they found the good file too.
    gateway.until("it is reloaded", |stats| stats["plan"]["generation"].as_u64() >= Some(2));
    while gateway.admin("GET", "/metrics").1.contains("\ncorelane_messages_lost_total 0\n") {}
    gateway.signal("TERM");
    while gateway.admin("GET", "/readyz").0 != 503 {}
    server.send(OK);
    assert!(busy.read_to_end().ends_with("ok"), "a drain lets it finish");
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn a_gateway_whose_words_fill_the_pipe_goes_on_and_drains() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    let arguments = ["--listen", "127.0.0.1:0"];
    let mut gateway =
        Gateway::start_telling("[[route]]\nrespond = { body = \"here\" }\n", &arguments, reader, writer);
    // All that a pipe holds; nothing was left in it behind the start lines.
    filling.write_all(&[b'.'; 65536]).unwrap();
    for signal in ["USR1", "HUP"] {
        gateway.signal(signal);
        assert_eq!(gateway.admin("GET", "/livez").0, 200);
    }
    gateway.until("it is reloaded", |stats| stats["plan"]["generation"] == 2);
    assert_eq!(gateway.admin("GET", "/metrics").0, 200);
    assert!(gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("here"));
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
}

/// Every command that prints a page.
fn pages(url: &str, config: &str) -> Vec<Vec<String>> {
    let load =
        ["load", url, "--connections", "1", "--duration", "100ms", "--warmup", "0ms", "--kind", "health"];
    [
        &["schema"][..],
        &["check", config],
        &["explain", "--config", config, "/"],
        &["explain", "--config", config, "--json", "/"],
        &load,
        &[&load[..], &["--json"]].concat(),
        &[&load[..], &["--versus", url]].concat(),
        &["--help"],
    ]
    .iter()
    .map(|arguments| arguments.iter().map(|argument| (*argument).to_owned()).collect())
    .collect()
}

fn run_into(arguments: &[String], stdout: impl Into<std::process::Stdio>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(arguments).stdout(stdout).stderr(std::process::Stdio::piped());
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_reader_that_leaves_ends_the_printing_quietly_and_a_full_disk_is_told() {
    let config = fresh_path("page.toml");
    std::fs::write(&config, "[[route]]\nrespond = {}\n").unwrap();
    let url = Upstream::start().serve(OK);
    for arguments in pages(&url, config.to_str().unwrap()) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = run_into(&arguments, writer);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{arguments:?}");

        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = run_into(&arguments, full);
        let said = String::from_utf8(output.stderr).unwrap();
        if arguments[0] != "--help" {
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(said.starts_with("the output cannot be written\n  why: No space left"), "{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
    std::fs::remove_file(config).unwrap();
}

#[test]
fn a_load_of_which_nothing_ended_says_so() {
    // Nobody accepts there; the kernel takes connections all the same.
    let silent = Upstream::start();
    for extra in [&[][..], &["--json"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
        command.args(["load", &silent.url(), "--connections", "2", "--duration", "200ms", "--warmup", "0ms"]);
        let output = command.args(["--timeout", "500ms"]).args(extra).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with(&format!("no request to {} ended while it was measured\n", silent.url())));
        assert!(said.contains("\n  why: ") && said.contains("\n  fix: "), "{said}");
    }
}

#[test]
fn what_is_said_is_an_object_a_line_for_programs_up_to_the_level_asked_for() {
    let up = Upstream::start().serve(OK);
    let config = |log: &str| format!("[observe]\nlog = {log:?}\n{}", one_cluster(&[&up]));
    for (log, levels) in [("info", &["warn", "info"][..]), ("warn", &["warn"]), ("error", &[])] {
        let mut gateway = Gateway::start(&config(log));
        let (status, _) = gateway.admin("POST", &format!("/endpoints/up/drain?url={up}"));
        assert_eq!(status, 200);
        // It is looked at each second.
        gateway.until("it is seen", |stats| stats["endpoints"]["up"][&up]["state"] == "drained");
        std::thread::sleep(std::time::Duration::from_millis(1200));
        gateway.signal("TERM");
        let mut told = Vec::new();
        loop {
            let line = gateway.next_raw_line();
            if line.is_empty() {
                break;
            }
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
            assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
            let level = line["level"].as_str().unwrap().to_owned();
            let expected =
                if level == "warn" { format!("{up} of cluster up is drained") } else { "draining".into() };
            assert_eq!(line["message"], expected, "{line}");
            told.push(level);
        }
        assert_eq!(told, levels, "{log}");
    }
    // A reload changes it.
    let mut gateway = Gateway::start(&config("error"));
    std::fs::write(&gateway.config, config("info")).unwrap();
    gateway.signal("HUP");
    assert_eq!(gateway.next_line(), "reloaded generation=2");
}
