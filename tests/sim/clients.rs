//! Clients and their coordinators: the register's own drive and state machines over real records.

use super::node::{INLINE_MAX, NOW_MS, ring};
use super::uploads::{Deed, Ended, Wish};
use super::world::{Ask, Packet, World, name};
use crate::lin::{Condition, Held, Op};
use crate::machine::{Either, End as EndOf};
use boveda::base::{
    self, BlobRef, BodyAt, BodyId, Etag, Incarnation, ObjectHead, ObjectRecord, Record, RegisterKey, Tags, Uploads,
    WriteId,
};
use boveda::register::{Attempt, Do, Drive, Event, Fresh, Read, ReadOutcome, Traced, Write, WriteOutcome};
use boveda::store::mutation::Mutation;
use boveda::store::removal::BodyHold;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

type Value = Arc<Record>;

/// What a client called, and how it ended.
pub struct Client {
    pub key: usize,
    pub begun: u64,
    pub ended: Option<u64>,
    /// The call as the judge sees it; `None` where nothing was asked to change and nothing was answered.
    pub op: Option<Op>,
    /// The ETag of the object that it writes.
    pub etag: Option<String>,
    /// What it wants of an upload in parts, in place of `op`.
    pub upload: Option<Deed>,
}

type Machine = Either<Value, Mutation>;
type End = EndOf<Value>;

/// How long a round takes at most. Time passes for one coordinator at a time, by as much as it waits for.
const ROUND: Duration = Duration::from_secs(1);

/// What a coordinator waits for, but for what may come at any time.
#[derive(Clone, Copy)]
enum Waits {
    /// It waits for answers, until then.
    Answers(Duration),
    /// The end of a pause.
    Pause(Duration),
    /// A later member list.
    List,
}

/// A call on its way to a decision. Without a client it settles.
pub struct Coordinator {
    pub node: usize,
    pub key: usize,
    client: Option<usize>,
    drive: Drive<Value, Machine>,
    now: Duration,
    waits: Waits,
    /// The body that a copy shares, held on its node until the end.
    hold: Option<(BodyId, BodyHold)>,
    done: bool,
}

