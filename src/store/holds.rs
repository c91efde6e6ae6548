//! Holds: bodies that stay whatever refers to them, for the time of one decision.
//!
//! Invariants
//! - A body is held as often as it was added and not released.
//! - That a held body was to go is remembered until the last one who holds it lets go.

use crate::base::BodyId;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The bodies of one store that are held.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<BodyId, Hold>>);

#[derive(Debug, Default)]
struct Hold {
    /// By so many.
    by: usize,
    /// Whether it was to go, and stayed for this.
    was_to_go: bool,
}

impl Holds {
    /// One more holds a body.
    pub fn add(&self, body: BodyId) {
        self.lock().entry(body).or_default().by += 1;
    }

    /// Whether a body that is to go has to stay. Who lets go of it last hears of that.
    pub fn keep(&self, body: BodyId) -> bool {
        match self.lock().get_mut(&body) {
            Some(hold) => {
                hold.was_to_go = true;
                true
            }
            None => false,
        }
    }

    /// One holds it less. Whether that was the last one, and it was to go.
    pub fn release(&self, body: BodyId) -> bool {
        let mut all = self.lock();
        let Entry::Occupied(mut hold) = all.entry(body) else { return false };
        hold.get_mut().by -= 1;
        hold.get().by == 0 && hold.remove().was_to_go
    }

    /// A panic while it is held leaves no half-made state.
    fn lock(&self) -> MutexGuard<'_, HashMap<BodyId, Hold>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_stays_for_as_long_as_one_holds_it_and_the_last_one_hears_that_it_was_to_go() {
        let (holds, body) = (Holds::default(), BodyId([1; 16]));
        assert!(!holds.keep(body));
        holds.add(body);
        holds.add(body);
        assert!(holds.keep(body) && !holds.keep(BodyId([2; 16])));
        assert!(!holds.release(body), "another one has it");
        assert!(holds.release(body) && !holds.keep(body));
        holds.add(body);
        assert!(!holds.release(body), "nobody wanted it to go since");
        assert!(holds.lock().is_empty());
    }
}
