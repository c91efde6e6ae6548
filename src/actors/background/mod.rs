//! Work that no request waits for. (What a store does for itself is `store::upkeep`.)
//!
//! Healer and scrubber are actors on the arbiter of replication. The others are loops on the thread that started the
//! node, and run only where nodes decide together; but for `access_watch` and `stale_uploads`, which every node has. All are started in `node::parts`.
//!
//! | file | | what |
//! |---|---|---|
//! | `access_watch` | does | finds out which access keys are in force |
//! | `healer` | does | fetches good copies from peers of what is damaged here |
//! | `janitor` | does | ends deletions of buckets that somebody left behind |
//! | `scrub` | decides | which part of the store is read next, and how fast |
//! | `scrubber` | does | reads it, and has damage healed |
//! | `settler` | does | brings to a decision what a coordinator left tentative, and the member list up to date |
//! | `stale_uploads` | does | ends uploads in parts that nobody ends, and drops what is left of others |
//! | `tombstones` | does | has tombstones dropped that every node has and nobody needs any more |

pub mod access_watch;
pub mod healer;
pub mod janitor;
pub mod scrub;
pub mod scrubber;
pub mod settler;
pub mod stale_uploads;
pub mod tombstones;
