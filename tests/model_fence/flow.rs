//! Flows: what a coordinator does for one call, register after register, with the product's own drive.
//!
//! - An object is put, read and settled under the id that the node knows, where it knows the bucket as open and chosen;
//!   else, and before an object is deleted, a majority is asked. What is not there is confirmed by asking for the bucket
//!   afterwards.
//! - Where the fence refuses, the bucket is looked up before the next round: open, it goes on; closing, it waits; gone,
//!   it ends.
//! - A bucket is closed, looked up, listed by those that hold it so, and removed or opened again.

use super::judge::Op;
use super::value::{Key, Plan, Val, bucket_of, object_of};
use super::world::{EPOCH, Packet, World};
use crate::machine::{Either, End as EndOf};
use boveda::base::{Ballot, Incarnation, WriteId};
use boveda::register::count::{Question, is_there};
use boveda::register::fence::{Change, remedy};
use boveda::register::{
    Attempt, Count, Do, Drive, Event, Fresh, Message, Read, ReadOutcome, Remedy, Reply, Request, Slot, Traced, Votes,
    Write, WriteOutcome,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

type Machine = Either<Val, Plan>;
type End = EndOf<Val>;

const ROUND: Duration = Duration::from_secs(1);

/// What a client calls, or what a node does for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Get,
    Put { value: u8, only_new: bool },
    Delete,
    Create,
    DeleteBucket,
    Configure,
    Settle(Key),
    Resume,
    Clear(u8),
}

impl Wish {
    /// What may take effect although nobody was told so.
    pub fn unanswered(self) -> Option<Op> {
        match self {
            Wish::Put { value, only_new } => Some(Op::Put { value, only_new }),
            Wish::Delete => Some(Op::Delete { existed: None }),
            Wish::Create => Some(Op::Create { existed: None }),
            Wish::DeleteBucket => Some(Op::DeleteBucket),
            Wish::Get | Wish::Configure | Wish::Settle(_) | Wish::Resume | Wish::Clear(_) => None,
        }
    }
}

/// The bucket as a majority, or this node, knows it to be chosen.
#[derive(Clone, Copy, Debug)]
struct Home {
    id: u8,
    generation: u64,
    is_open: bool,
    ballot: Ballot,
    state: Traced<Val>,
}

fn home_of(ballot: Ballot, state: Traced<Val>) -> Option<Home> {
    let (id, bucket) = bucket_of(state.value.as_ref())?;
    Some(Home { id, generation: bucket.generation, is_open: bucket.is_open, ballot, state })
}

/// How far a flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A majority is asked for the bucket.
    Lookup,
    /// Something is done with the object.
    Object,
    /// A majority is asked whether the bucket is still the one in which nothing was found.
    Confirm,
    /// Something is done with the bucket.
    Bucket,
    /// The bucket is closed: a majority is asked for it as it is.
    Closed,
    List,
    /// What the list left unsure is read.
    Sure,
    Remove,
    Reopen,
}

struct Task {
    key: Key,
    drive: Drive<Val, Machine>,
    attempt: Attempt,
    now: Duration,
    until: Duration,
    /// Between two rounds.
    pauses: bool,
}

pub struct Flow {
    pub id: u64,
    pub node: usize,
    client: Option<usize>,
    pub wish: Wish,
    stage: Stage,
    home: Option<Home>,
    /// The life that this deletion closed.
    closed: Option<u8>,
    /// The generation under which its list counts.
    counted: u64,
    /// The decision that the stage is for, and one that asks for the bucket beside it.
    main: Option<Task>,
    side: Option<Task>,
    /// It waits to be woken.
    waits: bool,
    /// The last round that stored something: its id, its generation and when it began.
    drawn: Option<(WriteId, u64, u64)>,
    listed: BTreeMap<Incarnation, Slot<Val>>,
}

