//! Threads that tell others what lanes told them end with the process, and hold that up for a second at most.

use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it is looked whether one has ended, and how many times.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
const LOOKS: u32 = 20;

/// Waits for a thread that was told to end: one that does not goes with the process.
pub(super) fn wait_for(thread: Option<JoinHandle<()>>) {
    let Some(thread) = thread else { return };
    for _ in 0..LOOKS {
        if thread.is_finished() {
            let _ = thread.join();
            return;
        }
        thread::sleep(LOOK_PAUSE);
    }
}
