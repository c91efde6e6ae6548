//! Stale uploads: those in parts that nobody ends, and what a crash has left of others, are looked for again and again.
//!
//! Invariants
//! - It decides nothing: an upload that is aborted is one like any other, and what goes has ended (`coordinator::uploads`).
//! - One node of the cluster sees to it, the first of the members that are there, by name; a node that decides alone does
//!   so by itself.
//! - It goes on where it was: a round that takes too long is no reason to begin anew.

use crate::actors::coordinator::Coordinator;
use crate::actors::coordinator::uploads::{Ages, Swept};
use crate::actors::messages::{ObjectError, StoreError};
use crate::actors::peer::forming::Seats;
use crate::base::RegisterKey;
use crate::seal::random;
use crate::store::system_ms;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How old is what is dropped of an upload that is not open: longer than it takes to begin one, or to clear one up.
const LEFT_AGE: Duration = Duration::from_secs(3600);
/// Longest time between two rounds.
const EVERY_MAX: Duration = Duration::from_secs(3600);
/// Shortest time between two rounds.
const EVERY_MIN: Duration = Duration::from_millis(200);
/// How many rounds there are while an upload grows stale.
const ROUNDS_PER_AGE: u32 = 24;
/// Between two steps of a round: requests come first.
const BETWEEN_STEPS: Duration = Duration::from_millis(10);

/// How long to wait between two rounds, for uploads that are stale at that age.
fn every(stale: Duration) -> Duration {
    (stale / ROUNDS_PER_AGE).clamp(EVERY_MIN, EVERY_MAX)
}

/// Works until the store is gone. `stale`: the age at which an upload is ended that is open.
pub async fn run(coordinator: Coordinator, seats: Option<Arc<Mutex<Seats>>>, stale: Duration) {
    loop {
        let jitter = Duration::from_millis(u64::from(u16::from_le_bytes(random())) % 100);
        actix_rt::time::sleep(every(stale) + jitter).await;
        match round(&coordinator, seats.as_deref(), stale).await {
            Ok((0, 0)) => {}
            Ok((aborted, dropped)) => {
                log::info!(aborted, dropped; "uploads in parts were ended that nobody had ended, or dropped for good");
            }
            Err(ObjectError::Store(StoreError::ShuttingDown)) => return,
            Err(error) => log::warn!(error:% = error; "stale uploads could not be looked for, tried again later"),
        }
    }
}

/// Looks through all uploads: how many were aborted, and of how many things nothing is left.
async fn round(
    coordinator: &Coordinator,
    seats: Option<&Mutex<Seats>>,
    stale: Duration,
) -> Result<(usize, usize), ObjectError> {
    let (mut from, mut done): (Option<RegisterKey>, _) = (None, (0, 0));
    loop {
        if !is_mine(coordinator, seats) {
            return Ok(done);
        }
        let ages = Ages { now_ms: system_ms(), left: LEFT_AGE.min(stale), stale };
        let Swept { next, aborted, dropped } = coordinator.sweep_uploads(from, ages).await?;
        done = (done.0 + aborted, done.1 + dropped);
        from = match next {
            Some(next) => Some(next),
            None => return Ok(done),
        };
        actix_rt::time::sleep(BETWEEN_STEPS).await;
    }
}

/// Whether this node sees to it.
fn is_mine(coordinator: &Coordinator, seats: Option<&Mutex<Seats>>) -> bool {
    let (Some(seats), Some(roster)) = (seats, coordinator.roster()) else { return coordinator.is_alone() };
    seats.lock().unwrap_or_else(PoisonError::into_inner).leads(Instant::now(), &roster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_an_hour_apart_at_most() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!((every(7 * day), every(day), every(Duration::from_secs(1))), (EVERY_MAX, EVERY_MAX, EVERY_MIN));
        assert_eq!(every(Duration::from_secs(2400)), Duration::from_secs(100));
    }
}
