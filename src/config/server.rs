//! `[server]`: the process.

use std::time::Duration;

use super::table::table;
use super::values::text_setting;
use crate::base::address::Address;
use crate::base::choice::{IoDriver, Words};
use crate::base::limits::{DRAIN_TIME, LANES_MAX};
use crate::base::problem::Placed;
use crate::base::secret::Secret;

table! {
    /// `[server]`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ServerConfig {
        /// Pins one lane to each of these cores; without it lanes are not pinned.
        cores: Option<Placed<CoreList>> = key("cores", Text, Absent),
        /// How many lanes; auto: one per core that may be used, at most 4.
        lanes: Placed<Option<usize>> = key("lanes", Or("auto", &Number(1, LANES_MAX)), Is("'auto'")),
        /// The I/O driver, "io_uring" or "epoll"; auto: io_uring where it may be used.
        io: Placed<Option<IoDriver>> = key("io", Or("auto", &Choice(IoDriver::WORDS)), Is("'auto'")),
        /// Where the admin API listens; or "unix:/run/corelane-admin.sock", or "off".
        admin: Placed<Option<Address>> = key("admin", Or("off", &Text), Is("'127.0.0.1:9901'")),
        /// Names that may stand in Host on the admin API, beside IP literals and localhost: "gateway.example", "*.example".
        admin_hosts: Vec<String> = key("admin_hosts", List(&Form(host_name)), Is("[]")),
        /// Asked for on the admin API but by probes, as a bearer or as the password of Basic; better "${NAME}" (an
        /// environment variable) or "file:/path" (a file's content).
        admin_token: Option<Secret> = key("admin_token", Secret, Absent),
        /// How long exchanges may go on after SIGTERM.
        drain: Duration = key("drain", Time(Duration::ZERO), Lasts(DRAIN_TIME)),
        /// How long accepting goes on after SIGTERM, with /readyz at 503 already.
        drain_delay: Duration = key("drain_delay", Time(Duration::ZERO), Is("'0s'")),
    }
}

impl ServerConfig {
    /// The cores to pin lanes to; none for lanes that are not pinned.
    pub fn core_list(&self) -> &[usize] {
        self.cores.as_ref().map_or(&[], |cores| &cores.value.0)
    }
}

/// Reads `"gateway.example"` or `"*.example"`.
fn host_name(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    match name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_plain)) {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("write a name without port, such as \"gateway.example\" or \"*.example\"".into()),
    }
}

/// Cores by their numbers, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreList(pub Vec<usize>);

text_setting!(
    CoreList,
    read by |value| value.parsed(core_list).map(CoreList),
    shown by |list| list.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
);

/// Reads `"0-3,6"`.
pub fn core_list(text: &str) -> Result<Vec<usize>, String> {
    const FIX: &str = "write cores as a list of numbers and ranges, each core once, such as \"0-3,6\"";
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| match text.trim() {
            signed if signed.starts_with('+') => None,
            plain => plain.parse::<usize>().ok(),
        };
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(FIX.into());
        };
        if first > last || last > 4095 {
            return Err(FIX.into());
        }
        cores.extend(first..=last);
    }
    let mut sorted = cores.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() == cores.len() { Ok(cores) } else { Err(FIX.into()) }
}
