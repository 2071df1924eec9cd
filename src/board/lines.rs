//! Lines of the access log on their way from lanes to their writer: bounded in number and in bytes, and nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Padded;

/// A lane's end.
#[derive(Debug, Clone)]
pub struct LogSender {
    lines: Sender<Vec<u8>>,
    room: Arc<Room>,
}

/// The writer's end.
#[derive(Debug, Clone)]
pub struct LogReceiver {
    lines: Receiver<Vec<u8>>,
    room: Arc<Room>,
}

/// Memory that lines may take: a client chooses how long they are, and a writer may be held up for hours.
#[derive(Debug)]
struct Room {
    max: usize,
    taken: Padded<AtomicUsize>,
}

/// There was no room for the line; it is lost.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// Both ends of a channel for this many lines and bytes.
pub fn lines(lines_max: usize, bytes_max: usize) -> (LogSender, LogReceiver) {
    let (sender, receiver) = bounded(lines_max);
    let room = Arc::new(Room { max: bytes_max, taken: Padded::default() });
    (LogSender { lines: sender, room: Arc::clone(&room) }, LogReceiver { lines: receiver, room })
}

impl LogSender {
    /// Sends a line, with its line end, unless there is no room for it.
    pub fn try_send(&self, line: Vec<u8>) -> Result<(), Full> {
        // What the line takes, not what it says: a vector grows by doubling.
        let size = line.capacity();
        let before = self.room.taken.0.fetch_add(size, Ordering::AcqRel);
        if before + size > self.room.max || self.lines.try_send(line).is_err() {
            self.room.taken.0.fetch_sub(size, Ordering::AcqRel);
            return Err(Full);
        }
        Ok(())
    }
}

impl LogReceiver {
    /// The next line, if there is one.
    pub fn try_next(&self) -> Option<Vec<u8>> {
        let line = self.lines.try_recv().ok()?;
        self.room.taken.0.fetch_sub(line.capacity(), Ordering::AcqRel);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_in_number_and_in_bytes() {
        let (sender, receiver) = lines(3, 100);
        let line = |size| vec![b'x'; size];
        assert_eq!(sender.try_send(line(101)), Err(Full));
        assert_eq!((sender.try_send(line(60)), sender.try_send(line(41))), (Ok(()), Err(Full)));
        assert_eq!(sender.try_send(line(40)), Ok(()));
        assert_eq!(receiver.try_next().map(|line| line.len()), Some(60));
        assert_eq!((sender.try_send(line(1)), sender.try_send(line(1))), (Ok(()), Ok(())));
        assert_eq!(sender.try_send(line(1)), Err(Full), "a fourth line");
        while receiver.try_next().is_some() {}
        assert_eq!(sender.try_send(line(100)), Ok(()));
    }
}
