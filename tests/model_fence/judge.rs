//! What clients may see: a bucket that is there or not, with one object in it or none.

use crate::lin::Sequential;

/// A call with its answer.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// The bucket is there now; whether it was before, if that was told.
    Create { existed: Option<bool> },
    /// The bucket was empty, and is gone.
    DeleteBucket,
    /// The object is this now. Only where there was none, with `only_new`.
    Put { value: u8, only_new: bool },
    /// The object is gone; whether there was one, if that was told.
    Delete { existed: Option<bool> },
    /// This is the object.
    Get(Option<u8>),
    /// There is an object already.
    RefusedAsThere,
    /// The bucket is there: it was not empty, or it changed.
    Bucket,
    /// There is no bucket.
    NoBucket,
}

impl Sequential for Op {
    /// None without a bucket.
    type State = Option<Option<u8>>;

    fn apply(&self, state: &Self::State) -> Option<Self::State> {
        match (*self, *state) {
            (Op::Create { existed }, None) => existed.is_none_or(|existed| !existed).then_some(Some(None)),
            (Op::Create { existed }, Some(_)) => existed.is_none_or(|existed| existed).then_some(*state),
            // Who deletes at the same time as somebody else is told that it is gone, too.
            (Op::DeleteBucket, None | Some(None)) => Some(None),
            (Op::Put { value, only_new }, Some(there)) => (there.is_none() || !only_new).then_some(Some(Some(value))),
            (Op::Delete { existed }, Some(there)) => {
                existed.is_none_or(|existed| existed == there.is_some()).then_some(Some(None))
            }
            (Op::Get(saw), Some(there)) => (saw == there).then_some(*state),
            (Op::RefusedAsThere, Some(Some(_))) | (Op::Bucket, Some(_)) | (Op::NoBucket, None) => Some(*state),
            _ => None,
        }
    }
}
