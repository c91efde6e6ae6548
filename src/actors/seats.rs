//! Seats: how the nodes of a cluster come to one member list. A pure struct; time is an argument.
//!
//! Invariants
//! - One node alone may found a cluster, the one whose name sorts first: there are never two first lists.
//! - It does so when it has heard all configured nodes lately, none of which has a list, and all of which
//!   hold the same.
//! - Everybody else takes over a list of a later epoch from whoever has it.

use crate::base::{Incarnation, NodeName, Sum};
use crate::register::{ListMark, Roster, Seat};
use crate::wire::Pulse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is to be done after a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Wait,
    /// This list begins.
    Found(Roster),
    /// The peer that was heard has a later list: ask it.
    Fetch,
}

/// What is known of the others.
#[derive(Debug)]
pub struct Seats {
    me: Seat,
    names: Vec<NodeName>,
    fresh: Duration,
    heard: BTreeMap<NodeName, (Instant, Incarnation, ListMark, Option<Sum>)>,
}

impl Seats {
    /// `names`: all configured nodes, this one among them or not. `fresh`: how long a heartbeat counts.
    pub fn new(me: Seat, names: impl IntoIterator<Item = NodeName>, fresh: Duration) -> Self {
        let mut names: Vec<_> = names.into_iter().chain([me.name.clone()]).collect();
        names.sort();
        names.dedup();
        Seats { me, names, fresh, heard: BTreeMap::new() }
    }

    /// A heartbeat of a peer; `own` and `root` are this node's.
    pub fn heard(&mut self, now: Instant, now_ms: u64, pulse: &Pulse, own: ListMark, root: Option<Sum>) -> Next {
        self.heard.insert(pulse.name.clone(), (now, pulse.incarnation, pulse.list, pulse.root));
        if pulse.list.epoch > own.epoch {
            return Next::Fetch;
        }
        if own != ListMark::default() || self.names.first() != Some(&self.me.name) || root.is_none() {
            return Next::Wait;
        }
        let mut seats = vec![self.me.clone()];
        for name in self.names.iter().filter(|name| **name != self.me.name) {
            match self.heard.get(name) {
                Some((at, incarnation, list, theirs))
                    if now.saturating_duration_since(*at) <= self.fresh
                        && *list == ListMark::default()
                        && *theirs == root =>
                {
                    seats.push(Seat { name: name.clone(), incarnation: *incarnation });
                }
                _ => return Next::Wait,
            }
        }
        Next::Found(Roster::founding(now_ms, seats))
    }
}

/// Whether a node that takes over `roster` votes in it from the start. `before` is the list that it had,
/// `voted` whether it voted there.
pub fn votes_at_once(me: Incarnation, before: ListMark, voted: bool, roster: &Roster) -> bool {
    let seated = roster.seats.iter().chain(&roster.before).any(|seat| seat.incarnation == me);
    // A founder has missed nothing. Whoever comes to a list that has a past must catch up first.
    let founder = before == ListMark::default() && roster.epoch.0 == 1;
    seated && voted && (founder || before != ListMark::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Epoch;

    const ROOT: Option<Sum> = Some(Sum(7));
    const FRESH: Duration = Duration::from_secs(1);

    fn name(n: u64) -> NodeName {
        NodeName::parse(&format!("n{n}")).unwrap()
    }

    fn pulse(n: u64, epoch: u64, root: Option<Sum>) -> Pulse {
        let list = ListMark { epoch: Epoch(epoch), digest: epoch };
        Pulse { name: name(n), incarnation: Incarnation(n), head: 0, free: 0, root, list, version: String::new() }
    }

    fn seats(me: u64) -> Seats {
        Seats::new(Seat { name: name(me), incarnation: Incarnation(me) }, (1..=3).map(name), FRESH)
    }

    #[test]
    fn the_first_name_founds_when_all_are_there_and_the_same() {
        let now = Instant::now();
        let none = ListMark::default();
        let mut first = seats(1);
        assert_eq!(first.heard(now, 5, &pulse(2, 0, ROOT), none, ROOT), Next::Wait);
        assert_eq!(first.heard(now, 5, &pulse(3, 0, None), none, ROOT), Next::Wait, "has not counted yet");
        assert_eq!(first.heard(now, 5, &pulse(3, 0, Some(Sum(8))), none, ROOT), Next::Wait, "holds something else");
        assert_eq!(first.heard(now, 5, &pulse(3, 0, ROOT), none, None), Next::Wait);
        assert_eq!(first.heard(now + 2 * FRESH, 5, &pulse(3, 0, ROOT), none, ROOT), Next::Wait, "2 is silent");
        let Next::Found(roster) = first.heard(now + 2 * FRESH, 5, &pulse(2, 0, ROOT), none, ROOT) else { panic!() };
        assert_eq!(roster.epoch, Epoch(1));
        assert_eq!(roster.seats.iter().map(|seat| seat.incarnation.0).collect::<Vec<_>>(), [1, 2, 3]);
        let own = ListMark { epoch: Epoch(1), digest: 1 };
        assert_eq!(first.heard(now + 2 * FRESH, 5, &pulse(2, 0, ROOT), own, ROOT), Next::Wait, "once");
    }

    #[test]
    fn others_wait_or_fetch() {
        let now = Instant::now();
        let none = ListMark::default();
        let mut second = seats(2);
        assert_eq!(second.heard(now, 5, &pulse(3, 0, ROOT), none, ROOT), Next::Wait);
        assert_eq!(second.heard(now, 5, &pulse(1, 0, ROOT), none, ROOT), Next::Wait, "not the first name");
        assert_eq!(second.heard(now, 5, &pulse(3, 4, ROOT), none, ROOT), Next::Fetch);
        let mut first = seats(1);
        first.heard(now, 5, &pulse(2, 1, ROOT), none, ROOT);
        assert_eq!(first.heard(now, 5, &pulse(3, 0, ROOT), none, ROOT), Next::Wait, "2 has a list");
    }

    #[test]
    fn only_founders_and_voters_vote_at_once() {
        let founding = Roster::founding(0, vec![Seat { name: name(1), incarnation: Incarnation(1) }]);
        let later = Roster { epoch: Epoch(2), ..founding.clone() };
        let (none, some) = (ListMark::default(), ListMark { epoch: Epoch(1), digest: 1 });
        assert!(votes_at_once(Incarnation(1), none, true, &founding));
        assert!(!votes_at_once(Incarnation(2), none, true, &founding), "wiped since");
        assert!(!votes_at_once(Incarnation(1), none, true, &later), "must catch up");
        assert!(votes_at_once(Incarnation(1), some, true, &later));
        assert!(!votes_at_once(Incarnation(1), some, false, &later));
    }
}