/// How a flow goes on.
enum Next {
    Answer(Op),
    Unknown,
    /// It has no effect.
    Void,
    Lookup(Stage),
    Write(Stage, Key, Plan),
    /// The bucket of this id is gone: a tombstone for what lies there.
    Clear(u8),
    /// Of the object, as a deletion asks what was shown.
    Ask(Question),
    Read(Stage, Key, bool),
    List,
}

impl World {
    pub fn spawn(&mut self, node: usize, client: Option<usize>, wish: Wish) {
        let id = self.draw();
        let flow = Flow {
            id,
            node,
            client,
            wish,
            stage: Stage::Lookup,
            home: None,
            closed: None,
            counted: 0,
            main: None,
            side: None,
            waits: false,
            drawn: None,
            listed: BTreeMap::new(),
        };
        self.flows.push(flow);
        let at = self.flows.len() - 1;
        let next = self.first(at);
        self.go(at, next);
    }

    fn first(&mut self, at: usize) -> Next {
        let (node, wish) = (self.flows[at].node, self.flows[at].wish);
        let local = matches!(wish, Wish::Get | Wish::Put { .. });
        let local = local || (wish == Wish::Delete && self.weak.deletes_unconfirmed);
        match wish {
            Wish::Create => {
                self.ids += 1;
                let id = if self.weak.same_id { 1 } else { self.ids };
                Next::Write(Stage::Bucket, Key::Bucket, Plan::Bucket(Change::Create { id }))
            }
            Wish::Configure => Next::Write(Stage::Bucket, Key::Bucket, Plan::Configure),
            Wish::DeleteBucket if self.weak.never_closes => Next::Lookup(Stage::Closed),
            Wish::DeleteBucket => Next::Write(Stage::Bucket, Key::Bucket, Plan::Bucket(Change::Close)),
            Wish::Resume => Next::Write(Stage::Bucket, Key::Bucket, Plan::Bucket(Change::Resume)),
            Wish::Settle(Key::Bucket) => Next::Read(Stage::Bucket, Key::Bucket, true),
            _ => {
                let slot = self.nodes[node].slot(Key::Bucket);
                let home = home_of(slot.accepted, slot.state).filter(|home| local && slot.chosen && home.is_open);
                self.flows[at].home = home;
                if home.is_some() { self.object(at) } else { Next::Lookup(Stage::Lookup) }
            }
        }
    }

    /// What is to be done with the object in the bucket that is known.
    fn object(&self, at: usize) -> Next {
        let flow = &self.flows[at];
        let id = flow.home.expect("the bucket is known").id;
        match flow.wish {
            Wish::Put { value, only_new } => Next::Write(Stage::Object, Key::Object(id), Plan::Put { value, only_new }),
            Wish::Delete => Next::Write(Stage::Object, Key::Object(id), Plan::Delete),
            _ => Next::Read(Stage::Object, Key::Object(id), false),
        }
    }

    fn go(&mut self, at: usize, next: Next) {
        let rules = self.weak.rules;
        match next {
            Next::Answer(op) => self.answered(at, Some(op), false),
            Next::Unknown => self.answered(at, None, false),
            Next::Void => self.answered(at, None, true),
            Next::Lookup(stage) => {
                (self.flows[at].stage, self.flows[at].main) = (stage, None);
                self.look_up(at);
            }
            Next::Write(stage, key, plan) => {
                let write = Write::with_rules(Arc::clone(&self.members), plan, rules);
                self.begin_main(at, stage, key, Either::Write(Box::new(write)));
            }
            Next::Clear(id) => {
                let write = Write::with_rules(Arc::clone(&self.members), Plan::Delete, rules).ended();
                self.begin_main(at, Stage::Object, Key::Object(id), Either::Write(Box::new(write)));
            }
            Next::Ask(question) => {
                let flow = &self.flows[at];
                let id = flow.home.expect("the bucket is known").id;
                let read = question.read(Arc::clone(&self.members), self.nodes[flow.node].inc);
                self.begin_main(at, Stage::Sure, Key::Object(id), Either::Read(Box::new(read)));
            }
            Next::Read(stage, key, settles) => {
                let members = Arc::clone(&self.members);
                let prefer = [self.nodes[self.flows[at].node].inc, self.nodes[self.rng.below(self.nodes.len())].inc];
                let read = if settles { Read::settle(members) } else { Read::new(members, &prefer) };
                self.begin_main(at, stage, key, Either::Read(Box::new(read)));
            }
            Next::List => {
                let flow = &mut self.flows[at];
                (flow.stage, flow.main) = (Stage::List, None);
                flow.listed.clear();
                self.ask_for_list(at);
            }
        }
    }

