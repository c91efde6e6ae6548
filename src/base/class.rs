//! The one question that is asked of every error: what may the caller do about it?

/// What an error means to the one who asked. Retry loops and peers read this and nothing else; what a client is told is
/// chosen from the error itself, in `http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request itself is wrong; the same request fails again.
    Invalid,
    /// The thing that was asked for is not there.
    Missing,
    /// The request conflicts with the present state (a bucket that is not empty).
    Conflict,
    /// Nothing is wrong but the moment: try again after a backoff.
    Busy,
    /// No room on the disk for new bytes; reads and deletes go on.
    Full,
    /// Stored bytes do not open or do not check.
    Corrupt,
    /// Will not get better by trying again (another key ring, another protocol).
    Permanent,
    /// Ours: a disk error, a poisoned store, a broken promise.
    Internal,
}
