//! `corelane run`: the gateway.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgGroup, Args};

use super::admin::address;
use super::print::complain;
use crate::base::address::Address;
use crate::base::choice::{IoDriver, Words};
use crate::base::limits::LANES_MAX;
use crate::base::say::say;
use crate::config::server::core_list;
use crate::control::failure::RunError;
use crate::control::load::{Origin, Source};
use crate::control::{Started, run};
use crate::net::handed::Handed;

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("source").required(true).args(["config", "upstream"]),
    after_help = "Examples:\n  corelane run --upstream http://127.0.0.1:8000\n  corelane run --config corelane.toml --cores 0-1"
)]
pub(super) struct Run {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// An endpoint: http://host:port[/base], https://… or unix:/path; may be given several times. No file is needed then.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
    /// Where clients are accepted, ip:port or unix:/path; may be given several times.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Vec<Address>,
    /// Where the admin API listens, or "off".
    #[arg(long, value_name = "ADDR", value_parser = admin)]
    admin: Option<Admin>,
    /// Cores to pin lanes to, one each, such as 0-3,6.
    #[arg(long, value_name = "LIST", value_parser = cores)]
    cores: Option<Cores>,
    /// How many lanes; one per core that may be used, up to 4, without it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=LANES_MAX as i64))]
    lanes: Option<u16>,
    /// The I/O driver.
    #[arg(long, value_name = "DRIVER", value_parser = drivers())]
    io: Option<String>,
}

#[derive(Debug, Clone)]
struct Admin(Option<Address>);

#[derive(Debug, Clone)]
struct Cores(Vec<usize>);

fn admin(text: &str) -> Result<Admin, String> {
    if text == "off" { Ok(Admin(None)) } else { address(text).map(|address| Admin(Some(address))) }
}

fn cores(text: &str) -> Result<Cores, String> {
    core_list(text).map(Cores)
}

/// `auto` and the names of all drivers.
fn drivers() -> PossibleValuesParser {
    PossibleValuesParser::new(["auto"].iter().chain(IoDriver::WORDS))
}

impl Run {
    pub(super) fn run(self) -> u8 {
        let handed = match Handed::of_environment() {
            Ok(handed) => handed,
            Err(error) => return unusable(error),
        };
        let source = match self.config {
            Some(file) => Source::File(file),
            None => Source::Upstreams(self.upstream),
        };
        let origin = Origin {
            source,
            listen: self.listen,
            admin: self.admin.map(|admin| admin.0),
            cores: self.cores.map(|cores| cores.0),
            lanes: self.lanes.map(usize::from),
            io: self.io.map(|io| IoDriver::of(&io)),
        };
        finish(run(origin, handed, announce))
    }
}

/// Prints the start lines.
pub(super) fn announce(started: &Started) {
    let url = |address: &Address| match address {
        Address::Tcp(address) => format!("http://{address}"),
        Address::Unix(_) => address.to_string(),
    };
    for address in &started.listening {
        say(format_args!("listening {}", url(address)));
    }
    if let Some(address) = &started.admin {
        say(format_args!("admin {}", url(address)));
    }
    let cores: Vec<_> = started.cores.iter().map(ToString::to_string).collect();
    let cores = if cores.is_empty() { "unpinned".to_owned() } else { cores.join(",") };
    say(format_args!("ready lanes={} io={} cores={cores}", started.lanes, started.driver.name()));
}

/// What was handed over is no listening socket.
fn unusable(error: std::io::Error) -> u8 {
    say(format_args!(
        "LISTEN_FDS is set, and not all of these descriptors can be used\n  why: {error}\n  fix: hand over listening stream sockets only, from descriptor 3 on"
    ));
    2
}

/// Prints what went wrong and tells the exit code.
pub(super) fn finish(outcome: Result<(), RunError>) -> u8 {
    match outcome {
        Ok(()) => 0,
        // Nothing runs yet: whoever reads slowly holds up nobody, and gets all of it.
        Err(RunError::Problems(problems)) => {
            problems.iter().for_each(complain);
            2
        }
        Err(RunError::Failed(message)) => {
            say(message);
            1
        }
    }
}
