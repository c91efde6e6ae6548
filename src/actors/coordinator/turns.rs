//! Turns: the writers of one key at one node, one after the other. Shared by the node's HTTP workers.
//!
//! Two coordinators of one node that write the same key can only cost each other rounds, and a write that loses
//! too many of them ends with an unknown outcome. Nothing rests on the order: who decides is the register.
//!
//! Invariants
//! - At most one turn of a key is out; the others wait in the order in which they came.
//! - A turn passes on when it drops, wherever that happens, and past those who wait no longer.
//! - At most `WAITING_MAX` wait for one key. Keys that nobody writes cost nothing.

use crate::base::RegisterKey;
use actix_rt::time::{Instant, timeout};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Most writers that wait for one key: more than a node decides within its patience.
pub const WAITING_MAX: usize = 1024;

/// The turns of all keys. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<Queues>>);

type Queues = HashMap<RegisterKey, VecDeque<oneshot::Sender<Turn>>>;

/// The right to coordinate a write of one key.
#[derive(Debug)]
pub struct Turn {
    /// None once it was passed on.
    of: Option<(Turns, RegisterKey)>,
}

impl Turns {
    /// Waits for the turn of a key; none when it does not come by the deadline, or too many wait already.
    pub async fn take(&self, key: &RegisterKey, deadline: Instant) -> Option<Turn> {
        let arrival = {
            let mut queues = self.lock();
            match queues.entry(key.clone()) {
                Entry::Vacant(free) => {
                    free.insert(VecDeque::new());
                    return Some(Turn { of: Some((self.clone(), key.clone())) });
                }
                Entry::Occupied(mut busy) => {
                    let waiting = busy.get_mut();
                    if waiting.len() >= WAITING_MAX {
                        // Clients that have gone hold no place.
                        waiting.retain(|other| !other.is_closed());
                    }
                    if waiting.len() >= WAITING_MAX {
                        return None;
                    }
                    let (pass, arrival) = oneshot::channel();
                    waiting.push_back(pass);
                    arrival
                }
            }
        };
        timeout(deadline.saturating_duration_since(Instant::now()), arrival).await.ok()?.ok()
    }

    /// A panic while the lock is held leaves no half-made state.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some((turns, key)) = self.of.take() else { return };
        let mut queues = turns.lock();
        let Some(waiting) = queues.get_mut(&key) else { return };
        let mut turn = Turn { of: Some((turns.clone(), key.clone())) };
        while let Some(next) = waiting.pop_front() {
            match next.send(turn) {
                Ok(()) => return,
                // This one waits no longer: the turn goes to the next.
                Err(back) => turn = back,
            }
        }
        queues.remove(&key);
        // It must find nothing to pass on when it drops here: the lock is held.
        turn.of = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketId, ObjectKey};
    use futures::FutureExt;
    use std::time::Duration;

    fn key(name: &str) -> RegisterKey {
        let key = ObjectKey::parse(name).expect("a key");
        RegisterKey::object(BucketId(7), &key)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    #[actix_rt::test]
    async fn one_turn_at_a_time_in_the_order_of_arrival() {
        let turns = Turns::default();
        let (a, b) = (key("a"), key("b"));
        let first = turns.take(&a, late()).await.expect("it is free");
        assert!(turns.take(&b, late()).now_or_never().flatten().is_some(), "another key is free");
        let mut second = Box::pin(turns.take(&a, late()));
        let mut third = Box::pin(turns.take(&a, late()));
        assert!((&mut second).now_or_never().is_none() && (&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_none(), "it is the second one's turn");
        let turn = second.now_or_never().flatten().expect("the second one's turn");
        drop(turn);
        drop(third.now_or_never().flatten().expect("the third one's turn"));
        assert!(turns.lock().is_empty(), "nothing is kept of a key that nobody writes");
    }

    #[actix_rt::test]
    async fn a_turn_passes_those_who_left_and_comes_back_from_those_who_never_took_it() {
        let turns = Turns::default();
        let a = key("a");
        let first = turns.take(&a, late()).await.expect("it is free");
        let mut left = Box::pin(turns.take(&a, late()));
        let mut dies = Box::pin(turns.take(&a, late()));
        let mut last = Box::pin(turns.take(&a, late()));
        assert!((&mut left).now_or_never().is_none() && (&mut dies).now_or_never().is_none());
        assert!((&mut last).now_or_never().is_none());
        drop(left);
        drop(first);
        assert!((&mut last).now_or_never().is_none());
        // Its turn lies there for it, unread.
        drop(dies);
        drop(last.now_or_never().flatten().expect("the last one's turn"));
        assert!(turns.lock().is_empty());
    }

    #[actix_rt::test]
    async fn who_waits_too_long_or_finds_too_many_goes_without() {
        let turns = Turns::default();
        let a = key("a");
        let held = turns.take(&a, late()).await.expect("it is free");
        assert!(turns.take(&a, Instant::now()).await.is_none(), "its time is up");
        let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(turns.take(&a, late()))).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        assert!(turns.take(&a, late()).now_or_never().is_some_and(|turn| turn.is_none()), "there are too many");
        waiting.pop();
        let mut one = Box::pin(turns.take(&a, late()));
        assert!((&mut one).now_or_never().is_none(), "one of them left");
        drop((waiting, held));
        assert!(one.now_or_never().flatten().is_some());
    }
}
