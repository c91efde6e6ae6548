//! Chores: what goes on behind the clients' backs: feed, settler, wiped nodes, dropped tombstones.

use super::coordinators::Whom;
use super::machine::Either;
use super::value::Val;
use super::world::{Packet, World, attempt};
use boveda::base::{Ballot, Epoch, Incarnation, Stamp};
use boveda::register::{
    Answer, Attempt, Burial, Join, Members, Message, NodeState, Read, Reply, Request, Rules, Slot, Traced, Votes,
};
use std::sync::Arc;

/// A wiped node on its way to a vote.
pub struct JoinChore {
    node: usize,
    members: Arc<Members>,
    join: Join,
}

/// A tombstone on its way out.
pub struct BurialChore {
    ballot: Ballot,
    /// The list before the epoch that is to begin, and in it.
    before: Arc<Members>,
    members: Arc<Members>,
    burial: Burial,
    home: Incarnation,
    attempt: Attempt,
    begun: bool,
}

/// A member list on its way to become another one.
pub struct ChangeChore {
    /// The epoch of both lists, and the list after it.
    both: Arc<Members>,
    after: Vec<Incarnation>,
    old: Arc<Members>,
    entered: Votes,
}

impl World {
    /// A node teaches another one what it holds as chosen.
    pub fn feed(&mut self) {
        let at = self.rng.below(self.nodes.len());
        let to = self.nodes[self.rng.below(self.nodes.len())].inc;
        self.commit(at);
        let node = &self.nodes[at];
        let lesson = Message::lesson(&node.slot, node.state.epoch, attempt(0));
        let (epoch, slot) = (node.state.epoch, &node.slot);
        let untrue = || Message { epoch, attempt: attempt(0), request: Request::Learn(slot.accepted, slot.state) };
        let from = node.inc;
        let lesson = lesson.or_else(|| self.weak.teaches_tentative.then(untrue));
        self.net.extend(lesson.map(|message| Packet::Ask { to, from, message, have: None }));
    }

    pub fn settle(&mut self) {
        let at = self.rng.below(self.nodes.len());
        if !self.nodes[at].slot.chosen && self.settles < 4 {
            self.settles += 1;
            self.tally.settled += 1;
            let epoch = usize::try_from(self.nodes[at].state.epoch.0).expect("few epochs");
            let read = Read::settle_with_rules(Arc::clone(&self.epochs[epoch]), self.weak.rules);
            self.spawn(at, Whom::Settler, Either::Read(Box::new(read)));
        }
    }

    /// A node loses its disk; or its way back goes on.
    pub fn wipe(&mut self) {
        if let Some(chore) = &self.join {
            let (node, members) = (chore.node, Arc::clone(&chore.members));
            let me = self.nodes[node].inc;
            let may_learn = chore.join.floor().is_some() || self.weak.joins_without_epoch;
            if !self.weak.joins_without_epoch {
                let others = members.voters().iter().filter(|v| **v != me);
                self.net.extend(others.map(|to| Packet::Enter { to: *to, epoch: members.epoch() }));
            }
            if may_learn && !self.coords.iter().any(|c| c.whom == Whom::CatchUp) {
                self.learn_all(node);
            }
            return;
        }
        let at = self.rng.below(self.replicas);
        if self.nodes[..self.replicas].iter().any(|n| !n.state.votes) || self.wipes == 2 {
            return;
        }
        self.wipes += 1;
        self.coords.retain(|c| c.node != at);
        let inc = Incarnation(100 + self.draw());
        let epoch = Epoch(self.epochs.len() as u64);
        let mut state = NodeState::joining(epoch);
        state.votes = self.weak.votes_at_once;
        self.note(|| format!("n{} is wiped and comes back as {inc} in {epoch:?}", at + 1));
        self.nodes[at].wipe(inc, state);
        let voters: Vec<_> = self.nodes[..self.replicas].iter().map(|n| n.inc).collect();
        let members = Arc::new(Members::new(epoch, &voters).expect("a list"));
        self.epochs.push(Arc::clone(&members));
        let join = Join::new(Arc::clone(&members), inc);
        self.join = Some(JoinChore { node: at, members, join });
        self.wipe();
    }

