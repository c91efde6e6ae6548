//! The store as plain synchronous code: a sealed commit log, a sealed index, sealed blobs.
//!
//! | file | job |
//! |---|---|
//! | `open` `identity` | make and open a data directory |
//! | `log` `entry` `commit` | group commit: decide, one frame, one fsync |
//! | `marks` | news that nobody waits for, on the way to a commit that is made anyway |
//! | `votes` `graves` | the replica's side of the register; how tombstones go |
//! | `doubt` | what peers remember of each other, and a node that has reason to doubt its own memory |
//! | `overlay` `index` `pages` `core` | lookups, and the index's checkpoints |
//! | `blobs` `upload` `download` | bodies that do not fit a record, in and out |
//! | `room` | what the disk still gives, and what the machine has run out of |
//! | `feed` `incoming` `outgoing` | what peers are told and take |
//! | `tree` | sums that two nodes compare |
//! | `mend` | what is damaged here, and taking a peer's good copy of it |
//! | `scrub` `scrub_place` | reading everything a piece at a time, and how far that has come |
//! | `scan` `listing` | pages of registers, and of names as clients ask for them |
//! | `status` `verify` | figures, a check of everything |
//! | `store` | the handle and its threads |
//! | `types` `error` | what is said to the store and by it, and what can go wrong |

pub mod blobs;
pub mod commit;
pub mod core;
pub mod doubt;
pub mod download;
pub mod entry;
pub mod error;
pub mod feed;
pub mod graves;
pub mod identity;
pub mod incoming;
pub mod index;
pub mod listing;
pub mod log;
pub mod marks;
pub mod mend;
pub mod open;
pub mod outgoing;
pub mod overlay;
pub mod pages;
pub mod room;
pub mod scan;
pub mod scrub;
pub mod scrub_place;
pub mod status;
// The store room's handle is the store.
#[allow(clippy::module_inception)]
pub mod store;
pub mod tree;
pub mod types;
pub mod upload;
pub mod verify;
pub mod votes;

pub use self::core::Options;
pub use error::StoreError;
pub use open::open;
pub use store::{Clockwork, Store};
