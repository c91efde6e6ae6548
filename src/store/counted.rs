//! What a register counts for: in the sums that nodes compare, and in the figures of its bucket.

use super::entry::Held;
use crate::base::{Ballot, BucketUsage, RegisterKey, State};

/// What the tree counts of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The ballot of its state: the sums are made of these.
    pub ballot: Ballot,
    /// What it adds to the figures: an object and its bytes, or a tombstone.
    pub tally: Tally,
}

impl Counted {
    /// What a register that holds this counts for. What is left of uploads in parts, and the parts themselves, are no
    /// objects of their bucket.
    pub fn of(key: &RegisterKey, held: &Held) -> Self {
        let record = &held.record;
        let tally = match record.object() {
            Some(_) if !key.is_object() => Tally::default(),
            Some(object) => Tally { objects: 1, bytes: object.len, ..Tally::default() },
            None => Tally { tombstones: u64::from(record.state == State::Deleted), ..Tally::default() },
        };
        Counted { ballot: record.ballot, tally }
    }
}

/// How much registers hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Registers that hold a tombstone.
    pub tombstones: u64,
    /// Registers that hold an object.
    pub objects: u64,
    /// Bytes of these, as clients see them.
    pub bytes: u64,
}

impl Tally {
    /// What it adds to its bucket.
    pub fn usage(&self) -> BucketUsage {
        BucketUsage { objects: self.objects, bytes: self.bytes }
    }

    /// That much is held besides.
    pub(super) fn add(&mut self, more: Tally) {
        self.tombstones = self.tombstones.saturating_add(more.tombstones);
        self.objects = self.objects.saturating_add(more.objects);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    pub(super) fn take(&mut self, less: Tally) {
        self.tombstones = self.tombstones.saturating_sub(less.tombstones);
        self.objects = self.objects.saturating_sub(less.objects);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}
