//! Clients of every kind, good and bad, each with what it must be answered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use corelane::base::rng::Rng;
use socket2::SockRef;

use super::is_over;
use super::peer::{Answer, Peer};
use super::world::World;

/// One client: what it does once, and what is wrong with that.
type Act = fn(&mut Client) -> Result<(), String>;

/// All kinds, and how many of each there are.
const KINDS: [(&str, usize, Act); 16] = [
    ("echo", 6, echo),
    ("stream", 8, stream),
    ("leave", 3, leave),
    ("slow-read", 2, slow_read),
    ("slow-send", 2, slow_send),
    ("drip", 1, drip),
    ("broken", 2, broken),
    ("faulty", 4, faulty),
    ("shaky", 6, shaky),
    ("fallen", 2, fallen),
    ("dead", 1, dead),
    ("model", 3, model),
    ("tunnel", 4, tunnel),
    ("pipeline", 2, pipeline),
    ("new", 3, new),
    ("crowd", 1, crowd),
];

/// Failures that are kept word by word, of each kind.
const KEPT: usize = 5;

/// One client.
struct Client {
    address: String,
    rng: Rng,
    /// Kept between exchanges.
    peer: Option<Peer>,
}

#[derive(Default)]
struct Count {
    done: AtomicU64,
    failed: AtomicU64,
    words: Mutex<Vec<String>>,
}

/// All clients.
pub struct Clients {
    stop: Arc<AtomicBool>,
    counts: Vec<(&'static str, Arc<Count>)>,
    threads: Vec<JoinHandle<()>>,
}

/// How it went, by kind.
pub struct Counts(BTreeMap<&'static str, (u64, u64, Vec<String>)>);

impl Clients {
    /// Begins.
    pub fn start(world: &World, rng: &mut Rng) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut counts, mut threads) = (Vec::new(), Vec::new());
        for (name, how_many, act) in KINDS {
            let count = Arc::new(Count::default());
            counts.push((name, Arc::clone(&count)));
            for _ in 0..how_many {
                let client =
                    Client { address: world.address.clone(), rng: Rng::new(rng.next_u64()), peer: None };
                let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
                threads.push(thread::spawn(move || client.run((name, act), &count, &stop)));
            }
        }
        Self { stop, counts, threads }
    }

    /// Exchanges so far, or what counts as one.
    pub fn exchanges(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count.done.load(Ordering::Relaxed)).sum()
    }

    /// Of them, those that went wrong.
    pub fn failures(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count.failed.load(Ordering::Relaxed)).sum()
    }

    /// Ends all of them.
    pub fn stop(self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
        let tell = |(name, count): (&'static str, Arc<Count>)| {
            let words = std::mem::take(&mut *count.words.lock().expect("nobody panics with it"));
            (name, (count.done.load(Ordering::Relaxed), count.failed.load(Ordering::Relaxed), words))
        };
        Counts(self.counts.into_iter().map(tell).collect())
    }
}

impl Counts {
    /// All exchanges.
    pub fn total(&self) -> u64 {
        self.0.values().map(|(done, ..)| done).sum()
    }

    /// What went wrong.
    pub fn faults(&self) -> Vec<String> {
        let told = |(name, (done, failed, words)): (&&str, &(u64, u64, Vec<String>))| match (done, failed) {
            (0, _) => Some(format!("{name}: nothing was done")),
            (_, 0) => None,
            _ => Some(format!("{name}: {failed} of {done} failed, such as {}", words.join("; "))),
        };
        self.0.iter().filter_map(told).collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(name, (done, ..))| format!("{name} {done}")).collect();
        f.write_str(&parts.join(", "))
    }
}

impl Client {
    fn run(mut self, (name, act): (&str, Act), count: &Count, stop: &AtomicBool) {
        while !is_over(stop) {
            let outcome = act(&mut self);
            count.done.fetch_add(1, Ordering::Relaxed);
            if let Err(why) = outcome {
                count.failed.fetch_add(1, Ordering::Relaxed);
                self.peer = None;
                let mut words = count.words.lock().expect("nobody panics with it");
                if words.len() < KEPT {
                    println!("failed: {name}: {why}");
                    words.push(why);
                }
            }
            self.pause(10);
        }
    }

