//! What the admin API answers, on the control thread, never on a lane.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde_json::{Value, json};

use super::explained;
use super::page::page;
use super::slow::Asked;
use super::state::Control;
use crate::base::choice::Gathering;
use crate::base::ids::{Id, ListenerId};
use crate::base::limits::SLOW_MAX;
use crate::codec::forwarded::Sender;
use crate::codec::head::RequestHead;
use crate::codec::method::Method;
use crate::codec::reply::LocalReply;
use crate::config::units::duration;
use crate::metrics::accept;
use crate::plan::Action;
use crate::proxy::explain::explain;

fn reply(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> LocalReply {
    let content_type = Bytes::from_static(content_type.as_bytes());
    LocalReply { status, content_type, fields: Vec::new(), body: body.into() }
}

fn text(status: u16, body: impl Into<String>) -> LocalReply {
    reply(status, "text/plain; charset=utf-8", format!("{}\n", body.into()))
}

fn document(status: u16, body: &Value) -> LocalReply {
    reply(status, "application/json", body.to_string())
}

/// How far back `/slow` looks, and how many it shows, where it is not said.
const SLOW_LAST: Duration = Duration::from_secs(300);
const SLOW_SHOWN: usize = 20;

impl Control {
    /// The answer to a request that may be carried out.
    pub(super) async fn answer(self: &Rc<Self>, head: &RequestHead, body: &[u8]) -> LocalReply {
        let path = String::from_utf8_lossy(head.path()).into_owned();
        let method = match head.method() {
            Method::Head => Method::Get,
            method => method,
        };
        match (method, path.as_str()) {
            (Method::Get, "/") => page(),
            (Method::Get, "/livez") => text(200, "ok"),
            (Method::Get, "/readyz") => match self.unready(query(head, "route").as_deref()) {
                Ok(None) => text(200, "ok"),
                Ok(Some(why)) => text(503, why),
                Err(NoSuchRoute) => text(404, "there is no such route"),
            },
            (Method::Get, "/stats") => {
                self.collect().await;
                document(200, &self.stats())
            }
            (Method::Get, "/metrics") => {
                self.collect().await;
                let accept = head.head().values_of(b"accept");
                let format = accept::format(accept.filter_map(|field| std::str::from_utf8(field).ok()));
                reply(200, format.content_type(), self.exposition(format))
            }
            (Method::Get, "/slow") => match asked(head) {
                Ok(asked) => match self.slow(&asked, SystemTime::now()) {
                    Ok(told) => document(200, &told),
                    Err(why) => text(404, why),
                },
                Err(why) => text(400, why),
            },
            (Method::Get, "/config") => document(200, &self.config()),
            (Method::Post, "/explain") => self.explained(head, body),
            (Method::Post, "/reload") => match self.reload().await {
                Ok(generation) => document(200, &json!({ "generation": generation })),
                Err(problems) => {
                    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
                    document(422, &json!({ "problems": texts }))
                }
            },
            (method, path) if path.starts_with("/endpoints/") => self.drain_endpoint(method, path, head),
            (_, "/" | "/live" | "/livez" | "/readyz" | "/stats" | "/metrics" | "/slow" | "/config") => {
                other_method("GET, HEAD")
            }
            (_, "/reload" | "/explain") => other_method("POST"),
            _ => text(
                404,
                "not found; there are / /live /livez /readyz /stats /metrics /slow /config, POST /reload, POST /explain and POST /endpoints/CLUSTER/drain?url=URL",
            ),
        }
    }

    /// `POST /explain?from=ADDRESS&as=text`: what would become of the request in the body, a whole HTTP/1.1 message, with the
    /// loads, limits and verdicts of now. Nothing is sent, and nothing taken from a limit.
    fn explained(&self, head: &RequestHead, message: &[u8]) -> LocalReply {
        let from = match query(head, "from").map(|from| from.parse()) {
            None => None,
            Some(Ok(address)) => Some(address),
            Some(Err(_)) => return text(400, "from is the address of a client, such as 127.0.0.1"),
        };
        let plan = self.plan();
        let sender = Sender::new(from, &plan.listeners[ListenerId::at(0)].trusted);
        let told = explain(&plan, message, &sender);
        match query(head, "as").as_deref() {
            Some("text") => reply(200, "text/plain; charset=utf-8", explained::text(&plan, &told)),
            _ => document(200, &explained::document(&plan, &told)),
        }
    }

    /// `POST /endpoints/CLUSTER/drain?url=URL` and `…/undrain`.
    fn drain_endpoint(&self, method: Method, path: &str, head: &RequestHead) -> LocalReply {
        let (cluster, out) = match path.trim_start_matches("/endpoints/").rsplit_once('/') {
            Some((cluster, "drain")) => (decoded(cluster), true),
            Some((cluster, "undrain")) => (decoded(cluster), false),
            _ => {
                return text(
                    404,
                    "not found; there are POST /endpoints/CLUSTER/drain?url=URL and …/undrain?url=URL",
                );
            }
        };
        if method != Method::Post {
            return other_method("POST");
        }
        let plan = self.plan();
        let Some(known) = plan.clusters.iter().find(|known| known.name == cluster) else {
            return text(404, format!("there is no cluster \"{cluster}\""));
        };
        let Some(url) = query(head, "url") else {
            return text(400, "say which endpoint: ?url=URL, as it is written in the configuration");
        };
        let found =
            known.endpoints.iter().map(|id| &plan.endpoints[*id]).find(|endpoint| endpoint.url == url);
        match found {
            Some(endpoint) => {
                endpoint.verdict().drain(out);
                document(200, &json!({ "cluster": cluster, "url": url, "admitted": !out }))
            }
            None => text(404, format!("cluster \"{cluster}\" has no endpoint \"{url}\"")),
        }
    }

    /// Why requests, or those of one route, should not be sent here; none if they may.
    fn unready(&self, route: Option<&str>) -> Result<Option<&'static str>, NoSuchRoute> {
        let (plan, now) = (self.plan(), Instant::now());
        let admitted = |id: &_| plan.endpoints[*id].verdict().is_admitted(now);
        let serves = |action: &Action| match action {
            Action::Respond(_) | Action::Models | Action::Multi(_) => true,
            Action::Fanout(fanout) => {
                let serving =
                    fanout.to.iter().filter(|id| plan.clusters[**id].endpoints.iter().any(admitted)).count();
                serving >= if fanout.gather == Gathering::Quorum { fanout.need } else { 1 }
            }
            Action::Forward(targets) => {
                let taken = targets.shares.iter().filter(|(_, share)| *share > 0).map(|(id, _)| id);
                let mut all = taken.chain(&targets.fallback);
                all.any(|id| plan.clusters[*id].endpoints.iter().any(admitted))
            }
        };
        let mut routes =
            plan.routes.iter().filter(|known| route.is_none_or(|name| known.name == name)).peekable();
        if routes.peek().is_none() {
            return Err(NoSuchRoute);
        }
        Ok(match (self.draining.get(), routes.any(|known| serves(&known.action))) {
            (true, _) => Some("draining"),
            (false, true) => None,
            (false, false) => Some("no endpoint is admitted"),
        })
    }
}

