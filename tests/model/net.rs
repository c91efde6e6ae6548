//! The net: what travels between nodes, what is lost or comes twice, and what is done with what arrives.

use super::node::Reg;
use super::value::Val;
use super::world::World;
use boveda::base::{Ballot, BodyId, Incarnation};
use boveda::register::{Answer, Event, Message, Reply, Request, Slot};

/// What travels.
#[derive(Clone, Debug)]
pub enum Packet {
    /// From somebody who holds `have`: a record at the same ballot is not sent back.
    Ask {
        to: Incarnation,
        from: Incarnation,
        reg: Reg,
        message: Message<Val>,
        have: Option<Slot<Val>>,
    },
    Answer {
        to: Incarnation,
        reply: Reply<Val>,
    },
    Blob {
        to: Incarnation,
        from: Incarnation,
        body: BodyId,
    },
    BlobHeld {
        to: Incarnation,
        node: Incarnation,
        body: BodyId,
    },
    /// A heartbeat with a member list, by its place.
    List {
        to: Incarnation,
        list: usize,
    },
    Bury {
        to: Incarnation,
        list: usize,
        ballot: Ballot,
    },
}

impl World {
    /// Takes a packet out of the net, mostly one that does not go to a slow node.
    fn take(&mut self) -> Option<Packet> {
        if self.net.is_empty() {
            return None;
        }
        let mut at = self.rng.below(self.net.len());
        for _ in 0..3 {
            let to = match &self.net[at] {
                Packet::Ask { to, .. } | Packet::Answer { to, .. } => *to,
                Packet::Blob { to, .. } | Packet::BlobHeld { to, .. } => *to,
                Packet::List { to, .. } | Packet::Bury { to, .. } => *to,
            };
            if self.calm || self.index(to).is_none_or(|to| self.slow & (1 << to) == 0) {
                break;
            }
            at = self.rng.below(self.net.len());
        }
        if !self.calm && self.rng.odds(self.weather.double) {
            return Some(self.net[at].clone());
        }
        Some(self.net.swap_remove(at))
    }

    pub fn deliver(&mut self) {
        if self.net.is_empty() || self.calm {
            self.commit_all();
        }
        let Some(packet) = self.take() else {
            // Silence: chores go on, or timers run out.
            let has_chores = self.weather.list + self.weather.bury > 0;
            if !self.calm && has_chores && self.rng.odds(600) {
                return self.go_on_with_chores();
            }
            if !self.wake() && !self.invoke() {
                self.expire();
            }
            return;
        };
        let lost = !self.calm && self.rng.odds(self.weather.loss);
        if lost {
            self.note(|| format!("LOST {packet:?}"));
            return self.lose(packet);
        }
        self.note(|| format!("{packet:?}"));
        match packet {
            Packet::Ask { to, from, reg, message, have } => self.ask((to, from), reg, &message, have),
            Packet::Answer { to, reply } => {
                if let Some(at) = self.index(to) {
                    self.nodes[at].clock.observe(reply.stamp());
                    self.burial_hears(&reply);
                    self.hear(to, &Event::Reply(reply));
                }
            }
            Packet::Blob { to, from, body } => {
                if let Some(at) = self.index(to) {
                    self.nodes[at].blobs |= 1 << body.0[0];
                    self.net.push(Packet::BlobHeld { to: from, node: to, body });
                }
            }
            Packet::BlobHeld { to, node, body } => self.hear(to, &Event::Holds { node, body }),
            Packet::List { to, list } => {
                if let Some(at) = self.index(to) {
                    self.adopt(at, list);
                    self.commit(at);
                }
            }
            Packet::Bury { to, list, ballot } => self.drop_tombstone(to, list, ballot),
        }
    }

    /// A packet does not arrive. Of a blob that is known some time, of a message only perhaps.
    fn lose(&mut self, packet: Packet) {
        match packet {
            Packet::Ask { to, from, message, .. } if self.rng.odds(500) => {
                self.hear(from, &Event::Silent { from: to, attempt: message.attempt });
            }
            Packet::Blob { to: node, from: to, body } | Packet::BlobHeld { to, node, body } => {
                self.hear(to, &Event::Lacks { node, body });
            }
            _ => {}
        }
    }

    fn ask(
        &mut self,
        (to, from): (Incarnation, Incarnation),
        reg: Reg,
        message: &Message<Val>,
        have: Option<Slot<Val>>,
    ) {
        let Some(at) = self.index(to) else { return };
        if matches!(message.request, Request::Learn(..)) {
            self.taught(at, from, reg, message);
        } else if self.nodes[at].acceptor.answers(message.epoch) {
            self.vote(at, from, reg, message, have);
        } else {
            return self.compare_lists(to, from, message);
        }
        if !self.rng.odds(self.grouped) {
            self.commit(at);
        }
    }

    fn vote(&mut self, at: usize, from: Incarnation, reg: Reg, message: &Message<Val>, have: Option<Slot<Val>>) {
        let blob = match &message.request {
            Request::Store(_, state, _) => state.blob(),
            _ => None,
        };
        let node = &mut self.nodes[at];
        let has_blob = self.weak.grants_without_blob || blob.is_none_or(|body| node.blobs & (1 << body.0[0]) != 0);
        let mut reply = node.handle(reg, message, has_blob);
        if let (Answer::Held(slot, _) | Answer::Promised(_, slot), Some(have)) = (&mut reply.answer, have)
            && slot.accepted == have.accepted
        {
            slot.state = have.state;
        }
        if message.request.is_answered() {
            let answer = Packet::Answer { to: from, reply };
            if self.weak.answers_early {
                self.net.push(answer);
            } else {
                node.answer(answer);
            }
        }
        self.look_at(at, reg);
        self.adopt_chosen(at);
    }

    /// Who does not have the list of a message does not answer; the two compare their lists at once.
    fn compare_lists(&mut self, to: Incarnation, from: Incarnation, message: &Message<Val>) {
        self.net.extend(self.by_epoch.get(&message.epoch).map(|list| Packet::List { to, list: *list }));
        if self.rng.odds(500) {
            self.hear(from, &Event::Silent { from: to, attempt: message.attempt });
        }
    }
}
