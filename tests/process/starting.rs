//! What a start refuses, and signals that ask for what is not there.

use std::process::{Command, Output};

use crate::support::{Gateway, fresh_path, io};

/// Runs the program where it is expected to end by itself.
fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(["run", "--io", &io(), "--upstream", "http://127.0.0.1:1"]).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_address_that_another_gateway_has_is_refused() {
    let first = Gateway::start("[server]\nlanes = 2\n[[route]]\nrespond = {}\n");
    for lanes in ["1", "2"] {
        let second = run(&[
            "--lanes",
            lanes,
            "--listen",
            first.listening[0].trim_start_matches("http://"),
            "--admin",
            "off",
        ]);
        assert_eq!(second.status.code(), Some(1));
        assert!(said(&second).starts_with("cannot listen on 127.0.0.1:"), "{}", said(&second));
    }
    let admin = first.admin.trim_start_matches("http://");
    let second = run(&["--listen", "127.0.0.1:0", "--admin", admin]);
    assert_eq!(second.status.code(), Some(1));
    assert!(said(&second).contains(&format!("cannot listen on {admin}")), "{}", said(&second));
}

#[test]
fn what_cannot_start_says_why_and_exits_by_the_contract() {
    let run = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_corelane")).arg("run").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let file = fresh_path("pong.toml");
    std::fs::write(&file, "[[route]]\nrespond = {}\n").unwrap();
    let config = file.to_str().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let driver = io();
    for (arguments, code, said) in [
        (
            &["--config", config, "--listen", &address, "--admin", "off", "--io", &driver][..],
            1,
            "cannot listen on",
        ),
        (
            &["--config", config, "--listen", "127.0.0.1:0", "--admin", "off", "--cores", "4000"][..],
            2,
            "--cores: core 4000 cannot be used by this process\n",
        ),
        (&["--config", "/does/not/exist"][..], 2, "the file cannot be read"),
        (&["--upstream", "ftp://x"][..], 2, "is not the URL of an endpoint"),
        (&["--config", config, "--io", "kqueue"][..], 2, "kqueue"),
        (&[][..], 2, "<--config <FILE>|--upstream <URL>>"),
    ] {
        let (exit, stderr) = run(arguments);
        assert_eq!(exit, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_log_that_cannot_be_written_is_refused_and_the_old_plan_stays() {
    let gateway = Gateway::start("[[route]]\nrespond = { body = \"old\" }\n");
    let text =
        "[observe]\naccess_log = { to = \"/no/such/folder/log\" }\n[[route]]\nrespond = { body = \"new\" }\n";
    std::fs::write(&gateway.config, text).unwrap();
    let (status, body) = gateway.admin("POST", "/reload");
    assert!(status == 422 && body.contains("there is no folder"), "{status} {body}");
    assert!(gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("old"));
}