/// What a request to `/slow` asks for; what is wrong with it.
fn asked(head: &RequestHead) -> Result<Asked, String> {
    let last = match query(head, "last") {
        None => SLOW_LAST,
        Some(last) => duration(&last).map_err(|fix| format!("last is no time; {fix}"))?,
    };
    let limit = match query(head, "limit").map(|limit| limit.parse()) {
        None => SLOW_SHOWN,
        Some(Ok(limit @ 1..=SLOW_MAX)) => limit,
        Some(_) => return Err(format!("limit is a number from 1 to {SLOW_MAX}")),
    };
    Ok(Asked { route: query(head, "route"), endpoint: query(head, "endpoint"), last, limit })
}

/// Nobody can say whether a route is ready that does not exist.
struct NoSuchRoute;

fn other_method(allow: &str) -> LocalReply {
    let mut reply = text(405, "this path does not take this method");
    reply.fields.push(("allow", allow.to_owned()));
    reply
}

/// The value of a parameter of the query, percent-decoded.
fn query(head: &RequestHead, name: &str) -> Option<String> {
    let target = String::from_utf8_lossy(head.path_and_query()).into_owned();
    let (_, query) = target.split_once('?')?;
    query
        .split('&')
        .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| decoded(value))
}

fn decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (bytes[at], escape) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
