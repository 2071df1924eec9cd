//! An endpoint is asked about itself, on a connection of its own: what it serves, how it fares. Never on the way of a request.

use bytes::Bytes;

use super::untrusted;
use super::upstream::Upstream;
use super::whole::{Unanswered, exchange};
use crate::base::limits::LOOKUP_TIME;
use crate::codec::content::is_encoded;
use crate::codec::encode::write_bearer;
use crate::codec::method::Method;
use crate::discovery::engine::Question;
use crate::net::connect::{Blame, blame, connect_any};
use crate::plan::{ClusterPlan, EndpointPlan};

/// Asks `endpoint`, with its cluster's credential; the body of an answer of 2xx, of `most` bytes at most. The error says in
/// words why there is none, for whoever runs the gateway.
pub async fn run(
    endpoint: &EndpointPlan,
    cluster: &ClusterPlan,
    question: &Question,
    most: usize,
) -> Result<Bytes, String> {
    match monoio::time::timeout(LOOKUP_TIME, ask(endpoint, cluster, question, most)).await {
        Ok(told) => told,
        Err(_) => Err(format!("it did not answer within {} s", LOOKUP_TIME.as_secs())),
    }
}

async fn ask(
    endpoint: &EndpointPlan,
    cluster: &ClusterPlan,
    question: &Question,
    most: usize,
) -> Result<Bytes, String> {
    let stream = connect_any(&endpoint.addresses, endpoint.tls.as_ref()).await.map_err(|error| {
        if blame(&error) == Blame::Untrusted {
            untrusted::tell(endpoint, &error);
        }
        format!("no connection can be made: {error}")
    })?;
    let mut upstream = Upstream::new(stream);
    let method = if question.body.is_some() { Method::Post } else { Method::Get };
    let message = message(endpoint, cluster, question);
    let (head, body) = exchange(&mut upstream, method, &message, most).await.map_err(|why| match why {
        Unanswered::Broken => "its answer broke off, or is none".to_owned(),
        Unanswered::TooLong => format!("its answer is longer than {most} bytes"),
    })?;
    match head.status() {
        200..=299 if is_encoded(head.head()) => {
            Err("its answer is compressed, which nobody asked for".to_owned())
        }
        200..=299 => Ok(body),
        status => Err(format!("it answered {} with {status}", question.path)),
    }
}

/// The request as it goes out.
fn message(endpoint: &EndpointPlan, cluster: &ClusterPlan, question: &Question) -> Vec<u8> {
    let (base, host) = (&endpoint.base, &endpoint.host);
    let Question { path, body } = question;
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut message = format!(
        "{method} {base}{path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: corelane\r\naccept: */*\r\naccept-encoding: identity\r\nconnection: close\r\n"
    )
    .into_bytes();
    if let Some(auth) = &cluster.settings.auth {
        write_bearer(&mut message, auth.bearer.reveal());
    }
    if let Some(body) = body {
        let length = body.len();
        message.extend_from_slice(
            format!("content-type: application/json\r\ncontent-length: {length}\r\n").as_bytes(),
        );
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(body.unwrap_or_default().as_bytes());
    message
}
