//! Lists: the member list as a register, how nodes take a later one over, and how it changes. A node that lost its disk
//! is a cleared node: it has no place until the others give it one, by a change like any other.

use super::coordinators::{Wants, Whom};
use super::machine::Either;
use super::node::{Disk, Reg};
use super::value::Val;
use super::world::World;
use boveda::base::{Ballot, Epoch, Incarnation, NodeName};
use boveda::register::{Change, Members, Read, Roster, Rules, Seat, Step, Succession, Traced, Write};
use std::sync::Arc;

/// Disks that are lost in a history, and lists that somebody would have, at most.
const LOST_MAX: usize = 2;
const LISTS_MAX: usize = 60;

/// A member list that was founded, or that somebody wants to have decided.
#[derive(Clone)]
pub struct List {
    pub roster: Arc<Roster>,
    pub members: Arc<Members>,
}

impl List {
    pub fn new(roster: Roster) -> Self {
        let members = Arc::new(roster.members().expect("a list"));
        List { roster: Arc::new(roster), members }
    }
}

/// A change of the list that is under way, with what whoever carries it through knows of it.
pub struct ChangeChore {
    change: Change,
    newcomers: Vec<Incarnation>,
    /// In which epoch the register was stored again.
    stored: Option<Epoch>,
    /// A weakened one has taught the newcomers what it found.
    taught: bool,
}

/// The place that a node has, or would have.
pub fn seat(at: usize, incarnation: Incarnation) -> Seat {
    Seat { name: NodeName::parse(&format!("n{}", at + 1)).expect("a name"), incarnation }
}

impl World {
    /// The list that a node goes by.
    pub fn list_of(&self, at: usize) -> Option<&List> {
        self.nodes[at].list().map(|list| &self.lists[list])
    }

    /// The latest list that anybody has taken over.
    pub fn latest(&self) -> &List {
        let (_, list) = self.by_epoch.last_key_value().expect("the first one");
        &self.lists[*list]
    }

    /// A list that was chosen is taken over with the decision that says so.
    pub fn adopt_chosen(&mut self, at: usize) {
        let slot = self.nodes[at].slot(Reg::List);
        if let Some(Val::List { at: list, .. }) = slot.state.value.filter(|_| slot.chosen) {
            self.adopt(at, list);
        }
    }

    /// A node takes a list over, if it is a later one. Whom it gives a place begins with nothing.
    pub fn adopt(&mut self, at: usize, list: usize) {
        let roster = Arc::clone(&self.lists[list].roster);
        let node = &mut self.nodes[at];
        let known = node.disk.state.epoch;
        if roster.epoch <= known {
            return;
        }
        let keeps = self.weak.keeps_what_it_held || self.weak.joins_without_epoch;
        if roster.begins_anew(node.inc, known) && !keeps {
            node.clear();
        }
        node.disk.state = node.acceptor.enter(roster.epoch);
        node.disk.list = Some(list);
        match self.by_epoch.insert(roster.epoch, list) {
            Some(other) if other != list => self.broken = Some(format!("two lists of {:?}", roster.epoch)),
            Some(_) => {}
            None => self.count(&roster),
        }
    }

    fn count(&mut self, roster: &Roster) {
        let newest = roster.given.iter().max_by_key(|(_, since)| **since);
        if let Some((node, since)) = newest.filter(|_| roster.before.is_empty())
            && since.0 + 1 == roster.epoch.0
        {
            self.tally.changed += 1;
            self.tally.seated += u64::from(self.lost.contains(node));
        }
    }

    /// Has a list decided in the place of the one that a node goes by.
    pub fn decide_list(&mut self, at: usize, next: Roster) -> Option<usize> {
        let present = self.list_of(at)?.clone();
        let running = self.coords.iter().filter(|c| c.whom == Whom::List);
        if running.count() == 2 || self.lists.len() == LISTS_MAX {
            return None;
        }
        let (epoch, list) = (next.epoch, self.lists.len());
        self.note(|| format!("n{} would have {next:?}", at + 1));
        self.lists.push(List::new(next));
        let wants = Wants::List(Succession::new(present.roster.epoch, Val::List { epoch, at: list }));
        let write = Write::with_rules(present.members, wants, self.weak.rules);
        self.spawn(at, Whom::List, Either::Write(Box::new(write)));
        Some(list)
    }

