//! The whole program under load beside nginx and HAProxy: CPU time for each request and token, from the kernel's counts.
//!
//! Every target stands in front of the same simulated server. Targets take turns in shuffled order within a round, so
//! that what drifts meets all of them; a visit that others disturbed is made again. `scripts/load.sh` is the way in.
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a bench ends where nobody reads it")]

mod machine;
mod scenario;
mod table;
mod target;
mod visit;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use corelane::base::choice::IoDriver;
use corelane::base::rng::Rng;
use corelane::load::options::Pace;
use corelane::net::driver;

use scenario::{Scenario, Unit};
use table::{Group, HEADER};
use target::Program;
use visit::{Cores, Visit};

/// corelane under load, beside nginx and HAProxy.
#[derive(Debug, Parser)]
#[command(name = "load.sh")]
struct Arguments {
    /// With nginx and HAProxy beside it.
    #[arg(long)]
    peers: bool,
    /// Another build of corelane beside it: what a change did.
    #[arg(long, value_name = "BINARY")]
    before: Option<PathBuf>,
    /// With all that is observed of exchanges (recorder, server-timing, traces), held against nothing of it.
    #[arg(long)]
    observed: bool,
    /// Only this driver of corelane's.
    #[arg(long, value_parser = ["io_uring", "epoll"])]
    io: Option<String>,
    /// Few and short rounds: within a minute, for a first look.
    #[arg(long)]
    quick: bool,
    /// Rounds; five at least unless it is quick.
    #[arg(long)]
    rounds: Option<u32>,
    /// Length of a visit, milliseconds.
    #[arg(long, value_name = "MS")]
    visit: Option<u64>,
    /// Only these scenarios, separated by commas.
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// All figures, for programs.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// One visit of each scenario: whether it runs at all.
    #[arg(long)]
    once: bool,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Rounds and length of a visit.
struct Effort {
    rounds: u32,
    visit: Duration,
    /// The part of a scenario's own warm-up.
    warmup: f64,
    /// The part of a scenario's held connections.
    held: f64,
}

impl Arguments {
    fn effort(&self) -> Effort {
        let (rounds, visit, warmup, held) = match (self.once, self.quick) {
            (true, _) => (1, 50, 0.5, 0.01),
            (false, true) => (2, 200, 0.5, 0.2),
            (false, false) => (9, 1500, 1.0, 1.0),
        };
        Effort {
            rounds: self.rounds.unwrap_or(rounds).max(1),
            visit: Duration::from_millis(self.visit.unwrap_or(visit)),
            warmup,
            held,
        }
    }

