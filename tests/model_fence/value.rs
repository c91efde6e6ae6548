//! What registers hold here, and what is wanted of them.

use boveda::base::BodyId;
use boveda::register::Bucket;
use boveda::register::fence::Change;
use boveda::register::{Choice, Intent, Value};

/// A register: that of the bucket, or that of its one object, under the id of a life of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Bucket,
    Object(u8),
}

/// A small record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Val {
    Gone,
    Bucket { id: u8, bucket: Bucket },
    Here(u8),
}

impl Value for Val {
    fn blob(&self) -> Option<BodyId> {
        None
    }

    fn tombstone(&self) -> bool {
        *self == Val::Gone
    }

    fn ended(&self) -> Self {
        Val::Gone
    }
}

/// The bucket that a state of its register is.
pub fn bucket_of(value: Option<&Val>) -> Option<(u8, Bucket)> {
    match value {
        Some(Val::Bucket { id, bucket }) => Some((*id, *bucket)),
        _ => None,
    }
}

/// The object that a state of its register is.
pub fn object_of(value: Option<&Val>) -> Option<u8> {
    match value {
        Some(Val::Here(n)) => Some(*n),
        _ => None,
    }
}

/// What is wanted of one register.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    Put {
        value: u8,
        only_new: bool,
    },
    Delete,
    Bucket(Change<u8>),
    /// A setting of the bucket changes: any change of its generation will do.
    Configure,
    /// The bucket goes, however it is found: weakened.
    RemoveAnyhow,
}

impl Intent<Val> for Plan {
    fn decide(&self, found: Option<&Val>) -> Choice<Val> {
        match (*self, bucket_of(found)) {
            (Plan::Put { only_new: true, .. }, _) if object_of(found).is_some() => Choice::Refuse,
            (Plan::Put { value, .. }, _) => Choice::Put(Val::Here(value)),
            (Plan::Delete, _) if object_of(found).is_none() => Choice::Keep,
            (Plan::Delete | Plan::RemoveAnyhow, _) => Choice::Put(Val::Gone),
            (Plan::Configure, Some((id, bucket))) if bucket.is_open => {
                Choice::Put(Val::Bucket { id, bucket: Bucket { generation: bucket.generation + 1, ..bucket } })
            }
            (Plan::Configure, _) => Choice::Refuse,
            (Plan::Bucket(change), bucket) => match change.decide(bucket) {
                Choice::Put(Some((id, bucket))) => Choice::Put(Val::Bucket { id, bucket }),
                Choice::Put(None) => Choice::Put(Val::Gone),
                Choice::Keep => Choice::Keep,
                Choice::Refuse => Choice::Refuse,
            },
        }
    }
}
