//! Admission before work: a permit for one request of some bytes travels with the message.
//!
//! Invariants
//! - Never more requests or bytes are out than the budget holds.
//! - A permit gives back what it took when it drops, wherever that happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bound on requests and bytes in flight. Cheap to clone; clones share the same bound.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests_max: u64,
    bytes_max: u64,
    requests: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
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
    /// Requests out now.
    pub requests: u64,
    /// Most requests at once.
    pub requests_max: u64,
    /// Bytes out now.
    pub bytes: u64,
    /// Most bytes at once.
    pub bytes_max: u64,
    /// Claims refused since start.
    pub refused: u64,
}

impl Budget {
    /// A budget of `requests_max` requests that together hold at most `bytes_max` bytes.
    pub fn new(requests_max: u64, bytes_max: u64) -> Self {
        let zero = || AtomicU64::new(0);
        Budget(Arc::new(Inner { requests_max, bytes_max, requests: zero(), bytes: zero(), refused: zero() }))
    }

    /// Claims one request of `bytes`, or `None` when either bound would be passed.
    pub fn try_claim(&self, bytes: u64) -> Option<Permit> {
        let inner = &self.0;
        if !take(&inner.requests, 1, inner.requests_max) {
            inner.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        if !take(&inner.bytes, bytes, inner.bytes_max) {
            inner.requests.fetch_sub(1, Ordering::Relaxed);
            inner.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit { budget: Arc::clone(inner), bytes })
    }

    /// The present level.
    pub fn level(&self) -> BudgetLevel {
        let inner = &self.0;
        BudgetLevel {
            requests: inner.requests.load(Ordering::Relaxed),
            requests_max: inner.requests_max,
            bytes: inner.bytes.load(Ordering::Relaxed),
            bytes_max: inner.bytes_max,
            refused: inner.refused.load(Ordering::Relaxed),
        }
    }
}

fn take(counter: &AtomicU64, amount: u64, max: u64) -> bool {
    counter
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_add(amount).filter(|&n| n <= max))
        .is_ok()
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.requests.fetch_sub(1, Ordering::Relaxed);
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
}