    fn pause(&mut self, most_ms: u64) {
        thread::sleep(Duration::from_millis(self.rng.below(most_ms + 1)));
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.rng.next_u64().to_le_bytes()).flatten().take(count).collect()
    }

    fn fresh(&self) -> Result<Peer, String> {
        Peer::connect(&self.address)
    }

    /// One exchange on the connection that is kept, or on a new one.
    fn exchange(&mut self, request: &[u8]) -> Result<Answer, String> {
        let mut peer = match self.peer.take() {
            Some(peer) => peer,
            None => self.fresh()?,
        };
        let answer = peer.exchange(request)?;
        if answer.field("connection") != Some("close") {
            self.peer = Some(peer);
        }
        Ok(answer)
    }
}

fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: soak\r\n{fields}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chat(path: &str, fields: &str, tokens: u64, stream: bool) -> Vec<u8> {
    let body = format!(
        "{{\"model\":\"sim\",\"max_tokens\":{tokens},\"stream\":{stream},\"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}"
    );
    post(path, fields, body.as_bytes())
}

fn is(answer: &Answer, status: u16, code: &str) -> Result<(), String> {
    match (answer.status, answer.code()) {
        (got, text) if got == status && (code.is_empty() || text == code) => Ok(()),
        (got, text) => Err(format!("{got} {text} instead of {status} {code}")),
    }
}

fn same(answer: &Answer, body: &[u8]) -> Result<(), String> {
    is(answer, 200, "")?;
    let (got, sent) = (answer.body.len(), body.len());
    if answer.body == body {
        Ok(())
    } else {
        Err(format!("{got} bytes differ from the {sent} that were sent"))
    }
}

fn echo(client: &mut Client) -> Result<(), String> {
    let size = [0, 1, 700, 20_000, 150_000][client.below(5)];
    let size = client.below(size + 1);
    let body = client.bytes(size);
    let request = match client.below(2) {
        0 => post("/echo", "", &body),
        _ => {
            let mut request =
                b"POST /echo HTTP/1.1\r\nhost: soak\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            for chunk in body.chunks(1 + client.below(30_000)) {
                request.extend(format!("{:x}\r\n", chunk.len()).bytes());
                request.extend(chunk);
                request.extend(b"\r\n");
            }
            request.extend(b"0\r\n\r\n");
            request
        }
    };
    same(&client.exchange(&request)?, &body)
}

fn stream(client: &mut Client) -> Result<(), String> {
    let tokens = 1 + client.rng.below(24);
    let answer = client.exchange(&chat("/v1/chat/completions", "", tokens, true))?;
    is(&answer, 200, "")?;
    match String::from_utf8_lossy(&answer.body).trim_end().ends_with("data: [DONE]") {
        true => Ok(()),
        false => Err("a stream without its end".to_owned()),
    }
}

fn leave(client: &mut Client) -> Result<(), String> {
    let mut peer = client.fresh()?;
    let request = chat("/v1/chat/completions", "", 64, true);
    // In the middle of the request, before its answer, or inside it.
    let sent = [request.len() / 2, request.len()][client.below(2)];
    peer.send(&request[..sent])?;
    if sent == request.len() && client.below(2) == 0 {
        peer.head()?.ok_or("no head came")?;
    }
    client.pause(60);
    if client.below(2) == 0 {
        let _ = SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO));
    }
    Ok(())
}

fn slow_read(client: &mut Client) -> Result<(), String> {
    let body = client.bytes(1_500_000);
    let mut peer = client.fresh()?;
    let mut writing = peer.stream.try_clone().map_err(|error| error.to_string())?;
    let request = post("/echo", "connection: close\r\n", &body);
    let sending = thread::spawn(move || std::io::Write::write_all(&mut writing, &request));
    while peer.waiting() < body.len() {
        client.pause(8);
        if !peer.more()? {
            break;
        }
    }
    let answer = peer.answer()?.ok_or("no answer came")?;
    sending.join().map_err(|_| "the sender panicked")?.map_err(|error| format!("cannot send: {error}"))?;
    same(&answer, &body)
}

