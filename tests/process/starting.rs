//! What a start refuses, and signals that ask for what is not there.

use std::process::{Command, Output};

use crate::support::{Gateway, io};

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
fn cores_that_are_not_there_are_wrong_use() {
    let output = run(&["--cores", "0,4000", "--listen", "127.0.0.1:0", "--admin", "off"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).starts_with("--cores: core 4000 cannot be used by this process\n"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_request_to_replace_the_binary_does_not_end_the_gateway() {
    let mut gateway = Gateway::start("[[route]]\nrespond = { body = \"here\" }\n");
    gateway.signal("USR2");
    assert_eq!(gateway.next_line(), "SIGUSR2 does nothing yet");
    assert!(gateway.exchange("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ends_with("here"));
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
