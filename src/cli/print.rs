//! The one way in which commands print: a reader that leaves ends the printing quietly, a full disk is told.
//!
//! `corelane schema | head -1` is no failure: the exit code stays what it is. Whatever else keeps a page from being
//! written is told on stderr, and the exit code is 1.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints a page on stdout, as it is; returns the exit code so far, 0 or 1.
#[must_use]
pub(super) fn print(page: impl Display) -> u8 {
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(page.to_string().as_bytes()).and_then(|()| stdout.flush());
    match printed {
        Ok(()) => 0,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => 0,
        Err(error) => {
            complain(format_args!(
                "the output cannot be written\n  why: {error}\n  fix: make room, or write it elsewhere"
            ));
            1
        }
    }
}

/// Prints a message and a line end on stderr. Nobody is left to hear why that cannot be done.
pub(super) fn complain(message: impl Display) {
    let _ = io::stderr().write_all(format!("{message}\n").as_bytes());
}
