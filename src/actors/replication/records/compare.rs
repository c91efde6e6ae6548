//! Comparing: when this node's registers are compared with a peer's, and what is offered again for it. A pure
//! struct; time is an argument. It finds what the feed cannot: a peer that lost what it had acknowledged.
//!
//! Invariants
//! - Two nodes of the same sum cost nothing but the sum in their heartbeats.
//! - What is merely on its way is not chased: leaves are looked at only while the feed is drained, and only
//!   those count that differ twice, some time apart, by the very same sum.
//! - Offers decide: a peer that has a state or a newer one wants nothing of it, so a wrong guess is harmless.

use crate::base::{Complete, RegisterKey, Sum};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Leaves that differ, each with the sum of what only one of the two has.
pub type Differing = BTreeMap<u16, Sum>;

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is nothing to do.
    Wait,
    /// Look which leaves differ, and tell `walked`.
    Walk,
    /// Find what belongs to these leaves behind `after`, put it in doubt, and tell `found`.
    Find {
        /// The leaves that differed twice by the same sum.
        leaves: Vec<u16>,
        /// Behind which register to go on.
        after: Option<RegisterKey>,
    },
}

#[derive(Debug)]
enum State {
    Resting { until: Instant },
    Doubting { at: Instant, before: Option<Differing> },
    Walking { before: Option<Differing> },
    Offering { leaves: Vec<u16>, after: Option<RegisterKey>, finding: bool },
}

/// The comparison with one life of a peer.
#[derive(Debug)]
pub struct Compare {
    every: Duration,
    settle: Duration,
    state: State,
}

impl Compare {
    /// A comparison that begins at once and rests for `every` after each round. Differences that last for
    /// less than `settle` are none.
    pub fn new(every: Duration, settle: Duration, now: Instant) -> Self {
        Compare { every, settle, state: State::Resting { until: now } }
    }

    /// The sums of both at a heartbeat; `None` of a node that has not counted yet. True when they ended a
    /// round: they are the same.
    pub fn heard(&mut self, now: Instant, own: Option<Sum>, peer: Option<Sum>) -> bool {
        let (State::Resting { until }, Some(own), Some(peer)) = (&self.state, own, peer) else { return false };
        if *until > now {
            return false;
        }
        if own == peer {
            self.rest(now);
            return true;
        }
        self.state = State::Doubting { at: now, before: None };
        false
    }

    /// What to do now; `drained` says that the peer has acknowledged all that the feed holds.
    pub fn next(&mut self, now: Instant, drained: bool) -> Next {
        match &mut self.state {
            State::Doubting { at, before } if drained && *at <= now => {
                let before = before.take();
                self.state = State::Walking { before };
                Next::Walk
            }
            State::Offering { leaves, after, finding: finding @ false } => {
                *finding = true;
                Next::Find { leaves: leaves.clone(), after: after.clone() }
            }
            State::Resting { .. } | State::Doubting { .. } | State::Walking { .. } | State::Offering { .. } => {
                Next::Wait
            }
        }
    }

    /// Which leaves differ. When this ended the round or began to offer: how many of them do for good.
    pub fn walked(&mut self, now: Instant, differing: Differing) -> Option<usize> {
        let State::Walking { before } = &mut self.state else { return None };
        match before.take() {
            None if !differing.is_empty() => {
                self.state = State::Doubting { at: now + self.settle, before: Some(differing) };
                None
            }
            before => {
                let before = before.unwrap_or_default();
                // A leaf that differs by another sum than before has writes on their way, and is no loss.
                let lasting = differing.into_iter().filter(|(leaf, sum)| before.get(leaf) == Some(sum));
                let leaves: Vec<u16> = lasting.map(|(leaf, _)| leaf).collect();
                let count = leaves.len();
                match leaves.is_empty() {
                    true => self.rest(now),
                    false => self.state = State::Offering { leaves, after: None, finding: false },
                }
                Some(count)
            }
        }
    }

    /// What belongs to the leaves is in doubt, as far as `to`.
    pub fn found(&mut self, now: Instant, to: Complete) {
        match (&mut self.state, to) {
            (State::Offering { after, finding, .. }, Complete::Through(last)) => {
                *after = Some(last);
                *finding = false;
            }
            (State::Offering { .. }, Complete::End) => self.rest(now),
            _ => {}
        }
    }

