//! Forming: how the nodes of a cluster come to one member list (`Seats`). A pure struct; time is an argument.
//!
//! Invariants
//! - One node alone founds a cluster by itself: the one whose name sorts first, when all hold the same. A node that
//!   holds what the others do not founds only when an operator says so. There are never two first lists.
//! - It does so when it has heard all configured nodes lately, none of which has a list.
//! - Everybody else takes over a list of a later epoch from whoever has it.

use crate::actors::messages::Unseatable;
use crate::actors::status::{MemberStatus, MembersStatus};
use crate::base::{Epoch, NodeName, Sum};
use crate::register::{ListMark, Roster, Seat};
use crate::wire::Pulse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What is to be done after a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is nothing to do.
    Wait,
    /// This node founds the cluster with this list.
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
    heard: BTreeMap<NodeName, Heard>,
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
        let seat = Seat { name: pulse.name.clone(), incarnation: pulse.incarnation };
        self.heard.insert(
            pulse.name.clone(),
            Heard { at: now, seat, list: pulse.list, root: pulse.root, ready: pulse.health.ready },
        );
        if pulse.list.epoch > own.epoch {
            return Next::Fetch;
        }
        // Before its registers are counted a node cannot say that all hold the same.
        if own != ListMark::default() || root.is_none() {
            return Next::Wait;
        }
        let others = self.names.iter().filter(|name| **name != self.me.name);
        let heard: Option<Vec<_>> = others.map(|name| self.lately(now, name)).collect();
        let Some(heard) = heard.filter(|heard| heard.iter().all(|one| one.list == ListMark::default())) else {
            return Next::Wait;
        };
        // One name alone founds, so that there are never two first lists.
        let first = self.names.first() == Some(&self.me.name);
        if first && heard.iter().all(|one| one.root == root) {
            let seats = heard.iter().map(|one| one.seat.clone()).chain([self.me.clone()]);
            return Next::Found(Roster::founding(now_ms, seats.collect()));
        }
        Next::Wait
    }

    /// The link to a peer is lost: what it said last counts no more.
    pub fn lost(&mut self, name: &NodeName) {
        self.heard.remove(name);
    }

    /// The first list of a cluster that this node begins alone, with what it holds, because an operator says so;
    /// none unless all other configured nodes are there, without a list and empty.
    pub fn found_alone(&self, now: Instant, now_ms: u64) -> Option<Roster> {
        let mut others = self.names.iter().filter(|name| **name != self.me.name);
        let empty = |one: &Heard| one.list == ListMark::default() && one.root == Some(Sum::default());
        let alone = others.all(|name| self.lately(now, name).is_some_and(empty));
        alone.then(|| Roster::founding(now_ms, vec![self.me.clone()]))
    }

    fn lately(&self, now: Instant, name: &NodeName) -> Option<&Heard> {
        self.heard.get(name).filter(|one| now.saturating_duration_since(one.at) <= self.fresh)
    }

    /// The place that this node has, or would have, in a list.
    pub fn me(&self) -> Seat {
        self.me.clone()
    }

    /// The places of these nodes, all of which have to be there.
    pub fn resolve(&self, now: Instant, names: &[NodeName]) -> Result<Vec<Seat>, Unseatable> {
        let mut seats: Vec<Seat> = Vec::with_capacity(names.len());
        for name in names {
            if seats.iter().any(|seat| seat.name == *name) {
                return Err(Unseatable::Twice(name.clone()));
            }
            if !self.names.contains(name) {
                return Err(Unseatable::Unknown(name.clone()));
            }
            let heard = self.lately(now, name).map(|one| &one.seat);
            let seat = if *name == self.me.name { Some(&self.me) } else { heard };
            seats.push(seat.cloned().ok_or_else(|| Unseatable::Silent(name.clone()))?);
        }
        Ok(seats)
    }

    /// A list as people look at it: who is there, and who has no place.
    pub fn show(&self, now: Instant, roster: Option<&Roster>) -> MembersStatus {
        let seated = |seats: &[Seat]| {
            let shown = seats.iter().map(|seat| MemberStatus {
                name: seat.name.clone(),
                incarnation: Some(seat.incarnation),
                there: self.is_there(now, seat),
                ready: self.ready(now, seat),
            });
            shown.collect::<Vec<_>>()
        };
        let (seats, before) = roster.map(|list| (seated(&list.seats), seated(&list.before))).unwrap_or_default();
        // A new life of a name is another node than the one that has the place.
        let lives = self.names.iter().map(|name| {
            let life = if *name == self.me.name { Some(&self.me) } else { self.lately(now, name).map(|one| &one.seat) };
            let (incarnation, ready) = (life.map(|seat| seat.incarnation), life.and_then(|seat| self.ready(now, seat)));
            MemberStatus { name: name.clone(), incarnation, there: life.is_some(), ready }
        });
        let placeless = |one: &MemberStatus| match one.incarnation {
            Some(life) => roster.is_none_or(|list| !list.seats_node(life)),
            None => !seats.iter().chain(&before).any(|seat| seat.name == one.name),
        };
        let others = lives.filter(placeless).collect();
        let (epoch, made_ms) = roster.map_or((Epoch(0), 0), |list| (list.epoch, list.made_ms));
        MembersStatus { node: self.me.name.clone(), epoch, made_ms, seats, before, others, full: Vec::new() }
    }

    /// Whether a node is there, in the life that has the place: a new life of the same name is not of the list.
    fn is_there(&self, now: Instant, seat: &Seat) -> bool {
        *seat == self.me || self.lately(now, &seat.name).is_some_and(|one| one.seat == *seat)
    }

    /// Whether a node said that it is ready.
    fn ready(&self, now: Instant, seat: &Seat) -> Option<bool> {
        self.lately(now, &seat.name).filter(|one| one.seat == *seat).map(|one| one.ready)
    }

    /// Whether what one node has to see to is this one's: the first of those that are there.
    pub fn leads(&self, now: Instant, roster: &Roster) -> bool {
        let there = roster.seats.iter().chain(&roster.before).filter(|seat| self.is_there(now, seat));
        there.min_by_key(|seat| &seat.name) == Some(&self.me)
    }

    /// Who of a list is not there.
    pub fn missing(&self, now: Instant, roster: &Roster) -> Vec<NodeName> {
        let missing = roster.seats.iter().filter(|seat| !self.is_there(now, seat));
        missing.map(|seat| seat.name.clone()).collect()
    }

    /// What a list should become because a node of it has lost its data directory, or because somebody began
    /// to change it and did not finish. One node sees to it: the first of those that are there.
    pub fn overdue(&self, now: Instant, roster: &Roster) -> Option<Vec<Seat>> {
        if !self.leads(now, roster) {
            return None;
        }
        roster.overdue(|name| self.lately(now, name).map(|one| one.seat.incarnation))
    }
}

