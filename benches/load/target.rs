//! What is put under load: corelane on each driver, nginx, HAProxy, and the simulated server itself.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use corelane::base::address::Address;
use corelane::load::options::Target;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Direct,
    CorelaneUring,
    CorelaneEpoll,
    /// Another build of corelane, that a change is held against.
    BeforeUring,
    BeforeEpoll,
    /// corelane with all that is observed of exchanges, and with nothing of it.
    SeenUring,
    SeenEpoll,
    BlindUring,
    BlindEpoll,
    Nginx,
    Haproxy,
}

/// All of it: the flight recorder, server-timing, and spans of a hundredth for a collector that is not there.
const ALL_SEEN: &str = "[observe]\nserver_timing = true\n\
                        trace = { otlp = \"http://127.0.0.1:9\", share = \"1%\" }\n";
/// The metrics, which are always there, and nothing else.
const NOTHING_SEEN: &str = "[observe]\nrecorder = 0\n";

impl Program {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::CorelaneUring => "corelane io_uring",
            Self::CorelaneEpoll => "corelane epoll",
            Self::BeforeUring => "before, io_uring",
            Self::BeforeEpoll => "before, epoll",
            Self::SeenUring => "all seen, io_uring",
            Self::SeenEpoll => "all seen, epoll",
            Self::BlindUring => "nothing seen, io_uring",
            Self::BlindEpoll => "nothing seen, epoll",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }

    pub fn is_ours(self) -> bool {
        matches!(self, Self::CorelaneUring | Self::CorelaneEpoll | Self::SeenUring | Self::SeenEpoll)
    }

    /// The same driver's other build, or the same with nothing observed.
    pub fn before(self) -> Option<Self> {
        match self {
            Self::CorelaneUring => Some(Self::BeforeUring),
            Self::CorelaneEpoll => Some(Self::BeforeEpoll),
            Self::SeenUring => Some(Self::BlindUring),
            Self::SeenEpoll => Some(Self::BlindEpoll),
            _ => None,
        }
    }

    /// The same driver with all that is observed.
    pub fn seen(self) -> Option<Self> {
        match self {
            Self::CorelaneUring => Some(Self::SeenUring),
            Self::CorelaneEpoll => Some(Self::SeenEpoll),
            _ => None,
        }
    }

    pub fn is_peer(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy)
    }
}

/// A running program; dropping it ends it.
pub struct Running {
    pub program: Program,
    pub target: Target,
    child: Option<Child>,
}

impl Running {
    /// None for the direct way, which is no process of its own.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // SIGTERM ends nginx with its worker; the standard library knows SIGKILL only.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let begun = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                if begun.elapsed() > Duration::from_secs(3) {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// The simulated server on a core of its own.
pub fn start_sim(core: CoreId, arguments: &[&str]) -> io::Result<Running> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelane"));
    command.args(["sim", "--listen", "127.0.0.1:0", "--slots", "100000", "--keep-alive", "none"]);
    command.args(arguments).stderr(Stdio::piped());
    let mut child = pinned(core, command)?;
    let address = announced(&mut child)?;
    Ok(Running { program: Program::Direct, target: target(address), child: Some(child) })
}

/// The direct way to the simulated server.
pub fn direct(sim: &Running) -> Running {
    Running { program: Program::Direct, target: sim.target.clone(), child: None }
}

/// `program` in front of `upstream`, all of it on `core`. Its files go into `folder`; `before` is the other build.
pub fn start(
    program: Program,
    upstream: &Target,
    core: CoreId,
    folder: &Path,
    before: &Path,
) -> io::Result<Running> {
    let ours = Path::new(env!("CARGO_BIN_EXE_corelane"));
    let plain = |binary, driver| corelane(binary, driver, upstream, core);
    let observed = |driver: &str, observe: &str| {
        let text = format!(
            "{observe}[cluster.up]\nendpoints = [{:?}]\n[[route]]\nname = \"all\"\nto = \"up\"\n",
            upstream.url
        );
        let file = folder.join(format!("{program:?}.toml"));
        std::fs::write(&file, text)?;
        let mut command = Command::new(ours);
        command.arg("run").arg("--config").arg(file);
        begin(command, driver, core)
    };
    let (child, address) = match program {
        Program::Direct => unreachable!("the direct way is not started"),
        Program::CorelaneUring => plain(ours, "io_uring")?,
        Program::CorelaneEpoll => plain(ours, "epoll")?,
        Program::BeforeUring => plain(before, "io_uring")?,
        Program::BeforeEpoll => plain(before, "epoll")?,
        Program::SeenUring => observed("io_uring", ALL_SEEN)?,
        Program::SeenEpoll => observed("epoll", ALL_SEEN)?,
        Program::BlindUring => observed("io_uring", NOTHING_SEEN)?,
        Program::BlindEpoll => observed("epoll", NOTHING_SEEN)?,
        Program::Nginx => peer("nginx", upstream, core, folder, nginx_text, &["-c"])?,
        Program::Haproxy => peer("haproxy", upstream, core, folder, haproxy_text, &["-db", "-f"])?,
    };
    Ok(Running { program, target: target(address), child: Some(child) })
}

