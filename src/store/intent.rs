//! What is asked of the committer, what becomes of it, and how one waits for that.

use super::claims::Move;
use super::error::StoreError;
use super::mutation::Mutation;
use super::places::Place;
use super::types::{Grave, Written};
use super::voting::{Reply, Seating, Vote, Votes, VotesTo};
use crate::base::{Ballot, BodyId, Checksum, Epoch, Incarnation, Record, RegisterKey};
use crate::register::ListMark;
use tokio::sync::oneshot;

/// What a request wants to become true.
#[derive(Debug)]
pub enum Intent {
    /// The bucket that a new data directory has.
    FirstBucket,
    /// A peer's records, where they are newer.
    Learn {
        /// Keys with their records.
        records: Vec<(RegisterKey, Record)>,
        /// The peer that sent them; its feed is not offered them back.
        from: Incarnation,
        /// Its epoch before it read them.
        epoch: Epoch,
    },
    /// Tombstones go, where they are what these registers hold.
    Bury {
        /// The member list under which that was found to be safe.
        list: ListMark,
        /// Registers with the ballots of their tombstones.
        graves: Vec<Grave>,
    },
    /// A peer's copy of a record, in place of the same one that is damaged here.
    Restore {
        /// The register whose record was damaged.
        key: RegisterKey,
        /// Its record, checked: its body opens.
        record: Box<Record>,
        /// The peer whose copy it is.
        from: Incarnation,
    },
    /// What is remembered of the other nodes.
    Remember,
    /// A peer has acknowledged this much.
    Cursor {
        /// Which life of the peer.
        peer: Incarnation,
        /// The highest number below which all is acknowledged.
        seq: u64,
        /// The epoch of its list, as it told last.
        heard_in: Epoch,
    },
    /// What a register refers to has come again: the log is to name its place.
    Name {
        /// Which register.
        key: RegisterKey,
    },
    /// Bodies lie elsewhere.
    Move(Vec<Move>),
    /// Bodies are not at these places, which were read.
    Lose(Vec<(BodyId, Place)>),
    /// The keys in these registers' states are sealed anew.
    Reseal(Vec<Resealed>),
    /// Bodies that nothing refers to lose their places.
    Release(Vec<BodyId>),
    /// Everything before this is durable.
    Barrier,
}

/// What a register holds, with its keys sealed anew.
#[derive(Debug)]
pub struct Resealed {
    /// Which register.
    pub key: RegisterKey,
    /// The ballot of what it held when it was looked at.
    pub ballot: Ballot,
    /// The keys of that, sealed: see `sealed_keys`.
    pub seals: Vec<Box<[u8]>>,
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Ballot of the key's state; zero where none applies.
    pub ballot: Ballot,
    /// Whether the name held something before.
    pub existed: bool,
}

/// What became of a mutation that one node was to decide.
#[derive(Debug)]
pub enum Decided<T = Outcome> {
    /// It is decided; what was written is durable.
    Alone(T),
    /// Others have a vote too, or this node has none. Nothing was done, and here it is back.
    ForVote(Mutation),
    /// Its bucket is being deleted, and may be open again or gone in a moment. Nothing was done, and here it is back.
    Closing(Mutation),
}

/// Where the answer to a request goes.
pub type ReplyTo<T = Outcome> = oneshot::Sender<Result<T, StoreError>>;

/// What is asked of the committer, and where its answer goes.
#[derive(Debug)]
pub enum Request {
    /// A write that this node decides alone.
    Write(Intent, ReplyTo),
    /// What a client wants, where nobody else has a vote.
    Mutate(Mutation, ReplyTo<Decided>),
    /// Votes of a coordinator, here or at a peer.
    Vote(Vec<Vote>, VotesTo),
    /// The node's part in its cluster changes.
    Seat(Seating, ReplyTo),
    /// Votes that nobody waits for: what this node holds was chosen.
    Marks(Vec<Vote>),
}

/// Where a commit's answer arrives.
pub type Answer<T = Outcome> = oneshot::Receiver<Result<T, StoreError>>;

/// Waits for an answer; a queue that is gone means that the store is closing.
pub async fn wait<T>(answer: Answer<T>) -> Result<T, StoreError> {
    answer.await.unwrap_or(Err(StoreError::ShuttingDown))
}

/// Waits for an answer on a thread that may wait.
pub fn wait_blocking<T>(answer: Answer<T>) -> Result<T, StoreError> {
    answer.blocking_recv().unwrap_or(Err(StoreError::ShuttingDown))
}

/// Waits for votes; a queue that is gone means that the store is closing.
pub async fn wait_votes(votes: Votes) -> Result<Vec<Option<Reply>>, StoreError> {
    votes.await.unwrap_or(Err(StoreError::ShuttingDown))
}

/// An outcome as handlers tell it. `etag`, `checksum`: those of the object that was written, see `Mutation::sums`.
pub fn written(outcome: Outcome, (etag, checksum): (String, Option<Checksum>)) -> Written {
    Written { ballot: outcome.ballot, etag, checksum, existed: outcome.existed, replicas: 1 }
}
