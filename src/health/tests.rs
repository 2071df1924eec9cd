//! All short sequences of signs, trials that fail, the last endpoint of a cluster, and probes.

use super::*;
use crate::board::verdicts::Admission;

const RULES: Rules = Rules {
    consecutive_faults: 3,
    window: Duration::from_secs(30),
    share: 0.5,
    slow_start: Duration::from_secs(10),
    unhealthy_after: 3,
    healthy_after: 2,
};
const SECOND: Duration = Duration::from_secs(1);

fn healths(count: usize, now: Instant) -> Vec<Arc<Health>> {
    (0..count).map(|_| Arc::new(Health::new(Arc::new(Verdict::new(now))))).collect()
}

/// So many faults, a second apart; whether the last one should eject.
fn fail(health: &Health, count: u32, from: Instant) -> bool {
    (0..count).fold(false, |_, at| health.note(Sign::Fault, false, &RULES, from + at * SECOND))
}

#[test]
fn each_status_shows_what_it_should() {
    for (status, sign) in [
        (200, Sign::Success),
        (302, Sign::Success),
        (400, Sign::Success),
        (401, Sign::Success),
        (404, Sign::Success),
        (422, Sign::Success),
        (429, Sign::Busy(Some(SECOND))),
        (500, Sign::Fault),
        (502, Sign::Fault),
        (503, Sign::Busy(Some(SECOND))),
        (504, Sign::Fault),
    ] {
        assert_eq!(Sign::of_status(status, Some(SECOND)), sign, "{status}");
    }
}

#[test]
fn every_short_sequence_of_signs_ejects_at_the_third_fault_in_a_row_and_at_no_other() {
    let signs = [Sign::Success, Sign::Busy(None), Sign::Fault];
    for number in 0..3u32.pow(6) {
        let now = Instant::now();
        let health = &healths(1, now)[0];
        let mut row = 0;
        for at in 0..6 {
            let sign = signs[(number / 3u32.pow(at) % 3) as usize];
            row = if sign == Sign::Fault { row + 1 } else { 0 };
            let ejects = health.note(sign, false, &RULES, now + at * SECOND);
            assert_eq!(ejects, row >= 3, "{number} at {at}");
        }
    }
}

#[test]
fn faults_that_are_far_apart_are_no_row() {
    let now = Instant::now();
    let health = &healths(1, now)[0];
    assert!(!fail(health, 2, now));
    assert!(!health.note(Sign::Fault, false, &RULES, now + 31 * SECOND));
    assert!(health.note(Sign::Fault, false, &RULES, now + 31 * SECOND), "the last three are within 30 s");
}

#[test]
fn the_last_one_stays_and_no_more_go_than_the_share() {
    let now = Instant::now();
    for (count, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2)] {
        let (all, ward) = (healths(count, now), Ward::default());
        let out = (0..count).filter(|position| ward.eject(&all, *position, &RULES, now)).count();
        assert_eq!(out, most, "of {count}");
    }
    // An operator's drain counts: then the other one is the last.
    let (all, ward) = (healths(2, now), Ward::default());
    all[0].verdict().drain(true);
    assert!(!ward.eject(&all, 1, &RULES, now));
}

#[test]
fn who_fails_its_trial_is_out_longer_each_time_and_who_did_well_begins_anew() {
    let mut now = Instant::now();
    let (all, ward) = (healths(2, now), Ward::default());
    let verdict = all[0].verdict();
    assert!(ward.eject(&all, 0, &RULES, now));
    for times in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10] {
        assert_eq!(verdict.admission(now + times * RULES.window - SECOND), Admission::Out, "{times}");
        now += times * RULES.window;
        assert_eq!(verdict.admission(now), Admission::Trial);
        assert!(verdict.begin_trial());
        assert!(all[0].note(Sign::Fault, true, &RULES, now), "one fault is enough");
        assert!(ward.eject(&all, 0, &RULES, now));
    }
    now += 10 * RULES.window;
    assert!(verdict.begin_trial());
    assert!(!all[0].note(Sign::Success, true, &RULES, now));
    assert!(!verdict.is_ejected());
    now += 11 * 10 * RULES.window;
    assert!(ward.eject(&all, 0, &RULES, now));
    assert_eq!(verdict.admission(now + RULES.window), Admission::Trial);
    assert_eq!(verdict.ejections(), 14);
}

#[test]
fn probes_speak_by_rows_and_a_live_success_outweighs_their_silence() {
    let now = Instant::now();
    let health = &healths(1, now)[0];
    let probe = |probed| {
        health.note_probe(probed, &RULES, now);
        health.verdict().is_admitted(now)
    };
    assert!(probe(Probed::Unhealthy) && probe(Probed::Unhealthy));
    assert!(!health.note(Sign::Success, false, &RULES, now));
    assert!(
        probe(Probed::Unhealthy) && probe(Probed::Unhealthy),
        "it serves, though it does not answer probes"
    );
    assert!(!probe(Probed::Unhealthy));
    assert!(!probe(Probed::Healthy) && !probe(Probed::Unhealthy) && !probe(Probed::Healthy));
    assert!(probe(Probed::Healthy));
    assert_eq!(health.verdict().admission(now), Admission::Share(64), "it grows");
    assert!(probe(Probed::Busy), "busy is not dead");
}
