//! Round: one ballot of one coordinator, from its Prepare to its Store.
//!
//! Invariants
//! - An answer counts when it is to this round, in its epoch, from a voter, and once.
//! - The record found is the one with the highest `accepted` among a majority of grants; a chosen
//!   mark counts at that ballot only.
//! - A Store goes to a replica once it is known, or likely, to hold the record's blob.
//! - Who refuses for the sake of the bucket is asked once more, when it was taught. Where some refuse for that, the round
//!   goes on until all have answered: what all have refused is stored nowhere.

use super::bucket::Under;
use super::machine::{Action, Event, Fresh};
use super::members::{Members, Votes};
use super::message::{Answer, Attempt, Message, Refusal, Reply, Request};
use super::rules::Rules;
use super::slot::{Slot, Traced, Value};
use super::tally::Tally;
use crate::base::{BodyId, Epoch};
use std::sync::Arc;

/// How a round stands after an event.
pub(super) enum Progress<R> {
    /// Nothing to do yet.
    Waiting,
    /// A majority promised; this is the current state, and whether it is known to be chosen.
    Prepared(Slot<R>),
    /// A majority stores the record under the round's ballot.
    Chosen,
    /// A majority can no longer be had.
    Lost,
    /// A replica is in a later epoch.
    Superseded(Epoch),
}

#[derive(Clone, Debug)]
pub(super) struct Round<R> {
    members: Arc<Members>,
    rules: Rules,
    fresh: Fresh,
    tally: Tally,
    found: Option<Slot<R>>,
    storing: Option<Traced<R>>,
    /// Somebody refused for a higher ballot, or for the sake of the bucket.
    held_up: bool,
    /// Who has answered anything.
    heard: Votes,
    /// Whether what is being stored is new.
    is_new: bool,
    /// Who was, or is being, taught what is known of the bucket.
    taught: Votes,
    /// Who refused for the sake of the bucket, and was not asked again: it has not stored it, and never will.
    shut: Votes,
}

impl<R: Value> Round<R> {
    /// Begins a round: Prepare to every voter.
    pub fn prepare<O>(members: Arc<Members>, rules: Rules, fresh: Fresh, out: &mut Vec<Action<R, O>>) -> Self {
        let epoch = members.epoch();
        for to in members.voters() {
            let message = Message { epoch, attempt: fresh.attempt, request: Request::Prepare(fresh.ballot) };
            out.push(Action::Send { to: *to, message });
        }
        Round {
            members,
            rules,
            fresh,
            tally: Tally::default(),
            found: None,
            storing: None,
            held_up: false,
            heard: Votes::default(),
            is_new: false,
            taught: Votes::default(),
            shut: Votes::default(),
        }
    }

    /// What the round was begun with.
    pub fn fresh(&self) -> Fresh {
        self.fresh
    }

    /// Who granted the half of the round that runs.
    pub fn granted(&self) -> Votes {
        self.tally.granted()
    }

    /// Whether a majority is there, and a replica refused for a higher ballot or for the sake of the bucket: somebody
    /// else is at it.
    pub fn held_up(&self) -> bool {
        self.held_up && self.members.majority(self.heard)
    }

    /// Whether every voter refused what was to be stored for the sake of the bucket: then it is stored nowhere.
    pub fn stored_nowhere(&self) -> bool {
        self.storing.is_some() && self.shut == self.members.all()
    }

    /// The second half: Store to these voters, to the others when they hold the blob. `is_new`: not found, but made.
    pub fn store<O>(&mut self, state: Traced<R>, is_new: bool, to: Votes, out: &mut Vec<Action<R, O>>) {
        self.tally = Tally::default();
        self.is_new = is_new;
        for to in self.members.of(to) {
            out.push(Action::Send { to, message: self.store_message(&state) });
        }
        self.storing = Some(state);
    }

    /// Tells the voters, lazily, that what they store under this ballot is chosen.
    pub fn mark<O>(&self, out: &mut Vec<Action<R, O>>) {
        for to in self.members.voters() {
            let request = Request::Mark(self.fresh.ballot);
            let message = Message { epoch: self.members.epoch(), attempt: self.attempt(), request };
            out.push(Action::Send { to: *to, message });
        }
    }

    /// Takes in an event.
    pub fn on<O>(&mut self, event: Event<R>, out: &mut Vec<Action<R, O>>) -> Progress<R> {
        match event {
            Event::Reply(reply) => self.reply(reply, out),
            Event::Silent { from, attempt } if attempt == self.attempt() => self.refused(self.members.only(from)),
            Event::Expired { attempt } if attempt == self.fresh.attempt => Progress::Lost,
            Event::Holds { node, body } => {
                let state = self.stores(body);
                if let Some(state) = state.filter(|_| self.members.only(node).count() > 0) {
                    out.push(Action::Send { to: node, message: self.store_message(state) });
                }
                Progress::Waiting
            }
            Event::Taught { node, attempt } if attempt == self.attempt() => {
                let state = self.storing.as_ref().filter(|_| self.members.only(node).count() > 0);
                if let Some(state) = state {
                    out.push(Action::Send { to: node, message: self.store_message(state) });
                }
                Progress::Waiting
            }
            Event::Fenced { node, attempt } if attempt == self.attempt() => self.fenced(self.members.only(node)),
            Event::Lacks { node, body } if self.stores(body).is_some() => self.refused(self.members.only(node)),
            Event::Taught { .. } | Event::Fenced { .. } => Progress::Waiting,
            Event::Silent { .. } | Event::Expired { .. } | Event::Lacks { .. } => Progress::Waiting,
        }
    }

