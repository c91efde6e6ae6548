//! The overlay: what the log holds and the index does not yet, ordered for lookups and listings.
//!
//! Invariants
//! - A read that finds a key here needs nothing else: the overlay is always newer than the index.
//! - `frozen` is dropped only after the index has it durably.
//! - What a layer has dropped of a segment is counted by what lay below it: the index, and under the active layer also one
//!   that is frozen. A layer is brought to the index whole.
//! - What was forgotten hides what older layers and the index hold of it, until the index has forgotten it too.
//! - A layer takes the operations of a batch and what they change of references together: see `references`.

use super::dropped::Dropped;
use super::entry::{Held, NodeRecord, Op};
use super::places::{Place, SegmentId, Usages, moved};
use super::references::{References, only_in};
use super::walk_place::WalkPlace;
use crate::base::{BlobRef, BodyId, BucketId, BucketUsage, Incarnation, Record, RegisterKey};
use crate::register::Kept;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One generation of not yet indexed commits.
#[derive(Debug, Default)]
pub struct Layer {
    /// The latest state of each register.
    pub records: BTreeMap<RegisterKey, Arc<Held>>,
    /// Registers that hold nothing any more, whatever lies below this layer.
    pub forgotten: BTreeSet<RegisterKey>,
    /// Whether nothing that lies below this layer counts.
    pub cleared: bool,
    /// The change feed's view of the same.
    pub by_seq: BTreeMap<u64, RegisterKey>,
    /// How many more records refer to bodies by this layer, or fewer.
    pub references: References,
    /// Small bodies that came with their records: what they are, and their sealed bytes.
    pub small: BTreeMap<BodyId, (BlobRef, Bytes)>,
    /// Where bodies lie in segments, as far as that changed; `None`: in none any more.
    pub places: BTreeMap<BodyId, Option<Place>>,
    /// Of each segment: bytes of what lies there by this layer, and where the last of all that did for a while ends.
    pub placed: Usages,
    /// What buckets hold by the end of this layer, of those that it has changed.
    pub usage: BTreeMap<BucketId, BucketUsage>,
    /// What lies in segments below this layer and elsewhere by it. Of a frozen layer the overlay has it.
    pub dropped: Dropped,
    /// How far peers have acknowledged the feed, if that moved since the last checkpoint.
    pub cursors: BTreeMap<Incarnation, u64>,
    /// What the node keeps for its votes, if it changed.
    pub node: Option<NodeRecord>,
    /// What is remembered of the other nodes, if it changed.
    pub memory: Option<Kept>,
    /// How far a walk has come that seals keys anew, if it has moved; `Some(None)`: there is none any more.
    pub resealing: Option<Option<WalkPlace>>,
    /// The log position behind the last frame in it.
    pub log_end: u64,
    /// Memory, roughly, in bytes.
    pub weight: u64,
}

impl Layer {
    /// Takes a batch in: its operations, and what they change of references, as whoever decided them knows.
    pub fn take(&mut self, ops: Vec<Op>, references: References) {
        if ops.iter().any(|op| matches!(op, Op::Clear { .. })) {
            self.references = References::default();
        }
        self.references.add(references);
        ops.into_iter().for_each(|op| self.apply(op));
    }

    /// Takes one operation in.
    pub fn apply(&mut self, op: Op) {
        match op {
            // Nothing is marked that is not in the log or the index: see `open`.
            Op::Mark { held: None, .. } => {}
            Op::Node(node) => self.node = Some(node),
            Op::Memory(kept) => self.memory = Some(kept),
            Op::Record { key, held } => {
                self.take_small(&held.record);
                self.hold(key, held);
            }
            // Its small body may be at hand, and is where it was.
            Op::Mark { key, held: Some(held), .. } => self.hold(key, held),
            // What holds nothing of that ballot any more keeps what it has: see `open`.
            Op::Reseal { held: None, .. } => {}
            Op::Reseal { key, held: Some(held), .. } => self.reseal(key, held),
            Op::Forget { key, .. } => {
                if let Some(old) = self.records.remove(&key) {
                    self.replaced(&old, None);
                }
                self.weight += key.as_bytes().len() as u64 + 64;
                self.forgotten.insert(key);
            }
            Op::Clear { .. } => {
                self.records.clear();
                self.forgotten.clear();
                self.by_seq.clear();
                self.usage.clear();
                // Bodies lie where they lay: see `orphans`. Small ones come to lie there with the checkpoint.
                let small: u64 = self.small.values().map(|(_, sealed)| sealed.len() as u64).sum();
                (self.cleared, self.weight) = (true, small);
            }
            Op::Cursor { peer, seq } => {
                // The later one counts, lower or not: a peer that dropped what it had begins at the front again.
                self.cursors.insert(peer, seq);
            }
            Op::Place { body, place } => {
                self.small.remove(&body);
                self.place(body, Some(place));
            }
            Op::Unplace { body } => self.place(body, None),
            Op::Usage { bucket, usage } => drop(self.usage.insert(bucket, usage)),
        }
    }