fn slow_send(client: &mut Client) -> Result<(), String> {
    let body = client.bytes(12_000);
    let mut peer = client.fresh()?;
    for piece in post("/echo", "connection: close\r\n", &body).chunks(1500) {
        peer.send(piece)?;
        client.pause(80);
    }
    same(&peer.answer()?.ok_or("no answer came")?, &body)
}

fn drip(client: &mut Client) -> Result<(), String> {
    let mut peer = client.fresh()?;
    peer.send(b"GET /echo HTTP/1.1\r\nhost: so")?;
    // A head has one second.
    is(&peer.answer()?.ok_or("it was closed without a word")?, 408, "request_timeout")
}

fn broken(client: &mut Client) -> Result<(), String> {
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let cases: [(&str, u16); 9] = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nhost: x\n\n", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000000\r\n\r\n", 413),
        ("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        ("CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 501),
        ("GET / HTTP/1.1\r\nhost: x\r\nexpect: more\r\n\r\n", 417),
        ("GET /a/../b HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (&long, 431),
    ];
    let (request, status) = cases[client.below(cases.len())];
    let mut peer = client.fresh()?;
    peer.send(request.as_bytes())?;
    is(&peer.answer()?.ok_or("it was closed without a word")?, status, "")
}

fn faulty(client: &mut Client) -> Result<(), String> {
    let (fault, status, code) = [
        ("status=503", 503, ""),
        ("status=500", 500, ""),
        ("status=429", 429, ""),
        ("reset=head", 502, "upstream_reset"),
        ("delay=3s", 504, "upstream_timeout"),
        ("reset=body", 0, ""),
        ("truncate", 0, ""),
        ("stall", 0, ""),
    ][client.below(8)];
    let stream = client.below(2) == 0;
    let request = chat("/faulty/v1/chat/completions", &format!("x-sim: {fault}\r\n"), 8, stream);
    let mut peer = client.fresh()?;
    peer.send(&request)?;
    let answer = peer.answer()?.ok_or(format!("{fault}: closed without a word"))?;
    match status {
        0 if answer.status == 200 && !answer.is_whole => Ok(()),
        // A reset may overtake the head.
        0 if fault == "reset=body" && answer.status == 502 => Ok(()),
        0 => Err(format!("{fault}: {} and whole", answer.status)),
        _ => is(&answer, status, code).map_err(|why| format!("{fault}: {why}")),
    }
}

fn shaky(client: &mut Client) -> Result<(), String> {
    let is_stream = client.below(2) == 0;
    let size = client.below(60_000);
    let body = client.bytes(size);
    let request = match is_stream {
        true => chat("/shaky/v1/chat/completions", "", 12, true),
        false => post("/shaky/echo", "", &body),
    };
    let mut peer = client.fresh()?;
    peer.send(&request)?;
    let answer = peer.answer()?.ok_or("closed without a word")?;
    match (answer.status, answer.is_whole, is_stream) {
        (200, true, true) => Ok(()),
        (200, true, false) => same(&answer, &body),
        // Its server died inside it.
        (200, false, _) => Ok(()),
        (502, true, _) if matches!(answer.code(), "upstream_reset" | "upstream_connect") => Ok(()),
        (503, true, _) if answer.code() == "no_endpoint" => Ok(()),
        (504, true, _) if answer.code() == "upstream_timeout" => Ok(()),
        (429, true, _) if answer.code() == "queue_full" => Ok(()),
        (status, is_whole, _) => Err(format!("{status} {} (whole: {is_whole})", answer.code())),
    }
}

fn fallen(client: &mut Client) -> Result<(), String> {
    let size = client.below(50_000);
    let body = client.bytes(size);
    let answer = client.exchange(&post("/fallen/echo", "", &body))?;
    // The fallback has one try: where that meets a connection that was just closed, the client is told to try again.
    if (answer.status, answer.code(), answer.field("x-should-retry")) == (502, "upstream_reset", Some("true"))
    {
        return Ok(());
    }
    same(&answer, &body)
}

