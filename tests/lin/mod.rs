//! Is a history of one register linearizable? Wing and Gong's search, with memory of what failed.
//!
//! A call without an answer may take effect at any time after it began, or never.

use std::collections::HashSet;
use std::hash::Hash;

/// Most calls of one history.
pub const CALLS_MAX: usize = 128;

/// What calls do to a state.
pub trait Sequential {
    /// The state.
    type State: Clone + Eq + Hash;

    /// The state after this call, if it can have its answer in `state`.
    fn apply(&self, state: &Self::State) -> Option<Self::State>;
}

/// One call: from its beginning to its answer, in any unit that orders them.
#[derive(Clone, Debug)]
pub struct Call<O> {
    /// What was called, with its answer.
    pub op: O,
    /// When it began, in any clock that all operations share.
    pub from: u64,
    /// When it was answered; `None` when nobody knows what became of it.
    pub to: Option<u64>,
}

/// Whether the calls can be put in an order that respects time and in which each has its answer.
///
/// # Panics
/// On more than `CALLS_MAX` calls.
pub fn linearizable<O: Sequential>(initial: O::State, calls: &[Call<O>]) -> bool {
    assert!(calls.len() <= CALLS_MAX, "{} calls", calls.len());
    let must = calls.iter().enumerate().filter(|(_, c)| c.to.is_some()).fold(0u128, |set, (at, _)| set | 1 << at);
    search(&initial, 0, must, calls, &mut HashSet::new())
}

fn search<O: Sequential>(
    state: &O::State,
    done: u128,
    must: u128,
    calls: &[Call<O>],
    failed: &mut HashSet<(u128, O::State)>,
) -> bool {
    if must & !done == 0 {
        return true;
    }
    if failed.contains(&(done, state.clone())) {
        return false;
    }
    let open = || calls.iter().enumerate().filter(|(at, _)| done & (1 << at) == 0);
    let first_answer = open().filter_map(|(_, call)| call.to).min().unwrap_or(u64::MAX);
    for (at, call) in open().filter(|(_, call)| call.from < first_answer) {
        if let Some(next) = call.op.apply(state)
            && search(&next, done | 1 << at, must, calls, failed)
        {
            return true;
        }
    }
    failed.insert((done, state.clone()));
    false
}

/// What a register holds; `None` is nothing, or a tombstone.
pub type Held = Option<u32>;

/// What a conditional write asks of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Any state will do.
    Any,
    /// Nothing is there (`If-None-Match: *`).
    Absent,
    /// This is there (`If-Match`).
    Is(u32),
}

impl Condition {
    /// Whether it holds.
    pub fn holds(self, state: Held) -> bool {
        match self {
            Condition::Any => true,
            Condition::Absent => state.is_none(),
            Condition::Is(value) => state == Some(value),
        }
    }
}

/// A call to a register, with its answer.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// A read, or a delete of what was not there, that saw this.
    Read(Held),
    /// A write under a condition; what it replaced, if it was told.
    Write { to: Held, condition: Condition, replaced: Option<Held> },
    /// A write whose condition failed on this.
    Refused { condition: Condition, saw: Held },
}

impl Sequential for Op {
    type State = Held;

    fn apply(&self, state: &Held) -> Option<Held> {
        match *self {
            Op::Read(saw) => (saw == *state).then_some(*state),
            Op::Write { to, condition, replaced } => {
                (condition.holds(*state) && replaced.is_none_or(|r| r == *state)).then_some(to)
            }
            Op::Refused { condition, saw } => (saw == *state && !condition.holds(*state)).then_some(*state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(op: Op, from: u64, to: u64) -> Call<Op> {
        Call { op, from, to: Some(to) }
    }

    fn lost(op: Op, from: u64) -> Call<Op> {
        Call { op, from, to: None }
    }

    fn put(value: u32) -> Op {
        Op::Write { to: Some(value), condition: Condition::Any, replaced: None }
    }

    fn good(calls: &[Call<Op>]) {
        assert!(linearizable(None, calls), "{calls:?}");
    }

    fn bad(calls: &[Call<Op>]) {
        assert!(!linearizable(None, calls), "{calls:?}");
    }

    #[test]
    fn one_after_the_other() {
        good(&[]);
        good(&[call(put(1), 0, 1), call(Op::Read(Some(1)), 2, 3)]);
        bad(&[call(put(1), 0, 1), call(Op::Read(None), 2, 3)]);
        bad(&[call(Op::Read(Some(1)), 0, 1), call(put(1), 2, 3)]);
        bad(&[call(put(1), 0, 1), call(put(2), 2, 3), call(Op::Read(Some(1)), 4, 5)]);
    }

    #[test]
    fn concurrent_calls_take_either_order() {
        for seen in [1, 2] {
            good(&[call(put(1), 0, 9), call(put(2), 1, 8), call(Op::Read(Some(seen)), 10, 11)]);
        }
        good(&[call(put(1), 0, 9), call(Op::Read(None), 1, 2), call(Op::Read(Some(1)), 3, 4)]);
        bad(&[call(put(1), 0, 9), call(Op::Read(Some(1)), 1, 2), call(Op::Read(None), 3, 4)]);
    }

    #[test]
    fn unknown_calls_take_effect_late_or_never() {
        good(&[lost(put(1), 0), call(Op::Read(None), 1, 2)]);
        good(&[lost(put(1), 0), call(Op::Read(None), 1, 2), call(Op::Read(Some(1)), 3, 4)]);
        bad(&[call(Op::Read(Some(1)), 1, 2), lost(put(1), 3)]);
        let twice = [Op::Read(Some(1)), put(2), Op::Read(Some(2)), Op::Read(Some(1))];
        let mut calls = vec![lost(put(1), 0)];
        calls.extend((1..).zip(twice).map(|(at, op)| call(op, at * 10, at * 10 + 1)));
        bad(&calls);
        calls.push(lost(put(1), 0));
        good(&calls);
    }

    #[test]
    fn conditions_and_what_was_replaced() {
        let create = |value| Op::Write { to: Some(value), condition: Condition::Absent, replaced: Some(None) };
        bad(&[call(create(1), 0, 9), call(create(2), 0, 9)]);
        let swap = Op::Write { to: Some(2), condition: Condition::Is(1), replaced: Some(Some(1)) };
        good(&[call(swap, 0, 9), call(create(1), 0, 9)]);
        bad(&[call(swap, 0, 1), call(create(1), 2, 9)]);
        let refused = |saw| Op::Refused { condition: Condition::Absent, saw };
        good(&[call(create(1), 0, 9), call(refused(Some(1)), 0, 9)]);
        bad(&[call(refused(Some(1)), 0, 1), call(create(1), 2, 9)]);
        bad(&[call(refused(None), 0, 1)]);
        let delete = |replaced| Op::Write { to: None, condition: Condition::Any, replaced: Some(Some(replaced)) };
        good(&[call(create(1), 0, 1), call(delete(1), 2, 3), call(create(2), 4, 5)]);
        bad(&[call(create(1), 0, 1), call(delete(1), 2, 9), call(delete(1), 2, 9)]);
    }

    #[test]
    fn a_wide_history_ends_soon() {
        let mut calls: Vec<_> = (0..16).map(|n| call(put(n), 0, 100)).collect();
        calls.push(call(Op::Read(Some(99)), 200, 201));
        bad(&calls);
    }
}
