//! What a store counts of itself. Told by `status`.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) committed_ops: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) damaged_reads: AtomicU64,
    pub(super) uploads_open: AtomicU64,
    pub(super) swept: AtomicU64,
    pub(super) buried: AtomicU64,
    /// Registers whose keys were sealed under the active generation instead of another one.
    pub(super) resealed: AtomicU64,
    /// Bytes of bodies that were moved from one segment to another.
    pub(super) moved_bytes: AtomicU64,
    /// Bytes of room that are lacking for what is to be moved; 0 while nothing is.
    pub(super) lacks_room: AtomicU64,
    /// Whether a segment is being gone through.
    pub(super) compacting: AtomicBool,
    /// Bodies whose counts of references were found wrong.
    pub(super) miscounted: AtomicU64,
    /// Whether those that the present recount has found were told.
    pub(super) told_differences: AtomicBool,
    /// Whether the last step of a recount failed.
    pub(super) recount_failed: AtomicBool,
}
