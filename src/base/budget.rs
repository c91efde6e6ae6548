//! Admission before work: a permit for one request of some bytes travels with the message.
//!
//! Invariants
//! - Never more requests or bytes are out than the budget holds.
//! - A permit gives back what it took when it drops, wherever that happens.
//! - Who waits for bytes counts as a request, so that there are never more of them than requests; they have their turn
//!   in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// A bound on requests and bytes in flight. Cheap to clone; clones share the same bound.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests_max: u64,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: u64,
    bytes: u64,
    refused: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    bytes: u64,
    turn: oneshot::Sender<Permit>,
}

/// The right to have one request of some bytes in flight.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Inner>,
    bytes: u64,
}

/// How full a budget is, for metrics and status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BudgetLevel {
    /// Requests out now, and those that wait for bytes.
    pub requests: u64,
    /// Most requests at once.
    pub requests_max: u64,
    /// Bytes that are out with permits now.
    pub bytes: u64,
    /// Most bytes at once.
    pub bytes_max: u64,
    /// Claims refused since start.
    pub refused: u64,
}

impl Budget {
    /// A budget of `requests_max` requests that together hold at most `bytes_max` bytes.
    pub fn new(requests_max: u64, bytes_max: u64) -> Self {
        Budget(Arc::new(Inner { requests_max, bytes_max, state: Mutex::default() }))
    }

    /// Claims one request of `bytes`, or `None` when either bound would be passed. Does not stand back for those that
    /// wait.
    pub fn try_claim(&self, bytes: u64) -> Option<Permit> {
        let permit = self.take(bytes);
        if permit.is_none() {
            self.refuse();
        }
        permit
    }

    /// Claims one request of `bytes` for somebody who will ask for less, or wait, when this is too much: no refusal
    /// yet.
    pub fn take(&self, bytes: u64) -> Option<Permit> {
        let mut state = self.0.state();
        let free = self.0.has_place(&state) && self.0.has_room(&state, bytes);
        free.then(|| self.0.give(&mut state, bytes))
    }

    /// Claims one request of `bytes`, and waits for the bytes as long as it takes: its caller holds the clock. `None`
    /// when there are too many requests, or when so many bytes are never free.
    pub async fn claim(&self, bytes: u64) -> Option<Permit> {
        let leaving;
        let turn = {
            let mut state = self.0.state();
            if bytes > self.0.bytes_max || !self.0.has_place(&state) {
                state.refused += 1;
                return None;
            }
            if state.waiting.is_empty() && self.0.has_room(&state, bytes) {
                return Some(self.0.give(&mut state, bytes));
            }
            state.requests += 1;
            let (turn, mine) = oneshot::channel();
            state.waiting.push_back(Waiting { bytes, turn });
            leaving = Leaving(&self.0);
            mine
        };
        let permit = turn.await.ok();
        std::mem::forget(leaving);
        permit
    }

    /// Whether somebody waits for bytes.
    pub fn is_waited_for(&self) -> bool {
        !self.0.state().waiting.is_empty()
    }

    /// Takes note of somebody who waited in vain.
    pub fn refuse(&self) {
        self.0.state().refused += 1;
    }

    /// The requests and bytes that are in hand now.
    pub fn level(&self) -> BudgetLevel {
        let state = self.0.state();
        BudgetLevel {
            requests: state.requests,
            requests_max: self.0.requests_max,
            bytes: state.bytes,
            bytes_max: self.0.bytes_max,
            refused: state.refused,
        }
    }
}

impl Inner {
    /// A panic while it is held leaves no half-made state: every change is one assignment after another that cannot
    /// fail.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_place(&self, state: &State) -> bool {
        state.requests < self.requests_max
    }

    fn has_room(&self, state: &State, bytes: u64) -> bool {
        state.bytes.checked_add(bytes).is_some_and(|sum| sum <= self.bytes_max)
    }

    fn give(self: &Arc<Self>, state: &mut State, bytes: u64) -> Permit {
        state.requests += 1;
        state.bytes += bytes;
        Permit { budget: Arc::clone(self), bytes }
    }

    /// Gives those at the front their turn, as far as there is room. They are told outside the lock: who has gone
    /// meanwhile drops his permit, and that takes it again.
    fn go_on(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut turns = Vec::new();
        while let Some(next) = state.waiting.front() {
            let gone = next.turn.is_closed();
            if !gone && !self.has_room(&state, next.bytes) {
                break;
            }
            let Some(next) = state.waiting.pop_front() else { break };
            // It was counted when it began to wait.
            state.requests -= 1;
            if !gone {
                turns.push((self.give(&mut state, next.bytes), next.turn));
            }
        }
        drop(state);
        for (permit, turn) in turns {
            let _ = turn.send(permit);
        }
    }
}

/// Somebody who no longer waits: those behind him may have their turn.
struct Leaving<'a>(&'a Arc<Inner>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let before = state.waiting.len();
        state.waiting.retain(|waiting| !waiting.turn.is_closed());
        state.requests -= (before - state.waiting.len()) as u64;
        self.0.go_on(state);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.bytes -= self.bytes;
        state.requests -= 1;
        if !state.waiting.is_empty() {
            self.budget.go_on(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_past_either_bound_and_gives_back() {
        let budget = Budget::new(2, 100);
        let a = budget.try_claim(60).expect("fits");
        assert!(budget.try_claim(60).is_none(), "bytes");
        let b = budget.try_claim(40).expect("fits");
        assert!(budget.try_claim(0).is_none(), "requests");
        drop(a);
        drop(b);
        assert_eq!(budget.level(), BudgetLevel { requests: 0, requests_max: 2, bytes: 0, bytes_max: 100, refused: 2 });
    }

    #[test]
    fn a_refused_claim_leaves_nothing_behind() {
        let budget = Budget::new(1, u64::MAX);
        let full = budget.try_claim(u64::MAX).expect("fits");
        assert!(budget.try_claim(1).is_none());
        drop(full);
        assert_eq!(budget.level().requests, 0);
    }

    #[tokio::test]
    async fn who_waits_has_its_turn_in_order_and_who_leaves_holds_nobody_up() {
        let budget = Budget::new(4, 100);
        let held = budget.try_claim(80).expect("fits");
        let mut large = Box::pin(budget.claim(60));
        let mut small = Box::pin(budget.claim(30));
        assert!(futures::poll!(&mut large).is_pending() && futures::poll!(&mut small).is_pending());
        assert!(budget.claim(101).await.is_none(), "never free");
        drop(large);
        let budget_level = budget.level();
        assert_eq!((budget_level.requests, budget_level.bytes), (2, 80), "who left is not counted");
        assert!(futures::poll!(&mut small).is_pending());
        let mut last = Box::pin(budget.claim(30));
        assert!(futures::poll!(&mut last).is_pending(), "behind the one before it");
        assert!(budget.try_claim(20).is_some(), "what fits at once need not wait");
        let fourth = budget.try_claim(0).expect("the fourth");
        assert!(budget.claim(1).await.is_none(), "who waits is a request");
        drop((fourth, held));
        let (small, last) = (small.await.expect("its turn"), last.await.expect("its turn"));
        assert_eq!(budget.level().bytes, 60);
        drop((small, last));
        assert_eq!((budget.level().requests, budget.level().bytes), (0, 0));
    }

    #[tokio::test]
    async fn the_first_leaves_and_the_next_goes_at_once() {
        let budget = Budget::new(4, 100);
        let _held = budget.try_claim(80).expect("fits");
        let mut first = Box::pin(budget.claim(60));
        let mut second = Box::pin(budget.claim(20));
        assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(futures::poll!(&mut second).is_ready());
    }
}
