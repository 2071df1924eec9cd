//! What a collector is told of an exchange: its span, that of its wait and those of its attempts, by OpenTelemetry's conventions
//! for HTTP and for generative AI, and ours.

use std::time::Instant;

use super::otlp::{self, CLIENT, ERROR, INTERNAL, KeyValue, SERVER, Span, Status, Value, said};
use crate::base::address::Address;
use crate::base::choice::Words;
use crate::base::link::Link;
use crate::base::summary::Ended;
use crate::codec::operation::Operation;
use crate::plan::{EndpointPlan, RoutePlan};
use crate::proxy::spans::{Attempt, Attempts, Traced};

/// Methods that keep their names (semantic conventions of HTTP).
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The spans of an exchange, its own first.
pub(super) fn spans(traced: &Traced) -> Vec<Span> {
    let mut spans = vec![exchange(traced)];
    let Attempts { made, waits, .. } = &traced.attempts;
    spans.extend(waits.iter().map(|wait| Span {
        name: "queue".to_owned(),
        kind: INTERNAL,
        span_id: id(wait.span),
        parent_span_id: id(traced.trace.span()),
        ..blank(traced, (wait.from, wait.until))
    }));
    let numbered = (1_u64..).zip(made);
    spans.extend(numbered.map(|(number, tried)| attempt(traced, tried, number)));
    spans
}

fn blank(traced: &Traced, (begun, ended): (Instant, Instant)) -> Span {
    let hex = traced.trace.id();
    let byte =
        |at: usize| u8::from_str_radix(std::str::from_utf8(&hex[2 * at..2 * at + 2]).unwrap_or("0"), 16);
    Span {
        trace_id: (0..16).map(|at| byte(at).unwrap_or(0)).collect(),
        trace_state: traced.state.clone().unwrap_or_default(),
        start_time_unix_nano: traced.wall_us(begun).saturating_mul(1000),
        end_time_unix_nano: traced.wall_us(ended).saturating_mul(1000),
        flags: 1,
        ..Span::default()
    }
}

fn link(call: &Link) -> otlp::Link {
    otlp::Link { trace_id: call.trace.to_be_bytes().to_vec(), span_id: id(call.span), flags: 1 }
}

fn id(span: u64) -> Vec<u8> {
    span.to_be_bytes().to_vec()
}

/// The server's span, or that of a call that was made for others.
fn exchange(traced: &Traced) -> Span {
    let Traced { plan, record, .. } = traced;
    let route = record.route.map(|id| &plan.routes[id]);
    let mut all = common(traced, route);
    let mut say = |key: &str, value: Option<Value>| all.extend(value.map(|value| said(key, value)));
    say("url.path", Some(traced.path.as_str().into()));
    // A call that nobody needs any more has none.
    let has_status = !traced.is_call || record.ended != Ended::ClientLeft;
    say("http.response.status_code", has_status.then(|| u64::from(record.status).into()));
    let why = traced.error;
    let is_error = record.ended == Ended::Badly || record.status >= 500;
    let code = record.status.to_string();
    say("error.type", why.or(is_error.then_some(code.as_str())).map(Value::from));
    let phases = [
        ("corelane.head_ms", Some(record.head_us)),
        ("corelane.hold_ms", Some(record.hold_us)),
        ("corelane.queue_ms", Some(record.queue_us)),
        ("corelane.connect_ms", Some(record.connect_us)),
        ("corelane.send_ms", Some(record.send_us)),
        ("corelane.wait_ms", Some(record.wait_us)),
        ("corelane.relay_ms", Some(record.relay_us)),
        ("corelane.ttft_ms", record.ttft_us),
        ("corelane.itl_max_ms", record.itl_max_us),
    ];
    for (key, us) in phases {
        say(key, us.map(|us| Value::Number(us as f64 / 1000.0)));
    }
    say("corelane.key", traced.key.as_deref().map(Value::from));
    let endpoint = record.endpoint.map(|id| &plan.endpoints[id]);
    say("corelane.cluster", endpoint.map(|endpoint| plan.clusters[endpoint.cluster].name.as_str().into()));
    say("corelane.endpoint", endpoint.map(|endpoint| endpoint.url.as_str().into()));
    all.extend(generation(traced));
    let parent = traced.trace.parent;
    let name = match (method(&traced.method), route) {
        _ if traced.is_call => "call".to_owned(),
        (Some(method), Some(route)) => format!("{method} {}", route.name),
        (Some(method), None) => method.to_owned(),
        (None, _) => "HTTP".to_owned(),
    };
    Span {
        name,
        kind: if traced.is_call { INTERNAL } else { SERVER },
        links: traced.attempts.calls.iter().map(link).collect(),
        span_id: id(traced.trace.span()),
        parent_span_id: if parent == 0 { Vec::new() } else { id(parent) },
        attributes: all,
        status: is_error.then(|| failed(why.unwrap_or_default())),
        ..blank(traced, (traced.began, traced.over))
    }
}

