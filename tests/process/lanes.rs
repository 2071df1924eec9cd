//! Lanes: connections spread evenly, cores are pinned, wrong ones are told.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use crate::support::{Gateway, OK, Upstream, fresh_path, one_cluster};

const PONG: &str = "[[route]]\nrespond = { status = 200, body = \"pong\" }\n";

#[test]
fn eight_connections_on_two_lanes_end_four_and_four() {
    for address in ["127.0.0.1:0", "unix"] {
        let path = fresh_path("lanes.sock");
        let address = if address == "unix" { format!("unix:{}", path.display()) } else { address.to_owned() };
        let gateway = Gateway::start_with(PONG, &["--listen", &address, "--lanes", "2"]);
        let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
        for _ in 0..8 {
            match gateway.listening[0].strip_prefix("unix:") {
                Some(path) => held.push(Box::new(std::os::unix::net::UnixStream::connect(path).unwrap())),
                None => held.push(Box::new(gateway.connect())),
            }
        }
        gateway.until("four and four", |stats| stats["connections"] == serde_json::json!([4, 4]));
        drop(held);
        gateway.until("none", |stats| stats["connections"] == serde_json::json!([0, 0]));
    }
}

#[test]
fn connections_that_come_at_once_are_spread_too_and_all_are_served() {
    let gateway = Gateway::start_with(PONG, &["--listen", "127.0.0.1:0", "--lanes", "2"]);
    let mut clients: Vec<_> = (0..64).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    for client in &mut clients {
        assert!(client.read_message().ends_with("pong"));
    }
    assert_eq!(gateway.stats()["connections"], serde_json::json!([32, 32]));
}

#[test]
fn lanes_run_on_the_cores_given_and_nowhere_else() {
    let usable = std::fs::read_to_string("/proc/self/status").unwrap();
    let usable =
        usable.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
    let core = usable.split([',', '-']).next().unwrap().to_owned();
    let gateway = Gateway::start_with(PONG, &["--listen", "127.0.0.1:0", "--cores", &core]);
    let tasks = format!("/proc/{}/task", gateway.process.id());
    let mut pinned = 0;
    for task in std::fs::read_dir(tasks).unwrap().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap();
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        if name.starts_with("lane-") {
            assert_eq!(allowed, core);
            pinned += 1;
        }
    }
    assert_eq!(pinned, 1);
}

/// The unnamed sockets of a gateway, in the order in which they were made; none where the kernel does not show them.
fn unnamed_sockets(gateway: &Gateway) -> Option<Vec<UnixStream>> {
    let id = gateway.process.id();
    let unnamed: Vec<String> = std::fs::read_to_string(format!("/proc/{id}/net/unix"))
        .unwrap()
        .lines()
        .skip(1)
        .filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [.., inode] if line.split_whitespace().count() == 7 => Some(format!("socket:[{inode}]")),
            _ => None,
        })
        .collect();
    let mut numbers: Vec<i32> = std::fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .flatten()
        .filter(|entry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|to| unnamed.iter().any(|name| to.as_os_str() == &**name))
        })
        .map(|entry| entry.file_name().to_string_lossy().parse().unwrap())
        .filter(|number| *number > 2)
        .collect();
    numbers.sort_unstable();
    let process = rustix::process::Pid::from_raw(id as i32).unwrap();
    let process = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).ok()?;
    let get = |number| {
        let flags = rustix::process::PidfdGetfdFlags::empty();
        let got: OwnedFd = rustix::process::pidfd_getfd(&process, number, flags).ok()?;
        Some(UnixStream::from(got))
    };
    numbers.into_iter().map(get).collect()
}

#[test]
fn a_lane_that_dies_is_noticed_and_the_rest_drains() {
    let upstream = Upstream::start();
    let mut gateway =
        Gateway::start_with(&one_cluster(&[&upstream.url()]), &["--listen", "127.0.0.1:0", "--lanes", "2"]);
    // One exchange on each lane.
    let mut clients = [gateway.connect(), gateway.connect()];
    let mut servers: Vec<_> = clients
        .iter_mut()
        .map(|client| {
            client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
            let mut server = upstream.accept();
            server.read_until("\r\n\r\n");
            server
        })
        .collect();
    gateway.until("one and one", |stats| stats["connections"] == serde_json::json!([1, 1]));
    // Containers may forbid to take a descriptor of another process; there is no other way to break a lane.
    let Some(sockets) = unnamed_sockets(&gateway) else { return };
    // The first pair is where lanes report; the second wakes the first lane: without it that lane is deaf.
    sockets[2].shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(
        gateway.next_line(),
        "a part of the gateway runs no more: the rest drains, then it exits with 1"
    );
    while gateway.admin("GET", "/readyz").0 != 503 {}
    assert_eq!(gateway.admin("GET", "/livez").0, 200);
    servers.iter_mut().for_each(|server| drop(std::io::Write::write_all(&mut server.stream, OK.as_bytes())));
    let ends: Vec<_> = clients.iter_mut().map(|client| client.read_to_any_end().0.ends_with("ok")).collect();
    assert!(ends.contains(&true), "the exchange of the lane that lives is finished");
    assert_eq!(gateway.process.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    while !said.contains("why: lane 0 cannot run") {
        said = gateway.next_line();
        assert!(!said.is_empty(), "it does not say why");
    }
}
