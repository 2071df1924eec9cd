//! How busy lanes are: the share of the last second in which each of their threads had a core, as the kernel counts it.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// The threads of lanes, and what they used until when.
#[derive(Debug, Default)]
pub(super) struct Busy {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    /// Its file of the kernel's accounts; none where there is none to be read.
    accounts: Option<PathBuf>,
    /// Nanoseconds on a core, and when that was read.
    used: Option<(u64, Instant)>,
    ratio: f64,
}

impl Busy {
    /// Of so many lanes of this process, by the names of their threads.
    pub(super) fn of_lanes(lanes: usize) -> Self {
        let threads = || fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let named = |lane: usize| {
            let name = format!("lane-{lane}\n");
            threads()
                .find(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm == name))
        };
        let lane = |lane| Lane {
            accounts: named(lane).map(|thread| thread.path().join("schedstat")),
            used: None,
            ratio: 0.0,
        };
        Self { lanes: (0..lanes).map(lane).collect() }
    }

    /// Looks what they used since the last time.
    pub(super) fn look(&mut self, now: Instant) {
        for lane in &mut self.lanes {
            let text = lane.accounts.as_ref().and_then(|file| fs::read_to_string(file).ok());
            // The first number is the time on a core, in nanoseconds.
            let used = text.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
            if let (Some(used), Some((before, then))) = (used, lane.used) {
                let wall = now.saturating_duration_since(then).as_nanos().max(1) as f64;
                lane.ratio = (used.saturating_sub(before) as f64 / wall).min(1.0);
            }
            lane.used = used.map(|used| (used, now));
        }
    }

    /// The share of each lane, from 0 to 1.
    pub(super) fn ratios(&self) -> Vec<f64> {
        self.lanes.iter().map(|lane| lane.ratio).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Barrier};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thread_that_works_is_told_from_one_that_waits() {
        let (tell, told) = channel::<()>();
        let begun = Arc::new(Barrier::new(3));
        let (begins, also) = (Arc::clone(&begun), Arc::clone(&begun));
        let waits = std::thread::Builder::new().name("lane-0".into()).spawn(move || {
            begins.wait();
            told.recv()
        });
        let works = std::thread::Builder::new().name("lane-1".into()).spawn(move || {
            also.wait();
            let until = Instant::now() + Duration::from_millis(400);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        });
        // They have their names by then.
        begun.wait();
        let mut busy = Busy::of_lanes(2);
        busy.look(Instant::now());
        std::thread::sleep(Duration::from_millis(200));
        busy.look(Instant::now());
        let ratios = busy.ratios();
        assert!(ratios[0] < 0.1 && ratios[1] > ratios[0], "{ratios:?}");
        drop(tell);
        let _ = (waits.unwrap().join(), works.unwrap().join());
    }
}