    /// A node that restarts while it joins begins its join again.
    pub fn join_restarts(&mut self, at: usize) {
        let me = self.nodes[at].inc;
        if let Some(chore) = self.join.as_mut().filter(|c| c.node == at) {
            chore.join = Join::new(Arc::clone(&chore.members), me);
        }
    }

    pub fn enter(&mut self, to: Incarnation, epoch: Epoch) {
        if let Some(at) = self.index(to) {
            let node = &mut self.nodes[at];
            node.state = node.acceptor.enter(epoch);
            let (epoch, highest) = (node.state.epoch, node.highest());
            self.commit(at);
            self.net.push(Packet::Entered { from: to, epoch, highest });
        }
    }

    pub fn entered(&mut self, from: Incarnation, epoch: Epoch, highest: Stamp) {
        if let Some(chore) = &mut self.join {
            let ready = chore.join.floor().is_some();
            chore.join.entered(from, epoch, highest);
            let node = chore.node;
            if let Some(floor) = chore.join.floor().filter(|_| !ready) {
                self.nodes[node].state = self.nodes[node].acceptor.raise_floor(floor);
                self.commit(node);
                self.learn_all(node);
            }
        }
        self.change_hears(from, epoch);
        let before = self.weak.buries_without_epoch;
        let Some(chore) = self.burial.as_mut().filter(|c| c.begun && !before) else { return };
        chore.burial.entered(from, epoch);
        if chore.burial.may_drop() {
            self.drop_everywhere();
        }
    }

    fn learn_all(&mut self, node: usize) {
        let mut epoch = usize::try_from(self.nodes[node].state.epoch.0).expect("few epochs");
        if self.weak.joins_without_epoch {
            epoch = epoch.saturating_sub(1);
        }
        let read_chosen = self.weak.rules.read_chosen && !self.weak.copies_tentative;
        let rules = Rules { read_chosen, ..self.weak.rules };
        let read = Read::with_rules(Arc::clone(&self.epochs[epoch]), &[], rules);
        self.spawn(node, Whom::CatchUp, Either::Read(Box::new(read)));
    }

    /// The joining node knows what is chosen, and votes.
    pub fn caught_up(&mut self, node: usize, ballot: Ballot, state: Traced<Val>) {
        if self.join.as_ref().is_none_or(|chore| chore.node != node) {
            return;
        }
        let epoch = self.nodes[node].state.epoch;
        let message = Message { epoch, attempt: attempt(0), request: Request::Learn(ballot, state) };
        self.note(|| format!("n{} has caught up with {message:?}", node + 1));
        let reply = self.nodes[node].handle(&message, false);
        assert_eq!(reply.answer, Answer::Learned);
        self.look_at(node);
        self.admit(node);
    }

    fn admit(&mut self, node: usize) {
        self.nodes[node].state = self.nodes[node].acceptor.admit();
        self.commit(node);
        self.join = None;
        self.tally.joined += 1;
    }

    /// The node outside takes the place of one inside; or the next step of it. Once in a history.
    pub fn change(&mut self) {
        if let Some(chore) = &self.change {
            let epoch = chore.both.epoch();
            self.net.extend(chore.old.voters().iter().map(|to| Packet::Enter { to: *to, epoch }));
            let entered = chore.old.in_every_majority(chore.entered);
            if self.latest().epoch() == epoch && entered {
                if self.weak.changes_without_settling {
                    return self.moved();
                }
                if !self.coords.iter().any(|c| c.whom == Whom::Move) {
                    let read = Read::settle_with_rules(Arc::clone(&chore.both), self.weak.rules);
                    let at = self.rng.below(self.nodes.len());
                    self.spawn(at, Whom::Move, Either::Read(Box::new(read)));
                }
            }
            return;
        }
        let Some(outside) = self.nodes.get(self.replicas).map(|n| n.inc) else { return };
        let old = self.latest();
        let mut after = old.voters().to_vec();
        after[self.rng.below(self.replicas)] = outside;
        let epoch = Epoch(old.epoch().0 + 1);
        let both = if self.weak.changes_at_once {
            Members::new(epoch, &after)
        } else {
            Members::joint(epoch, old.voters(), &after)
        };
        let both = Arc::new(both.expect("a list"));
        self.epochs.push(Arc::clone(&both));
        self.change = Some(ChangeChore { both, after, old, entered: Votes::default() });
    }

