//! How a command ended, as scripts see it. The numbers are part of the public interface.
//!
//! A new one also stands in the help (`after_help` in `cli`).

use std::process::ExitCode;

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All of it was done.
    Done = 0,
    /// It was tried and failed.
    Failed = 1,
    /// The arguments or the configuration are wrong; nothing was tried.
    Usage = 2,
    /// Some of it was done; or all of it, and something wants attention.
    Partly = 3,
    /// What was asked for is not there.
    NotFound = 10,
    /// In use by somebody else, or too few nodes; try again later.
    Busy = 11,
    /// The key ring is not the one that sealed this.
    WrongKey = 12,
    /// Stopped by the user.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