    fn programs(&self) -> Vec<Program> {
        let driver =
            |name, io| self.io.as_deref().is_none_or(|only| only == name) && driver::probe(io).is_ok();
        let mut programs = vec![Program::Direct];
        programs.extend(driver("io_uring", IoDriver::IoUring).then_some(Program::CorelaneUring));
        programs.extend(driver("epoll", IoDriver::Epoll).then_some(Program::CorelaneEpoll));
        if self.observed {
            let seen: Vec<_> = programs.iter().filter_map(|program| program.seen()).collect();
            programs.truncate(1);
            programs.extend(seen);
        }
        if self.before.is_some() || self.observed {
            let others: Vec<_> = programs.iter().filter_map(|program| program.before()).collect();
            programs.extend(others);
        }
        for (program, binary) in [(Program::Nginx, "nginx"), (Program::Haproxy, "haproxy")] {
            match (self.peers, target::find(binary)) {
                (true, Some(_)) => programs.push(program),
                (true, None) => eprintln!("!! {binary} is not installed: it is left out"),
                (false, _) => {}
            }
        }
        programs
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    match measure(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} requests failed: see the table");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("the measurement cannot run\n  why: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> io::Result<u64> {
    let cores = cores()?;
    let effort = arguments.effort();
    let programs = arguments.programs();
    println!("{}", machine::describe());
    println!(
        "load and simulated server on cores {} and {}, whoever is measured on core {}; {} rounds of {} ms\n",
        cores.load.id,
        cores.sim.id,
        cores.proxy.id,
        effort.rounds,
        effort.visit.as_millis()
    );
    let mut groups = Vec::new();
    let wanted = |scenario: &Scenario| {
        arguments.scenario.is_empty()
            || arguments.scenario.iter().any(|name| scenario.name.starts_with(name.as_str()))
    };
    for scenario in scenario::all().into_iter().filter(wanted) {
        let begun = Instant::now();
        let before = arguments.before.clone().unwrap_or_default();
        let group = run(fit(scenario, &effort), &programs, &effort, cores, &before)?;
        eprintln!("{:<10} {:>4} s", group.scenario.name, begun.elapsed().as_secs());
        groups.push(group);
    }
    let rows: String = groups.iter().map(Group::rows).collect();
    println!("{HEADER}{rows}");
    for group in &groups {
        println!("- {}: {}", group.scenario.name, group.scenario.about);
    }
    if effort.rounds < 5 {
        println!("\nFewer than five rounds tell no two figures apart.");
    }
    if let Some(file) = &arguments.json {
        let all: Vec<_> = groups.iter().map(Group::object).collect();
        std::fs::write(file, serde_json::Value::from(all).to_string())?;
    }
    Ok(groups.iter().map(Group::failed).sum())
}

/// The scenario at the effort that was asked for.
fn fit(scenario: Scenario, effort: &Effort) -> Scenario {
    let pace = match scenario.pace {
        Pace::Held { connections, hold } => {
            Pace::Held { connections: ((connections as f64 * effort.held) as usize).max(1), hold }
        }
        other => other,
    };
    Scenario { pace, warmup: scenario.warmup.mul_f64(effort.warmup), ..scenario }
}

fn cores() -> io::Result<Cores> {
    let ids = core_affinity::get_core_ids().unwrap_or_default();
    match ids[..] {
        [load, proxy] => Ok(Cores { load, sim: load, proxy }),
        [load, proxy, sim, ..] => Ok(Cores { load, sim, proxy }),
        _ => Err(io::Error::other("two cores are needed: one for the load, one for whoever is measured")),
    }
}

fn run(
    scenario: Scenario,
    programs: &[Program],
    effort: &Effort,
    cores: Cores,
    before: &Path,
) -> io::Result<Group> {
    let folder = std::env::temp_dir().join(format!("corelane-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = visits(scenario, programs, effort, cores, (&folder, before));
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn visits(
    scenario: Scenario,
    programs: &[Program],
    effort: &Effort,
    cores: Cores,
    (folder, before): (&Path, &Path),
) -> io::Result<Group> {
    core_affinity::set_for_current(cores.load);
    let sim = target::start_sim(cores.sim, scenario.sim)?;
    let running: Vec<_> = programs
        .iter()
        .map(|program| match program {
            Program::Direct => Ok(Arc::new(target::direct(&sim))),
            other => target::start(*other, &sim.target, cores.proxy, folder, before).map(Arc::new),
        })
        .collect::<io::Result<_>>()?;
    let memory_before = running
        .iter()
        .map(|running| (running.program, running.pid().map_or(0, machine::memory_of)))
        .collect();
    let mut seen: Vec<Vec<Visit>> = vec![Vec::new(); running.len()];
    let mut order: Vec<usize> = (0..running.len()).collect();
    let mut rng = Rng::new(u64::from(std::process::id()));
    // Memory does not vary: one look at held connections is enough.
    let rounds = if scenario.unit == Unit::Connection { 1 } else { effort.rounds };
    for _ in 0..rounds {
        for place in (1..order.len()).rev() {
            order.swap(place, rng.below(place as u64 + 1) as usize);
        }
        for &which in &order {
            seen[which].push(visit::visit(
                &running[which],
                &scenario,
                effort.visit,
                cores,
                driver::choose(),
            )?);
        }
    }
    Ok(Group { scenario, programs: programs.iter().copied().zip(seen).collect(), memory_before })
}
