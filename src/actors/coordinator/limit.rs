//! The limit: until when a decision goes on. A pure struct; time is an argument.
//!
//! Invariants
//! - A decision ends when its time is up, unless a body that it waits for has moved within half of that time; then it
//!   ends that time after the body last moved. So rounds have half of it at least behind an extension.
//! - A body has moved only when more of it has gone than was ever seen: one that is sent again and again does not
//!   extend for ever.
//! - A body that waits for its turn moves as that comes nearer (`transfers`), and stands once it has it and nothing is
//!   sent: so bodies behind it extend nothing, however many they are.

use crate::actors::peer::conn::until_durable;
use crate::actors::peer::transfers::Far;
use crate::base::{BodyId, Incarnation};
use actix_rt::time::Instant;
use std::collections::HashMap;
use std::time::Duration;

/// Until when a decision goes on.
#[derive(Debug)]
pub(super) struct Limit {
    at: Instant,
    decide: Duration,
    seen: HashMap<(Incarnation, BodyId), Far>,
    moved: Option<Instant>,
}

impl Limit {
    /// A decision that has until then, of the time that decisions have.
    pub fn new(at: Instant, decide: Duration) -> Self {
        Limit { at, decide, seen: HashMap::new(), moved: None }
    }

    /// Until when it goes on, as things are.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// A body of that sealed length is so far. While a disk works on all of it nothing can be seen to move.
    pub fn saw(&mut self, now: Instant, of: (Incarnation, BodyId), far: Far, sealed_len: u64) {
        let moves = match self.seen.get(&of) {
            Some(before) if far <= *before => return,
            Some(_) => true,
            None => far >= Far::Sent(1),
        };
        self.seen.insert(of, far);
        if moves {
            let working = if far >= Far::Sent(sealed_len) { until_durable(sealed_len) } else { Duration::ZERO };
            self.moved = self.moved.max(Some(now + working));
        }
    }

    /// Whether the decision has to end now. If not, and its time was up, it has more.
    pub fn is_over(&mut self, now: Instant) -> bool {
        let moved = self.moved.filter(|moved| now < *moved + self.decide / 2);
        match moved {
            _ if now < self.at => false,
            Some(moved) => {
                self.at = moved + self.decide;
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::peer::transfers::{Part, Transfers};
    use futures::FutureExt;
    use std::sync::Arc;

    const DECIDE: Duration = Duration::from_secs(10);
    const LEN: u64 = 1000;
    const OF: (Incarnation, BodyId) = (Incarnation(2), BodyId([1; 16]));

    fn limit() -> (Limit, impl Fn(u64) -> Instant) {
        let begin = Instant::now();
        (Limit::new(begin + DECIDE, DECIDE), move |seconds| begin + Duration::from_secs(seconds))
    }

    #[test]
    fn what_waits_for_nothing_ends_when_its_time_is_up() {
        let (mut limit, at) = limit();
        assert_eq!((limit.is_over(at(9)), limit.is_over(at(10))), (false, true));
    }

    #[test]
    fn a_body_that_moves_extends_it_and_one_that_stands_does_not() {
        let (mut limit, at) = limit();
        for second in 1..=60 {
            limit.saw(at(second), OF, Far::Sent(second), LEN);
            assert!(!limit.is_over(at(second)), "{second}");
        }
        // From here on it stands.
        let ends = (60..200).find(|second| {
            limit.saw(at(*second), OF, Far::Sent(60), LEN);
            limit.is_over(at(*second))
        });
        let ends = ends.expect("it ends");
        assert!((65..=70).contains(&ends), "{ends}");
    }

    #[test]
    fn rounds_have_half_of_the_time_behind_an_extension() {
        for moved in 6..10 {
            let (mut limit, at) = limit();
            limit.saw(at(moved), OF, Far::Sent(1), LEN);
            assert!(!limit.is_over(at(10)));
            assert!(limit.at() >= at(15), "{moved}");
            assert_eq!(limit.at(), at(moved + 10));
        }
        let (mut limit, at) = limit();
        limit.saw(at(5), OF, Far::Sent(1), LEN);
        assert!(limit.is_over(at(10)), "it stood for half of the time");
    }

    #[test]
    fn only_what_was_never_seen_before_moves() {
        let (mut limit, at) = limit();
        // It comes to nothing each time, and is sent again.
        for second in (0..60).step_by(3) {
            limit.saw(at(second), OF, Far::Waits(second), LEN);
            limit.saw(at(second + 1), OF, Far::Sent(500), LEN);
            limit.saw(at(second + 2), OF, Far::Sent(900), LEN);
        }
        assert!(limit.is_over(at(60)));
    }

    #[test]
    fn a_body_that_waits_for_its_turn_moves_as_those_before_it_do() {
        let (mut limit, at) = limit();
        limit.saw(at(1), OF, Far::Waits(70), LEN);
        limit.saw(at(9), OF, Far::Waits(70), LEN);
        assert!(limit.is_over(at(10)), "they stand");
        limit.saw(at(9), OF, Far::Waits(71), LEN);
        assert!(!limit.is_over(at(10)));
    }

    #[test]
    fn a_body_that_has_its_turn_and_stands_is_not_extended_by_what_comes_behind_it() {
        let (mut limit, at) = limit();
        let transfers = Arc::new(Transfers::new(u64::MAX));
        let join = |n| match transfers.join(OF.0, BodyId([n; 16]), LEN) {
            Part::Lead(lead) => lead,
            Part::Follow(_) => unreachable!("each is new"),
        };
        let (mine, others) = (join(1), (2..=60).map(join).collect::<Vec<_>>());
        let turn = transfers.turn_of(&mine).now_or_never().flatten().expect("a turn");
        let ends = (1..60).find(|second| {
            others[*second as usize - 1].sent().up_to(LEN);
            limit.saw(at(*second), OF, transfers.far(OF.0, OF.1).expect("it is under way"), LEN);
            limit.is_over(at(*second))
        });
        assert_eq!(ends, Some(10));
        drop(turn);
    }

    #[test]
    fn a_disk_has_its_time_for_what_has_come_as_a_whole() {
        let (mut limit, at) = limit();
        let len = 3 << 30;
        limit.saw(at(8), OF, Far::Sent(len - 1), len);
        assert!(!limit.is_over(at(10)));
        limit.saw(at(16), OF, Far::Sent(len), len);
        let long = until_durable(len).as_secs();
        assert!(!limit.is_over(at(16 + long)));
        assert!(limit.is_over(at(16 + long + 10)));
    }
}
