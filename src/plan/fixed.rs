//! What is made at start and stays: lanes, driver, sockets. A reload that would change it is refused.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::compile::Surroundings;
use super::{HalfClose, ListenerPlan, Plan, ProxyProtocol, ServerPlan};
use crate::base::address::Address;
use crate::base::ids::{IdVec, ListenerId};
use crate::base::limits as bound;
use crate::base::problem::{Place, Placed, Problem};
use crate::config::Config;

/// `[server]` with its defaults.
pub(super) fn server(config: &Config, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> ServerPlan {
    let config = &config.server;
    let lanes = config.lanes.as_ref().and_then(|lanes| lanes.value);
    if let Some(cores) = &config.cores {
        let count = cores.value.len();
        if let Some(lanes) = lanes.filter(|lanes| count != *lanes) {
            problems.push(cores.problem(
                format!(
                    "`cores` names {count} {} for {lanes} lanes",
                    if count == 1 { "core" } else { "cores" }
                ),
                "each lane is pinned to one core",
                "leave `lanes` out: there is one lane for each core",
            ));
        }
        if let Some(missing) = cores.value.iter().find(|core| !around.cores.contains(core)) {
            let usable: Vec<_> = around.cores.iter().map(ToString::to_string).collect();
            problems.push(cores.problem(
                format!("core {missing} cannot be used by this process"),
                "it does not exist here, or the process is kept off it",
                format!("use some of: {}", usable.join(", ")),
            ));
        }
    }
    let cores = config.cores.as_ref().map(|cores| cores.value.clone()).unwrap_or_default();
    ServerPlan {
        lanes: if cores.is_empty() { lanes } else { Some(cores.len()) },
        cores,
        io: config.io.as_ref().and_then(|io| io.value),
        admin: match &config.admin {
            Some(admin) => admin.value.clone(),
            None => Some(local(9901)),
        },
        drain: config.drain.unwrap_or(bound::DRAIN_TIME),
        drain_delay: config.drain_delay.unwrap_or(Duration::ZERO),
    }
}

fn local(port: u16) -> Address {
    Address::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// `[[listener]]` with its defaults, and one where there is none.
pub(super) fn listeners(
    config: &Config,
    server: &ServerPlan,
    problems: &mut Vec<Problem>,
) -> IdVec<ListenerId, ListenerPlan> {
    for (position, listener) in config.listeners.iter().enumerate() {
        let address = &listener.address;
        let others = config.listeners[..position].iter().map(|other| &other.address.value);
        if let Some(other) = others.into_iter().find(|other| other.overlaps(&address.value)) {
            let what = if *other == address.value {
                "two listeners have the same address".to_owned()
            } else {
                format!("two listeners take the same clients: {other} and {}", address.value)
            };
            let why = "each client would reach one or the other by chance";
            problems.push(address.problem(what, why, "remove one of them"));
        }
    }
    let mut all: IdVec<ListenerId, ListenerPlan> = config
        .listeners
        .iter()
        .map(|listener| ListenerPlan {
            address: listener.address.value.clone(),
            trusted: listener.trusted.clone(),
            proxy_protocol: listener.proxy_protocol.unwrap_or(ProxyProtocol::Off),
            on_half_close: listener.on_half_close.unwrap_or(HalfClose::Cancel),
        })
        .collect();
    if all.is_empty() {
        all.push(ListenerPlan {
            address: local(8080),
            trusted: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            on_half_close: HalfClose::Cancel,
        });
    }
    check_admin(config, server, &all, problems);
    all
}

/// The admin API is for other people than the listeners are.
fn check_admin(
    config: &Config,
    server: &ServerPlan,
    listeners: &IdVec<ListenerId, ListenerPlan>,
    problems: &mut Vec<Problem>,
) {
    let Some(admin) = &server.admin else { return };
    let Some(position) = listeners.iter().position(|listener| listener.address.overlaps(admin)) else {
        return;
    };
    let written = config.server.admin.as_ref().map(|admin| &admin.place);
    let listening = config.listeners.get(position).map(|listener| &listener.address.place);
    let place = written.or(listening).cloned().unwrap_or_else(|| whole(config));
    problems.push(Placed { value: (), place }.problem(
        format!("the admin API and a listener have the same address: {admin}"),
        "clients could reload and drain the gateway",
        "give `server.admin` an address of its own, or write admin = \"off\"",
    ));
}

/// Tells what differs from the plan in force and cannot.
pub(super) fn check_unchanged(
    config: &Config,
    (server, listeners): (&ServerPlan, &IdVec<ListenerId, ListenerPlan>),
    previous: &Plan,
    problems: &mut Vec<Problem>,
) {
    let old = &previous.server;
    let place = |written: Option<&Place>| written.cloned().unwrap_or_else(|| whole(config));
    let written = &config.server;
    let cores_changed = old.cores != server.cores;
    let same_addresses =
        previous.listeners.iter().map(|l| &l.address).eq(listeners.iter().map(|l| &l.address));
    let listener = config.listeners.first().map(|listener| &listener.address.place);
    let changes = [
        (cores_changed, "`cores`", written.cores.as_ref().map(|cores| &cores.place)),
        // Cores say how many lanes there are.
        (
            old.lanes != server.lanes && (!cores_changed || written.lanes.is_some()),
            "`lanes`",
            written.lanes.as_ref().map(|lanes| &lanes.place),
        ),
        (old.io != server.io, "`io`", written.io.as_ref().map(|io| &io.place)),
        (old.admin != server.admin, "`admin`", written.admin.as_ref().map(|admin| &admin.place)),
        (!same_addresses, "the addresses of [[listener]]", listener),
    ];
    for (_, what, at) in changes.into_iter().filter(|(changed, ..)| *changed) {
        problems.push(Placed { value: (), place: place(at) }.problem(
            format!("{what} cannot change while the gateway runs"),
            "sockets and threads are made once, at start",
            "start the gateway again, or undo the change",
        ));
    }
}

/// Where the configuration begins.
pub(super) fn whole(config: &Config) -> Place {
    config.place.clone().unwrap_or_else(|| Place::option("configuration"))
}
