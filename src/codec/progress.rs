//! What every reader says: an event, or that it needs more bytes.

/// What a reader says after looking at its input.
#[derive(Debug)]
pub enum Progress<T> {
    /// The next event.
    Ready(T),
    /// The input holds no complete event: read more and ask again.
    NeedMore,
}