/// The number of the client that wrote a state.
pub fn seen(found: Option<&Value>) -> Held {
    found.and_then(|record| record.object()).map(|object| object.head.content_type.parse().expect("a number"))
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

/// The body of a record.
pub fn head(record: &Record) -> Option<BlobRef> {
    record.bodies().next()
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
            _ if kind >= 3 && self.weather.uploads && self.rng.odds(700) => self.invoke_upload(node, key, number),
            ..=3 => {
                self.clients.push(Client { key, begun, ended: None, op: None, etag: None, upload: None });
                self.spawn_read(node, key, Some(self.clients.len() - 1));
            }
            4 => {
                let op = Some(Op::Write { to: None, condition, replaced: None });
                self.clients.push(Client { key, begun, ended: None, op, etag: None, upload: None });
                let delete = Mutation::delete(&name(key), self.headers(condition), NOW_MS.get());
                self.spawn_write(node, key, delete, None);
            }
            // What is shared with another key has no number of its own.
            5 if self.weather.uploads => {}
            5 => self.copy(node, key, other % self.keys.len(), condition),
            _ => {
                self.put(node, key, number, condition);
            }
        }
    }

    /// A client has a key refer to the body of another one, or of its own, as its node holds that. Small bodies are not
    /// shared. The body is held meanwhile, and all are asked: who lacks it says so. Onto itself it replaces that alone.
    fn copy(&mut self, node: usize, key: usize, from: usize, condition: Condition) {
        let shared = |at: usize| {
            let (_, record) = self.nodes[node].record(self.key(at))?;
            let object = record.object()?;
            Some((at, seen(Some(&record))?, Box::new(object.clone()), object.blob()?))
        };
        // That one, or the next one that has a large body.
        let Some((from, writer, object, of)) = (0..self.keys.len()).find_map(|n| shared((from + n) % self.keys.len()))
        else {
            return;
        };
        let Some(hold) = self.nodes[node].hold(of) else { return };
        let condition = match condition {
            Condition::Any if key == from => Condition::Is(writer),
            asked => asked,
        };
        let (op, headers) = (Some(Op::Write { to: Some(writer), condition, replaced: None }), self.headers(condition));
        // Nobody asks for what it wrote by its own number.
        self.clients.push(Client { key, begun: self.now, ended: None, op, etag: None, upload: None });
        self.tally.copied += 1;
        let mutation = Mutation::put(&name(key), headers, object, NOW_MS.get());
        let write = Either::Write(Box::new(Write::new(Arc::clone(&self.members), mutation)));
        self.spawn_with(node, key, Some(self.clients.len() - 1), write, Some((of.body, hold)));
        for voter in self.members.voters().to_vec() {
            self.hear(node, None, &Event::Holds { node: voter, body: of.body });
        }
    }

    /// A client writes without a condition; its number.
    pub fn overwrite(&mut self, node: usize, key: usize) -> usize {
        let number = u32::try_from(self.clients.len()).expect("few clients") + 1;
        self.put(node, key, number, Condition::Any);
        self.clients.len() - 1
    }

    fn put(&mut self, node: usize, key: usize, number: u32, condition: Condition) {
        let (op, headers) = (Some(Op::Write { to: Some(number), condition, replaced: None }), self.headers(condition));
        let (object, sealed) = self.object(number);
        self.clients.push(Client { key, begun: self.now, ended: None, op, etag: Some(object.etag()), upload: None });
        self.spawn_write(node, key, Mutation::put(&name(key), headers, object, NOW_MS.get()), sealed);
    }

    /// What a client sends to say so. What has never been written has no tag, and nothing has this one.
    fn headers(&self, condition: Condition) -> base::Condition {
        match condition {
            Condition::Any => base::Condition::NONE,
            Condition::Absent => base::Condition { matches: None, differs: Some(Tags::Any) },
            Condition::Is(number) => {
                let writer = (number as usize).checked_sub(1).and_then(|at| self.clients.get(at));
                let etag = writer.and_then(|client| client.etag.clone()).unwrap_or_default();
                base::Condition { matches: Some(Tags::OneOf(vec![etag])), differs: None }
            }
        }
    }

    /// A sealed body; apart from its record when it is large.
    fn object(&mut self, number: u32) -> (Box<ObjectRecord>, Option<Bytes>) {
        let text = Bytes::from(plaintext(number));
        let (high, low) = (self.rng.next(), self.rng.next());
        let body = BodyId(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
        let ring = ring();
        let (sealed, wrap, digest) =
            boveda::seal::body::seal_whole(&ring, ring.origin().cluster, body, std::slice::from_ref(&text));
        let (sealed_len, sealed) = (sealed.len() as u64, Bytes::from(sealed));
        let blob = text.len() > INLINE_MAX;
        let at = if blob { BodyAt::Blob } else { BodyAt::Small(sealed.clone().into()) };
        let head = ObjectHead { content_type: number.to_string(), ..ObjectHead::default() };
        let (len, etag, checksum) = (text.len() as u64, Etag::Digest, None);
        let object = ObjectRecord {
            number: 1,
            len,
            etag,
            checksum,
            head,
            body,
            sealed_len,
            digest,
            wrap,
            at,
            uploads: Uploads::NONE,
        };
        (Box::new(object), blob.then_some(sealed))
    }

    pub fn spawn_write(&mut self, node: usize, key: usize, mutation: Mutation, sealed: Option<Bytes>) {
        let large = mutation.object().filter(|object| !object.is_small());
        let head = large.and_then(|object| object.bodies().next());
        let of = large.map(|object| object.body);
        let write = Either::Write(Box::new(Write::new(Arc::clone(&self.members), mutation)));
        let client = Some(self.clients.len() - 1);
        if let (Some(head), Some(of), Some(sealed)) = (head, of, sealed) {
            // The body is here first, then it travels, then the votes begin: as an upload does.
            if !self.nodes[node].receive(head, &sealed) {
                return;
            }
            for to in (0..self.nodes.len()).filter(|to| *to != node) {
                self.net.push(Packet::Body { to, from: node, of, head, sealed: sealed.clone() });
            }
            self.spawn(node, key, client, write);
            let event = Event::Holds { node: self.nodes[node].inc, body: of };
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
        self.spawn(node, key, client, Either::Read(Box::new(read)));
    }

    fn spawn(&mut self, node: usize, key: usize, client: Option<usize>, machine: Machine) {
        self.spawn_with(node, key, client, machine, None);
    }

    fn spawn_with(
        &mut self,
        node: usize,
        key: usize,
        client: Option<usize>,
        machine: Machine,
        hold: Option<(BodyId, BodyHold)>,
    ) {
        let drive = Drive::new(self.nodes[node].inc, machine, ROUND);
        let (now, waits) = (Duration::ZERO, Waits::List);
        self.coords.push(Coordinator { node, key, client, drive, now, waits, hold, done: false });
        self.go_on(self.coords.len() - 1);
    }

    fn begin(&mut self, at: usize) {
        let (attempt, write) = (Attempt(self.rng.next()), WriteId::drawn(self.rng.next().to_be_bytes()));
        let coord = &mut self.coords[at];
        let store = self.nodes[coord.node].store().expect("its coordinators end with a node");
        let have = store.lookup_cached(&self.keys[coord.key]).map(|held| held.slot());
        coord.drive.begin(Fresh { ballot: store.fresh_ballot(), attempt, write, generation: 1 }, have, coord.now);
    }

    /// Those who coordinate at this node (about this key) hear an event.
    pub fn hear(&mut self, node: usize, key: Option<usize>, event: &Event<Value>) {
        for at in 0..self.coords.len() {
            let coord = &mut self.coords[at];
            if coord.node == node && key.is_none_or(|key| key == coord.key) && !coord.done {
                coord.drive.on(event.clone());
                self.go_on(at);
            }
        }
        self.coords.retain(|coord| !coord.done);
    }

    /// A backoff ends, or somebody looks which list there is; whether anybody waited.
    pub fn wake(&mut self) -> bool {
        let waits = |at: &usize| !matches!(self.coords[*at].waits, Waits::Answers(_));
        let waiting: Vec<_> = (0..self.coords.len()).filter(waits).collect();
        if waiting.is_empty() {
            return false;
        }
        let at = self.rng.pick(&waiting);
        match self.coords[at].waits {
            Waits::Answers(until) | Waits::Pause(until) => self.pass_time(at, until, Duration::MAX),
            Waits::List => {
                let coord = &mut self.coords[at];
                let store = self.nodes[coord.node].store().expect("its coordinators end with a node");
                let voting = store.voting();
                let placed = voting.placement.as_ref().expect("every node has a list");
                coord.drive.renew(Arc::clone(placed.voters(&self.keys[coord.key])));
                self.go_on(at);
            }
        }
        self.coords.retain(|coord| !coord.done);
        true
    }

    /// A round takes too long, or a client has waited long enough.
    pub fn time_out(&mut self, for_good: bool) {
        if self.coords.is_empty() {
            return;
        }
        let at = self.rng.below(self.coords.len());
        let now = self.coords[at].now;
        match self.coords[at].waits {
            _ if for_good => self.pass_time(at, now, now),
            Waits::Answers(until) => self.pass_time(at, until, Duration::MAX),
            Waits::Pause(_) | Waits::List => {}
        }
        self.coords.retain(|coord| !coord.done);
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
            let (from, key) = (coord.node, coord.key);
            match coord.drive.step() {
                Do::Begin => self.begin(at),
                Do::Send { to, message } => {
                    let have = coord.drive.have_for(&message).cloned();
                    let to = self.index(to);
                    self.net.push(Packet::Ask { to, ask: Ask { from, key, message, have } });
                }
                Do::Ship { to, body, record } => self.ship(at, to, body, &record),
                Do::Teach { .. } => unreachable!("every node has the bucket, which stays as it is"),
                Do::Lost => coord.drive.retry(coord.now, false),
                Do::Wait { until } => return coord.waits = Waits::Answers(until),
                Do::Pause { until } => return coord.waits = Waits::Pause(until),
                Do::Renew { .. } => return coord.waits = Waits::List,
                Do::Done(end) => return self.ended(at, end),
            }
        }
    }

    fn ship(&mut self, at: usize, to: Incarnation, body: BodyId, record: &Record) {
        let from = self.coords[at].node;
        let head = head(record);
        let sealed = head.and_then(|head| (0..self.nodes.len()).find_map(|node| self.nodes[node].blob(head.body)));
        match (head, sealed) {
            (Some(head), Some(sealed)) => {
                let to = self.index(to);
                self.net.push(Packet::Body { to, from, of: body, head, sealed });
            }
            _ => self.coords[at].drive.on(Event::Lacks { node: to, body }),
        }
    }

    fn ended(&mut self, at: usize, end: End) {
        self.coords[at].done = true;
        if let Some((body, hold)) = self.coords[at].hold.take() {
            let node = &self.nodes[self.coords[at].node];
            assert!(node.blob(body).is_some() || node.bad.is_some(), "a body went that was held");
            drop(hold);
        }
        let Some(client) = self.coords[at].client else { return };
        let held = |state: &Traced<Value>| seen(state.value.as_ref());
        if let Some(Deed::Upload(wish, _)) = self.clients[client].upload {
            return self.upload_ended(client, wish, end);
        }
        let planned = self.clients[client].op;
        let op = match end {
            End::Read(ReadOutcome::Gone) | End::Write(WriteOutcome::Gone) => unreachable!("the bucket stays"),
            End::Read(ReadOutcome::NoMajority | ReadOutcome::Contended) => None,
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

    /// How a call on an upload has ended.
    fn upload_ended(&mut self, client: usize, wish: Wish, end: End) {
        let held = |state: &Traced<Value>| seen(state.value.as_ref());
        let ended = match end {
            End::Read(_) | End::Write(WriteOutcome::Gone) => unreachable!("a write, in a bucket that stays"),
            // It has no effect, by its own answer: as if it had never been.
            End::Write(WriteOutcome::NoMajority | WriteOutcome::Contended) => {
                self.say("client is refused", &[client as u64]);
                return self.clients[client].upload = None;
            }
            End::Write(WriteOutcome::Unknown) => {
                self.tally.unknown += 1;
                return self.say("client knows nothing", &[client as u64]);
            }
            End::Write(WriteOutcome::Kept(state)) => Ended::Kept(held(&state)),
            End::Write(WriteOutcome::Refused(state)) => Ended::Refused(held(&state)),
            End::Write(WriteOutcome::Written { replaced, .. }) => Ended::Written(held(&replaced)),
        };
        match (wish, ended) {
            (Wish::Complete(..), Ended::Written(_)) => self.tally.completed += 1,
            (Wish::Complete(..), Ended::Kept(_)) => self.tally.again += 1,
            (Wish::Abort(_), Ended::Written(_)) => self.tally.aborted += 1,
            (Wish::Complete(..) | Wish::Abort(_), Ended::Refused(_)) => self.tally.late += 1,
            _ => {}
        }
        self.say(&format!("client has {wish:?} {ended:?}"), &[client as u64]);
        let client = &mut self.clients[client];
        (client.upload, client.ended) = (Some(Deed::Upload(wish, Some(ended))), Some(self.now));
    }

    /// What a reader gets opens, and is what was written.
    fn check_body(&mut self, at: usize, found: Option<&Value>) {
        let (Some(record), Some(number)) = (found, seen(found)) else { return };
        let (node, key) = (&self.nodes[self.coords[at].node], self.key(self.coords[at].key));
        if record.bodies().all(|blob| node.blob(blob.body).is_some()) {
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
