//! Placement: which nodes hold a register and vote on it, and which hold a body.
//!
//! Invariants
//! - Nobody else says where something lies: whoever decides about one register or one body asks for its nodes here, and
//!   so does whoever offers one to a peer, takes one from it, or asks it for a copy (tests/rooms.rs).
//! - Who has no place in the list is asked and offered as if it held everything: what it takes it says itself.
//! - Both answers are `Members` of the list's own epoch, whose majorities are what counts.
//!
//! Today every member holds everything, so both doors open on all of them. A placement that is another one has to set
//! the cursors of those back who come to hold more: what is not theirs counts as acknowledged. Trees of sums are compared
//! whole, which finds nothing but differences between nodes that hold different registers: those would need one each.

use super::{Members, Roster};
use crate::base::{BodyId, Incarnation, RegisterKey};
use std::sync::Arc;

/// Where the registers and bodies of a cluster lie under one member list. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    all: Arc<Members>,
    /// A node that does not hold everything, for tests, and what it holds.
    #[cfg(test)]
    part: Option<tests::Part>,
}

impl Placement {
    /// The placement under a list; `None` of a list that could not be one.
    pub fn of(roster: &Roster) -> Option<Self> {
        roster.members().map(|members| Placement {
            all: Arc::new(members),
            #[cfg(test)]
            part: None,
        })
    }

    /// The nodes that hold this register and vote on it.
    pub fn voters(&self, key: &RegisterKey) -> &Arc<Members> {
        #[cfg(test)]
        if let Some(others) = self.part.as_ref().and_then(|part| part.without(|holds| holds.registers(key))) {
            return others;
        }
        let _ = key;
        &self.all
    }

    /// The nodes that hold this body.
    pub fn holders(&self, body: BodyId) -> &Arc<Members> {
        #[cfg(test)]
        if let Some(others) = self.part.as_ref().and_then(|part| part.without(|holds| holds.bodies(body))) {
            return others;
        }
        let _ = body;
        &self.all
    }

    /// Whether a node is offered a register, or asked for it: it holds that, or has no place.
    pub fn holds(&self, node: Incarnation, key: &RegisterKey) -> bool {
        self.is_among(node, self.voters(key))
    }

    /// Whether a node is to have a body, or is asked for it: it holds that, or has no place.
    pub fn keeps(&self, node: Incarnation, body: BodyId) -> bool {
        self.is_among(node, self.holders(body))
    }

    fn is_among(&self, node: Incarnation, members: &Members) -> bool {
        members.only(node).count() > 0 || self.all.only(node).count() == 0
    }

    /// All members, for what concerns the whole cluster: its list, a range of registers, whether it can be reached.
    pub fn all(&self) -> &Arc<Members> {
        &self.all
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::{BucketId, NodeName, ObjectKey};
    use crate::register::Seat;

    /// What a node holds that does not hold everything.
    #[derive(Clone, Copy, Debug)]
    pub struct Holds {
        pub registers: fn(&RegisterKey) -> bool,
        pub bodies: fn(BodyId) -> bool,
    }

    /// One node that holds a part, and the members without it.
    #[derive(Clone, Debug)]
    pub struct Part {
        holds: Holds,
        others: Arc<Members>,
    }

    impl Holds {
        pub fn registers(&self, key: &RegisterKey) -> bool {
            (self.registers)(key)
        }

        pub fn bodies(&self, body: BodyId) -> bool {
            (self.bodies)(body)
        }
    }

    impl PartialEq for Part {
        fn eq(&self, other: &Self) -> bool {
            self.others == other.others
        }
    }

    impl Eq for Part {}

    impl Part {
        /// The others, where the node does not hold it.
        pub fn without(&self, is_held: impl Fn(&Holds) -> bool) -> Option<&Arc<Members>> {
            (!is_held(&self.holds)).then_some(&self.others)
        }
    }

    impl Placement {
        /// The same, but for a node that holds this alone.
        pub fn with_part(self, node: Incarnation, holds: Holds) -> Self {
            let others: Vec<_> = self.all.voters().iter().copied().filter(|voter| *voter != node).collect();
            let others = Arc::new(Members::new(self.all.epoch(), &others).expect("somebody is left"));
            Placement { part: Some(Part { holds, others }), ..self }
        }
    }

    fn seat(n: u64) -> Seat {
        Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation: Incarnation(n) }
    }

    #[test]
    fn everything_lies_on_all_members_of_both_lists() {
        let roster = Roster::founding(7, vec![seat(1), seat(2)]).next(8, &[seat(2), seat(3)]);
        let placement = Placement::of(&roster).expect("a list");
        let all: Vec<_> = [1, 2, 3].map(Incarnation).into();
        for members in [placement.voters(&RegisterKey::members()), placement.holders(BodyId([4; 16])), placement.all()]
        {
            assert_eq!((members.voters(), members.epoch()), (&all[..], roster.epoch));
        }
        assert_eq!(Placement::of(&Roster { seats: Vec::new(), ..roster }), None);
    }

    #[test]
    fn who_is_offered_something_holds_it_or_has_no_place() {
        let key = |name: &str| RegisterKey::object(BucketId(1), &ObjectKey::parse(name).expect("a key"));
        let roster = Roster::founding(7, vec![seat(1), seat(2), seat(3)]);
        let holds = Holds { registers: |key| key.as_bytes().ends_with(b"a"), bodies: |body| body.0[0] < 9 };
        let placement = Placement::of(&roster).expect("a list").with_part(Incarnation(3), holds);
        let held = |node| [key("a"), key("b")].map(|key| placement.holds(Incarnation(node), &key));
        assert_eq!([1, 2, 3, 4].map(held), [[true, true], [true, true], [true, false], [true, true]]);
        let kept = |node| [1, 9].map(|n| placement.keeps(Incarnation(node), BodyId([n; 16])));
        assert_eq!([1, 2, 3, 4].map(kept), [[true, true], [true, true], [true, false], [true, true]]);
        assert_eq!(placement.voters(&key("b")).voters(), [1, 2].map(Incarnation));
    }
}
