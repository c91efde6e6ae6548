//! Votes in plain values: what a replica is asked and answers, what it keeps for that, and how its part changes.
//! How they are decided: see `votes` and `seats`.

use super::entry::NodeRecord;
use super::error::StoreError;
use crate::base::{BodyId, Incarnation, NodeName, Record, RegisterKey, State};
use crate::register::{ListMark, Placement, Roster, Slot};
use crate::register::{Message as AnyMessage, Reply as AnyReply, Request as Asked};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A message about a register of this store.
pub type Message = AnyMessage<Arc<Record>>;
/// The answer to such a message.
pub type Reply = AnyReply<Arc<Record>>;
/// Where the answers to votes go: `None` for one that this node could not carry out.
pub type VotesTo = oneshot::Sender<Result<Vec<Option<Reply>>, StoreError>>;
/// Where the answers to votes arrive.
pub type Votes = oneshot::Receiver<Result<Vec<Option<Reply>>, StoreError>>;

/// A register of a range, with what is kept of it.
pub type Listed = (RegisterKey, Slot<Arc<Record>>);

/// What is asked of this node as a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The register that is voted on.
    pub key: RegisterKey,
    /// What is asked, under which epoch and for which attempt.
    pub message: Message,
}

impl Vote {
    /// Whether it says that something was chosen, which nobody waits for.
    pub fn is_mark(&self) -> bool {
        matches!(self.message.request, Asked::Mark(_))
    }

    /// Whether it asks and changes nothing.
    pub fn is_query(&self) -> bool {
        self.message.request == Asked::Query
    }
}

/// How the node's part in its cluster changes.
#[derive(Clone, Debug)]
pub enum Seating {
    /// A member list is taken over.
    Adopt(Arc<Roster>),
    /// The node starts, and is called so if it is among others.
    Begin {
        /// A word drawn at random: two copies of one directory may start with the same number.
        draw: u64,
        /// What it is called.
        name: Option<NodeName>,
    },
    /// A majority has told the node that there is no access key.
    Keyless,
    /// The node leaves a cluster that is lost, for good: it goes on alone, with what it holds.
    Leave {
        /// Names the life of its cluster from now on; drawn at random.
        life: u64,
        /// What it is called.
        name: NodeName,
    },
}

/// What everybody may know of the node's votes: all of it durable.
#[derive(Clone, Debug)]
pub struct Voting {
    /// What the node keeps for its votes, durably.
    pub node: NodeRecord,
    /// Who holds what under the list, and with which majorities; none without a list.
    pub placement: Option<Placement>,
    /// Names the list: epoch and a digest of all of it; zero without one.
    pub list: ListMark,
}

impl Voting {
    /// What is kept, with what follows from it.
    pub fn of(node: NodeRecord) -> Self {
        let placement = node.roster.as_deref().and_then(Placement::of);
        let list = node.roster.as_deref().map(mark_of).unwrap_or_default();
        Voting { node, placement, list }
    }

    /// Whether a node is offered a register, or asked for it. Without a list everybody holds everything.
    pub fn holds(&self, node: Incarnation, key: &RegisterKey) -> bool {
        self.placement.as_ref().is_none_or(|placement| placement.holds(node, key))
    }

    /// Whether a node is to have a body, or is asked for it.
    pub fn keeps(&self, node: Incarnation, body: BodyId) -> bool {
        self.placement.as_ref().is_none_or(|placement| placement.keeps(node, body))
    }

    /// Whether one of the nodes of that name in the list holds what `holds` asks for; one that has no place may.
    pub fn is_asked(&self, name: &NodeName, holds: impl Fn(Incarnation) -> bool) -> bool {
        let roster = self.node.roster.as_deref();
        let mut lives =
            roster.iter().flat_map(|list| list.seats.iter().chain(&list.before)).filter(|s| s.name == *name);
        match lives.next() {
            None => true,
            Some(first) => holds(first.incarnation) || lives.any(|seat| holds(seat.incarnation)),
        }
    }
}

/// Names a member list.
pub fn mark_of(roster: &Roster) -> ListMark {
    let digest = crate::seal::digest::digest_of(&roster.encode());
    let (half, _) = digest.split_first_chunk::<8>().expect("32 bytes hold 8");
    ListMark { epoch: roster.epoch, digest: u64::from_le_bytes(*half) }
}

/// The record of a slot, under the slot's ballot.
pub fn record_of(slot: &Slot<Arc<Record>>) -> Record {
    let (ballot, lineage) = (slot.accepted, slot.state.lineage);
    match &slot.state.value {
        Some(record) => Record { ballot, lineage, ..(**record).clone() },
        None => Record { ballot, lineage, written_ms: 0, state: State::Nothing },
    }
}
