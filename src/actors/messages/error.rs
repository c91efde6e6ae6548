//! Why a request on objects, on buckets or on the member list was not served.
//!
//! Invariant: what a coordinator makes of a majority stands here, what one node's store says stays in `StoreError`.
//! Texts for clients are chosen in `http`.

use crate::base::Class;
use crate::store::StoreError;

/// The errors of what clients ask.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The store of one node says so: by itself, or as the answer that a majority stands behind.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Concurrent writes of the same object kept this one, which has a condition, from being decided. Nothing was
    /// written.
    #[error("concurrent writes of the same object")]
    Contended,
    /// Too many writes of the same object came at once for this one's time, or its bucket was being deleted all the while.
    /// Nothing was written.
    #[error("too many writes of the same object at once")]
    Crowded,
    /// No majority could be had in time; says why. Nothing was written.
    #[error("no majority: {0}")]
    NoMajority(&'static str),
    /// There is too much to look through in one request; says what. Nothing was changed.
    #[error("there was no time for all of it: {0}")]
    OutOfTime(&'static str),
}

impl ObjectError {
    /// What the caller may do about it.
    pub fn class(&self) -> Class {
        match self {
            ObjectError::Store(error) => error.class(),
            ObjectError::Contended | ObjectError::Crowded | ObjectError::NoMajority(_) | ObjectError::OutOfTime(_) => {
                Class::Busy
            }
        }
    }

    /// Whether the nodes did not come to a decision in time, which they may when they are asked again.
    pub fn is_undecided(&self) -> bool {
        matches!(self, ObjectError::NoMajority(_) | ObjectError::Crowded)
    }

    /// Whether stored bytes could not be had as they were written: another copy would help.
    pub fn is_damage(&self) -> bool {
        matches!(self, ObjectError::Store(error) if error.is_damage())
    }
}
