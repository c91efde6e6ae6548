//! Arrivals: which bodies are on their way to this node, whoever sends them.
//!
//! Invariants
//! - Of the peers that ask whether to send a body one hears "yes"; until that body has come, or come to nothing, the
//!   others hear how far it is. So a body is not staged twice, but where its sender asks nobody: small ones, and what
//!   is sent while it is made.
//! - A "yes" that nobody makes use of lapses after `PROMISE_MAX`.

use crate::base::{BodyId, Incarnation, Mark};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a sender may take to begin.
const PROMISE_MAX: Duration = Duration::from_secs(5);
/// Promises that are kept in mind; beyond that they are given without.
const PROMISES_MAX: usize = 1024;

/// The bodies on their way here.
#[derive(Debug, Default)]
pub struct Arrivals {
    table: Mutex<HashMap<BodyId, Arrival>>,
    joined: AtomicU64,
}

#[derive(Debug, Default)]
struct Arrival {
    /// Transfers that are open.
    open: usize,
    /// Bytes that have come with them.
    bytes: u64,
    /// Who was told to send it, and until when nobody else is.
    promised: Option<(Incarnation, Instant)>,
}

/// A transfer that is open. Dropping it ends that.
#[derive(Debug)]
pub struct Arriving {
    arrivals: Arc<Arrivals>,
    body: BodyId,
}

impl Arrivals {
    /// Whether `from` is to send a body: none if so, and otherwise how much of it has come from somebody else.
    pub fn offered(&self, body: BodyId, from: Incarnation, now: Instant) -> Option<u64> {
        let mut table = self.table();
        let is_promised = |arrival: &Arrival| arrival.promised.is_some_and(|(to, until)| until > now && to != from);
        if let Some(arrival) = table.get(&body).filter(|arrival| arrival.open > 0 || is_promised(arrival)) {
            self.joined.fetch_add(1, Ordering::Relaxed);
            Mark::ArrivalJoined.hit();
            return Some(arrival.bytes);
        }
        table.retain(|_, arrival| arrival.open > 0 || arrival.promised.is_some_and(|(_, until)| until > now));
        // Beyond that a body may come twice, which costs its way and nothing else.
        if table.len() < PROMISES_MAX {
            table.entry(body).or_default().promised = Some((from, now + PROMISE_MAX));
        }
        None
    }

    /// A transfer of this body to this node begins.
    pub fn begin(self: &Arc<Self>, body: BodyId) -> Arriving {
        self.table().entry(body).or_default().open += 1;
        Arriving { arrivals: Arc::clone(self), body }
    }

    /// How much of a body has come; none when nobody sends it.
    pub fn of(&self, body: BodyId) -> Option<u64> {
        self.table().get(&body).filter(|arrival| arrival.open > 0).map(|arrival| arrival.bytes)
    }

    /// How often somebody was told that a body comes already.
    pub fn joined(&self) -> u64 {
        self.joined.load(Ordering::Relaxed)
    }

    /// A panic while it is held leaves no half-made state.
    fn table(&self) -> MutexGuard<'_, HashMap<BodyId, Arrival>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arriving {
    /// So many more bytes have come.
    pub fn moved(&self, bytes: usize) {
        if let Some(arrival) = self.arrivals.table().get_mut(&self.body) {
            arrival.bytes += bytes as u64;
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut table = self.arrivals.table();
        let Some(arrival) = table.get_mut(&self.body) else { return };
        arrival.open -= 1;
        if arrival.open == 0 {
            table.remove(&self.body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: BodyId = BodyId([1; 16]);
    const A: Incarnation = Incarnation(1);
    const B: Incarnation = Incarnation(2);

    #[test]
    fn one_sends_a_body_and_the_others_hear_how_far_it_is() {
        let (arrivals, now) = (Arc::new(Arrivals::default()), Instant::now());
        assert_eq!(arrivals.offered(BODY, A, now), None);
        assert_eq!(arrivals.offered(BODY, B, now), Some(0), "it is promised");
        assert_eq!(arrivals.offered(BodyId([2; 16]), B, now), None, "another body");
        let arriving = arrivals.begin(BODY);
        arriving.moved(70);
        arriving.moved(7);
        let late = now + 10 * PROMISE_MAX;
        assert_eq!((arrivals.offered(BODY, B, late), arrivals.offered(BODY, A, late)), (Some(77), Some(77)));
        assert_eq!((arrivals.of(BODY), arrivals.joined()), (Some(77), 3));
        drop(arriving);
        assert_eq!((arrivals.of(BODY), arrivals.offered(BODY, B, late)), (None, None), "it came to nothing");
    }

    #[test]
    fn a_promise_that_is_not_used_lapses_and_promises_are_bounded() {
        let (arrivals, now) = (Arrivals::default(), Instant::now());
        assert_eq!(arrivals.offered(BODY, A, now), None);
        assert_eq!(arrivals.offered(BODY, A, now), None, "the same one may ask again");
        assert_eq!(arrivals.offered(BODY, B, now + PROMISE_MAX), None);
        for n in 0..4 * PROMISES_MAX {
            let mut body = [9; 16];
            body[..8].copy_from_slice(&n.to_le_bytes());
            assert_eq!(arrivals.offered(BodyId(body), A, now), None);
        }
        assert!(arrivals.table().len() <= PROMISES_MAX);
    }
}
