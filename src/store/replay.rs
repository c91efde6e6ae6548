//! What the log holds beyond the index, read back at a start.
//!
//! Invariants
//! - A batch counts whole, or not at all: the rest of its frames may never have come.
//! - An operation that names a state takes effect on that state alone: the index may be ahead of the log's oldest frames.

use super::entry::{Held, Op, decode_frame};
use super::error::StoreError;
use super::index::{Index, Marks};
use super::log::{LogReader, Tail};
use super::overlay::{Here, Overlay};
use super::sealed_keys::each_kek;
use crate::base::{Ballot, KekId, RegisterKey, Stamp};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What the log holds beyond the index.
pub(super) struct Replayed {
    pub overlay: Overlay,
    /// The newest number of the feed, and the highest stamp of a state.
    pub head: u64,
    pub stamp: Stamp,
    /// Whether there was anything.
    pub has_ops: bool,
    /// Generations that keys in it are sealed under.
    pub keks: BTreeSet<KekId>,
    /// Whether the node was given its place anew.
    pub anew: bool,
    pub tail: Tail,
}

/// Reads back what the log holds beyond the index.
pub(super) fn replay(log: LogReader, index: &Index, marks: Marks) -> Result<Replayed, StoreError> {
    let mut overlay = Overlay::default();
    let (mut head, mut stamp) = (marks.seq, marks.stamp);
    let (mut batch, mut has_ops, mut anew) = (Vec::new(), false, false);
    let mut keks = BTreeSet::new();
    let tail = log.replay(marks.log, |payload| {
        let decoded = decode_frame(payload).map_err(|_| StoreError::Corrupt { what: "commit log (an operation)" })?;
        let (ops, ends) = decoded;
        batch.extend(ops);
        // A batch counts whole: the rest of its frames may never have come.
        if !ends {
            return Ok(false);
        }
        for op in batch.drain(..) {
            let op = match op {
                Op::Mark { key, ballot, seq, .. } => marked(&overlay, index, key, ballot, seq)?,
                Op::Reseal { key, ballot, seals, .. } => resealed(&overlay, index, key, ballot, seals)?,
                Op::Forget { key, ballot } if !holds(&overlay, index, &key, ballot)? => continue,
                op => op,
            };
            if let Op::Record { held, .. } | Op::Mark { held: Some(held), .. } = &op {
                head = head.max(held.seq);
                stamp = stamp.max(held.record.ballot.stamp);
            }
            if let Op::Record { held, .. } | Op::Reseal { held: Some(held), .. } = &op {
                each_kek(&held.record, |kek| {
                    keks.insert(kek);
                });
            }
            // A node that was given its place anew since owes nothing for the frames that it had lost.
            anew |= matches!(op, Op::Clear { .. });
            has_ops = true;
            overlay.replay(op);
        }
        Ok(true)
    })?;
    Ok(Replayed { overlay, head, stamp, has_ops, keks, anew, tail })
}

/// What a register holds as far as the log was replayed.
fn present(overlay: &Overlay, index: &Index, key: &RegisterKey) -> Result<Option<Arc<Held>>, StoreError> {
    match overlay.get(key) {
        Here::Held(held) => Ok(Some(Arc::clone(held))),
        Here::Nothing => Ok(None),
        Here::Unknown => Ok(index.get(key)?.map(Arc::new)),
    }
}

/// Whether that is what is to be forgotten: the index may be ahead of the log's oldest frames.
fn holds(overlay: &Overlay, index: &Index, key: &RegisterKey, ballot: Ballot) -> Result<bool, StoreError> {
    Ok(present(overlay, index, key)?.is_some_and(|held| held.record.ballot == ballot))
}

/// A mark of the log with the record that it marks.
fn marked(overlay: &Overlay, index: &Index, key: RegisterKey, ballot: Ballot, seq: u64) -> Result<Op, StoreError> {
    let held = present(overlay, index, &key)?;
    // The index may be ahead of the log's oldest frames: then the key holds something newer already.
    let held = held.filter(|held| held.record.ballot == ballot && held.seq <= seq);
    Ok(Op::Mark { key, ballot, seq, held: held.map(|held| Arc::new(held.marked(seq))) })
}

/// A register's keys sealed anew, with the record that they are in.
fn resealed(
    overlay: &Overlay,
    index: &Index,
    key: RegisterKey,
    ballot: Ballot,
    seals: Vec<Box<[u8]>>,
) -> Result<Op, StoreError> {
    let held = present(overlay, index, &key)?.filter(|held| held.record.ballot == ballot);
    let held = held.and_then(|held| held.resealed(&seals)).map(Arc::new);
    Ok(Op::Reseal { key, ballot, seals, held })
}
