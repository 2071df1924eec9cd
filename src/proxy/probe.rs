//! One active probe of an endpoint, on a connection of its own.

use std::future::poll_fn;
use std::time::Duration;

use super::untrusted;
use super::upstream::{AnswerHead, Upstream};
use crate::codec::encode::write_bearer;
use crate::codec::method::Method;
use crate::health::Probed;
use crate::net::connect::{Blame, blame, connect_any};
use crate::plan::{ClusterPlan, EndpointPlan};

/// Asks `endpoint` for its health, and waits so long for the answer. None where it is we who could not ask.
pub async fn run(endpoint: &EndpointPlan, cluster: &ClusterPlan, timeout: Duration) -> Option<Probed> {
    let path = cluster.settings.probe_path()?;
    match monoio::time::timeout(timeout, ask(endpoint, cluster, path)).await {
        Ok(probed) => probed,
        Err(_) => Some(Probed::Unhealthy),
    }
}

async fn ask(endpoint: &EndpointPlan, cluster: &ClusterPlan, path: &str) -> Option<Probed> {
    let mut upstream = match connect_any(&endpoint.addresses, endpoint.tls.as_ref()).await {
        Ok(stream) => Upstream::new(stream),
        Err(error) => {
            return match blame(&error) {
                Blame::Ours => None,
                Blame::Theirs => Some(Probed::Unhealthy),
                Blame::Untrusted => {
                    untrusted::tell(endpoint, &error);
                    Some(Probed::Unhealthy)
                }
            };
        }
    };
    upstream.expect(Method::Get);
    let (base, host) = (&endpoint.base, &endpoint.host);
    let mut request = format!(
        "GET {base}{path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: corelane-probe\r\naccept: */*\r\nconnection: close\r\n"
    )
    .into_bytes();
    if let Some(auth) = &cluster.settings.auth {
        write_bearer(&mut request, auth.bearer.reveal());
    }
    request.extend_from_slice(b"\r\n");
    if upstream.writer.write(request).await.is_err() {
        return Some(Probed::Unhealthy);
    }
    loop {
        match poll_fn(|cx| upstream.poll_head(cx)).await {
            Ok(AnswerHead::Interim(_)) => {}
            Ok(AnswerHead::Final(head, _)) => {
                return Some(match head.status() {
                    200..=299 => Probed::Healthy,
                    429 | 503 => Probed::Busy,
                    _ => Probed::Unhealthy,
                });
            }
            Err(_) => return Some(Probed::Unhealthy),
        }
    }
}
