//! Reach: which peers answer, as far as the lanes to them and the listener know; and so whether there is a majority.
//!
//! Invariants
//! - A peer is away once a handshake with it has failed, and none has succeeded since for `AWAY_AFTER`: who was not
//!   tried yet, and a link that flaps, are not away.
//! - Who answers is one life of a peer, not a name: a new life does not answer for the one that has the place.
//! - Whoever comes here may be there again: it is tried at once, and is not away until that has failed. Then it is at
//!   once: who comes here again and again, and refuses us, would never be away.

use crate::actors::peer::patience::AWAY_AFTER;
use crate::base::{Incarnation, NodeName};
use crate::register::Votes;
use crate::store::voting::Voting;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is known of the ways to the peers; shared by all who talk to one. Bounded by the configured peers.
#[derive(Debug, Default)]
pub struct Reach(BTreeMap<NodeName, Mutex<Way>>);

/// The way to one peer.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// The life of the peer that answered last.
    life: Option<Incarnation>,
    is: Is,
    /// Since when no handshake has succeeded, also while it comes here: one that comes and refuses is not there.
    failing: Option<Instant>,
    /// Whether it came here while it was not known to answer.
    knocked: bool,
    callers: Callers,
}

/// Which lives came here under one name.
#[derive(Clone, Copy, Debug, Default)]
struct Callers {
    /// The last one, and the one before it.
    last: [Option<Incarnation>; 2],
    /// How often the one before came again. A life that has ended does not, unless somebody puts its directory back.
    returns: u32,
    /// When that was, where it was more than once: two processes use the name.
    two: Option<Instant>,
}

impl Callers {
    /// Somebody came; says whether that shows for the first time in `TWO_FOR` that there are two.
    fn came(&mut self, life: Incarnation, now: Instant) -> bool {
        match self.last {
            [Some(last), _] if last == life => return false,
            [last, Some(before)] if before == life => {
                self.last = [Some(before), last];
                self.returns = self.returns.saturating_add(1);
            }
            [last, _] => {
                self.last = [Some(life), last];
                self.returns = 0;
            }
        }
        let known = self.are_two(now);
        if self.returns > 1 {
            self.two = Some(now);
        }
        self.returns > 1 && !known
    }

    fn are_two(&self, now: Instant) -> bool {
        self.two.is_some_and(|at| now.saturating_duration_since(at) < TWO_FOR)
    }
}

/// How long two processes of one name are told of after they came here in turn.
const TWO_FOR: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Is {
    /// Not tried yet; or a session broke, or it came here: the next try shows.
    #[default]
    Open,
    Answering,
    /// No handshake has succeeded since then.
    Failing(Instant),
}

/// How a node stands to the majorities of its member list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A majority answers, this node counted where it votes.
    Reached,
    /// It is not known yet.
    Open,
    /// So many are known to be away that the rest is no majority.
    CutOff,
}

impl Reach {
    /// The ways to these peers, none of them tried yet.
    pub fn new(peers: impl IntoIterator<Item = NodeName>) -> Self {
        Reach(peers.into_iter().map(|name| (name, Mutex::default())).collect())
    }

    /// A handshake with a peer succeeded, or it answered.
    pub fn answered(&self, peer: &NodeName, life: Incarnation) {
        self.change(peer, |way| {
            *way = Way { life: Some(life), is: Is::Answering, failing: None, knocked: false, ..*way }
        });
    }

    /// A session with a peer broke.
    pub fn broke(&self, peer: &NodeName) {
        self.change(peer, |way| {
            if way.is == Is::Answering {
                way.is = Is::Open;
            }
        });
    }

    /// A handshake with a peer failed.
    pub fn failed(&self, peer: &NodeName, now: Instant) {
        self.change(peer, |way| {
            let since = *way.failing.get_or_insert(now);
            way.is = Is::Failing(since);
        });
    }

    /// That life of a peer came here.
    pub fn came(&self, peer: &NodeName, life: Incarnation, now: Instant) {
        self.change(peer, |way| {
            if way.callers.came(life, now) {
                log::warn!(peer:%; "two nodes use one name: end the one that does not belong here, or give it a name of its own");
            }
            if way.is != Is::Answering {
                *way = Way { is: Is::Open, knocked: true, ..*way };
            }
        });
    }

    /// The names under which two processes came here lately, in turn.
    pub fn used_twice(&self, now: Instant) -> Vec<NodeName> {
        let two = |name: &&NodeName| self.of(name).is_some_and(|way| way.callers.are_two(now));
        self.0.keys().filter(two).cloned().collect()
    }