    fn begin_main(&mut self, at: usize, stage: Stage, key: Key, machine: Machine) {
        let me = self.nodes[self.flows[at].node].inc;
        self.flows[at].stage = stage;
        self.flows[at].main = Some(Task::new(me, key, machine));
        self.go_on(at, false);
    }

    /// A majority is asked for the bucket, beside what is going on.
    fn look_up(&mut self, at: usize) {
        let me = self.nodes[self.flows[at].node].inc;
        let read = Read::new(Arc::clone(&self.members), &[me]);
        self.flows[at].side = Some(Task::new(me, Key::Bucket, Either::Read(Box::new(read))));
        self.flows[at].waits = false;
        self.go_on(at, true);
    }

    /// The flow has its answer, or none that counts.
    fn answered(&mut self, at: usize, op: Option<Op>, void: bool) {
        let flow = self.flows.swap_remove(at);
        self.note(|| format!("{:?} at n{} has {op:?}, void: {void}", flow.wish, flow.node + 1));
        let Some(client) = flow.client else { return };
        match (&op, void) {
            (Some(_), _) => self.tally.answered += 1,
            (None, false) => self.tally.unknown += 1,
            (None, true) => {}
        }
        let client = &mut self.clients[client];
        (client.op, client.void, client.ended) = (op, void, Some(self.now));
    }

    /// Does what is to be done for a decision of a flow, until something is waited for.
    fn go_on(&mut self, at: usize, of_side: bool) {
        loop {
            let node = self.flows[at].node;
            let flow = &mut self.flows[at];
            let task = if of_side { &mut flow.side } else { &mut flow.main };
            let Some(task) = task else { return };
            match task.drive.step() {
                Do::Begin => {
                    // The bucket is looked up before another round is sent against the fence.
                    if !of_side && task.drive.take_fenced() {
                        return self.look_up(at);
                    }
                    self.begin_round(at, of_side);
                }
                Do::Send { to, message } => {
                    let (key, from) = (task.key, self.nodes[node].inc);
                    self.net.push(Packet::Ask { to, from, key, message });
                }
                Do::Teach { to, known, attempt } => {
                    let home = flow.home.filter(|home| remedy(home.ballot, known) == Remedy::Teach);
                    task.drive.on(match home {
                        Some(_) => Event::Taught { node: to, attempt },
                        None => Event::Fenced { node: to, attempt },
                    });
                    if let Some(home) = home {
                        self.tally.taught += 1;
                        self.teach(node, to, &home);
                    }
                }
                Do::Lost => task.drive.retry(task.now, false),
                Do::Wait { until } => return (task.until, task.pauses) = (until, false),
                Do::Pause { until } => return (task.until, task.pauses) = (until, true),
                Do::Ship { .. } | Do::Renew { .. } => unreachable!("no blobs, and one list"),
                Do::Done(end) if of_side => {
                    self.flows[at].side = None;
                    return self.looked_up(at, end);
                }
                Do::Done(end) => {
                    self.flows[at].main = None;
                    let next = self.ended(at, end);
                    return self.go(at, next);
                }
            }
        }
    }

