//! Actors carry decisions out. Each wing says which of its files *decide* (plain rules without I/O, each with unit
//! tests) and which *do* (actors, sessions, timers): an actor asks a rule, and holds none itself.
//!
//! A wing imports from the wings below it in this table, never from one above.
//!
//! | wing | job |
//! |---|---|
//! | `background` | work that no request waits for: healing, scrubbing, what was left behind half done, tombstones |
//! | `coordinator` | what a request means for the nodes that decide it together |
//! | `replication` | per peer: a keeper and its ReplicaActors, a lane each for records, votes and bodies |
//! | `peer` | a session with another node, seen from both sides, and what is known of that node |
//! | `store_actor` | the StoreActor: holds the key and the disk, answers messages |
//! | `messages` | what may be said to actors |
//!
//! | beside them | |
//! |---|---|
//! | `access` | the access keys that callers are held against, and until when they are known to be in force |
//! | `blocks` | what two nodes compare of a list |
//! | `body_streams` | a large body on its way to the voters while it arrives |
//! | `guard` | what a panic means to whom |
//! | `status` | the snapshot that everybody shows |
//! | `underway` | what is on its way into a bucket with a quota, and whether more may go |

pub mod access;
pub mod background;
pub mod blocks;
pub mod body_streams;
pub mod coordinator;
pub mod guard;
pub mod messages;
pub mod peer;
pub mod replication;
pub mod status;
pub mod store_actor;
pub mod underway;

#[cfg(test)]
pub(crate) mod testing;
