//! How the copies of one key agree: plain decisions without I/O.
//!
//! Every key is an independent register held by all its replicas: CASPaxos with a *chosen* mark, which lets
//! repair copy values without a vote, and a *lineage*, which tells what became of an interrupted attempt.
//! There is no clock, socket or randomness here: time, random ids and fresh ballots are arguments.
//! The node, the simulation and the model checker (`tests/model_register.rs`) run this same code.
//!
//! | file | what it decides |
//! |---|---|
//! | `acceptor` | what a replica promises, stores, learns; what must be durable before it answers |
//! | `write` | PUT and DELETE: condition, attempts, lineage, outcome |
//! | `read` | GET, listing, settler: what is chosen, and making it so |
//! | `machine` | what a write and a read hear and want done |
//! | `drive` | carries either to its end: in which order, how long, who is sent which blob, when it is tried again |
//! | `round` | one ballot of a coordinator |
//! | `tally` `members` `roster` | counting answers; who votes, and majorities |
//! | `change` | a member list becomes another one; who lost its disk is seated anew |
//! | `placement` | which nodes hold a register, and which a body |
//! | `memory` | what nodes said of themselves, and who says less than before: an older copy of its directory |
//! | `bucket` | what is known of a bucket |
//! | `fence` | what a bucket that is being deleted, or is gone, lets in: nothing but tombstones |
//! | `count` | whether something lies in a bucket that a deletion closed |
//! | `burial` | a tombstone is dropped |
//! | `freshness` | until when a node may go by what it holds of the configuration, without asking |
//! | `slot` `message` | what is kept and what is said |
//! | `rules` | the sentences that the model's tests switch off |
//!
//! A replica: read the key's newest decided slot, `Acceptor::decide`, commit what the decision says, then answer.
//! A coordinator: `Write::new` or `Read::new` in a `Drive`; do what its `step` says and hand in what comes of it, until
//! `Do::Done`.
//! Both: `StampClock::observe` the stamp of every message and answer before the next ballot is drawn.
//!
//! Invariants
//! - Two records are never chosen at one ballot; what is chosen is in the history of every later one.
//! - An answered write has taken effect once; a refused one never; an unknown one at most once.
//! - A read returns chosen records only: all histories of a key are linearizable.

pub mod acceptor;
pub mod bucket;
pub mod burial;
pub mod change;
pub mod count;
pub mod drive;
pub mod fence;
pub mod freshness;
pub mod machine;
pub mod members;
pub mod memory;
pub mod message;
pub mod placement;
pub mod read;
pub mod roster;
pub mod round;
pub mod rules;
pub mod slot;
pub mod tally;
pub mod write;

pub use acceptor::{Acceptor, Decision, Limits, NodeState};
pub use bucket::{Bucket, Known, Under};
pub use burial::Burial;
pub use change::{Change, Listed, Step, Succession};
pub use count::Count;
pub use drive::{Do, Drive};
pub use fence::{Fence, Remedy};
pub use freshness::{Holds, Lease, Question};
pub use machine::{Action, Event, Fresh, Machine};
pub use members::{Members, MembersError, VOTERS_MAX, Votes};
pub use memory::{Heard, Kept, Memory, Remembered, Standing, Start};
pub use message::{Answer, Attempt, Message, Refusal, Reply, Request};
pub use placement::Placement;
pub use read::{Read, ReadOutcome};
pub use roster::{ListMark, Roster, Seat};
#[doc(hidden)]
pub use rules::Rules;
pub use slot::{Slot, Traced, Value};
pub use tally::Tally;
pub use write::{Choice, Intent, Write, WriteOutcome};
