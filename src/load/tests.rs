//! The generator against the simulated server and scripted ones: real sockets, each driver that runs here.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::job::{Job, JobOptions, Kind};
use super::options::{Hold, Options, Pace, Target};
use super::run;
use super::tally::Tally;
use super::verdict::Failure;
use crate::base::address::Address;
use crate::base::choice::IoDriver;
use crate::net::driver::probe;
use crate::sim::Sim;
use crate::sim::options::SimOptions;

fn drivers() -> impl Iterator<Item = IoDriver> {
    [IoDriver::IoUring, IoDriver::Epoll].into_iter().filter(|driver| probe(*driver).is_ok())
}

fn sim(driver: IoDriver) -> Sim {
    let pace = Duration::from_millis(1);
    let options = SimOptions { ttft: pace, itl: pace, tokens: 5, stamp: true, ..SimOptions::default() };
    Sim::start(&Address::Tcp("127.0.0.1:0".parse().unwrap()), options, driver).unwrap()
}

fn target(address: &Address) -> Target {
    Target {
        url: address.to_string(),
        addresses: vec![address.clone()],
        tls: None,
        authority: address.authority(),
        base: String::new(),
    }
}

fn job(kind: Kind, stream: bool) -> JobOptions {
    JobOptions {
        kind,
        model: "sim".into(),
        body_bytes: None,
        max_tokens: None,
        stream,
        key: None,
        fresh_connections: false,
    }
}

fn options(pace: Pace, driver: IoDriver) -> Options {
    Options {
        pace,
        warmup: Duration::from_millis(20),
        duration: Duration::from_millis(300),
        timeout: Duration::from_secs(10),
        threads: 1,
        driver,
    }
}

fn load(target: &Target, job: &JobOptions, options: &Options) -> Tally {
    run(target, &Job::new(job, &target.authority, &target.base).unwrap(), options, |_| {}).unwrap()
}

const CLOSED: Pace = Pace::Closed { connections: 4 };

#[test]
fn every_kind_is_answered_and_its_answers_are_right() {
    for driver in drivers() {
        let sim = sim(driver);
        for kind in [Kind::Chat, Kind::Completion, Kind::Embedding, Kind::Health] {
            let tally = load(&target(sim.address()), &job(kind, false), &options(CLOSED, driver));
            assert_eq!(tally.failed(), 0, "{kind:?}: {:?}", tally.failures);
            assert!(tally.success > 0 && tally.total.count() == tally.success, "{kind:?}");
            assert_eq!(tally.tokens > 0, matches!(kind, Kind::Chat | Kind::Completion), "{kind:?}");
        }
    }
}

#[test]
fn streams_have_tokens_with_gaps_and_delays() {
    for driver in drivers() {
        let sim = sim(driver);
        let tally = load(&target(sim.address()), &job(Kind::Chat, true), &options(CLOSED, driver));
        assert_eq!(tally.failed(), 0, "{:?}", tally.failures);
        assert!(tally.success > 0);
        assert!(tally.ttft.count() > 0 && tally.itl.count() > 0 && tally.delay.count() > 0);
        // Five tokens a stream, give or take those that were cut by an edge.
        assert!(tally.tokens + 40 > 5 * tally.success && tally.tokens < 5 * tally.success + 40, "{tally:?}");
    }
}

#[test]
fn an_open_loop_starts_what_was_meant_to_start() {
    for driver in drivers() {
        let sim = sim(driver);
        let pace = Pace::Open { rate: 500.0, connections_max: 64 };
        let tally = load(&target(sim.address()), &job(Kind::Health, false), &options(pace, driver));
        assert_eq!((tally.failed(), tally.unfinished), (0, 0), "{:?}", tally.failures);
        // 300 ms at 500 a second, whatever the machine did meanwhile.
        assert!((149..=151).contains(&tally.success), "{}", tally.success);
    }
}

#[test]
fn threads_share_the_connections() {
    let driver = drivers().next().unwrap();
    let sim = sim(driver);
    let held = Pace::Held { connections: 7, hold: Hold::Idle };
    let options = Options { threads: 2, ..options(held, driver) };
    assert_eq!(load(&target(sim.address()), &job(Kind::Health, false), &options).success, 7);
}

/// A server that answers as told; each connection gets its number.
fn server(answer: impl Fn(&mut std::net::TcpStream, usize) + Send + Sync + 'static) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap());
    let (answer, number) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, number) = (Arc::clone(&answer), Arc::clone(&number));
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 4096];
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                    answer(&mut stream, number.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
    });
    target(&address)
}

#[test]
fn failures_are_told_apart() {
    let driver = drivers().next().unwrap();
    let said = |bytes: &'static [u8]| {
        server(move |stream, _| {
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Both);
        })
    };
    let gone = target(&Address::Tcp(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()));
    let cases = [
        (said(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"), Failure::Status(503)),
        (said(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal"), Failure::Broken),
        (said(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"), Failure::Framing),
        (said(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), Failure::Content),
        (gone, Failure::Connect),
    ];
    for (target, expected) in cases {
        let tally = load(&target, &job(Kind::Chat, false), &options(CLOSED, driver));
        assert_eq!(tally.failures.keys().collect::<Vec<_>>(), [&expected]);
        assert_eq!(tally.success, 0);
    }
    let silent = server(|_, _| std::thread::sleep(Duration::from_secs(5)));
    let limit = Options { timeout: Duration::from_millis(50), ..options(CLOSED, driver) };
    let tally = load(&silent, &job(Kind::Chat, false), &limit);
    assert_eq!(tally.failures.keys().collect::<Vec<_>>(), [&Failure::Timeout]);
}

/// Coordinated omission: requests that were meant to begin while a server stalled are charged with the stall, though
/// none of them could be sent during it.
#[test]
fn a_stall_is_charged_to_the_requests_that_waited_behind_it() {
    for driver in drivers() {
        let stalling = server(|stream, number| {
            if number == 20 {
                std::thread::sleep(Duration::from_millis(200));
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        });
        let pace = Pace::Open { rate: 200.0, connections_max: 1 };
        let tally = load(&stalling, &job(Kind::Health, false), &options(pace, driver));
        assert_eq!(tally.failed(), 0, "{:?}", tally.failures);
        // Of the 40 that were meant to begin during the stall, the first half waited for 100 ms or more.
        let long = tally.total.count() - tally.total.count_up_to(95_000);
        assert!(long >= 18, "{long}");
    }
}