    fn begin_round(&mut self, at: usize, of_side: bool) {
        let (drawn, now, node) = (self.draw(), self.now, self.flows[at].node);
        let ballot = self.fresh_ballot(node);
        let flow = &mut self.flows[at];
        let generation = flow.home.map_or(0, |home| home.generation);
        let write = WriteId::drawn(drawn.to_be_bytes());
        if !of_side {
            flow.drawn = Some((write, generation, now));
        }
        let task = if of_side { &mut flow.side } else { &mut flow.main };
        let Some(task) = task else { return };
        task.attempt = Attempt(drawn << 8);
        let have = self.nodes[node].slot(task.key);
        task.drive.begin(Fresh { ballot, attempt: task.attempt, write, generation }, Some(have), task.now);
    }

    fn teach(&mut self, from: usize, to: Incarnation, home: &Home) {
        let request = Request::Learn(home.ballot, home.state);
        let message = Message { epoch: EPOCH, attempt: Attempt(0), request };
        self.net.push(Packet::Ask { to, from: self.nodes[from].inc, key: Key::Bucket, message });
    }

    /// A majority has said what the bucket is.
    fn looked_up(&mut self, at: usize, end: End) {
        let End::Read(ReadOutcome::Found { ballot, state }) = end else {
            // The patience has ended.
            return self.give_up(at);
        };
        self.nodes[self.flows[at].node].observe(ballot.stamp);
        let (home, before) = (home_of(ballot, state), self.flows[at].home);
        let is_same = home.is_some() && home.map(|home| home.id) == before.map(|home| home.id);
        match (self.flows[at].stage, self.flows[at].wish) {
            (Stage::Object | Stage::Sure, wish) => {
                let ends = self.flows[at].stage == Stage::Sure || matches!(wish, Wish::Settle(_));
                self.fence_was_looked_at(at, home.filter(|_| is_same), ends);
            }
            (Stage::Confirm, _) if is_same => self.go(at, Next::Answer(Op::Get(None))),
            (Stage::Closed, _) => {
                let flow = &mut self.flows[at];
                flow.home = home;
                if self.weak.never_closes && flow.closed.is_none() {
                    flow.closed = home.map(|home| home.id);
                }
                let flow = &self.flows[at];
                let next = match home.filter(|home| Some(home.id) == flow.closed) {
                    Some(home) if !home.is_open || self.weak.never_closes => Next::List,
                    Some(_) => self.opened(at),
                    None if flow.closed.is_none() => Next::Answer(Op::NoBucket),
                    // Somebody else has ended this deletion.
                    None => Next::Answer(Op::DeleteBucket),
                };
                self.go(at, next);
            }
            (_, Wish::Settle(Key::Object(id)) | Wish::Clear(id)) => {
                let is_alive = home.is_some_and(|home| home.id == id);
                self.flows[at].home = home;
                let next = match (is_alive, self.flows[at].wish) {
                    (true, Wish::Settle(key)) => Next::Read(Stage::Object, key, true),
                    (true, _) => Next::Void,
                    (false, _) => Next::Clear(id),
                };
                self.go(at, next);
            }
            (_, wish) => {
                self.flows[at].home = home;
                match home {
                    None => self.go(at, Next::Answer(Op::NoBucket)),
                    Some(home) if !home.is_open && matches!(wish, Wish::Put { .. }) => {
                        (self.flows[at].stage, self.flows[at].waits) = (Stage::Lookup, true);
                    }
                    Some(_) => {
                        let next = self.object(at);
                        self.go(at, next);
                    }
                }
            }
        }
    }

    /// The fence refused, and this is the bucket of that id: none when it is gone.
    fn fence_was_looked_at(&mut self, at: usize, home: Option<Home>, ends: bool) {
        let flow = &mut self.flows[at];
        let Some(task) = flow.main.as_mut() else { return };
        match home {
            Some(home) if home.is_open => flow.home = Some(home),
            Some(home) if !ends => {
                flow.home = Some(home);
                task.drive.put_off(task.now + ROUND);
            }
            _ => {
                task.drive.shut();
            }
        }
        self.go_on(at, false);
    }

