//! Lanes: connections spread evenly, cores are pinned, wrong ones are told.

use crate::support::{Gateway, fresh_path};

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
