//! All connections of one thread: who starts when, and when counting begins and ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::job::Job;
use super::ledger::{Ledger, Period};
use super::line::Line;
use super::options::{Edge, Hold, Options, Pace, Target};
use super::pace::Schedule;
use super::tally::Tally;
use super::verdict::Failure;
use crate::net::doorbell::{Bell, doorbell};

/// Connections that are being opened and kept at once.
const OPENING_AT_ONCE: usize = 64;
/// The share of the warm-up over which streams begin.
const STREAM_RAMP: f64 = 0.8;
/// How often the end is looked for.
const GLANCE: Duration = Duration::from_millis(1);
/// How long connections have to be closed at the end.
const CLOSING: Duration = Duration::from_secs(2);

/// All connections of a thread.
pub(super) struct Crew {
    pub(super) ledger: Ledger,
    running: Cell<usize>,
    ending: Ending,
}

impl Crew {
    pub(super) fn new(target: Target, job: Job, options: Options) -> Rc<Self> {
        let ledger = Ledger::new(target, job, options);
        Rc::new(Self { ledger, running: Cell::new(0), ending: Ending::default() })
    }

    /// Runs from the first connection to the end, and tells when measuring begins and ends.
    pub(super) async fn work(self: &Rc<Self>, mut edge: impl FnMut(Edge)) -> io::Result<Tally> {
        let opened = Instant::now();
        let begin = opened + self.ledger.options.warmup;
        match self.ledger.options.pace {
            Pace::Closed { connections } => self.start_closed(connections),
            Pace::Open { rate, connections_max } => {
                self.ledger.window.set(Some((begin, begin + self.ledger.options.duration)));
                self.start_open(opened, rate, connections_max)?;
            }
            Pace::Held { connections, hold } => self.hold(connections, hold).await,
        }
        monoio::time::sleep(begin.saturating_duration_since(Instant::now())).await;
        let begun = Instant::now();
        edge(Edge::Begin);
        self.ledger.period.set(Period::Measured);
        monoio::time::sleep(self.ledger.options.duration).await;
        self.ledger.period.set(Period::Over);
        edge(Edge::End);
        let ended = Instant::now();
        // Streams and held connections would go on; whole answers are awaited, so that no server sees them cut.
        let whole = !self.ledger.job.stream && !matches!(self.ledger.options.pace, Pace::Held { .. });
        let patience = if whole || self.ledger.window.get().is_some() {
            self.ledger.options.timeout
        } else {
            Duration::ZERO
        };
        until(patience, || self.running.get() == 0).await;
        let unfinished = self.running.get() as u64;
        // A connection that outlives its event loop is never closed.
        self.ending.announce();
        until(CLOSING, || self.ending.held.get() == 0).await;
        let mut tally = self.ledger.tally.take();
        tally.measured = match self.ledger.window.get() {
            // Where the server fell behind, what was meant to be answered in time was answered later.
            Some((begin, end)) => self.ledger.last.get().unwrap_or(end).max(end) - begin,
            None => ended - begun,
        };
        tally.unfinished = unfinished;
        Ok(tally)
    }

    /// Each connection sends its next request when the last one ended. Streams begin one after the other: tokens of
    /// real ones do not come in step.
    fn start_closed(self: &Rc<Self>, connections: usize) {
        let ramp = if self.ledger.job.stream {
            self.ledger.options.warmup.mul_f64(STREAM_RAMP)
        } else {
            Duration::ZERO
        };
        for number in 0..connections {
            let crew = Rc::clone(self);
            let later = ramp.mul_f64(number as f64 / connections as f64);
            self.running.set(self.running.get() + 1);
            monoio::spawn(async move {
                if !later.is_zero() {
                    monoio::time::sleep(later).await;
                }
                let mut line = Line::default();
                let exchanges = async {
                    while crew.ledger.period.get() != Period::Over {
                        let intended = Instant::now();
                        let result = line.exchange(&crew.ledger, intended).await;
                        crew.ledger.note(result, intended);
                        if result.is_err() {
                            // A server that refuses at once must not turn this loop into a storm.
                            monoio::time::sleep(GLANCE).await;
                        }
                    }
                };
                crew.ending.or(exchanges).await;
                drop(line);
                crew.running.set(crew.running.get() - 1);
            });
        }
    }

