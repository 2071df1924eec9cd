//! Files of the Unix sockets that this process made, and when each of them goes.

use std::cell::RefCell;

use crate::net::listen::SocketFile;

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileOf {
    /// A listener: it goes when accepting stops.
    Listener,
    /// The admin API: it goes with the process.
    Admin,
}

/// Files that are there.
#[derive(Debug, Default)]
pub(super) struct Files(RefCell<Vec<(FileOf, SocketFile)>>);

impl Files {
    /// One was made, or none.
    pub(super) fn made(&self, whose: FileOf, file: Option<&SocketFile>) {
        self.0.borrow_mut().extend(file.map(|file| (whose, file.clone())));
    }

    /// Removes those of the listeners.
    pub(super) fn remove_listeners(&self) {
        let is_gone = |(whose, _): &mut (FileOf, SocketFile)| *whose == FileOf::Listener;
        self.0.borrow_mut().extract_if(.., is_gone).for_each(|(_, file)| file.unlink());
    }

    /// Removes all of them.
    pub(super) fn remove_all(&self) {
        self.0.take().iter().for_each(|(_, file)| file.unlink());
    }

    /// They belong to a successor now.
    pub(super) fn forget(&self) {
        self.0.take();
    }
}
