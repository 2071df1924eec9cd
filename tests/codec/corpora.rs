//! Corpora of the fuzzed readers, replayed with seeded mutants: `tests/data/fuzz/TARGET/*`, and the rows of the tables.
//!
//! `CORELANE_TEST_SEED` and `CORELANE_TEST_MUTATIONS` as in `mutation.rs`. With `CORELANE_TEST_SEEDS_TO=FOLDER` the seeds are
//! written to `FOLDER/TARGET/*`, where `scripts/fuzz.sh` goes on from.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use corelane::base::rng::Rng;

use crate::fuzzed::TARGETS;
use crate::mutation::mutant;
use crate::table::rows;
use crate::trace::{Sender, shown};

/// The seeds of a target: its corpus, and what other tests know already.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |folder: &str, end: &str| -> Vec<Vec<u8>> {
        let Ok(files) = std::fs::read_dir(root.join(folder)) else { return Vec::new() };
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let wanted = files.into_iter().filter(|file| file.to_string_lossy().ends_with(end));
        wanted.map(|file| std::fs::read(file).unwrap()).collect()
    };
    let mut seeds = read(&format!("tests/data/fuzz/{target}"), "");
    let split = |how: u8, bytes: &[u8]| [&[how], bytes].concat();
    match target {
        "request" | "response" => {
            let is_ours = |sender: &Sender| matches!(sender, Sender::Client) == (target == "request");
            let short = rows().into_iter().filter(|row| is_ours(&row.sender) && row.bytes.len() <= 2000);
            seeds.extend(short.enumerate().map(|(at, row)| split(at as u8, &row.bytes)));
        }
        "sse" => seeds.extend(read("tests/data/sse", "").iter().map(|text| split(6, text))),
        "config" => {
            seeds.extend(read("config", ".toml"));
            seeds.extend(read("tests/data/config/bad", ".toml"));
        }
        _ => {}
    }
    assert!(!seeds.is_empty(), "{target} has no corpus");
    seeds
}

#[test]
fn corpora_and_their_mutants_break_nothing() {
    let from = |name: &str, or: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let (seed, count) = (from("CORELANE_TEST_SEED", 1), from("CORELANE_TEST_MUTATIONS", 3_000));
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        if let Some(folder) = std::env::var_os("CORELANE_TEST_SEEDS_TO") {
            let folder = Path::new(&folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for (at, seed) in seeds.iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{at:04}")), seed).unwrap();
            }
        }
        let mut rng = Rng::new(seed);
        let mutants = (0..count).map(|_| mutant(&seeds, &mut rng).1).collect::<Vec<_>>();
        for input in seeds.iter().chain(&mutants) {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
                eprintln!(
                    "{name}, CORELANE_TEST_SEED={seed}: put it into tests/data/fuzz/{name}:\n\"{}\"",
                    shown(input)
                );
                resume_unwind(panic);
            }
        }
    }
}
