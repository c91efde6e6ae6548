//! Every order of events for two calls of one attempt each, on three replicas.
//!
//! A message is handled at any time, or never; its answer arrives at once, or never. An answer that
//! comes late adds nothing: what it makes its coordinator send may be late as well. In every state
//! that is reached, two readers look one after the other, each through any two replicas, and the
//! clients' history with them must be linearizable. Doubling, restarts and retries are the random
//! model's (`model_register.rs`).

mod lin;
#[path = "model/machine.rs"]
mod machine;
#[path = "model/value.rs"]
mod value;

use boveda::base::{Ballot, Epoch, Incarnation, Stamp, WriteId};
use boveda::register::{
    Acceptor, Attempt, Do, Drive, Event, Fresh, Limits, Members, Message, NodeState, Read, ReadOutcome, Reply, Request,
    Rules, Slot, Write, WriteOutcome,
};
use lin::{Call, Condition, Held, Op, linearizable};
use machine::{Either, End};
use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use value::{Plan, Val, held, seen};

const NODES: [Incarnation; 3] = [Incarnation(1), Incarnation(2), Incarnation(3)];
const PAIRS: [[usize; 2]; 3] = [[0, 1], [0, 2], [1, 2]];

/// What a client calls; `None` is a read.
type Wish = Option<Plan>;

/// Who calls has no replica beside it: it asks all of them in any order.
const CALLER: Incarnation = Incarnation(9);

#[derive(Clone, Debug)]
struct Caller {
    wish: Wish,
    drive: Drive<Val, Either<Val, Plan>>,
    ballot: Ballot,
    attempt: u64,
    begun: bool,
    /// The call, once it has its answer.
    op: Option<Op>,
}

/// Something with the hash of all that it says of itself.
#[derive(Clone)]
struct Known<T> {
    it: T,
    print: u128,
}

impl<T: Debug> Known<T> {
    fn new(it: T) -> Self {
        let print = print(&it);
        Known { it, print }
    }

    /// Changes the value, and its number with it.
    fn change<A>(&mut self, how: impl FnOnce(&mut T) -> A) -> A {
        let answer = how(&mut self.it);
        self.print = print(&self.it);
        answer
    }
}

#[derive(Clone, Debug)]
struct Replica {
    acceptor: Acceptor<()>,
    slot: Slot<Val>,
}

/// Who asks which replica what.
#[derive(Clone, Debug)]
struct Packet {
    caller: usize,
    to: usize,
    message: Message<Val>,
}

#[derive(Clone)]
struct State {
    replicas: [Known<Replica>; 3],
    callers: [Known<Caller>; 2],
    /// Packets on their way, in no order.
    net: Vec<Known<Packet>>,
    /// The second call began after the first was answered.
    apart: bool,
}

fn print(of: &impl Debug) -> u128 {
    let text = format!("{of:?}");
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &text).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    hash(0) << 64 | hash(1)
}

impl Replica {
    fn handle(&mut self, message: &Message<Val>) -> Reply<Val> {
        let decision = self.acceptor.decide(&(), &self.slot, true, message);
        if let Some(slot) = decision.slot {
            self.slot = slot;
        }
        decision.reply
    }
}

impl Caller {
    fn new(members: &Arc<Members>, wish: Wish, ballot: Ballot, attempt: u64, rules: Rules) -> Self {
        let machine = match wish {
            Some(plan) => Either::Write(Box::new(Write::with_rules(Arc::clone(members), plan, rules))),
            None => Either::Read(Box::new(Read::with_rules(Arc::clone(members), &[], rules))),
        };
        let drive = Drive::new(CALLER, machine, Duration::MAX);
        Caller { wish, drive, ballot, attempt, begun: false, op: None }
    }

    fn begin(&mut self) {
        self.begun = true;
        let write = WriteId::drawn(self.attempt.to_be_bytes());
        let fresh = Fresh { ballot: self.ballot, attempt: Attempt(self.attempt), write, generation: 0 };
        self.attempt += 1000;
        self.drive.begin(fresh, None, Duration::ZERO);
    }

    fn on(&mut self, event: Event<Val>) -> Vec<(usize, Message<Val>)> {
        self.drive.on(event);
        self.go_on()
    }

    /// Does what is to be done; what is sent.
    fn go_on(&mut self) -> Vec<(usize, Message<Val>)> {
        let mut sent = Vec::new();
        loop {
            match self.drive.step() {
                Do::Begin => self.begin(),
                Do::Send { to, message } => sent.push((to.0 as usize - 1, message)),
                // A read settles in its second round; nobody tries a third time: a pause never ends.
                Do::Lost => self.drive.retry(Duration::ZERO, false),
                Do::Done(end) => {
                    self.op = self.told(end);
                    return sent;
                }
                Do::Wait { .. } | Do::Pause { .. } => return sent,
                Do::Ship { .. } | Do::Teach { .. } | Do::Renew { .. } => unreachable!("no blobs, no fence, one list"),
            }
        }
    }

