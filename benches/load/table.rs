//! The table: medians over rounds with quartiles, and what can be said of them.

use corelane::load::compare::{Spread, Verdict, judge};
use serde_json::{Value, json};

use super::scenario::{Scenario, Unit};
use super::target::Program;
use super::visit::Visit;

/// All visits of one scenario, by program, round by round.
pub struct Group {
    pub scenario: Scenario,
    pub programs: Vec<(Program, Vec<Visit>)>,
    /// Resident memory of each program before anything was asked of it, bytes.
    pub memory_before: Vec<(Program, u64)>,
}

pub const HEADER: &str = "| scenario | through | CPU µs (quartiles) | beside the better | a second | T p50, p99 µs | \
added | token delay p50, p99 | memory MiB | failed | disturbed |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n";

impl Group {
    fn spread(&self, program: Program, figure: impl Fn(&Visit) -> f64) -> Option<Spread> {
        let (_, visits) = self.programs.iter().find(|(found, _)| *found == program)?;
        Spread::of(visits.iter().map(figure))
    }

    fn cpu(&self, program: Program) -> Option<Spread> {
        self.spread(program, |visit| visit.cpu_us(self.scenario.unit))
    }

    /// What `program` is held against: its own other build if there is one, else the better peer.
    fn reference(&self, program: Program) -> Option<Program> {
        let is_here = |wanted: &Program| self.programs.iter().any(|(program, _)| program == wanted);
        program.before().filter(is_here).or_else(|| self.best_peer())
    }

    /// The peer that takes least CPU time.
    fn best_peer(&self) -> Option<Program> {
        let peers = self.programs.iter().map(|(program, _)| *program).filter(|program| program.is_peer());
        peers.min_by(|a, b| {
            let median = |program| self.cpu(program).map_or(f64::INFINITY, |spread| spread.median);
            median(*a).total_cmp(&median(*b))
        })
    }

    /// Rounds of two programs side by side.
    fn beside(&self, program: Program, peer: Program) -> Vec<(f64, f64)> {
        let of = |wanted| {
            let (_, visits) = self.programs.iter().find(|(found, _)| *found == wanted)?;
            Some(visits.iter().map(|visit| visit.cpu_us(self.scenario.unit)).collect::<Vec<_>>())
        };
        of(program).into_iter().flatten().zip(of(peer).into_iter().flatten()).collect()
    }

    /// Median over the rounds of T's p50 and p99.
    fn t(&self, program: Program) -> [f64; 2] {
        [0.5, 0.99].map(|quantile| {
            self.spread(program, |visit| visit.tally.total.quantile_us(quantile) as f64)
                .map_or(0.0, |t| t.median)
        })
    }

    /// Memory for each connection over what the program took before, KiB.
    fn memory_per_connection(&self, program: Program, visits: &[Visit]) -> f64 {
        let before =
            self.memory_before.iter().find(|(found, _)| *found == program).map_or(0, |found| found.1);
        let most = visits.iter().map(|visit| visit.memory).max().unwrap_or(0);
        let connections = match self.scenario.pace {
            corelane::load::options::Pace::Closed { connections }
            | corelane::load::options::Pace::Held { connections, .. }
            | corelane::load::options::Pace::Open { connections_max: connections, .. } => connections,
        };
        most.saturating_sub(before) as f64 / 1024.0 / connections as f64
    }

