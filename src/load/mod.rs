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
mod ledger;
mod line;
pub mod options;
mod pace;
pub mod report;
pub mod tally;
mod verdict;

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use crate::net::driver::block_on;
use job::Job;
use options::{Edge, Options, Target};
use tally::Tally;

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
                        Edge::End => {
                            crew.ledger.tally.borrow_mut().cpu = cpu_of_thread().saturating_sub(began)
                        }
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

/// CPU time of this thread so far; zero where the kernel does not tell.
fn cpu_of_thread() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests;
