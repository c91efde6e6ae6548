//! Freshness: until when what a node holds of the configuration registers is known to be in force, without asking anybody.
//!
//! A node asks the others for the sum over what they hold, again and again. Where a majority, itself counted, holds the
//! same and all of it is known to be chosen, whatever was chosen before the question was sent is among what this node
//! holds: each change lies with a majority, and that shares a node with the one that answered. So it may go by that for
//! a while, counted from when the question was *sent*. A change that is chosen later takes effect everywhere when that
//! while is over, at the latest.
//!
//! Invariants
//! - An answer counts for the question that it is an answer to, and for one node; one that comes late proves no more
//!   than one that came at once.
//! - What is not settled, here or there, counts as different: it may never be chosen, or be chosen already.
//! - A lease is never longer than `FRESH`, and a clock that stands before its beginning ends it: such a clock tells
//!   nothing of how much time has passed.
//!
//! Time is that of a clock that goes on while the machine sleeps, from whatever it began at.

use super::members::{Members, Votes};
use crate::base::{Incarnation, Sum};
use std::sync::Arc;
use std::time::Duration;

/// How long a node goes by what it was shown to hold.
pub const FRESH: Duration = Duration::from_millis(900);

/// What a node holds of the configuration registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holds {
    /// The sum of their marks, each at its ballot, tombstones included.
    pub sum: Sum,
    /// Whether all of it is known to be chosen.
    pub settled: bool,
}

/// Until when a node may go by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    from: Duration,
}

impl Lease {
    /// The lease that a question earns which was sent then.
    pub fn since(asked: Duration) -> Self {
        Lease { from: asked }
    }

    /// Whether it holds at that time.
    pub fn holds(&self, now: Duration) -> bool {
        now.checked_sub(self.from).is_some_and(|passed| passed < FRESH)
    }

    /// Whether it was earned by a later question than the other one.
    pub fn follows(&self, other: &Lease) -> bool {
        self.from > other.from
    }
}

/// What a question has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Not enough nodes have answered yet.
    Open,
    /// A majority holds what this node holds: the lease counts from the question.
    Same(Lease),
    /// Too many hold something else for that: what a majority holds has to be listed.
    Differs,
    /// Too many do not answer.
    Silent,
}

/// One question to all members of a list.
#[derive(Clone, Debug)]
pub struct Question {
    members: Arc<Members>,
    mine: Holds,
    asked: Duration,
    same: Votes,
    other: Votes,
    silent: Votes,
}

impl Question {
    /// The question of a node that holds `mine`, sent at `asked`. Without a place in the list it does not count itself.
    pub fn new(members: Arc<Members>, me: Incarnation, mine: Holds, asked: Duration) -> Self {
        let (own, none) = (members.only(me), Votes::default());
        let (same, other) = if mine.settled { (own, none) } else { (none, own) };
        Question { members, mine, asked, same, other, silent: none }
    }

