//! Coordinators: they drive the register's state machines as a node does, with the node's own `Drive`.

use super::lists::List;
use super::machine::{Either, End as EndOf};
use super::net::Packet;
use super::node::Reg;
use super::value::{Plan, Val, held, seen};
use super::world::{World, attempt};
use crate::lin::Op;
use boveda::base::{BodyId, Epoch, Incarnation, WriteId};
use boveda::register::{
    Choice, Do, Drive, Event, Fresh, Intent, Read, ReadOutcome, Succession, Traced, Value, Write, WriteOutcome,
};
use std::time::Duration;

pub type Machine = Either<Val, Wants>;
type End = EndOf<Val>;

/// How long a round takes at most. Time passes for one coordinator at a time, by as much as it waits for.
const ROUND: Duration = Duration::from_secs(1);

/// What a write is to become of a register.
#[derive(Clone, Copy, Debug)]
pub enum Wants {
    Client(Plan),
    List(Succession<Val>),
}

impl Intent<Val> for Wants {
    fn decide(&self, found: Option<&Val>) -> Choice<Val> {
        match self {
            Wants::Client(plan) => plan.decide(found),
            Wants::List(succession) => succession.decide(found),
        }
    }
}

/// For whom something is coordinated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Client(usize),
    /// A node that has seen something tentative for long.
    Settler,
    /// The key is stored again, in an epoch of both lists.
    Move(Epoch),
    /// A weakened change looks for what newcomers should hold, in that epoch.
    CatchUp(Epoch),
    /// A member list follows another one.
    List,
}

impl Whom {
    fn reg(self) -> Reg {
        match self {
            Whom::List => Reg::List,
            Whom::Client(_) | Whom::Settler | Whom::Move(_) | Whom::CatchUp(_) => Reg::Object,
        }
    }
}

pub struct Coordinator {
    pub node: usize,
    pub whom: Whom,
    drive: Drive<Val, Machine>,
    /// What the round that runs, or ran, was begun with.
    drawn: u64,
    now: Duration,
    /// Until when it waits.
    until: Duration,
    /// It waits between two rounds, for its backoff to end.
    waits: bool,
    done: bool,
}

