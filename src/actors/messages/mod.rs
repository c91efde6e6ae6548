//! What may be said to the StoreActor, to coordinators, and to the healer and the scrubber. Handlers and lanes know
//! these and nothing behind them.
//!
//! | file | who says it |
//! |---|---|
//! | `objects` | HTTP handlers, for clients; the node, of its store as a whole |
//! | `uploads` | in it: HTTP handlers, of uploads in parts |
//! | `votes` | coordinators, to the store beside them |
//! | `access` | who makes and changes access keys; coordinators, and peers that compare |
//! | `keys` | who makes another key generation the one that seals; coordinators, to the store |
//! | `replicas` | lanes, the peer listener, and the healer where it takes a copy |
//! | `members` | whoever changes or shows the member list |
//! | `error` | why a request of theirs was not served |
//! | `recipients` | how such a list is written down once, for whoever may say it |
//! | `background` | the healer, the scrubber, and whoever finds tombstones and what was left tentative |
//!
//! A new message stands here, its handler with the actor, and its name in the list of each who may say it:
//! `coordinator::store`, `peer::store`, or `http::edge::links`. What is in the last two also has an answer in what
//! stands in for the store in tests (`actors::testing`, `http::testing`). What one asker alone says needs no list: its
//! recipient is handed over.
//!
//! Bodies travel in hand-over-hand style: an opaque `Upload` or `Download` goes into a message and
//! comes back with its answer. Whoever drops it, on purpose or because a client left, ends it: a
//! dropped upload removes its staged file. So there is no table of open transfers to leak.

mod access;
mod background;
mod error;
mod keys;
mod members;
mod objects;
mod recipients;
mod replicas;
mod uploads;
mod votes;

pub use access::*;
pub use background::*;
pub use error::ObjectError;
pub use keys::*;
pub use members::*;
pub use objects::*;
pub use recipients::Knows;
pub(crate) use recipients::recipients;
pub use replicas::*;
pub use uploads::*;
pub use votes::*;

use crate::base::Record;
use std::sync::Arc;

pub use crate::base::PIECE_BYTES;
pub use crate::register::{ListMark, Roster};
pub use crate::store::access::{HeldAccess, NewSecret};
pub use crate::store::access_keys::{AccessKey, AccessKeys};
pub use crate::store::access_secret::AccessSecret;
pub use crate::store::access_signing::SignatureCheck;
pub use crate::store::bucket_setting::BucketSetting;
pub use crate::store::damage::Ailment;
pub use crate::store::download::Download;
pub use crate::store::incoming::{Incoming, Purpose};
pub use crate::store::intent::Decided;
pub use crate::store::outgoing::Outgoing;
pub use crate::store::public_buckets::PublicBuckets;
pub use crate::store::removal::BodyHold;
pub use crate::store::scrub::{Part, Round, Seen};
pub use crate::store::scrub_place::Place;
pub use crate::store::status::StoreStatus;
pub use crate::store::tree::LEAVES_PER_BRANCH;
pub use crate::store::types::Grave;
pub use crate::store::types::{BucketInfo, Change, ListPage, ObjectInfo, Offer, Want, Written};
pub use crate::store::upload::{Landed, Sealed, Upload as StoreUpload};
pub use crate::store::voting::{Reply, Seating, Vote};
pub use crate::store::{StoreError, WrongParts};

/// What a replica keeps of a register.
pub type RegisterSlot = crate::register::Slot<Arc<Record>>;

/// What a read rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// What a majority holds: every write that was answered before the read began.
    #[default]
    Majority,
    /// What this node holds: it answers without the others, and may be behind them.
    Local,
}

/// Most bytes that an open upload of that many holds beside what it was sent. `segment_max`: the store's setting.
pub fn upload_holds(len: Option<u64>, segment_max: usize) -> u64 {
    crate::store::upload::holds(len, segment_max)
}