    /// A node loses its disk, unless the list has lost another one or changes. It is back as somebody without a place.
    pub fn lose_disk(&mut self) {
        let latest = Arc::clone(&self.latest().roster);
        let whole = latest.before.is_empty() && latest.seats.iter().all(|seat| self.index(seat.incarnation).is_some());
        if self.change.is_some() || !whole || self.lost.len() == LOST_MAX {
            return;
        }
        let at = self.rng.below(self.replicas);
        self.coords.retain(|c| c.node != at);
        let (mut inc, mut disk) = (Incarnation(100 + self.draw()), Disk::empty());
        if let Some(list) = self.nodes[at].list().filter(|_| self.weak.keeps_its_life) {
            (inc, disk) = (self.nodes[at].inc, Disk::with_list(self.lists[list].roster.epoch, list));
        }
        self.note(|| format!("n{} loses its disk and comes back as {inc}", at + 1));
        self.lost.push(inc);
        self.nodes[at].replace_disk(inc, disk);
    }

    /// The node outside is to take the place of one inside. Once in a history.
    pub fn begin_change(&mut self) {
        let Some(outside) = self.nodes.get(self.replicas).map(|n| n.inc) else { return };
        let roster = Arc::clone(&self.latest().roster);
        if self.change.is_some() || self.exchanged || !roster.before.is_empty() {
            return;
        }
        self.exchanged = true;
        let mut seats = roster.seats.clone();
        let out = self.rng.below(seats.len());
        seats[out] = seat(self.replicas, outside);
        self.change_to(&roster, &seats, None);
    }

    fn change_to(&mut self, from: &Roster, seats: &[Seat], since: Option<Epoch>) {
        let new = seats.iter().map(|seat| seat.incarnation).filter(|node| !from.seats_node(*node));
        let (change, newcomers) = (Change::new(seats, since), new.collect());
        self.change = Some(ChangeChore { change, newcomers, stored: None, taught: false });
    }

    /// Some node sees to the list: the next step of a change, or one that is overdue.
    pub fn see_to_list(&mut self) {
        let at = self.rng.below(self.nodes.len());
        let Some(List { roster, members }) = self.list_of(at).cloned() else { return };
        let Some(chore) = &mut self.change else {
            let lives = |name: &NodeName| {
                (0..self.nodes.len()).map(|at| seat(at, self.nodes[at].inc)).find(|seat| seat.name == *name)
            };
            if let Some(seats) = roster.overdue(|name| lives(name).map(|seat| seat.incarnation)) {
                self.change_to(&roster, &seats, Some(roster.epoch));
            }
            return;
        };
        let step = chore.change.step(&roster, chore.stored, 0);
        match step {
            Step::Done => self.change = None,
            Step::StoreAgain if self.weak.changes_without_settling => chore.stored = Some(roster.epoch),
            Step::StoreAgain if self.weak.copies_tentative => self.copy(at, &members),
            Step::StoreAgain => {
                if !self.coords.iter().any(|c| matches!(c.whom, Whom::Move(_))) {
                    let read = Read::settle_with_rules(members, self.weak.rules);
                    self.spawn(at, Whom::Move(roster.epoch), Either::Read(Box::new(read)));
                }
            }
            Step::Decide(_) if self.weak.joins_without_epoch && !chore.taught => self.copy(at, &members),
            Step::Decide(next) => {
                let at_once = self.weak.changes_at_once || self.weak.joins_without_epoch;
                let next = if at_once { Roster { before: Vec::new(), ..next } } else { next };
                self.decide_list(at, next);
            }
        }
    }

    /// The register was stored again in an epoch: that may end.
    pub fn moved(&mut self, epoch: Epoch) {
        if let Some(chore) = &mut self.change {
            chore.stored = Some(epoch);
        }
    }

    /// What a weakened change does in the place of storing again: it looks for what the newcomers should hold.
    fn copy(&mut self, at: usize, members: &Arc<Members>) {
        if !self.coords.iter().any(|c| matches!(c.whom, Whom::CatchUp(_))) {
            let read_chosen = self.weak.rules.read_chosen && !self.weak.copies_tentative;
            let rules = Rules { read_chosen, ..self.weak.rules };
            let read = Read::with_rules(Arc::clone(members), &[], rules);
            self.spawn(at, Whom::CatchUp(members.epoch()), Either::Read(Box::new(read)));
        }
    }

    /// The newcomers of a weakened change are taught what was found.
    pub fn caught_up(&mut self, epoch: Epoch, ballot: Ballot, state: Traced<Val>) {
        let Some(chore) = &mut self.change else { return };
        (chore.stored, chore.taught) = (Some(epoch), true);
        for newcomer in chore.newcomers.clone() {
            let Some(at) = self.index(newcomer) else { continue };
            self.learn(at, Reg::Object, ballot, &state);
            self.commit(at);
        }
    }
}
