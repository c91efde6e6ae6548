//! Coordinators: they drive the register's state machines as the actors of a node do.

use super::value::{Plan, Val, held, seen};
use super::world::{Packet, World, attempt};
use crate::lin::Op;
use boveda::base::{BodyId, Epoch, Incarnation, WriteId};
use boveda::register::{Action, Attempt, Event, Fresh, Read, ReadOutcome, Traced, Value, Write, WriteOutcome};
use std::sync::Arc;

pub enum Machine {
    Write(Write<Val, Plan>),
    Read(Read<Val>),
    /// A joining node learns the key.
    CatchUp(Read<Val>),
    /// The key is stored again, by both lists.
    Move(Read<Val>),
}

pub struct Coordinator {
    pub node: usize,
    pub client: Option<usize>,
    pub machine: Machine,
    pub attempt: Attempt,
    /// It waits for its backoff to end.
    pub waits: bool,
    pub done: bool,
}

enum End {
    Write(WriteOutcome<Val>),
    Read(ReadOutcome<Val>),
}

impl World {
    /// A client that has not begun yet calls a node.
    pub fn invoke(&mut self) -> bool {
        let idle: Vec<_> = (0..self.clients.len()).filter(|c| self.clients[*c].begun.is_none()).collect();
        if idle.is_empty() {
            return false;
        }
        let client = self.rng.pick(&idle);
        let mut node = self.rng.below(self.nodes.len());
        if self.rng.odds(self.weather.outsider / 2) {
            node = self.nodes.len() - 1;
        }
        self.clients[client].begun = Some(self.now);
        self.tally.called += 1;
        let epoch = self.known_epoch(node);
        let members = Arc::clone(&self.epochs[epoch]);
        let plan = self.clients[client].plan;
        self.note(|| format!("client {client} calls n{}: {plan:?}", node + 1));
        let Some(plan) = plan else {
            let prefer = [self.nodes[node].inc, self.nodes[self.rng.below(self.nodes.len())].inc];
            let read = Read::with_rules(members, &prefer, self.weak.rules);
            self.spawn(node, Some(client), Machine::Read(read));
            return true;
        };
        let voters = members.voters().to_vec();
        self.spawn(node, Some(client), Machine::Write(Write::with_rules(members, plan, self.weak.rules)));
        if let Some(body) = plan.value.blob() {
            // The blob lies on this node at once, if it keeps any, and travels to the others.
            for to in voters {
                let from = self.nodes[node].inc;
                if self.weak.grants_without_blob {
                    self.hear(from, &Event::Holds { node: to, body });
                } else if to == from {
                    self.nodes[node].blobs |= 1 << body.0[0];
                    self.hear(from, &Event::Holds { node: to, body });
                } else {
                    self.net.push(Packet::Blob { to, from, body });
                }
            }
        }
        true
    }

    /// The epoch that a node knows; one without a replica hears of epochs late.
    fn known_epoch(&mut self, node: usize) -> usize {
        let known = usize::try_from(self.nodes[node].state.epoch.0).expect("few epochs");
        if node < self.replicas { known } else { self.rng.below(self.epochs.len()) }
    }

    pub fn spawn(&mut self, node: usize, client: Option<usize>, machine: Machine) {
        self.coords.push(Coordinator { node, client, machine, attempt: attempt(0), waits: false, done: false });
        self.begin(self.coords.len() - 1);
    }

    fn begin(&mut self, at: usize) {
        let drawn = self.draw();
        let coord = &mut self.coords[at];
        coord.waits = false;
        coord.attempt = attempt(drawn);
        let ballot = self.nodes[coord.node].stamps.ballot(0);
        let fresh = Fresh { ballot, attempt: attempt(drawn), write: WriteId::drawn(drawn.to_be_bytes()) };
        self.drive(at, |machine, out| machine.begin(fresh, out));
    }

    /// Everybody who coordinates at this node hears an event.
    pub fn hear(&mut self, node: Incarnation, event: &Event<Val>) {
        let Some(node) = self.index(node) else { return };
        for at in 0..self.coords.len() {
            if self.coords[at].node == node && !self.coords[at].done {
                self.drive(at, |machine, out| machine.on(event.clone(), out));
            }
        }
        self.coords.retain(|c| !c.done);
    }

    /// A backoff ends.
    pub fn wake(&mut self) -> bool {
        let waiting: Vec<_> = (0..self.coords.len()).filter(|c| self.coords[*c].waits).collect();
        if waiting.is_empty() {
            return false;
        }
        let at = self.rng.pick(&waiting);
        self.begin(at);
        true
    }

    pub fn expire(&mut self) {
        if !self.coords.is_empty() {
            let at = self.rng.below(self.coords.len());
            let event = Event::Expired { attempt: self.coords[at].attempt };
            self.note(|| format!("{event:?}"));
            self.drive(at, |machine, out| machine.on(event, out));
            self.coords.retain(|c| !c.done);
        }
    }

    pub fn deadline(&mut self) {
        if !self.coords.is_empty() {
            let at = self.rng.below(self.coords.len());
            self.note(|| format!("deadline of client {:?}", self.coords[at].client));
            self.drive(at, |machine, out| machine.deadline(out));
            self.coords.retain(|c| !c.done);
        }
    }

    pub fn kill(&mut self) {
        if !self.coords.is_empty() {
            let at = self.rng.below(self.coords.len());
            self.note(|| format!("the coordinator of client {:?} dies", self.coords[at].client));
            self.coords.swap_remove(at);
        }
    }

