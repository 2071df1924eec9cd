//! Files that the configuration names are followed: what changes in them is in force within a second, without a reload.
//!
//! They are looked at from a thread of their own: a disk that hangs holds up nobody else. A file that is just being written
//! is waited for: what it holds counts once two looks find the same.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use super::failure::{RunError, failed};
use crate::config::file::{FilePrint, print_at};
use crate::net::doorbell::{Bell, Doorbell, doorbell};

/// How often they are looked at: twice, and the time to load, are well within a second.
const LOOK_PAUSE: Duration = Duration::from_millis(200);
/// A file that was written so recently may be written again within one step of its clock.
const YOUNG: Duration = Duration::from_secs(2);

/// Follows the files of the plan in force.
pub(super) struct Follower {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    files: Mutex<Vec<Followed>>,
    changed: Doorbell,
}

/// One file, as it was last looked at.
struct Followed {
    known: FilePrint,
    /// What it held at the last look, if that is not what is known.
    other: Option<Option<u64>>,
    /// What it held when its change was last told: it is not told again.
    told: Option<Option<u64>>,
    stamp: Option<Stamp>,
}

/// Which file it is, its size and the time of its last change, whatever it says of when it was written: while they stay, a
/// file does. One that is moved into the place of another is another file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: SystemTime,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        let seconds = u64::try_from(found.ctime()).unwrap_or_default();
        let since = Duration::from_secs(seconds) + Duration::from_nanos(found.ctime_nsec().unsigned_abs());
        Self { inode: found.ino(), bytes: found.len(), changed: SystemTime::UNIX_EPOCH + since }
    }
}

impl Follower {
    /// A follower of `files`, and what rings when one of them changes.
    pub(super) fn start(files: &[FilePrint]) -> Result<(Self, Bell), RunError> {
        let fix = "raise the limits of open files and threads";
        Self::new(files).map_err(|error| failed("files cannot be followed", error, fix))
    }

    fn new(files: &[FilePrint]) -> io::Result<(Self, Bell)> {
        let (changed, bell) = doorbell()?;
        let bell = Bell::adopt(bell)?;
        let shared = Arc::new(Shared { files: Mutex::default(), changed });
        let looking = Arc::clone(&shared);
        let looks = thread::Builder::new().name("files".to_owned()).spawn(move || looking.look_for_ever())?;
        let follower = Self { shared, thread: looks.thread().clone() };
        follower.follow(files);
        Ok((follower, bell))
    }

    /// Follows these files from now on.
    pub(super) fn follow(&self, files: &[FilePrint]) {
        let followed =
            |known: &FilePrint| Followed { known: known.clone(), other: None, told: None, stamp: None };
        *self.shared.files() = files.iter().map(followed).collect();
        self.thread.unpark();
    }

    /// The next look begins: what rang is heard.
    pub(super) fn heard(&self) {
        self.shared.changed.heard();
    }
}

impl Shared {
    fn files(&self) -> MutexGuard<'_, Vec<Followed>> {
        // Each look leaves the list as it may be left.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_for_ever(&self) {
        loop {
            // Let go of before the pause: whoever reloads must not wait for a look.
            let is_idle = self.files().is_empty();
            match is_idle {
                true => thread::park(),
                false => thread::sleep(LOOK_PAUSE),
            }
            // Looked at without the lock: whoever reloads must not wait for a disk.
            let paths: Vec<_> =
                self.files().iter().map(|file| (file.known.path.clone(), file.stamp)).collect();
            for (path, stamp) in paths {
                let Some((stamp, print)) = look(&path, stamp) else { continue };
                let mut files = self.files();
                let Some(file) = files.iter_mut().find(|file| file.known.path == path) else { continue };
                file.stamp = stamp;
                if file.is_changed(print) {
                    self.changed.ring();
                }
            }
        }
    }
}

impl Followed {
    /// Whether it is to be told that the file holds something else, by what a look found in it: none where it cannot be read.
    fn is_changed(&mut self, print: Option<u64>) -> bool {
        if print == Some(self.known.print) {
            (self.other, self.told) = (None, None);
            return false;
        }
        let is_settled = self.other.replace(print) == Some(print);
        is_settled && self.told.replace(print) != Some(print)
    }
}

/// What the file holds, and its stamp where that tells so until it changes; none where it is as it was at the last look.
fn look(path: &Path, last: Option<Stamp>) -> Option<(Option<Stamp>, Option<u64>)> {
    let stamp = fs::metadata(path).map(|found| Stamp::of(&found)).ok();
    if stamp.is_some() && stamp == last {
        return None;
    }
    let is_young = |stamp: &Stamp| stamp.changed.elapsed().is_ok_and(|age| age < YOUNG);
    Some((stamp.filter(|stamp| !is_young(stamp)), print_at(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_when_two_looks_find_the_same() {
        let known = FilePrint { path: "k".into(), print: 1 };
        let mut file = Followed { known, other: None, told: None, stamp: None };
        for (print, told) in [
            (Some(1), false),
            // It is being written.
            (Some(2), false),
            (Some(3), false),
            (Some(3), true),
            (Some(3), false),
            // It is gone, which is a change too.
            (None, false),
            (None, true),
            (None, false),
            (Some(3), false),
            (Some(3), true),
            // Back to what is in force, and to what was told before.
            (Some(1), false),
            (Some(3), false),
            (Some(3), true),
        ] {
            assert_eq!(file.is_changed(print), told, "{print:?}");
        }
    }
}
