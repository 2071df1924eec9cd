//! A soak: everything at once against the running program, with faults injected, for as long as is asked. It fails where an
//! answer is not what it must be, and where memory or descriptors grow. `scripts/soak.sh` is the way in.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a bench ends where nobody reads it")]

mod chaos;
mod clients;
mod peer;
mod samples;
mod world;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use corelane::base::rng::{Rng, entropy};

use clients::Clients;
use samples::Samples;
use world::World;

/// Everything at once, with faults injected, and what it costs over time.
#[derive(Debug, Parser)]
#[command(name = "soak.sh")]
struct Arguments {
    /// How long, in seconds.
    #[arg(long, default_value = "60")]
    seconds: u64,
    /// The gateway's I/O driver.
    #[arg(long, value_parser = ["io_uring", "epoll"], default_value = "epoll")]
    io: String,
    /// Where chance starts.
    #[arg(long)]
    seed: Option<u64>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How often the gateway is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is told.
const TOLD: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(entropy);
    println!("soak: {} s on {}, seed {seed}", arguments.seconds, arguments.io);
    let mut rng = Rng::new(seed);
    let mut world = World::start(&arguments.io);
    let clients = Clients::start(&world, &mut rng);
    let chaos = chaos::start(&world, rng.next_u64());
    let mut samples = Samples::default();
    let (begun, mut told) = (Instant::now(), Instant::now());
    println!("{}", samples::HEADER);
    while begun.elapsed() < Duration::from_secs(arguments.seconds) && world.is_running() {
        thread::sleep(LOOK);
        samples.add(begun.elapsed(), &world, &clients);
        if told.elapsed() >= TOLD {
            println!("{}", samples.line());
            told = Instant::now();
        }
    }
    println!("{}", samples.line());
    let mut faults = samples.slopes();
    chaos.stop();
    // Under load to the last: whoever is served now notices nothing of the new process.
    faults.extend(world.replace().err());
    thread::sleep(Duration::from_secs(2));
    let counts = clients.stop();
    faults.extend(world.end());
    println!("{counts}");
    faults.extend(counts.faults());
    for fault in &faults {
        eprintln!("soak: {fault}");
    }
    if faults.is_empty() {
        println!("clean: {} exchanges in {} s", counts.total(), begun.elapsed().as_secs());
        ExitCode::SUCCESS
    } else {
        eprintln!("soak: failed, seed {seed}; the gateway's words are in {}", world.log.display());
        ExitCode::FAILURE
    }
}

/// Whether something that runs beside is to end.
pub fn is_over(stop: &std::sync::atomic::AtomicBool) -> bool {
    stop.load(Ordering::Relaxed)
}
