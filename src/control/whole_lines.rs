//! Lines to a file that may be full: what does not fit is lost by whole lines, and half a line is finished before the next.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::base::limits::LOG_PAUSE;

/// What is left of a line of which the beginning is written.
#[derive(Debug, Default)]
pub(super) struct WholeLines {
    rest: Vec<u8>,
}

/// Lines that were lost, and why.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: u64,
    pub(super) why: io::Error,
}

impl WholeLines {
    /// Writes `text`, whose lines end at `ends`, behind what is left of the last one. Whoever shares the description may
    /// have made it non-blocking: then there is waited, but not beyond `end`.
    pub(super) fn write(
        &mut self,
        out: &mut impl Write,
        text: &[u8],
        ends: &[usize],
        end: &AtomicBool,
    ) -> Result<(), Lost> {
        let (done, outcome) = write_all(out, &self.rest, end);
        self.rest.drain(..done);
        let (done, outcome) = match outcome {
            Ok(()) => write_all(out, text, end),
            Err(error) => (0, Err(error)),
        };
        let Err(why) = outcome else { return Ok(()) };
        let whole = ends.partition_point(|end| *end <= done);
        let begun_at = whole.checked_sub(1).map_or(0, |last| ends[last]);
        let mut lost = ends.len() - whole;
        if let Some(end) = ends.get(whole)
            && done > begun_at
        {
            self.rest = text[done..*end].to_vec();
            lost -= 1;
        }
        match lost {
            0 => Ok(()),
            lines => Err(Lost { lines: lines as u64, why }),
        }
    }

    /// The file is left for another one: what belongs to its last line is written there now, or never. How many lines
    /// that costs.
    pub(super) fn leave(&mut self, out: Option<&mut impl Write>) -> u64 {
        let rest = std::mem::take(&mut self.rest);
        let written = out.is_some_and(|out| out.write_all(&rest).is_ok());
        u64::from(!rest.is_empty() && !written)
    }
}

/// Writes all of `text`; how much of it was written, and why not the rest.
fn write_all(out: &mut impl Write, text: &[u8], end: &AtomicBool) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < text.len() {
        match out.write(&text[done..]) {
            Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && !end.load(Ordering::Acquire) => {
                thread::sleep(LOG_PAUSE);
            }
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes this many bytes, then none.
    struct Disk {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            match self.room.min(text.len()) {
                0 => Err(ErrorKind::StorageFull.into()),
                count => {
                    self.room -= count;
                    self.taken.extend_from_slice(&text[..count]);
                    Ok(count)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn wherever_a_disk_is_full_only_whole_lines_are_lost_and_all_of_them_are_counted() {
        const TEXT: &[u8] = b"one\ntwo\nthree\n";
        for room in 0..=TEXT.len() {
            let (mut lines, mut disk) = (WholeLines::default(), Disk { room, taken: Vec::new() });
            let end = AtomicBool::new(false);
            let mut lost = 0;
            let mut write = |disk: &mut Disk, text: &[u8], ends: &[usize]| {
                lost += lines.write(disk, text, ends, &end).err().map_or(0, |lost| lost.lines);
            };
            write(&mut disk, TEXT, &[4, 8, 14]);
            write(&mut disk, b"lost\n", &[5]);
            disk.room = usize::MAX;
            write(&mut disk, b"four\n", &[5]);
            let text = String::from_utf8(disk.taken).unwrap();
            let whole = ["one", "two", "three", "lost", "four"];
            assert!(text.lines().all(|line| whole.contains(&line)), "{room}: {text}");
            assert!(text.ends_with("\nfour\n") || text == "four\n", "{room}: {text}");
            assert_eq!(text.lines().count() as u64 + lost, 5, "{room}: {text}");
        }
    }
}
