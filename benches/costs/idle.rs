//! What a connection costs that made one exchange and lies idle: memory that stays resident, and processor time.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{Running, gateway, sim};

/// As many as a lane may well hold; each takes a descriptor here and one in the gateway.
const CONNECTIONS: usize = 4_000;
/// Until what an exchange needed is given back, and the clocks of the last ones are in their places.
const SETTLE: Duration = Duration::from_secs(3);
/// How long processor time is counted, in ticks of a hundredth of a second.
const WATCH: Duration = Duration::from_secs(5);

/// KiB resident for each idle connection, and per cent of a core for all of them.
pub fn measure(driver: &str) -> io::Result<[f64; 2]> {
    let (_sim, upstream) = sim()?;
    let (gateway, target) = gateway(&[], driver, &upstream)?;
    let open = || exchange(&target.authority);
    // What the first ones need is there for all.
    drop((0..50).map(|_| open()).collect::<io::Result<Vec<_>>>()?);
    std::thread::sleep(SETTLE);
    let before = resident_kib(&gateway)?;
    let held = (0..CONNECTIONS).map(|_| open()).collect::<io::Result<Vec<_>>>().map_err(|error| {
        io::Error::other(format!(
            "{CONNECTIONS} connections: {error}; raise the limit of open files (ulimit -n)"
        ))
    })?;
    std::thread::sleep(SETTLE);
    let memory = (resident_kib(&gateway)? - before) / held.len() as f64;
    let (begun, ticks) = (Instant::now(), ticks(&gateway)?);
    std::thread::sleep(WATCH);
    let busy = (self::ticks(&gateway)? - ticks) / begun.elapsed().as_secs_f64();
    Ok([memory, busy])
}

/// A connection that made one exchange.
fn exchange(authority: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(authority)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET /health HTTP/1.1\r\nhost: {authority}\r\n\r\n")?;
    let mut seen = [0; 4096];
    let read = loop {
        match stream.read(&mut seen) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    match read {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count if seen[..count].starts_with(b"HTTP/1.1 200") => Ok(stream),
        count => Err(io::Error::other(String::from_utf8_lossy(&seen[..count]).into_owned())),
    }
}

/// `VmRSS` (proc(5)).
fn resident_kib(of: &Running) -> io::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", of.0.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).ok_or(io::ErrorKind::NotFound.into())
}

/// Processor time so far in user and kernel mode, the 14th and 15th field (proc(5)); a tick is a hundredth of a second.
fn ticks(of: &Running) -> io::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", of.0.id()))?;
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<f64> =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    Ok(fields.iter().sum())
}
