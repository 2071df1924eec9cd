//! `kind = "rate-limit"`: so many requests or tokens in a time, for each of whatever they are told apart by.

use std::sync::Arc;
use std::time::Duration;

use super::model::Models;
use super::verdict::View;
use crate::board::buckets::{Buckets, Name, Rate, Standing};
use crate::codec::forwarded::Client;
use crate::codec::reply::ErrorReply;

/// A limit.
#[derive(Debug)]
pub struct RateLimit {
    /// What requests are told apart by; each combination has a bucket.
    pub by: Vec<By>,
    /// How many requests.
    pub requests: Option<Bound>,
    /// How many tokens.
    pub tokens: Option<Bound>,
}

/// So many in a time.
#[derive(Debug, Clone)]
pub struct Bound {
    /// How many.
    pub rate: Rate,
    /// Over all lanes; kept through reloads.
    pub buckets: Arc<Buckets>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    Requests,
    Tokens,
}

impl Counted {
    /// Its word, for headers and for whoever is refused.
    fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
        }
    }
}

/// What requests are told apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// The name of whom their credential belongs to.
    Key,
    /// The client's address; of IPv6 the first 64 bits, which one customer of a network has.
    Ip,
    /// The values of this field.
    Header(String),
    /// Their route.
    Route,
    /// The models that they ask for.
    Model,
}

/// The bucket of a request.
pub(super) type Asked = Name;

impl RateLimit {
    /// Whether it cannot judge before the route is known.
    pub(super) fn needs_route(&self) -> bool {
        self.by.contains(&By::Route)
    }

    /// Names of the fields that requests are told apart by.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.by.iter().filter_map(|by| match by {
            By::Header(name) => Some(name.as_str()),
            By::Key | By::Ip | By::Route | By::Model => None,
        })
    }

    /// Whether it cannot judge before the model is known.
    pub(super) fn needs_model(&self) -> bool {
        self.by.contains(&By::Model)
    }

    /// The bound of what is counted, if there is one.
    pub(super) fn bound(&self, counted: Counted) -> Option<&Bound> {
        match counted {
            Counted::Requests => self.requests.as_ref(),
            Counted::Tokens => self.tokens.as_ref(),
        }
    }

    /// The bucket in `bound` of a request for these models, of whose `holder` the name is given if there is one.
    pub(super) fn ask(&self, bound: &Bound, view: &View<'_>, holder: Option<&str>, models: &Models) -> Asked {
        let parts: Vec<_> = self.by.iter().map(|by| Part::of(by, view, (holder, models))).collect();
        bound.buckets.name(parts)
    }
}

/// 429 `rate_limited` for who has no permit for so long. Nothing was executed.
pub(super) fn refusal(counted: Counted, wait: Duration) -> ErrorReply {
    let message = format!("Too many {}; try again after the time that `retry-after` tells.", counted.word());
    ErrorReply {
        should_retry: Some(true),
        retry_after: Some(wait),
        param: Some(counted.word().into()),
        ..ErrorReply::new(429, "rate_limited", message)
    }
}

