//! Ballots order the states of a key: `(stamp, node)`, compared as a pair.
//!
//! Stamps sort like time in quiet weather, but they are only ever compared: a wrong clock makes no
//! result wrong. They saturate instead of wrapping.

use super::ids::Incarnation;
use std::sync::atomic::{AtomicU64, Ordering};

/// The ordering value of a version: milliseconds since 1970 shifted left by 16, or one more than
/// the highest stamp seen, whichever is higher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl serde::Serialize for Stamp {
    /// As a text: readers of JSON round what is above 2^53.
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.0)
    }
}

impl Stamp {
    /// Bits below the milliseconds.
    pub const SUB_BITS: u32 = 16;

    /// The stamp that a clock at `now_ms` would give.
    pub fn of_clock(now_ms: u64) -> Self {
        Stamp(now_ms.saturating_mul(1 << Self::SUB_BITS))
    }

    /// The milliseconds in it: the clock of the writer, in quiet weather.
    pub fn clock_ms(self) -> u64 {
        self.0 >> Self::SUB_BITS
    }
}

/// `(stamp, node)`: which of two versions is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Ballot {
    /// Compared first: about the time, in the writer's milliseconds and a counter.
    pub stamp: Stamp,
    /// Breaks ties; no two nodes share an incarnation.
    pub node: Incarnation,
}

impl Ballot {
    /// Below every ballot that a node hands out: the ballot of a key that was never written.
    pub const ZERO: Ballot = Ballot { stamp: Stamp(0), node: Incarnation(0) };

    /// The highest ballot with this stamp.
    pub fn last_of(stamp: Stamp) -> Self {
        Ballot { stamp, node: Incarnation(u64::MAX) }
    }
}

/// Hands out stamps above everything this node has seen, for any key.
#[derive(Debug, Default)]
pub struct StampClock(AtomicU64);

impl StampClock {
    /// A clock that has seen `highest`.
    pub fn above(highest: Stamp) -> Self {
        StampClock(AtomicU64::new(highest.0))
    }

    /// The next stamp: `max(highest seen + 1, now)`.
    pub fn next(&self, now_ms: u64) -> Stamp {
        let now = Stamp::of_clock(now_ms).0;
        let mut taken = 0;
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |seen| {
            taken = now.max(seen.saturating_add(1));
            Some(taken)
        });
        Stamp(taken)
    }

    /// Takes note of a stamp made elsewhere.
    pub fn observe(&self, stamp: Stamp) {
        self.0.fetch_max(stamp.0, Ordering::AcqRel);
    }

    /// The highest stamp seen.
    pub fn highest(&self) -> Stamp {
        Stamp(self.0.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_even_when_the_clock_does_not() {
        let clock = StampClock::default();
        let a = clock.next(1_000);
        let b = clock.next(1_000);
        let c = clock.next(1);
        assert!(a < b && b < c);
        clock.observe(Stamp::of_clock(5_000));
        assert!(clock.next(1) > Stamp::of_clock(5_000));
        assert_eq!(Stamp::of_clock(1_234).clock_ms(), 1_234);
    }

    #[test]
    fn stamps_saturate() {
        let clock = StampClock::above(Stamp(u64::MAX));
        assert_eq!(clock.next(0), Stamp(u64::MAX));
        assert_eq!(Stamp::of_clock(u64::MAX), Stamp(u64::MAX));
    }
}
