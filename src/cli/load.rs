//! `corelane load`: puts a server under load, or two in turn.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::print::{complain, print};
use crate::base::address::Address;
use crate::base::rng::Rng;
use crate::base::trust::Trust;
use crate::config::units;
use crate::config::url::{EndpointAddress, EndpointUrl};
use crate::discovery::dns::Resolved;
use crate::load;
use crate::load::job::{Job, JobOptions, Kind};
use crate::load::options::{Hold, Options, Pace, Target};
use crate::load::report;
use crate::load::tally::Tally;
use crate::net::driver;

/// Arguments of `load`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  corelane load http://127.0.0.1:8080 --connections 32\n  corelane load http://127.0.0.1:8080 --rate 2000 --kind embedding --body-bytes 1024 --duration 30s\n  corelane load http://127.0.0.1:8080 --streams 100 --versus http://127.0.0.1:8000\n\nWith --rate, T runs from when a request was meant to begin. Exit code 1 if any request failed."
)]
pub(super) struct Load {
    /// The server: http://host:port[/base], https://… or unix:/path.
    #[arg(value_name = "URL", value_parser = url)]
    url: EndpointUrl,
    /// Open loop: so many requests begin each second, whatever became of those before.
    #[arg(long, value_name = "N", value_parser = rate, conflicts_with_all = ["connections", "streams"])]
    rate: Option<f64>,
    /// Closed loop: so many connections, each sends its next request when the last was answered (default 32).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: Option<u32>,
    /// Closed loop of so many token streams.
    #[arg(long, value_name = "N", conflicts_with = "connections", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    streams: Option<u32>,
    /// How long it is measured.
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "10s")]
    duration: Duration,
    /// Not measured, at the beginning.
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "1s")]
    warmup: Duration,
    /// What is asked.
    #[arg(long, value_enum, default_value_t = Asked::Chat)]
    kind: Asked,
    /// Length of each body, such as 2048 or 1MiB; the shortest without it.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    body_bytes: Option<u64>,
    /// The model asked for.
    #[arg(long, value_name = "NAME", default_value = "sim")]
    model: String,
    /// Longest answer; without it the server decides.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// Sent as `authorization: Bearer KEY`.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A connection for each request.
    #[arg(long)]
    fresh_connections: bool,
    /// Opens the connections and leaves them: idle after one exchange, or in the middle of an upload.
    #[arg(long, value_enum, requires = "connections")]
    hold: Option<Held>,
    /// Alternates between both and prints the difference.
    #[arg(long, value_name = "URL", value_parser = url)]
    versus: Option<EndpointUrl>,
    /// Longest wait for an answer.
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "30s")]
    timeout: Duration,
    /// Threads of the generator.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Asked {
    Chat,
    Completion,
    Embedding,
    Health,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Held {
    Idle,
    Upload,
}

/// Connections of an open loop at most: more than any local port range has.
const OPEN_CONNECTIONS_MAX: usize = 16_384;
/// Connections of a closed loop, unless others are asked for.
const CONNECTIONS: u32 = 32;
/// How often two targets are visited each: enough for a difference to be told from chance.
const ROUNDS: u32 = 9;

fn url(text: &str) -> Result<EndpointUrl, String> {
    EndpointUrl::parse(text).map_err(|error| format!("{}; {}", error.why, error.fix))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("write requests a second, above 0 and up to 1000000".into()),
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(bytes) => Ok(bytes),
        Err(_) => units::size(text),
    }
}

impl Load {
    pub(super) fn run(self) -> u8 {
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let options = self.options();
        let mut targets = Vec::new();
        for url in std::iter::once(&self.url).chain(&self.versus) {
            match target(url).and_then(|target| Ok((self.job(&target)?, target))) {
                Ok(target) => targets.push(target),
                Err(message) => {
                    complain(format_args!("cannot put {} under load\n  {message}", url.text));
                    return 2;
                }
            }
        }
        let done = match &targets[..] {
            [(job, target)] => {
                load::run(target, job, &options, |_| {}).map(|tally| self.tell(target, &tally))
            }
            [first, second] => {
                alternate(first, second, &options).map(|rounds| self.compare(first, second, &rounds))
            }
            _ => unreachable!("there are one or two"),
        };
        match done {
            Ok(code) => code,
            Err(error) => {
                complain(format_args!(
                    "the load generator cannot run\n  why: {error}\n  fix: ask for fewer connections or threads"
                ));
                1
            }
        }
    }