    fn attempt(&self) -> Attempt {
        if self.storing.is_some() { self.fresh.attempt.second() } else { self.fresh.attempt }
    }

    /// What is being stored, if it has that blob.
    fn stores(&self, body: BodyId) -> Option<&Traced<R>> {
        self.storing.as_ref().filter(|state| state.blob() == Some(body))
    }

    fn store_message(&self, state: &Traced<R>) -> Message<R> {
        let under = Under { generation: self.fresh.generation, is_new: self.is_new };
        let request = Request::Store(self.fresh.ballot, state.clone(), under);
        Message { epoch: self.members.epoch(), attempt: self.fresh.attempt.second(), request }
    }

    fn reply<O>(&mut self, reply: Reply<R>, out: &mut Vec<Action<R, O>>) -> Progress<R> {
        let by_attempt = reply.attempt == self.attempt();
        if !by_attempt && (self.rules.match_attempt || matches!(reply.answer, Answer::Refused(_))) {
            return Progress::Waiting;
        }
        let voter = self.members.only(reply.from);
        if voter.count() == 0 || reply.epoch < self.members.epoch() {
            return Progress::Waiting;
        }
        if reply.epoch > self.members.epoch() {
            return Progress::Superseded(reply.epoch);
        }
        self.heard = self.heard.with(voter);
        match reply.answer {
            Answer::Promised(ballot, slot) if ballot == self.fresh.ballot && self.storing.is_none() => {
                if self.tally.grant(voter) {
                    self.found = Some(highest(self.found.take(), slot, self.rules));
                }
                match self.found.take_if(|_| won(&self.tally, &self.members, self.rules)) {
                    Some(found) => Progress::Prepared(found),
                    None => Progress::Waiting,
                }
            }
            Answer::Stored(ballot) if ballot == self.fresh.ballot && self.storing.is_some() => {
                let was_awaited = self.tally.answered() != self.members.all();
                self.tally.grant(voter);
                match won(&self.tally, &self.members, self.rules) {
                    true => Progress::Chosen,
                    // The last answer that a fenced round waited for may be a grant.
                    false if was_awaited && self.shut.count() > 0 => self.lost(),
                    false => Progress::Waiting,
                }
            }
            Answer::Refused(Refusal::NoBlob) => {
                let record = self.storing.as_ref().and_then(|state| state.value.as_ref());
                if let Some((record, body)) = record.and_then(|record| Some((record.clone(), record.blob()?))) {
                    out.push(Action::Ship { to: reply.from, body, record });
                }
                Progress::Waiting
            }
            // It was asked again, or this is the same answer once more: then it may have stored it since.
            Answer::Refused(Refusal::Bucket(_)) if self.taught.meets(voter) => self.refused(voter),
            Answer::Refused(Refusal::Bucket(known)) => {
                self.taught = self.taught.with(voter);
                out.push(Action::Teach { to: reply.from, known, attempt: self.attempt() });
                Progress::Waiting
            }
            Answer::Refused(Refusal::Behind(_)) => {
                self.held_up = true;
                self.refused(voter)
            }
            Answer::Refused(Refusal::Epoch | Refusal::NoRoom) => self.refused(voter),
            Answer::Promised(..) | Answer::Stored(_) | Answer::Held(..) | Answer::Learned => Progress::Waiting,
        }
    }

    fn refused(&mut self, voter: Votes) -> Progress<R> {
        self.tally.refuse(voter);
        self.lost()
    }

    /// Whether no majority is to be had any more. A round that a fence refused goes on until all have answered: what all
    /// have refused was never stored.
    fn lost(&self) -> Progress<R> {
        let awaited = self.shut.count() > 0 && self.tally.answered() != self.members.all();
        if self.tally.lost(&self.members) && !awaited { Progress::Lost } else { Progress::Waiting }
    }

    fn fenced(&mut self, voter: Votes) -> Progress<R> {
        self.held_up = true;
        self.shut = self.shut.with(voter);
        self.refused(voter)
    }
}

/// The higher of two slots; a mark counts only for the ballot that it was made at.
pub(super) fn highest<R>(best: Option<Slot<R>>, slot: Slot<R>, rules: Rules) -> Slot<R> {
    let Some(mut best) = best else { return slot };
    let any_mark = best.chosen || slot.chosen;
    if slot.accepted == best.accepted {
        best.chosen = any_mark;
    } else if slot.accepted > best.accepted {
        best = slot;
    }
    best.chosen |= any_mark && !rules.mark_of_highest;
    best
}

pub(super) fn won(tally: &Tally, members: &Members, rules: Rules) -> bool {
    let of_answers = tally.granted().count() > tally.answered().count() / 2;
    tally.won(members) || (of_answers && !rules.majority_of_configured)
}
