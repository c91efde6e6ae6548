//! What an endpoint does, as the audit log names it: the row that each endpoint has.
//!
//! Invariant: whatever changes keys, rights, buckets, members, settings or key generations is a `Change`; `handle` sees to
//! its lines, and no handler has to.

use crate::base::{AccessKeyId, BucketName, ObjectName};

/// What is to be done, and to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed<'a> {
    /// As `bucket:create`: what it is done to, and what is done.
    pub action: &'static str,
    /// To what.
    pub target: Target<'a>,
    /// When it has a line.
    pub sort: Sort,
}

/// When a deed has a line. Its refusal has one in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// It changes nothing.
    Look,
    /// It reads or writes an object: with `audit.objects` alone.
    Object,
    /// One before it is begun, and one when it is over.
    Change,
}

/// What a deed is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The node or the cluster, or what is known only later.
    Whole,
    /// A bucket.
    Bucket(&'a BucketName),
    /// An object.
    Object(&'a ObjectName),
    /// An access key.
    Key(AccessKeyId),
}

impl<'a> Deed<'a> {
    /// It changes nothing.
    pub fn look(action: &'static str, target: Target<'a>) -> Self {
        Deed { action, target, sort: Sort::Look }
    }

    /// It reads or writes objects that are known later.
    pub fn of_object(action: &'static str) -> Self {
        Deed { action, target: Target::Whole, sort: Sort::Object }
    }

    /// It reads or writes an object.
    pub fn object(action: &'static str, at: &'a ObjectName) -> Self {
        Deed { action, target: Target::Object(at), sort: Sort::Object }
    }

    /// It changes something.
    pub fn change(action: &'static str, target: Target<'a>) -> Self {
        Deed { action, target, sort: Sort::Change }
    }
}

impl Target<'_> {
    /// As a line has it.
    pub fn text(&self) -> String {
        match self {
            Target::Whole => String::new(),
            Target::Bucket(bucket) => bucket.to_string(),
            Target::Object(at) => format!("{}/{}", at.bucket, at.key.as_str()),
            Target::Key(id) => id.to_string(),
        }
    }
}
