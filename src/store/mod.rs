//! The store as plain synchronous code: a sealed commit log, a sealed index, sealed blobs.
//!
//! Imports go down this table: a file knows those below it, and of those beside it what has no circle. Each `impl` of
//! `Core` and `Decider` stands where its subject is; of `Store`, only above the handle.
//!
//! | file | job |
//! |---|---|
//! | `open` `replay` | make and open a data directory; what its log holds beyond the index |
//! | | **What a store can do: each file is an `impl Store`** |
//! | `objects` | objects and buckets: bodies in and out, what a node alone decides |
//! | `naming` | from names to registers, as this node holds the buckets |
//! | `access` | the access keys and public buckets that this node holds, and sealing a new secret |
//! | `listing` | names as clients ask for them, a page at a time |
//! | `replica` | votes, marks and seats; this node's memory of the others |
//! | `feed` | what peers are told of changes and sums, and what is taken of theirs |
//! | `transfers` | blobs from peers and to them; orphans |
//! | `tombstones` | those that are old enough to go, and having them go |
//! | `mend` | a peer's good copy in place of a damaged one |
//! | `scrub` `scrub_place` | reading everything a piece at a time, and how far that has come |
//! | `verify` | a check of everything |
//! | `generations` | which generations of the key ring this node needs |
//! | `status` | figures, shortages, who and where the store is |
//! | `store` | the handle, its queue and its threads |
//! | | **Group commit** |
//! | `commit` | one thread: take what waits, one frame, one fsync, answer |
//! | `writes` `votes` `seats` `graves` `place_ops` `quotas` | what is decided of writes, votes, member lists, tombstones, places, quotas: each an `impl Decider` |
//! | `decider` | what was decided so far, upon what is durable |
//! | `batch` `marks` | a batch while it is being decided; marks that wait for one |
//! | `upkeep` `reaper` `mover` | what a store does for itself beside the commits; bodies that go; what is alive in segments moved together |
//! | `reseal` `resealing` | keys sealed anew under the generation that seals; what is sealed under which, and the committer's part in it |
//! | | **Bodies** |
//! | `upload` `download` | clients' bodies in and out |
//! | `incoming` `outgoing` | sealed blobs from a peer and to one |
//! | `damage` | what is wrong with a copy, and setting a blob aside |
//! | | **The shared state: each file is an `impl Core`** |
//! | `alive` | how much of each segment is alive; those that nothing names go |
//! | `listed` | what lies in a segment that cannot be read from its beginning |
//! | `orphans` | bodies that have places and no record |
//! | `removal` `recounting` | who refers to a body, whether it may go, and what holds it; references counted anew |
//! | `usage` | how much each bucket holds, durable and visible, and counted anew |
//! | `apply` | what a commit has made durable becomes visible |
//! | `section` | the one body of an object, or its parts, and what opens them |
//! | `bodies` | the one door to bodies: claimed, in the log, at a place, or a file |
//! | `checkpoint` `flush` | the index is brought up to the log; small bodies go to a segment |
//! | `counting` | the walk that fills the tree |
//! | `scan` | pages of registers: all of a range, or what a list shows of it |
//! | `walk` | overlay and index merged, register by register, with jumps |
//! | `doubt` | a node that has reason to doubt its own memory |
//! | `core` | the state itself: lookups, room, poison |
//! | | **What lies on the disk** |
//! | `log` | the commit log |
//! | `index` `pages` | the index, and its engine over sealed pages |
//! | `pacing` | who waits while a checkpoint is under way |
//! | `blobs` | large bodies, as files |
//! | `segments` | many bodies in one file, each at a place |
//! | `claims` | places that nothing names yet |
//! | `identity` `small` | who a data directory is; small files read whole |
//! | `room` | what the disk still gives, and what the machine has run out of |
//! | | **Plain values** |
//! | `intent` | what is asked of the committer, what becomes of it, and waiting for that |
//! | `mutation` `bucket_setting` | what a client wants of a register: the rule of every write; what a bucket is set to |
//! | `voting` | votes, and what is kept for them |
//! | `types` | what is said to the store and by it |
//! | `tree` `filling` `counted` | sums that two nodes compare; what each bucket holds; what a register counts for in both |
//! | `overlay` `dropped` | what the index does not hold yet, and what of segments is dead by that |
//! | `references` `recount` `waiting` `holds` | how many records refer to a body, as that changes; whether it is right; what waits before it goes; what stays for a moment |
//! | `pace` | how long a batch waits, so that the ring of the log never fills at once |
//! | `sealed_under` `walk_place` | what is sealed under which generation, beside the index; how far sealing anew has come |
//! | `sealed_keys` `access_secret` | the keys that stand, sealed, in a record; the secret of an access key, sealed and opened |
//! | `entry` | operations of a log frame; a record as it is kept |
//! | `buckets` | the buckets, in memory, by name and by id |
//! | `cluster_settings` | what may become of the settings that the nodes of a cluster decide on |
//! | `access_keys` `public_buckets` | in memory: the access keys, and what may become of one; what is open to everybody |
//! | `places` | where bodies lie in segments, and how much of each is named |
//! | `options` `counters` `error` | settings, counts, and what can go wrong |

pub mod access;
pub mod access_keys;
pub mod access_secret;
mod alive;
mod apply;
mod batch;
pub mod blobs;
pub mod bodies;
pub mod bucket_setting;
pub mod buckets;
mod checkpoint;
mod claims;
pub mod cluster_settings;
pub mod commit;
mod core;
mod counted;
pub mod counters;
mod counting;
pub mod damage;
mod decider;
pub mod doubt;
pub mod download;
pub mod dropped;
pub mod entry;
pub mod error;
pub mod feed;
pub mod filling;
mod flush;
mod generations;
mod graves;
mod holds;
pub mod identity;
pub mod incoming;
pub mod index;
pub mod intent;
mod listed;
pub mod listing;
pub mod log;
pub mod marks;
pub mod mend;
pub mod mover;
pub mod mutation;
pub mod naming;
pub mod objects;
pub mod open;
pub mod options;
mod orphans;
pub mod outgoing;
pub mod overlay;
mod pace;
mod pacing;
pub mod pages;
pub mod place_ops;
pub mod places;
pub mod public_buckets;
mod quotas;
mod reaper;
mod recount;
mod recounting;
mod references;
pub mod removal;
mod replay;
pub mod replica;
mod reseal;
pub mod resealing;
pub mod room;
pub mod scan;
pub mod scrub;
pub mod scrub_place;
pub mod sealed_keys;
mod sealed_under;
mod seats;
mod section;
pub mod segments;
mod small;
pub mod status;
// The store room's handle is the store.
#[allow(clippy::module_inception)]
pub mod store;
pub mod tombstones;
pub mod transfers;
pub mod tree;
pub mod types;
pub mod upkeep;
pub mod upload;
mod usage;
pub mod verify;
mod votes;
pub mod voting;
pub mod waiting;
mod walk;
mod walk_place;
mod writes;

pub use error::{DiskOp, StoreError, WrongParts};
pub use intent::{Answer, wait, wait_blocking};
pub use open::{open, open_as};
pub use options::{Options, system_ms};
pub use store::{Clockwork, Store};
