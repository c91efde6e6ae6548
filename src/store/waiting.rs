//! Bodies that no record refers to any more, and that wait before they go.
//!
//! Invariants
//! - A body waits for `DELAY` while there is room for it: what was replaced a moment ago may be taken over by another
//!   record, or stored again, without a byte that travels. Nothing rests on that: who finds a body gone asks for it.
//! - What waits has so many bytes at most (`bytes_max`). What is more goes at once, the oldest first: replaced bodies take no room
//!   that an operator would miss.
//! - That a body is here is no word that it may go: who takes it asks whether something refers to it by then.

use crate::base::{BlobRef, BodyId};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a body waits that nothing refers to any more.
pub const DELAY: Duration = Duration::from_secs(60);
/// Bytes of what waits, at most,
pub const BYTES_MAX: u64 = 4 << 20;
/// and at most one part in so many of the reserve, if there is one.
const RESERVE_PART: u64 = 64;
/// Bodies that are kept here at most, while none may go. What is more is found by the next start.
const BODIES_MAX: usize = 1 << 16;

/// Why there may be bodies here that nothing refers to, and that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphaned {
    /// The node was given its place anew: records that come again find their bodies.
    Cleared,
    /// The process before did not end in order, and what waited in it is forgotten.
    Left,
}

/// A body that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Which body.
    pub body: BodyId,
    bytes: u64,
    since: Instant,
}

/// What waits, in the order in which it came.
#[derive(Debug)]
pub struct Waiting {
    /// Bytes that may wait.
    bytes_max: u64,
    bodies: VecDeque<Left>,
    /// Those whose time had come and that could not go then.
    again: Vec<Left>,
    /// Bytes of `bodies`.
    bytes: u64,
    /// Whether some were too many to be kept here.
    overflowed: bool,
}

/// Bytes that may wait beside a reserve.
fn bytes_max(reserve_bytes: u64) -> u64 {
    if reserve_bytes == 0 { BYTES_MAX } else { BYTES_MAX.min(reserve_bytes / RESERVE_PART) }
}

impl Waiting {
    /// Nothing waits yet.
    pub fn new(reserve_bytes: u64) -> Self {
        let (bodies, again) = (VecDeque::new(), Vec::new());
        Waiting { bytes_max: bytes_max(reserve_bytes), bodies, again, bytes: 0, overflowed: false }
    }

    /// A record has left this body.
    pub fn push(&mut self, blob: &BlobRef, now: Instant) {
        if self.bodies.len() + self.again.len() >= BODIES_MAX {
            self.overflowed = true;
            return;
        }
        self.bytes += blob.sealed_len;
        self.bodies.push_back(Left { body: blob.body, bytes: blob.sealed_len, since: now });
    }

    /// Whether there are any whose time has come for the first time.
    pub fn is_due(&self, now: Instant) -> bool {
        let waited = |left: &Left| now.saturating_duration_since(left.since) >= DELAY;
        self.bytes > self.bytes_max || self.bodies.front().is_some_and(waited)
    }

    /// Takes those whose time has come, and those that could not go before. `at_once`: all of them.
    pub fn take(&mut self, now: Instant, at_once: bool) -> Vec<Left> {
        let mut taken = std::mem::take(&mut self.again);
        while at_once || self.is_due(now) {
            let Some(left) = self.bodies.pop_front() else { break };
            self.bytes -= left.bytes;
            taken.push(left);
        }
        taken
    }

    /// They cannot go yet: they are taken again the next time.
    pub fn put_back(&mut self, left: Vec<Left>) {
        self.again.extend(left);
    }

    /// Bytes of what waits.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All that waits.
    pub fn all(&self) -> Vec<BodyId> {
        self.again.iter().chain(&self.bodies).map(|left| left.body).collect()
    }

    /// Whether nothing waits that a next start would have to look for.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty() && self.again.is_empty() && !self.overflowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(n: u8, sealed_len: u64) -> BlobRef {
        BlobRef { body: BodyId([n; 16]), sealed_len, digest: [n; 32] }
    }

    fn bodies(left: &[Left]) -> Vec<u8> {
        left.iter().map(|left| left.body.0[0]).collect()
    }

    #[test]
    fn a_body_goes_when_it_has_waited_and_not_before() {
        let (mut waiting, now) = (Waiting::new(0), Instant::now());
        waiting.push(&blob(1, 100), now);
        waiting.push(&blob(2, 100), now + Duration::from_secs(1));
        let early = now + DELAY - Duration::from_millis(1);
        assert!(!waiting.is_due(early) && waiting.take(early, false).is_empty());
        assert!(waiting.is_due(now + DELAY));
        assert_eq!(bodies(&waiting.take(now + DELAY, false)), [1]);
        assert_eq!(bodies(&waiting.take(now, true)), [2], "at once");
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_waits_has_so_many_bytes_at_most_and_the_oldest_goes_first() {
        let (mut waiting, now) = (Waiting::new(0), Instant::now());
        waiting.push(&blob(1, BYTES_MAX + 1), now);
        assert_eq!(bodies(&waiting.take(now, false)), [1], "alone too");
        for n in 2..7 {
            waiting.push(&blob(n, BYTES_MAX / 2), now);
        }
        assert_eq!(bodies(&waiting.take(now, false)), [2, 3, 4]);
        assert!(!waiting.is_due(now) && !waiting.is_empty());
    }

    #[test]
    fn beside_a_small_reserve_little_waits() {
        assert_eq!(
            [0, 64, 8 << 20, 256 << 20, 1 << 40].map(bytes_max),
            [BYTES_MAX, 1, 128 << 10, BYTES_MAX, BYTES_MAX]
        );
    }

    #[test]
    fn what_could_not_go_is_taken_again() {
        let (mut waiting, now) = (Waiting::new(0), Instant::now());
        waiting.push(&blob(1, BYTES_MAX + 1), now);
        let taken = waiting.take(now, false);
        waiting.put_back(taken);
        assert!(!waiting.is_empty() && !waiting.is_due(now), "it wakes nobody");
        assert_eq!(bodies(&waiting.take(now, false)), [1]);
    }

    #[test]
    fn more_than_can_be_kept_is_left_to_the_next_start() {
        let (mut waiting, now) = (Waiting::new(0), Instant::now());
        (0..=BODIES_MAX).for_each(|_| waiting.push(&blob(1, 1), now));
        assert_eq!(waiting.take(now, true).len(), BODIES_MAX);
        assert!(!waiting.is_empty());
    }
}
