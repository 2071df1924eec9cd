//! Bursts of requests that ask much and are answered by a token, beside requests that ask nothing and are answered by
//! thousands.

use std::time::{Duration, Instant};

use corelane::balance::{Affinity, Balancing};
use corelane::base::rng::Rng;

use crate::engine::BLOCK_BYTES;
use crate::fleet::{Fleet, Request, max_of_mean};

/// Bytes of 32,000 tokens.
const LONG: usize = 128_000;

#[test]
fn bursts_of_long_prompts_and_long_answers_leave_nobody_with_a_quarter_more_than_the_mean() {
    let begun = Instant::now();
    for balancing in [Balancing::LeastWork, Balancing::RoundRobin] {
        let mut rng = Rng::new(5);
        let mut fleet = Fleet::new(balancing.clone(), 0, begun, 3);
        let mut peaks = Vec::new();
        for burst in 0..40u32 {
            fleet.pass(Duration::from_secs(30) * burst);
            for number in 0..80 {
                let is_long = rng.below(2) == 0;
                let bytes = if is_long { LONG } else { 4 };
                let blocks =
                    (0..bytes / BLOCK_BYTES).map(|at| u64::from(burst) << 40 | number << 20 | at as u64);
                let (blocks, tokens) = (blocks.collect(), if is_long { 1 } else { 4000 });
                fleet.ask(&Request { blocks, bytes, affinity: Affinity::None, tokens });
                fleet.pass(fleet.now + Duration::from_millis(5));
            }
            peaks.push(max_of_mean(&fleet.work()));
        }
        let worst = peaks.iter().fold(0.0, |most: f64, peak| most.max(*peak));
        let over_time = max_of_mean(&fleet.work_time);
        println!(
            "{balancing:?}: most outstanding work by the mean, {worst:.2} at the worst peak, {over_time:.2} over the time"
        );
        if matches!(balancing, Balancing::LeastWork) {
            assert!(worst < 1.25 && over_time < 1.25, "{worst} {over_time}");
        }
    }
}
