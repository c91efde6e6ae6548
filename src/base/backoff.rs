//! Exponential backoff with jitter in the upper half: waits grow, and peers do not return in the same second.

use std::time::Duration;

/// How long to wait before try number `tries`. Pure: the caller brings the randomness.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Longest wait after the first failure.
    pub base: Duration,
    /// The longest wait, however many tries have failed.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after `tries` failures in a row: between half and all of `min(cap, base * 2^tries)`.
    /// `random` is any uniformly distributed number.
    pub fn delay(&self, tries: u32, random: u64) -> Duration {
        let ceiling = self.base.saturating_mul(1u32.checked_shl(tries.min(30)).unwrap_or(u32::MAX)).min(self.cap);
        let half = ceiling / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_nanos(random % spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(10) };

    #[test]
    fn grows_and_stays_below_the_cap() {
        assert!(B.delay(0, u64::MAX) < Duration::from_millis(101));
        assert!(B.delay(3, 0) >= Duration::from_millis(400));
        for tries in 0..200 {
            assert!(B.delay(tries, u64::MAX) <= B.cap);
        }
    }

    #[test]
    fn jitter_spreads() {
        let all: std::collections::BTreeSet<_> =
            (0..100u64).map(|i| B.delay(5, i.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        assert!(all.len() > 90);
    }
}
