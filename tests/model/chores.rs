//! Chores: what goes on behind the clients' backs: feed, settler, dropped tombstones.

use super::coordinators::Whom;
use super::lists::List;
use super::machine::Either;
use super::net::Packet;
use super::node::Reg;
use super::value::Val;
use super::world::{World, attempt};
use boveda::base::{Ballot, Incarnation};
use boveda::register::{Answer, Attempt, Burial, Members, Message, Read, Reply, Request, Roster, Slot, Traced};
use std::sync::Arc;

/// A tombstone on its way out.
pub struct BurialChore {
    ballot: Ballot,
    /// Who sees to it, and the list that it goes by.
    home: Incarnation,
    before: usize,
    /// The same list in the epoch that is to begin; and by its place, once it was asked for.
    next: Roster,
    members: Arc<Members>,
    coming: Option<usize>,
    burial: Burial,
    attempt: Attempt,
}

impl World {
    /// A node teaches another one what it holds as chosen, or tells it of its list.
    pub fn feed(&mut self) {
        let at = self.rng.below(self.nodes.len());
        let to = self.nodes[self.rng.below(self.nodes.len())].inc;
        self.commit(at);
        if self.by_epoch.len() > 1 && self.rng.odds(300) {
            let list = self.nodes[at].list();
            return self.net.extend(list.map(|list| Packet::List { to, list }));
        }
        let reg = if self.by_epoch.len() > 1 && self.rng.odds(200) { Reg::List } else { Reg::Object };
        let node = &self.nodes[at];
        let (from, epoch, slot) = (node.inc, node.disk.state.epoch, node.slot(reg));
        if slot.accepted > Ballot::ZERO && (slot.chosen || self.weak.teaches_tentative) {
            let request = Request::Learn(slot.accepted, slot.state);
            let message = Message { epoch, attempt: attempt(0), request };
            self.net.push(Packet::Ask { to, from, reg, message, have: None });
        }
    }

    /// A node is taught. It believes members, and what was read in its own epoch or a later one; so does the store.
    pub fn taught(&mut self, at: usize, from: Incarnation, reg: Reg, message: &Message<Val>) {
        let Request::Learn(ballot, state) = &message.request else { return };
        let node = &self.nodes[at];
        let stale = message.epoch < node.disk.state.epoch && self.weak.rules.epoch_refused;
        let list = node.disk.list.map(|list| &self.lists[list].roster);
        let stranger = list.is_some_and(|list| list.is_stranger(node.inc, from)) && !self.weak.strangers_teach;
        if !stale && !stranger {
            self.learn(at, reg, *ballot, state);
        }
    }

    pub fn learn(&mut self, at: usize, reg: Reg, ballot: Ballot, state: &Traced<Val>) {
        let node = &mut self.nodes[at];
        node.clock.observe(ballot.stamp);
        if let Some(slot) = node.acceptor.learn(&reg, node.disk.slot(reg), ballot, Some(state)) {
            node.hold(reg, slot);
        }
        self.look_at(at, reg);
        self.adopt_chosen(at);
    }

    pub fn settle(&mut self) {
        let at = self.rng.below(self.nodes.len());
        let Some(List { members, .. }) = self.list_of(at).cloned() else { return };
        if !self.nodes[at].slot(Reg::Object).chosen && self.settles < 4 {
            self.settles += 1;
            self.tally.settled += 1;
            let read = Read::settle_with_rules(members, self.weak.rules);
            self.spawn(at, Whom::Settler, Either::Read(Box::new(read)));
        }
    }

    /// A tombstone that is chosen goes its way; or the next step of it.
    pub fn bury(&mut self) {
        let Some(chore) = &self.burial else { return self.begin_burial() };
        let (home, before, coming) = (chore.home, chore.before, chore.coming);
        let (may_begin, next, attempt) = (chore.burial.may_begin(), chore.next.clone(), chore.attempt);
        let at = self.index(home);
        let own = at.and_then(|at| self.nodes[at].list());
        match (at, own) {
            (Some(at), Some(own)) if own == before && may_begin => {
                if self.weak.buries_without_epoch {
                    self.drop_everywhere();
                } else if !self.coords.iter().any(|c| c.node == at && c.whom == Whom::List) {
                    let coming = self.decide_list(at, next);
                    self.burial.as_mut().expect("it is there").coming = coming;
                }
            }
            (Some(_), Some(own)) if own == before || Some(own) == coming => self.ask_all(own, home, attempt),
            // It is gone, or somebody else's list has come.
            _ => self.burial = None,
        }
    }

    fn begin_burial(&mut self) {
        let gone = |slot: &Slot<Val>| slot.chosen && slot.state.value == Some(Val::Gone);
        let holder = |at: &usize| gone(self.nodes[*at].slot(Reg::Object)) && self.list_of(*at).is_some();
        let Some(at) = (0..self.nodes.len()).find(holder) else { return };
        let Some((before, List { roster, .. })) = self.nodes[at].list().zip(self.list_of(at)) else { return };
        if !roster.before.is_empty() || !roster.seats_node(self.nodes[at].inc) {
            return;
        }
        let next = roster.next(0, &roster.seats);
        let members = Arc::new(next.members().expect("a list"));
        let (home, ballot) = (self.nodes[at].inc, self.nodes[at].slot(Reg::Object).accepted);
        let burial = Burial::new(Arc::clone(&members), ballot);
        let attempt = attempt(self.draw());
        self.burial = Some(BurialChore { ballot, home, before, next, members, coming: None, burial, attempt });
        self.ask_all(before, home, attempt);
    }

    /// Asks the members what they hold: before the epoch, whether it is the tombstone; in it, whether they are there.
    fn ask_all(&mut self, list: usize, from: Incarnation, attempt: Attempt) {
        let members = Arc::clone(&self.lists[list].members);
        let message = Message { epoch: members.epoch(), attempt, request: Request::Query };
        let ask =
            |to: &Incarnation| Packet::Ask { to: *to, from, reg: Reg::Object, message: message.clone(), have: None };
        self.net.extend(members.voters().iter().map(ask));
    }

    pub fn burial_hears(&mut self, reply: &Reply<Val>) {
        let Some(chore) = self.burial.as_mut().filter(|c| c.attempt == reply.attempt) else { return };
        if let Answer::Held(slot, _) = &reply.answer {
            chore.burial.held(reply.from, reply.epoch, slot);
        }
        chore.burial.entered(reply.from, reply.epoch);
        if chore.burial.may_drop() {
            self.drop_everywhere();
        }
    }

    fn drop_everywhere(&mut self) {
        let Some(chore) = self.burial.take() else { return };
        let list = if self.weak.buries_without_epoch { Some(chore.before) } else { chore.coming };
        let bury =
            |list| chore.members.voters().iter().map(move |to| Packet::Bury { to: *to, list, ballot: chore.ballot });
        self.net.extend(list.into_iter().flat_map(bury));
        self.tally.buried += 1;
    }

    /// A member drops a tombstone, under the list that it was told under.
    pub fn drop_tombstone(&mut self, to: Incarnation, list: usize, ballot: Ballot) {
        let Some(at) = self.index(to) else { return };
        let node = &mut self.nodes[at];
        if node.disk.list != Some(list) {
            return;
        }
        let held = node.slot(Reg::Object).clone();
        if self.weak.buries_without_floor {
            if held.accepted == ballot && held.chosen {
                node.hold(Reg::Object, Slot::default());
            }
        } else if let Some(state) = node.acceptor.drop_tombstone(&held, ballot) {
            node.disk.state = state;
            node.hold(Reg::Object, Slot::default());
        }
    }
}
