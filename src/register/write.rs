//! Write: the coordinator of one write of a register, conditional or not: an object or a bucket that is put, changed or
//! deleted, a member list that follows another.
//!
//! Invariants
//! - Success and refusal are answered only when a majority stores what they rest on.
//! - Once an own record was sent, every later round looks for it in the lineage of what it finds,
//!   before it does anything else; no write takes effect twice.
//! - `NoMajority` and `Contended` mean that nothing of this request was sent to be stored, or that every voter refused it
//!   for the sake of the bucket; it has no effect, ever. So does `Gone`, also of what was sent: behind the end of its
//!   bucket it was looked for, and a tombstone above it keeps it out. Otherwise what is not known is `Unknown`.
//! - Behind the end of its bucket what is found present was never chosen, and never will be: whatever was, was deleted
//!   first (`fence`). So what takes its place does not name it, and whoever wrote it does not take it for done.
//! - `Action::Done` comes once, and last.
//!
//! `drive` drives it. The state stays small: at most `OWN_MAX` attempts are remembered.

use super::machine::{Action, Event, Fresh, Machine};
use super::members::{Members, Votes};
use super::round::{Progress, Round};
use super::rules::Rules;
use super::slot::{Slot, Traced, Value};
use crate::base::{Ballot, BodyId, Epoch, Incarnation, WriteId};
use std::sync::Arc;

/// Most attempts of one request that store a new record; after that its outcome is unknown.
pub const OWN_MAX: usize = 64;

/// What the client wants. Asked again in every round, on what that round found.
pub trait Intent<R> {
    /// Decides on the current state; `None` is *nothing*, a tombstone comes as a value.
    fn decide(&self, found: Option<&R>) -> Choice<R>;
}

/// What is to be done with the state that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice<R> {
    /// Store this record in its place.
    Put(R),
    /// Nothing to write, and that is success: DELETE of what is not there.
    Keep,
    /// The client's condition fails on it, which is told once it is known to be chosen.
    Refuse,
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome<R> {
    /// It took effect, once.
    Written {
        /// The id of the attempt that took effect.
        id: WriteId,
        /// The state that it replaced.
        replaced: Traced<R>,
        /// The ballot under which the key's state is chosen now: this write's, or a later one's.
        ballot: Ballot,
        /// Replicas known to store it now.
        replicas: u32,
    },
    /// Nothing was written, nothing had to be. The state is chosen.
    Kept(Traced<R>),
    /// The condition failed on this state, which is chosen.
    Refused(Traced<R>),
    /// It may have taken effect, or may yet.
    Unknown,
    /// No majority could be had in time; it has no effect.
    NoMajority,
    /// Other proposals came before it until its time was up, or its bucket took nothing; it has no effect.
    Contended,
    /// The bucket of the register is gone; it has no effect.
    Gone,
}

#[derive(Clone, Debug)]
struct Own<R> {
    id: WriteId,
    ballot: Ballot,
    epoch: Epoch,
    base: Traced<R>,
}

/// What became of the attempts so far, by what a round found.
enum Verdict<R> {
    /// None was sent, or they are not part of what was found: go on from there.
    Free,
    /// This attempt took effect, on this base.
    TookEffect(WriteId, Traced<R>),
    /// Nobody can tell: what was found shares nothing with what the attempt stood on.
    Unknown,
}

/// The coordinator of one write.
#[derive(Clone, Debug)]
pub struct Write<R, I> {
    intent: I,
    rules: Rules,
    members: Arc<Members>,
    round: Option<Round<R>>,
    /// The answer when the running Store is chosen, but for what is known only then.
    goal: Option<WriteOutcome<R>>,
    own: Vec<Own<R>>,
    sent: bool,
    /// The bucket is gone: what was sent is looked for, and kept from ever being chosen.
    over: bool,
    /// Whether the last round that was lost was lost against somebody else, or its bucket.
    held_up: bool,
    holders: Vec<(Incarnation, BodyId)>,
    tries: u32,
    done: bool,
}

impl<R: Value, I: Intent<R>> Write<R, I> {
    /// A write among these members.
    pub fn new(members: Arc<Members>, intent: I) -> Self {
        Self::with_rules(members, intent, Rules::CONTRACT)
    }

    /// The same in a register whose bucket is known to be gone: nothing of what is wanted is done, and what lies there
    /// gets a tombstone in its place. Ends as `Gone`.
    pub fn ended(self) -> Self {
        Write { over: true, ..self }
    }

