//! What is made at start and stays: lanes, driver, sockets. A reload that would change it is refused.

use super::types::{ListenerPlan, Plan, ServerPlan, Surroundings};
use crate::base::ids::{IdVec, ListenerId};
use crate::base::problem::{Placed, Problem};
use crate::config::Config;

/// `[server]`: cores say how many lanes there are.
pub(super) fn server(config: &Config, around: &Surroundings<'_>, problems: &mut Vec<Problem>) -> ServerPlan {
    let mut server = config.server.clone();
    let lanes = server.lanes.value;
    if let Some(cores) = &server.cores {
        let count = cores.value.0.len();
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
        if let Some(missing) = cores.value.0.iter().find(|core| !around.cores.contains(core)) {
            let usable: Vec<_> = around.cores.iter().map(ToString::to_string).collect();
            problems.push(cores.problem(
                format!("core {missing} cannot be used by this process"),
                "it does not exist here, or the process is kept off it",
                format!("use some of: {}", usable.join(", ")),
            ));
        }
    }
    server.lanes.value = server.cores.as_ref().map(|cores| cores.value.0.len()).or(lanes);
    server
}

/// `[[listener]]`, and the usual one where there is none.
pub(super) fn listeners(
    config: &Config,
    around: &Surroundings<'_>,
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
    let all = match config.listeners.is_empty() {
        true => Config::default().listeners,
        false => config.listeners.clone(),
    };
    check_admin(config, &all, around, problems);
    all.into_iter().collect()
}

/// The admin API is for other people than the listeners are.
fn check_admin(
    config: &Config,
    listeners: &[ListenerPlan],
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) {
    let Some(admin) = &config.server.admin.value else { return };
    let overlapping = listeners.iter().map(|listener| &listener.address);
    let Some(address) = overlapping.into_iter().find(|address| address.value.overlaps(admin)) else {
        return;
    };
    // It stands where it was written: the admin API's own address, unless that is the usual one.
    let place = match &config.server.admin.place {
        usual if *usual == around.place => address.place.clone(),
        written => written.clone(),
    };
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
    (previous, around): (&Plan, &Surroundings<'_>),
    problems: &mut Vec<Problem>,
) {
    let old = &previous.server;
    let written = &config.server;
    let cores_changed = old.core_list() != server.core_list();
    let addresses = |listeners: &IdVec<ListenerId, ListenerPlan>| {
        listeners.iter().map(|listener| listener.address.value.clone()).collect::<Vec<_>>()
    };
    // What is not written stands where the table would: a default has its place.
    let cores = written.cores.as_ref().map_or(&written.lanes.place, |cores| &cores.place);
    let listener = config.listeners.first().map_or(&around.place, |listener| &listener.address.place);
    let changes = [
        (cores_changed, "`cores`", cores),
        // Cores say how many lanes there are.
        (
            old.lanes.value != server.lanes.value && (!cores_changed || written.lanes.value.is_some()),
            "`lanes`",
            &written.lanes.place,
        ),
        (old.io.value != server.io.value, "`io`", &written.io.place),
        (old.admin.value != server.admin.value, "`admin`", &written.admin.place),
        (addresses(&previous.listeners) != addresses(listeners), "the addresses of [[listener]]", listener),
    ];
    for (_, what, at) in changes.into_iter().filter(|(changed, ..)| *changed) {
        problems.push(Placed { value: (), place: at.clone() }.problem(
            format!("{what} cannot change while the gateway runs"),
            "sockets and threads are made once, at start",
            "start the gateway again, or undo the change",
        ));
    }
}
