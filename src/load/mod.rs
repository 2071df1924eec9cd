//! The load generator: open and closed loops against any OpenAI-compatible server, with every answer checked.
//!
//! A witness beside the house: it shares the reading of answers and the histograms with it, nothing else. In an open
//! loop a request's time runs from when it was *meant* to begin, so a server that stalls is charged for the requests
//! that waited behind the stall (coordinated omission; Tene 2013).
//!
//! | pace | who starts a request |
//! |---|---|
//! | open | the clock, whatever became of those before |
//! | closed | each connection, when its last answer is complete |
//! | held | nobody: connections are brought to a state and left there |

pub mod compare;
mod crew;
pub mod job;
mod line;
mod pace;
pub mod report;
pub mod tally;
mod verdict;

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::net::driver::block_on;
use job::Job;
pub use line::STAMP;
use tally::Tally;
pub use verdict::Failure;

/// A server under load.
#[derive(Debug, Clone)]
pub struct Target {
    /// As it was asked for.
    pub url: String,
    /// Where it listens, tried in order.
    pub addresses: Vec<Address>,
    /// For Host.
    pub authority: String,
    /// Path in front of the requests'.
    pub base: String,
}

/// Who starts requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The clock.
    Open {
        /// Starts a second.
        rate: f64,
        /// Connections at most; starts that find none free wait, and their time runs.
        connections_max: usize,
    },
    /// Each connection, when its last answer is complete.
    Closed {
        /// How many.
        connections: usize,
    },
    /// Nobody: connections are brought to a state and left there.
    Held {
        /// How many.
        connections: usize,
        /// In which state.
        hold: Hold,
    },
}

/// A state that connections are left in, so that what they cost can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Idle after one exchange.
    Idle,
    /// In the middle of sending a body.
    Upload,
}

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who starts requests.
    pub pace: Pace,
    /// Not counted, at the beginning.
    pub warmup: Duration,
    /// Counted.
    pub duration: Duration,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Threads, each with its share of the connections.
    pub threads: usize,
    /// How the generator itself does I/O.
    pub driver: IoDriver,
}

/// Where counting begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Warm-up is over; held connections are in their state.
    Begin,
    /// Counting is over.
    End,
}

/// Puts `target` under load and returns what was counted. `edge` is called on the way, by one of the threads.
pub fn run(
    target: &Target,
    job: &Job,
    options: &Options,
    edge: impl FnMut(Edge) + Send + 'static,
) -> io::Result<Tally> {
    let threads = options.threads.max(1);
    let (report, outcome) = mpsc::channel();
    let mut edge: Option<Box<dyn FnMut(Edge) + Send>> = Some(Box::new(edge));
    for thread in 0..threads {
        let share = Options { pace: options.pace.share(thread, threads), ..options.clone() };
        let crew = (target.clone(), job.clone(), share);
        let mut edge = edge.take().unwrap_or_else(|| Box::new(|_| {}));
        let report = report.clone();
        std::thread::Builder::new().name(format!("load-{thread}")).spawn(move || {
            let (target, job, options) = crew;
            let driver = options.driver;
            let crew = crew::Crew::new(target, job, options);
            let mut began = Duration::ZERO;
            let tally = block_on(
                driver,
                crew.work(|now| {
                    match now {
                        Edge::Begin => began = cpu_of_thread(),
                        Edge::End => crew.tally.borrow_mut().cpu = cpu_of_thread().saturating_sub(began),
                    }
                    edge(now);
                }),
            );
            let _ = report.send(tally.and_then(|tally| tally));
        })?;
    }
    drop(report);
    let mut whole = Tally::default();
    for part in outcome {
        whole.join(&part?);
    }
    Ok(whole)
}

impl Pace {
    /// The part of one thread of several.
    fn share(self, thread: usize, threads: usize) -> Self {
        let part = |whole: usize| whole / threads + usize::from(thread < whole % threads);
        match self {
            Self::Open { rate, connections_max } => {
                Self::Open { rate: rate / threads as f64, connections_max: part(connections_max).max(1) }
            }
            Self::Closed { connections } => Self::Closed { connections: part(connections) },
            Self::Held { connections, hold } => Self::Held { connections: part(connections), hold },
        }
    }
}

/// CPU time of this thread so far; zero where the kernel does not tell.
fn cpu_of_thread() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests;
