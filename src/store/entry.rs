//! What a commit writes: the operations of a log frame, and a record as the index keeps it.
//!
//! Layout: docs/format.md, "Commit log" and "Index".

use super::places::{Place, SegmentId};
use super::sealed_keys::{self, SEALED_KEY_BYTES_MAX};
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::record::{RECORD_BYTES_MAX, SMALL_SEALED_BYTES_MAX};
use crate::base::{Ballot, BodyId, BucketId, BucketUsage, Epoch, Incarnation, NodeName, ObjectRecord, Record};
use crate::base::{RegisterKey, Stamp, State};
use crate::register::{Kept, NodeState, Roster, Slot, Start, Traced};
use crate::seal::body::BodyOpener;
use bytes::Bytes;
use std::sync::{Arc, OnceLock};

/// Least bytes of an encoded operation, to check a count before memory is taken.
const OP_BYTES_MIN: usize = 9;

/// What an operation begins with in a frame.
mod tag {
    pub const RECORD: u8 = 1;
    pub const CURSOR: u8 = 2;
    pub const MARK: u8 = 3;
    pub const NODE: u8 = 4;
    pub const FORGET: u8 = 5;
    pub const CLEAR: u8 = 6;
    pub const MEMORY: u8 = 7;
    pub const PLACE: u8 = 8;
    pub const UNPLACE: u8 = 9;
    pub const USAGE: u8 = 10;
    pub const RESEAL: u8 = 11;
}

/// One operation of a frame.
#[derive(Clone, Debug)]
pub enum Op {
    /// A register has a new state. Its small body goes along where it is at hand.
    Record {
        /// Which register; it may have held something before.
        key: RegisterKey,
        /// What it holds from now on, under this node's commit number.
        held: Arc<Held>,
    },
    /// What a register holds has become chosen.
    Mark {
        /// The register whose state became chosen.
        key: RegisterKey,
        /// The ballot of what it holds.
        ballot: Ballot,
        /// This node's number of the commit.
        seq: u64,
        /// What it holds, marked. Not in the log: found there or in the index when the log is replayed.
        held: Option<Arc<Held>>,
    },
    /// What the node keeps for its votes.
    Node(NodeRecord),
    /// A register holds nothing any more, as if it had never been written: its tombstone was dropped.
    Forget {
        /// The register whose tombstone was dropped.
        key: RegisterKey,
        /// The ballot of what it held.
        ballot: Ballot,
    },
    /// No register holds anything any more: the node was given its place anew.
    Clear {
        /// The epoch in which the node has its place.
        epoch: Epoch,
    },
    /// What is remembered of the other nodes.
    Memory(Kept),
    /// The keys in what a register holds are sealed under another generation. It holds the same state, under the same
    /// number: nobody else hears of it.
    Reseal {
        /// The register whose keys were sealed anew.
        key: RegisterKey,
        /// The ballot of what it holds.
        ballot: Ballot,
        /// Its keys, sealed: see `sealed_keys`.
        seals: Vec<Box<[u8]>>,
        /// What it holds, with these. Not in the log: found there or in the index when the log is replayed.
        held: Option<Arc<Held>>,
    },
    /// A peer has acknowledged the feed up to here.
    Cursor {
        /// Which life of the peer.
        peer: Incarnation,
        /// The highest number below which all is acknowledged.
        seq: u64,
    },
    /// A body lies there, durably, wherever it lay before.
    Place {
        /// Which body.
        body: BodyId,
        /// Where it lies.
        place: Place,
    },
    /// A body lies in no segment any more.
    Unplace {
        /// Which body.
        body: BodyId,
    },
    /// A bucket holds that by all that was said up to here.
    Usage {
        /// Which life of a bucket.
        bucket: BucketId,
        /// All that it holds then.
        usage: BucketUsage,
    },
}

/// A record with what only this node says of it.
#[derive(Debug)]
pub struct Held {
    /// The record as all replicas keep it, byte for byte.
    pub record: Arc<Record>,
    /// Whether a majority is known to store it under its ballot.
    pub chosen: bool,
    /// This node's number of the commit that stored it.
    pub seq: u64,
    /// The peer it was learned from, if it was.
    pub learned_from: Option<Incarnation>,
    /// The body's expanded keys, once somebody has opened it.
    pub opener: OnceLock<Arc<BodyOpener>>,
}