/// What a bucket is named by; absent things have a bucket of their own, shared by all who lack them.
#[derive(Hash)]
enum Part<'v> {
    Key(Option<&'v str>),
    Address([u8; 8]),
    Local,
    Unknown,
    Header(Vec<&'v [u8]>),
    Route(Option<&'v str>),
    Model(&'v Models),
}

impl<'v> Part<'v> {
    fn of(by: &'v By, view: &View<'v>, (holder, models): (Option<&'v str>, &'v Models)) -> Self {
        match by {
            By::Key => Self::Key(holder),
            By::Ip => Self::of_client(view.client),
            By::Header(name) => Self::Header(view.head.head().values_of(name.as_bytes()).collect()),
            // Its name: an id means another route after a reload.
            By::Route => Self::Route(view.route.map(|(_, name)| name)),
            By::Model => Self::Model(models),
        }
    }

    fn of_client(client: Client) -> Self {
        match client {
            Client::Address(std::net::IpAddr::V4(address)) => {
                let [a, b, c, d] = address.octets();
                // No IPv6 network begins so.
                Self::Address([0xff, 0xff, 0xff, 0xff, a, b, c, d])
            }
            Client::Address(std::net::IpAddr::V6(address)) => {
                let (network, _) =
                    address.octets().split_first_chunk().map_or(([0; 8], &[][..]), |(n, r)| (*n, r));
                Self::Address(network)
            }
            Client::Local => Self::Local,
            Client::Unknown => Self::Unknown,
        }
    }
}

/// What answers say of the limit that is nearest to refusing (draft-ietf-httpapi-ratelimit-headers).
pub(super) fn told_of_nearest(rate: &Rate, standing: Standing) -> [(&'static str, String); 3] {
    let seconds = standing.full_in.as_nanos().div_ceil(1_000_000_000).to_string();
    [
        ("ratelimit-limit", rate.permits.to_string()),
        ("ratelimit-remaining", standing.remaining.to_string()),
        ("ratelimit-reset", seconds),
    ]
}

/// What they say of the nearest of a kind, as clients of OpenAI know it.
pub(super) fn told_of_kind(counted: Counted, rate: &Rate, standing: Standing) -> [(&'static str, String); 3] {
    let names = match counted {
        Counted::Requests => {
            ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]
        }
        Counted::Tokens => {
            ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"]
        }
    };
    let [limit, remaining, reset] = names;
    [
        (limit, rate.permits.to_string()),
        (remaining, standing.remaining.to_string()),
        (reset, clock(standing.full_in)),
    ]
}

/// A time as OpenAI writes it: `120ms`, `1s`, `6m0s`, `1h0m0s`; rounded up.
fn clock(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    if (1..1000).contains(&millis) {
        return format!("{millis}ms");
    }
    let seconds = millis.div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        (_, _) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::testing::{head, view};
    use super::*;
    use crate::base::ids::{Id, RouteId};

    /// Fields, client, route and holder of a request.
    type Asking = (&'static str, Client, Option<(RouteId, &'static str)>, Option<&'static str>);

    #[test]
    fn requests_share_a_bucket_where_all_is_the_same_that_they_are_told_apart_by() {
        let epoch = Instant::now();
        let at = |text: &str| Client::Address(text.parse().unwrap());
        let (route, other) = (Some((RouteId::at(0), "a")), Some((RouteId::at(0), "b")));
        let rows: [(&[By], [Asking; 2], bool); 16] = [
            (&[By::Key], [("", Client::Local, None, Some("a")), ("", at("1.2.3.4"), route, Some("a"))], true),
            (&[By::Key], [("", Client::Local, None, Some("a")), ("", Client::Local, None, Some("b"))], false),
            (&[By::Key], [("", Client::Local, None, Some("")), ("", Client::Local, None, None)], false),
            (
                &[By::Ip],
                [("", at("1.2.3.4"), None, None), ("x-a: 1\r\n", at("1.2.3.4"), route, Some("a"))],
                true,
            ),
            (&[By::Ip], [("", at("1.2.3.4"), None, None), ("", at("1.2.3.5"), None, None)], false),
            (
                &[By::Ip],
                [("", at("2001:db8::1"), None, None), ("", at("2001:db8::ffff:2"), None, None)],
                true,
            ),
            (
                &[By::Ip],
                [("", at("2001:db8::1"), None, None), ("", at("2001:db8:0:1::1"), None, None)],
                false,
            ),
            (&[By::Ip], [("", Client::Unknown, None, None), ("", Client::Local, None, None)], false),
            (
                &[By::Header("x-a".into())],
                [("X-A: 1\r\n", at("1.2.3.4"), None, None), ("x-a: 1\r\n", Client::Local, None, None)],
                true,
            ),
            (
                &[By::Header("x-a".into())],
                [("x-a: 1\r\n", Client::Local, None, None), ("x-a: 2\r\n", Client::Local, None, None)],
                false,
            ),
            (
                &[By::Header("x-a".into())],
                [
                    ("x-a: 12\r\n", Client::Local, None, None),
                    ("x-a: 1\r\nx-a: 2\r\n", Client::Local, None, None),
                ],
                false,
            ),
            (
                &[By::Header("x-a".into())],
                [("x-a:\r\n", Client::Local, None, None), ("", Client::Local, None, None)],
                false,
            ),
            (
                &[By::Header("x-a".into())],
                [("x_a: 1\r\n", Client::Local, None, None), ("", Client::Local, None, None)],
                true,
            ),
            (&[By::Route], [("", Client::Local, route, None), ("", Client::Local, other, None)], false),
            (
                &[By::Key, By::Route],
                [("", Client::Local, route, Some("a")), ("", Client::Local, route, Some("a"))],
                true,
            ),
            (
                &[By::Key, By::Route],
                [("", Client::Local, route, Some("a")), ("", Client::Local, other, Some("a"))],
                false,
            ),
        ];
        for (by, requests, same) in rows {
            let rate = Rate { permits: 1, period: Duration::from_secs(60), burst: 1 };
            let bound = Bound { rate, buckets: Arc::new(Buckets::new(epoch)) };
            let limit = RateLimit { by: by.to_vec(), requests: Some(bound.clone()), tokens: None };
            let taken = requests.map(|(fields, client, route, holder)| {
                let head = head(fields);
                let view = View { client, route, ..view(&head) };
                let asked = limit.ask(&bound, &view, holder, &Models::default());
                bound.buckets.take(asked, &rate, 1, epoch).is_ok()
            });
            assert_eq!(taken, [true, !same], "{by:?} {requests:?}");
        }
    }

    #[test]
    fn times_are_written_as_clients_of_openai_know_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ms"),
            (120_000_000, "120ms"),
            (999_000_001, "1s"),
            (1_000_000_001, "2s"),
            (59_000_000_000, "59s"),
            (360_000_000_000, "6m0s"),
            (86_400_000_000_000, "24h0m0s"),
        ] {
            assert_eq!(clock(Duration::from_nanos(nanos)), text);
        }
    }
}