fn corelane(binary: &Path, driver: &str, upstream: &Target, core: CoreId) -> io::Result<(Child, SocketAddr)> {
    let mut command = Command::new(binary);
    command.args(["run", "--upstream", &upstream.url]);
    begin(command, driver, core)
}

fn begin(mut command: Command, driver: &str, core: CoreId) -> io::Result<(Child, SocketAddr)> {
    command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--cores", &core.id.to_string(), "--io", driver]).stderr(Stdio::piped());
    let mut child = pinned(core, command)?;
    let address = announced(&mut child)?;
    Ok((child, address))
}

type Text = fn(&Target, SocketAddr, &Path) -> String;

fn peer(
    binary: &str,
    upstream: &Target,
    core: CoreId,
    folder: &Path,
    text: Text,
    arguments: &[&str],
) -> io::Result<(Child, SocketAddr)> {
    // Neither takes port zero and tells the real one.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let file = folder.join(format!("{binary}.conf"));
    std::fs::write(&file, text(upstream, address, folder))?;
    let mut command = Command::new(find(binary).ok_or(io::ErrorKind::NotFound)?);
    command.args(arguments).arg(&file).stderr(Stdio::null()).stdout(Stdio::null());
    let mut child = pinned(core, command)?;
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        if begun.elapsed() > Duration::from_secs(5) || child.try_wait()?.is_some() {
            let _ = child.kill();
            return Err(io::Error::other(format!("{binary} did not start with {}", file.display())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((child, address))
}

/// Where a program is installed.
pub fn find(binary: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(binary)).find(|file| file.is_file())
}

/// One worker, connections to the upstream kept, nothing buffered, nothing logged: as fast as nginx is in this place.
fn nginx_text(upstream: &Target, address: SocketAddr, folder: &Path) -> String {
    let upstream = &upstream.authority;
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes 1;
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log /dev/null crit;
events {{ worker_connections 30000; }}
http {{
  access_log off;
  server_tokens off;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  client_max_body_size 64m;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-1;
  uwsgi_temp_path {folder}/nginx-2;
  scgi_temp_path {folder}/nginx-3;
  upstream ai {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {address} reuseport backlog=4096;
    location / {{
      proxy_pass http://ai;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"
    )
}

/// One thread, connections to the upstream kept and shared, tokens not held back, nothing logged.
fn haproxy_text(upstream: &Target, address: SocketAddr, _: &Path) -> String {
    let upstream = &upstream.authority;
    // It does not start with more than half of the descriptors it may open.
    let descriptors = rlimit::Resource::NOFILE.get_soft().unwrap_or(1024);
    let connections = (descriptors.saturating_sub(200) / 2).clamp(100, 30_000);
    format!(
        "global
  nbthread 1
  maxconn {connections}
defaults
  mode http
  http-reuse always
  option http-no-delay
  timeout connect 2s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 75s
frontend clients
  bind {address} backlog 4096
  default_backend ai
backend ai
  server one {upstream} pool-max-conn 1024
"
    )
}

/// A child inherits the cores of the thread that starts it.
fn pinned(core: CoreId, mut command: Command) -> io::Result<Child> {
    std::thread::spawn(move || {
        core_affinity::set_for_current(core);
        command.stdin(Stdio::null()).spawn()
    })
    .join()
    .expect("starting a process does not panic")
}

/// Reads where one of our programs listens. What it says later is read and dropped, so that it never waits for us.
fn announced(child: &mut Child) -> io::Result<SocketAddr> {
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let mut said = String::new();
    for line in lines.by_ref() {
        let line = line?;
        if let Some(address) = line.strip_prefix("listening http://") {
            let address = address.parse().map_err(io::Error::other)?;
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(address);
        }
        said += &line;
    }
    Err(io::Error::other(format!("it did not start: {said}")))
}

fn target(address: SocketAddr) -> Target {
    Target {
        url: format!("http://{address}"),
        addresses: vec![Address::Tcp(address)],
        tls: None,
        authority: address.to_string(),
        base: String::new(),
    }
}