impl Held {
    /// A record that was just decided.
    pub fn new(record: impl Into<Arc<Record>>, chosen: bool, seq: u64, learned_from: Option<Incarnation>) -> Self {
        Held { record: record.into(), chosen, seq, learned_from, opener: OnceLock::new() }
    }

    /// The same record, known to be chosen, at a later commit.
    pub fn marked(&self, seq: u64) -> Self {
        let opener = self.opener.clone();
        Held { record: Arc::clone(&self.record), chosen: true, seq, learned_from: self.learned_from, opener }
    }

    /// The same state with its keys sealed anew; `None` where that are not its keys.
    pub fn resealed(&self, seals: &[Box<[u8]>]) -> Option<Self> {
        let record = Arc::new(sealed_keys::with_seals(&self.record, seals)?);
        // The keys themselves are the same.
        let opener = self.opener.clone();
        Some(Held { record, chosen: self.chosen, seq: self.seq, learned_from: self.learned_from, opener })
    }

    /// It with its small body at hand, as the log has it.
    fn with_small(self, sealed: &[u8]) -> Result<Self, CodecError> {
        let mut record = Arc::unwrap_or_clone(self.record);
        record.set_in_hand(Some(Bytes::copy_from_slice(sealed)))?;
        Ok(Held::new(record, self.chosen, self.seq, self.learned_from))
    }

    /// It as the register sees it.
    pub fn slot(&self) -> Slot<Arc<Record>> {
        let nothing = self.record.state == State::Nothing;
        let value = (!nothing).then(|| Arc::clone(&self.record));
        let state = Traced { lineage: self.record.lineage, value };
        Slot { accepted: self.record.ballot, chosen: self.chosen, state }
    }

    /// Whether it is a tombstone that is known to be chosen, or nothing at all: lists need not know of it.
    pub fn is_dead(&self) -> bool {
        self.chosen && !self.record.is_present()
    }

    /// Bytes that it takes in memory, roughly: of the small body too, where that is at hand.
    pub fn weight(&self) -> u64 {
        let own = size_of::<Self>() + size_of::<Record>();
        let more = self.record.object().map_or(0, |_| size_of::<ObjectRecord>() + size_of::<BodyOpener>());
        // What the allocator and whoever keeps it add.
        (own + more + self.record.variable_len() + self.record.in_hand_len() + 128) as u64
    }

    /// The index's value: `seq | learned_from or 0 | chosen | record`.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(self.seq).u64(self.learned_from.map_or(0, |i| i.0)).u8(u8::from(self.chosen));
        w.raw(&self.record.encode());
        w.0
    }

    /// Reads the index's value.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let (seq, from, chosen) = (r.u64()?, r.u64()?, r.u8()?);
        if chosen > 1 {
            return Err(CodecError::Value("chosen mark"));
        }
        Ok(Held::new(Record::decode(r.0)?, chosen == 1, seq, (from != 0).then_some(Incarnation(from))))
    }
}

/// What a node keeps for its votes, besides the registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// What the replica has reserved, and where it votes.
    pub state: NodeState,
    /// The member list that it knows; none before the cluster has formed.
    pub roster: Option<Arc<Roster>>,
    /// The newest start of the node on this directory.
    pub start: Start,
    /// The name that the node had when it last started among others; none of one that never did.
    pub name: Option<NodeName>,
    /// Whether a majority has told the node once, since it was given its place, that there is no access key.
    pub keyless: bool,
}

/// In the place of `keyless`.
const UNTOLD: u8 = 1;
const KEYLESS: u8 = 2;

impl NodeRecord {
    /// Most bytes of it.
    pub const BYTES_MAX: usize = 17 + 16 + 4 + NodeName::BYTES_MAX + Roster::BYTES_MAX;

    /// What a new data directory begins with.
    pub const NEW: NodeRecord = NodeRecord {
        state: NodeState::NEW,
        roster: None,
        start: Start { number: 0, draw: 0 },
        name: None,
        keyless: false,
    };

