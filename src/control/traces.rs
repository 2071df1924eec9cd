//! Tells collectors of traced exchanges, on a thread of its own: one that is slow, or gone, costs spans and nothing else.

use std::collections::HashMap;
use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prost::Message;
use ureq::Agent;

use super::agent::agent;
use super::ending::wait_for;
use super::otlp::{Export, KeyValue, Resource, ResourceSpans, Scope, ScopeSpans, Span, said};
use super::told_spans::spans as spans_of;
use crate::base::limits::{LOG_TOLD_PAUSE, SPANS_A_CALL, SPANS_MAX, SPANS_PAUSE, SPANS_TIMEOUT};
use crate::base::say;
use crate::board::spans::{SpanReceiver, SpanSender, spans};
use crate::plan::Plan;
use crate::proxy::spans::Traced;

/// How long the thread waits for a span before it looks whether it is to end.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// The thread, and what it is told.
pub(super) struct Traces {
    told: Arc<Told>,
    receiver: SpanReceiver<Traced>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Told {
    end: AtomicBool,
    sent: AtomicU64,
    failed: AtomicU64,
}

/// What became of spans.
pub(super) const SPAN_RESULTS: [&str; 3] = ["sent", "dropped", "failed"];

impl Traces {
    /// Nobody is told yet; the lanes' end of it.
    pub(super) fn new() -> (Self, SpanSender<Traced>) {
        let (sender, receiver) = spans(SPANS_MAX);
        (Self { told: Arc::default(), receiver, thread: None }, sender)
    }

    /// Collectors are told from now on, where the plan names one. The thread begins with the first.
    pub(super) fn follow(&mut self, plan: &Plan) {
        if plan.observe.trace.is_none() || self.thread.is_some() {
            return;
        }
        let (told, receiver) = (Arc::clone(&self.told), self.receiver.clone());
        match thread::Builder::new().name("traces".to_owned()).spawn(move || work(&told, &receiver)) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => say::warn(format_args!(
                "no trace is told to a collector: its thread cannot be started\n  why: {error}\n  fix: raise the limit of threads, and reload"
            )),
        }
    }

    /// What became of spans so far, as [`SPAN_RESULTS`].
    pub(super) fn counts(&self) -> [u64; SPAN_RESULTS.len()] {
        let Told { sent, failed, .. } = &*self.told;
        [sent.load(Ordering::Relaxed), self.receiver.dropped(), failed.load(Ordering::Relaxed)]
    }

    /// Tells what is left and ends; a collector that does not answer holds this up for a second at most.
    pub(super) fn end(&mut self) {
        self.told.end.store(true, Ordering::Release);
        wait_for(self.thread.take());
    }
}

fn work(told: &Told, receiver: &SpanReceiver<Traced>) {
    let mut caller = Caller { told, agent: None, complain_at: None };
    loop {
        // Seen before spans are taken: what was sent before the end is told.
        let is_last = told.end.load(Ordering::Acquire);
        let first = receiver.next(if is_last { Duration::ZERO } else { LOOK_PAUSE });
        let Some((_, first)) = first else {
            if is_last {
                return;
            }
            continue;
        };
        // Others come with it, and nobody is woken for them.
        if !told.end.load(Ordering::Acquire) {
            thread::sleep(SPANS_PAUSE);
        }
        let mut by_address: HashMap<String, Vec<Span>> = HashMap::new();
        let mut taken = 0;
        let mut next = Some(first);
        while let Some(traced) = next.take() {
            if let Some(config) = &traced.plan.observe.trace {
                let spans = spans_of(&traced);
                taken += spans.len();
                by_address.entry(config.otlp.clone()).or_default().extend(spans);
            }
            if taken < SPANS_A_CALL {
                next = receiver.next(Duration::ZERO).map(|(_, traced)| traced);
            }
        }
        by_address.into_iter().for_each(|(address, spans)| caller.send(&address, spans));
    }
}

/// Who makes the calls.
struct Caller<'t> {
    told: &'t Told,
    agent: Option<Agent>,
    /// When the next trouble may be told.
    complain_at: Option<Instant>,
}

impl Caller<'_> {
    fn send(&mut self, address: &str, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let scope = Scope { name: "corelane".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource = Some(Resource { attributes: resource().to_vec() });
        let export = Export { resource_spans: vec![ResourceSpans { resource, scope_spans }] };
        let sent = self
            .agent
            .get_or_insert_with(|| agent(SPANS_TIMEOUT))
            .post(format!("{address}/v1/traces"))
            .content_type("application/x-protobuf")
            .send(&export.encode_to_vec())
            .map_err(|error| error.to_string())
            .and_then(|answer| match answer.status() {
                status if status.is_success() => Ok(()),
                status => Err(format!("it answered {status}")),
            });
        match sent {
            Ok(()) => {
                self.told.sent.fetch_add(count, Ordering::Relaxed);
            }
            Err(error) => {
                self.told.failed.fetch_add(count, Ordering::Relaxed);
                let now = Instant::now();
                if self.complain_at.is_none_or(|at| now >= at) {
                    self.complain_at = Some(now + LOG_TOLD_PAUSE);
                    say::warn(format_args!(
                        "spans are lost: the collector at {address} does not take them\n  why: {error}\n  fix: start it, or correct `observe.trace.otlp` and reload; nothing else waits for it"
                    ));
                }
            }
        }
    }
}

/// Who we are: `service.name`, and what `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say.
fn resource() -> &'static [KeyValue] {
    static RESOURCE: OnceLock<Vec<KeyValue>> = OnceLock::new();
    RESOURCE.get_or_init(|| {
        let text = |name| env::var(name).unwrap_or_default();
        attributes(&text("OTEL_SERVICE_NAME"), &text("OTEL_RESOURCE_ATTRIBUTES"))
    })
}

/// `key=value,…`, percent-encoded (OpenTelemetry's specification of its environment variables); what cannot be read is left out.
fn attributes(service: &str, others: &str) -> Vec<KeyValue> {
    let mut all: Vec<(String, String)> = others
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), decoded(value.trim())))
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .collect();
    if !service.is_empty() {
        all.retain(|(key, _)| key != "service.name");
        all.push(("service.name".to_owned(), service.to_owned()));
    } else if !all.iter().any(|(key, _)| key == "service.name") {
        all.push(("service.name".to_owned(), "corelane".to_owned()));
    }
    all.iter().map(|(key, value)| said(key, value.as_str())).collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| bytes[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_we_are_is_read_from_the_environment() {
        let of = |service: &str, others: &str| {
            let all = attributes(service, others);
            let texts = all.iter().map(|said_of| {
                let value = said_of.value.clone().and_then(|value| value.value);
                format!(
                    "{}={}",
                    said_of.key,
                    match value {
                        Some(super::super::otlp::Value::Text(text)) => text,
                        _ => String::new(),
                    }
                )
            });
            texts.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("", ""), "service.name=corelane");
        assert_eq!(of("", "service.name=a, host.name=h%2C1"), "service.name=a host.name=h,1");
        assert_eq!(of("b", "service.name=a,=x,y,z=%zz%4"), "z=%zz%4 service.name=b");
    }
}