    /// What comes after a decision.
    fn ended(&mut self, at: usize, end: End) -> Next {
        let (stage, wish) = (self.flows[at].stage, self.flows[at].wish);
        match (stage, wish, end) {
            (Stage::Sure, _, End::Read(end)) => match is_there(&end) {
                Some(is_there) => self.after_list(at, is_there),
                None => Next::Unknown,
            },
            (Stage::Object | Stage::Bucket, Wish::Settle(_) | Wish::Clear(_), _) => Next::Void,
            (Stage::Object, _, end) => self.object_ended(at, end),
            (Stage::Bucket, _, End::Write(outcome)) => self.bucket_ended(at, outcome),
            (Stage::Remove, _, End::Write(outcome)) => self.removed(at, outcome),
            (Stage::Reopen, _, End::Write(WriteOutcome::Written { .. })) => {
                self.tally.reopened += 1;
                Next::Answer(Op::Bucket)
            }
            (Stage::Reopen, _, End::Write(WriteOutcome::Kept(state))) => {
                Next::Answer(if self.is_closed_life(at, &state) { Op::Bucket } else { Op::DeleteBucket })
            }
            // It was closed, and somebody else may remove it yet.
            _ => Next::Unknown,
        }
    }

    fn object_ended(&mut self, at: usize, end: End) -> Next {
        match (self.flows[at].wish, end) {
            (Wish::Get, End::Read(ReadOutcome::Found { state, .. })) => match object_of(state.value.as_ref()) {
                None if !self.weak.absence_unconfirmed => Next::Lookup(Stage::Confirm),
                there => Next::Answer(Op::Get(there)),
            },
            (_, End::Read(ReadOutcome::Gone) | End::Write(WriteOutcome::Gone)) => {
                self.tally.gone += 1;
                Next::Lookup(Stage::Lookup)
            }
            (Wish::Put { value, only_new }, End::Write(WriteOutcome::Written { id, .. })) => {
                self.check_generation(at, id);
                Next::Answer(Op::Put { value, only_new })
            }
            (Wish::Put { .. }, End::Write(WriteOutcome::Refused(_))) => Next::Answer(Op::RefusedAsThere),
            (Wish::Delete, End::Write(WriteOutcome::Written { replaced, .. })) => {
                Next::Answer(Op::Delete { existed: Some(object_of(replaced.value.as_ref()).is_some()) })
            }
            (Wish::Delete, End::Write(WriteOutcome::Kept(_))) => Next::Answer(Op::Delete { existed: Some(false) }),
            (_, End::Write(WriteOutcome::Unknown)) => Next::Unknown,
            _ => Next::Void,
        }
    }

    /// A round that stored something new was decided under no older generation than any that was answered before it.
    fn check_generation(&mut self, at: usize, id: WriteId) {
        let flow = &self.flows[at];
        let (Some((last, generation, begun)), Some(home)) = (flow.drawn, flow.home) else { return };
        let late = |(life, newer, answered): &(u8, u64, u64)| {
            *life == home.id && *newer > generation && *answered < begun && last == id
        };
        if self.configured.iter().any(late) {
            self.broken = Some(format!("stored under generation {generation}, and a newer one was answered before"));
        }
    }

    fn bucket_ended(&mut self, at: usize, outcome: WriteOutcome<Val>) -> Next {
        match (self.flows[at].wish, outcome) {
            (_, WriteOutcome::Unknown) => Next::Unknown,
            (_, WriteOutcome::NoMajority | WriteOutcome::Contended | WriteOutcome::Gone) => Next::Void,
            (Wish::Create, WriteOutcome::Written { replaced, .. }) => {
                let existed = bucket_of(replaced.value.as_ref()).is_some();
                self.tally.lives += u64::from(!existed);
                Next::Answer(Op::Create { existed: Some(existed) })
            }
            (Wish::Create, _) => Next::Answer(Op::Create { existed: Some(true) }),
            (Wish::Configure, WriteOutcome::Written { replaced, .. }) => {
                let (id, bucket) = bucket_of(replaced.value.as_ref()).expect("changed as it was found");
                self.configured.push((id, bucket.generation + 1, self.now));
                Next::Answer(Op::Bucket)
            }
            (Wish::Configure, WriteOutcome::Refused(state)) if bucket_of(state.value.as_ref()).is_some() => {
                Next::Answer(Op::Bucket)
            }
            (_, WriteOutcome::Refused(_)) => Next::Answer(Op::NoBucket),
            (_, WriteOutcome::Written { replaced: state, .. } | WriteOutcome::Kept(state)) => {
                self.flows[at].closed = bucket_of(state.value.as_ref()).map(|(id, _)| id);
                Next::Lookup(Stage::Closed)
            }
        }
    }