fn dead(client: &mut Client) -> Result<(), String> {
    let answer = client.exchange(b"GET /dead HTTP/1.1\r\nhost: soak\r\n\r\n")?;
    is(&answer, 502, "upstream_connect")
}

fn model(client: &mut Client) -> Result<(), String> {
    let padding = "p".repeat(client.below(80_000));
    let name = client.below(1000);
    let body = match client.below(3) {
        0 => format!("{{\"padding\":\"{padding}\",\"model\":\"a-{name}\"}}"),
        1 => format!("{{\"model\":\"a-{name}\",\"messages\":[{{\"content\":\"{padding}\\u0041\"}}]}}"),
        _ => format!("{{\"model\":\"a-{name}\",\"padding\":\"{padding}\",\"model\":\"b\"}}"),
    };
    let is_doubled = body.ends_with("\"model\":\"b\"}");
    let answer =
        client.exchange(&post("/model/echo", "content-type: application/json\r\n", body.as_bytes()))?;
    if is_doubled { is(&answer, 400, "invalid_body") } else { same(&answer, body.as_bytes()) }
}

fn tunnel(client: &mut Client) -> Result<(), String> {
    let mut peer = client.fresh()?;
    peer.send(
        b"GET /ws HTTP/1.1\r\nhost: soak\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: c29hawo=\r\n\r\n",
    )?;
    let head = peer.head()?.ok_or("closed without a word")?;
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(format!("not opened: {}", head.lines().next().unwrap_or_default()));
    }
    for _ in 0..1 + client.below(20) {
        let size = [1, 100, 5_000, 200_000][client.below(4)];
        let size = 1 + client.below(size);
        let sent = client.bytes(size);
        let mut writing = peer.stream.try_clone().map_err(|error| error.to_string())?;
        let piece = sent.clone();
        let sending = thread::spawn(move || std::io::Write::write_all(&mut writing, &piece));
        while peer.waiting() < size {
            if !peer.more()? {
                return Err("the tunnel ended".to_owned());
            }
        }
        sending
            .join()
            .map_err(|_| "the sender panicked")?
            .map_err(|error| format!("cannot send: {error}"))?;
        if peer.take(size) != sent {
            return Err("other bytes came back".to_owned());
        }
        client.pause(30);
    }
    match client.below(3) {
        0 => Ok(()),
        1 => {
            let _ = SockRef::from(&peer.stream).set_linger(Some(Duration::ZERO));
            Ok(())
        }
        _ => {
            peer.stream.shutdown(std::net::Shutdown::Write).map_err(|error| error.to_string())?;
            if peer.more()? { Err("bytes out of nowhere".to_owned()) } else { Ok(()) }
        }
    }
}

fn pipeline(client: &mut Client) -> Result<(), String> {
    let mut peer = client.fresh()?;
    let bodies: Vec<_> = (0..6).map(|at| format!("body {at} {}", client.rng.next_u64())).collect();
    let requests = bodies.iter().map(|body| post("/echo", "", body.as_bytes()));
    peer.send(&requests.collect::<Vec<_>>().concat())?;
    for (at, body) in bodies.iter().enumerate() {
        match peer.answer()? {
            Some(answer) => same(&answer, body.as_bytes())?,
            // A drain answers the one that was read, and ends the connection behind it.
            None if at > 0 => return Ok(()),
            None => return Err("closed without a word".to_owned()),
        }
    }
    Ok(())
}

fn new(client: &mut Client) -> Result<(), String> {
    let answer =
        client.fresh()?.exchange(b"GET /ping HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n")?;
    is(&answer, 200, "")?;
    if answer.body == b"pong" { Ok(()) } else { Err("another body".to_owned()) }
}

fn crowd(client: &mut Client) -> Result<(), String> {
    let mut peers = (0..60).map(|_| client.fresh()).collect::<Result<Vec<_>, _>>()?;
    client.pause(400);
    for peer in &mut peers {
        is(&peer.exchange(b"GET /ping HTTP/1.1\r\nhost: soak\r\n\r\n")?, 200, "")?;
    }
    client.pause(2000);
    Ok(())
}
