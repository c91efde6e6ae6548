//! What others remember of this node's audit log, and the ends of it that are in memory.

use super::writer::ENDS_MAX;
use crate::base::{AuditHead, NodeName};
use std::collections::{BTreeMap, VecDeque};

/// What the others remember.
#[derive(Debug, Default)]
pub struct Witnesses {
    /// Where the log ended behind its last lines, oldest first.
    pub(super) recent: VecDeque<AuditHead>,
    /// What each node remembers.
    pub(super) claims: BTreeMap<NodeName, Claim>,
}

/// What a node remembers of this one's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub before: Option<AuditHead>,
    pub last: AuditHead,
}

impl Claim {
    /// The ends that it names.
    pub fn heads(&self) -> impl Iterator<Item = AuditHead> {
        self.before.into_iter().chain([self.last]).filter(|head| *head != AuditHead::NONE)
    }
}

/// What the memory says of an end that somebody else remembers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The log has it.
    Holds,
    /// The log has not.
    Gone,
    /// It is too long ago.
    Unknown,
}

impl Witnesses {
    /// The log has gone on.
    pub(super) fn ends(&mut self, ends: VecDeque<AuditHead>) {
        self.recent.extend(ends);
        self.recent.drain(..self.recent.len().saturating_sub(ENDS_MAX));
    }

    /// Whether the log has such an end.
    pub(super) fn verdict(&self, head: AuditHead) -> Verdict {
        let (Some(first), Some(last)) = (self.recent.front(), self.recent.back()) else { return Verdict::Unknown };
        if head.sequence > last.sequence {
            return Verdict::Gone;
        }
        if head.sequence < first.sequence {
            return Verdict::Unknown;
        }
        match self.recent.contains(&head) {
            true => Verdict::Holds,
            false => Verdict::Gone,
        }
    }
}
