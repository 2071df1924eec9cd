//! The machine as the kernel tells it: cores, CPU time of processes, memory, who else was running.

use std::fs;
use std::time::Duration;

/// Ticks a second that `/proc/stat` counts in; fixed by the kernel's interface.
const TICKS: u64 = 100;

/// CPU time of a process and its children so far, all threads, kernel and user; the kernel's own count in nanoseconds.
pub fn cpu_of(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let own: u64 = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|told| told.split(' ').next()?.parse::<u64>().ok())
        .sum();
    children(pid).into_iter().map(cpu_of).sum::<Duration>() + Duration::from_nanos(own)
}

/// Resident memory of a process and its children, bytes.
pub fn memory_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let own = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .unwrap_or(0);
    children(pid).into_iter().map(memory_of).sum::<u64>() + own * 1024
}

fn children(pid: u32) -> Vec<u32> {
    let told = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    told.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Time that one core was busy, and that the machine's owner took from it.
#[derive(Debug, Clone, Copy, Default)]
pub struct CoreTime {
    pub busy: Duration,
    pub stolen: Duration,
}

/// The counts of `core` so far.
pub fn core_time(core: usize) -> CoreTime {
    let told = fs::read_to_string("/proc/stat").unwrap_or_default();
    let name = format!("cpu{core} ");
    let Some(line) = told.lines().find_map(|line| line.strip_prefix(&name)) else {
        return CoreTime::default();
    };
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
    let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
    let time = |ticks: u64| Duration::from_millis(ticks * 1000 / TICKS);
    // user nice system idle iowait irq softirq steal (proc(5)).
    CoreTime { busy: time(at(0) + at(1) + at(2) + at(5) + at(6)), stolen: time(at(7)) }
}

/// One line about where this runs.
pub fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let commit = std::process::Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    format!(
        "{} cores, {}, Linux {}, corelane {} ({})",
        core_affinity::get_core_ids().map_or(0, |cores| cores.len()),
        model.trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease"),
        env!("CARGO_PKG_VERSION"),
        if commit.is_empty() { "no commit" } else { &commit },
    )
}