    fn change_hears(&mut self, from: Incarnation, epoch: Epoch) {
        if let Some(chore) = self.change.as_mut().filter(|c| epoch >= c.both.epoch()) {
            chore.entered = chore.entered.with(chore.old.only(from));
        }
    }

    /// A majority of both lists has stored the key: the new list stands alone.
    pub fn moved(&mut self) {
        let Some(chore) = &self.change else { return };
        if self.latest().epoch() == chore.both.epoch() {
            let epoch = Epoch(chore.both.epoch().0 + 1);
            self.epochs.push(Arc::new(Members::new(epoch, &chore.after).expect("a list")));
            self.tally.changed += 1;
        }
    }

    /// A tombstone that is chosen goes its way; or the next step of it.
    pub fn bury(&mut self) {
        let latest = self.latest();
        if self
            .burial
            .as_ref()
            .is_some_and(|c| c.members.epoch() < latest.epoch() || (!c.begun && c.members.epoch() == latest.epoch()))
        {
            self.burial = None;
        }
        if self.burial.is_none() {
            let gone = |s: &Slot<Val>| s.chosen && s.state.value == Some(Val::Gone);
            let Some(node) = self.nodes[..self.replicas].iter().find(|n| gone(&n.slot)) else { return };
            let (ballot, home) = (node.slot.accepted, node.inc);
            let epoch = Epoch(latest.epoch().0 + 1);
            let members = Arc::new(Members::new(epoch, latest.voters()).expect("a list"));
            let burial = Burial::new(Arc::clone(&members), ballot);
            let attempt = attempt(self.draw());
            self.burial = Some(BurialChore { ballot, before: latest, members, burial, home, attempt, begun: false });
        }
        let Some(chore) = &self.burial else { return };
        let (epoch, from, attempt) = (chore.before.epoch(), chore.home, chore.attempt);
        if chore.begun {
            // Who has no place hears of the list as well, whatever it holds.
            let epoch = chore.members.epoch();
            self.net.extend(self.nodes[self.replicas..].iter().map(|node| Packet::Enter { to: node.inc, epoch }));
        }
        for to in chore.members.voters() {
            self.net.push(if chore.begun {
                Packet::Enter { to: *to, epoch: chore.members.epoch() }
            } else {
                Packet::Ask { to: *to, from, message: Message { epoch, attempt, request: Request::Query }, have: None }
            });
        }
    }

    pub fn burial_hears(&mut self, reply: &Reply<Val>) {
        let latest = self.latest().epoch();
        let Some(chore) = self.burial.as_mut().filter(|c| c.attempt == reply.attempt && !c.begun) else { return };
        let Answer::Held(slot, _) = &reply.answer else { return };
        chore.burial.held(reply.from, reply.epoch, slot);
        if chore.burial.may_begin() && chore.members.epoch() > latest {
            chore.begun = true;
            if self.weak.buries_without_epoch {
                return self.drop_everywhere();
            }
            self.epochs.push(Arc::clone(&chore.members));
            self.bury();
        }
    }

    fn drop_everywhere(&mut self) {
        let Some(chore) = self.burial.take() else { return };
        let in_epoch = if self.weak.buries_without_epoch { &chore.before } else { &chore.members };
        let (epoch, ballot) = (in_epoch.epoch(), chore.ballot);
        self.net.extend(chore.members.voters().iter().map(|to| Packet::Bury { to: *to, epoch, ballot }));
        self.tally.buried += 1;
    }

    pub fn drop_tombstone(&mut self, to: Incarnation, epoch: Epoch, ballot: Ballot) {
        let Some(at) = self.index(to) else { return };
        let node = &mut self.nodes[at];
        node.state = node.acceptor.enter(epoch);
        if self.weak.buries_without_floor {
            if node.slot.accepted == ballot && node.slot.chosen {
                node.slot = Slot::default();
            }
        } else if let Some(state) = node.acceptor.drop_tombstone(&node.slot, ballot) {
            (node.state, node.slot) = (state, Slot::default());
        }
    }
}
