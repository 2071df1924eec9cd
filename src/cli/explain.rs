//! `corelane explain`: which route, cluster and endpoint a request would meet, and the head that would be sent.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::admin::{self, address};
use super::print::{complain, print};
use crate::base::address::Address;
use crate::base::ids::{Id, ListenerId};
use crate::codec::chunked::{write_chunk, write_last_chunk};
use crate::codec::forwarded::Sender;
use crate::control::explained::{document, text};
use crate::control::load::{Origin, Source, load};
use crate::proxy::explain::explain;

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  corelane explain --config config/gateway.toml -H 'host: api.local' -d '{\"model\":\"llama-3\"}' /v1/chat/completions\n\nNothing is sent. Ids that are random in life are zero here."
)]
pub(super) struct Explain {
    /// The configuration; loads are zero, limits full and endpoints admitted then.
    #[arg(long, value_name = "FILE", required_unless_present = "admin", conflicts_with = "admin")]
    config: Option<PathBuf>,
    /// The admin API of a running gateway, whose configuration, loads, limits and verdicts hold. Its token, where it has one,
    /// is taken from CORELANE_ADMIN_TOKEN.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    admin: Option<Address>,
    /// The method; POST where there is a body, else GET.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A field, repeatable. Host is the first listener's address unless it is given.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", allow_hyphen_values = true)]
    headers: Vec<String>,
    /// The body, or the file that holds it.
    #[arg(short = 'd', long = "data", value_name = "BODY|@FILE", allow_hyphen_values = true)]
    body: Option<String>,
    /// The address that the request comes from; on the listener's `trusted` it may speak for others.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    from: IpAddr,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
    /// The target: path and query, or a whole URL.
    #[arg(value_name = "PATH")]
    path: String,
}

impl Explain {
    pub(super) fn run(self) -> u8 {
        match (&self.admin, &self.config) {
            (Some(address), _) => self.of_running(address),
            (None, Some(file)) => self.of_file(file.clone()),
            (None, None) => unreachable!("one of the two is required"),
        }
    }

    /// Has a running gateway explain it.
    fn of_running(&self, address: &Address) -> u8 {
        let asked = self.message("localhost").and_then(|message| {
            let form = if self.json { "json" } else { "text" };
            admin::post(address, &format!("/explain?from={}&as={form}", self.from), &message)
        });
        match asked {
            Ok(told) => print(told),
            Err(error) => {
                complain(error);
                2
            }
        }
    }

    fn of_file(&self, file: PathBuf) -> u8 {
        let plan = match load(&Origin::new(Source::File(file)), None) {
            Ok(plan) => plan,
            Err(problems) => {
                problems.iter().for_each(complain);
                return 2;
            }
        };
        let message = match self.message(&plan.listeners[ListenerId::at(0)].address.value.authority()) {
            Ok(message) => message,
            Err(error) => {
                complain(error);
                return 2;
            }
        };
        let sender = Sender::new(Some(self.from), &plan.listeners[ListenerId::at(0)].trusted);
        let explained = explain(&plan, &message, &sender);
        match self.json {
            true => print(format_args!("{:#}\n", document(&plan, &explained))),
            false => print(text(&plan, &explained)),
        }
    }

    /// The request as it would arrive at `host`.
    fn message(&self, host: &str) -> Result<Vec<u8>, String> {
        let body = match self.body.as_deref().map(|body| (body, body.strip_prefix('@'))) {
            Some((_, Some(file))) => std::fs::read(file).map_err(|error| {
                format!(
                    "{file} cannot be read\n  why: {error}\n  fix: name a file that exists and may be read"
                )
            })?,
            Some((body, None)) => body.as_bytes().to_vec(),
            None => Vec::new(),
        };
        let method = self.method.as_deref().unwrap_or(if self.body.is_some() { "POST" } else { "GET" });
        let mut head = format!("{method} {} HTTP/1.1\r\n", self.path);
        let has = |name: &str| {
            let given = |header: &String| header.split_once(':').map(|(given, _)| given.trim().to_owned());
            self.headers.iter().filter_map(given).any(|given| given.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            head.push_str(&format!("host: {host}\r\n"));
        }
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if self.body.is_some() && !has("content-length") && !has("transfer-encoding") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut message = head.into_bytes();
        // The body goes as the head says: whoever sends chunks by hand means the bytes inside them.
        match has("transfer-encoding") {
            true => {
                write_chunk(&mut message, &body);
                write_last_chunk(&mut message);
            }
            false => message.extend_from_slice(&body),
        }
        Ok(message)
    }
}
