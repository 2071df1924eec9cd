//! `corelane sim`: a simulated inference server.

use std::time::Duration;

use clap::Args;

use super::print::complain;
use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::config::units;
use crate::config::url::listen_address;
use crate::net::driver;
use crate::sim::Sim as Server;
use crate::sim::options::SimOptions;

/// Arguments of `sim`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  corelane sim --listen 127.0.0.1:8000 --ttft 50ms --itl 20ms --tokens 64\nA request may ask for a fault with a header: x-sim: status=503 | retry-after=2 | delay=200ms | first=5ms | token=5ms | body=5ms | reset=head|body | truncate | stall"
)]
pub(super) struct Sim {
    /// Where it listens, ip:port or unix:/path.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Address,
    /// Names of the models it serves, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "sim")]
    models: Vec<String>,
    /// Time to the first token of an empty prompt.
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "20ms")]
    ttft: Duration,
    /// Time between tokens.
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "10ms")]
    itl: Duration,
    /// Tokens of an answer, unless the request asks for fewer.
    #[arg(long, value_name = "N", default_value_t = 16)]
    tokens: u32,
    /// Concurrent generations; others queue.
    #[arg(long, value_name = "N", default_value_t = 64)]
    slots: usize,
    /// Prompt tokens a second; without it a prompt costs no time.
    #[arg(long, value_name = "N", value_parser = rate)]
    prefill_rate: Option<f64>,
    /// Blocks of the prefix cache, 64 bytes each; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 0)]
    kv_blocks: usize,
    /// Closes connections that were idle this long, or "none".
    #[arg(long, value_name = "DURATION", value_parser = keep_alive, default_value = "5s")]
    keep_alive: KeepAlive,
    /// Where invention starts: the same seed gives the same answers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Numbers in each embedding.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    dimensions: u16,
    /// Tokens that are written at once, as an engine does that falls behind.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    burst: u32,
    /// Tells the time in each event, for the delays that `corelane load` prints.
    #[arg(long)]
    stamp: bool,
    /// The I/O driver.
    #[arg(long, value_name = "DRIVER", value_parser = ["auto", "io_uring", "epoll"], default_value = "auto")]
    io: String,
}

#[derive(Debug, Clone, Copy)]
struct KeepAlive(Option<Duration>);

fn address(text: &str) -> Result<Address, String> {
    listen_address(text).map_err(|error| format!("{}; {}", error.why, error.fix))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 => Ok(rate),
        _ => Err("write a number above 0".into()),
    }
}

fn keep_alive(text: &str) -> Result<KeepAlive, String> {
    if text == "none" {
        Ok(KeepAlive(None))
    } else {
        units::duration(text).map(|limit| KeepAlive(Some(limit)))
    }
}

impl Sim {
    pub(super) fn run(self) -> u8 {
        let driver = match self.io.as_str() {
            "io_uring" => IoDriver::IoUring,
            "epoll" => IoDriver::Epoll,
            _ => driver::choose(),
        };
        let options = SimOptions {
            models: self.models,
            ttft: self.ttft,
            itl: self.itl,
            tokens: self.tokens,
            slots: self.slots.max(1),
            prefill_rate: self.prefill_rate,
            kv_blocks: self.kv_blocks,
            keep_alive: self.keep_alive.0,
            seed: self.seed,
            dimensions: usize::from(self.dimensions),
            burst: self.burst,
            stamp: self.stamp,
        };
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        match Server::start(&self.listen, options, driver) {
            Ok(server) => {
                match server.address() {
                    Address::Tcp(address) => complain(format_args!("listening http://{address}")),
                    Address::Unix(_) => complain(format_args!("listening {}", server.address())),
                }
                server.wait();
                0
            }
            Err(error) => {
                complain(format_args!(
                    "cannot serve on {}\n  why: {error}\n  fix: choose another address or --io epoll",
                    self.listen
                ));
                1
            }
        }
    }
}
