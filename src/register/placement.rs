//! Placement: which nodes hold a register and vote on it, and which hold a body.
//!
//! Invariants
//! - Nobody else says where something lies: whoever decides about one register or one body asks for its nodes here.
//!   Lanes and the healer do not yet: they offer to every peer, and ask every peer.
//! - Both answers are `Members` of the list's own epoch, whose majorities are what counts.
//!
//! Today every member holds everything, so both doors open on all of them.

use super::{Members, Roster};
use crate::base::{BodyId, RegisterKey};
use std::sync::Arc;

/// Where the registers and bodies of a cluster lie under one member list. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    all: Arc<Members>,
}

impl Placement {
    /// The placement under a list; `None` of a list that could not be one.
    pub fn of(roster: &Roster) -> Option<Self> {
        roster.members().map(|members| Placement { all: Arc::new(members) })
    }

    /// The nodes that hold this register and vote on it.
    pub fn voters(&self, _: &RegisterKey) -> &Arc<Members> {
        &self.all
    }

    /// The nodes that hold this body.
    pub fn holders(&self, _: BodyId) -> &Arc<Members> {
        &self.all
    }

    /// All members, for what concerns the whole cluster: its list, a range of registers, whether it can be reached.
    pub fn all(&self) -> &Arc<Members> {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, NodeName};
    use crate::register::Seat;

    #[test]
    fn everything_lies_on_all_members_of_both_lists() {
        let seat = |n| Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation: Incarnation(n) };
        let roster = Roster::founding(7, vec![seat(1), seat(2)]).next(8, &[seat(2), seat(3)]);
        let placement = Placement::of(&roster).expect("a list");
        let all: Vec<_> = [1, 2, 3].map(Incarnation).into();
        for members in [placement.voters(&RegisterKey::members()), placement.holders(BodyId([4; 16])), placement.all()]
        {
            assert_eq!((members.voters(), members.epoch()), (&all[..], roster.epoch));
        }
        assert_eq!(Placement::of(&Roster { seats: Vec::new(), ..roster }), None);
    }
}
