//! Thin actors: they carry decisions out and hold no rules of their own.
//!
//! | file | what |
//! |---|---|
//! | `messages` | what may be said to the StoreActor |
//! | `store_actor` `threads` | the StoreActor, and the threads for what waits for a disk |
//! | `recipients` | the part of it that replication says, in one struct |
//! | `guard` | what a panic means to whom |
//! | `replication` | starts, shows and drains the replicators of all peers |
//! | `keeper` | one per peer: builds its lanes, and builds them anew |
//! | `replica` `records_lane` `blob_lane` | the ReplicaActor and its two roles |
//! | `batch` | one step of the records lane |
//! | `window` `lease` | what is in flight to a peer; one blob on its way |
//! | `compare` `walk` | finding what a peer lost although it had acknowledged it |
//! | `healer` | good copies from peers of what is damaged here |
//! | `scrub` `scrubber` | reading everything again and again: decided, and carried out |
//! | `lists` `list_watch` | member lists on their way between two nodes; whose is another |
//! | `coordinator` `coordinator_actor` `vote_lane` `listing` | requests that nodes decide together |
//! | `turns` | the writers of one key at one node queue up |
//! | `streams` | a large body on its way to the voters while it arrives |
//! | `reach` | which peers answer, and whether there is a majority |
//! | `seats` `settler` | coming to a member list; what was left tentative |
//! | `conn` `connector` | a session with a peer, and its sockets |
//! | `gate` `answering` | the same session seen from the listener |
//! | `status` | the snapshot that everybody shows |

pub mod answering;
pub mod arrivals;
mod batch;
mod blob_lane;
pub mod compare;
pub mod conn;
mod connector;
pub mod coordinator;
pub mod coordinator_actor;
pub mod error;
pub mod gate;
pub mod guard;
pub mod healer;
pub mod keeper;
pub mod key_watch;
pub mod lease;
pub mod list_watch;
pub mod listing;
mod lists;
pub mod messages;
pub mod reach;
pub mod recipients;
mod records_lane;
pub mod replica;
pub mod replication;
pub mod scrub;
pub mod scrubber;
pub mod seats;
pub mod settler;
pub mod status;
pub mod store_actor;
pub mod streams;
pub mod threads;
pub mod transfers;
pub mod turns;
pub mod undertaker;
pub mod vote_lane;
mod walk;
pub mod window;

#[cfg(test)]
pub(crate) mod testing;
