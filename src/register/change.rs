//! Change: how a member list becomes another one, as a list of things to do. It does none of them itself.
//!
//! The node, the simulation and the model take these same steps. A node that lost its disk is seated anew by them too:
//! it is back under another incarnation, which takes the place of the one before.
//!
//! Invariants
//! - Lists follow each other one by one: a list is stored only where the present one still holds (`Succession`).
//! - Where seats change, an epoch of both lists lies between. It ends when every register has been stored again in it:
//!   so a newcomer votes at once, and what was chosen before needs nobody whose place is gone.
//! - A change that somebody has begun ends before another one begins.

use super::roster::{Roster, Seat};
use super::write::{Choice, Intent};
use crate::base::{Epoch, Record, State};
use std::sync::Arc;

/// What is to be done next about the member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the list is what it was to become, or another one than the change was meant for.
    Done,
    /// Store every register again (`Read::settle`), in the present epoch.
    StoreAgain,
    /// Have this list decided in the place of the present one: a `Write` of a `Succession`.
    Decide(Roster),
}

/// A member list on its way to other seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    seats: Vec<Seat>,
    /// The one list that the change may follow, if it is bound to one.
    since: Option<Epoch>,
}

impl Change {
    /// A change to these seats. With `since`, it begins nothing that does not follow the list of that epoch at once:
    /// what somebody else has decided meanwhile stays.
    pub fn new(seats: &[Seat], since: Option<Epoch>) -> Self {
        Change { seats: seats.to_vec(), since }
    }

    /// What is to be done next while `present` is the list. `stored`: the epoch in which every register has been stored
    /// again, if that was done. `made_ms`: by the clock of this node.
    pub fn step(&self, present: &Roster, stored: Option<Epoch>, made_ms: u64) -> Step {
        let changing = !present.before.is_empty();
        // What rests on the old list alone would be lost with it: its majorities count no more after the next list.
        if changing && stored != Some(present.epoch) {
            return Step::StoreAgain;
        }
        let is_other = self.since.is_some_and(|since| since != present.epoch);
        if !changing && (is_other || present.same_seats(&self.seats)) {
            return Step::Done;
        }
        Step::Decide(present.next(made_ms, &self.seats))
    }
}

/// A record that may be a member list.
pub trait Listed {
    /// The epoch of the list; `None` of what is no list.
    fn list_epoch(&self) -> Option<Epoch>;
}

impl Listed for Arc<Record> {
    fn list_epoch(&self) -> Option<Epoch> {
        match &self.state {
            State::Members(list) => Roster::decode(list).ok().map(|roster| roster.epoch),
            State::Nothing => Some(FOUNDED),
            State::Deleted | State::Bucket(_) | State::Object(_) | State::Uploads(_) => None,
            State::AccessKey(_) | State::Settings(_) => None,
        }
    }
}

/// The epoch of the first list, which is founded and not voted on: its register holds nothing.
const FOUNDED: Epoch = Epoch(1);

/// The next member list, where the present one still holds.
#[derive(Clone, Copy, Debug)]
pub struct Succession<R> {
    present: Epoch,
    next: R,
}

impl<R> Succession<R> {
    /// The list in the record `next`, in the place of the one of that epoch.
    pub fn new(present: Epoch, next: R) -> Self {
        Succession { present, next }
    }
}

impl<R: Clone + Listed> Intent<R> for Succession<R> {
    fn decide(&self, found: Option<&R>) -> Choice<R> {
        match found.map_or(Some(FOUNDED), Listed::list_epoch) == Some(self.present) {
            true => Choice::Put(self.next.clone()),
            false => Choice::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, NodeName};

    fn seat(n: u64) -> Seat {
        Seat { name: NodeName::parse(&format!("n{}", n % 10)).expect("a name"), incarnation: Incarnation(n) }
    }

    fn decided(step: Step) -> Roster {
        match step {
            Step::Decide(next) => next,
            other => panic!("a list: {other:?}"),
        }
    }

    #[test]
    fn a_list_becomes_another_one_by_way_of_both() {
        let first = Roster::founding(0, vec![seat(1), seat(2), seat(3)]);
        // The third has lost its disk.
        let target = [seat(1), seat(2), seat(13)];
        let change = Change::new(&target, None);
        let both = decided(change.step(&first, None, 7));
        assert_eq!((both.epoch, both.before.len(), both.made_ms), (Epoch(2), 3, 7));
        assert!(both.begins_anew(Incarnation(13), Epoch(0)) && both.seats_node(Incarnation(3)));
        for stored in [None, Some(Epoch(1)), Some(Epoch(3))] {
            assert_eq!(change.step(&both, stored, 8), Step::StoreAgain, "{stored:?}");
        }
        let last = decided(change.step(&both, Some(Epoch(2)), 8));
        assert_eq!((last.epoch, last.before.len()), (Epoch(3), 0));
        assert!(!last.seats_node(Incarnation(3)));
        assert_eq!(change.step(&last, Some(Epoch(2)), 9), Step::Done);
    }

    #[test]
    fn a_change_ends_what_was_begun_and_stays_with_its_list() {
        let first = Roster::founding(0, vec![seat(1), seat(2)]);
        let both = first.next(1, &[seat(1), seat(3)]);
        let late = Change::new(&[seat(1), seat(2), seat(4)], Some(Epoch(1)));
        assert_eq!(late.step(&both, None, 2), Step::StoreAgain, "whoever began it may be away");
        let last = decided(late.step(&both, Some(Epoch(2)), 2));
        assert!(last.same_seats(&[seat(1), seat(3)]), "not its own seats");
        assert_eq!(late.step(&last, Some(Epoch(2)), 3), Step::Done, "it was meant for another list");
    }

    #[test]
    fn a_list_follows_the_present_one_alone() {
        let first = Roster::founding(0, vec![seat(1)]);
        let record = |state| {
            let (ballot, lineage) = (crate::base::Ballot::ZERO, crate::base::Lineage::NOTHING);
            Arc::new(Record { ballot, lineage, written_ms: 0, state })
        };
        let second = record(State::Members(first.next(1, &first.seats).encode().into()));
        let at = |epoch, found: Option<&Arc<Record>>| Succession::new(Epoch(epoch), Arc::clone(&second)).decide(found);
        let puts = Choice::Put(Arc::clone(&second));
        assert_eq!((at(1, None), at(2, None)), (puts.clone(), Choice::Refuse), "the first one is founded");
        assert_eq!(at(1, Some(&record(State::Nothing))), puts);
        assert_eq!((at(1, Some(&second)), at(2, Some(&second))), (Choice::Refuse, puts));
        assert_eq!(
            at(1, Some(&record(State::Bucket(crate::base::BucketRecord::made(crate::base::BucketId(7), 1))))),
            Choice::Refuse
        );
    }
}
