//! An endpoint is asked about itself, on a connection of its own: what it serves, how it fares. Never on the way of a request.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::untrusted;
use super::upstream::Upstream;
use super::whole::{Unanswered, exchange};
use crate::base::address::Address;
use crate::base::trust::TlsClient;
use crate::codec::content::is_encoded;
use crate::codec::encode::write_bearer;
use crate::codec::method::Method;
use crate::discovery::engine::Question;
use crate::net::connect::{Blame, blame, connect_any};
use crate::plan::{ClusterPlan, EndpointPlan};

/// Whom to ask, and how.
pub struct Target<'e> {
    endpoint: &'e EndpointPlan,
    addresses: Cow<'e, [Address]>,
    tls: Option<&'e TlsClient>,
    base: &'e str,
    host: Cow<'e, str>,
    bearer: Option<&'e str>,
}

impl<'e> Target<'e> {
    /// The endpoint as requests reach it, with its cluster's credential.
    pub fn of(endpoint: &'e EndpointPlan, cluster: &'e ClusterPlan) -> Self {
        let EndpointPlan { addresses, tls, base, host, .. } = endpoint;
        Self {
            endpoint,
            addresses: Cow::Borrowed(addresses),
            tls: tls.as_ref(),
            base,
            host: Cow::Borrowed(host),
            bearer: cluster.settings.auth.as_ref().map(|auth| auth.bearer.reveal()),
        }
    }

    /// Its machine at another port, in the clear, where a credential has no business; none where it is on a Unix socket.
    pub fn beside(endpoint: &'e EndpointPlan, port: u16) -> Option<Self> {
        let at = |address: &Address| match address {
            Address::Tcp(address) => Some(Address::Tcp(SocketAddr::new(address.ip(), port))),
            Address::Unix(_) => None,
        };
        let addresses: Vec<_> = endpoint.addresses.iter().filter_map(at).collect();
        let host = Cow::Owned(addresses.first()?.authority());
        Some(Self { endpoint, addresses: addresses.into(), tls: None, base: "", host, bearer: None })
    }
}

/// Asks; the body of an answer of 2xx that comes within that time, of `most` bytes at most. The error says in words why there is
/// none, for whoever runs the gateway.
pub async fn run(
    target: &Target<'_>,
    question: &Question,
    most: usize,
    within: Duration,
) -> Result<Bytes, String> {
    match monoio::time::timeout(within, ask(target, question, most)).await {
        Ok(told) => told,
        Err(_) => Err(format!("it did not answer within {} s", within.as_secs())),
    }
}

async fn ask(target: &Target<'_>, question: &Question, most: usize) -> Result<Bytes, String> {
    let stream = connect_any(&target.addresses, target.tls).await.map_err(|error| {
        if blame(&error) == Blame::Untrusted {
            untrusted::tell(target.endpoint, &error);
        }
        format!("no connection can be made: {error}")
    })?;
    let mut upstream = Upstream::new(stream);
    let method = if question.body.is_some() { Method::Post } else { Method::Get };
    let message = message(target, question);
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
fn message(target: &Target<'_>, question: &Question) -> Vec<u8> {
    let Target { base, host, bearer, .. } = target;
    let Question { path, body } = question;
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut message = format!(
        "{method} {base}{path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: corelane\r\naccept: */*\r\naccept-encoding: identity\r\nconnection: close\r\n"
    )
    .into_bytes();
    if let Some(bearer) = bearer {
        write_bearer(&mut message, bearer);
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
