//! Messages: what a coordinator says to the replicas of a key, and their answers.
//!
//! Every message carries the epoch of the round it belongs to, every answer that of the replica.
//! An answer is matched by the attempt it answers: ballots alone may come again after a restart.

use super::bucket::{Known, Under};
use super::slot::{Slot, Traced};
use crate::base::{Ballot, Epoch, Incarnation, Stamp};

/// Names one round of one coordinator: 8 random bytes, fresh for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt(pub u64);

impl Attempt {
    /// The second half of the round: a late answer to its Prepare is none to its Store.
    pub fn second(self) -> Attempt {
        Attempt(!self.0)
    }
}

/// A request with what every request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<R> {
    /// The epoch of the round.
    pub epoch: Epoch,
    /// The half of a round that asks: an answer counts for no other.
    pub attempt: Attempt,
    /// What the replica is to do.
    pub request: Request<R>,
}

/// What is asked of a replica, for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<R> {
    /// What do you hold?
    Query,
    /// Promise to refuse what is below this ballot, and say what you hold.
    Prepare(Ballot),
    /// Hold this record, tentatively; behind the fence of its bucket, where it lies under one.
    Store(Ballot, Traced<R>, Under),
    /// Hold this record, which was chosen. Its epoch is the teacher's, taken **before** the record was read: a state from
    /// before an epoch must not travel under it, or a dropped tombstone's key comes back. So does the change feed, with
    /// whole batches of records.
    Learn(Ballot, Traced<R>),
    /// What you hold under this ballot was chosen: a `Learn` for those who hold the record.
    Mark(Ballot),
}

impl<R> Request<R> {
    /// Whether somebody waits for its answer: what was chosen is told lazily.
    pub fn is_answered(&self) -> bool {
        !matches!(self, Request::Mark(_) | Request::Learn(..))
    }
}

/// An answer with what every answer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<R> {
    /// The replica that answers: it counts once.
    pub from: Incarnation,
    /// The epoch that it is in: in another one than the round's it counts for nothing.
    pub epoch: Epoch,
    /// The attempt that it answers.
    pub attempt: Attempt,
    /// What it did, or why not.
    pub answer: Answer<R>,
}

/// What a replica answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<R> {
    /// To `Query`: what it holds, and the ballot that a proposal must beat.
    Held(Slot<R>, Ballot),
    /// To `Prepare`: granted, and what it holds.
    Promised(Ballot, Slot<R>),
    /// To `Store`: granted, durable.
    Stored(Ballot),
    /// To `Learn` and `Mark`: it holds this or something newer, durably.
    Learned,
    /// Not granted, and why.
    Refused(Refusal),
}

/// Why a replica did not grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ballot does not beat this one.
    Behind(Ballot),
    /// The record's blob is not here, or not yet durable and checked.
    NoBlob,
    /// The replica is in a later epoch: the answer's.
    Epoch,
    /// The replica has no room for the record. It may have, later.
    NoRoom,
    /// The bucket of the register takes no such record, by what the replica knows of it.
    Bucket(Known),
}

impl<R> Message<R> {
    /// The highest stamp in it, for `StampClock::observe`.
    pub fn stamp(&self) -> Stamp {
        match &self.request {
            Request::Query => Stamp(0),
            Request::Prepare(b) | Request::Store(b, ..) | Request::Learn(b, _) | Request::Mark(b) => b.stamp,
        }
    }
}

impl<R> Reply<R> {
    /// The highest stamp in it, for `StampClock::observe`.
    pub fn stamp(&self) -> Stamp {
        match &self.answer {
            Answer::Held(slot, beat) => slot.accepted.max(*beat).stamp,
            Answer::Promised(b, slot) => slot.accepted.max(*b).stamp,
            Answer::Stored(b) | Answer::Refused(Refusal::Behind(b) | Refusal::Bucket(Known { ballot: b, .. })) => {
                b.stamp
            }
            Answer::Learned | Answer::Refused(Refusal::NoBlob | Refusal::Epoch | Refusal::NoRoom) => Stamp(0),
        }
    }
}
