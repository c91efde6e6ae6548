//! Who takes a write: by what the nodes last told of themselves.
//!
//! Invariant: this only refuses, before anything of a write was sent, and only skips; what is chosen rests on votes
//! alone.

use super::Coordinator;
use crate::actors::messages::{ObjectError, StoreError};
use crate::actors::peer::patience::ROOM_MAX;
use crate::actors::peer::peer_request::PeerRequest;
use crate::actors::peer::plan::Plan;
use crate::base::{Incarnation, NodeName, RegisterKey};
use crate::register::{Members, Roster, Seat, Votes};
use crate::store::voting::Voting;
use actix_rt::time::timeout;
use futures::future::join_all;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// What a node says of writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Says {
    /// It takes no new bytes.
    pub full: bool,
    /// It takes no writes at all.
    pub read_only: bool,
    /// Bytes that it has room for.
    room: u64,
}

/// New bytes that a write brings.
#[derive(Clone, Copy, Debug)]
pub(in crate::actors) enum New {
    /// So many bytes, which come with the record.
    Record(u64),
    /// At least so many bytes, in a blob.
    Body(u64),
}

impl New {
    fn bytes(self) -> u64 {
        match self {
            New::Record(bytes) | New::Body(bytes) => bytes,
        }
    }
}

impl Coordinator {
    /// Refuses a write of this register that no majority would take. With `new_bytes`, so many, those do not count that
    /// are full or have no room for them; what makes room they take.
    pub(in crate::actors) async fn check_takers(
        &self,
        key: &RegisterKey,
        new_bytes: Option<New>,
    ) -> Result<(), ObjectError> {
        let (voting, members) = self.members(key)?;
        let takes_it = |node, bytes| {
            let says = self.says(&voting, node);
            !says.full && !says.read_only && says.room >= bytes
        };
        // Nearly every write ends here.
        if new_bytes.is_some_and(|new| majority_of(&members, |node| takes_it(node, new.bytes()))) {
            return Ok(());
        }
        if !majority_of(&members, |node| !self.says(&voting, node).read_only) {
            return Err(ObjectError::NoMajority(
                "a majority of the nodes takes no writes; /readyz of each says why; nothing was written",
            ));
        }
        let Some(new) = new_bytes else { return Ok(()) };
        if !majority_of(&members, |node| takes_it(node, 0)) {
            return Err(StoreError::Full.into());
        }
        // What they told may be past. They say it anew, and show that they had to.
        let cramped = members.voters().iter().copied().filter(|node| !takes_it(*node, new.bytes()));
        let asked = cramped.map(async |node| (node, self.has_room(&voting, node, new).await));
        let without: Vec<_> = join_all(asked).await.into_iter().filter(|(_, has)| !has).map(|(node, _)| node).collect();
        match majority_of(&members, |node| takes_it(node, 0) && !without.contains(&node)) {
            true => Ok(()),
            false => Err(StoreError::Full.into()),
        }
    }

    /// Whether a node has room for a write; who does not answer has: the write will tell.
    async fn has_room(&self, voting: &Voting, node: Incarnation, new: New) -> bool {
        if node == self.0.me {
            return match new {
                New::Record(bytes) => self.0.ballots.check_left(bytes).is_ok(),
                New::Body(bytes) => self.0.ballots.check_fits(bytes).is_ok(),
            };
        }
        let Some(lane) = self.lane(voting, node) else { return true };
        let (tell, told) = oneshot::channel();
        lane.do_send(PeerRequest::Room(node, new.bytes(), tell));
        timeout(ROOM_MAX, told).await.is_ok_and(|told| told.unwrap_or(true))
    }

    /// The nodes of a list that are full, as they told last.
    pub(in crate::actors) fn full_of(&self, list: &Roster) -> Vec<NodeName> {
        full_of(list, (self.0.me, self.0.ballots.is_full()), &self.0.peers)
    }

    /// A node refused a vote for want of room: no other write finds that out the same way, as an unknown outcome, before
    /// its next heartbeat says how it is.
    pub(super) fn is_full_now(&self, node: Incarnation) {
        if let Some(peer) = self.peer(&self.0.ballots.voting(), node) {
            peer.lane.full.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a majority would be had but for full nodes.
    pub(super) fn is_for_room(&self) -> bool {
        let Ok((voting, members)) = self.all_members() else { return false };
        let is_there = |node| node == self.0.me || self.is_up(&voting, node);
        majority_of(&members, is_there)
            && !majority_of(&members, |node| is_there(node) && !self.says(&voting, node).full)
    }

    /// Whether a body is not worth sending there: the node would not vote for its record.
    pub(super) fn takes_no_body(&self, voting: &Voting, node: Incarnation) -> bool {
        let says = self.says(voting, node);
        says.full || says.read_only
    }

    pub(super) fn says(&self, voting: &Voting, node: Incarnation) -> Says {
        if node == self.0.me {
            return Says {
                full: self.0.ballots.is_full(),
                read_only: self.0.ballots.is_read_only(),
                room: self.0.ballots.room(),
            };
        }
        let lane = self.peer(voting, node).map(|peer| &peer.lane);
        lane.map_or(Says { full: false, read_only: false, room: u64::MAX }, |lane| Says {
            full: lane.full.load(Ordering::Relaxed),
            read_only: lane.read_only.load(Ordering::Relaxed),
            room: lane.room.get(),
        })
    }
}

/// Whether the voters for which that holds are a majority.
fn majority_of(members: &Members, holds: impl Fn(Incarnation) -> bool) -> bool {
    let votes = members.voters().iter().filter(|node| holds(**node)).map(|node| members.only(*node));
    members.majority(votes.fold(Votes::default(), Votes::with))
}

/// The nodes of a list whose disks are full down to the reserve, by name; each once. `me`: this node, and whether its
/// disk is; of the others by what they told last.
pub fn full_of(list: &Roster, me: (Incarnation, bool), peers: &[Arc<Plan>]) -> Vec<NodeName> {
    let is_full = |seat: &&Seat| match seat.incarnation == me.0 {
        true => me.1,
        false => peers.iter().any(|peer| peer.peer == seat.name && peer.lane.full.load(Ordering::Relaxed)),
    };
    let names: BTreeSet<_> = list.seats.iter().chain(&list.before).filter(is_full).map(|seat| &seat.name).collect();
    names.into_iter().cloned().collect()
}
