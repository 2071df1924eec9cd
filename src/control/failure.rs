//! Why the gateway ended, or never began.

use std::fmt;

use crate::base::problem::Problem;

/// Why the gateway ended, or never began.
#[derive(Debug)]
pub enum RunError {
    /// The configuration is wrong: exit code 2.
    Problems(Vec<Problem>),
    /// Something failed while starting or running: exit code 1. What, why, and what to do.
    Failed(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => {
                for (position, problem) in problems.iter().enumerate() {
                    write!(f, "{}{problem}", if position == 0 { "" } else { "\n" })?;
                }
                Ok(())
            }
            Self::Failed(message) => f.write_str(message),
        }
    }
}

/// Something failed: what, why, and what to do.
pub(super) fn failed(what: impl fmt::Display, error: impl fmt::Display, fix: &str) -> RunError {
    RunError::Failed(format!("{what}\n  why: {error}\n  fix: {fix}"))
}
