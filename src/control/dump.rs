//! A dump of the flight recorder by itself, when a route is slower than it should be: what is recorded is soon written over,
//! and whoever is paid for looking at it may sleep.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use serde_json::{Value, json};

use super::slow::Asked;
use super::state::{Control, Until};
use crate::base::limits::{DUMP_PAUSE, DUMP_RETRY_PAUSE, DUMP_SPAN, DUMPS_MAX, SLOW_MAX};
use crate::base::say;
use crate::base::time::whole_micros;
use crate::config::DumpConfig;
use crate::config::units::{show_duration, show_instant};

impl Control {
    /// Looks whether a route is too slow, and writes down why, once in a while.
    pub(super) fn dump(&self, now: Instant) {
        let plan = self.plan();
        let Some(config) = plan.observe.dump.as_ref().map(|dump| &dump.value) else { return };
        if locked(&self.dumped).is_some_and(|until| now < until) {
            return;
        }
        let bound_us = whole_micros(config.p99);
        let slow: Vec<_> = {
            let snapshot = self.collected.snapshot.borrow();
            let named = plan.routes.iter().filter_map(|route| snapshot.routes.get_key_value(&route.name));
            let p99 = named.map(|(name, totals)| (name.clone(), totals.total.quantiles().p99));
            p99.filter(|(_, p99)| *p99 > bound_us).collect()
        };
        if slow.is_empty() {
            return;
        }
        *locked(&self.dumped) = Some(now + DUMP_PAUSE);
        let wall = SystemTime::now();
        let mut exchanges = Vec::new();
        for (route, _) in &slow {
            let limit = SLOW_MAX / slow.len().min(SLOW_MAX);
            let asked = Asked { route: Some(route.clone()), endpoint: None, last: DUMP_SPAN, limit };
            if let Ok(Value::Object(mut told)) = self.slow(&asked, wall)
                && let Some(Value::Array(told)) = told.remove("exchanges")
            {
                exchanges.extend(told);
            }
        }
        let why: Vec<_> = slow
            .iter()
            .map(|(route, p99)| json!({ "route": route, "p99_us": p99, "bound_us": bound_us }))
            .collect();
        let document = json!({ "time": show_instant(wall), "why": why, "exchanges": exchanges });
        let (route, p99) = (slow[0].0.clone(), slow[0].1);
        let until = Arc::clone(&self.dumped);
        write_apart(
            (config, until),
            wall,
            document,
            format!("p99 of route {route} is {p99} us, past {}", show_duration(config.p99)),
        );
    }
}

fn locked(until: &Until) -> MutexGuard<'_, Option<Instant>> {
    // A time is whole whoever wrote it.
    until.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes on a thread of its own, for a disk may be slow.
fn write_apart((config, until): (&DumpConfig, Until), wall: SystemTime, document: Value, why: String) {
    let folder = PathBuf::from(&config.to);
    let work = move || match write(&folder, wall, &document) {
        Ok(path) => say::warn(format_args!("{why}: the slowest exchanges stand in {}", path.display())),
        Err(error) => {
            *locked(&until) = Some(Instant::now() + DUMP_RETRY_PAUSE);
            say::warn(format_args!(
                "{why}, and its slowest exchanges cannot be written to {}\n  why: {error}\n  fix: make that folder, or correct `observe.dump.to`, and reload",
                folder.display()
            ));
        }
    };
    if let Err(error) = thread::Builder::new().name("dump".to_owned()).spawn(work) {
        say::warn(format_args!("the slowest exchanges cannot be written: {error}"));
    }
}

/// `slow-TIME.json`, whole or not at all; of its kind the newest stay.
fn write(folder: &Path, wall: SystemTime, document: &Value) -> io::Result<PathBuf> {
    let second = show_instant(wall)[..19].replace(':', "-");
    let path = folder.join(format!("slow-{second}Z.json"));
    let begun = folder.join(format!(".slow-{second}Z.json"));
    let _ = fs::remove_file(&begun);
    // Nobody else's file is written to, whatever was put in its place.
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&begun)?;
    let written =
        file.write_all(&serde_json::to_vec_pretty(document)?).and_then(|()| fs::rename(&begun, &path));
    if written.is_err() {
        let _ = fs::remove_file(&begun);
    }
    written?;
    let mut dumps: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| entry.path())
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_dump))
        .collect();
    // Their names are in the order of time.
    dumps.sort();
    let surplus = dumps.len().saturating_sub(DUMPS_MAX);
    // One that cannot go now goes the next time.
    dumps.drain(..surplus).for_each(|old| drop(fs::remove_file(old)));
    Ok(path)
}

/// Whether a file is one of ours: `slow-2026-11-26T08-00-00Z.json`.
fn is_dump(name: &str) -> bool {
    let time = name.strip_prefix("slow-").and_then(|rest| rest.strip_suffix("Z.json"));
    time.is_some_and(|time| {
        time.len() == 19 && time.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'T'))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_ten_newest_stay_and_nothing_else_is_touched() {
        let folder = std::env::temp_dir().join(format!("corelane-dump-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for other in ["slow-mine.json", "slow-2026Z.json", "notes"] {
            fs::write(folder.join(other), "kept").unwrap();
        }
        fs::create_dir(folder.join("slow-2000-01-01T00-00-00Z.json")).unwrap();
        let begun = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for minute in 0..15_u64 {
            let wall = begun + Duration::from_secs(60 * minute);
            write(&folder, wall, &json!({ "minute": minute })).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let (dumps, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| is_dump(name));
        assert_eq!((dumps.len(), others.len()), (DUMPS_MAX + 1, 3), "and a folder");
        assert!(dumps[1].contains("-05-"), "{dumps:?}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
