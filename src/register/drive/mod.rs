//! Drive: carries a write or a read to its end, as a list of things to do. It does none of them itself.
//!
//! The node, the simulation and the model step this same struct: `step` says what to do, and what comes of it is handed
//! in. Times are counted from the moment at which the decision began; the clock, the sockets and the randomness are the
//! caller's.
//!
//! ```text
//!             begin              on: answers, silence, blobs          retry                tick
//!   Do::Begin ------> Do::Send ... ------------------------> Do::Lost ------> Do::Pause ------> Do::Begin
//!                     Do::Ship ...                      |
//!                     Do::Wait  --- tick ---------------+--> Do::Renew --- renew --> Do::Begin
//!                                                       +--> Do::Done
//! ```
//!
//! Invariants
//! - This node is asked first. While it is asked what it holds, nobody else is asked: a peer whose record is at the
//!   same ballot answers without it.
//! - Whenever answers are waited for, a round runs, and it expires.
//! - A body is on its way to a replica once at a time, whoever asks for it meanwhile.
//! - `Do::Done` comes when the rest of what was decided with it has been done: marks are told.

use super::bucket::Known;
use super::machine::{Action, Event, Fresh, Machine};
use super::members::{Members, Votes};
use super::message::{Answer, Attempt, Message, Refusal, Request};
use super::slot::{Slot, Value};
use crate::base::{BodyId, Epoch, Incarnation};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Longest pause after a lost round, in rounds of that length: of a write that sent nothing yet, and of one that did.
const PAUSE_ROUNDS: (u32, u32) = (8, 3);
/// No round counts as shorter, or as longer.
const ROUND_FROM: Duration = Duration::from_millis(2);
const ROUND_TO: Duration = Duration::from_millis(10);

/// What is to be done next.
#[derive(Clone, Debug)]
pub enum Do<R, E> {
    /// Begin a round: `begin` with a fresh ballot.
    Begin,
    /// Send this. Where it wants an answer (`Request::is_answered`) that or `Event::Silent` is handed in; what cannot
    /// be known to be lost is left to `tick`.
    Send {
        /// To whom; often this node itself.
        to: Incarnation,
        /// The message, with the epoch and the attempt that its answer has to name.
        message: Message<R>,
    },
    /// Bring the blob of this record to a replica; `Event::Holds` or `Event::Lacks` is handed in, in any case.
    Ship {
        /// The replica; where it is this node itself, the blob has to come here.
        to: Incarnation,
        /// Names the blob, whoever has it.
        body: BodyId,
        /// The record beside it.
        record: R,
    },
    /// A replica refused for what it knows of the bucket. By `fence::remedy`: teach it and hand in `Event::Taught`, or
    /// hand in `Event::Fenced`; and ask `take_fenced` before the next round.
    Teach {
        /// The replica.
        to: Incarnation,
        /// What it knows of the bucket.
        known: Known,
        /// The attempt that it refused.
        attempt: Attempt,
    },
    /// Wait for what comes until then; after that `tick`.
    Wait {
        /// When the round expires.
        until: Duration,
    },
    /// A round was lost: say by `retry` whether another one is worth it.
    Lost,
    /// Wait until then, for nothing; after that `tick`. What comes meanwhile may be handed in at any time.
    Pause {
        /// When the next round may begin.
        until: Duration,
    },
    /// Wait for the member list of this epoch or a later one: `renew` with the one in force until it says that this is
    /// it; without it `tick`, when the time is up.
    Renew {
        /// The epoch that a replica answered from.
        epoch: Epoch,
    },
    /// The end: answer the client.
    Done(E),
}

/// Where a decision stands when nothing is left to be sent.
#[derive(Clone, Debug)]
enum Phase {
    /// A round is to begin.
    Ready,
    /// A round runs since then.
    Round { since: Duration },
    /// The round that had begun then was lost, the `tries`-th in a row.
    Lost { since: Duration, tries: u32 },
    /// The next round begins then.
    Pause { until: Duration },
    /// The next round needs the list of that epoch.
    Behind { epoch: Epoch },
}

/// Carries one decision to its end.
#[derive(Clone, Debug)]
pub struct Drive<R, M: Machine<R>> {
    me: Incarnation,
    machine: M,
    /// Longest time of one round.
    round: Duration,
    attempt: Attempt,
    phase: Phase,
    /// What this node holds, as far as it is known without asking a disk.
    have: Option<Slot<R>>,
    /// This node is asked what it holds: the others wait for what it says.
    asking_me: bool,
    /// Bodies on their way, to whom, and the records beside them.
    carrying: Vec<(Incarnation, BodyId, R)>,
    /// Who refused for want of room: once these keep a majority from being had, another round helps nothing.
    no_room: Vec<Incarnation>,
    /// Somebody refused for the sake of the bucket.
    fenced: bool,
    queue: VecDeque<Action<R, M::End>>,
    out: Vec<Action<R, M::End>>,
}