    /// What was to be done could not be: the next round comes soon.
    pub fn failed(&mut self, now: Instant) {
        if !matches!(self.state, State::Resting { .. }) {
            self.state = State::Resting { until: now + self.settle };
        }
    }

    fn rest(&mut self, now: Instant) {
        self.state = State::Resting { until: now + self.every };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::testing::key;

    const EVERY: Duration = Duration::from_secs(60);
    const SETTLE: Duration = Duration::from_secs(5);
    const A: Option<Sum> = Some(Sum(1));
    const B: Option<Sum> = Some(Sum(2));

    fn differing(leaves: &[(u16, u128)]) -> Differing {
        leaves.iter().map(|(leaf, sum)| (*leaf, Sum(*sum))).collect()
    }

    fn begin() -> (Compare, Instant) {
        let now = Instant::now();
        (Compare::new(EVERY, SETTLE, now), now)
    }

    #[test]
    fn equal_sums_rest_and_a_node_that_has_not_counted_is_not_compared() {
        let (mut compare, now) = begin();
        assert!(!compare.heard(now, A, None) && !compare.heard(now, None, B));
        assert_eq!(compare.next(now, true), Next::Wait);
        assert!(compare.heard(now, A, A));
        assert!(!compare.heard(now + EVERY / 2, A, B), "not due");
        assert_eq!(compare.next(now + EVERY / 2, true), Next::Wait);
        assert!(compare.heard(now + EVERY, A, A));
    }

    #[test]
    fn what_is_on_its_way_is_not_chased() {
        let (mut compare, now) = begin();
        assert!(!compare.heard(now, A, B));
        assert_eq!(compare.next(now, false), Next::Wait, "the feed is not drained");
        assert_eq!(compare.next(now, true), Next::Walk);
        assert_eq!(compare.next(now, true), Next::Wait, "one look at a time");
        assert_eq!(compare.walked(now, differing(&[(3, 7), (4, 8)])), None);
        assert_eq!(compare.next(now + SETTLE / 2, true), Next::Wait, "it gets its time");
        assert_eq!(compare.next(now + SETTLE, true), Next::Walk);
        // Leaf 3 agrees now; leaf 4 differs by something else: it is being written.
        assert_eq!(compare.walked(now + SETTLE, differing(&[(4, 9), (5, 1)])), Some(0));
        assert_eq!(compare.next(now + EVERY, true), Next::Wait, "over until the next round");
    }

    #[test]
    fn a_lasting_difference_is_offered_step_by_step() {
        let (mut compare, now) = begin();
        compare.heard(now, A, B);
        compare.next(now, true);
        compare.walked(now, differing(&[(3, 7), (4, 8)]));
        let now = now + SETTLE;
        assert_eq!(compare.next(now, true), Next::Walk);
        assert_eq!(compare.walked(now, differing(&[(3, 7), (9, 1)])), Some(1));
        assert_eq!(compare.next(now, false), Next::Find { leaves: vec![3], after: None });
        assert_eq!(compare.next(now, false), Next::Wait, "one step at a time");
        compare.found(now, Complete::Through(key(5)));
        assert_eq!(compare.next(now, false), Next::Find { leaves: vec![3], after: Some(key(5)) });
        compare.found(now, Complete::End);
        assert_eq!(compare.next(now, true), Next::Wait);
        assert!(!compare.heard(now + EVERY / 2, A, B), "rests before it looks again");
    }

    #[test]
    fn a_lost_link_ends_a_round_and_strangers_change_nothing() {
        let (mut compare, now) = begin();
        compare.found(now, Complete::End);
        assert_eq!(compare.walked(now, differing(&[(1, 1)])), None, "nobody asked");
        compare.heard(now, A, B);
        assert_eq!(compare.next(now, true), Next::Walk);
        compare.failed(now);
        assert_eq!(compare.walked(now, differing(&[(1, 1)])), None);
        assert!(!compare.heard(now, A, A), "not at once");
        assert!(compare.heard(now + SETTLE, A, A));
        compare.failed(now);
        assert!(!compare.heard(now + SETTLE, A, A), "a rest goes on");
    }
}
