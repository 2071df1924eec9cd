//! One visit: a target under load for a moment, with what the kernel counted meanwhile.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use corelane::base::choice::IoDriver;
use corelane::load;
use corelane::load::job::Job;
use corelane::load::options::{Edge, Options};
use corelane::load::tally::Tally;

use super::machine::{CoreTime, core_time, cpu_of, memory_of};
use super::scenario::{Scenario, Unit};
use super::target::Running;

/// A visit is made again when others took more than this share of the proxy's core.
const DISTURBED: f64 = 0.04;
/// How often a disturbed visit is made again before it is taken as it is.
const REPEATS_MAX: u32 = 3;

/// What one visit showed.
#[derive(Debug, Clone)]
pub struct Visit {
    pub tally: Tally,
    /// CPU time of the proxy while it was measured.
    pub cpu: Duration,
    /// Resident memory of the proxy when measuring ended.
    pub memory: u64,
    /// The share of the proxy's core that others took.
    pub others: f64,
    /// Visits that were thrown away before this one.
    pub repeated: u32,
}

impl Visit {
    /// CPU time of the proxy for each unit of work, microseconds.
    pub fn cpu_us(&self, unit: Unit) -> f64 {
        let units = match unit {
            Unit::Request => self.tally.success,
            Unit::Token => self.tally.tokens,
            Unit::Connection => return 0.0,
        };
        self.cpu.as_secs_f64() * 1e6 / units.max(1) as f64
    }

    pub fn is_disturbed(&self) -> bool {
        self.others > DISTURBED
    }
}

/// The cores that are used.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    /// For the load, and the simulated server if there is no third.
    pub load: CoreId,
    pub sim: CoreId,
    /// For whoever is measured.
    pub proxy: CoreId,
}

#[derive(Default, Clone, Copy)]
struct Sample {
    cpu: Duration,
    core: CoreTime,
    memory: u64,
}

fn sample(running: &Running, core: CoreId) -> Sample {
    let pid = running.pid();
    Sample {
        cpu: pid.map(cpu_of).unwrap_or_default(),
        core: core_time(core.id),
        memory: pid.map(memory_of).unwrap_or_default(),
    }
}

/// Visits `running`, again if somebody else was running on its core.
pub fn visit(
    running: &Arc<Running>,
    scenario: &Scenario,
    duration: Duration,
    cores: Cores,
    driver: IoDriver,
) -> io::Result<Visit> {
    let mut repeated = 0;
    loop {
        let visit = once(running, scenario, duration, cores, driver)?;
        if !visit.is_disturbed() || repeated == REPEATS_MAX {
            return Ok(Visit { repeated, ..visit });
        }
        repeated += 1;
    }
}

fn once(
    running: &Arc<Running>,
    scenario: &Scenario,
    duration: Duration,
    cores: Cores,
    driver: IoDriver,
) -> io::Result<Visit> {
    let target = &running.target;
    let job = Job::new(&scenario.job, &target.authority, &target.base).map_err(io::Error::other)?;
    let options = Options {
        pace: scenario.pace,
        warmup: scenario.warmup,
        duration,
        timeout: Duration::from_secs(30),
        threads: 1,
        driver,
    };
    let samples: Arc<Mutex<Vec<(Instant, Sample)>>> = Arc::default();
    let (watched, noted) = (Arc::clone(running), Arc::clone(&samples));
    let tally = load::run(target, &job, &options, move |_: Edge| {
        noted.lock().expect("nobody panics here").push((Instant::now(), sample(&watched, cores.proxy)));
    })?;
    let samples = samples.lock().expect("nobody panics here");
    let [(begun, before), (ended, after)] = samples[..] else {
        return Err(io::Error::other("the load ended before it was measured"));
    };
    let cpu = after.cpu.saturating_sub(before.cpu);
    let taken = (after.core.busy + after.core.stolen).saturating_sub(before.core.busy + before.core.stolen);
    // Without a proxy the core should be idle; with one, all that is not the proxy's is somebody else's.
    let others = taken.saturating_sub(cpu).as_secs_f64() / (ended - begun).as_secs_f64();
    Ok(Visit { tally, cpu, memory: after.memory, others, repeated: 0 })
}
