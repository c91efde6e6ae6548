//! What is asked without a request waiting: healing, scrubbing, tombstones, what was left tentative.

use super::{Ailment, Grave, Part, Place, Round, Seen, StoreError};
use crate::base::{BlobRef, Incarnation, Page, Record, RegisterKey};
use actix::Message;

/// Whether it is worth reading again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Healed {
    /// There is a good copy now, or nothing was wrong.
    Good,
    /// Nobody has a good one.
    NoCopy,
    /// A peer may have one; there is no room for it here.
    NoRoom,
}

/// Pauses the scrubbing, over restarts too, or lets it go on. The answer says whether that is kept: where it could
/// not be, it holds until the node ends.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct PauseScrub {
    /// Whether it is to stand still.
    pub paused: bool,
}

/// Asks for a good copy of a register. The answer says whether there is one now.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Healed")]
pub struct Heal {
    /// Which register does not open here.
    pub key: RegisterKey,
    /// What is missing, where this node may not hold the record that says so: it is read for what others hold.
    pub wanted: Option<Ailment>,
}

/// Asks for a blob that a record needs which this node does not hold yet. The answer says whether it is here now.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "bool")]
pub struct FetchBody(pub BlobRef);

/// Registers whose records have not been known to be chosen for long.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<RegisterKey>, StoreError>")]
pub struct FindTentative {
    /// How long they have been tentative at least.
    pub age: std::time::Duration,
    /// Most registers of the answer.
    pub limit: usize,
}

/// Of a page of registers, those whose tombstones are older than `age`.
#[derive(Debug, Message)]
#[rtype(result = "Result<Page<Grave>, StoreError>")]
pub struct FindDue {
    /// Behind which register to begin.
    pub after: Option<RegisterKey>,
    /// How long ago they were written at least, by the writers' clocks.
    pub age: std::time::Duration,
    /// Most registers to look at.
    pub limit: usize,
}

/// How many registers hold a tombstone; none before all are counted.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<u64>, StoreError>")]
pub struct CountTombstones;

/// What is wrong with the copy of a register here; `None` when nothing is.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Ailment>, StoreError>")]
pub struct Diagnose {
    /// The register to be looked at.
    pub key: RegisterKey,
}

/// Takes a peer's copy of a record in place of the damaged one of the same ballot. Answered once durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Restore {
    /// The register whose copy is damaged.
    pub key: RegisterKey,
    /// Its record at the peer.
    pub record: Record,
    /// The peer whose copy it is.
    pub from: Incarnation,
}

/// Reads on in a round, or begins one; the round comes back with what was seen.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Round, Seen), StoreError>")]
pub struct Scrutinize {
    /// Which part of the store.
    pub part: Part,
    /// The round over it, if it has begun.
    pub round: Option<Round>,
}

/// How far the scrubber had come when that was kept last.
#[derive(Debug, Message)]
#[rtype(result = "Result<Place, StoreError>")]
pub struct LoadScrubPlace;

/// Keeps how far the scrubber has come. Answered once durable; one at a time.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct SaveScrubPlace(pub Place);