impl<R: Value, M: Machine<R>> Drive<R, M> {
    /// A decision of a coordinator at `me`, whose rounds take no longer than `round`.
    pub fn new(me: Incarnation, machine: M, round: Duration) -> Self {
        Drive {
            me,
            machine,
            round,
            attempt: Attempt(0),
            phase: Phase::Ready,
            have: None,
            asking_me: false,
            carrying: Vec::new(),
            no_room: Vec::new(),
            fenced: false,
            queue: VecDeque::new(),
            out: Vec::new(),
        }
    }

    /// What is to be done next. `Do::Send`, `Do::Ship` and `Do::Done` are said once; all else again and again, until it
    /// is done.
    pub fn step(&mut self) -> Do<R, M::End> {
        while !self.asking_me {
            match self.queue.pop_front() {
                Some(Action::Send { to, message }) => {
                    // A query is in memory, as a rule. A vote has to be durable: the disks work at the same time.
                    self.asking_me = to == self.me && matches!(message.request, Request::Query);
                    return Do::Send { to, message };
                }
                // Whoever is asked again while it travels: the first one's answer is for both.
                Some(Action::Ship { to, body, .. }) if self.is_carrying(to, body) => {}
                Some(Action::Ship { to, body, record }) => {
                    self.carrying.push((to, body, record.clone()));
                    return Do::Ship { to, body, record };
                }
                Some(Action::Teach { to, known, attempt }) => return Do::Teach { to, known, attempt },
                Some(Action::Retry { tries }) => {
                    let since = if let Phase::Round { since } = self.phase { since } else { Duration::ZERO };
                    self.phase = Phase::Lost { since, tries };
                }
                Some(Action::Renew { epoch }) => self.phase = Phase::Behind { epoch },
                Some(Action::Done(end)) => return Do::Done(end),
                None => break,
            }
        }
        match self.phase {
            Phase::Ready => Do::Begin,
            Phase::Round { since } => Do::Wait { until: since.saturating_add(self.round) },
            Phase::Lost { .. } => Do::Lost,
            Phase::Pause { until } => Do::Pause { until },
            Phase::Behind { epoch } => Do::Renew { epoch },
        }
    }

    /// Begins a round at `now`. `have`: what this node holds, as far as that is known at once.
    pub fn begin(&mut self, fresh: Fresh, have: Option<Slot<R>>, now: Duration) {
        self.attempt = fresh.attempt;
        self.have = have;
        self.phase = Phase::Round { since: now };
        self.decide(|machine, out| machine.begin(fresh, out));
    }

    /// Takes in what came.
    pub fn on(&mut self, event: Event<R>) {
        self.note(&event);
        self.decide(|machine, out| machine.on(event, out));
    }

    /// Time has passed, to `now`. A decision ends `at_the_latest`, which may be later each time.
    pub fn tick(&mut self, now: Duration, at_the_latest: Duration) {
        if now >= at_the_latest {
            return self.end();
        }
        match self.phase {
            Phase::Round { since } if now >= since.saturating_add(self.round) => {
                self.asking_me = false;
                self.phase = Phase::Round { since: now };
                // The round is lost, not the decision: the next one may find a majority.
                let attempt = self.attempt;
                self.decide(|machine, out| machine.on(Event::Expired { attempt }, out));
            }
            Phase::Pause { until } if now >= until => self.phase = Phase::Ready,
            Phase::Ready | Phase::Round { .. } | Phase::Lost { .. } | Phase::Pause { .. } | Phase::Behind { .. } => {}
        }
    }

    /// A round was lost at `now`, and no majority is to be had while `cut_off`: then this is the end.
    pub fn retry(&mut self, now: Duration, cut_off: bool) {
        let Phase::Lost { since, tries } = self.phase else { return };
        if cut_off || self.is_for_want_of_room() {
            return self.end();
        }
        self.phase = match tries {
            0 => Phase::Ready,
            _ => {
                let took = now.saturating_sub(since);
                Phase::Pause { until: now + pause(tries, took, self.machine.at_stake(), self.attempt.0) }
            }
        };
    }

    /// The member list in force is this one; whether it is the one that is waited for, or a later one. Under an older
    /// one a round would be refused again: then nothing begins.
    pub fn renew(&mut self, members: Arc<Members>) -> bool {
        if let Phase::Behind { epoch } = self.phase
            && members.epoch() < epoch
        {
            return false;
        }
        self.machine.renew(members);
        self.phase = Phase::Ready;
        true
    }

