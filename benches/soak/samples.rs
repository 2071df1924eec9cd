//! Memory and descriptors of the gateway over time, and whether they grow.

use std::time::Duration;

use super::clients::Clients;
use super::world::World;

/// The head of the lines that [`Samples::line`] makes.
pub const HEADER: &str =
    "| s | exchanges | failures | MiB | descriptors | connections |\n|--:|--:|--:|--:|--:|--:|";

#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    at: Duration,
    resident_kib: u64,
    descriptors: u64,
    exchanges: u64,
    failures: u64,
    connections: u64,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Samples(Vec<Sample>);

/// What memory may grow by from the third quarter of the time to the last one: an allocator's and the caches' noise.
const GROWTH_KIB: u64 = 1024;
/// The same as a part of what is there.
const GROWTH_PART: u64 = 25;
/// What descriptors may grow by: connections come and go.
const GROWTH_DESCRIPTORS: u64 = 12;

impl Samples {
    /// Looks once.
    pub fn add(&mut self, at: Duration, world: &World, clients: &Clients) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", world.process)).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident_kib = resident.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", world.process)).map_or(0, Iterator::count);
        let metrics = world.ask("GET", "/metrics").unwrap_or_default();
        let of_lane = metrics.lines().filter(|line| line.starts_with("corelane_connections{"));
        let connections = of_lane.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        self.0.push(Sample {
            at,
            resident_kib: resident_kib.unwrap_or_default(),
            descriptors: descriptors as u64,
            exchanges: clients.exchanges(),
            failures: clients.failures(),
            connections,
        });
    }

    /// The last look as a line.
    pub fn line(&self) -> String {
        let Sample { at, resident_kib, descriptors, exchanges, failures, connections } =
            self.0.last().copied().unwrap_or_default();
        let mib = resident_kib as f64 / 1024.0;
        format!("| {} | {exchanges} | {failures} | {mib:.1} | {descriptors} | {connections} |", at.as_secs())
    }

    /// What grows, by the medians of the third and the last quarter of the time: the first half fills caches.
    pub fn slopes(&self) -> Vec<String> {
        let count = self.0.len();
        if count < 8 {
            return vec![format!("{count} looks are too few to tell anything")];
        }
        let median = |range: std::ops::Range<usize>, value: fn(&Sample) -> u64| {
            let mut values: Vec<_> = self.0[range].iter().map(value).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        let growth = |value: fn(&Sample) -> u64| {
            let (third, last) =
                (median(count / 2..count * 3 / 4, value), median(count * 3 / 4..count, value));
            (third, last, last.saturating_sub(third))
        };
        let mut faults = Vec::new();
        let (third, last, grown) = growth(|sample| sample.resident_kib);
        println!("memory: {third} KiB in the third quarter, {last} KiB in the last (medians)");
        if grown > GROWTH_KIB.max(third / GROWTH_PART) {
            faults.push(format!("memory grows: {third} KiB in the third quarter, {last} KiB in the last"));
        }
        let (third, last, grown) = growth(|sample| sample.descriptors);
        println!("descriptors: {third} in the third quarter, {last} in the last (medians)");
        if grown > GROWTH_DESCRIPTORS {
            faults.push(format!("descriptors grow: {third} in the third quarter, {last} in the last"));
        }
        faults
    }
}
