//! Access keys: what is asked of a coordinator for operators, and of the store beside it.

use super::{AccessKeys, AccessSecret, HeldAccess, NewSecret, ObjectError, StoreError, Written};
use crate::base::{AccessKeyId, Grant, Record};
use actix::Message;
use std::sync::Arc;

/// Makes an access key. Answered with its id and its secret once a majority holds it; `Precondition` where there is, or
/// was, a key of that id.
#[derive(Debug, Message)]
#[rtype(result = "Result<(AccessKeyId, AccessSecret), ObjectError>")]
pub struct CreateAccess {
    /// Its id and its secret; drawn where none are given.
    pub given: Option<(AccessKeyId, AccessSecret)>,
    /// What people call it.
    pub name: String,
    /// From when on it lets nobody in, in milliseconds since 1970; 0: never.
    pub expires_ms: u64,
    /// What it allows.
    pub grants: Vec<Grant>,
}

/// What is to become of an access key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessWish {
    /// It gets a new secret; the one before is accepted until it is dropped.
    Rotate,
    /// The secret before the last rotation is accepted no more.
    DropOld,
    /// It lets nobody in, or does so again.
    Disable(bool),
    /// It is gone for good.
    Revoke,
}

/// Changes an access key. Answered, with the new secret if there is one, once a majority holds that; `NoSuchKey` where
/// there is none.
#[derive(Debug, Message)]
#[rtype(result = "Result<(Written, Option<AccessSecret>), ObjectError>")]
pub struct ChangeAccess {
    /// Which key.
    pub id: AccessKeyId,
    /// What is to become of it.
    pub wish: AccessWish,
}

/// What this node holds of the access keys, and of what is open to everybody: as it is compared with others, and the same
/// for callers.
#[derive(Debug, Message)]
#[rtype(result = "Result<HeldAccess, StoreError>")]
pub struct ReadAccess;

/// Opens access keys that others hold, for callers.
#[derive(Debug, Message)]
#[rtype(result = "Result<AccessKeys, StoreError>")]
pub struct OpenAccess(pub Vec<(AccessKeyId, Arc<Record>)>);

/// Seals a secret for an access key; what is not given is drawn.
#[derive(Debug, Message)]
#[rtype(result = "Result<NewSecret, StoreError>")]
pub struct SealSecret {
    /// For which key.
    pub id: Option<AccessKeyId>,
    /// Which secret.
    pub secret: Option<AccessSecret>,
}
