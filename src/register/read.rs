//! Read: the coordinator of one GET or HEAD, of one key of a listing page, and of the settler.
//!
//! Invariants
//! - What is returned is chosen: marked so at the highest ballot of a majority, or reported at
//!   exactly that ballot by a majority, or settled by this read.
//! - What is settled is the record found by the settling Prepare, never the one that Query found.
//! - What `settle` returns was stored by a majority of these very members, under the ballot returned.
//!
//! `drive` drives it. At first only the preferred voters are asked (a majority that is near); the others when that does
//! not decide.

use super::machine::{Action, Event, Fresh, Machine};
use super::members::{Members, Votes};
use super::message::{Answer, Attempt, Message, Reply, Request};
use super::round::{Progress, Round, highest, won};
use super::rules::Rules;
use super::slot::{Slot, Traced, Value};
use super::tally::Tally;
use crate::base::{Ballot, Epoch, Incarnation};
use std::sync::Arc;

/// How a read ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome<R> {
    /// The state that is chosen.
    Found {
        /// The ballot at which it is chosen.
        ballot: Ballot,
        /// The state that is chosen; *nothing* is a state too.
        state: Traced<R>,
    },
    /// No majority could be had in time.
    NoMajority,
    /// Others came before it until its time was up, or its bucket took nothing.
    Contended,
    /// The bucket of the register is gone, or takes nothing, and what was found was not known to be chosen.
    Gone,
}

#[derive(Clone, Debug)]
struct Query<R> {
    attempt: Attempt,
    asked: Votes,
    tally: Tally,
    seen: Vec<(Votes, Ballot, bool)>,
    best: Option<Slot<R>>,
}

#[derive(Clone, Debug)]
enum Phase<R> {
    /// Between rounds; whether the next one settles.
    Idle {
        settle: bool,
    },
    Query(Query<R>),
    Settle(Round<R>),
}

/// The coordinator of one read.
#[derive(Clone, Debug)]
pub struct Read<R> {
    rules: Rules,
    members: Arc<Members>,
    prefer: Votes,
    phase: Phase<R>,
    /// What Query found, once a majority answered.
    queried: Option<Slot<R>>,
    settling: Option<Traced<R>>,
    always_settle: bool,
    /// Whether the last round that was lost was lost against somebody else, or its bucket.
    held_up: bool,
    tries: u32,
    done: bool,
}

impl<R: Value> Read<R> {
    /// A read that asks `prefer` first; everybody when these are no majority.
    pub fn new(members: Arc<Members>, prefer: &[Incarnation]) -> Self {
        Self::with_rules(members, prefer, Rules::CONTRACT)
    }

    /// As `new`, with weakened rules: for the model's own tests.
    #[doc(hidden)]
    pub fn with_rules(members: Arc<Members>, prefer: &[Incarnation], rules: Rules) -> Self {
        let mut all = prefer.iter().fold(Votes::default(), |all, node| all.with(members.only(*node)));
        if !members.majority(all) {
            all = members.all();
        }
        Read {
            rules,
            members,
            prefer: all,
            phase: Phase::Idle { settle: false },
            queried: None,
            settling: None,
            always_settle: false,
            held_up: false,
            tries: 0,
            done: false,
        }
    }

    /// Stores again whatever is there, without asking first: for a record seen tentative for long, and for
    /// every key before an epoch of joint majorities ends.
    pub fn settle(members: Arc<Members>) -> Self {
        Self::settle_with_rules(members, Rules::CONTRACT)
    }

    /// As `settle`, with weakened rules: for the model's own tests.
    #[doc(hidden)]
    pub fn settle_with_rules(members: Arc<Members>, rules: Rules) -> Self {
        let read = Self::with_rules(members, &[], rules);
        Read { phase: Phase::Idle { settle: true }, always_settle: true, ..read }
    }
}

impl<R: Value> Machine<R> for Read<R> {
    type End = ReadOutcome<R>;

    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<R, Self::End>>) {
        if self.done {
            return;
        }
        self.settling = None;
        if let Phase::Idle { settle: true } = self.phase {
            self.phase = Phase::Settle(Round::prepare(Arc::clone(&self.members), self.rules, fresh, out));
            return;
        }
        let (attempt, asked) = (fresh.attempt, self.prefer);
        let query = Query { attempt, asked, tally: Tally::default(), seen: Vec::new(), best: None };
        query.ask(&self.members, asked, out);
        self.phase = Phase::Query(query);
    }

    fn renew(&mut self, members: Arc<Members>) {
        if members.epoch() > self.members.epoch() {
            self.members = members;
            self.prefer = self.members.all();
        }
    }

    fn on(&mut self, event: Event<R>, out: &mut Vec<Action<R, Self::End>>) {
        match &mut self.phase {
            Phase::Idle { .. } => {}
            Phase::Query(_) => self.query(event, out),
            Phase::Settle(round) => match round.on(event, out) {
                Progress::Waiting => {}
                Progress::Prepared(found) => {
                    let queried = self.queried.take().filter(|_| !self.rules.settle_prepared);
                    let state = queried.unwrap_or(found).state;
                    self.settling = Some(state.clone());
                    round.store(state, false, self.members.all(), out);
                }
                Progress::Chosen => {
                    round.mark(out);
                    let ballot = round.fresh().ballot;
                    if let Some(state) = self.settling.take() {
                        self.finish(ReadOutcome::Found { ballot, state }, out);
                    }
                }
                Progress::Lost => {
                    self.held_up = round.held_up();
                    self.retry(out);
                }
                Progress::Superseded(epoch) => self.superseded(epoch, out),
            },
        }
    }

    fn shut(&mut self, out: &mut Vec<Action<R, Self::End>>) {
        self.finish(ReadOutcome::Gone, out);
    }

    fn deadline(&mut self, out: &mut Vec<Action<R, Self::End>>) {
        self.finish(if self.held_up { ReadOutcome::Contended } else { ReadOutcome::NoMajority }, out);
    }

    fn at_stake(&self) -> bool {
        false
    }

    fn members(&self) -> &Members {
        &self.members
    }
}

