//! The settler: what stays tentative is settled, so that no later reader has to. It also sees to the member list: a
//! node that lost its data directory is given its place anew, and a change that somebody left behind goes on.
//!
//! Invariant: it decides nothing: it has a register read, and a read settles it; what the member list should come to is
//! said by `Seats::overdue`, and brought about as any other change is (`coordinator::members`).

use crate::actors::coordinator::Coordinator;
use crate::actors::messages::{FindTentative, ObjectError, StoreError};
use crate::actors::peer::forming::Seats;
use crate::seal::random;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A record that has been tentative for so long was left behind by its coordinator.
const AGE: Duration = Duration::from_secs(3);
/// Between two looks. Nodes look at different times, so that they do not outbid each other.
const PAUSE: Duration = Duration::from_secs(1);
/// Most registers of one look.
const LIMIT: usize = 256;

/// Settles until the store is gone, and sees to the member list: who lost its data directory gets its place
/// again, and a change that was begun is ended.
pub async fn run(coordinator: Coordinator, seats: Arc<Mutex<Seats>>) {
    loop {
        let jitter = Duration::from_millis(u64::from(u16::from_le_bytes(random())) % 1000);
        actix_rt::time::sleep(PAUSE + jitter).await;
        let overdue = coordinator.roster().and_then(|roster| {
            let seats = seats.lock().unwrap_or_else(PoisonError::into_inner);
            seats.overdue(Instant::now(), &roster).map(|target| (target, roster.epoch))
        });
        // Somebody may be changing the list at this moment: what comes of that is not undone from here.
        if let Some((target, since)) = overdue
            && let Err(error) = coordinator.change_members(&target, Some(since)).await
        {
            log::warn!(error:% = error; "the member list could not be brought up to date, tried again");
        }
        let Ok(found) = coordinator.ask(FindTentative { age: AGE, limit: LIMIT }).await else { return };
        let seen = actix_rt::time::Instant::now();
        for key in found {
            match coordinator.settle(&key, seen).await {
                Ok(()) | Err(ObjectError::Crowded) => {}
                Err(ObjectError::Store(StoreError::ShuttingDown)) => return,
                // Without a majority nothing can be settled; the next look tries again.
                Err(ObjectError::NoMajority(_)) => break,
                Err(error) => log::warn!(error:% = error; "a record could not be settled"),
            }
        }
    }
}
