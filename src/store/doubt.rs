//! Doubt: what this store remembers of the other nodes, and a node that has reason to doubt its own memory.
//! What follows from which word is decided in `register::memory`.
//!
//! Invariants
//! - A start has its number before the node votes: one that could not be written is no start that others may meet.
//! - A start of another node is met only when that is durable here.
//! - A node that doubts answers no vote any more, and does not stop doubting: it goes on under another incarnation.
//! - Where nothing is decided without every member, in a list of two or of one, nobody doubts: the other one was part
//!   of every decision, and nobody else could give the place anew. A node is judged by the list of whoever tells it:
//!   until it has that list, it has no vote.

use super::core::Core;
use super::overlay::Overlay;
use super::types::Doubt;
use super::voting::Voting;
use crate::base::{Epoch, Incarnation, Mark};
use crate::register::{Heard, Memory, Remembered, Standing, Start};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

impl Core {
    /// How this node stands. Durable, all of it.
    pub fn standing(&self) -> Standing {
        let voting = self.voting();
        Standing { start: voting.node.start, head: *self.head.borrow(), reserved: voting.node.state.reserved }
    }

    /// What is remembered of the other nodes.
    pub fn remembered(&self) -> Remembered {
        self.memory().remembered()
    }

    /// Whether votes may pass to and from this start of a node.
    pub fn is_met(&self, node: Incarnation, start: Start) -> bool {
        self.may_vote() && self.memory().is_met(node, start)
    }

    /// Another node, whose list is of that epoch, says how it stands, and what it remembers of everybody.
    pub fn hear(&self, from: Incarnation, epoch: Epoch, now: Standing, told: &[(Incarnation, Standing)]) -> Heard {
        // Before the memory: whoever sees an epoch in which a list of two gives way sees what that makes of the memory.
        let voting = self.voting();
        let takes_all = self.takes_all(&voting);
        let is_seated = voting.node.roster.as_ref().is_some_and(|list| list.seats_node(from));
        let told = if self.memory().takes_from(epoch) { told } else { &[] };
        for (_, remembered) in told.iter().filter(|(node, _)| *node == self.incarnation) {
            let here = self.standing();
            if remembered.is_beyond(&here) {
                Mark::OlderCopy.hit();
                self.suspect(&voting, Doubt::OlderCopy { remembered: *remembered, here }, epoch);
            }
        }
        let (heard, news) = {
            let mut memory = self.memory();
            let (mut heard, mut news) = memory.hear(from, now);
            if takes_all && epoch == voting.list.epoch && self.tail_was_cut() && is_seated {
                log::warn!(incarnation:% = from; "what the end of the commit log held is known to the other node of two");
                self.log.forgive();
            }
            if matches!(heard, Heard::Forgot(_)) && takes_all {
                log::warn!(incarnation:% = from; "the other node has forgotten something (an older copy of its data directory); nothing was decided without this one");
                memory.accept(from, now);
                (heard, news) = (Heard::New, true);
            }
            // The list may be another one by now.
            let told = if memory.takes_from(epoch) { told } else { &[] };
            for (node, standing) in told.iter().filter(|(node, _)| *node != self.incarnation && *node != from) {
                news |= memory.overhear(*node, *standing);
            }
            (heard, news)
        };
        // It becomes durable with the next checkpoint. What has to be so before it counts: see `Store::remember`.
        if news {
            self.memory_changed(&mut self.overlay_mut());
        }
        heard
    }

    /// What is remembered goes to the index with the next checkpoint: all of it as it is now. It is read while the
    /// overlay is held, so that of two who come at once the later one is the last.
    pub(super) fn memory_changed(&self, overlay: &mut Overlay) {
        overlay.active.memory = Some(self.memory().kept());
    }

    fn takes_all(&self, voting: &Voting) -> bool {
        voting.node.roster.as_ref().is_some_and(|list| list.seats_node(self.incarnation) && list.takes_all())
    }

    /// This node may have forgotten what it had promised and stored.
    pub fn doubt(&self, doubt: Doubt) {
        let voting = self.voting();
        self.suspect(&voting, doubt, voting.list.epoch);
    }

    /// Takes on a doubt with this list, as somebody with a list of that epoch tells. A later list may be one of two:
    /// this node has no vote until it has that list, and is judged by it.
    fn suspect(&self, voting: &Voting, doubt: Doubt, epoch: Epoch) {
        if voting.node.roster.is_some() && epoch > voting.list.epoch {
            *self.suspended() = Some((doubt, epoch));
            // That list may be in force since `voting` was read: then it has judged already, and nobody else would.
            let now = self.voting();
            if epoch <= now.list.epoch {
                self.judge(&now);
            }
            return;
        }
        let alone = self.takes_all(voting);
        let first = !alone && self.doubt.send_if_modified(|known| known.replace(doubt).is_none());
        if first || alone {
            log::warn!(incarnation:% = self.incarnation; "{doubt}: what was answered since may be forgotten here");
        }
    }

    /// The member list is another one now: who was suspended until then is judged by it.
    pub(super) fn judge(&self, voting: &Voting) {
        let mut suspended = self.suspended();
        let due = suspended.filter(|(_, epoch)| *epoch <= voting.list.epoch).map(|(doubt, _)| doubt);
        // Its own word is judged again too: what of two the other one knew is more than it knew, in a larger list.
        if let Some(doubt) = due.or(self.tail_was_cut().then_some(Doubt::TailCut)) {
            // Not free before it doubts.
            self.suspect(voting, doubt, voting.list.epoch);
            suspended.take_if(|_| due.is_some());
        }
    }

    fn suspended(&self) -> MutexGuard<'_, Option<(Doubt, Epoch)>> {
        self.suspended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this node doubts its memory.
    pub fn doubts(&self) -> bool {
        self.doubt.borrow().is_some()
    }

    /// Whether this start has its number, and no doubt is left or to be judged: else the node answers no vote.
    pub fn may_vote(&self) -> bool {
        !self.doubts() && self.suspended().is_none() && self.has_begun()
    }

    /// Whether this start has its number, or needs none.
    pub fn has_begun(&self) -> bool {
        !self.unbegun.load(Ordering::Acquire)
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
