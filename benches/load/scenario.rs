//! What is measured: each scenario with what is asked, by whom, of which simulated server.

use std::time::Duration;

use corelane::load::job::{JobOptions, Kind};
use corelane::load::options::{Hold, Pace};

/// What a proxy's CPU time is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Request,
    Token,
    /// Nothing: what is looked at is memory for each connection.
    Connection,
}

/// One row group of the table.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub unit: Unit,
    pub pace: Pace,
    pub job: JobOptions,
    /// Further arguments of `corelane sim`.
    pub sim: &'static [&'static str],
    pub warmup: Duration,
}

const AT_ONCE: &[&str] = &["--ttft", "0ms", "--itl", "0ms", "--tokens", "16", "--dimensions", "256"];
const LONG_ANSWER: &[&str] = &["--ttft", "0ms", "--itl", "0ms", "--tokens", "9500"];
const TOKENS: &[&str] = &["--ttft", "5ms", "--itl", "50ms", "--tokens", "200", "--stamp"];
const BURSTS: &[&str] = &["--ttft", "5ms", "--itl", "25ms", "--tokens", "400", "--burst", "8", "--stamp"];

fn job(kind: Kind) -> JobOptions {
    JobOptions {
        kind,
        model: "sim".into(),
        body_bytes: None,
        max_tokens: None,
        stream: false,
        key: None,
        fresh_connections: false,
    }
}

const fn closed(connections: usize) -> Pace {
    Pace::Closed { connections }
}

/// All scenarios, in the order of the table.
pub fn all() -> Vec<Scenario> {
    let plain = Scenario {
        name: "small",
        about: "GET /health, 32 connections",
        unit: Unit::Request,
        pace: closed(32),
        job: job(Kind::Health),
        sim: AT_ONCE,
        warmup: Duration::from_millis(200),
    };
    let streaming = Scenario {
        unit: Unit::Token,
        job: JobOptions { stream: true, ..job(Kind::Chat) },
        warmup: Duration::from_millis(800),
        ..plain.clone()
    };
    let held = Scenario { unit: Unit::Connection, ..plain.clone() };
    vec![
        plain.clone(),
        Scenario {
            name: "chat",
            about: "chat, 2 KiB up, 16 tokens down whole, 32 connections",
            job: JobOptions { body_bytes: Some(2048), ..job(Kind::Chat) },
            ..plain.clone()
        },
        Scenario {
            name: "embed",
            about: "embedding, 1 KiB up, 256 numbers down, 32 connections",
            job: JobOptions { body_bytes: Some(1024), ..job(Kind::Embedding) },
            ..plain.clone()
        },
        Scenario { name: "conc1", about: "GET /health, one connection", pace: closed(1), ..plain.clone() },
        Scenario {
            name: "newconn",
            about: "GET /health, a connection each, 32 at once",
            job: JobOptions { fresh_connections: true, ..job(Kind::Health) },
            ..plain.clone()
        },
        Scenario {
            name: "stream100",
            about: "100 chat streams, 20 tokens/s each",
            pace: closed(100),
            sim: TOKENS,
            ..streaming.clone()
        },
        Scenario {
            name: "stream400",
            about: "400 chat streams, 20 tokens/s each",
            pace: closed(400),
            sim: TOKENS,
            ..streaming.clone()
        },
        Scenario {
            name: "burst",
            about: "100 chat streams, 8 tokens in each write, five writes a second",
            pace: closed(100),
            sim: BURSTS,
            ..streaming.clone()
        },
        Scenario {
            name: "big",
            about: "chat, 1 MiB up, 64 KiB down, 8 connections",
            pace: closed(8),
            job: JobOptions { body_bytes: Some(1024 * 1024), ..job(Kind::Chat) },
            sim: LONG_ANSWER,
            ..plain.clone()
        },
        Scenario {
            name: "idle",
            about: "5,000 idle connections after one exchange each",
            pace: Pace::Held { connections: 5000, hold: Hold::Idle },
            ..held.clone()
        },
        Scenario {
            name: "uploads",
            about: "200 uploads of 1 MiB, stopped half-way",
            pace: Pace::Held { connections: 200, hold: Hold::Upload },
            job: JobOptions { body_bytes: Some(1024 * 1024), ..job(Kind::Chat) },
            ..held
        },
    ]
}
