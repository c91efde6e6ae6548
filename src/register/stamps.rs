//! Stamps: where a node's ballots come from.
//!
//! Invariants
//! - A stamp is above every stamp that this node has seen, for any key, and never below the clock.
//! - Stamps saturate. The same ballot twice is harmless: a replica promises it once.
//!
//! The time is an argument; a wrong clock makes no result wrong. A peer far ahead makes this node's
//! stamps run ahead as well, so it is reported.

use crate::base::{Ballot, Incarnation, Stamp, StampClock};

/// Stamps that are this much ahead of the clock are reported, in milliseconds. Above the step by
/// which replicas reserve, since a restarted replica asks for that much.
pub const AHEAD_MS_MAX: u64 = 10 * 60 * 1000;

/// Hands out the ballots of one node.
#[derive(Debug)]
pub struct Stamps {
    me: Incarnation,
    seen: StampClock,
}

impl Stamps {
    /// The ballots of `me`, above `highest`: the node's reserved stamp, or the highest it stores.
    pub fn new(me: Incarnation, highest: Stamp) -> Self {
        Stamps { me, seen: StampClock::above(highest) }
    }

    /// A fresh ballot: `max(highest seen + 1, now)`.
    pub fn ballot(&self, now_ms: u64) -> Ballot {
        Ballot { stamp: self.seen.next(now_ms), node: self.me }
    }

    /// Takes note of a stamp that came in. Says by how many milliseconds it is ahead of the clock
    /// when that is more than `AHEAD_MS_MAX`: its sender is to be reported.
    pub fn observe(&self, stamp: Stamp, now_ms: u64) -> Option<u64> {
        self.seen.observe(stamp);
        let ahead_ms = stamp.clock_ms().saturating_sub(now_ms);
        (ahead_ms > AHEAD_MS_MAX).then_some(ahead_ms)
    }

    /// The highest stamp seen or handed out.
    pub fn highest(&self) -> Stamp {
        self.seen.highest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ballots_rise_above_what_was_seen() {
        let stamps = Stamps::new(Incarnation(7), Stamp(5));
        assert_eq!(stamps.ballot(0), Ballot { stamp: Stamp(6), node: Incarnation(7) });
        assert_eq!(stamps.observe(Stamp(90), 1), None);
        assert_eq!(stamps.ballot(0).stamp, Stamp(91));
        assert_eq!(stamps.ballot(9).stamp, Stamp::of_clock(9));
    }

    #[test]
    fn a_peer_far_ahead_is_reported_and_stamps_saturate() {
        let stamps = Stamps::new(Incarnation(7), Stamp(0));
        let far = Stamp::of_clock(1_000 + AHEAD_MS_MAX + 1);
        assert_eq!(stamps.observe(far, 1_000), Some(AHEAD_MS_MAX + 1));
        assert_eq!(stamps.observe(far, 1_001), None);
        assert!(stamps.observe(Stamp(u64::MAX), 0).is_some());
        assert_eq!(stamps.ballot(0).stamp, Stamp(u64::MAX));
        assert_eq!(stamps.ballot(0).stamp, Stamp(u64::MAX));
    }
}
