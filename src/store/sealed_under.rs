//! What is known, beside the index, of what is sealed under which generation; and what is to be sealed anew.

use super::entry::Op;
use super::sealed_keys::each_kek;
use super::walk_place::WalkPlace;
use crate::base::{KekId, RegisterKey};
use std::collections::{BTreeMap, BTreeSet};

/// Registers that are remembered one by one, at most; more than that are found by a walk.
const STRAYS_MAX: usize = 16 * 1024;

/// What is known beside the index.
#[derive(Debug, Default)]
pub(super) struct Resealing {
    /// Behind the last frame that holds a key under each generation, where the log ends.
    logged: BTreeMap<KekId, u64>,
    /// Registers that came with a key under another generation than the one that seals.
    pub strays: BTreeSet<RegisterKey>,
    /// Those of them that are being sealed anew. One that comes again meanwhile is a stray once more.
    pub asked: BTreeSet<RegisterKey>,
    /// Whether there were more than are remembered.
    pub overflowed: bool,
    /// The walk that is under way.
    pub walk: Option<WalkPlace>,
    /// The generation under which all that came before was looked through.
    pub done: Option<KekId>,
}

impl Resealing {
    /// What a log that was read back holds, up to its end.
    pub fn replayed(keks: &BTreeSet<KekId>, log_end: u64) -> Self {
        Resealing { logged: keks.iter().map(|kek| (*kek, log_end)).collect(), ..Resealing::default() }
    }

    /// Frames up to there hold these operations, which are visible in a moment.
    pub fn logged(&mut self, ops: &[Op], active: KekId, log_end: u64) {
        for op in ops {
            let (key, held) = match op {
                Op::Record { key, held } | Op::Reseal { key, held: Some(held), .. } => (key, held),
                // A mark carries no key: what it marks is where it was.
                _ => continue,
            };
            let mut is_stray = false;
            each_kek(&held.record, |kek| {
                self.logged.insert(kek, log_end);
                is_stray |= kek != active;
            });
            if is_stray {
                self.stray(key.clone());
            }
        }
    }

    /// A register holds a key under another generation than the one that seals.
    pub fn stray(&mut self, key: RegisterKey) {
        match self.strays.len() < STRAYS_MAX {
            true => _ = self.strays.insert(key),
            false => self.overflowed = true,
        }
    }

    /// Takes some of the strays, to have them sealed anew.
    pub fn take_strays(&mut self, most: usize) -> Vec<RegisterKey> {
        let taken: Vec<_> = self.strays.iter().take(most).cloned().collect();
        taken.iter().for_each(|key| _ = self.strays.remove(key));
        self.asked.extend(taken.iter().cloned());
        taken
    }

    /// What was taken is sealed anew, or it is not: then all of it is strays again.
    pub fn strays_heard(&mut self, done: bool) {
        let asked = std::mem::take(&mut self.asked);
        if !done {
            self.strays.extend(asked);
        }
    }

    /// Whether a frame of a log that begins there holds a key under a generation.
    pub fn is_logged(&self, kek: KekId, log_start: u64) -> bool {
        self.logged.get(&kek).is_some_and(|end| *end > log_start)
    }

    /// The generations under which such a frame holds a key.
    pub fn all_logged(&self, log_start: u64) -> impl Iterator<Item = KekId> {
        self.logged.iter().filter(move |(_, end)| **end > log_start).map(|(kek, _)| *kek)
    }

    /// Whether one does of another generation than this.
    pub fn is_other_logged(&self, active: KekId, log_start: u64) -> bool {
        self.logged.iter().any(|(kek, end)| *kek != active && *end > log_start)
    }

    /// Whether nothing is left to be looked through for a generation that seals.
    pub fn is_done(&self, active: KekId) -> bool {
        self.done == Some(active)
            && self.walk.is_none()
            && self.strays.is_empty()
            && self.asked.is_empty()
            && !self.overflowed
    }
}