    /// Whether a peer came here since it was tried last; told once.
    pub fn knocked(&self, peer: &NodeName) -> bool {
        self.of(peer).is_some_and(|mut way| std::mem::take(&mut way.knocked))
    }

    /// Whether a peer answered when it was asked last.
    pub fn answers(&self, peer: &NodeName) -> bool {
        self.of(peer).is_some_and(|way| way.is == Is::Answering)
    }

    fn answers_as(&self, peer: &NodeName, life: Incarnation) -> bool {
        self.of(peer).is_some_and(|way| way.is == Is::Answering && way.life == Some(life))
    }

    fn is_away(&self, peer: &NodeName, life: Incarnation, now: Instant) -> bool {
        self.of(peer).is_none_or(|way| match way.is {
            Is::Open => false,
            // A new life of the peer is there: the one that has the place is not.
            Is::Answering => way.life != Some(life),
            Is::Failing(since) => now.saturating_duration_since(since) >= AWAY_AFTER,
        })
    }

    /// Whether no majority of the list can come back by itself: of the rest, other lives have answered. `name` and `me`:
    /// this node.
    pub fn is_forgotten(&self, voting: &Voting, name: &NodeName, me: Incarnation) -> bool {
        let (Some(placement), Some(roster)) = (&voting.placement, &voting.node.roster) else { return false };
        let members = placement.all();
        let remains = |node: &Incarnation| match roster.name_of(*node) {
            Some(seat) if seat == name => *node == me,
            Some(seat) => self.of(seat).and_then(|way| way.life).is_none_or(|life| life == *node),
            None => true,
        };
        let votes = members.voters().iter().filter(|node| remains(node)).map(|node| members.only(*node));
        !members.majority(votes.fold(Votes::default(), Votes::with))
    }

    /// How the node of that life stands to the majorities of the list that it has.
    pub fn standing(&self, voting: &Voting, me: Incarnation, now: Instant) -> Standing {
        self.standing_with(voting, me, now, |_| true)
    }

    /// How the node of that life stands to the majorities, where of the peers that answer only some count.
    pub fn standing_with(
        &self,
        voting: &Voting,
        me: Incarnation,
        now: Instant,
        counts: impl Fn(&NodeName) -> bool,
    ) -> Standing {
        let (Some(placement), Some(roster)) = (&voting.placement, &voting.node.roster) else { return Standing::Open };
        let members = placement.all();
        let majority = |there: &dyn Fn(&NodeName, Incarnation) -> bool| {
            let is_there =
                |node: &Incarnation| *node == me || roster.name_of(*node).is_some_and(|name| there(name, *node));
            let votes = members.voters().iter().filter(|node| is_there(node)).map(|node| members.only(*node));
            members.majority(votes.fold(Votes::default(), Votes::with))
        };
        if majority(&|name, node| self.answers_as(name, node) && counts(name)) {
            Standing::Reached
        } else if majority(&|name, node| !self.is_away(name, node, now)) {
            Standing::Open
        } else {
            Standing::CutOff
        }
    }

    fn change(&self, peer: &NodeName, how: impl FnOnce(&mut Way)) {
        if let Some(mut way) = self.of(peer) {
            how(&mut way);
        }
    }

