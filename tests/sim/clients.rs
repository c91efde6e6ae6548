//! Clients and their coordinators: the register's own state machines over real records.

use super::node::{INLINE_MAX, NOW_MS, ring};
use super::world::{Packet, World};
use crate::lin::{Condition, Held, Op};
use boveda::base::{Ballot, BlobRef, BodyAt, BodyId, Lineage, ObjectRecord, Record, RegisterKey, State, WriteId};
use boveda::register::{
    Action, Attempt, Choice, Event, Fresh, Intent, Read, ReadOutcome, Request, Traced, Write, WriteOutcome,
};
use bytes::Bytes;
use std::sync::Arc;

type Value = Arc<Record>;

/// What a client called, and how it ended.
pub struct Client {
    pub key: usize,
    pub begun: u64,
    pub ended: Option<u64>,
    /// The call as the judge sees it; `None` where nothing was asked to change and nothing was answered.
    pub op: Option<Op>,
}

/// What a client wants to become of a key; `new` is none to delete.
#[derive(Clone)]
pub struct Wish {
    condition: Condition,
    new: Option<Value>,
}

impl Intent<Value> for Wish {
    fn decide(&self, found: Option<&Value>) -> Choice<Value> {
        let there = seen(found);
        match &self.new {
            _ if !self.condition.holds(there) => Choice::Refuse,
            None if there.is_none() => Choice::Keep,
            None => Choice::Put(record(State::Deleted)),
            Some(new) => Choice::Put(Arc::clone(new)),
        }
    }
}

enum Machine {
    Write(Box<Write<Value, Wish>>),
    Read(Box<Read<Value>>),
}

enum End {
    Write(WriteOutcome<Value>),
    Read(ReadOutcome<Value>),
}

/// A call on its way to a decision. Without a client it settles.
pub struct Coordinator {
    pub node: usize,
    pub key: usize,
    client: Option<usize>,
    machine: Machine,
    attempt: Attempt,
    storing: Option<Value>,
    waits: bool,
    done: bool,
}

fn record(state: State) -> Value {
    Arc::new(Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms: NOW_MS.get(), state })
}

/// The number of the client that wrote a state.
pub fn seen(found: Option<&Value>) -> Held {
    found.and_then(|record| record.object()).map(|object| object.content_type.parse().expect("a number"))
}

/// What a client writes, by its number.
pub fn plaintext(client: u32) -> Vec<u8> {
    let len = match client % 4 {
        0 => 0,
        1 | 2 => 40 + client as usize % INLINE_MAX / 2,
        _ => 3000 + client as usize * 37 % 5000,
    };
    client.to_le_bytes().into_iter().cycle().take(len).collect()
}

/// The blob of a record.
pub fn head(record: &Record) -> Option<BlobRef> {
    record.object()?.blob()
}

impl World {
    /// A client calls a node.
    pub fn invoke(&mut self) {
        let node = self.rng.below(self.nodes.len());
        if self.nodes[node].store().is_none() {
            return;
        }
        let key = self.rng.below(self.keys.len());
        let number = u32::try_from(self.clients.len()).expect("few clients") + 1;
        let other = self.rng.below(self.clients.len() + 1);
        let condition = match self.rng.below(6) {
            0 | 1 => Condition::Absent,
            2 | 3 => Condition::Is(u32::try_from(other).expect("few clients")),
            _ => Condition::Any,
        };
        let kind = self.rng.below(10);
        self.tally.called += 1;
        self.say("client calls", &[node as u64, key as u64, kind as u64]);
        let begun = self.now;
        match kind {
            0..=3 => {
                self.clients.push(Client { key, begun, ended: None, op: None });
                self.spawn_read(node, key, Some(self.clients.len() - 1));
            }
            4 => {
                let op = Some(Op::Write { to: None, condition, replaced: None });
                self.clients.push(Client { key, begun, ended: None, op });
                self.spawn_write(node, key, Wish { condition, new: None }, None);
            }
            _ => {
                let op = Some(Op::Write { to: Some(number), condition, replaced: None });
                self.clients.push(Client { key, begun, ended: None, op });
                let (object, sealed) = self.object(number);
                let new = record(State::Object(object));
                self.spawn_write(node, key, Wish { condition, new: Some(new) }, sealed);
            }
        }
    }

    /// A client writes without a condition; its number.
    pub fn overwrite(&mut self, node: usize, key: usize) -> usize {
        let condition = Condition::Any;
        let number = u32::try_from(self.clients.len()).expect("few clients") + 1;
        let op = Some(Op::Write { to: Some(number), condition, replaced: None });
        self.clients.push(Client { key, begun: self.now, ended: None, op });
        let (object, sealed) = self.object(number);
        self.spawn_write(node, key, Wish { condition, new: Some(record(State::Object(object))) }, sealed);
        self.clients.len() - 1
    }