    /// Whom to ask.
    pub fn others(&self) -> impl Iterator<Item = Incarnation> + '_ {
        let mine = self.same.with(self.other);
        self.members.of(self.members.all().without(mine))
    }

    /// A node has answered. Its first answer counts.
    pub fn heard(&mut self, node: Incarnation, theirs: Holds) {
        let vote = self.unheard(node);
        let is_same = theirs.settled && self.mine.settled && theirs.sum == self.mine.sum;
        let side = if is_same { &mut self.same } else { &mut self.other };
        *side = side.with(vote);
    }

    /// A node will not answer this question.
    pub fn lost(&mut self, node: Incarnation) {
        self.silent = self.silent.with(self.unheard(node));
    }

    fn unheard(&self, node: Incarnation) -> Votes {
        self.members.only(node).without(self.same).without(self.other).without(self.silent)
    }

    /// What it has come to so far.
    pub fn finding(&self) -> Finding {
        let all = self.members.all();
        if self.members.majority(self.same) {
            return Finding::Same(Lease::since(self.asked));
        }
        // Whoever is left may still make a majority of it.
        if self.members.majority(all.without(self.other).without(self.silent)) {
            return Finding::Open;
        }
        if self.members.majority(self.same.with(self.other)) {
            return Finding::Differs;
        }
        match self.members.majority(all.without(self.silent)) {
            true => Finding::Open,
            false => Finding::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Epoch;

    const SECOND: Duration = Duration::from_secs(1);
    const MINE: Holds = Holds { sum: Sum(7), settled: true };
    const OTHER: Holds = Holds { sum: Sum(8), settled: true };
    const OPEN: Holds = Holds { sum: Sum(7), settled: false };

    fn node(n: u64) -> Incarnation {
        Incarnation(n)
    }

    fn members(of: &[u64]) -> Arc<Members> {
        let nodes: Vec<_> = of.iter().copied().map(node).collect();
        Arc::new(Members::new(Epoch(1), &nodes).expect("a list"))
    }

    fn asked(of: &[u64], mine: Holds) -> Question {
        Question::new(members(of), node(1), mine, SECOND)
    }

    fn fresh() -> Finding {
        Finding::Same(Lease::since(SECOND))
    }

    #[test]
    fn a_majority_that_holds_the_same_makes_it_fresh_from_the_question_on() {
        let mut question = asked(&[1, 2, 3], MINE);
        assert_eq!(question.others().collect::<Vec<_>>(), [node(2), node(3)]);
        assert_eq!(question.finding(), Finding::Open);
        question.heard(node(3), MINE);
        assert_eq!(question.finding(), fresh());
        // What comes behind that changes nothing.
        question.heard(node(2), OTHER);
        assert_eq!(question.finding(), fresh());
        assert_eq!(asked(&[1], MINE).finding(), fresh(), "a node alone is its own majority");
    }

    #[test]
    fn one_that_differs_is_no_majority_and_two_are_one_that_has_to_be_listed() {
        let mut question = asked(&[1, 2, 3], MINE);
        question.heard(node(2), OTHER);
        assert_eq!(question.finding(), Finding::Open);
        question.heard(node(3), OTHER);
        assert_eq!(question.finding(), Finding::Differs);
        let mut question = asked(&[1, 2, 3], MINE);
        question.heard(node(2), OTHER);
        question.lost(node(3));
        assert_eq!(question.finding(), Finding::Differs, "a majority has answered, and does not hold the same");
        let mut two = asked(&[1, 2], MINE);
        two.heard(node(2), OTHER);
        assert_eq!(two.finding(), Finding::Differs);
    }

    #[test]
    fn what_is_not_settled_is_not_the_same() {
        let mut question = asked(&[1, 2, 3], MINE);
        question.heard(node(2), OPEN);
        question.heard(node(3), OPEN);
        assert_eq!(question.finding(), Finding::Differs);
        let mut question = asked(&[1, 2, 3], OPEN);
        assert_eq!(question.finding(), Finding::Open);
        question.heard(node(2), MINE);
        assert_eq!(question.finding(), Finding::Differs, "this node does not know what of it is chosen");
        assert_eq!(asked(&[1], OPEN).finding(), Finding::Differs);
    }

    #[test]
    fn lost_answers_leave_it_open_until_no_majority_can_come() {
        let mut question = asked(&[1, 2, 3, 4, 5], MINE);
        question.lost(node(2));
        question.lost(node(3));
        assert_eq!(question.finding(), Finding::Open);
        question.heard(node(4), MINE);
        assert_eq!(question.finding(), Finding::Open);
        let mut silent = question.clone();
        silent.lost(node(5));
        assert_eq!(silent.finding(), Finding::Silent);
        question.heard(node(5), MINE);
        assert_eq!(question.finding(), fresh());
    }

    #[test]
    fn each_node_counts_once_and_strangers_do_not() {
        let mut question = asked(&[1, 2, 3, 4, 5], MINE);
        for _ in 0..3 {
            question.heard(node(2), MINE);
            question.heard(node(1), MINE);
            question.heard(node(9), MINE);
        }
        assert_eq!(question.finding(), Finding::Open, "two of five");
        // An answer that comes again, otherwise, is the answer to another question.
        question.heard(node(2), OTHER);
        question.lost(node(2));
        question.heard(node(3), MINE);
        assert_eq!(question.finding(), fresh());
        let mut stranger = Question::new(members(&[2, 3, 4]), node(1), MINE, SECOND);
        stranger.heard(node(2), MINE);
        assert_eq!(stranger.finding(), Finding::Open, "without a place a node does not count itself");
        stranger.heard(node(3), MINE);
        assert_eq!(stranger.finding(), fresh());
    }

    #[test]
    fn while_the_list_changes_both_lists_count() {
        let nodes = |of: &[u64]| of.iter().copied().map(node).collect::<Vec<_>>();
        let joint = Members::joint(Epoch(2), &nodes(&[1, 2, 3]), &nodes(&[3, 4, 5])).expect("two lists");
        let mut question = Question::new(Arc::new(joint), node(1), MINE, SECOND);
        question.heard(node(2), MINE);
        assert_eq!(question.finding(), Finding::Open);
        question.heard(node(4), MINE);
        question.lost(node(5));
        assert_eq!(question.finding(), Finding::Open);
        question.heard(node(3), MINE);
        assert_eq!(question.finding(), fresh());
    }

    #[test]
    fn a_lease_ends_on_a_clock_that_goes_on_and_on_one_that_jumps() {
        let lease = Lease::since(SECOND);
        let ms = Duration::from_millis;
        for (now, holds) in [(SECOND, true), (SECOND + ms(899), true), (SECOND + FRESH, false)] {
            assert_eq!(lease.holds(now), holds, "{now:?}");
        }
        assert!(!lease.holds(SECOND * 3600), "the machine slept");
        assert!(!lease.holds(SECOND - ms(1)), "a clock that went back tells nothing");
        assert!(!lease.holds(Duration::ZERO));
        // An answer that comes after the lease is over earns one that is over.
        let mut late = asked(&[1, 2, 3], MINE);
        late.heard(node(2), MINE);
        let Finding::Same(earned) = late.finding() else { panic!("the same") };
        assert!(!earned.holds(SECOND + FRESH));
        // The answer to an earlier question does not take the place of a later one's.
        assert!(Lease::since(SECOND * 2).follows(&earned) && !earned.follows(&Lease::since(SECOND * 2)));
        assert!(!earned.follows(&earned));
    }
}
