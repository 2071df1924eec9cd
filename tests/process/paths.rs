//! Addresses that somebody has, had, or will have: paths of Unix sockets above all.

use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use crate::support::{Gateway, OK, PATIENCE, Upstream, fresh_path, io, one_cluster};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
const HERE: &str = "[[route]]\nrespond = { body = \"here\" }\n";

fn at(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// A start that is expected to end by itself.
fn refused(path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(["run", "--io", &io(), "--upstream", "http://127.0.0.1:1", "--admin", "off"]);
    command.args(["--listen", &at(path)]).output().unwrap()
}

fn ask(path: &Path) -> String {
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(GET).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_successor_keeps_the_path_that_it_took_over() {
    let path = fresh_path("gateway.sock");
    let upstream = Upstream::start();
    let mut old = Gateway::start_with(&one_cluster(&[&upstream.url()]), &["--listen", &at(&path)]);
    let mut busy = UnixStream::connect(&path).unwrap();
    busy.write_all(GET).unwrap();
    let mut server = upstream.accept();
    server.read_until("\r\n\r\n");
    old.signal("TERM");
    assert_eq!(old.next_line(), "draining");
    let begun = Instant::now();
    while path.exists() {
        assert!(begun.elapsed() < PATIENCE, "the path outlives the listener");
    }
    let new = Gateway::start_with(HERE, &["--listen", &at(&path)]);
    server.send(OK);
    let mut answer = String::new();
    busy.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok"), "{answer}");
    assert!(old.process.wait().unwrap().success());
    assert!(path.exists() && ask(&path).ends_with("here"), "the old one took the new one's path away");
    drop(new);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_path_is_there_for_as_long_as_it_is_accepted_on() {
    let path = fresh_path("gateway.sock");
    let text = format!("[server]\ndrain_delay = \"1s\"\n{HERE}");
    let mut gateway = Gateway::start_with(&text, &["--listen", &at(&path)]);
    gateway.signal("TERM");
    assert_eq!(gateway.next_line(), "draining");
    assert!(ask(&path).ends_with("here"));
    assert!(gateway.process.wait().unwrap().success());
    assert!(!path.exists());
}

#[test]
fn what_lies_at_a_path_is_removed_only_if_it_is_left_behind() {
    let path = fresh_path("taken");
    std::fs::write(&path, "precious").unwrap();
    let output = refused(&path);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("why: something else than a socket lies there\n  fix: choose another path"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_file(&path).unwrap();

    let datagrams = UnixDatagram::bind(&path).unwrap();
    assert_eq!(refused(&path).status.code(), Some(1));
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket(), "a live socket is removed");
    drop(datagrams);
    std::fs::remove_file(&path).unwrap();

    // One whose process died.
    drop(UnixListener::bind(&path).unwrap());
    let gateway = Gateway::start_with(HERE, &["--listen", &at(&path)]);
    assert!(ask(&path).ends_with("here"));
    drop(gateway);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_listener_whose_backlog_is_full_is_somebodys_and_no_reason_to_wait() {
    let path = fresh_path("full.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    let name = socket2::SockAddr::unix(&path).unwrap();
    socket.bind(&name).unwrap();
    socket.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        client.set_nonblocking(true).unwrap();
        if client.connect(&name).is_err() {
            break;
        }
        waiting.push(client);
    }
    let output = refused(&path);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("in use"), "{said}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_gateway_that_was_killed_is_followed_at_once() {
    let path = fresh_path("killed.sock");
    for _ in 0..3 {
        let arguments = ["--listen", "127.0.0.1:0", "--listen", &at(&path), "--lanes", "2"];
        let mut first = Gateway::start_with(HERE, &arguments);
        let address = first.listening[0].clone();
        // Something is under way, so that the kernel has something to take down.
        let _open: Vec<_> = (0..20).map(|_| first.connect()).collect();
        first.process.kill().unwrap();
        first.process.wait().unwrap();
        let arguments = ["--listen", &address, "--listen", &at(&path), "--lanes", "2"];
        let second = Gateway::start_with(HERE, &arguments);
        assert!(ask(&path).ends_with("here"));
        drop(second);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_start_that_fails_leaves_no_path_behind() {
    let path = fresh_path("early.sock");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in
        [["--listen", &at(&path), "--admin", &address], ["--admin", &at(&path), "--listen", &address]]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
        command.args(["run", "--io", &io(), "--upstream", "http://127.0.0.1:1"]);
        assert_eq!(command.args(arguments).output().unwrap().status.code(), Some(1));
        assert!(!path.exists());
    }
}