    /// The rows of this scenario.
    pub fn rows(&self) -> String {
        let direct = self.t(Program::Direct);
        let row = |(program, visits): &(Program, Vec<Visit>)| {
            let cpu = match self.cpu(*program) {
                Some(cpu) if *program != Program::Direct && self.scenario.unit != Unit::Connection => {
                    format!("{:.2} ({:.2}–{:.2})", cpu.median, cpu.low, cpu.high)
                }
                _ => String::new(),
            };
            let beside = match self.reference(*program) {
                Some(peer) if program.is_ours() && self.scenario.unit != Unit::Connection => {
                    match judge(&self.beside(*program, peer)) {
                        (Some(all), Verdict::Differ(_)) => format!("{:.2}", all.median),
                        (Some(all), Verdict::CannotTell) => format!("{:.2}, cannot tell", all.median),
                        (None, _) => String::new(),
                    }
                }
                _ => String::new(),
            };
            let rate = self.spread(*program, |visit| match self.scenario.unit {
                Unit::Token => visit.tally.per_second(visit.tally.tokens),
                Unit::Request | Unit::Connection => visit.tally.per_second(visit.tally.success),
            });
            let rate = match self.scenario.unit {
                Unit::Connection => String::new(),
                _ => rate.map_or(String::new(), |rate| format!("{:.0}", rate.median)),
            };
            let both = |[p50, p99]: [f64; 2]| format!("{p50:.0}, {p99:.0}");
            let t = self.t(*program);
            let (t, added) = match self.scenario.unit {
                Unit::Request if *program == Program::Direct => (both(t), String::new()),
                Unit::Request => (both(t), both([t[0] - direct[0], t[1] - direct[1]])),
                Unit::Token | Unit::Connection => (String::new(), String::new()),
            };
            let delay = [0.5, 0.99].map(|quantile| {
                self.spread(*program, |visit| visit.tally.delay.quantile_us(quantile) as f64)
                    .map_or(0.0, |delay| delay.median)
            });
            let delay = match self.scenario.unit {
                Unit::Token => both(delay),
                Unit::Request | Unit::Connection => String::new(),
            };
            let memory = match (self.scenario.unit, *program) {
                (_, Program::Direct) => String::new(),
                (Unit::Connection | Unit::Token, _) => {
                    let each = self.memory_per_connection(*program, visits);
                    format!("{} ({each:.2} KiB each)", mib(visits))
                }
                (Unit::Request, _) => mib(visits),
            };
            let failed: u64 = visits.iter().map(|visit| visit.tally.failed()).sum();
            let disturbed = visits.iter().filter(|visit| visit.is_disturbed()).count();
            let repeated: u32 = visits.iter().map(|visit| visit.repeated).sum();
            format!(
                "| {} | {} | {cpu} | {beside} | {rate} | {t} | {added} | {delay} | {memory} | {failed} | {disturbed} of {}, {repeated} repeated |\n",
                self.scenario.name,
                program.name(),
                visits.len(),
            )
        };
        self.programs.iter().map(row).collect()
    }

    /// The same for programs.
    pub fn object(&self) -> Value {
        let programs = self.programs.iter().map(|(program, visits)| {
            let spread = |spread: Option<Spread>| {
                spread.map(|s| json!({ "low": s.low, "median": s.median, "high": s.high }))
            };
            let object = json!({
                "cpu_us": spread(self.cpu(*program)),
                "cpu_us_rounds": visits.iter().map(|v| v.cpu_us(self.scenario.unit)).collect::<Vec<_>>(),
                "T_p50_us": self.t(*program)[0],
                "T_p99_us": self.t(*program)[1],
                "delay_p50_us": spread(self.spread(*program, |v| v.tally.delay.quantile_us(0.5) as f64)),
                "tokens_per_s": spread(self.spread(*program, |v| v.tally.per_second(v.tally.tokens))),
                "requests_per_s": spread(self.spread(*program, |v| v.tally.per_second(v.tally.success))),
                "memory_kib_each": self.memory_per_connection(*program, visits),
                "others": visits.iter().map(|v| v.others).collect::<Vec<_>>(),
                "failed": visits.iter().map(|v| v.tally.failed()).sum::<u64>(),
                "failures": visits.iter().flat_map(|v| v.tally.failures.keys()).map(ToString::to_string).collect::<Vec<_>>(),
            });
            (program.name().to_owned(), object)
        });
        json!({ "scenario": self.scenario.name, "about": self.scenario.about, "programs": programs.collect::<serde_json::Map<_, _>>() })
    }

    /// Requests that failed, through whomever.
    pub fn failed(&self) -> u64 {
        self.programs.iter().flat_map(|(_, visits)| visits).map(|visit| visit.tally.failed()).sum()
    }
}

fn mib(visits: &[Visit]) -> String {
    let most = visits.iter().map(|visit| visit.memory).max().unwrap_or(0);
    format!("{:.1}", most as f64 / (1024.0 * 1024.0))
}
