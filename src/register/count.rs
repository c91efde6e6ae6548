//! Count: whether something lies in a bucket that a deletion closed, by what replicas show of it.
//!
//! Invariants
//! - Who shows something holds the bucket as this deletion closed it, and was asked with as many others as make a
//!   majority. Whatever present state is ever chosen was granted by one of them before that: so it is shown.
//! - What one of them holds that is not known to be chosen may become it yet, by those who do not hold the bucket as
//!   closed and are not counted. So a plain question says nothing of it: a majority promises a higher ballot first.
//! - What cannot be made chosen any more, and is stored somewhere, counts as there.

use super::fence::{Fence, FenceRules};
use super::members::Members;
use super::read::{Read, ReadOutcome};
use super::slot::Value;
use crate::base::Incarnation;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is shown of some registers of a closed bucket.
#[derive(Clone, Debug)]
pub struct Count<K> {
    rules: FenceRules,
    /// Whether all that show it know it to be chosen.
    shown: BTreeMap<K, bool>,
}

impl<K: Ord> Count<K> {
    /// Of registers behind this fence; nothing is shown yet.
    pub fn new(fence: Fence) -> Self {
        Count { rules: fence.rules(), shown: BTreeMap::new() }
    }

    /// One that counts holds something in this register, or what is not known to be chosen.
    pub fn shows(&mut self, key: K, chosen: bool) {
        if chosen || self.rules.tentative_shows {
            *self.shown.entry(key).or_insert(true) &= chosen;
        }
    }

    /// What has to be asked about each of them, in order; whatever is not asked about is not there.
    pub fn questions(self) -> impl Iterator<Item = (K, Question)> {
        let rules = self.rules;
        let settles = move |is_chosen: bool| !is_chosen && rules.tentative_is_settled;
        self.shown.into_iter().map(move |(key, is_chosen)| (key, Question { settles: settles(is_chosen) }))
    }
}

/// How a majority is asked what it holds in a register that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    settles: bool,
}

impl Question {
    /// The read that asks, from a coordinator at `me`.
    pub fn read<R: Value>(self, members: Arc<Members>, me: Incarnation) -> Read<R> {
        if self.settles { Read::settle(members) } else { Read::new(members, &[me]) }
    }
}

/// Whether something is there, by how that read ended; none where that is not known.
pub fn is_there<R: Value>(end: &ReadOutcome<R>) -> Option<bool> {
    match end {
        ReadOutcome::Found { state, .. } => Some(state.value.as_ref().is_some_and(Value::keeps_bucket)),
        // It is stored somewhere, and no majority takes it any more; or the bucket is not as it was closed.
        ReadOutcome::Gone => Some(true),
        ReadOutcome::NoMajority | ReadOutcome::Contended => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::record::BucketRecord;
    use crate::base::{Ballot, BucketId, Lineage, Record, State, UploadId, Uploads};
    use crate::register::Traced;

    #[test]
    fn uploads_keep_no_bucket() {
        let found = |state| {
            let record = Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms: 1, state };
            let state = Traced { lineage: Lineage::NOTHING, value: Some(Arc::new(record)) };
            is_there(&ReadOutcome::Found { ballot: Ballot::ZERO, state })
        };
        let uploads = Uploads::NONE.with(UploadId([1; 16])).expect("there is room");
        assert_eq!(found(State::Uploads(uploads)), Some(false));
        assert_eq!(found(State::Deleted), Some(false));
        assert_eq!(found(State::Bucket(BucketRecord::made(BucketId(1), 1))), Some(true));
    }

    #[test]
    fn what_somebody_does_not_know_to_be_chosen_is_settled() {
        let mut count = Count::new(Fence::CONTRACT);
        for (key, chosen) in [("b", true), ("a", true), ("b", false), ("c", false), ("c", true), ("a", true)] {
            count.shows(key, chosen);
        }
        let asked: Vec<_> = count.questions().map(|(key, question)| (key, question.settles)).collect();
        assert_eq!(asked, [("a", false), ("b", true), ("c", true)]);
    }
}
