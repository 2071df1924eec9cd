//! What is to be told of traced exchanges, on its way from lanes to whoever tells a collector: bounded by the spans that wait,
//! and nobody waits for room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::Padded;

/// A lane's end.
#[derive(Debug)]
pub struct SpanSender<T> {
    sender: Sender<(usize, T)>,
    room: Arc<Room>,
}

/// The other end.
#[derive(Debug)]
pub struct SpanReceiver<T> {
    receiver: Receiver<(usize, T)>,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Room {
    most: usize,
    waiting: Padded<AtomicUsize>,
    dropped: AtomicU64,
}

impl<T> Clone for SpanSender<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), room: Arc::clone(&self.room) }
    }
}

impl<T> Clone for SpanReceiver<T> {
    fn clone(&self) -> Self {
        Self { receiver: self.receiver.clone(), room: Arc::clone(&self.room) }
    }
}

/// Both ends, for `most` spans.
pub fn spans<T>(most: usize) -> (SpanSender<T>, SpanReceiver<T>) {
    let (sender, receiver) = bounded(most);
    let room = Arc::new(Room { most, waiting: Padded::default(), dropped: AtomicU64::new(0) });
    (SpanSender { sender, room: Arc::clone(&room) }, SpanReceiver { receiver, room })
}

impl<T> SpanSender<T> {
    /// Sends what makes so many spans, at least one, unless there is no room for them: then they are counted.
    pub fn try_send(&self, count: usize, item: T) {
        let room = &*self.room;
        let before = room.waiting.0.fetch_add(count, Ordering::AcqRel);
        if before + count > room.most || self.sender.try_send((count, item)).is_err() {
            room.waiting.0.fetch_sub(count, Ordering::AcqRel);
            room.dropped.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

impl<T> SpanReceiver<T> {
    /// The next one, with how many spans it makes; none where none came within `patience`.
    pub fn next(&self, patience: Duration) -> Option<(usize, T)> {
        match self.receiver.recv_timeout(patience) {
            Ok((count, item)) => {
                self.room.waiting.0.fetch_sub(count, Ordering::AcqRel);
                Some((count, item))
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Spans for which there was no room so far.
    pub fn dropped(&self) -> u64 {
        self.room.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_and_room_comes_back() {
        let (sender, receiver) = spans(5);
        [3, 2, 1].into_iter().for_each(|count| sender.try_send(count, count));
        assert_eq!(receiver.dropped(), 1);
        assert_eq!(receiver.next(Duration::ZERO), Some((3, 3)));
        sender.try_send(3, 30);
        assert_eq!(receiver.dropped(), 1);
        assert_eq!(receiver.next(Duration::ZERO), Some((2, 2)));
        assert_eq!(receiver.next(Duration::ZERO), Some((3, 30)));
        assert_eq!(receiver.next(Duration::ZERO), None);
        sender.try_send(6, 6);
        assert_eq!(receiver.dropped(), 7);
    }
}