impl<R: Value> Read<R> {
    fn finish(&mut self, outcome: ReadOutcome<R>, out: &mut Vec<Action<R, ReadOutcome<R>>>) {
        if !self.done {
            self.done = true;
            self.phase = Phase::Idle { settle: false };
            out.push(Action::Done(outcome));
        }
    }

    /// Another round from the start: somebody else may have settled it meanwhile.
    fn retry(&mut self, out: &mut Vec<Action<R, ReadOutcome<R>>>) {
        self.phase = Phase::Idle { settle: self.always_settle };
        self.prefer = self.members.all();
        self.tries = self.tries.saturating_add(1);
        out.push(Action::Retry { tries: self.tries });
    }

    fn superseded(&mut self, epoch: Epoch, out: &mut Vec<Action<R, ReadOutcome<R>>>) {
        self.phase = Phase::Idle { settle: self.always_settle };
        out.push(Action::Renew { epoch });
    }

    fn query(&mut self, event: Event<R>, out: &mut Vec<Action<R, ReadOutcome<R>>>) {
        let Phase::Query(query) = &mut self.phase else { return };
        let mut patience_ended = false;
        match event {
            Event::Reply(reply) if reply.attempt == query.attempt => {
                if self.members.only(reply.from).count() == 0 || reply.epoch < self.members.epoch() {
                    return;
                }
                if reply.epoch > self.members.epoch() {
                    return self.superseded(reply.epoch, out);
                }
                query.count(&self.members, self.rules, reply);
            }
            Event::Silent { from, attempt } if attempt == query.attempt => {
                query.tally.refuse(self.members.only(from));
            }
            Event::Expired { attempt } if attempt == query.attempt => patience_ended = true,
            Event::Reply(_) | Event::Silent { .. } | Event::Expired { .. } => return,
            Event::Holds { .. } | Event::Lacks { .. } | Event::Taught { .. } | Event::Fenced { .. } => return,
        }
        let all = self.members.all();
        let unasked = all.without(query.asked);
        if won(&query.tally, &self.members, self.rules)
            && let Some(best) = &query.best
        {
            let chosen = best.chosen || self.members.majority(query.at(best.accepted));
            if chosen || !self.rules.read_chosen {
                query.mark(&self.members, best.accepted, out);
                let (ballot, state) = (best.accepted, best.state.clone());
                return self.finish(ReadOutcome::Found { ballot, state }, out);
            }
            if patience_ended || query.tally.answered() == all {
                self.queried = query.best.take();
                self.phase = Phase::Idle { settle: true };
                return out.push(Action::Retry { tries: 0 });
            }
        } else if patience_ended || query.tally.lost(&self.members) {
            self.held_up = false;
            return self.retry(out);
        }
        // Not decided: ask the others too, once those who were asked have answered.
        if unasked.count() > 0 && query.tally.answered() == query.asked {
            query.asked = all;
            query.ask(&self.members, unasked, out);
        }
    }
}

impl<R: Value> Query<R> {
    fn ask<O>(&self, members: &Members, whom: Votes, out: &mut Vec<Action<R, O>>) {
        for to in members.of(whom) {
            let message = Message { epoch: members.epoch(), attempt: self.attempt, request: Request::Query };
            out.push(Action::Send { to, message });
        }
    }

    fn count(&mut self, members: &Members, rules: Rules, reply: Reply<R>) {
        let voter = members.only(reply.from);
        match reply.answer {
            Answer::Held(slot, _) => {
                if self.tally.grant(voter) {
                    self.seen.push((voter, slot.accepted, slot.chosen));
                    self.best = Some(highest(self.best.take(), slot, rules));
                }
            }
            Answer::Refused(_) => self.tally.refuse(voter),
            Answer::Promised(..) | Answer::Stored(_) | Answer::Learned => {}
        }
    }

    /// Who reported exactly this ballot.
    fn at(&self, ballot: Ballot) -> Votes {
        let there = self.seen.iter().filter(|(_, accepted, _)| *accepted == ballot);
        there.fold(Votes::default(), |all, (voter, _, _)| all.with(*voter))
    }

    /// Tells those who hold it as tentative that it is chosen: the next reader has it easier.
    fn mark<O>(&self, members: &Members, ballot: Ballot, out: &mut Vec<Action<R, O>>) {
        for (voter, accepted, chosen) in &self.seen {
            if *accepted == ballot && !chosen {
                for to in members.of(*voter) {
                    let (epoch, request) = (members.epoch(), Request::Mark(ballot));
                    out.push(Action::Send { to, message: Message { epoch, attempt: self.attempt, request } });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