    /// As `new`, with weakened rules: for the model's own tests.
    #[doc(hidden)]
    pub fn with_rules(members: Arc<Members>, intent: I, rules: Rules) -> Self {
        Write {
            intent,
            rules,
            members,
            round: None,
            goal: None,
            own: Vec::new(),
            sent: false,
            over: false,
            held_up: false,
            holders: Vec::new(),
            tries: 0,
            done: false,
        }
    }
}

impl<R: Value, I: Intent<R>> Machine<R> for Write<R, I> {
    type End = WriteOutcome<R>;

    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<R, Self::End>>) {
        if !self.done {
            self.goal = None;
            self.round = Some(Round::prepare(Arc::clone(&self.members), self.rules, fresh, out));
        }
    }

    fn renew(&mut self, members: Arc<Members>) {
        if members.epoch() > self.members.epoch() {
            self.members = members;
        }
    }

    fn on(&mut self, event: Event<R>, out: &mut Vec<Action<R, Self::End>>) {
        if let Event::Holds { node, body } = &event
            && !self.holders.contains(&(*node, *body))
        {
            self.holders.push((*node, *body));
        }
        let Some(round) = self.round.as_mut() else { return };
        match round.on(event, out) {
            Progress::Waiting => {}
            Progress::Prepared(found) => self.prepared(found, out),
            Progress::Chosen => self.chosen(out),
            Progress::Lost => {
                self.held_up = round.held_up();
                let (ballot, nowhere) = (round.fresh().ballot, round.stored_nowhere());
                self.round = None;
                if nowhere {
                    self.own.pop_if(|own| own.ballot == ballot);
                    self.sent = !self.own.is_empty();
                }
                self.tries = self.tries.saturating_add(1);
                out.push(Action::Retry { tries: self.tries });
            }
            Progress::Superseded(epoch) => {
                self.round = None;
                out.push(Action::Renew { epoch });
            }
        }
    }

    fn at_stake(&self) -> bool {
        self.sent
    }

    fn shut(&mut self, out: &mut Vec<Action<R, Self::End>>) {
        match self.sent && self.rules.sent_is_looked_for {
            // What was stored somewhere may have been chosen, seen and deleted before the bucket went.
            true => self.over = true,
            false => self.finish(WriteOutcome::Gone, out),
        }
    }

    fn deadline(&mut self, out: &mut Vec<Action<R, Self::End>>) {
        let outcome = match (self.sent, self.held_up) {
            (true, _) => WriteOutcome::Unknown,
            (false, true) => WriteOutcome::Contended,
            (false, false) => WriteOutcome::NoMajority,
        };
        self.finish(outcome, out);
    }

    fn members(&self) -> &Members {
        &self.members
    }
}

impl<R: Value, I: Intent<R>> Write<R, I> {
    fn finish(&mut self, outcome: WriteOutcome<R>, out: &mut Vec<Action<R, WriteOutcome<R>>>) {
        if !self.done {
            self.done = true;
            self.round = None;
            out.push(Action::Done(outcome));
        }
    }

    fn prepared(&mut self, found: Slot<R>, out: &mut Vec<Action<R, WriteOutcome<R>>>) {
        let verdict = self.judge(&found);
        if self.over {
            return self.bury(&verdict, found, out);
        }
        match verdict {
            Verdict::Unknown => self.finish(WriteOutcome::Unknown, out),
            Verdict::TookEffect(id, replaced) => {
                // What is chosen stays in every later history, and this write with it.
                let replicas = if found.chosen { self.members.majority_size() } else { 0 };
                let goal = WriteOutcome::Written { id, replaced, ballot: found.accepted, replicas };
                if self.rules.lineage_stored_again && !found.chosen {
                    self.store(found.state, false, goal, self.members.all(), out);
                } else {
                    self.finish(goal, out);
                }
            }
            Verdict::Free => match self.intent.decide(found.state.value.as_ref()) {
                Choice::Put(value) => self.put(value, found.state, out),
                Choice::Keep => self.rest(found, WriteOutcome::Kept, out),
                Choice::Refuse => self.rest(found, WriteOutcome::Refused, out),
            },
        }
    }

    /// The bucket is gone: whatever became of the attempts, nothing more does.
    fn bury(&mut self, verdict: &Verdict<R>, found: Slot<R>, out: &mut Vec<Action<R, WriteOutcome<R>>>) {
        let present = found.state.value.as_ref().filter(|value| value.present()).map(Value::ended);
        let is_mine = self.own.iter().any(|own| own.id == found.state.id());
        match (verdict, present) {
            (Verdict::Unknown, _) => self.finish(WriteOutcome::Unknown, out),
            // It was replaced, or deleted, by somebody who may have taken it for chosen.
            (Verdict::TookEffect(..), present) if present.is_none() || !is_mine => {
                self.finish(WriteOutcome::Unknown, out);
            }
            (_, None) => self.rest(found, |_| WriteOutcome::Gone, out),
            (_, Some(ended)) => {
                let Some(fresh) = self.round.as_ref().map(Round::fresh) else { return };
                let keep = if self.rules.ended_names_nothing { 1 } else { self.rules.lineage_ids };
                let state = Traced { lineage: found.state.lineage.then(fresh.write, keep), value: Some(ended) };
                self.store(state, false, WriteOutcome::Gone, self.members.all(), out);
            }
        }
    }