    /// Requests begin when they are meant to. Those that find no connection free wait, and their time runs.
    fn start_open(self: &Rc<Self>, begin: Instant, rate: f64, connections_max: usize) -> io::Result<()> {
        let end = begin + self.ledger.options.warmup + self.ledger.options.duration;
        let mut schedule = Schedule::new(begin, rate);
        let mut bell = Metronome::start(schedule.clone(), end)?;
        let free = Rc::new(RefCell::new(Vec::<Line>::new()));
        let waiting = Rc::new(RefCell::new(VecDeque::<Instant>::new()));
        let crew = Rc::clone(self);
        let mut lines = 0;
        let ending = Rc::clone(self);
        let starts = async move {
            while bell.wait().await.is_ok() {
                while let Some(intended) = schedule.take(Instant::now()).filter(|intended| *intended < end) {
                    crew.running.set(crew.running.get() + 1);
                    let line = free.borrow_mut().pop();
                    let line = match line {
                        Some(line) => line,
                        None if lines < connections_max => {
                            lines += 1;
                            Line::default()
                        }
                        None => {
                            waiting.borrow_mut().push_back(intended);
                            continue;
                        }
                    };
                    let (crew, free, waiting) = (Rc::clone(&crew), Rc::clone(&free), Rc::clone(&waiting));
                    monoio::spawn(async move { crew.serve(line, intended, &free, &waiting).await });
                }
            }
        };
        monoio::spawn(async move { ending.ending.or(starts).await });
        Ok(())
    }

    async fn serve(
        &self,
        mut line: Line,
        first: Instant,
        free: &RefCell<Vec<Line>>,
        waiting: &RefCell<VecDeque<Instant>>,
    ) {
        let mut next = Some(first);
        while let Some(intended) = next {
            let result = line.exchange(&self.ledger, intended).await;
            self.ledger.note(result, intended);
            self.running.set(self.running.get() - 1);
            next = waiting.borrow_mut().pop_front();
        }
        free.borrow_mut().push(line);
    }

    /// Opens all connections, a few at a time, and leaves them where `hold` wants them.
    async fn hold(self: &Rc<Self>, connections: usize, hold: Hold) {
        let ready = Rc::new(Cell::new(0));
        let next = Rc::new(Cell::new(0));
        for _ in 0..OPENING_AT_ONCE.min(connections) {
            let (crew, ready, next) = (Rc::clone(self), Rc::clone(&ready), Rc::clone(&next));
            monoio::spawn(async move {
                while next.get() < connections {
                    next.set(next.get() + 1);
                    let mut line = Line::default();
                    let result = match hold {
                        Hold::Idle => line.exchange(&crew.ledger, Instant::now()).await,
                        Hold::Upload => line.upload_half(&crew.ledger).await,
                    };
                    match result {
                        Ok(()) => crew.ledger.tally.borrow_mut().success += 1,
                        Err(failure) => crew.ledger.tally.borrow_mut().fail(failure),
                    }
                    ready.set(ready.get() + 1);
                    let crew = Rc::clone(&crew);
                    monoio::spawn(async move {
                        if crew.ending.or(line.stay()).await.is_some() {
                            crew.ledger.tally.borrow_mut().fail(Failure::Broken);
                        }
                    });
                }
            });
        }
        until(Duration::MAX, || ready.get() == connections).await;
    }
}

/// Waits for what is soon the case, looking now and then; no longer than `patience`.
async fn until(patience: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() && begun.elapsed() < patience {
        monoio::time::sleep(GLANCE).await;
    }
}

/// Tells everybody that nobody looks any more.
#[derive(Default)]
struct Ending {
    announced: Cell<bool>,
    /// Work that is under way.
    held: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Ending {
    fn announce(&self) {
        self.announced.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// What `work` gives, or none if the end was announced before. One entry each time: for work that is long.
    async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut waits = false;
        self.held.set(self.held.get() + 1);
        let done = poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if self.announced.get() {
                return Poll::Ready(None);
            }
            // A task's waker is the same at each poll.
            if !std::mem::replace(&mut waits, true) {
                self.waiting.borrow_mut().push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
        self.held.set(self.held.get() - 1);
        done
    }
}

/// Wakes the event loop when a start is due: a thread's sleep is finer than the loop's own timers.
struct Metronome {
    bell: Bell,
    hears: Arc<crate::net::doorbell::Doorbell>,
    stop: Arc<AtomicBool>,
}

impl Metronome {
    fn start(mut schedule: Schedule, end: Instant) -> io::Result<Self> {
        let (rings, hearing) = doorbell()?;
        let rings = Arc::new(rings);
        let stop = Arc::new(AtomicBool::new(false));
        let metronome =
            Self { bell: Bell::adopt(hearing)?, hears: Arc::clone(&rings), stop: Arc::clone(&stop) };
        std::thread::Builder::new().name("metronome".to_owned()).spawn(move || {
            while schedule.next() < end && !stop.load(Ordering::Relaxed) {
                std::thread::sleep(schedule.next().saturating_duration_since(Instant::now()));
                let now = Instant::now();
                while schedule.take(now).is_some() {}
                rings.ring();
            }
        })?;
        Ok(metronome)
    }

    async fn wait(&mut self) -> io::Result<()> {
        let woken = self.bell.wait().await;
        self.hears.heard();
        woken
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
