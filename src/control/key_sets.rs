//! Key sets of issuers are fetched from a thread of their own, by the package `ureq`: at start, each 10 minutes, and when a
//! token names a key that is not known. What was fetched last stays in force while an issuer does not answer.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use ureq::Agent;

use super::agent::agent;
use super::failure::{RunError, failed};
use crate::base::limits::JWK_SET_BYTES_MAX;
use crate::base::say;
use crate::filter::jwt::{KeySet, KeySource};
use crate::plan::Plan;

/// How often they are fetched.
const PERIOD: Duration = Duration::from_secs(600);
/// How often at most for a key that is not known: anybody can name one.
const WANTED_PAUSE: Duration = Duration::from_secs(60);
/// How long an issuer has.
const TIMEOUT: Duration = Duration::from_secs(10);
/// After a failure: so long, then twice, up to [`WANTED_PAUSE`].
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often it is looked whether one is wanted.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Fetches the key sets of the plan in force.
pub(super) struct KeySets {
    sources: Arc<Mutex<Vec<Due>>>,
    thread: Thread,
}

/// One source, and when it is asked next.
struct Due {
    source: Arc<KeySource>,
    at: Instant,
    /// When it was asked last.
    asked: Option<Instant>,
    /// How long it is left alone after the next failure.
    pause: Duration,
}

impl KeySets {
    /// Fetches none yet.
    pub(super) fn start() -> Result<Self, RunError> {
        Self::new().map_err(|error| failed("key sets cannot be fetched", error, "raise the limit of threads"))
    }

    fn new() -> io::Result<Self> {
        let sources = Arc::new(Mutex::new(Vec::new()));
        let asking = Arc::clone(&sources);
        let work = move || {
            let mut made = None;
            loop {
                // Let go of before the pause: whoever reloads must not wait for it.
                let is_idle = locked(&asking).is_empty();
                match is_idle {
                    true => thread::park(),
                    false => thread::park_timeout(LOOK_PAUSE),
                }
                let now = Instant::now();
                let due = locked(&asking).iter_mut().find_map(|due| due.is_due(now));
                if let Some(source) = due {
                    let fetched = fetch(made.get_or_insert_with(|| agent(TIMEOUT)), &source);
                    let now = Instant::now();
                    let mut sources = locked(&asking);
                    let known = sources.iter_mut().find(|due| Arc::ptr_eq(&due.source, &source));
                    known.into_iter().for_each(|due| due.settle(fetched.is_ok(), now));
                }
            }
        };
        let thread = thread::Builder::new().name("key-sets".to_owned()).spawn(work)?.thread().clone();
        Ok(Self { sources, thread })
    }

    /// Fetches those of this plan from now on; those that stay keep their time.
    pub(super) fn follow(&self, plan: &Plan) {
        let now = Instant::now();
        let mut sources = locked(&self.sources);
        let mut before = std::mem::take(&mut *sources);
        for source in plan.key_sources() {
            let known = before.iter().position(|due| Arc::ptr_eq(&due.source, source));
            sources.push(match known {
                Some(position) => before.swap_remove(position),
                None => Due { source: Arc::clone(source), at: now, asked: None, pause: RETRY_PAUSE },
            });
        }
        drop(sources);
        self.thread.unpark();
    }
}

fn locked(sources: &Mutex<Vec<Due>>) -> MutexGuard<'_, Vec<Due>> {
    // Each step leaves the list as it may be left.
    sources.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Due {
    /// The source, if it is to be asked now.
    fn is_due(&mut self, now: Instant) -> Option<Arc<KeySource>> {
        let may_be_wanted = self.asked.is_none_or(|asked| now >= asked + WANTED_PAUSE);
        // Asked only where it may be: what is wanted earlier is wanted still.
        let is_due = now >= self.at || (may_be_wanted && self.source.is_wanted());
        is_due.then(|| {
            self.asked = Some(now);
            Arc::clone(&self.source)
        })
    }

    fn settle(&mut self, is_fetched: bool, now: Instant) {
        match is_fetched {
            true => (self.at, self.pause) = (now + PERIOD, RETRY_PAUSE),
            false => (self.at, self.pause) = (now + self.pause, (2 * self.pause).min(WANTED_PAUSE)),
        }
    }
}

/// Asks an issuer for its keys; what fails is told, and what was known stays.
fn fetch(agent: &Agent, source: &KeySource) -> Result<(), ()> {
    let Some(address) = &source.address else { return Ok(()) };
    let told = agent
        .get(address)
        .call()
        .and_then(|answer| match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(ureq::Error::StatusCode(status.as_u16())),
        })
        .and_then(|answer| answer.into_body().into_with_config().limit(JWK_SET_BYTES_MAX).read_to_string());
    match told.map_err(|error| error.to_string()).and_then(|text| KeySet::parse(&text)) {
        Ok(keys) => {
            say::debug(format_args!("the keys of an issuer were fetched from {address}"));
            source.put(keys);
            Ok(())
        }
        Err(why) => {
            say::warn(format_args!(
                "the keys of an issuer cannot be fetched from {address}\n  why: {why}\n  fix: nothing, if it passes: it is asked again, and what was fetched before stays in force"
            ));
            Err(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_asked_each_ten_minutes_and_once_a_minute_at_most_for_an_unknown_key() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let source = Arc::new(KeySource::at("http://x".into()));
        let mut due = Due { source: Arc::clone(&source), at: start, asked: None, pause: RETRY_PAUSE };
        assert!(due.is_due(start).is_some());
        due.settle(false, start);
        assert!(due.is_due(start).is_none() && due.is_due(after(1)).is_some());
        due.settle(false, after(1));
        assert!(due.is_due(after(2)).is_none() && due.is_due(after(3)).is_some());
        due.settle(true, after(3));
        source.want();
        assert!(due.is_due(after(62)).is_none(), "it was asked less than a minute ago");
        assert!(due.is_due(after(63)).is_some(), "what was wanted is wanted still");
        due.settle(true, after(63));
        assert!(due.is_due(after(662)).is_none() && due.is_due(after(663)).is_some());
    }
}
