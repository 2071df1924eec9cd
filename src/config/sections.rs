//! `[server]`, `[[listener]]`, `[limits]` and `[cluster.NAME]`, key by key.

use super::reader::{Table, Value};
use super::url::{self, EndpointUrl};
use super::{ClusterConfig, EndpointConfig, LimitsConfig, ListenerConfig, ServerConfig};
use crate::balance::BalancerKind;
use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::base::choice::{HalfClose, HostRule, ProxyProtocol};
use crate::base::limits::{KIB, MIB};
use crate::base::network::Network;

/// Most lanes that may be asked for.
const LANES_MAX: u64 = 256;

pub(super) fn server(value: Value<'_, '_>) -> ServerConfig {
    let Some(mut table) = value.table() else { return ServerConfig::default() };
    let config = ServerConfig {
        cores: table.take("cores").and_then(|value| value.parsed(core_list).map(|cores| value.placed(cores))),
        lanes: table.take("lanes").and_then(|value| {
            let lanes = match value.is_string() {
                true => value.word(&[("auto", None)]),
                false => value.number(1, LANES_MAX).map(|lanes| Some(lanes as usize)),
            };
            lanes.map(|lanes| value.placed(lanes))
        }),
        io: table.take("io").and_then(|value| {
            let io = value.word(&[
                ("auto", None),
                ("io_uring", Some(IoDriver::IoUring)),
                ("epoll", Some(IoDriver::Epoll)),
            ]);
            io.map(|io| value.placed(io))
        }),
        admin: table.take("admin").and_then(|value| {
            let text = value.string()?.value;
            if text == "off" {
                return Some(value.placed(None));
            }
            listen_address(value).map(|address| value.placed(Some(address)))
        }),
        drain: table.take("drain").and_then(|value| value.duration()),
        drain_delay: table.take("drain_delay").and_then(|value| value.duration()),
    };
    table.finish();
    config
}