/// What a peer said last.
#[derive(Clone, Debug)]
struct Heard {
    at: Instant,
    seat: Seat,
    list: ListMark,
    root: Option<Sum>,
    ready: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Epoch, Incarnation, KekId};
    use crate::register::Standing;
    use crate::wire::{AuditNews, Health, KeyNews};

    const ROOT: Option<Sum> = Some(Sum(7));
    const FRESH: Duration = Duration::from_secs(1);

    fn name(n: u64) -> NodeName {
        NodeName::parse(&format!("n{n}")).unwrap()
    }

    fn pulse(n: u64, epoch: u64, root: Option<Sum>) -> Pulse {
        let list = ListMark { epoch: Epoch(epoch), digest: epoch };
        let (version, health) = (String::new(), Health::default());
        let (name, incarnation) = (name(n), Incarnation(n));
        let (standing, life, remembers) = (Standing::default(), u64::from(epoch > 0), Vec::new());
        let keys = KeyNews::of(KekId([1; 16]), Vec::new());
        let audit = AuditNews::default();
        Pulse { name, incarnation, standing, life, remembers, free: 0, root, list, version, keys, health, audit }
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
    fn a_node_with_data_among_empty_ones_founds_alone_when_told_to() {
        let now = Instant::now();
        let (none, empty) = (ListMark::default(), Some(Sum::default()));
        let mut third = seats(3);
        third.heard(now, 5, &pulse(1, 0, empty), none, ROOT);
        assert_eq!(third.found_alone(now, 5), None, "2 was not heard");
        assert_eq!(third.heard(now, 5, &pulse(2, 0, empty), none, ROOT), Next::Wait, "not by itself");
        let roster = third.found_alone(now, 5).expect("an operator says so");
        assert_eq!(roster.seats.iter().map(|seat| seat.incarnation.0).collect::<Vec<_>>(), [3]);
        assert_eq!(third.found_alone(now + 2 * FRESH, 5), None);
        third.heard(now, 5, &pulse(2, 0, ROOT), none, ROOT);
        assert_eq!(third.found_alone(now, 5), None, "2 holds something");
        let mut first = seats(1);
        first.heard(now, 5, &pulse(2, 0, empty), none, empty);
        assert_eq!(first.heard(now, 5, &pulse(3, 0, ROOT), none, empty), Next::Wait);
    }

    #[test]
    fn a_new_life_of_the_first_name_leaves_its_place_to_the_next_one_to_give() {
        let now = Instant::now();
        let own = ListMark { epoch: Epoch(1), digest: 1 };
        let roster =
            Roster::founding(0, (1..=3).map(|n| Seat { name: name(n), incarnation: Incarnation(n) }).collect());
        let (mut second, mut third) = (seats(2), seats(3));
        for (seats, other) in [(&mut second, 3), (&mut third, 2)] {
            seats.heard(now, 5, &pulse(other, 1, ROOT), own, ROOT);
            seats.heard(now, 5, &Pulse { incarnation: Incarnation(11), ..pulse(1, 0, ROOT) }, own, ROOT);
        }
        let target = second.overdue(now, &roster).expect("the first that has a place");
        assert_eq!(target.iter().map(|seat| seat.incarnation.0).collect::<Vec<_>>(), [11, 2, 3]);
        assert_eq!(third.overdue(now, &roster), None, "another sees to it");
    }

    #[test]
    fn who_lost_its_data_is_given_its_place_again_by_one_node() {
        let now = Instant::now();
        let own = ListMark { epoch: Epoch(1), digest: 1 };
        let seat = |n| Seat { name: name(n), incarnation: Incarnation(n) };
        let roster = Roster::founding(0, (1..=3).map(seat).collect());
        let again = Pulse { incarnation: Incarnation(33), ..pulse(3, 0, ROOT) };
        let (mut first, mut second) = (seats(1), seats(2));
        for (seats, other) in [(&mut first, 2), (&mut second, 1)] {
            seats.heard(now, 5, &pulse(other, 1, ROOT), own, ROOT);
            assert_eq!(seats.overdue(now, &roster), None);
            assert_eq!(seats.missing(now, &roster), [name(3)], "not heard yet");
            seats.heard(now, 5, &again, own, ROOT);
            assert_eq!(seats.missing(now, &roster), [name(3)], "another life of it");
        }
        assert!(first.leads(now, &roster) && !second.leads(now, &roster));
        let target = first.overdue(now, &roster).expect("it is the first");
        assert!(first.missing(now, &Roster { seats: target.clone(), ..roster.clone() }).is_empty());
        assert_eq!(target.iter().map(|seat| seat.incarnation.0).collect::<Vec<_>>(), [1, 2, 33]);
        assert_eq!(second.overdue(now, &roster), None, "another sees to it");
        assert_eq!(second.overdue(now + 2 * FRESH, &roster), None, "3 is not there any more");
        let joint = Roster { before: roster.seats.clone(), seats: target.clone(), ..roster.clone() };
        assert_eq!(second.overdue(now + 2 * FRESH, &joint), Some(target), "somebody began, and is away");
        let why = |names: &[NodeName]| first.resolve(now, names).map_err(|error| error.to_string());
        assert!(why(&[name(1), name(9)]).is_err_and(|why| why.starts_with("n9 is not among")));
        assert!(why(&[name(2), name(1), name(2)]).is_err_and(|why| why.starts_with("n2 is named twice")));
        let shown = first.show(now, Some(&roster));
        let row = |one: &MemberStatus| (one.name.clone(), one.incarnation.map(|life| life.0), one.there);
        let rows: Vec<_> = shown.seats.iter().map(row).collect();
        assert_eq!(rows, [(name(1), Some(1), true), (name(2), Some(2), true), (name(3), Some(3), false)]);
        assert_eq!(shown.others.iter().map(row).collect::<Vec<_>>(), [(name(3), Some(33), true)], "its new life");
        assert!(first.resolve(now, &[name(1), name(2)]).is_ok());
        first.lost(&name(2));
        let why = first.resolve(now, &[name(1), name(2)]).map_err(|error| error.to_string());
        assert!(why.is_err_and(|why| why.starts_with("n2 was not heard")));
    }
}