    /// Its bytes: `reserved | epoch | 1, or 2 where it is keyless | start | name or nothing | member list, if any`.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(self.state.reserved.0).u64(self.state.epoch.0).u8(if self.keyless { KEYLESS } else { UNTOLD });
        w.u64(self.start.number).u64(self.start.draw).text(self.name.as_ref().map_or("", NodeName::as_str));
        if let Some(roster) = &self.roster {
            roster.write(&mut w);
        }
        w.0
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let (reserved, epoch) = (Stamp(r.u64()?), Epoch(r.u64()?));
        let keyless = match r.u8()? {
            UNTOLD => false,
            KEYLESS => true,
            _ => return Err(CodecError::Value("vote mark")),
        };
        let start = Start { number: r.u64()?, draw: r.u64()? };
        let name = match r.text(NodeName::BYTES_MAX, "node name")? {
            "" => None,
            name => Some(NodeName::parse(name).ok_or(CodecError::Value("node name"))?),
        };
        let roster = if r.0.is_empty() { None } else { Some(Arc::new(Roster::read(&mut r)?)) };
        r.end()?;
        Ok(NodeRecord { state: NodeState { reserved, epoch }, roster, start, name, keyless })
    }
}

fn read_key(r: &mut Reader<'_>) -> Result<RegisterKey, CodecError> {
    let bytes = r.bytes(RegisterKey::BYTES_MAX, "register key")?;
    RegisterKey::from_bytes(bytes).ok_or(CodecError::Value("register key"))
}

fn write_op(w: &mut Writer, op: &Op) {
    match op {
        Op::Record { key, held } => {
            let small = held.record.in_hand().map_or(&[][..], |sealed| sealed);
            w.u8(tag::RECORD).bytes(key.as_bytes()).bytes(&held.encode()).bytes(small)
        }
        Op::Cursor { peer, seq } => w.u8(tag::CURSOR).u64(peer.0).u64(*seq),
        Op::Mark { key, ballot, seq, .. } => {
            w.u8(tag::MARK).bytes(key.as_bytes()).u64(ballot.stamp.0).u64(ballot.node.0).u64(*seq)
        }
        Op::Reseal { key, ballot, seals, .. } => {
            w.u8(tag::RESEAL).bytes(key.as_bytes()).u64(ballot.stamp.0).u64(ballot.node.0);
            w.u8(u8::try_from(seals.len()).expect("a record has few keys"));
            seals.iter().fold(w, |w, sealed| w.bytes(sealed))
        }
        Op::Node(node) => w.u8(tag::NODE).bytes(&node.encode()),
        Op::Forget { key, ballot } => w.u8(tag::FORGET).bytes(key.as_bytes()).u64(ballot.stamp.0).u64(ballot.node.0),
        Op::Clear { epoch } => w.u8(tag::CLEAR).u64(epoch.0),
        Op::Memory(kept) => w.u8(tag::MEMORY).bytes(&kept.encode()),
        Op::Place { body, place } => {
            w.u8(tag::PLACE).raw(&body.0).u32(place.segment.0).u32(place.offset).u32(place.len)
        }
        Op::Unplace { body } => w.u8(tag::UNPLACE).raw(&body.0),
        Op::Usage { bucket, usage } => w.u8(tag::USAGE).u64(bucket.0).u64(usage.objects).u64(usage.bytes),
    };
}

/// Bytes of a payload before its operations.
const FRAME_HEAD_BYTES: usize = 8 + 1 + 4;

/// The operations of a batch as its frames will hold them.
#[derive(Debug, Default)]
pub struct Encoded {
    bytes: Writer,
    /// Where each operation ends.
    ends: Vec<usize>,
}

impl Encoded {
    /// Takes one more operation in.
    pub fn push(&mut self, op: &Op) {
        write_op(&mut self.bytes, op);
        self.ends.push(self.bytes.0.len());
    }

    /// Bytes of all of them.
    pub fn size(&self) -> usize {
        self.bytes.0.len()
    }