    fn drive(&mut self, at: usize, what: impl FnOnce(&mut Machine, &mut Vec<Action<Val, End>>)) {
        let mut out = Vec::new();
        what(&mut self.coords[at].machine, &mut out);
        let from = self.nodes[self.coords[at].node].inc;
        for action in out {
            match action {
                Action::Send { to, message } => self.net.push(Packet::Ask { to, from, message }),
                Action::Ship { to, body, attempt } => self.ship(at, to, body, attempt),
                Action::Retry { tries: 0 } => self.begin(at),
                Action::Retry { .. } => self.coords[at].waits = true,
                Action::Renew { epoch: Epoch(epoch) } => {
                    let members = Arc::clone(&self.epochs[usize::try_from(epoch).expect("few epochs")]);
                    match &mut self.coords[at].machine {
                        Machine::Write(write) => write.renew(members),
                        Machine::Read(read) | Machine::CatchUp(read) | Machine::Move(read) => read.renew(members),
                    }
                    self.coords[at].waits = true;
                }
                Action::Done(end) => self.ended(at, end),
            }
        }
    }

    /// Fetches a blob from whoever has it, and passes it on.
    fn ship(&mut self, at: usize, to: Incarnation, body: BodyId, attempt: Attempt) {
        let node = self.coords[at].node;
        if self.nodes.iter().any(|n| n.blobs & (1 << body.0[0]) != 0) {
            let from = self.nodes[node].inc;
            self.net.push(Packet::Blob { to, from, body });
        } else {
            self.drive(at, |machine, out| machine.on(Event::Silent { from: to, attempt }, out));
        }
    }

    fn ended(&mut self, at: usize, end: End) {
        self.coords[at].done = true;
        if let (Machine::CatchUp(_), End::Read(ReadOutcome::Found { ballot, state })) = (&self.coords[at].machine, &end)
        {
            let node = self.coords[at].node;
            return self.caught_up(node, *ballot, *state);
        }
        if let (Machine::Move(_), End::Read(ReadOutcome::Found { .. })) = (&self.coords[at].machine, &end) {
            return self.moved();
        }
        let Some(client) = self.coords[at].client else { return };
        self.note(|| match &end {
            End::Write(outcome) => format!("client {client} has {outcome:?}"),
            End::Read(outcome) => format!("client {client} has {outcome:?}"),
        });
        let plan = self.clients[client].plan;
        let condition = plan.map_or(crate::lin::Condition::Any, |p| p.condition);
        let (op, void) = match end {
            End::Read(ReadOutcome::NoMajority) | End::Write(WriteOutcome::NoMajority | WriteOutcome::Contended) => {
                self.tally.no_majority += 1;
                (None, true)
            }
            End::Read(ReadOutcome::Found { state, .. }) => {
                self.tally.read += 1;
                self.check_blob(&state);
                (Some(Op::Read(held(&state))), false)
            }
            End::Write(WriteOutcome::Unknown) => {
                self.tally.unknown += 1;
                (None, false)
            }
            End::Write(WriteOutcome::Kept(state)) => {
                self.tally.kept += 1;
                (Some(Op::Read(held(&state))), false)
            }
            End::Write(WriteOutcome::Refused(state)) => {
                self.tally.refused += 1;
                (Some(Op::Refused { condition, saw: held(&state) }), false)
            }
            End::Write(WriteOutcome::Written { replaced, id, .. }) => {
                self.tally.written += 1;
                let value = plan.map(|p| p.value);
                if id == WriteId::drawn((self.coords[at].attempt.0 >> 8).to_be_bytes()) {
                    self.check_blob(&Traced { value, ..Traced::NOTHING });
                } else {
                    // By lineage: a later write may stand on it, so its own blob need not be anywhere.
                    self.tally.by_lineage += 1;
                }
                (Some(Op::Write { to: seen(value.as_ref()), condition, replaced: Some(held(&replaced)) }), false)
            }
        };
        let client = &mut self.clients[client];
        (client.op, client.void, client.ended) = (op, void, Some(self.now));
    }

    /// What a client was told of is on a majority of the disks, but for those that were lost.
    fn check_blob(&mut self, state: &Traced<Val>) {
        if let Some(body) = state.blob() {
            let holders = self.nodes[..self.replicas].iter().filter(|n| n.blobs & (1 << body.0[0]) != 0).count();
            if holders + self.wipes <= self.replicas / 2 {
                self.broken = Some(format!("{body} answered, and {holders} of {} hold it", self.replicas));
            }
        }
    }
}

impl Machine {
    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<Val, End>>) {
        self.with(out, |w, o| w.begin(fresh, o), |r, o| r.begin(fresh, o));
    }

    fn on(&mut self, event: Event<Val>, out: &mut Vec<Action<Val, End>>) {
        match self {
            Machine::Write(_) => self.with(out, |w, o| w.on(event, o), |_, _| ()),
            Machine::Read(_) | Machine::CatchUp(_) | Machine::Move(_) => {
                self.with(out, |_, _| (), |r, o| r.on(event, o))
            }
        }
    }

    fn deadline(&mut self, out: &mut Vec<Action<Val, End>>) {
        self.with(out, |w, o| w.deadline(o), |r, o| r.deadline(o));
    }

    fn with(
        &mut self,
        out: &mut Vec<Action<Val, End>>,
        write: impl FnOnce(&mut Write<Val, Plan>, &mut Vec<Action<Val, WriteOutcome<Val>>>),
        read: impl FnOnce(&mut Read<Val>, &mut Vec<Action<Val, ReadOutcome<Val>>>),
    ) {
        match self {
            Machine::Write(machine) => {
                let mut own = Vec::new();
                write(machine, &mut own);
                out.extend(own.into_iter().map(|action| action.map(End::Write)));
            }
            Machine::Read(machine) | Machine::CatchUp(machine) | Machine::Move(machine) => {
                let mut own = Vec::new();
                read(machine, &mut own);
                out.extend(own.into_iter().map(|action| action.map(End::Read)));
            }
        }
    }
}