    fn removed(&mut self, at: usize, outcome: WriteOutcome<Val>) -> Next {
        match outcome {
            WriteOutcome::Written { .. } => {
                self.tally.deleted += 1;
                Next::Answer(Op::DeleteBucket)
            }
            WriteOutcome::Refused(state) if self.is_closed_life(at, &state) => self.opened(at),
            // This deletion has been ended.
            WriteOutcome::Refused(_) => Next::Answer(Op::DeleteBucket),
            _ => Next::Unknown,
        }
    }

    fn is_closed_life(&self, at: usize, state: &Traced<Val>) -> bool {
        bucket_of(state.value.as_ref()).map(|(id, _)| id) == self.flows[at].closed
    }

    /// Somebody has opened the bucket that was closed: a client's deletion begins anew.
    fn opened(&self, at: usize) -> Next {
        match self.flows[at].wish {
            Wish::DeleteBucket => Next::Write(Stage::Bucket, Key::Bucket, Plan::Bucket(Change::Close)),
            _ => Next::Void,
        }
    }

    fn after_list(&mut self, at: usize, holds_something: bool) -> Next {
        let flow = &self.flows[at];
        let (id, generation) = (flow.home.expect("the bucket is known").id, flow.counted);
        if holds_something {
            self.tally.not_empty += 1;
            return Next::Write(Stage::Reopen, Key::Bucket, Plan::Bucket(Change::Reopen { id, generation }));
        }
        let anyhow = self.weak.removes_anyhow || self.weak.never_closes;
        let plan = if anyhow { Plan::RemoveAnyhow } else { Plan::Bucket(Change::Remove { id, generation }) };
        Next::Write(Stage::Remove, Key::Bucket, plan)
    }

    /// Asks all for their list.
    fn ask_for_list(&mut self, at: usize) {
        let Some(Home { id, generation, .. }) = self.flows[at].home else { return };
        // Answers to an earlier question are none to this one.
        let flow = self.draw();
        self.flows[at].id = flow;
        let asked = self.members.voters().iter();
        self.net.extend(asked.map(|to| Packet::List { to: *to, flow, id, generation }));
        self.flows[at].waits = true;
    }

    /// A replica has answered a deletion.
    pub fn listed(&mut self, flow: u64, from: Incarnation, slot: Option<Slot<Val>>) {
        let Some(at) = self.flows.iter().position(|f| f.id == flow && f.stage == Stage::List) else { return };
        let Some(slot) = slot else {
            // It does not know yet that the bucket is closed.
            let (node, home) = (self.flows[at].node, self.flows[at].home.expect("the bucket is known"));
            return self.teach(node, from, &home);
        };
        self.nodes[self.flows[at].node].observe(slot.accepted.stamp);
        self.flows[at].listed.insert(from, slot);
        let listed = &self.flows[at].listed;
        let votes = listed.keys().fold(Votes::default(), |all, node| all.with(self.members.only(*node)));
        if !self.members.majority(votes) {
            return;
        }
        let mut count = Count::new(self.weak.fence);
        for slot in listed.values() {
            // What a list of the product shows.
            if object_of(slot.state.value.as_ref()).is_some() || !slot.chosen {
                count.shows((), slot.chosen);
            }
        }
        let flow = &mut self.flows[at];
        (flow.waits, flow.counted) = (false, flow.home.expect("the bucket is known").generation);
        let next = match count.questions().next() {
            Some(((), question)) => Next::Ask(question),
            None => self.after_list(at, false),
        };
        self.go(at, next);
    }

