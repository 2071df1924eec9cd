//! Choices that an operator makes by name and that mean the same in configuration and plan.

use std::fmt;
use std::path::PathBuf;

/// What a client means that closes its sending side after a complete request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfClose {
    /// It left: the upstream request is cancelled.
    Cancel,
    /// It still waits for the answer.
    Finish,
}

/// Which Host is sent upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRule {
    /// The endpoint's own authority.
    Endpoint,
    /// The one the client sent.
    Keep,
}

/// What a connection must begin with, said by the load balancer in front (PROXY protocol 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// HTTP at once.
    Off,
    /// A line of text.
    V1,
    /// A binary header.
    V2,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The end of a file.
    File(PathBuf),
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => write!(f, "\"{}\"", path.display()),
        }
    }
}

/// What moves bytes between the kernel and an event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring with cooperative task running.
    IoUring,
    /// epoll.
    Epoll,
}

impl IoDriver {
    /// The name used in arguments, start lines and statistics.
    pub fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}
