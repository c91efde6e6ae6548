//! Who calls, and whether they may.
//!
//! Invariants
//! - `authorize` is the one place that answers: every endpoint of every port passes it before its handler runs, and
//!   before a permit is taken or a byte of the body is read. What a handler learns only from the body passes it then.
//! - An endpoint without a need is open to everybody who reaches the port, and says so in its table.
//!
//! There are no access keys yet: every port says that its callers are `Principal::ANYONE`, who has all rights. Keys
//! change who a port finds (`Protocol::who`) and what `Principal` holds, and no endpoint.

use super::errors::HttpError;
use crate::base::{BucketName, ObjectKey, ObjectName};

/// What a caller may do with buckets and objects, or the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// Read objects whose names are known, heads included.
    Read = 1,
    /// Write objects, new ones and over old ones.
    Write = 2,
    /// See which buckets and objects there are.
    List = 4,
    /// Delete objects whose names are known.
    Delete = 8,
    /// Make and remove buckets; see and change the cluster.
    Admin = 16,
}

/// What an endpoint needs of its caller: a right, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    pub right: Right,
    /// `None`: on the node, or on all buckets.
    pub bucket: Option<&'a BucketName>,
    /// `None`: on the whole bucket, or on a key that is told later, in the body.
    pub key: Option<&'a ObjectKey>,
}

impl<'a> Need<'a> {
    /// A right on the node, or on all buckets.
    pub fn on_node(right: Right) -> Self {
        Need { right, bucket: None, key: None }
    }

    /// A right on a bucket.
    pub fn on_bucket(right: Right, bucket: &'a BucketName) -> Self {
        Need { right, bucket: Some(bucket), key: None }
    }

    /// A right on an object.
    pub fn on_object(right: Right, at: &'a ObjectName) -> Self {
        Need { right, bucket: Some(&at.bucket), key: Some(&at.key) }
    }
}

/// The caller of a request, by what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The rights on everything, as bits.
    rights: u8,
}

impl Principal {
    /// Whoever reaches the port.
    pub const ANYONE: Principal = Principal { rights: u8::MAX };

    /// Somebody with these rights alone.
    #[cfg(test)]
    pub fn with(rights: &[Right]) -> Self {
        Principal { rights: rights.iter().fold(0, |all, right| all | *right as u8) }
    }

    /// Rights are on everything, or not there: what the need is on makes no difference yet.
    fn has(self, need: &Need<'_>) -> bool {
        self.rights & need.right as u8 != 0
    }
}

/// Refuses a caller who has not what an endpoint needs.
pub fn authorize(who: Principal, need: Option<&Need<'_>>) -> Result<(), HttpError> {
    if need.is_none_or(|need| who.has(need)) { Ok(()) } else { Err(HttpError::AccessDenied) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Right; 5] = [Right::Read, Right::Write, Right::List, Right::Delete, Right::Admin];

    #[test]
    fn a_right_is_had_or_refused_and_says_nothing_of_another() {
        for asked in ALL {
            let need = Need::on_node(asked);
            assert!(authorize(Principal::ANYONE, Some(&need)).is_ok());
            for held in ALL {
                let found = authorize(Principal::with(&[held]), Some(&need));
                assert_eq!(found.is_ok(), held == asked, "{held:?} for {asked:?}");
            }
            let others: Vec<Right> = ALL.into_iter().filter(|right| *right != asked).collect();
            let refused = authorize(Principal::with(&others), Some(&need));
            assert!(matches!(refused, Err(HttpError::AccessDenied)), "{asked:?}");
        }
        assert!(authorize(Principal::with(&[]), None).is_ok(), "what needs nothing is open to everybody");
    }
}