    fn of(&self, peer: &NodeName) -> Option<MutexGuard<'_, Way>> {
        self.0.get(peer).map(|way| way.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Epoch;
    use crate::register::{NodeState, Roster, Seat};
    use crate::store::entry::NodeRecord;
    use std::sync::Arc;

    const ME: Incarnation = Incarnation(1);

    fn name(n: u64) -> NodeName {
        NodeName::parse(&format!("n{n}")).expect("a name")
    }

    fn voting(of: u64) -> Voting {
        let seats = (1..=of).map(|n| Seat { name: name(n), incarnation: Incarnation(n) }).collect();
        let roster = Some(Arc::new(Roster::founding(0, seats)));
        let state = NodeState { epoch: Epoch(1), ..NodeRecord::NEW.state };
        Voting::of(NodeRecord { state, roster, ..NodeRecord::NEW })
    }

    #[test]
    fn two_processes_under_one_name_are_told_apart_from_a_new_life_of_one() {
        let (reach, now) = (Reach::new([name(2), name(3)]), Instant::now());
        let came = |life: u64| reach.came(&name(2), Incarnation(life), now);
        for life in [2, 2, 22, 22, 222, 22] {
            came(life);
        }
        assert!(reach.used_twice(now).is_empty(), "new lives, and a directory that was put back");
        came(222);
        assert_eq!(reach.used_twice(now), [name(2)], "they come in turn");
        assert!(reach.used_twice(now + TWO_FOR).is_empty(), "it has passed");
        came(22);
        assert_eq!(reach.used_twice(now), [name(2)]);
    }

    #[test]
    fn who_comes_here_and_refuses_is_away() {
        let (reach, voting, begin) = (Reach::new([name(2), name(3)]), voting(3), Instant::now());
        let mut now = begin;
        let standing = |now| reach.standing(&voting, ME, now);
        for peer in [name(2), name(3)] {
            reach.failed(&peer, now);
        }
        now += AWAY_AFTER;
        assert_eq!(standing(now), Standing::CutOff);
        for peer in [2, 3] {
            reach.came(&name(peer), Incarnation(peer), now);
        }
        assert_eq!(standing(now), Standing::Open, "they may be there again");
        for peer in [name(2), name(3)] {
            reach.failed(&peer, now);
        }
        assert_eq!(standing(now), Standing::CutOff, "they were tried");
        reach.answered(&name(2), Incarnation(2));
        assert_eq!(standing(now), Standing::Reached);
        reach.broke(&name(2));
        reach.failed(&name(2), now);
        assert_eq!(standing(now), Standing::Open, "one fault turns nobody down who has answered");
    }

    #[test]
    fn a_majority_whose_nodes_live_another_life_does_not_come_back() {
        let (reach, voting, now) = (Reach::new([name(1), name(2), name(3)]), voting(3), Instant::now());
        let seen_by = |n: u64, life: u64| reach.is_forgotten(&voting, &name(n), Incarnation(life));
        reach.failed(&name(2), now);
        reach.failed(&name(3), now);
        assert!(!seen_by(1, 1), "who is away may come back");
        reach.answered(&name(2), Incarnation(22));
        assert!(!seen_by(1, 1) && !seen_by(4, 4), "the other two are a majority");
        assert!(!seen_by(3, 3) && seen_by(3, 33), "with that one there are two that have forgotten");
        reach.answered(&name(3), Incarnation(33));
        assert!(seen_by(1, 1) && seen_by(2, 22) && seen_by(3, 33));
        reach.answered(&name(2), Incarnation(2));
        assert!(!seen_by(1, 1), "its directory is back");
    }

    #[test]
    fn a_majority_is_away_only_when_it_was_tried_in_vain_for_a_while() {
        let (reach, voting, now) = (Reach::new([name(2), name(3)]), voting(3), Instant::now());
        assert_eq!(reach.standing(&voting, ME, now), Standing::Open, "nobody was tried");
        reach.failed(&name(2), now);
        reach.failed(&name(3), now);
        assert_eq!(reach.standing(&voting, ME, now), Standing::Open, "a moment may pass");
        let later = now + AWAY_AFTER;
        assert_eq!(reach.standing(&voting, ME, later), Standing::CutOff);
        reach.failed(&name(2), later);
        assert_eq!(reach.standing(&voting, ME, later), Standing::CutOff, "since the first failure");
        reach.broke(&name(2));
        assert_eq!(reach.standing(&voting, ME, later), Standing::CutOff, "an old session says nothing");
        reach.came(&name(2), Incarnation(2), later);
        assert_eq!(reach.standing(&voting, ME, later), Standing::Open, "it may be back");
        assert!(reach.knocked(&name(2)) && !reach.knocked(&name(2)), "tried once for that");
        reach.answered(&name(2), Incarnation(2));
        assert_eq!(reach.standing(&voting, ME, later), Standing::Reached);
        assert_eq!(reach.standing_with(&voting, ME, later, |_| false), Standing::Open);
        reach.broke(&name(2));
        assert_eq!(reach.standing(&voting, ME, later + AWAY_AFTER), Standing::Open, "the next try shows");
    }

    #[test]
    fn a_new_life_does_not_answer_for_the_old_one_and_strangers_are_away() {
        let (reach, now) = (Reach::new([name(2), name(3)]), Instant::now());
        reach.answered(&name(2), Incarnation(22));
        reach.failed(&name(3), now);
        assert!(reach.answers(&name(2)));
        assert_eq!(reach.standing(&voting(3), ME, now + AWAY_AFTER), Standing::CutOff);
        let other = Reach::new([name(2)]);
        other.answered(&name(2), Incarnation(2));
        assert_eq!(other.standing(&voting(3), ME, now), Standing::Reached);
        assert_eq!(other.standing(&voting(5), ME, now), Standing::CutOff, "three of five are not configured here");
        assert_eq!(other.standing(&voting(1), ME, now), Standing::Reached, "alone");
        assert_eq!(other.standing(&Voting::of(NodeRecord::NEW), ME, now), Standing::Open, "no list");
        assert_eq!(other.standing(&voting(3), Incarnation(9), now), Standing::CutOff, "without a place, of two");
    }
}
