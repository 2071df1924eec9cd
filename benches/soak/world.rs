//! The gateway, the simulated servers behind it, and a server that speaks another protocol.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::peer::Peer;

/// Longest wait for a process.
const PATIENCE: Duration = Duration::from_secs(30);

/// All that runs.
pub struct World {
    gateway: Child,
    /// The process that serves: the gateway, or its successor.
    pub process: u32,
    pub address: String,
    pub admin: String,
    pub config: PathBuf,
    pub log: PathBuf,
    pub servers: Servers,
    steady: Child,
}

/// What stands behind the gateway, by address.
#[derive(Clone)]
pub struct Servers {
    /// Never dies.
    pub steady: String,
    /// Die and come back.
    pub shaky: [String; 2],
    /// Where nobody listens.
    pub dead: String,
    /// Speaks another protocol once both agree.
    pub echo: String,
}

/// A port that is free now.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("loopback has free ports")
        .to_string()
}

/// Starts a simulated server there.
pub fn sim(address: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_corelane"))
        .args([
            "sim",
            "--listen",
            address,
            "--io",
            "epoll",
            "--ttft",
            "5ms",
            "--itl",
            "3ms",
            "--keep-alive",
            "2s",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the simulated server starts")
}

/// The configuration of this generation: routes and endpoints come, go and change their order.
pub fn config(servers: &Servers, generation: u64) -> String {
    let Servers { steady, shaky: [one, two], dead, echo } = servers;
    let shaky = match generation % 3 {
        0 => format!("\"http://{one}\", \"http://{two}\""),
        1 => format!("\"http://{two}\", \"http://{one}\""),
        _ => format!("\"http://{one}\", {{ url = \"http://{two}\", weight = 3, max_in_flight = 8 }}"),
    };
    let routes = [
        "[[route]]\nname = \"shaky\"\nmatch = { path = \"/shaky/*\" }\nto = \"shaky\"\nrewrite = { strip = \"/shaky\" }\n",
        "[[route]]\nname = \"fallen\"\nmatch = { path = \"/fallen/*\" }\nto = \"dead\"\nfallback = [\"steady\"]\nrewrite = { strip = \"/fallen\" }\n",
        "[[route]]\nname = \"faulty\"\nmatch = { path = \"/faulty/*\" }\nto = \"faulty\"\nrewrite = { strip = \"/faulty\" }\n",
        "[[route]]\nname = \"dead\"\nmatch = { path = \"/dead\" }\nto = \"dead\"\n",
        "[[route]]\nname = \"ws\"\nmatch = { path = \"/ws\" }\nto = \"echo\"\nupgrade = { idle = \"5s\" }\n",
        "[[route]]\nname = \"a\"\nmatch = { path = \"/model/*\", body = { model = \"a-*\" } }\nto = \"steady\"\nrewrite = { strip = \"/model\" }\n",
        "[[route]]\nname = \"ping\"\nmatch = { path = \"/ping\" }\nrespond = { body = \"pong\" }\n",
    ];
    let mut order: Vec<_> = routes.into_iter().map(str::to_owned).collect();
    order.rotate_left((generation % 7) as usize);
    order.push(format!(
        "[[route]]\nmatch = {{ path = \"/more-{}\" }}\nrespond = {{ status = 204 }}\n",
        generation % 5
    ));
    format!(
        "[server]\ndrain = \"20s\"\n\
         [limits]\nconnections = 500\nbody = \"4MiB\"\nbuffered = \"32MiB\"\nhead_timeout = \"1s\"\nidle_timeout = \"5s\"\nbody_rate = \"1KiB\"\nwrite_timeout = \"3s\"\n\
         [cluster.steady]\nendpoints = [\"http://{steady}\"]\n\
         [cluster.shaky]\nendpoints = [{shaky}]\nretry = {{ attempts = 3, on = [\"connect\", \"stale\", \"503\"] }}\nejection = {{ window = \"2s\" }}\nslow_start = \"1s\"\n\
         health = {{ path = \"/health\", interval = \"500ms\", timeout = \"500ms\" }}\ntimeout = {{ connect = \"1s\", first_byte = \"2s\", between_bytes = \"2s\" }}\n\
         [cluster.faulty]\nendpoints = [\"http://{steady}\"]\ntimeout = {{ connect = \"1s\", first_byte = \"1500ms\", between_bytes = \"1500ms\" }}\n\
         [cluster.dead]\nendpoints = [\"http://{dead}\"]\n\
         [cluster.echo]\nendpoints = [\"http://{echo}\"]\n\
         {}[[route]]\nname = \"rest\"\nto = \"steady\"\n\
         [observe]\naccess_log = {{ to = \"/dev/null\" }}\nrecorder = 2048\n",
        order.concat()
    )
}

impl World {
    /// Starts all of it.
    pub fn start(io: &str) -> Self {
        let echo = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let servers = Servers {
            steady: free(),
            shaky: [free(), free()],
            dead: free(),
            echo: echo.local_addr().expect("it is bound").to_string(),
        };
        thread::spawn(move || {
            echo.incoming().flatten().for_each(|stream| drop(thread::spawn(|| echo_back(stream))))
        });
        let steady = sim(&servers.steady);
        let folder = std::env::temp_dir().join(format!("corelane-soak-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written to");
        let (path, log) = (folder.join("soak.toml"), folder.join("gateway.log"));
        std::fs::write(&path, config(&servers, 0)).expect("the temporary folder can be written to");
        let gateway = Command::new(env!("CARGO_BIN_EXE_corelane"))
            .args([
                "run",
                "--io",
                io,
                "--lanes",
                "2",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--config",
            ])
            .arg(&path)
            .stderr(File::create(&log).expect("the temporary folder can be written to"))
            .spawn()
            .expect("the gateway starts");
        let process = gateway.id();
        let (address, admin) = (String::new(), String::new());
        let mut world = Self { gateway, process, address, admin, config: path, log, servers, steady };
        world.wait_for("ready ");
        let said = world.said();
        let word = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches("http://").to_owned()
        };
        (world.address, world.admin) = (word("listening "), word("admin "));
        // Its servers are there.
        let begun = Instant::now();
        while TcpStream::connect(&world.servers.steady).is_err() && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        world
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn wait_for(&mut self, word: &str) {
        let begun = Instant::now();
        // A start line, or the message of an object.
        while !self.said().contains(word) {
            assert!(self.is_running() && begun.elapsed() < PATIENCE, "the gateway says: {}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether the gateway serves.
    pub fn is_running(&mut self) -> bool {
        matches!(self.gateway.try_wait(), Ok(None))
    }

    /// Asks the admin API.
    pub fn ask(&self, method: &str, path: &str) -> Result<String, String> {
        ask(&self.admin, method, path)
    }

    /// Has the gateway replaced by a new process, and waits until the old one has drained.
    pub fn replace(&mut self) -> Result<(), String> {
        signal("USR2", self.process);
        let word = "replaced by process ";
        self.wait_for(word);
        let said = self.said();
        let id = said.split_once(word).map_or("", |(_, behind)| behind);
        let id = id.split(|c: char| !c.is_ascii_digit()).next().and_then(|id| id.parse().ok());
        self.process = id.ok_or("no successor is named")?;
        let begun = Instant::now();
        loop {
            match self.gateway.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the replaced gateway ended with {status}")),
                _ if begun.elapsed() > PATIENCE => return Err("the replaced gateway did not end".to_owned()),
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Ends it in order; what went wrong.
    pub fn end(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        let begun = Instant::now();
        let in_flight = || {
            let stats = self.ask("GET", "/stats").unwrap_or_default();
            stats.split("\"in_flight\":").skip(1).any(|rest| !rest.starts_with('0'))
        };
        while in_flight() && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(100));
        }
        if in_flight() {
            faults.push("something is in flight though nobody asks".to_owned());
        }
        signal("TERM", self.process);
        let is_there = |process: u32| std::fs::metadata(format!("/proc/{process}")).is_ok();
        let begun = Instant::now();
        while is_there(self.process) && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(20));
        }
        if is_there(self.process) {
            faults.push("the gateway does not end".to_owned());
        }
        let said = self.said();
        faults.extend(
            said.lines().filter(|line| line.contains("panicked")).map(|line| format!("a panic: {line}")),
        );
        faults
    }
}

impl Drop for World {
    fn drop(&mut self) {
        signal("KILL", self.process);
        let _ = (self.gateway.kill(), self.gateway.wait());
        let _ = (self.steady.kill(), self.steady.wait());
    }
}

/// Asks the admin API at `admin`; the body.
pub fn ask(admin: &str, method: &str, path: &str) -> Result<String, String> {
    let mut peer = Peer::connect(admin)?;
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let answer = peer.exchange(request.as_bytes())?;
    match answer.status {
        200 => Ok(String::from_utf8_lossy(&answer.body).into_owned()),
        status => Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer.body))),
    }
}

/// Sends a signal.
pub fn signal(name: &str, process: u32) {
    let _ =
        Command::new("kill").args([&format!("-{name}"), &process.to_string()]).stderr(Stdio::null()).status();
}

/// Agrees to another protocol, and sends back what comes.
fn echo_back(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1..) => head.push(byte[0]),
            _ => return,
        }
    }
    let agreed = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut bytes = vec![0; 65536];
    let mut sent = stream.write_all(agreed);
    while sent.is_ok() {
        sent = match stream.read(&mut bytes) {
            Ok(count @ 1..) => stream.write_all(&bytes[..count]),
            _ => return,
        };
    }
}