    /// Who coordinates something about this register at a node hears an answer.
    pub fn hear(&mut self, node: usize, key: Key, reply: Reply<Val>) {
        self.tell(node, key, reply.attempt, &Event::Reply(reply));
    }

    pub fn silent(&mut self, node: usize, key: Key, from: Incarnation, attempt: Attempt) {
        self.tell(node, key, attempt, &Event::Silent { from, attempt });
    }

    fn tell(&mut self, node: usize, key: Key, attempt: Attempt, event: &Event<Val>) {
        let is_of = |task: &Option<Task>| {
            task.as_ref().is_some_and(|t| t.key == key && (t.attempt == attempt || t.attempt.second() == attempt))
        };
        for of_side in [false, true] {
            let found = self
                .flows
                .iter()
                .position(|flow| flow.node == node && is_of(if of_side { &flow.side } else { &flow.main }));
            let Some(at) = found else { continue };
            let flow = &mut self.flows[at];
            let task = if of_side { &mut flow.side } else { &mut flow.main };
            if let Some(task) = task {
                task.drive.on(event.clone());
            }
            // While the bucket is looked up, the decision waits.
            if of_side || self.flows[at].side.is_none() {
                self.go_on(at, of_side);
            }
            return;
        }
    }

    /// A pause ends, or somebody looks again.
    pub fn wake(&mut self) -> bool {
        let waits = |flow: &Flow| flow.waits || flow.active().is_some_and(|task| task.pauses);
        let waiting: Vec<_> = (0..self.flows.len()).filter(|at| waits(&self.flows[*at])).collect();
        if waiting.is_empty() {
            return false;
        }
        let at = self.rng.pick(&waiting);
        match self.flows[at].stage {
            _ if !self.flows[at].waits => self.pass_time(at),
            // Who does not answer may be behind, or the bucket is not as it was closed any more.
            Stage::List => self.go(at, Next::Lookup(Stage::Closed)),
            _ => self.look_up(at),
        }
        true
    }

    /// A round takes too long.
    pub fn expire(&mut self) {
        if !self.flows.is_empty() {
            let at = self.rng.below(self.flows.len());
            if self.flows[at].active().is_some_and(|task| !task.pauses) {
                self.note(|| format!("a round of {:?} expires", self.flows[at].wish));
                self.pass_time(at);
            }
        }
    }

    fn pass_time(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        let of_side = flow.side.is_some();
        let task = if of_side { &mut flow.side } else { &mut flow.main };
        if let Some(task) = task {
            task.now = task.until;
            task.drive.tick(task.now, Duration::MAX);
            self.go_on(at, of_side);
        }
    }

    /// A client's patience ends.
    pub fn deadline(&mut self) {
        let of_clients: Vec<_> = (0..self.flows.len()).filter(|at| self.flows[*at].client.is_some()).collect();
        if !of_clients.is_empty() {
            let at = self.rng.pick(&of_clients);
            self.note(|| format!("deadline of {:?}", self.flows[at].wish));
            self.give_up(at);
        }
    }

    fn give_up(&mut self, at: usize) {
        let flow = &mut self.flows[at];
        (flow.side, flow.waits) = (None, false);
        let is_closed = matches!(flow.stage, Stage::Closed | Stage::List);
        match &mut flow.main {
            Some(task) => {
                task.drive.tick(task.now, task.now);
                self.go_on(at, false);
            }
            None if is_closed => self.go(at, Next::Unknown),
            None => self.go(at, Next::Void),
        }
    }
}

impl Flow {
    /// The decision that goes on.
    fn active(&self) -> Option<&Task> {
        self.side.as_ref().or(self.main.as_ref())
    }
}

impl Task {
    fn new(me: Incarnation, key: Key, machine: Machine) -> Self {
        let (now, until) = (Duration::ZERO, Duration::ZERO);
        Task { key, drive: Drive::new(me, machine, ROUND), attempt: Attempt(0), now, until, pauses: false }
    }
}
