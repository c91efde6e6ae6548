//! Doubt: what this store remembers of the other nodes, and a node that has reason to doubt its own memory.
//! What follows from which word is decided in `register::memory`.
//!
//! Invariants
//! - A start has its number before the node votes: one that could not be written is no start that others may meet.
//! - A start of another node is met only when that is durable here.
//! - Who doubts answers no vote any more, and does not stop doubting: it goes on under another incarnation.
//! - Where nothing is decided without every member, in a list of two or of one, nobody doubts: the other one was part of
//!   every decision, and nobody else could give the place anew.

use super::commit::Intent;
use super::core::Core;
use super::overlay::Overlay;
use super::store::{Answer, Store};
use super::votes::Seating;
use crate::base::{Incarnation, NodeName, Stamp};
use crate::register::{Heard, Memory, Remembered, Standing, Start};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use tokio::sync::watch;

/// Why a node may have forgotten what it had promised and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Another node remembers more of it.
    OlderCopy {
        /// What that is.
        remembered: Standing,
        /// What it is here.
        here: Standing,
    },
    /// The end of its commit log is gone.
    TailCut,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stamp = |Stamp(stamp): Stamp| stamp;
        match self {
            Doubt::OlderCopy { remembered, here } => write!(
                f,
                "the data directory is an older copy of itself, or its disk forgot: a peer remembers start {}, \
                 change {} and reserve {}, here are start {}, change {} and reserve {}",
                remembered.start.number,
                remembered.head,
                stamp(remembered.reserved),
                here.start.number,
                here.head,
                stamp(here.reserved)
            ),
            Doubt::TailCut => f.write_str("the end of the commit log is gone"),
        }
    }
}

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

    /// Another node says how it stands, and what it remembers of everybody.
    pub fn hear(&self, from: Incarnation, now: Standing, told: &[(Incarnation, Standing)]) -> Heard {
        for (_, remembered) in told.iter().filter(|(node, _)| *node == self.incarnation) {
            let here = self.standing();
            if remembered.is_beyond(&here) {
                self.doubt(Doubt::OlderCopy { remembered: *remembered, here });
            }
        }
        let takes_all = self.takes_all();
        let (heard, news) = {
            let mut memory = self.memory();
            let (mut heard, mut news) = memory.hear(from, now);
            if matches!(heard, Heard::Forgot(_)) && takes_all {
                log::warn!(incarnation:% = from; "the other node has forgotten something (an older copy of its data directory); nothing was decided without this one");
                memory.accept(from, now);
                (heard, news) = (Heard::New, true);
            }
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

    /// What is remembered goes to the index with the next checkpoint: all of it as it is now. It is read while the overlay
    /// is held, so that of two who come at once the later one is the last.
    pub(super) fn memory_changed(&self, overlay: &mut Overlay) {
        overlay.active.memory = Some(self.memory().remembered());
    }

    fn takes_all(&self) -> bool {
        let voting = self.voting();
        voting.node.roster.as_ref().is_some_and(|list| list.seats_node(self.incarnation) && list.takes_all())
    }

    /// This node may have forgotten what it had promised and stored.
    pub fn doubt(&self, doubt: Doubt) {
        let alone = self.takes_all();
        let first = !alone && self.doubt.send_if_modified(|known| known.replace(doubt).is_none());
        if first || alone {
            log::warn!(incarnation:% = self.incarnation; "{doubt}: what was answered since may be forgotten here");
        }
    }

    /// Whether it does.
    pub fn doubts(&self) -> bool {
        self.doubt.borrow().is_some()
    }

    /// Whether this start has its number, and no doubt is left: else the node answers no vote.
    pub fn may_vote(&self) -> bool {
        !self.doubts() && self.has_begun()
    }

    /// Whether this start has its number, or needs none.
    pub fn has_begun(&self) -> bool {
        !self.unbegun.load(Ordering::Acquire)
    }

    /// Why, as soon as it does.
    pub fn doubted(&self) -> watch::Receiver<Option<Doubt>> {
        self.doubt.subscribe()
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Gives this start of the node its number, durably; until then it does not vote. `name`: what it is called among
    /// others, if there are others.
    pub fn begin(&self, draw: u64, name: Option<NodeName>) -> Answer {
        self.unbegun.store(true, Ordering::Release);
        self.seat(Seating::Begin { draw, name })
    }

    /// The node leaves a cluster that is lost: see `Seating::Leave`.
    pub fn leave(&self, life: u64, name: NodeName) -> Answer {
        self.seat(Seating::Leave { life, name })
    }

    /// What is remembered of the other nodes becomes durable.
    pub fn remember(&self) -> Answer {
        self.submit(Intent::Remember)
    }
}

#[cfg(test)]
mod tests;