/// A client's span.
fn attempt(traced: &Traced, tried: &Attempt, number: u64) -> Span {
    let plan = &traced.plan;
    let endpoint = &plan.endpoints[tried.endpoint];
    let mut all = common(traced, traced.record.route.map(|id| &plan.routes[id]));
    all.extend(server(endpoint));
    all.extend([
        said("corelane.cluster", plan.clusters[endpoint.cluster].name.as_str()),
        said("corelane.endpoint", endpoint.url.as_str()),
        said("corelane.attempt", number),
    ]);
    all.extend(tried.status.map(|status| said("http.response.status_code", u64::from(status))));
    let status = tried.status.filter(|status| *status >= 400).map(|status| status.to_string());
    let why = tried.fault.or(status.as_deref());
    all.extend(why.map(|why| said("error.type", why)));
    let engine = plan.clusters[endpoint.cluster].settings.engine.word();
    all.push(said("gen_ai.provider.name", engine));
    // What an answer tells belongs to the one that gave it.
    let later = traced.attempts.made.iter().skip(usize::try_from(number).unwrap_or(usize::MAX));
    let is_last = !later.clone().any(|later| later.endpoint == tried.endpoint);
    if traced.record.endpoint == Some(tried.endpoint) && is_last {
        all.extend(generation(traced));
    }
    Span {
        name: "attempt".to_owned(),
        kind: CLIENT,
        span_id: id(tried.span),
        parent_span_id: id(traced.trace.span()),
        attributes: all,
        status: why.map(|_| failed(tried.fault.unwrap_or_default())),
        ..blank(traced, (tried.begun, tried.ended.unwrap_or(traced.over)))
    }
}

fn failed(why: &str) -> Status {
    Status { message: why.to_owned(), code: ERROR }
}

/// What all spans of an exchange say.
fn common(traced: &Traced, route: Option<&RoutePlan>) -> Vec<KeyValue> {
    let mut all = match method(&traced.method) {
        Some(method) => vec![said("http.request.method", method)],
        None => vec![
            said("http.request.method", "_OTHER"),
            said("http.request.method_original", traced.method.as_str()),
        ],
    };
    if let Some(route) = route {
        all.push(said("http.route", route.settings.matching.path.as_deref().unwrap_or("/*")));
        all.push(said("corelane.route", route.name.as_str()));
    }
    all
}

/// The method, if it is one that conventions know.
fn method(asked: &str) -> Option<&str> {
    METHODS.contains(&asked).then_some(asked)
}

/// What is known of the model and of tokens.
fn generation(traced: &Traced) -> Vec<KeyValue> {
    let operation = match traced.operation {
        Operation::Chat => Some("chat"),
        Operation::Completions => Some("text_completion"),
        Operation::Embeddings => Some("embeddings"),
        Operation::Other => None,
    };
    let [asked, answered] = &traced.models;
    let texts = [
        ("gen_ai.operation.name", operation),
        ("gen_ai.request.model", asked.as_deref()),
        ("gen_ai.response.model", answered.as_deref()),
    ];
    let tokens = [
        ("gen_ai.usage.input_tokens", traced.record.input_tokens),
        ("gen_ai.usage.output_tokens", traced.record.output_tokens),
    ];
    let texts = texts.into_iter().filter_map(|(key, text)| Some(said(key, text?)));
    texts.chain(tokens.into_iter().filter_map(|(key, count)| Some(said(key, count?)))).collect()
}

/// Whom it asks.
fn server(endpoint: &EndpointPlan) -> Vec<KeyValue> {
    match endpoint.addresses.first() {
        Some(Address::Unix(path)) => vec![said("server.address", path.to_string_lossy().as_ref())],
        address => {
            let (host, port) = match endpoint.host.rsplit_once(':') {
                Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
                _ => (endpoint.host.as_str(), None),
            };
            let port = port.or(match address {
                Some(Address::Tcp(address)) => Some(u64::from(address.port())),
                _ => None,
            });
            let mut all = vec![said("server.address", host.trim_matches(['[', ']']))];
            all.extend(port.map(|port| said("server.port", port)));
            all
        }
    }
}
