//! What is known of a bucket, as messages and the fence speak of it.
//!
//! Invariant: a generation is that of one life of a bucket; `Known` says nothing of what the bucket is, only how well.

use crate::base::Ballot;

/// What a `Store` says of the bucket that its register lies under. Where there is none nothing is asked of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Under {
    /// The generation of the bucket that was decided under.
    pub generation: u64,
    /// Whether the state is a new one; else one that was found is stored again.
    pub is_new: bool,
}

/// A bucket, as its register has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Counted up by every change.
    pub generation: u64,
    /// Whether it takes objects; else it is being deleted.
    pub is_open: bool,
}

/// What somebody knows of a bucket's register: what others may be told, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The ballot of what is held.
    pub ballot: Ballot,
    /// Whether that is known to be chosen.
    pub chosen: bool,
}

impl Known {
    /// Of a bucket that nothing is known of.
    pub const NOTHING: Known = Known { ballot: Ballot::ZERO, chosen: true };
}
