//! Host names to addresses, by the system's resolver: in parallel, each name once, all within one deadline.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::base::limits::{RESOLVE_TIME, RESOLVERS_MAX};

/// A name and a port.
type Name = (String, u16);
type Answer = Result<Vec<SocketAddr>, String>;

/// What each name and port resolved to.
#[derive(Debug, Default)]
pub struct Resolved {
    known: BTreeMap<Name, Answer>,
}

impl Resolved {
    /// Resolves each name once. Blocks until all are known, [`RESOLVE_TIME`] at most; addresses need no waiting.
    pub fn look_up<'n>(names: impl IntoIterator<Item = (&'n str, u16)>) -> Self {
        Self::look_up_by(names, resolve, RESOLVE_TIME)
    }

    /// What is known already.
    pub fn known(all: impl IntoIterator<Item = ((String, u16), Vec<SocketAddr>)>) -> Self {
        Self { known: all.into_iter().map(|(name, addresses)| (name, Ok(addresses))).collect() }
    }

    fn look_up_by<'n>(
        names: impl IntoIterator<Item = (&'n str, u16)>,
        resolver: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
        within: Duration,
    ) -> Self {
        let mut known = BTreeMap::new();
        let mut asked = VecDeque::new();
        for (host, port) in names {
            let name = (host.to_owned(), port);
            match host.parse::<IpAddr>() {
                Ok(ip) => drop(known.insert(name, Ok(vec![SocketAddr::new(ip, port)]))),
                Err(_) if !asked.contains(&name) => asked.push_back(name),
                Err(_) => {}
            }
        }
        if asked.is_empty() {
            return Self { known };
        }
        let late = format!("the resolver did not answer within {} s", within.as_secs_f32());
        known.extend(asked.iter().map(|name| (name.clone(), Err(late.clone()))));
        known.extend(Lookup::run(asked, resolver, within));
        Self { known }
    }

    /// The addresses of a name that was looked up; the error is the resolver's.
    pub fn get(&self, host: &str, port: u16) -> Result<&[SocketAddr], &str> {
        match self.known.get(&(host.to_owned(), port)) {
            Some(Ok(addresses)) => Ok(addresses),
            Some(Err(error)) => Err(error),
            None => Err("it was not looked up"),
        }
    }
}

/// Names that several threads resolve. The system's resolver cannot be called off: a thread that is still asking when
/// the time is over ends by itself, once it has its answer.
struct Lookup {
    state: Mutex<State>,
    answered: Condvar,
}

struct State {
    asked: VecDeque<Name>,
    /// Names that have no answer yet, asked for or not.
    open: usize,
    answers: BTreeMap<Name, Answer>,
}

impl Lookup {
    /// The answers that came in time.
    fn run(
        asked: VecDeque<Name>,
        resolver: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
        within: Duration,
    ) -> BTreeMap<Name, Answer> {
        let threads = asked.len().min(RESOLVERS_MAX);
        let state = State { open: asked.len(), asked, answers: BTreeMap::new() };
        let lookup = Arc::new(Self { state: Mutex::new(state), answered: Condvar::new() });
        for _ in 0..threads {
            let shared = Arc::clone(&lookup);
            let builder = thread::Builder::new().name("resolver".to_owned());
            if let Err(error) = builder.spawn(move || shared.answer(resolver)) {
                lookup.give_up(&format!("no thread can be started to ask for it: {error}"));
                break;
            }
        }
        let waited = lookup.answered.wait_timeout_while(lookup.lock(), within, |state| state.open > 0);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.asked.clear();
        std::mem::take(&mut state.answers)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one name after the other, until none is left.
    fn answer(&self, resolver: fn(&str, u16) -> io::Result<Vec<SocketAddr>>) {
        loop {
            let Some(name) = self.lock().asked.pop_front() else { return };
            let answer = resolver(&name.0, name.1).map_err(|error| error.to_string());
            self.note(name, answer);
        }
    }

    fn give_up(&self, why: &str) {
        loop {
            let Some(name) = self.lock().asked.pop_front() else { return };
            self.note(name, Err(why.to_owned()));
        }
    }

    fn note(&self, name: Name, answer: Answer) {
        let mut state = self.lock();
        state.answers.insert(name, answer);
        state.open -= 1;
        self.answered.notify_one();
    }
}

/// IPv4 first: inference servers often listen on 0.0.0.0 only, and a refused try costs a round trip.
fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut all: Vec<_> = (host, port).to_socket_addrs()?.collect();
    all.sort_by_key(SocketAddr::is_ipv6);
    all.dedup();
    match all.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_need_no_resolver_and_unknown_names_tell_why() {
        let resolved = Resolved::look_up([("127.0.0.1", 80), ("::1", 1), ("name.invalid", 80)]);
        assert_eq!(resolved.get("127.0.0.1", 80), Ok(&["127.0.0.1:80".parse().unwrap()][..]));
        assert_eq!(resolved.get("::1", 1), Ok(&["[::1]:1".parse().unwrap()][..]));
        assert!(resolved.get("name.invalid", 80).is_err());
    }

    /// Answers at once, never, or only while others are asked too.
    fn scripted(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        static TOGETHER: std::sync::Barrier = std::sync::Barrier::new(3);
        match host {
            "dead" => loop {
                thread::park();
            },
            "together" => drop(TOGETHER.wait()),
            _ => {}
        }
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }

    #[test]
    fn names_are_asked_for_at_once_and_a_dead_resolver_holds_up_its_own_only() {
        let together = [("together", 1), ("together", 2), ("together", 3), ("together", 1)];
        let resolved = Resolved::look_up_by(together, scripted, Duration::from_secs(60));
        assert!((1..=3).all(|port| resolved.get("together", port).is_ok()));

        let names = [("dead", 1), ("quick", 2), ("dead", 3)];
        let resolved = Resolved::look_up_by(names, scripted, Duration::from_millis(200));
        assert!(resolved.get("quick", 2).is_ok());
        for port in [1, 3] {
            assert_eq!(resolved.get("dead", port), Err("the resolver did not answer within 0.2 s"));
        }
    }
}