    /// Whether somebody refused for the sake of the bucket since this was asked last: then the bucket is looked up at a
    /// majority before another round begins.
    pub fn take_fenced(&mut self) -> bool {
        std::mem::take(&mut self.fenced)
    }

    /// The bucket takes nothing now and may do so again: no round begins before then, and it is looked at again.
    pub fn put_off(&mut self, until: Duration) {
        self.fenced = true;
        self.phase = Phase::Pause { until };
    }

    /// The bucket of the register is gone: this is the end, but for what was sent, which one more round looks for.
    pub fn shut(&mut self) {
        self.asking_me = false;
        self.phase = Phase::Ready;
        self.decide(|machine, out| machine.shut(out));
    }

    /// What this node holds, as far as an answer to that message need not bring it: one ballot is one record. The
    /// answers to these two alone carry a record.
    pub fn have_for(&self, message: &Message<R>) -> Option<&Slot<R>> {
        self.have.as_ref().filter(|_| matches!(message.request, Request::Query | Request::Prepare(_)))
    }

    /// Bodies on their way to those that lack them, with the records beside them.
    pub fn carrying(&self) -> impl Iterator<Item = (Incarnation, BodyId, &R)> {
        self.carrying.iter().map(|(to, body, record)| (*to, *body, record))
    }

    fn end(&mut self) {
        self.asking_me = false;
        self.decide(|machine, out| machine.deadline(out));
    }

    fn decide(&mut self, what: impl FnOnce(&mut M, &mut Vec<Action<R, M::End>>)) {
        what(&mut self.machine, &mut self.out);
        let me = self.me;
        // This node first: what it says is at hand. The end last: the marks of the same step are told before.
        self.out.sort_by_key(|action| match action {
            Action::Send { to, .. } if *to == me => 0,
            Action::Done(_) => 2,
            Action::Send { .. } | Action::Ship { .. } | Action::Teach { .. } => 1,
            Action::Retry { .. } | Action::Renew { .. } => 1,
        });
        self.queue.extend(self.out.drain(..));
    }

    /// What a drive itself has to know of an event.
    fn note(&mut self, event: &Event<R>) {
        match event {
            Event::Reply(reply) if self.is_mine(reply.attempt) => {
                let mine = reply.from == self.me;
                match &reply.answer {
                    Answer::Held(slot, _) if mine => self.have = Some(slot.clone()),
                    Answer::Refused(Refusal::NoRoom) if !self.no_room.contains(&reply.from) => {
                        self.no_room.push(reply.from);
                    }
                    Answer::Refused(Refusal::Bucket(_)) => self.fenced = true,
                    _ => {}
                }
                self.asking_me &= !mine;
            }
            Event::Silent { from, attempt } if *from == self.me && self.is_mine(*attempt) => self.asking_me = false,
            Event::Holds { node, body } | Event::Lacks { node, body } => {
                self.carrying.retain(|(to, of, _)| (to, of) != (node, body));
            }
            Event::Reply(_) | Event::Silent { .. } | Event::Expired { .. } => {}
            Event::Taught { .. } | Event::Fenced { .. } => {}
        }
    }

    /// Whether a message of the round that runs asked for this.
    fn is_mine(&self, attempt: Attempt) -> bool {
        attempt == self.attempt || attempt == self.attempt.second()
    }

    fn is_carrying(&self, to: Incarnation, body: BodyId) -> bool {
        self.carrying.iter().any(|(node, of, _)| (*node, *of) == (to, body))
    }

    /// Whether those without room keep a majority from being had.
    fn is_for_want_of_room(&self) -> bool {
        let members = self.machine.members();
        let without = self.no_room.iter().fold(Votes::default(), |all, node| all.with(members.only(*node)));
        !members.majority(members.all().without(without))
    }
}

/// The pause after a round that took so long and was lost, as the `tries`-th in a row. At least as long as
/// a round, so that whoever won can end his; and the more rounds are lost, the more contend. Whoever has an attempt
/// `at_stake` looks for it before others have written a whole lineage. `random` is any uniformly distributed number:
/// two that come back together would outbid each other again.
fn pause(tries: u32, took: Duration, at_stake: bool, random: u64) -> Duration {
    let round = took.clamp(ROUND_FROM, ROUND_TO);
    let most = if at_stake { PAUSE_ROUNDS.1 } else { PAUSE_ROUNDS.0 };
    let more = round * (1 << tries.min(16)).min(most - 1);
    let spread = u64::try_from(more.as_nanos()).unwrap_or(u64::MAX).max(1);
    round + Duration::from_nanos(random % spread)
}

#[cfg(test)]
mod tests;
