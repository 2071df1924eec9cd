//! A new process takes over: its predecessor's sockets by SIGUSR2, or a supervisor's at start; and what a supervisor is told.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};

use crate::support::{After, Gateway, OK, PATIENCE, Peer, Upstream, fresh_path, io, one_cluster};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// A process that is not this test's own child; ended with it.
struct Process(u32);

impl Process {
    fn signal(&self, name: &str) {
        let _ = Command::new("kill")
            .args([&format!("-{name}"), &self.0.to_string()])
            .stderr(Stdio::null())
            .status();
    }

    fn is_there(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        // One that ended and was not seen off by its parent is gone too.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    fn wait_for_end(&self) {
        let begun = Instant::now();
        while self.is_there() {
            assert!(begun.elapsed() < PATIENCE, "process {} does not end", self.0);
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0)).unwrap().count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

/// Asks `process` to be replaced, and tells by whom.
fn replace(gateway: &mut Gateway, process: u32) -> Process {
    assert!(Command::new("kill").args(["-USR2", &process.to_string()]).status().unwrap().success());
    let mut said = String::new();
    loop {
        let line = gateway.next_line();
        assert!(!line.is_empty() && !line.contains("not replaced"), "{said}{line}");
        if let Some(process) = line.strip_prefix("replaced by process ") {
            assert!(said.contains("ready lanes="), "{said}");
            return Process(process.parse().unwrap());
        }
        said += &line;
    }
}

/// One whole exchange on a connection of its own.
fn exchange(address: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).map_err(|error| format!("connect: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(GET.as_bytes()).map_err(|error| format!("send: {error}"))?;
    let mut got = String::new();
    stream.read_to_string(&mut got).map_err(|error| format!("read: {error} behind {got:?}"))?;
    if got.starts_with("HTTP/1.1 200 ") && got.ends_with("ok") { Ok(()) } else { Err(got) }
}

#[test]
fn no_client_and_no_probe_notices_that_a_new_process_takes_over() {
    let upstream = Upstream::start().play(|peer, request| {
        if !request.starts_with("GET /stream ") {
            peer.send(OK);
            return After::GoOn;
        }
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for number in 0..40 {
            let piece = format!("piece {number}\n");
            if write!(peer.stream, "{:x}\r\n{piece}\r\n", piece.len()).is_err() {
                return After::Close;
            }
            thread::sleep(Duration::from_millis(100));
        }
        peer.send("0\r\n\r\n");
        After::Close
    });
    let config = one_cluster(&[&upstream]);
    let mut gateway = Gateway::start_with(&config, &["--listen", "127.0.0.1:0", "--lanes", "2"]);
    let (address, admin) = (gateway.listening[0].clone(), gateway.admin.clone());
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|at| {
            let (stop, count, address, admin) =
                (Arc::clone(&stop), Arc::clone(&count), address.clone(), admin.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    exchange(&address).unwrap();
                    count.fetch_add(1, Ordering::SeqCst);
                    if at == 0 {
                        let mut probe = Peer::new(TcpStream::connect(&admin).unwrap());
                        probe.send("GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
                        assert!(probe.read_to_end().starts_with("HTTP/1.1 200 "));
                    }
                    thread::sleep(Duration::from_millis(4));
                }
            })
        })
        .collect();
    let mut streams: Vec<_> = (0..20)
        .map(|_| {
            let mut client = gateway.connect();
            client.send("GET /stream HTTP/1.1\r\nhost: x\r\n\r\n");
            client.read_until("piece 0");
            client
        })
        .collect();
    let first = Process(gateway.process.id());
    let mut open = first.descriptors();
    let mut all = vec![first];
    for _ in 0..3 {
        let last = all.last().unwrap().0;
        all.push(replace(&mut gateway, last));
        thread::sleep(Duration::from_millis(300));
    }
    for stream in &mut streams {
        let rest = stream.read_to_end();
        assert!(rest.ends_with("piece 39\n\r\n0\r\n\r\n"), "{rest}");
        assert_eq!(rest.matches("piece ").count(), 39);
    }
    assert!(gateway.process.wait().unwrap().success());
    let (last, before) = all.split_last().unwrap();
    before.iter().for_each(Process::wait_for_end);
    thread::sleep(Duration::from_millis(500));
    stop.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(count.load(Ordering::SeqCst) > 500, "{count:?} connections");
    // None of what its predecessors had open came along; connections come and go a little.
    open += 20;
    assert!(last.descriptors() <= open, "{} descriptors, {open} at most", last.descriptors());
    last.signal("TERM");
    last.wait_for_end();
    assert!(TcpStream::connect(&address).is_err(), "nobody holds its socket open");
}

