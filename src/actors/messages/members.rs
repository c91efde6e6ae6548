//! What concerns the member list.

use super::{ObjectError, Roster, Seating, StoreError};
use crate::actors::status::MembersStatus;
use crate::base::{Epoch, NodeName};
use actix::Message;

/// Changes the node's part in its cluster. Answered when durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Seat {
    /// What changes: a list, a start, or the cluster itself.
    pub seating: Seating,
}

/// Brings the cluster to a member list; answered when it is in force.
#[derive(Debug, Message)]
#[rtype(result = "Result<Roster, Unseatable>")]
pub struct ChangeMembers {
    /// The names of its nodes. All of them must have been heard lately.
    pub names: Vec<NodeName>,
    /// The epoch of the list that this is a change of; none: of whichever there is.
    pub since: Option<Epoch>,
}

/// Who has a place, who is there, and who waits for one.
#[derive(Debug, Message)]
#[rtype(result = "MembersStatus")]
pub struct ShowMembers;

/// Why a member list cannot be changed as asked.
#[derive(Debug, thiserror::Error)]
pub enum Unseatable {
    /// A node that nobody here knows.
    #[error("{0} is not among cluster.peers of this node: put it there on every node, and restart them one by one")]
    Unknown(NodeName),
    /// A node that is not there.
    #[error("{0} was not heard lately: it must run with the same key ring, and this node must reach it")]
    Silent(NodeName),
    /// A name that stands twice.
    #[error("{0} is named twice")]
    Twice(NodeName),
    /// More than a list, or two on the way from one to the other, can have.
    #[error("more than {} nodes in the old list and the new one together", crate::register::VOTERS_MAX)]
    TooMany,
    /// Somebody else has changed the list meanwhile.
    #[error("the member list is of epoch {} by now: somebody else has changed it; look at it again", .0.0)]
    Moved(Epoch),
    /// It could not be brought about.
    #[error(transparent)]
    Undecided(#[from] ObjectError),
}
