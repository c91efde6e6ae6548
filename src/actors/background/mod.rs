//! Work that no request waits for.
//!
//! | file | | what |
//! |---|---|---|
//! | `healer` | does | fetches good copies from peers of what is damaged here |
//! | `janitor` | does | ends deletions of buckets that somebody left behind |
//! | `scrub` | decides | which part of the store is read next, and how fast |
//! | `scrubber` | does | reads it, and has damage healed |
//! | `settler` | does | brings to a decision what a coordinator left tentative |
//! | `tombstones` | does | has tombstones dropped that every node has and nobody needs any more |

pub mod healer;
pub mod janitor;
pub mod scrub;
pub mod scrubber;
pub mod settler;
pub mod tombstones;