    /// Looks for the earlier attempts in what was found.
    fn judge(&mut self, found: &Slot<R>) -> Verdict<R> {
        let Some(last) = self.own.last().filter(|_| self.rules.lineage_checked) else { return Verdict::Free };
        let lineage = &found.state.lineage;
        if found.accepted < last.ballot && !self.rules.below_by_lineage {
            return Verdict::Free;
        }
        if let Some(own) = self.own.iter().find(|own| lineage.names(own.id)) {
            return Verdict::TookEffect(own.id, own.base.clone());
        }
        // A lineage has no gaps: of a history that it shares with the attempt's it names all that came since, and the
        // attempt would be there. A tombstone dropped since then leaves *nothing* behind, which is then no such place.
        let dropped = self.members.epoch() > last.epoch;
        let shared = |id: &WriteId| lineage.names(*id) && !(dropped && *id == WriteId::NOTHING);
        let excluded = last.base.lineage.ids().iter().any(shared)
            || (last.base.id() == WriteId::NOTHING && !self.rules.empty_base_by_lineage);
        if excluded || !self.rules.neither_is_unknown {
            if !self.rules.lineage_every_round {
                self.own.clear();
            }
            return Verdict::Free;
        }
        Verdict::Unknown
    }

    fn put(&mut self, value: R, base: Traced<R>, out: &mut Vec<Action<R, WriteOutcome<R>>>) {
        let Some(fresh) = self.round.as_ref().map(Round::fresh) else { return };
        if self.own.len() == OWN_MAX {
            return self.finish(WriteOutcome::Unknown, out);
        }
        let id = match self.own.first() {
            Some(first) if !self.rules.id_per_attempt => first.id,
            _ => fresh.write,
        };
        let state = Traced { lineage: base.lineage.then(id, self.rules.lineage_ids), value: Some(value) };
        let to = match state.blob() {
            None => self.members.all(),
            // It keeps the body of what it replaces, which a majority holds: who lacks it says so.
            Some(body) if base.blob() == Some(body) => self.members.all(),
            Some(body) => {
                let held = self.holders.iter().filter(|(_, b)| *b == body);
                held.fold(Votes::default(), |all, (node, _)| all.with(self.members.only(*node)))
            }
        };
        self.own.push(Own { id, ballot: fresh.ballot, epoch: self.members.epoch(), base: base.clone() });
        self.sent = true;
        let goal = WriteOutcome::Written { id, replaced: base, ballot: fresh.ballot, replicas: 0 };
        self.store(state, true, goal, to, out);
    }

    /// Answers without writing: now if the state is known to be chosen, else once it was stored again.
    fn rest(
        &mut self,
        found: Slot<R>,
        outcome: fn(Traced<R>) -> WriteOutcome<R>,
        out: &mut Vec<Action<R, WriteOutcome<R>>>,
    ) {
        // Chosen above the last attempt, that attempt is dead; chosen below, it may still be adopted.
        let above = self.own.last().is_none_or(|own| found.accepted > own.ballot);
        let goal = outcome(found.state.clone());
        if (found.chosen && above) || !self.rules.rest_on_chosen {
            self.finish(goal, out);
        } else {
            self.store(found.state, false, goal, self.members.all(), out);
        }
    }

    fn store(
        &mut self,
        state: Traced<R>,
        is_new: bool,
        goal: WriteOutcome<R>,
        to: Votes,
        out: &mut Vec<Action<R, WriteOutcome<R>>>,
    ) {
        if let Some(round) = self.round.as_mut() {
            self.goal = Some(goal);
            round.store(state, is_new, to, out);
        }
    }

    fn chosen(&mut self, out: &mut Vec<Action<R, WriteOutcome<R>>>) {
        let (Some(round), Some(mut goal)) = (self.round.take(), self.goal.take()) else { return };
        round.mark(out);
        if let WriteOutcome::Written { ballot, replicas, .. } = &mut goal {
            *ballot = round.fresh().ballot;
            *replicas = round.granted().count();
        }
        self.finish(goal, out);
    }
}

#[cfg(test)]
mod tests;