    /// What the end says to the judge.
    fn told(&self, end: End<Val>) -> Option<Op> {
        let condition = self.wish.map_or(Condition::Any, |plan| plan.condition);
        let to = self.wish.and_then(|plan| seen(Some(&plan.value)));
        match end {
            End::Write(WriteOutcome::Written { replaced, .. }) => {
                Some(Op::Write { to, condition, replaced: Some(held(&replaced)) })
            }
            End::Write(WriteOutcome::Refused(state)) => Some(Op::Refused { condition, saw: held(&state) }),
            End::Write(WriteOutcome::Kept(state)) => Some(Op::Read(held(&state))),
            End::Read(ReadOutcome::Found { state, .. }) => Some(Op::Read(held(&state))),
            End::Write(WriteOutcome::Unknown | WriteOutcome::NoMajority | WriteOutcome::Contended) => None,
            End::Read(ReadOutcome::NoMajority | ReadOutcome::Contended) => None,
            End::Write(WriteOutcome::Gone) | End::Read(ReadOutcome::Gone) => unreachable!("no fence"),
        }
    }

    /// The call as the judge sees it when the client gives up now.
    fn call(&self, from: u64) -> Option<Call<Op>> {
        if let Some(op) = self.op {
            return Some(Call { op, from, to: Some(from + 1) });
        }
        let plan = self.wish.filter(|_| self.begun)?;
        let mut drive = self.drive.clone();
        drive.tick(Duration::ZERO, Duration::ZERO);
        let void = match drive.step() {
            Do::Done(End::Write(outcome)) => matches!(outcome, WriteOutcome::NoMajority | WriteOutcome::Contended),
            other => panic!("its time is up: {other:?}"),
        };
        let op = Op::Write { to: seen(Some(&plan.value)), condition: plan.condition, replaced: None };
        (!void).then_some(Call { op, from, to: None })
    }
}

impl State {
    /// What the judge looks at.
    fn outcome(&self) -> u128 {
        let mut hashed = u128::from(self.apart);
        for print in self.replicas.iter().map(|r| r.print).chain(self.callers.iter().map(|c| c.print)) {
            hashed = hashed.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).wrapping_add(print);
        }
        hashed
    }

    /// All of it. The net is a set, so its prints are added.
    fn whole(&self) -> u128 {
        let net = self.net.iter().fold(0u128, |sum, packet| sum.wrapping_add(packet.print));
        self.outcome() ^ net.wrapping_mul(0xD1B5_4A32_D192_ED03_AEB1_7A32_94D0_49BB)
    }

    fn send(&mut self, caller: usize, sent: Vec<(usize, Message<Val>)>) {
        let packet = |(to, message)| Known::new(Packet { caller, to, message });
        self.net.extend(sent.into_iter().map(packet));
    }

    /// Handles one message; its answer arrives or not.
    fn deliver(&self, at: usize, answered: bool) -> State {
        let mut next = self.clone();
        let Packet { caller, to, message } = next.net.swap_remove(at).it;
        let reply = next.replicas[to].change(|replica| replica.handle(&message));
        if answered && next.callers[caller].it.op.is_none() {
            let sent = next.callers[caller].change(|caller| caller.on(Event::Reply(reply)));
            next.send(caller, sent);
        }
        next
    }

    /// Whether the answer to a message can change anything.
    fn matters(&self, at: usize) -> bool {
        let Packet { caller, message, .. } = &self.net[at].it;
        self.callers[*caller].it.op.is_none() && !matches!(message.request, Request::Mark(_))
    }

    fn begin(&mut self, caller: usize) {
        self.apart = caller == 1 && self.callers[0].it.op.is_some();
        let sent = self.callers[caller].change(Caller::go_on);
        self.send(caller, sent);
    }

    /// What a reader sees who reaches these replicas only, and has as many rounds as it needs.
    fn look(replicas: &mut [Replica; 3], members: &Arc<Members>, pair: [usize; 2], rules: Rules, stamp: u64) -> Held {
        let ballot = Ballot { stamp: Stamp(stamp), node: Incarnation(9) };
        let mut reader = Caller::new(members, None, ballot, stamp << 20, rules);
        let mut net = reader.go_on();
        while let Some((to, message)) = net.pop() {
            let event = if pair.contains(&to) {
                Event::Reply(replicas[to].handle(&message))
            } else {
                Event::Silent { from: NODES[to], attempt: message.attempt }
            };
            net.extend(reader.on(event));
        }
        match reader.op {
            Some(Op::Read(saw)) => saw,
            other => panic!("two of three are a majority: {other:?}"),
        }
    }

    fn judge(&self, members: &Arc<Members>, rules: Rules) -> Option<Vec<Call<Op>>> {
        let second = if self.apart { 2 } else { 0 };
        let calls: Vec<_> = self.callers[0].it.call(0).into_iter().chain(self.callers[1].it.call(second)).collect();
        for first in PAIRS {
            let mut replicas = self.replicas.each_ref().map(|r| r.it.clone());
            let saw = Self::look(&mut replicas, members, first, rules, 50);
            for second in PAIRS {
                let again = Self::look(&mut replicas.clone(), members, second, rules, 51);
                let mut all = calls.clone();
                all.push(Call { op: Op::Read(saw), from: 10, to: Some(11) });
                all.push(Call { op: Op::Read(again), from: 12, to: Some(13) });
                if !linearizable(None, &all) {
                    return Some(all);
                }
            }
        }
        None
    }
}

