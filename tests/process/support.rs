//! The gateway as a process, and raw-byte peers on plain blocking sockets.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything; a test that comes near it is broken.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A running gateway; killed when dropped.
pub struct Gateway {
    pub process: Child,
    /// What it printed as its listening addresses, in order.
    pub listening: Vec<String>,
    pub admin: String,
    pub config: PathBuf,
    /// What it goes on printing.
    pub stderr: BufReader<Box<dyn Read + Send + Sync>>,
    /// What is left of the line that it said last.
    said: VecDeque<String>,
}

/// The driver under test.
pub fn io() -> String {
    std::env::var("CORELANE_TEST_IO").unwrap_or_else(|_| "auto".to_owned())
}

/// A path for a file or socket of this test, not used before.
pub fn fresh_path(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("corelane-{}-{count}-{name}", std::process::id()))
}

/// A configuration of one cluster "up" with these endpoints and one route to it.
pub fn one_cluster(endpoints: &[&str]) -> String {
    format!("[cluster.up]\nendpoints = {endpoints:?}\n[[route]]\nname = \"all\"\nto = \"up\"\n")
}

impl Gateway {
    /// Starts with `config`, to which free ports and the driver are added.
    pub fn start(config: &str) -> Self {
        Self::start_with(config, &["--listen", "127.0.0.1:0"])
    }

    /// Starts with further arguments.
    pub fn start_with(config: &str, arguments: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        Self::start_telling(config, arguments, reader, writer)
    }

