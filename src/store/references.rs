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

use crate::base::{BodyId, Record};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Bodies that `one` refers to and `other` does not.
pub fn only_in<'a>(one: Option<&'a Record>, other: Option<&'a Record>) -> impl Iterator<Item = BodyId> + 'a {
    let bodies = one.into_iter().flat_map(Record::bodies).map(|blob| blob.body);
    bodies.filter(move |body| !other.is_some_and(|other| other.refers_to(*body)))
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
        Ballot, BodyAt, Etag, Incarnation, KekId, Lineage, ObjectHead, ObjectRecord, Stamp, State, Wrap,
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