    /// A sealed body; apart from its record when it is large.
    fn object(&mut self, number: u32) -> (Box<ObjectRecord>, Option<Bytes>) {
        let text = Bytes::from(plaintext(number));
        let (high, low) = (self.rng.next(), self.rng.next());
        let body = BodyId(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
        let ring = ring();
        let (sealed, wrap, digest) =
            boveda::seal::body::seal_whole(&ring, ring.cluster_id(), body, std::slice::from_ref(&text));
        let (sealed_len, sealed) = (sealed.len() as u64, Bytes::from(sealed));
        let blob = text.len() > INLINE_MAX;
        let at = if blob { BodyAt::Blob } else { BodyAt::Inline(sealed.clone()) };
        let (content_type, meta) = (number.to_string(), Vec::new());
        let object = ObjectRecord { len: text.len() as u64, content_type, meta, body, sealed_len, digest, wrap, at };
        (Box::new(object), blob.then_some(sealed))
    }

    fn spawn_write(&mut self, node: usize, key: usize, wish: Wish, sealed: Option<Bytes>) {
        let head = wish.new.as_deref().and_then(head);
        let write = Machine::Write(Box::new(Write::new(Arc::clone(&self.members), wish)));
        let client = Some(self.clients.len() - 1);
        if let (Some(head), Some(sealed)) = (head, sealed) {
            // The body is here first, then it travels, then the votes begin: as an upload does.
            if !self.nodes[node].receive(head, &sealed) {
                return;
            }
            for to in (0..self.nodes.len()).filter(|to| *to != node) {
                self.net.push(Packet::Body { to, from: node, head, sealed: sealed.clone() });
            }
            self.spawn(node, key, client, write);
            let event = Event::Holds { node: self.nodes[node].inc, body: head.body };
            return self.hear(node, None, &event);
        }
        self.spawn(node, key, client, write);
    }

    /// A read of a client, or one of the schedule's own.
    pub fn spawn_read(&mut self, node: usize, key: usize, client: Option<usize>) {
        let other = self.rng.below(self.nodes.len());
        let prefer = [self.nodes[node].inc, self.nodes[other].inc];
        let read = match client {
            Some(_) => Read::new(Arc::clone(&self.members), &prefer),
            None => Read::settle(Arc::clone(&self.members)),
        };
        self.spawn(node, key, client, Machine::Read(Box::new(read)));
    }

    fn spawn(&mut self, node: usize, key: usize, client: Option<usize>, machine: Machine) {
        let (attempt, storing) = (Attempt(0), None);
        self.coords.push(Coordinator { node, key, client, machine, attempt, storing, waits: false, done: false });
        self.begin(self.coords.len() - 1);
    }

    fn begin(&mut self, at: usize) {
        let (attempt, write) = (Attempt(self.rng.next()), WriteId::drawn(self.rng.next().to_be_bytes()));
        let coord = &mut self.coords[at];
        coord.waits = false;
        coord.attempt = attempt;
        let Some(store) = self.nodes[coord.node].store() else { return };
        let fresh = Fresh { ballot: store.fresh_ballot(), attempt, write };
        self.drive(at, |machine, out| machine.begin(fresh, out));
    }

    /// Those who coordinate at this node (about this key) hear an event.
    pub fn hear(&mut self, node: usize, key: Option<usize>, event: &Event<Value>) {
        for at in 0..self.coords.len() {
            let coord = &self.coords[at];
            if coord.node == node && key.is_none_or(|key| key == coord.key) && !coord.done {
                self.drive(at, |machine, out| machine.on(event.clone(), out));
            }
        }
        self.coords.retain(|coord| !coord.done);
    }

    /// A backoff ends; whether there was one.
    pub fn wake(&mut self) -> bool {
        let waiting: Vec<_> = (0..self.coords.len()).filter(|at| self.coords[*at].waits).collect();
        if waiting.is_empty() {
            return false;
        }
        let at = self.rng.pick(&waiting);
        self.begin(at);
        self.coords.retain(|coord| !coord.done);
        true
    }

    /// A round takes too long, or a client has waited long enough.
    pub fn time_out(&mut self, for_good: bool) {
        if self.coords.is_empty() {
            return;
        }
        let at = self.rng.below(self.coords.len());
        let attempt = self.coords[at].attempt;
        match for_good {
            true => self.drive(at, Machine::deadline),
            false => self.drive(at, |machine, out| machine.on(Event::Expired { attempt }, out)),
        }
        self.coords.retain(|coord| !coord.done);
    }

    fn drive(&mut self, at: usize, what: impl FnOnce(&mut Machine, &mut Vec<Action<Value, End>>)) {
        let mut out = Vec::new();
        what(&mut self.coords[at].machine, &mut out);
        let (from, key) = (self.coords[at].node, self.coords[at].key);
        for action in out {
            match action {
                Action::Send { to, message } => {
                    if let Request::Store(_, state) = &message.request {
                        self.coords[at].storing.clone_from(&state.value);
                    }
                    let to = self.index(to);
                    self.net.push(Packet::Ask { to, from, key, message });
                }
                Action::Ship { to, body, attempt } => {
                    let head = self.coords[at].storing.as_deref().and_then(head).filter(|head| head.body == body);
                    let sealed = (0..self.nodes.len()).find_map(|node| self.nodes[node].blob(body));
                    match (head, sealed) {
                        (Some(head), Some(sealed)) => {
                            let to = self.index(to);
                            self.net.push(Packet::Body { to, from, head, sealed });
                        }
                        _ => self.tell(at, Event::Silent { from: to, attempt }),
                    }
                }
                Action::Retry { tries: 0 } => self.begin(at),
                Action::Retry { .. } => self.coords[at].waits = true,
                Action::Renew { .. } => unreachable!("there is one list"),
                Action::Done(end) => self.ended(at, end),
            }
        }
    }

    fn tell(&mut self, at: usize, event: Event<Value>) {
        self.drive(at, |machine, out| machine.on(event, out));
    }

    fn ended(&mut self, at: usize, end: End) {
        self.coords[at].done = true;
        let Some(client) = self.coords[at].client else { return };
        let held = |state: &Traced<Value>| seen(state.value.as_ref());
        let planned = self.clients[client].op;
        let op = match end {
            End::Read(ReadOutcome::NoMajority) => None,
            // It has no effect, by its own answer: as if it had never been.
            End::Write(WriteOutcome::NoMajority | WriteOutcome::Contended) => {
                self.say("client is refused", &[client as u64]);
                return self.clients[client].op = None;
            }
            End::Write(WriteOutcome::Unknown) => {
                self.tally.unknown += 1;
                return self.say("client knows nothing", &[client as u64]);
            }
            End::Read(ReadOutcome::Found { state, .. }) => {
                self.tally.read += 1;
                self.check_body(at, state.value.as_ref());
                Some(Op::Read(held(&state)))
            }
            End::Write(WriteOutcome::Kept(state)) => Some(Op::Read(held(&state))),
            End::Write(WriteOutcome::Refused(state)) => {
                self.tally.refused += 1;
                let Some(Op::Write { condition, .. }) = planned else { unreachable!("a write") };
                Some(Op::Refused { condition, saw: held(&state) })
            }
            End::Write(WriteOutcome::Written { replaced, .. }) => {
                self.tally.written += 1;
                let Some(Op::Write { to, condition, .. }) = planned else { unreachable!("a write") };
                Some(Op::Write { to, condition, replaced: Some(held(&replaced)) })
            }
        };
        self.say(&format!("client has {op:?}"), &[client as u64]);
        let ended = op.is_some().then_some(self.now);
        let client = &mut self.clients[client];
        (client.op, client.ended) = (op, ended);
    }

    /// What a reader gets opens, and is what was written.
    fn check_body(&mut self, at: usize, found: Option<&Value>) {
        let (Some(record), Some(number)) = (found, seen(found)) else { return };
        let (node, key) = (&self.nodes[self.coords[at].node], self.key(self.coords[at].key));
        if record.blob().is_none_or(|body| node.blob(body).is_some()) {
            let read = node.plaintext(&key, record);
            if read.is_none() && node.bad.is_some() {
                return;
            }
            assert_eq!(read, Some(plaintext(number)), "the body that client {number} wrote");
        }
    }

    /// The register of a key.
    pub fn key(&self, at: usize) -> RegisterKey {
        self.keys[at].clone()
    }
}

impl Machine {
    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<Value, End>>) {
        self.with(out, |w, o| w.begin(fresh, o), |r, o| r.begin(fresh, o));
    }

    fn on(&mut self, event: Event<Value>, out: &mut Vec<Action<Value, End>>) {
        match self {
            Machine::Write(_) => self.with(out, |w, o| w.on(event, o), |_, _| ()),
            Machine::Read(_) => self.with(out, |_, _| (), |r, o| r.on(event, o)),
        }
    }

    fn deadline(&mut self, out: &mut Vec<Action<Value, End>>) {
        self.with(out, |w, o| w.deadline(o), |r, o| r.deadline(o));
    }

    fn with(
        &mut self,
        out: &mut Vec<Action<Value, End>>,
        write: impl FnOnce(&mut Write<Value, Wish>, &mut Vec<Action<Value, WriteOutcome<Value>>>),
        read: impl FnOnce(&mut Read<Value>, &mut Vec<Action<Value, ReadOutcome<Value>>>),
    ) {
        match self {
            Machine::Write(machine) => {
                let mut own = Vec::new();
                write(machine, &mut own);
                out.extend(own.into_iter().map(|action| action.map(End::Write)));
            }
            Machine::Read(machine) => {
                let mut own = Vec::new();
                read(machine, &mut own);
                out.extend(own.into_iter().map(|action| action.map(End::Read)));
            }
        }
    }
}