    fn hold(&mut self, key: RegisterKey, held: Arc<Held>) {
        self.weight += held.weight() + key.as_bytes().len() as u64;
        self.by_seq.insert(held.seq, key.clone());
        self.forgotten.remove(&key);
        if let Some(old) = self.records.insert(key, Arc::clone(&held)) {
            self.replaced(&old, Some(&held.record));
        }
    }

    /// A register holds the same state, with its keys sealed anew: its number and its bodies are as they were, in
    /// whichever layer they came.
    fn reseal(&mut self, key: RegisterKey, held: Arc<Held>) {
        self.weight += held.weight() + key.as_bytes().len() as u64;
        if let Some(old) = self.records.insert(key, held) {
            self.weight = self.weight.saturating_sub(old.weight());
        }
    }

    /// Keeps the small body that came with a record.
    fn take_small(&mut self, record: &Record) {
        if let (Some(of), Some(sealed)) = (record.bodies().next(), record.in_hand()) {
            self.small.insert(of.body, (of, sealed.clone()));
            // It gets its place with the checkpoint, whatever was said of it before. That it had another one stays
            // known: where the index has it is looked up once.
            if let Some(place) = self.places.get_mut(&of.body) {
                moved(&mut self.placed, place.take(), None);
            }
        }
    }

    fn place(&mut self, body: BodyId, place: Option<Place>) {
        let was = self.places.insert(body, place);
        if was.is_none() {
            self.weight += 64;
            self.dropped.changed(body, place.is_some());
        }
        moved(&mut self.placed, was.flatten(), place);
    }

    /// Bytes that this layer has in a segment.
    fn live_in(&self, segment: SegmentId) -> u64 {
        self.placed.get(&segment).map_or(0, |usage| usage.live)
    }

    /// A state of a register in this layer has gone; `now` follows it and keeps the bodies that it refers to.
    fn replaced(&mut self, old: &Held, now: Option<&Record>) {
        self.by_seq.remove(&old.seq);
        self.weight = self.weight.saturating_sub(old.weight());
        for body in only_in(Some(&old.record), now) {
            // Another record of this layer may have it too.
            if self.references.of(body) <= 0 {
                self.small.remove(&body);
            }
        }
    }

    /// Where a body lies by this layer; `None`: where it lay before.
    pub fn lies(&self, body: BodyId) -> Option<Lies> {
        if self.small.contains_key(&body) {
            return Some(Lies::Coming);
        }
        self.places.get(&body).map(|place| place.map_or(Lies::Nowhere, Lies::At))
    }

    fn get(&self, key: &RegisterKey) -> Here<'_> {
        match self.records.get(key) {
            Some(held) => Here::Held(held),
            None if self.cleared || self.forgotten.contains(key) => Here::Nothing,
            None => Here::Unknown,
        }
    }

    /// Whether there is nothing to bring to the index.
    pub fn is_empty(&self) -> bool {
        let unchanged = self.records.is_empty() && self.forgotten.is_empty() && !self.cleared;
        unchanged && self.places.is_empty() && self.cursors.is_empty() && self.node.is_none() && self.memory.is_none()
    }
}

/// Where a body lies, as far as segments go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// There.
    At(Place),
    /// In none yet: it is a small one that the log has.
    Coming,
    /// In none.
    Nowhere,
}

/// What the overlay knows of a register.
#[derive(Clone, Copy, Debug)]
pub enum Here<'a> {
    /// The latest state of the register.
    Held(&'a Arc<Held>),
    /// That it holds nothing any more, whatever the index says.
    Nothing,
    /// Nothing: the index has its latest state, if it has one.
    Unknown,
}

/// The layer that grows and the one that is being brought to the index.
#[derive(Debug, Default)]
pub struct Overlay {
    /// The layer that takes new commits.
    pub active: Layer,
    /// The layer that a checkpoint is bringing to the index; none between checkpoints, unless one found no room.
    pub frozen: Option<Arc<Layer>>,
    /// What that one has dropped of segments.
    pub frozen_dropped: Dropped,
    /// Counts retired layers, so that a slow reader does not cache what has been replaced meanwhile.
    pub retired: u64,
}

impl Overlay {
    /// Has new commits go to another layer. Whether there is anything to bring to the index.
    pub fn freeze(&mut self) -> bool {
        if self.active.is_empty() {
            return false;
        }
        let mut layer = std::mem::take(&mut self.active);
        self.active.log_end = layer.log_end;
        self.frozen_dropped = std::mem::take(&mut layer.dropped);
        // Readers find it here until the index has it.
        self.frozen = Some(Arc::new(layer));
        true
    }