/// Goes through every state; how many there are, and the first history that is wrong.
fn explore(wishes: [Wish; 2], stamps: [u64; 2], rules: Rules) -> (usize, Option<Vec<Call<Op>>>) {
    let members = Arc::new(Members::new(Epoch(1), &NODES).expect("a list"));
    let limits = Limits { reserve_step: 1000, promises_max: 4 };
    let replica = |inc| {
        let state = NodeState { epoch: members.epoch(), ..NodeState::NEW };
        let acceptor = Acceptor::with_rules(inc, state, limits, rules);
        Known::new(Replica { acceptor, slot: Slot::default() })
    };
    let caller = |at: usize| {
        let ballot = Ballot { stamp: Stamp(stamps[at]), node: Incarnation(at as u64 + 1) };
        Known::new(Caller::new(&members, wishes[at], ballot, at as u64 + 1, rules))
    };
    let mut first =
        State { replicas: NODES.map(replica), callers: [caller(0), caller(1)], net: Vec::new(), apart: false };
    first.begin(0);
    let mut known = HashSet::from([first.whole()]);
    let mut judged = HashSet::new();
    let mut open = vec![first];
    while let Some(state) = open.pop() {
        if judged.insert(state.outcome())
            && let Some(wrong) = state.judge(&members, rules)
        {
            return (known.len(), Some(wrong));
        }
        let mut nexts = Vec::new();
        for at in 0..state.net.len() {
            nexts.push(state.deliver(at, false));
            if state.matters(at) {
                nexts.push(state.deliver(at, true));
            }
        }
        if !state.callers[1].it.begun {
            let mut next = state.clone();
            next.begin(1);
            nexts.push(next);
        }
        open.extend(nexts.into_iter().filter(|next| known.insert(next.whole())));
    }
    (known.len(), None)
}

fn put(id: u8, condition: Condition) -> Wish {
    Some(Plan { value: Val::Here { id, blob: false }, condition })
}

fn every_pair() -> Vec<[Wish; 2]> {
    let wishes = |id: u8, other: u32| {
        let delete = Some(Plan { value: Val::Gone, condition: Condition::Any });
        [put(id, Condition::Any), put(id, Condition::Absent), put(id, Condition::Is(other)), delete, None]
    };
    let (first, second) = (wishes(1, 2), wishes(2, 1));
    first.into_iter().flat_map(|a| second.map(|b| [a, b])).collect()
}

/// All pairs are gone through with `BOVEDA_MODEL_EXHAUSTIVE=1`, in ten minutes or so; the gate takes one.
#[test]
fn no_order_of_two_calls_is_wrong() {
    let all = std::env::var_os("BOVEDA_MODEL_EXHAUSTIVE").is_some();
    let few = vec![[put(1, Condition::Any), put(2, Condition::Absent)]];
    for wishes in if all { every_pair() } else { few } {
        for stamps in if all { vec![[1, 2], [2, 1]] } else { vec![[2, 1]] } {
            let began = std::time::Instant::now();
            let (states, wrong) = explore(wishes, stamps, Rules::CONTRACT);
            println!("{wishes:?} {stamps:?}: {states} states in {:?}", began.elapsed());
            assert!(wrong.is_none(), "{wishes:?} {stamps:?}: {wrong:#?}");
        }
    }
}

#[test]
fn the_search_sees_what_is_wrong() {
    let weak = [
        Rules { promise_in_store: false, ..Rules::CONTRACT },
        Rules { read_chosen: false, ..Rules::CONTRACT },
        Rules { majority_of_configured: false, ..Rules::CONTRACT },
    ];
    for rules in weak {
        let found = |stamps| explore([put(1, Condition::Any), put(2, Condition::Absent)], stamps, rules).1.is_some();
        assert!(found([1, 2]) || found([2, 1]), "{rules:?}");
    }
}