#[test]
fn a_unix_path_outlives_those_that_hand_it_over() {
    let upstream = Upstream::start().serve(OK);
    let path = fresh_path("replaced.sock");
    let admin = fresh_path("replaced-admin.sock");
    let (listen, admin_listen) = (format!("unix:{}", path.display()), format!("unix:{}", admin.display()));
    let mut gateway =
        Gateway::start_with(&one_cluster(&[&upstream]), &["--listen", &listen, "--admin", &admin_listen]);
    let ask = |path: &std::path::Path, request: &str| {
        let mut stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut got = String::new();
        stream.read_to_string(&mut got).unwrap();
        assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    };
    ask(&path, GET);
    let (first, mut last) = (gateway.process.id(), None);
    for _ in 0..2 {
        let asked = last.as_ref().map_or(first, |process: &Process| process.0);
        let next = replace(&mut gateway, asked);
        Process(asked).wait_for_end();
        ask(&path, GET);
        ask(&admin, "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        last = Some(next);
    }
    // It came from outside, as far as the last one knows: it stays.
    let last = last.unwrap();
    last.signal("TERM");
    last.wait_for_end();
    assert!(path.exists() && admin.exists());
    let _ = (std::fs::remove_file(&path), std::fs::remove_file(&admin));
}

#[test]
fn a_successor_with_more_or_fewer_lanes_accepts_from_every_queue() {
    let upstream = Upstream::start().serve(OK);
    let config = |lanes: usize| format!("[server]\nlanes = {lanes}\n{}", one_cluster(&[&upstream]));
    let mut gateway = Gateway::start(&config(1));
    let address = gateway.listening[0].clone();
    let mut all = vec![Process(gateway.process.id())];
    for lanes in [3, 2, 1, 2] {
        std::fs::write(&gateway.config, config(lanes)).unwrap();
        let last = all.last().unwrap().0;
        all.push(replace(&mut gateway, last));
        all[all.len() - 2].wait_for_end();
        // The kernel spreads them over all sockets that there are.
        for _ in 0..40 {
            exchange(&address).unwrap();
        }
    }
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn the_admin_apis_socket_goes_to_the_admin_api_whatever_listeners_come_and_go() {
    let upstream = Upstream::start().serve(OK);
    let config = |listeners: usize| {
        format!(
            "{}{}",
            "[[listener]]\naddress = \"127.0.0.1:0\"\n".repeat(listeners),
            one_cluster(&[&upstream])
        )
    };
    let mut gateway = Gateway::start_with(&config(1), &[]);
    let first = Process(gateway.process.id());
    std::fs::write(&gateway.config, config(2)).unwrap();
    let second = replace(&mut gateway, first.0);
    first.wait_for_end();
    exchange(&gateway.listening[0]).unwrap();
    assert_eq!(gateway.admin("GET", "/livez"), (200, "ok\n".to_owned()));
    // One listener fewer: its socket is not the admin API's either, and nobody else's, so nothing is replaced.
    std::fs::write(&gateway.config, config(1)).unwrap();
    second.signal("USR2");
    let mut said = String::new();
    while !said.contains("not replaced") {
        said += &gateway.next_line();
    }
    assert!(said.contains("LISTEN_FDS: a socket that listens on 127.0.0.1:"), "{said}");
    exchange(&gateway.listening[0]).unwrap();
    assert_eq!(gateway.admin("GET", "/livez").0, 200);
}

/// Asks for a replacement that must fail, and returns what is said of it.
fn fail_to_replace(gateway: &mut Gateway) -> String {
    gateway.signal("USR2");
    let mut said = String::new();
    while !said.contains("fix: ") || !said.contains("not replaced") {
        said += &format!("{}\n", gateway.next_line());
    }
    said
}

#[test]
fn a_successor_that_cannot_start_leaves_everything_as_it_is() {
    let upstream = Upstream::start().serve(OK);
    let good = one_cluster(&[&upstream]);
    let mut gateway = Gateway::start(&good);
    std::fs::write(&gateway.config, "[[route]]\nrespnd = 1\n").unwrap();
    let said = fail_to_replace(&mut gateway);
    assert!(said.contains("unknown key `respnd`"), "the new process tells why: {said}");
    assert!(said.contains("not replaced: this process goes on"), "{said}");
    exchange(&gateway.listening[0]).unwrap();
    std::fs::write(&gateway.config, &good).unwrap();
    let first = gateway.process.id();
    let successor = replace(&mut gateway, first);
    assert!(gateway.process.wait().unwrap().success());
    exchange(&gateway.listening[0]).unwrap();
    drop(successor);
}

#[test]
fn a_successor_that_is_never_ready_is_ended() {
    let upstream = Upstream::start().serve(OK);
    let mut gateway = Gateway::start(&one_cluster(&[&upstream]));
    // Reading a pipe that nobody writes to waits.
    std::fs::remove_file(&gateway.config).unwrap();
    assert!(Command::new("mkfifo").arg(&gateway.config).status().unwrap().success());
    let children = |process: u32| {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
        let children =
            tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
        children
            .collect::<String>()
            .split_whitespace()
            .map(|id| id.parse::<u32>().unwrap())
            .collect::<Vec<_>>()
    };
    let begun = Instant::now();
    gateway.signal("USR2");
    while children(gateway.process.id()).is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
    let successor = Process(children(gateway.process.id())[0]);
    exchange(&gateway.listening[0]).unwrap();
    let mut said = String::new();
    while !said.contains("fix: ") {
        said += &gateway.next_line();
    }
    assert!(said.contains("was not ready within 30 s, and was ended"), "{said}");
    assert!(begun.elapsed() >= Duration::from_secs(30));
    successor.wait_for_end();
    assert!(children(gateway.process.id()).is_empty(), "it is seen off");
    exchange(&gateway.listening[0]).unwrap();

    // Nor does one that is on its way outlive an end that comes first.
    gateway.signal("USR2");
    let begun = Instant::now();
    while children(gateway.process.id()).is_empty() {
        assert!(begun.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
    let successor = Process(children(gateway.process.id())[0]);
    gateway.signal("TERM");
    assert!(gateway.process.wait().unwrap().success());
    successor.wait_for_end();
}

/// Starts the gateway with these descriptors from 3 on.
fn start_with(descriptors: Vec<OwnedFd>, arguments: &[&str], pid: Option<&str>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(["run", "--io", &io(), "--admin", "off"]).args(arguments).stderr(Stdio::piped());
    command.env("LISTEN_FDS", descriptors.len().to_string());
    pid.map(|pid| command.env("LISTEN_PID", pid));
    let mappings = (3..).zip(descriptors).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).unwrap();
    command.spawn().unwrap()
}

/// What it prints until it is ready or ends.
fn until_ready(child: &mut Child) -> String {
    use std::io::BufRead;
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("\nready ") && stderr.read_line(&mut said).unwrap() > 0 {}
    // Whoever reads no more must not make it fail.
    thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    said
}

#[test]
fn sockets_of_a_supervisor_are_taken_by_their_addresses_in_any_order() {
    let upstream = Upstream::start().serve(OK);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = fresh_path("supervised.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let (address, second) = (tcp.local_addr().unwrap().to_string(), other.local_addr().unwrap().to_string());
    // Who waits before the process is there is served by it.
    let mut early = Peer::new(TcpStream::connect(&address).unwrap());
    early.send(GET);
    let listen = format!("unix:{}", path.display());
    let arguments = ["--lanes", "2", "--listen", "127.0.0.1:0", "--listen", &listen, "--listen", &address];
    let all = [&["--upstream", &upstream], &arguments[..]].concat();
    let mut gateway = start_with(vec![unix.into(), other.into(), tcp.into()], &all, None);
    let said = until_ready(&mut gateway);
    let listening: Vec<_> = said.lines().filter_map(|line| line.strip_prefix("listening ")).collect();
    // Port 0 takes a socket that no other address fits.
    assert_eq!(listening, [&format!("http://{second}"), &listen, &format!("http://{address}")], "{said}");
    assert!(early.read_to_end().ends_with("ok"));
    exchange(&second).unwrap();
    let mut local = UnixStream::connect(&path).unwrap();
    local.write_all(GET.as_bytes()).unwrap();
    let mut got = String::new();
    local.read_to_string(&mut got).unwrap();
    assert!(got.ends_with("ok"), "{got}");
    Process(gateway.id()).signal_and_keep("TERM");
    assert!(gateway.wait().unwrap().success());
    assert!(path.exists(), "it is the supervisor's");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_was_handed_over_and_fits_nobody_is_told_and_what_was_meant_for_another_is_left_alone() {
    let upstream = Upstream::start().serve(OK);
    let arguments = ["--upstream", &upstream, "--listen", "127.0.0.1:0"];
    let stray = TcpListener::bind("127.0.0.2:0").unwrap();
    let address = stray.local_addr().unwrap();
    let mut gateway = start_with(vec![stray.into()], &arguments, None);
    let said = until_ready(&mut gateway);
    assert_eq!(gateway.wait().unwrap().code(), Some(2), "{said}");
    assert!(
        said.contains(&format!("LISTEN_FDS: a socket that listens on {address} was handed over")),
        "{said}"
    );
    assert!(said.contains("fix: "), "{said}");

    let connected = UnixStream::pair().unwrap().0;
    for wrong in [connected.into(), OwnedFd::from(std::fs::File::open("/dev/null").unwrap())] {
        let mut gateway = start_with(vec![wrong], &arguments, None);
        let said = until_ready(&mut gateway);
        assert_eq!(gateway.wait().unwrap().code(), Some(2), "{said}");
        assert!(said.contains("LISTEN_FDS is set") && said.contains("fix: "), "{said}");
    }

    let others = TcpListener::bind("127.0.0.2:0").unwrap();
    let mut gateway = start_with(vec![others.into()], &arguments, Some("1"));
    assert!(until_ready(&mut gateway).contains("\nready "));
    gateway.kill().unwrap();
    gateway.wait().unwrap();
}

#[test]
fn a_supervisor_is_told_of_each_step() {
    let upstream = Upstream::start().serve(OK);
    let path = fresh_path("notify.sock");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = fresh_path("notified.toml");
    std::fs::write(&config, one_cluster(&[&upstream])).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command
        .args(["run", "--io", &io(), "--admin", "off", "--listen", "127.0.0.1:0", "--config"])
        .arg(&config);
    let mut gateway = command.env("NOTIFY_SOCKET", &path).stderr(Stdio::null()).spawn().unwrap();
    let next = || {
        let mut bytes = [0; 256];
        let count = supervisor.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    assert_eq!(next(), "READY=1");
    Process(gateway.id()).signal_and_keep("HUP");
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert!(reloading.rsplit('=').next().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(next(), "READY=1");
    Process(gateway.id()).signal_and_keep("USR2");
    // The new one's own word, then its predecessor's.
    assert_eq!(next(), "READY=1");
    let told = next();
    let successor = told.strip_prefix("MAINPID=").and_then(|rest| rest.strip_suffix("\nREADY=1"));
    let successor = Process(successor.unwrap_or_else(|| panic!("{told}")).parse().unwrap());
    assert!(gateway.wait().unwrap().success());
    successor.signal("TERM");
    assert_eq!(next(), "STOPPING=1");
    successor.wait_for_end();
    let _ = (std::fs::remove_file(&path), std::fs::remove_file(&config));
}

impl Process {
    /// For one that is waited for elsewhere.
    fn signal_and_keep(self, name: &str) {
        self.signal(name);
        std::mem::forget(self);
    }
}
