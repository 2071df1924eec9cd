//! From a file, or from the command line alone, to a plan: the one road, at start and at each reload.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::access_log::writable;
use crate::base::address::Address;
use crate::base::choice::{IoDriver, LogTarget};
use crate::base::limits::LANES_AUTO_MAX;
use crate::base::problem::{Place, Placed, Problem};
use crate::base::secret::SECRET_SHOWN;
use crate::config::text::{Reading, read, read_option};
use crate::config::url::{EndpointAddress, EndpointUrl};
use crate::config::{Config, CoreList, FilterConfig, ListenerConfig};
use crate::discovery::dns::Resolved;
use crate::filter::FilterPlan;
use crate::lane::spawn::usable_cores;
use crate::plan::compile::{Surroundings, compile};
use crate::plan::{EndpointPlan, Plan};

/// Where the configuration comes from, with what the command line overrides.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The configuration.
    pub source: Source,
    /// `--listen`, each; empty leaves the file's listeners.
    pub listen: Vec<Address>,
    /// `--admin`; an inner none is `off`.
    pub admin: Option<Option<Address>>,
    /// `--cores`.
    pub cores: Option<Vec<usize>>,
    /// `--lanes`.
    pub lanes: Option<usize>,
    /// `--io`; an inner none is `auto`.
    pub io: Option<Option<IoDriver>>,
}

/// The configuration itself.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file, read again at each reload.
    File(PathBuf),
    /// URLs of endpoints from the command line.
    Upstreams(Vec<String>),
    /// A text of our own, under a name for messages.
    Text(&'static str, String),
}

impl Origin {
    /// From `source`, with nothing overridden.
    pub fn new(source: Source) -> Self {
        Self { source, listen: Vec::new(), admin: None, cores: None, lanes: None, io: None }
    }
}

/// What is read again where a plan is in force.
#[derive(Clone, Copy)]
pub enum Anew<'p> {
    /// Everything.
    Configuration(&'p Plan),
    /// The files that the configuration of this plan names; all else stays as it was read.
    NamedFiles(&'p Plan),
}

/// Reads, resolves and compiles; at the start everything.
pub fn load(origin: &Origin, anew: Option<Anew<'_>>) -> Result<Plan, Vec<Problem>> {
    let (previous, kept) = match anew {
        None => (None, None),
        Some(Anew::Configuration(plan)) => (Some(plan), None),
        Some(Anew::NamedFiles(plan)) => (Some(plan), Some(plan)),
    };
    let (reading, text) = match &origin.source {
        Source::File(path) => {
            let name = path.display().to_string();
            let text = match kept {
                Some(plan) => plan.text.reveal().to_owned(),
                None => text_of(path, &name)?,
            };
            (read(&name, &text), text)
        }
        Source::Text(name, text) => (read(name, text), text.clone()),
        Source::Upstreams(urls) => (read_option("--upstream", &of_upstreams(urls)?), String::new()),
    };
    let written = redacted(&text, &reading.secrets);
    let Reading { config: Some(mut config), place, mut problems, files: reading_files, .. } = reading else {
        return Err(reading.problems);
    };
    apply(origin, &mut config);
    let endpoints = config.clusters.0.iter().flat_map(|(_, cluster)| &cluster.endpoints);
    let asks = config.filters.0.iter().filter_map(|(_, filter)| match filter {
        FilterConfig::Ask(ask) => Some(&ask.url.value.at),
        _ => None,
    });
    let hosts = endpoints.map(|endpoint| &endpoint.value.url).chain(asks).filter_map(host_of);
    let resolved = match kept {
        Some(plan) => Resolved::known(
            plan.endpoints
                .iter()
                .filter_map(addresses_of)
                .chain(plan.filters.iter().filter_map(|(_, filter)| asked(filter))),
        ),
        None => Resolved::look_up(hosts),
    };
    check_log(&config, &mut problems);
    let cores = usable_cores();
    let lanes = previous.map_or_else(|| lane_count(&config), |plan| plan.lanes);
    let around = Surroundings {
        place,
        written: &written,
        text: &text,
        files: &reading_files,
        resolved: &resolved,
        lanes,
        cores: &cores,
        previous,
        now: SystemTime::now(),
        at: Instant::now(),
        is_whole: problems.is_empty(),
    };
    match compile(&config, &around) {
        Ok(plan) if problems.is_empty() => Ok(plan),
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            problems.sort_by(|a, b| a.place.cmp(&b.place));
            Err(problems)
        }
    }
}

/// The text as it may be shown: `"***"` in place of each secret, or of where it comes from.
fn redacted(text: &str, secrets: &[Range<usize>]) -> String {
    let mut shown = text.to_owned();
    for span in secrets.iter().rev() {
        shown.replace_range(span.clone(), &format!("\"{SECRET_SHOWN}\""));
    }
    shown
}

