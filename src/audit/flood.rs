//! Refusals of somebody who does not stop: so many lines in a second, and then a number.
//!
//! Invariants
//! - Each refusal is in a line of its own, or in the number of one.
//! - What is remembered is bounded, whoever calls from wherever: so are the lines of a second.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Lines of their own in a second, for one address.
const ADDRESS_LINES: u64 = 20;
/// Lines of their own in a second, for all addresses together.
const ALL_LINES: u64 = 200;
/// Most addresses that are counted apart.
const ADDRESSES_MAX: usize = 1_024;
const WINDOW: Duration = Duration::from_secs(1);

/// Refusals that have no line of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// From where; none where they came from too many places.
    pub address: Option<IpAddr>,
    /// How many.
    pub count: u64,
}

/// What is counted in the present second.
#[derive(Debug, Default)]
pub struct Flood {
    began: Option<Instant>,
    lines: u64,
    by_address: HashMap<IpAddr, Seen>,
    elsewhere: u64,
}

#[derive(Debug, Default)]
struct Seen {
    lines: u64,
    suppressed: u64,
}

impl Flood {
    /// Whether a refusal gets a line of its own. If not it is counted, for `ended`.
    pub fn admits(&mut self, address: Option<IpAddr>, now: Instant) -> bool {
        if self.began.is_some_and(|began| now.duration_since(began) >= WINDOW) && !self.is_counting() {
            *self = Flood::default();
        }
        self.began.get_or_insert(now);
        let address = whose(address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        if self.by_address.len() >= ADDRESSES_MAX && !self.by_address.contains_key(&address) {
            self.elsewhere += 1;
            return false;
        }
        let seen = self.by_address.entry(address).or_default();
        if seen.lines < ADDRESS_LINES && self.lines < ALL_LINES {
            (seen.lines, self.lines) = (seen.lines + 1, self.lines + 1);
            return true;
        }
        seen.suppressed += 1;
        false
    }

    /// Whether a second is under way in which somebody was counted.
    pub fn is_counting(&self) -> bool {
        self.elsewhere > 0 || self.by_address.values().any(|seen| seen.suppressed > 0)
    }

    /// What was counted in a second that is over; nothing before. `last`: it is over now, whatever the clock says.
    pub fn ended(&mut self, now: Instant, last: bool) -> Vec<Suppressed> {
        if self.began.is_none_or(|began| !last && now.duration_since(began) < WINDOW) {
            return Vec::new();
        }
        let Flood { by_address, elsewhere, .. } = std::mem::take(self);
        let counted = by_address.into_iter().filter(|(_, seen)| seen.suppressed > 0);
        let mut all: Vec<_> = counted
            .map(|(address, seen)| Suppressed {
                address: Some(address).filter(|address| !address.is_unspecified()),
                count: seen.suppressed,
            })
            .collect();
        all.sort_by_key(|suppressed| suppressed.address);
        if elsewhere > 0 {
            all.push(Suppressed { address: None, count: elsewhere });
        }
        all
    }
}

/// Whose an address is: one who has a network of version 6 has all addresses of it.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(n.into()))
    }

    #[test]
    fn one_who_does_not_stop_gets_a_number_and_others_their_lines() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        assert_eq!((0..50).filter(|_| flood.admits(v4(1), now)).count(), 20);
        assert!(flood.admits(v4(2), now));
        assert_eq!(flood.ended(now + WINDOW / 2, false), []);
        assert!(!flood.admits(v4(1), now + WINDOW / 2));
        assert_eq!(flood.ended(now + WINDOW, false), [Suppressed { address: v4(1), count: 31 }]);
        assert!(flood.admits(v4(1), now + WINDOW), "another second");
        assert_eq!(flood.ended(now + WINDOW, true), []);
    }

    #[test]
    fn many_addresses_are_bounded_and_none_of_their_refusals_is_lost() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let own = (0..5_000).filter(|n| flood.admits(v4(*n), now)).count();
        assert_eq!(own, 200);
        let all = flood.ended(now + WINDOW, false);
        assert!(all.len() <= ADDRESSES_MAX + 1);
        assert_eq!(all.iter().map(|one| one.count).sum::<u64>(), 5_000 - 200);
        assert_eq!(all.last().map(|one| one.address), Some(None));
        let mine = |n: u128| Some(IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | n)));
        let own = (0..100).filter(|n| flood.admits(mine(*n), now)).count();
        assert_eq!(own, 20, "they are one network's");
    }
}
