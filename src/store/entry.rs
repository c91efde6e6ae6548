//! What a commit writes: the operations of a log frame, and a record as the index keeps it.
//!
//! Layout: docs/format.md, "Commit log" and "Index".

use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::record::RECORD_BYTES_MAX;
use crate::base::{Incarnation, Record, RegisterKey};
use crate::seal::body::BodyOpener;
use std::sync::{Arc, OnceLock};

/// Least bytes of an encoded operation, to check a count before memory is taken.
const OP_BYTES_MIN: usize = 17;

/// One operation of a frame.
#[derive(Clone, Debug)]
pub enum Op {
    /// A register has a new state.
    Record {
        /// Which register.
        key: RegisterKey,
        /// Its state.
        held: Arc<Held>,
    },
    /// A peer has acknowledged the feed up to here.
    Cursor {
        /// Which life of the peer.
        peer: Incarnation,
        /// The highest number below which all is acknowledged.
        seq: u64,
    },
}

/// A record with what only this node says of it.
#[derive(Debug)]
pub struct Held {
    /// The record.
    pub record: Record,
    /// This node's number of the commit that stored it.
    pub seq: u64,
    /// The peer it was learned from, if it was.
    pub learned_from: Option<Incarnation>,
    /// The body's expanded keys, once somebody has opened it.
    pub opener: OnceLock<Arc<BodyOpener>>,
}

impl Held {
    /// A record that was just decided.
    pub fn new(record: Record, seq: u64, learned_from: Option<Incarnation>) -> Self {
        Held { record, seq, learned_from, opener: OnceLock::new() }
    }

    /// Bytes that it takes in memory, roughly.
    pub fn weight(&self) -> u64 {
        let inline = self.record.object().map_or(0, |o| match &o.at {
            crate::base::BodyAt::Inline(bytes) => bytes.len(),
            crate::base::BodyAt::Blob => 0,
        });
        1024 + inline as u64
    }

    /// The index's value: `seq | learned_from or 0 | record`.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u64(self.seq).u64(self.learned_from.map_or(0, |i| i.0)).raw(&self.record.encode());
        w.0
    }

    /// Reads the index's value.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let (seq, from) = (r.u64()?, r.u64()?);
        Ok(Held::new(Record::decode(r.0)?, seq, (from != 0).then_some(Incarnation(from))))
    }
}

/// A frame's payload: `index sequence | count | operations`.
///
/// The sequence is that of the newest index state known to be durable when the frame was written:
/// an older index than the log has seen is damage.
pub fn encode_frame(index_sequence: u64, ops: &[Op]) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(512 * ops.len() + 16));
    w.u64(index_sequence).u32(u32::try_from(ops.len()).expect("a batch is bounded"));
    for op in ops {
        match op {
            Op::Record { key, held } => w.u8(1).bytes(key.as_bytes()).bytes(&held.encode()),
            Op::Cursor { peer, seq } => w.u8(2).u64(peer.0).u64(*seq),
        };
    }
    w.0
}

/// The index sequence of a frame's payload; 0 for a skip frame (no bytes).
pub fn frame_sequence(payload: &[u8]) -> Result<u64, CodecError> {
    if payload.is_empty() { Ok(0) } else { Reader(payload).u64() }
}

/// Reads a frame's payload; a skip frame (no bytes) holds no operations.
pub fn decode_frame(payload: &[u8]) -> Result<Vec<Op>, CodecError> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    let mut r = Reader(payload);
    r.u64()?;
    let count = usize::try_from(r.u32()?).map_err(|_| CodecError::Value("operation count"))?;
    if count > r.0.len() / OP_BYTES_MIN + 1 {
        return Err(CodecError::Value("operation count"));
    }
    let mut ops = Vec::with_capacity(count);
    for _ in 0..count {
        ops.push(match r.u8()? {
            1 => {
                let key = RegisterKey::from_bytes(r.bytes(RegisterKey::BYTES_MAX, "register key")?)
                    .ok_or(CodecError::Value("register key"))?;
                let held = Held::decode(r.bytes(RECORD_BYTES_MAX + 16, "record")?)?;
                Op::Record { key, held: Arc::new(held) }
            }
            2 => Op::Cursor { peer: Incarnation(r.u64()?), seq: r.u64()? },
            _ => return Err(CodecError::Value("operation")),
        });
    }
    r.end()?;
    Ok(ops)
}