/// Reads `"0-3,6"`.
pub fn core_list(text: &str) -> Result<Vec<usize>, String> {
    const FIX: &str = "write cores as a list of numbers and ranges, each core once, such as \"0-3,6\"";
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) else {
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

fn listen_address(value: Value<'_, '_>) -> Option<Address> {
    let text = value.string()?.value;
    match url::listen_address(&text) {
        Ok(address) => Some(address),
        Err(error) => {
            value.complain(format!("\"{text}\" is not an address to listen on"), error.why, error.fix);
            None
        }
    }
}

pub(super) fn listeners(value: Value<'_, '_>) -> Vec<ListenerConfig> {
    let mut all: Vec<ListenerConfig> = Vec::new();
    for value in value.array().unwrap_or_default() {
        let Some(mut table) = value.table() else { continue };
        let address = match table.take("address") {
            Some(value) => listen_address(value).map(|address| value.placed(address)),
            None => {
                table.missing("address", "nobody could connect to it", "add address = \"127.0.0.1:8080\"");
                None
            }
        };
        let trusted = table.take("trusted").map(networks).unwrap_or_default();
        let proxy_protocol = table.take("proxy_protocol").and_then(|value| {
            value.word(&[("off", ProxyProtocol::Off), ("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)])
        });
        let on_half_close = table
            .take("on_half_close")
            .and_then(|value| value.word(&[("cancel", HalfClose::Cancel), ("finish", HalfClose::Finish)]));
        table.finish();
        let Some(address) = address else { continue };
        all.push(ListenerConfig { address, trusted, proxy_protocol, on_half_close });
    }
    all
}

fn networks(value: Value<'_, '_>) -> Vec<Network> {
    let items = value.array().unwrap_or_default();
    items.into_iter().filter_map(|item| item.parsed(Network::parse)).collect()
}

pub(super) fn limits(value: Value<'_, '_>) -> LimitsConfig {
    let Some(mut table) = value.table() else { return LimitsConfig::default() };
    let config = LimitsConfig {
        connections: table
            .take("connections")
            .and_then(|value| value.number(1, 1_000_000))
            .map(|n| n as usize),
        head: table.take("head").and_then(|value| value.size(KIB as u64, MIB as u64)),
        body: table.take("body").and_then(|value| value.size(0, 1 << 40)),
        buffered: table.take("buffered").and_then(|value| value.size(MIB as u64, 1 << 40)),
        body_rate: table.take("body_rate").and_then(|value| value.size(0, 1 << 30)),
        head_timeout: table.take("head_timeout").and_then(|value| value.duration_or("none")),
        idle_timeout: table.take("idle_timeout").and_then(|value| value.duration_or("none")),
        write_timeout: table.take("write_timeout").and_then(|value| value.duration_or("none")),
    };
    table.finish();
    config
}

pub(super) fn clusters(value: Value<'_, '_>) -> Vec<ClusterConfig> {
    let Some(table) = value.table() else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in table.entries() {
        let Some(mut table) = value.table() else { continue };
        let endpoints = match table.take("endpoints") {
            Some(value) => endpoints(value),
            None => {
                let fix = "add endpoints = [\"http://127.0.0.1:8000\"]";
                table.missing("endpoints", "each request to it would be answered with 503", fix);
                Vec::new()
            }
        };
        let balance = table.take("balance").and_then(|value| value.word(&BalancerKind::ALL));
        let host = table
            .take("host")
            .and_then(|value| value.word(&[("endpoint", HostRule::Endpoint), ("keep", HostRule::Keep)]));
        let mut config = ClusterConfig {
            name,
            endpoints,
            balance,
            host,
            connect: None,
            first_byte: None,
            between_bytes: None,
            total: None,
            idle: None,
            max_idle: None,
        };
        if let Some(inner) = table.take("timeout").and_then(|value| value.table()) {
            timeouts(inner, &mut config);
        }
        if let Some(mut inner) = table.take("keep_alive").and_then(|value| value.table()) {
            config.idle = inner.take("idle").and_then(|value| value.duration_or("auto"));
            config.max_idle =
                inner.take("max_idle").and_then(|value| value.number(0, 65_535)).map(|n| n as usize);
            inner.finish();
        }
        table.finish();
        all.push(config);
    }
    all
}

fn timeouts(mut table: Table<'_, '_>, config: &mut ClusterConfig) {
    config.connect = table.take("connect").and_then(|value| {
        value.duration_or("none").and_then(|connect| {
            if connect.is_none() {
                value.complain(
                    "`connect` cannot be \"none\"",
                    "a request to a dead host would wait for minutes",
                    "write a duration such as \"2s\"",
                );
            }
            connect
        })
    });
    config.first_byte = table.take("first_byte").and_then(|value| value.duration_or("none"));
    config.between_bytes = table.take("between_bytes").and_then(|value| value.duration_or("none"));
    config.total = table.take("total").and_then(|value| value.duration_or("none"));
    table.finish();
}

fn endpoints(value: Value<'_, '_>) -> Vec<EndpointConfig> {
    let items = value.array().unwrap_or_default();
    if items.is_empty() {
        value.complain(
            "`endpoints` is empty",
            "each request to the cluster would be answered with 503",
            "add at least one, such as \"http://127.0.0.1:8000\"",
        );
    }
    let mut all: Vec<EndpointConfig> = Vec::new();
    for item in items {
        let (url, weight) = if item.is_string() {
            (endpoint_url(item), None)
        } else {
            let Some(mut table) = item.table() else { continue };
            let url = match table.take("url") {
                Some(value) => endpoint_url(value),
                None => {
                    table.missing(
                        "url",
                        "nothing could be sent to it",
                        "add url = \"http://127.0.0.1:8000\"",
                    );
                    None
                }
            };
            let weight = table.take("weight").and_then(|value| value.number(1, 65_535)).map(|n| n as u32);
            table.finish();
            (url, weight)
        };
        let Some(url) = url else { continue };
        if all.iter().any(|known| known.url.value.text == url.text) {
            item.complain(
                format!("endpoint \"{}\" stands twice in this cluster", url.text),
                "its load and its statistics could not be told apart",
                "remove one, or give the other a weight",
            );
        }
        all.push(EndpointConfig { url: item.placed(url), weight });
    }
    all
}

fn endpoint_url(value: Value<'_, '_>) -> Option<EndpointUrl> {
    let text = value.string()?.value;
    match EndpointUrl::parse(&text) {
        Ok(url) => Some(url),
        Err(error) => {
            value.complain(format!("\"{text}\" is not the URL of an endpoint"), error.why, error.fix);
            None
        }
    }
}