/// The file of the access log must be one that can be written. It is not made here: a check leaves nothing behind.
fn check_log(config: &Config, problems: &mut Vec<Problem>) {
    let Some(log) = &config.observe.access_log else { return };
    let LogTarget::File(path) = &log.to.value else { return };
    let Err(error) = writable(path) else { return };
    let fix = "make the folder, or name a file that may be written";
    problems.push(log.to.problem(
        format!("the access log {} cannot be written", log.to.value),
        error.to_string(),
        fix,
    ));
}

fn text_of(path: &Path, name: &str) -> Result<String, Vec<Problem>> {
    let bytes = std::fs::read(path).map_err(|error| vec![unreadable(name, &error)])?;
    String::from_utf8(bytes).map_err(|error| vec![not_text(name, &error)])
}

/// The name of an endpoint's host, and what it was resolved to.
fn addresses_of(endpoint: &EndpointPlan) -> Option<((String, u16), Vec<SocketAddr>)> {
    let EndpointAddress::Tcp { host, port } = EndpointUrl::parse(&endpoint.url).ok()?.address else {
        return None;
    };
    Some(((host, port), endpoint.addresses.iter().filter_map(tcp).collect()))
}

fn tcp(address: &Address) -> Option<SocketAddr> {
    match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    }
}

/// The same of a service that a filter asks.
fn asked(filter: &FilterPlan) -> Option<((String, u16), Vec<SocketAddr>)> {
    let FilterPlan::Ask(ask) = filter else { return None };
    Some((ask.resolves.clone()?, ask.addresses.iter().filter_map(tcp).collect()))
}

fn host_of(url: &EndpointUrl) -> Option<(&str, u16)> {
    match &url.address {
        EndpointAddress::Tcp { host, port } => Some((host, *port)),
        EndpointAddress::Unix(_) => None,
    }
}

/// One lane for each core given; else as many as asked for; else one per core that may be used, up to four: the
/// machine belongs to the engine. The count respects the affinity mask and the cgroup's quota.
fn lane_count(config: &Config) -> usize {
    if let Some(cores) = &config.server.cores {
        return cores.value.0.len();
    }
    config.server.lanes.value.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |cores| cores.get().min(LANES_AUTO_MAX))
    })
}

fn unreadable(name: &str, error: &std::io::Error) -> Problem {
    Problem {
        place: Place::option(name),
        what: "the file cannot be read".to_owned(),
        why: error.to_string(),
        fix: "name a file that exists and may be read".to_owned(),
    }
}

fn not_text(name: &str, error: &FromUtf8Error) -> Problem {
    let valid = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(&error.as_bytes()[..valid]);
    let place = Place::at(&Arc::from(name), &text, valid);
    Placed { value: (), place }.problem(
        "this is not UTF-8",
        "TOML is written in it, and the file cannot be read past here",
        "save the file as UTF-8",
    )
}

fn option<T>(name: &str, value: T) -> Placed<T> {
    Placed { value, place: Place::option(name) }
}

/// One cluster of these endpoints and one route that takes everything, as a file would say it.
fn of_upstreams(urls: &[String]) -> Result<String, Vec<Problem>> {
    let mut problems = Vec::new();
    for (position, text) in urls.iter().enumerate() {
        match EndpointUrl::parse(text) {
            Ok(_) if urls[..position].contains(text) => {
                problems.push(option("--upstream", ()).problem(
                    format!("\"{text}\" is given twice"),
                    "its load and its statistics could not be told apart",
                    "give it once",
                ));
            }
            Ok(_) => {}
            Err(error) => problems.push(option("--upstream", ()).problem(
                format!("\"{text}\" is not the URL of an endpoint"),
                error.why,
                error.fix,
            )),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let endpoints = serde_json::json!(urls);
    Ok(format!(
        "[cluster.upstream]\nendpoints = {endpoints}\n[[route]]\nname = \"default\"\nto = \"upstream\"\n"
    ))
}

fn apply(origin: &Origin, config: &mut Config) {
    if !origin.listen.is_empty() {
        let usual = || Config::default().listeners.into_iter().next();
        let first = config.listeners.first().cloned().or_else(usual);
        let listener = |address: &Address| {
            let address = option("--listen", address.clone());
            first.clone().map(|first| ListenerConfig { address, ..first })
        };
        config.listeners = origin.listen.iter().filter_map(listener).collect();
    }
    let server = &mut config.server;
    if let Some(admin) = &origin.admin {
        server.admin = option("--admin", admin.clone());
    }
    if let Some(io) = origin.io {
        server.io = option("--io", io);
    }
    // Cores and lanes say the same thing twice: what the command line says replaces both of the file's.
    if origin.cores.is_some() || origin.lanes.is_some() {
        server.cores = origin.cores.clone().map(|cores| option("--cores", CoreList(cores)));
        server.lanes = option("--lanes", origin.lanes);
    }
}
