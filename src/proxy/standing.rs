//! Where a request stands among others that wait: its class, whose turns it takes, until when. A call that is made for it, or for
//! several, keeps that.

use std::time::Duration;

use super::placing;
use super::request::Request;
use crate::base::hash::hash64;
use crate::base::ids::ClusterId;
use crate::config::QueueConfig;
use crate::filter;
use crate::plan::Standing;

/// The class of a request for which nobody says one.
const DEFAULT: &str = "default";

/// That of `request`, of which `cluster` is asked first.
pub(super) fn of(request: &Request, cluster: ClusterId) -> Standing {
    Standing {
        class: class_said(request).map(Into::into),
        key: key(request),
        placed_by: placing::placed_by(request, cluster),
        is_traced: request.is_traced(),
    }
}

/// `x-deadline-ms`: from the end of the head on; more than a day is none.
pub(super) fn deadline_said(request: &Request) -> Option<Duration> {
    let value = request.head.head().values_of(b"x-deadline-ms").next()?;
    let ms: u64 = std::str::from_utf8(value.trim_ascii()).ok()?.parse().ok()?;
    Some(Duration::from_millis(ms)).filter(|said| said.as_secs() < 24 * 60 * 60)
}

/// The class that it has, where somebody says one.
pub(super) fn class_said(request: &Request) -> Option<&str> {
    if let Some(standing) = &request.standing {
        return standing.class.as_deref();
    }
    let plan = &request.plan.plan;
    let of_route = request.route().1.settings.class.as_deref();
    let of_key = || filter::holder_of(&plan.filters, &request.found)?.1.class.as_deref();
    let said = || {
        let value = request.head.head().values_of(b"x-priority").next()?;
        std::str::from_utf8(value).ok().filter(|_| request.sender.is_trusted)
    };
    of_route.or_else(of_key).or_else(said)
}

/// A class by its place among those of the cluster.
pub(super) fn class(said: Option<&str>, config: &QueueConfig) -> usize {
    let place = |name: &str| config.classes.iter().position(|class| class == name);
    place(said.unwrap_or(DEFAULT)).or_else(|| place(DEFAULT)).unwrap_or(config.classes.len() - 1)
}

/// Whose turns it takes: those of its key, else those of its client's address.
pub(super) fn key(request: &Request) -> u64 {
    if let Some(standing) = &request.standing {
        return standing.key;
    }
    let plan = &request.plan.plan;
    match filter::holder_of(&plan.filters, &request.found) {
        Some((_, holder)) => hash64(holder.name.as_bytes()),
        None => {
            let trusted = &plan.listeners[request.listener].trusted;
            let client = request.sender.client(request.head.head(), trusted);
            client.address().map_or(0, |address| hash64(address.to_string().as_bytes()))
        }
    }
}