impl World {
    /// A client that has not begun yet calls a node.
    pub fn invoke(&mut self) -> bool {
        let idle: Vec<_> = (0..self.clients.len()).filter(|c| self.clients[*c].begun.is_none()).collect();
        // A node without a list does nothing for clients.
        let able: Vec<_> = (0..self.nodes.len()).filter(|at| self.list_of(*at).is_some()).collect();
        if idle.is_empty() {
            return false;
        }
        let client = self.rng.pick(&idle);
        let mut node = self.rng.pick(&able);
        if self.rng.odds(self.weather.outsider / 2) {
            node = able[able.len() - 1];
        }
        let List { members, .. } = self.list_of(node).expect("it has one").clone();
        self.clients[client].begun = Some(self.now);
        self.tally.called += 1;
        let plan = self.clients[client].plan;
        self.note(|| format!("client {client} calls n{}: {plan:?}", node + 1));
        let Some(plan) = plan else {
            let prefer = [self.nodes[node].inc, self.nodes[self.rng.below(self.nodes.len())].inc];
            let read = Read::with_rules(members, &prefer, self.weak.rules);
            self.spawn(node, Whom::Client(client), Either::Read(Box::new(read)));
            return true;
        };
        let voters = members.voters().to_vec();
        let write = Write::with_rules(members, Wants::Client(plan), self.weak.rules);
        self.spawn(node, Whom::Client(client), Either::Write(Box::new(write)));
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

    pub fn spawn(&mut self, node: usize, whom: Whom, machine: Machine) {
        let drive = Drive::new(self.nodes[node].inc, machine, ROUND);
        let (now, until) = (Duration::ZERO, Duration::ZERO);
        self.coords.push(Coordinator { node, whom, drive, drawn: 0, now, until, waits: false, done: false });
        self.go_on(self.coords.len() - 1);
    }

    fn begin(&mut self, at: usize) {
        let drawn = self.draw();
        let coord = &mut self.coords[at];
        coord.drawn = drawn;
        let node = &self.nodes[coord.node];
        let ballot = node.fresh_ballot();
        let fresh =
            Fresh { ballot, attempt: attempt(drawn), write: WriteId::drawn(drawn.to_be_bytes()), generation: 0 };
        coord.drive.begin(fresh, Some(node.durable(coord.whom.reg()).clone()), coord.now);
    }

    /// Everybody who coordinates at this node hears an event.
    pub fn hear(&mut self, node: Incarnation, event: &Event<Val>) {
        let Some(node) = self.index(node) else { return };
        for at in 0..self.coords.len() {
            let coord = &mut self.coords[at];
            if coord.node == node && !coord.done {
                coord.drive.on(event.clone());
                self.go_on(at);
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
        self.pass_time(at, self.coords[at].until, Duration::MAX);
        true
    }

    /// A round takes too long.
    pub fn expire(&mut self) {
        if !self.coords.is_empty() {
            let at = self.rng.below(self.coords.len());
            let coord = &self.coords[at];
            self.note(|| format!("a round of attempt {:?} expires", attempt(coord.drawn)));
            if !coord.waits {
                self.pass_time(at, coord.until, Duration::MAX);
            }
            self.coords.retain(|c| !c.done);
        }
    }

    pub fn deadline(&mut self) {
        if !self.coords.is_empty() {
            let at = self.rng.below(self.coords.len());
            let coord = &self.coords[at];
            self.note(|| format!("deadline of attempt {:?}", attempt(coord.drawn)));
            self.pass_time(at, coord.now, coord.now);
            self.coords.retain(|c| !c.done);
        }
    }

    pub fn kill(&mut self) {
        if !self.coords.is_empty() {
            let at = self.rng.below(self.coords.len());
            self.note(|| format!("the coordinator of attempt {:?} dies", attempt(self.coords[at].drawn)));
            self.coords.swap_remove(at);
        }
    }

    fn pass_time(&mut self, at: usize, now: Duration, at_the_latest: Duration) {
        let coord = &mut self.coords[at];
        coord.now = now;
        coord.drive.tick(now, at_the_latest);
        self.go_on(at);
    }

    /// Does what is to be done, until something is waited for.
    fn go_on(&mut self, at: usize) {
        loop {
            let coord = &mut self.coords[at];
            let from = self.nodes[coord.node].inc;
            match coord.drive.step() {
                Do::Begin => self.begin(at),
                Do::Send { to, message } => {
                    let have = coord.drive.have_for(&message).cloned();
                    self.net.push(Packet::Ask { to, from, reg: coord.whom.reg(), message, have });
                }
                Do::Ship { to, body, .. } => self.ship(at, to, body),
                Do::Teach { .. } => unreachable!("no bucket has a fence here"),
                Do::Lost => coord.drive.retry(coord.now, false),
                Do::Wait { until } => return (coord.until, coord.waits) = (until, false),
                Do::Pause { until } => return (coord.until, coord.waits) = (until, true),
                Do::Renew { epoch } => {
                    // The later list comes by itself, with a heartbeat; the next round begins when it is woken.
                    let (node, list) = (coord.node, self.by_epoch[&epoch]);
                    self.adopt(node, list);
                    self.commit(node);
                    let List { members, .. } = self.list_of(node).expect("it has one").clone();
                    let coord = &mut self.coords[at];
                    coord.drive.renew(members);
                    return (coord.until, coord.waits) = (coord.now, true);
                }
                Do::Done(end) => return self.ended(at, end),
            }
        }
    }

    /// Fetches a blob from whoever has it, and passes it on.
    fn ship(&mut self, at: usize, to: Incarnation, body: BodyId) {
        let from = self.nodes[self.coords[at].node].inc;
        if self.nodes.iter().any(|n| n.blobs & (1 << body.0[0]) != 0) {
            self.net.push(Packet::Blob { to, from, body });
        } else {
            self.coords[at].drive.on(Event::Lacks { node: to, body });
        }
    }

    fn ended(&mut self, at: usize, end: End) {
        self.coords[at].done = true;
        let client = match (self.coords[at].whom, &end) {
            (Whom::Client(client), _) => client,
            (Whom::CatchUp(epoch), End::Read(ReadOutcome::Found { ballot, state })) => {
                return self.caught_up(epoch, *ballot, *state);
            }
            (Whom::Move(epoch), End::Read(ReadOutcome::Found { .. })) => return self.moved(epoch),
            (Whom::Settler | Whom::CatchUp(_) | Whom::Move(_) | Whom::List, _) => return,
        };
        self.note(|| match &end {
            End::Write(outcome) => format!("client {client} has {outcome:?}"),
            End::Read(outcome) => format!("client {client} has {outcome:?}"),
        });
        let plan = self.clients[client].plan;
        let condition = plan.map_or(crate::lin::Condition::Any, |p| p.condition);
        let (op, void) = match end {
            End::Read(ReadOutcome::Gone) | End::Write(WriteOutcome::Gone) => unreachable!("no bucket has a fence here"),
            End::Read(ReadOutcome::NoMajority | ReadOutcome::Contended)
            | End::Write(WriteOutcome::NoMajority | WriteOutcome::Contended) => {
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
                if id == WriteId::drawn(self.coords[at].drawn.to_be_bytes()) {
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
            if holders + self.lost.len() <= self.replicas / 2 {
                self.broken = Some(format!("{body} answered, and {holders} of {} hold it", self.replicas));
            }
        }
    }
}