    /// The frozen layer is in the index.
    pub fn retire(&mut self) {
        self.frozen = None;
        self.frozen_dropped = Dropped::default();
        self.active.dropped.came();
        self.retired += 1;
    }

    /// What one of the two layers has dropped of segments.
    pub fn dropped(&mut self, of_frozen: bool) -> &mut Dropped {
        if of_frozen { &mut self.frozen_dropped } else { &mut self.active.dropped }
    }

    /// What is known here of a register.
    pub fn get(&self, key: &RegisterKey) -> Here<'_> {
        match (self.active.get(key), &self.frozen) {
            (Here::Unknown, Some(frozen)) => frozen.get(key),
            (here, _) => here,
        }
    }

    /// Whether a record here may be all that refers to a body. A frozen record that was superseded counts too.
    pub fn adds(&self, body: BodyId) -> bool {
        self.layers().any(|layer| layer.references.of(body) > 0)
    }

    /// How many more records refer to a body than the index counts, and whether what that counts still holds.
    pub fn references(&self, body: BodyId) -> (i64, bool) {
        let mut more = 0;
        for layer in self.layers() {
            more += layer.references.of(body);
            if layer.cleared {
                return (more, false);
            }
        }
        (more, true)
    }

    /// Takes in an operation of a log that is read back. What lies here is known to be replaced; what the index has of
    /// the register counts on, until that has taken the layer in.
    pub fn replay(&mut self, op: Op) {
        let (mut references, here) = (References::default(), |key| match self.get(key) {
            Here::Held(held) => Some(Arc::clone(held)),
            Here::Nothing | Here::Unknown => None,
        });
        match &op {
            Op::Record { key, held } => references.replaced(here(key).as_deref().map(record_of), Some(&held.record)),
            Op::Forget { key, .. } => references.replaced(here(key).as_deref().map(record_of), None),
            // A mark changes no body.
            _ => {}
        }
        self.active.take(vec![op], references);
    }

    /// The sealed bytes of a small body that has no place yet.
    pub fn small(&self, body: BodyId) -> Option<&Bytes> {
        for layer in self.layers() {
            if let Some((_, sealed)) = layer.small.get(&body) {
                return Some(sealed);
            }
            if layer.places.contains_key(&body) {
                return None;
            }
        }
        None
    }

    /// Where a body lies, as far as that is known here: in no segment, or at a place. `None`: the index knows.
    pub fn place(&self, body: BodyId) -> Option<Option<Place>> {
        self.layers().find_map(|layer| layer.places.get(&body).copied())
    }

    /// Bytes of what is named in a segment, or may be, where the index has that many.
    pub fn live_in(&self, segment: SegmentId, indexed: u64) -> u64 {
        let frozen = self.frozen.as_ref().map_or(0, |layer| layer.live_in(segment));
        let below = indexed.saturating_sub(self.frozen_dropped.of(segment)) + frozen;
        below.saturating_sub(self.active.dropped.of(segment)) + self.active.live_in(segment)
    }

    /// A peer's cursor, if it moved lately.
    pub fn cursor(&self, peer: Incarnation) -> Option<u64> {
        let frozen = self.frozen.as_ref().and_then(|f| f.cursors.get(&peer));
        self.active.cursors.get(&peer).or(frozen).copied()
    }

    /// The layers, newest first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.active).chain(self.frozen.as_deref())
    }
}