    /// Starts where no more than this many descriptors may be open.
    pub fn start_within(descriptors: u32, config: &str, arguments: &[&str]) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")]);
        shell.arg(env!("CARGO_BIN_EXE_corelane"));
        Self::launch(shell, config, arguments, reader, writer)
    }

    /// Starts on a machine that trusts the authorities of this file alone.
    pub fn start_trusting(authorities: &Path, config: &str) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
        command.env("SSL_CERT_FILE", authorities);
        Self::launch(command, config, &["--listen", "127.0.0.1:0"], reader, writer)
    }

    /// Starts with a pipe of the test's own as its stderr.
    pub fn start_telling(config: &str, arguments: &[&str], stderr: PipeReader, writer: PipeWriter) -> Self {
        Self::launch(Command::new(env!("CARGO_BIN_EXE_corelane")), config, arguments, stderr, writer)
    }

    fn launch(
        mut command: Command,
        config: &str,
        arguments: &[&str],
        stderr: PipeReader,
        writer: PipeWriter,
    ) -> Self {
        let file = fresh_path("gateway.toml");
        std::fs::write(&file, config).unwrap();
        command
            .args(["run", "--io", &io()])
            .args(if arguments.contains(&"--admin") { &[][..] } else { &["--admin", "127.0.0.1:0"] })
            .arg("--config")
            .arg(&file)
            .args(arguments)
            .stderr(writer);
        let process = command.spawn().unwrap();
        // The gateway alone holds the writing end: where it ends, the pipe does.
        drop(command);
        let mut stderr = BufReader::new(Box::new(stderr) as Box<dyn Read + Send + Sync>);
        let (mut listening, mut admin, mut all) = (Vec::new(), String::new(), String::new());
        loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the gateway did not start: {all}");
            all.push_str(&line);
            match line.trim().split_once(' ') {
                Some(("listening", address)) => {
                    listening.push(address.trim_start_matches("http://").to_owned())
                }
                Some(("admin", address)) => admin = address.trim_start_matches("http://").to_owned(),
                Some(("ready", _)) => break,
                _ => {}
            }
        }
        Self { process, listening, admin, config: file, stderr, said: VecDeque::new() }
    }

    /// In front of one TCP upstream.
    pub fn before(upstream: &Upstream) -> Self {
        Self::start(&one_cluster(&[&upstream.url()]))
    }

    /// A new client connection.
    pub fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(&self.listening[0]).unwrap())
    }

    /// Sends one raw request on a connection of its own and reads to the end of the stream.
    pub fn exchange(&self, request: &str) -> String {
        let mut client = self.connect();
        client.send(request);
        client.read_to_end()
    }

    /// Asks the admin API; status and body.
    pub fn admin(&self, method: &str, path: &str) -> (u16, String) {
        let mut peer = Peer::new(TcpStream::connect(&self.admin).unwrap());
        peer.send(format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"));
        let text = peer.read_to_end();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    /// The document of `/stats`.
    pub fn stats(&self) -> Value {
        serde_json::from_str(&self.admin("GET", "/stats").1).unwrap()
    }

    /// What `/stats` says of one endpoint of the cluster "up".
    pub fn endpoint(&self, url: &str) -> Value {
        self.stats()["endpoints"]["up"][url].clone()
    }

    /// Asks `/stats` until it is as wanted.
    pub fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        loop {
            let stats = self.stats();
            if is_so(&stats) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "never came: {what}\n{stats}");
        }
    }

    /// Resident memory of the process, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Sends a signal by number.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Reads nothing of what it prints any more: its stderr is a pipe without a reader.
    pub fn deafen(&mut self) {
        self.stderr = BufReader::new(Box::new(std::io::empty()));
    }

    /// The next line that it prints, as it is.
    pub fn next_raw_line(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// The next line that it says, as people read it: of an object the message, then why, and what to do.
    pub fn next_line(&mut self) -> String {
        if let Some(line) = self.said.pop_front() {
            return line;
        }
        let line = self.next_raw_line();
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        if told["level"].is_null() {
            return line;
        }
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        self.said.extend(text("message").unwrap_or_default().lines().map(str::to_owned));
        self.said.extend(["why", "fix"].iter().filter_map(|name| Some(format!("{name}: {}", text(name)?))));
        self.said.pop_front().unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// A port of its own where nobody listens, until somebody is started there: other sockets of this run are
/// not given it, while a connection is refused.
pub struct Place(socket2::Socket);

impl Place {
    pub fn keep() -> Self {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // So that a program that sets both, as Corelane's do, may listen here all the same.
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> String {
        self.0.local_addr().unwrap().as_socket().unwrap().to_string()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

/// The URL of an endpoint where nobody listens, for as long as the tests run.
pub fn nobody() -> String {
    static PLACE: std::sync::LazyLock<Place> = std::sync::LazyLock::new(Place::keep);
    PLACE.url()
}

/// A listening socket that plays an inference server by script.
pub struct Upstream {
    pub listener: TcpListener,
}

impl Upstream {
    pub fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// The next connection of the gateway.
    pub fn accept(&self) -> Peer {
        Peer::new(self.listener.accept().unwrap().0)
    }

    /// Whether a connection waits to be accepted.
    pub fn has_waiting(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let waiting = self.listener.accept().is_ok();
        self.listener.set_nonblocking(false).unwrap();
        waiting
    }

    /// Answers every request on every connection in the background, with `answer` as it is.
    pub fn serve(self, answer: &'static str) -> String {
        self.play(move |peer, _| {
            peer.send(answer);
            After::GoOn
        })
    }

    /// Plays every connection in the background, request by request; returns the URL.
    pub fn play(self, each: impl Fn(&mut Peer, String) -> After + Send + Sync + 'static) -> String {
        let (url, each) = (self.url(), Arc::new(each));
        std::thread::spawn(move || {
            for stream in self.listener.incoming().flatten() {
                let each = Arc::clone(&each);
                std::thread::spawn(move || {
                    let mut peer = Peer::new(stream);
                    peer.stream.set_read_timeout(None).unwrap();
                    while let Some(request) = peer.try_request() {
                        match each(&mut peer, request) {
                            After::GoOn => {}
                            After::Close => return,
                            After::Reset => return peer.reset(),
                        }
                    }
                });
            }
        });
        url
    }
}

/// What becomes of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    GoOn,
    Close,
    Reset,
}

/// A small whole answer.
pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// One end of a connection, byte by byte.
pub struct Peer {
    pub stream: TcpStream,
    /// Read and not yet asked for.
    buffer: Vec<u8>,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// One read of the socket: what arrived at once.
    pub fn read_some(&mut self) -> String {
        if !self.buffer.is_empty() {
            return String::from_utf8(std::mem::take(&mut self.buffer)).unwrap();
        }
        let mut bytes = vec![0; 1 << 20];
        let count = self.stream.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    /// Reads until `end` has come; what follows it is kept.
    pub fn read_until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.buffer.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap();
            }
            let mut bytes = [0; 65536];
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(
                count > 0,
                "the end of the stream came before {end:?}: {}",
                String::from_utf8_lossy(&self.buffer)
            );
            self.buffer.extend_from_slice(&bytes[..count]);
        }
    }

    /// Reads exactly this many bytes.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            let mut bytes = [0; 65536];
            let got = self.stream.read(&mut bytes).unwrap();
            assert!(got > 0, "the end of the stream came early");
            self.buffer.extend_from_slice(&bytes[..got]);
        }
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Reads a head and a body of known length, if it has one.
    pub fn read_message(&mut self) -> String {
        let head = self.read_until("\r\n\r\n");
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").map(|n| n.parse().unwrap())
            })
            .unwrap_or(0);
        head + &String::from_utf8(self.read_exactly(length)).unwrap()
    }

    /// A request, or none at the end of the stream.
    pub fn try_request(&mut self) -> Option<String> {
        while !self.buffer.windows(4).any(|window| window == b"\r\n\r\n") {
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
            }
        }
        Some(self.read_message())
    }

    /// A request with its body as it was framed, or none at the end of the stream.
    pub fn try_message(&mut self) -> Option<String> {
        while !self.buffer.windows(4).any(|window| window == b"\r\n\r\n") {
            let mut bytes = [0; 65536];
            match self.stream.read(&mut bytes) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
            }
        }
        let head = self.read_until("\r\n\r\n");
        if !head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked\r\n") {
            self.buffer.splice(0..0, head.into_bytes());
            return Some(self.read_message());
        }
        let mut message = head;
        loop {
            let line = self.read_until("\r\n");
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            let data = String::from_utf8(self.read_exactly(size + 2)).unwrap();
            if size == 0 {
                return Some(message);
            }
            message.push_str(data.strip_suffix("\r\n").unwrap());
        }
    }

    /// Reads to the end of the stream, which must not be a reset.
    pub fn read_to_end(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.buffer);
        self.stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Reads to the end of the stream, however it comes; whether it was clean.
    pub fn read_to_any_end(&mut self) -> (String, bool) {
        let mut bytes = std::mem::take(&mut self.buffer);
        let clean = self.stream.read_to_end(&mut bytes).is_ok();
        (String::from_utf8_lossy(&bytes).into_owned(), clean)
    }

    /// Waits for the end of the stream, by close or reset, and tells how long that took.
    pub fn wait_for_end(&mut self) -> Duration {
        let begun = Instant::now();
        let mut bytes = [0; 65536];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return begun.elapsed(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return begun.elapsed(),
                Err(error) => panic!("the connection stays open: {error}"),
            }
        }
    }

    /// Whether nothing arrives for a moment: for asserting that something is *not* sent.
    pub fn is_silent(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
        let mut byte = [0];
        let silent = matches!(self.stream.peek(&mut byte), Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent && self.buffer.is_empty()
    }

    /// Closes the sending side.
    pub fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let socket = socket2::Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}