    /// Payloads of `payload_max` bytes at most that hold all of them, in order, at least one; longer only where a
    /// single operation is. Each is `index sequence | 1 if the batch goes on in the next frame, else 0 | count |
    /// operations`.
    ///
    /// The sequence is that of the newest index state known to be durable when the frame was written:
    /// an older index than the log has seen is damage.
    pub fn frames(&self, index_sequence: u64, payload_max: usize) -> Vec<Vec<u8>> {
        let room = payload_max.saturating_sub(FRAME_HEAD_BYTES);
        let (mut frames, mut from, mut ends) = (Vec::new(), 0, &self.ends[..]);
        loop {
            // A single operation may be longer than a frame: it gets one to itself.
            let fitting = ends.iter().take_while(|end| **end - from <= room).count().max(1).min(ends.len());
            let (now, later) = ends.split_at(fitting);
            let to = now.last().copied().unwrap_or(from);
            let mut w = Writer(Vec::with_capacity(FRAME_HEAD_BYTES + to - from));
            w.u64(index_sequence).u8(u8::from(!later.is_empty()));
            w.u32(u32::try_from(now.len()).expect("a frame is bounded")).raw(&self.bytes.0[from..to]);
            frames.push(w.0);
            if later.is_empty() {
                return frames;
            }
            (from, ends) = (to, later);
        }
    }
}

/// The index sequence of a frame's payload; 0 for a skip frame (no bytes).
pub fn frame_sequence(payload: &[u8]) -> Result<u64, CodecError> {
    if payload.is_empty() { Ok(0) } else { Reader(payload).u64() }
}

/// Reads a frame's payload: its operations, and whether its batch ends with them.
pub fn decode_frame(payload: &[u8]) -> Result<(Vec<Op>, bool), CodecError> {
    let mut r = Reader(payload);
    r.u64()?;
    let goes_on = r.u8()?;
    if goes_on > 1 {
        return Err(CodecError::Value("batch mark"));
    }
    let count = usize::try_from(r.u32()?).map_err(|_| CodecError::Value("operation count"))?;
    // Before memory is taken for so many.
    if count > r.0.len() / OP_BYTES_MIN + 1 {
        return Err(CodecError::Value("operation count"));
    }
    let mut ops = Vec::with_capacity(count);
    for _ in 0..count {
        ops.push(match r.u8()? {
            tag::RECORD => {
                let key = read_key(&mut r)?;
                let held = Held::decode(r.bytes(RECORD_BYTES_MAX + 17, "record")?)?;
                let small = r.bytes(SMALL_SEALED_BYTES_MAX, "small body")?;
                Op::Record { key, held: Arc::new(if small.is_empty() { held } else { held.with_small(small)? }) }
            }
            tag::CURSOR => Op::Cursor { peer: Incarnation(r.u64()?), seq: r.u64()? },
            tag::MARK => {
                let key = read_key(&mut r)?;
                let ballot = Ballot { stamp: Stamp(r.u64()?), node: Incarnation(r.u64()?) };
                Op::Mark { key, ballot, seq: r.u64()?, held: None }
            }
            tag::RESEAL => {
                let key = read_key(&mut r)?;
                let ballot = Ballot { stamp: Stamp(r.u64()?), node: Incarnation(r.u64()?) };
                let seals = (0..r.u8()?).map(|_| r.bytes(SEALED_KEY_BYTES_MAX, "sealed key").map(Box::from));
                Op::Reseal { key, ballot, seals: seals.collect::<Result<_, _>>()?, held: None }
            }
            tag::NODE => Op::Node(NodeRecord::decode(r.bytes(NodeRecord::BYTES_MAX, "node state")?)?),
            tag::FORGET => {
                let key = read_key(&mut r)?;
                Op::Forget { key, ballot: Ballot { stamp: Stamp(r.u64()?), node: Incarnation(r.u64()?) } }
            }
            tag::CLEAR => Op::Clear { epoch: Epoch(r.u64()?) },
            tag::MEMORY => Op::Memory(Kept::decode(r.bytes(Kept::BYTES_MAX, "memory")?)?),
            tag::PLACE => {
                let body = BodyId(r.array()?);
                let place = Place { segment: SegmentId(r.u32()?), offset: r.u32()?, len: r.u32()? };
                Op::Place { body, place }
            }
            tag::UNPLACE => Op::Unplace { body: BodyId(r.array()?) },
            tag::USAGE => {
                let bucket = BucketId(r.u64()?);
                Op::Usage { bucket, usage: BucketUsage { objects: r.u64()?, bytes: r.u64()? } }
            }
            _ => return Err(CodecError::Value("operation")),
        });
    }
    r.end()?;
    Ok((ops, goes_on == 0))
}

#[cfg(test)]
mod tests;