    fn options(&self) -> Options {
        let pace = match (self.rate, self.streams, self.hold) {
            (Some(rate), _, _) => Pace::Open { rate, connections_max: OPEN_CONNECTIONS_MAX },
            (None, Some(streams), _) => Pace::Closed { connections: streams as usize },
            (None, None, Some(hold)) => {
                let hold = match hold {
                    Held::Idle => Hold::Idle,
                    Held::Upload => Hold::Upload,
                };
                Pace::Held { connections: self.connections.unwrap_or(CONNECTIONS) as usize, hold }
            }
            (None, None, None) => {
                Pace::Closed { connections: self.connections.unwrap_or(CONNECTIONS) as usize }
            }
        };
        Options {
            pace,
            warmup: self.warmup,
            duration: self.duration,
            timeout: self.timeout,
            threads: usize::from(self.threads),
            driver: driver::choose(),
        }
    }

    fn job(&self, target: &Target) -> Result<Job, String> {
        let options = JobOptions {
            kind: match self.kind {
                Asked::Chat => Kind::Chat,
                Asked::Completion => Kind::Completion,
                Asked::Embedding => Kind::Embedding,
                Asked::Health => Kind::Health,
            },
            model: self.model.clone(),
            body_bytes: self.body_bytes.map(|bytes| bytes as usize),
            max_tokens: self.max_tokens,
            stream: self.streams.is_some(),
            key: self.key.clone(),
            fresh_connections: self.fresh_connections,
        };
        Job::new(&options, &target.authority, &target.base)
            .map_err(|error| format!("why: {error}\n  fix: ask for --body-bytes {} or more", error.least))
    }

    fn tell(&self, target: &Target, tally: &Tally) -> u8 {
        let printed = match self.json {
            true => print(format_args!("{}\n", report::object(&target.url, tally))),
            false => print(report::text(&target.url, tally)),
        };
        printed.max(judged(target, tally))
    }

    fn compare(&self, first: &(Job, Target), second: &(Job, Target), rounds: &[(Tally, Tally)]) -> u8 {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        for (a, b) in rounds {
            one.add(a);
            other.add(b);
        }
        let printed = if self.json {
            let targets = [report::object(&first.1.url, &one), report::object(&second.1.url, &other)];
            let document = json!({ "targets": targets, "versus": report::versus_object(rounds) });
            print(format_args!("{document}\n"))
        } else {
            let pages = [report::text(&first.1.url, &one), report::text(&second.1.url, &other)];
            print(pages.concat() + &report::versus(rounds))
        };
        printed.max(judged(&first.1, &one)).max(judged(&second.1, &other))
    }
}

/// The exit code: 0 where requests ended and all of them were right. Where none ended, no count says why.
fn judged(target: &Target, tally: &Tally) -> u8 {
    if tally.requests() == 0 {
        let why = match (tally.connects, tally.unfinished) {
            (0, 0) => "none began: no connection was made in time".to_owned(),
            (_, 0) => "those that began were answered before or after it".to_owned(),
            (_, unfinished) => format!("{unfinished} were not answered"),
        };
        complain(format_args!(
            "no request to {} ended while it was measured\n  why: {why}\n  fix: ask for a longer --duration, or see why the server does not answer",
            target.url
        ));
    }
    u8::from(tally.failed() > 0 || tally.success == 0)
}

fn target(url: &EndpointUrl) -> Result<Target, String> {
    let addresses = match &url.address {
        EndpointAddress::Unix(path) => vec![Address::Unix(path.clone())],
        EndpointAddress::Tcp { host, port } => Resolved::look_up([(host.as_str(), *port)])
            .get(host, *port)
            .map_err(|why| format!("why: \"{host}\" cannot be resolved: {why}\n  fix: check the name"))?
            .iter()
            .map(|address| Address::Tcp(*address))
            .collect(),
    };
    let tls = match &url.address {
        EndpointAddress::Tcp { host, .. } if url.is_tls => {
            let client = Trust::new(None, None).and_then(|trust| trust.towards(host));
            let told = |why| format!("why: {why}\n  fix: trust it, by SSL_CERT_FILE for instance");
            Some(Arc::new(client.map_err(told)?))
        }
        _ => None,
    };
    Ok(Target { url: url.text.clone(), addresses, tls, authority: url.authority(), base: url.base.clone() })
}

/// Both targets in each round, the first of each by chance, so that no drift of the machine favours one.
fn alternate(
    first: &(Job, Target),
    second: &(Job, Target),
    options: &Options,
) -> std::io::Result<Vec<(Tally, Tally)>> {
    let slice = Options { duration: options.duration / ROUNDS, ..options.clone() };
    let mut rng = Rng::new(u64::from(std::process::id()));
    let visit = |(job, target): &(Job, Target)| load::run(target, job, &slice, |_| {});
    (0..ROUNDS)
        .map(|_| match rng.below(2) {
            0 => {
                let one = visit(first)?;
                Ok((one, visit(second)?))
            }
            _ => {
                let other = visit(second)?;
                Ok((visit(first)?, other))
            }
        })
        .collect()
}