fn record_of(held: &Held) -> &Record {
    &held.record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{
        Ballot, BodyAt, BucketId, BucketName, BucketRecord, Etag, KekId, Lineage, ObjectHead, ObjectRecord,
    };
    use crate::base::{Epoch, InHand, Record, Stamp, State, Wrap};

    fn op(name: &str, seq: u64) -> Op {
        let ballot = Ballot { stamp: Stamp(seq), node: Incarnation(1) };
        let record = Record {
            ballot,
            lineage: Lineage::NOTHING,
            written_ms: 0,
            state: State::Bucket(BucketRecord::made(BucketId(7), 1)),
        };
        let key = RegisterKey::bucket(&BucketName::parse(name).unwrap());
        Op::Record { key, held: Arc::new(Held::new(record, true, seq, None)) }
    }

    #[test]
    fn a_cursor_goes_back_when_the_peer_has_dropped_what_it_had() {
        let mut layer = Layer::default();
        for seq in [7, 9, 0] {
            layer.apply(Op::Cursor { peer: Incarnation(3), seq });
            assert_eq!(layer.cursors.get(&Incarnation(3)), Some(&seq), "the later one counts");
        }
    }

    #[test]
    fn a_key_keeps_only_its_latest_number() {
        let mut layer = Layer::default();
        for (name, seq) in [("aaa", 1), ("bbb", 2), ("aaa", 3)] {
            layer.apply(op(name, seq));
        }
        assert_eq!(layer.by_seq.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(layer.records.len(), 2);
    }

    #[test]
    fn the_active_layer_hides_the_frozen_one() {
        let mut overlay = Overlay::default();
        overlay.active.apply(op("aaa", 1));
        assert!(overlay.freeze());
        overlay.active.apply(op("aaa", 5));
        let key = RegisterKey::bucket(&BucketName::parse("aaa").unwrap());
        assert!(matches!(overlay.get(&key), Here::Held(held) if held.seq == 5));
    }

    #[test]
    fn what_was_forgotten_hides_what_lies_below_until_it_is_written_again() {
        let name = |name: &str| RegisterKey::bucket(&BucketName::parse(name).unwrap());
        let mut overlay = Overlay::default();
        overlay.active.apply(op("aaa", 1));
        overlay.active.apply(op("bbb", 2));
        assert!(overlay.freeze());
        let ballot = Ballot { stamp: Stamp(1), node: Incarnation(1) };
        overlay.active.apply(Op::Forget { key: name("aaa"), ballot });
        assert!(matches!(overlay.get(&name("aaa")), Here::Nothing) && !overlay.active.is_empty());
        assert!(matches!(overlay.get(&name("ccc")), Here::Unknown));
        overlay.active.apply(op("aaa", 3));
        assert!(matches!(overlay.get(&name("aaa")), Here::Held(held) if held.seq == 3));
        overlay.active.apply(Op::Forget { key: name("aaa"), ballot });
        assert!(overlay.active.by_seq.is_empty() && matches!(overlay.get(&name("aaa")), Here::Nothing));
        overlay.active.apply(Op::Clear { epoch: Epoch(4) });
        overlay.active.apply(op("ccc", 4));
        assert!(matches!(overlay.get(&name("bbb")), Here::Nothing));
        assert!(matches!(overlay.get(&name("ccc")), Here::Held(held) if held.seq == 4));
    }

    fn small(body: BodyId, sealed: Vec<u8>) -> Op {
        let object = ObjectRecord {
            number: 1,
            len: 1,
            etag: Etag::Digest,
            checksum: None,
            head: ObjectHead::default(),
            body,
            sealed_len: sealed.len() as u64,
            digest: [1; 32],
            wrap: Wrap { kek: KekId([0; 16]), nonce: [0; 12], sealed: [0; 48] },
            at: BodyAt::Small(InHand::from(Bytes::from(sealed))),
            uploads: crate::base::Uploads::NONE,
        };
        let ballot = Ballot { stamp: Stamp(1), node: Incarnation(1) };
        let state = State::Object(Box::new(object));
        let record = Record { ballot, lineage: Lineage::NOTHING, written_ms: 0, state };
        let key = RegisterKey::bucket(&BucketName::parse("aaa").unwrap());
        Op::Record { key, held: Arc::new(Held::new(record, true, 1, None)) }
    }

    #[test]
    fn where_a_small_body_lay_before_it_came_again_is_dropped_once() {
        let (body, place) = (BodyId([3; 16]), Place { segment: SegmentId(1), offset: 4096, len: 36 });
        let mut overlay = Overlay::default();
        overlay.active.apply(Op::Place { body, place });
        assert_eq!(overlay.live_in(SegmentId(1), 0), 100);
        overlay.active.apply(small(body, vec![7; 36]));
        assert_eq!(overlay.live_in(SegmentId(1), 0), 0, "it gets another one");
        assert_eq!((overlay.place(body), overlay.small(body).map(Bytes::len)), (Some(None), Some(36)));
        overlay.active.apply(op("aaa", 2));
        overlay.active.apply(Op::Unplace { body });
        assert_eq!(overlay.small(body), None);
        let asked = [(); 3].map(|()| overlay.active.dropped.take(true, 9));
        assert_eq!(asked.concat(), [body], "it is looked up once where the index has it");
    }

    #[test]
    fn a_small_body_outlasts_its_record_when_a_node_is_given_its_place_anew() {
        let body = BodyId([3; 16]);
        let mut overlay = Overlay::default();
        overlay.active.apply(small(body, vec![7; 36]));
        assert!(overlay.freeze());
        overlay.active.apply(small(BodyId([4; 16]), vec![8; 36]));
        overlay.active.apply(Op::Clear { epoch: Epoch(4) });
        assert!(overlay.small(body).is_some() && overlay.small(BodyId([4; 16])).is_some());
        assert_eq!(overlay.active.weight, 36);
    }
}
