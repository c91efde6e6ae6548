//! References: how many records refer to a body, as far as that has changed beside what the index counts.
//!
//! The truth of a body is what the index counts, and what each layer of the overlay adds or takes away. A layer is told
//! so by who decided: it knows what each commit replaced, and nobody has to look that up.
//!
//! Invariants
//! - A record counts once for each body that it refers to.
//! - What a commit takes away and what it adds is told at once, with the commit: nobody sees one without the other.
//! - It is at most too high, never too low: what a log that is read back has replaced in the index counts on until the
//!   index has taken that in.

use crate::base::{BlobRef, BodyId, ObjectRecord, Record};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

/// The bodies of a record, for whoever asks for many of them: one of thousands of parts is not gone through each time.
pub enum Bodies {
    /// One, or none.
    One(Option<BodyId>),
    /// Parts.
    Many(HashSet<BodyId>),
}

impl Bodies {
    /// Those that a record refers to; nothing refers to none.
    pub fn of(record: Option<&Record>) -> Self {
        let object = record.and_then(Record::object);
        match object.and_then(ObjectRecord::parts) {
            None => Bodies::One(object.map(|object| object.body)),
            Some(parts) => Bodies::Many(parts.iter().map(|part| part.blob.body).collect()),
        }
    }

    /// Whether this is one of them.
    pub fn has(&self, body: BodyId) -> bool {
        match self {
            Bodies::One(one) => *one == Some(body),
            Bodies::Many(all) => all.contains(&body),
        }
    }
}

/// Bodies that `one` refers to and `other` does not.
pub fn blobs_only_in<'a>(one: Option<&'a Record>, other: Option<&Record>) -> impl Iterator<Item = BlobRef> + 'a {
    let parts = |record: Option<&'a Record>| record.and_then(Record::object).and_then(ObjectRecord::parts);
    // The list that is stored again: nearly always that of an object whose uploads are begun and ended.
    let is_same =
        parts(one).is_some_and(|these| other.and_then(Record::object).and_then(ObjectRecord::parts) == Some(these));
    let others = if is_same { Bodies::One(None) } else { Bodies::of(other) };
    one.into_iter().filter(move |_| !is_same).flat_map(Record::bodies).filter(move |blob| !others.has(blob.body))
}

/// The same by their ids.
pub fn only_in<'a>(one: Option<&'a Record>, other: Option<&Record>) -> impl Iterator<Item = BodyId> + 'a {
    blobs_only_in(one, other).map(|blob| blob.body)
}

/// How many references more there are to bodies, or fewer.
#[derive(Debug, Default)]
pub struct References(HashMap<BodyId, i64>);

impl References {
    /// A register held `old`, and holds `now`.
    pub fn replaced(&mut self, old: Option<&Record>, now: Option<&Record>) {
        only_in(old, now).for_each(|body| self.change(body, -1));
        only_in(now, old).for_each(|body| self.change(body, 1));
    }

    /// Takes in what came later.
    pub fn add(&mut self, later: References) {
        later.0.into_iter().for_each(|(body, by)| self.change(body, by));
    }

    /// How many more there are to a body.
    pub fn of(&self, body: BodyId) -> i64 {
        self.0.get(&body).copied().unwrap_or(0)
    }

    fn change(&mut self, body: BodyId, by: i64) {
        match self.0.entry(body) {
            Entry::Vacant(entry) => drop(entry.insert(by)),
            // What comes to nothing takes no memory.
            Entry::Occupied(entry) if *entry.get() == -by => drop(entry.remove()),
            Entry::Occupied(mut entry) => *entry.get_mut() += by,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::{
        Ballot, BodyAt, Etag, Incarnation, KekId, Lineage, ObjectHead, ObjectRecord, Part, Parts, Stamp, State, Wrap,
    };

    /// A record of an object with this body, a large one.
    pub(in crate::store) fn record(body: u8) -> Record {
        let object = ObjectRecord {
            number: 1,
            len: 1,
            etag: Etag::Digest,
            checksum: None,
            head: ObjectHead::default(),
            body: BodyId([body; 16]),
            sealed_len: 17,
            digest: [body; 32],
            wrap: Wrap { kek: KekId([0; 16]), nonce: [0; 12], sealed: [0; 48] },
            at: BodyAt::Blob,
            uploads: crate::base::Uploads::NONE,
        };
        let ballot = Ballot { stamp: Stamp(1), node: Incarnation(1) };
        Record { ballot, lineage: Lineage::NOTHING, written_ms: 0, state: State::Object(Box::new(object)) }
    }

    fn of(references: &References) -> [i64; 3] {
        [1, 2, 3].map(|body| references.of(BodyId([body; 16])))
    }

    #[test]
    fn what_is_replaced_is_taken_away_and_what_replaces_it_is_added() {
        let (one, two) = (record(1), record(2));
        let mut references = References::default();
        references.replaced(None, Some(&one));
        references.replaced(None, Some(&one));
        assert_eq!(of(&references), [2, 0, 0], "of two registers");
        references.replaced(Some(&one), Some(&two));
        references.replaced(Some(&two), Some(&two));
        assert_eq!(of(&references), [1, 1, 0], "what is stored again changes nothing");
        references.replaced(Some(&record(3)), None);
        assert_eq!(of(&references), [1, 1, -1], "what lies below");
    }

    /// A record of an object of these parts.
    fn of_parts(bodies: &[u8]) -> Record {
        let part = |(number, body): (u16, &u8)| Part {
            number,
            offset: 0,
            len: 1,
            blob: BlobRef { body: BodyId([*body; 16]), sealed_len: 113, digest: [*body; 32] },
            checksum: None,
        };
        let parts = Parts::new(None, (1..).zip(bodies).map(part)).expect("a list");
        let mut record = record(9);
        let State::Object(object) = &mut record.state else { panic!("an object") };
        object.at = BodyAt::Parts(parts);
        record
    }

    #[test]
    fn an_object_in_parts_counts_for_each_of_them() {
        let (both, second, all) = (of_parts(&[1, 2]), record(2), of_parts(&[3, 2, 1]));
        let mut references = References::default();
        references.replaced(None, Some(&both));
        assert_eq!((of(&references), references.of(BodyId([9; 16]))), ([1, 1, 0], 0), "what stands for them is none");
        references.replaced(Some(&both), Some(&both));
        references.replaced(Some(&both), Some(&all));
        assert_eq!(of(&references), [1, 1, 1]);
        references.replaced(Some(&all), Some(&second));
        assert_eq!(of(&references), [0, 1, 0]);
        references.replaced(Some(&second), Some(&both));
        references.replaced(Some(&both), None);
        assert_eq!(of(&references), [0, 0, 0]);
        let left: Vec<_> = blobs_only_in(Some(&all), Some(&second)).map(|blob| blob.body.0[0]).collect();
        assert_eq!(left, [3, 1], "in their order");
    }

    #[test]
    fn what_comes_later_counts_upon_what_came_before_and_leaves_nothing_that_is_nothing() {
        let mut references = References::default();
        references.replaced(Some(&record(1)), Some(&record(2)));
        let mut later = References::default();
        later.replaced(Some(&record(2)), Some(&record(1)));
        later.replaced(None, Some(&record(3)));
        references.add(later);
        assert_eq!(of(&references), [0, 0, 1]);
        assert_eq!(references.0.len(), 1);
    }
}
