//! Who takes a write: by what the nodes last told of themselves.
//!
//! Invariant: this only refuses, before anything of a write was sent, and only skips; what is chosen rests on votes alone.

use super::Coordinator;
use crate::actors::messages::StoreError;
use crate::base::Incarnation;
use crate::register::Votes;
use crate::store::votes::Voting;
use std::sync::atomic::Ordering;

/// What a node says of writes.
#[derive(Clone, Copy, Debug, Default)]
struct Says {
    /// No new bytes.
    full: bool,
    /// Nothing.
    read_only: bool,
}

impl Coordinator {
    /// Refuses a write that no majority would take. With `new_bytes` those do not count that are full; what makes room
    /// they take.
    pub(in crate::actors) fn check_takers(&self, new_bytes: bool) -> Result<(), StoreError> {
        let (voting, members) = self.members()?;
        let can = |full_too: bool| {
            let takes = |node: &&Incarnation| {
                let says = self.says(&voting, **node);
                !says.read_only && (full_too || !says.full)
            };
            let votes = members.voters().iter().filter(takes).map(|node| members.only(*node));
            members.majority(votes.fold(Votes::default(), Votes::with))
        };
        match (can(true), new_bytes && !can(false)) {
            (false, _) => Err(StoreError::NoMajority(
                "a majority of the nodes takes no writes; /readyz of each says why; nothing was written",
            )),
            (true, true) => Err(StoreError::Full),
            (true, false) => Ok(()),
        }
    }

    /// Whether a body is not worth sending there: the node would not vote for its record.
    pub(super) fn takes_no_body(&self, voting: &Voting, node: Incarnation) -> bool {
        let says = self.says(voting, node);
        says.full || says.read_only
    }

    fn says(&self, voting: &Voting, node: Incarnation) -> Says {
        if node == self.0.me {
            return Says { full: self.0.ballots.is_full(), read_only: self.0.ballots.is_read_only() };
        }
        let name = voting.node.roster.as_ref().and_then(|roster| roster.name_of(node));
        let door = self.0.peers.iter().find(|peer| Some(&peer.name) == name).map(|peer| &peer.plan.door);
        door.map_or_else(Says::default, |door| Says {
            full: door.full.load(Ordering::Relaxed),
            read_only: door.read_only.load(Ordering::Relaxed),
        })
    }
}
