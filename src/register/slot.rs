//! Slot: what a replica keeps of one key, and the record in it with its lineage.
//!
//! Invariants
//! - A key that was never written holds *nothing* at the lowest ballot, and that is chosen.
//! - A record that is stored again, settled or learned keeps its lineage.

use crate::base::record::written_after;
use crate::base::{Ballot, BodyId, Lineage, Record, State, WriteId};
use std::sync::Arc;

/// What a register votes on. Cloned into every message, so it should be cheap to clone.
pub trait Value: Clone {
    /// The body beside it, which a replica must hold before it may grant a `Store`; none where that comes with it. Of
    /// several bodies, an id that stands for all of them.
    fn blob(&self) -> Option<BodyId>;

    /// Whether it says "deleted".
    fn tombstone(&self) -> bool;

    /// The tombstone that takes its place where its bucket is gone.
    fn ended(&self) -> Self;

    /// Whether something is there: what a fence keeps out.
    fn present(&self) -> bool {
        !self.tombstone()
    }

    /// Whether it keeps its bucket from being deleted.
    fn keeps_bucket(&self) -> bool {
        self.present()
    }
}

impl Value for Arc<Record> {
    fn blob(&self) -> Option<BodyId> {
        // A small body that comes with it need not be here.
        if self.in_hand().is_some() { None } else { self.body() }
    }

    fn tombstone(&self) -> bool {
        self.state == State::Deleted
    }

    fn keeps_bucket(&self) -> bool {
        // Uploads alone do not: what is left of them goes behind the bucket.
        self.is_present()
    }

    fn ended(&self) -> Self {
        let written_ms = written_after(Some(self.written_ms), self.written_ms);
        Arc::new(Record { ballot: self.ballot, lineage: self.lineage, written_ms, state: State::Deleted })
    }
}

/// A state of a key with the writes that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced<R> {
    /// The last writes that led here, this one first.
    pub lineage: Lineage,
    /// The record; `None` is *nothing*: never written, or its tombstone was dropped.
    pub value: Option<R>,
}

impl<R> Traced<R> {
    /// The state in which nothing is stored.
    pub const NOTHING: Traced<R> = Traced { lineage: Lineage::NOTHING, value: None };

    /// The id of the write that made it.
    pub fn id(&self) -> WriteId {
        self.lineage.own()
    }
}

impl<R: Value> Traced<R> {
    /// The blob beside the record, if it has one.
    pub fn blob(&self) -> Option<BodyId> {
        self.value.as_ref().and_then(Value::blob)
    }
}

/// What a replica keeps of one key, durably. Also what it answers to `Query` and `Prepare`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot<R> {
    /// The ballot under which the record was stored or learned.
    pub accepted: Ballot,
    /// Whether a majority is known to have stored the record under this very ballot.
    pub chosen: bool,
    /// The record, with the writes that led to it; *nothing* where none was stored.
    pub state: Traced<R>,
}

impl<R> Default for Slot<R> {
    fn default() -> Self {
        Slot { accepted: Ballot::ZERO, chosen: true, state: Traced::NOTHING }
    }
}
