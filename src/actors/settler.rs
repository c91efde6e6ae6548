//! The settler: what stays tentative is settled, so that no later reader has to.
//!
//! Invariant: it decides nothing: a settled register is one that was read.

use super::coordinator::Coordinator;
use super::messages::{FindTentative, StoreError};
use crate::seal::random;
use std::time::Duration;

/// A record that has been tentative for so long was left behind by its coordinator.
const AGE: Duration = Duration::from_secs(3);
/// Between two looks. Nodes look at different times, so that they do not outbid each other.
const PAUSE: Duration = Duration::from_secs(1);
/// Most registers of one look.
const LIMIT: usize = 256;

/// Settles until the store is gone.
pub async fn run(coordinator: Coordinator) {
    loop {
        let jitter = Duration::from_millis(u64::from(u16::from_le_bytes(random())) % 1000);
        actix_rt::time::sleep(PAUSE + jitter).await;
        let Ok(found) = coordinator.ask(FindTentative { age: AGE, limit: LIMIT }).await else { return };
        for key in found {
            match coordinator.settle(&key).await {
                Ok(()) => {}
                Err(StoreError::ShuttingDown) => return,
                // Without a majority nothing can be settled; the next look tries again.
                Err(StoreError::NoMajority(_)) => break,
                Err(error) => log::warn!(error:% = error; "a record could not be settled"),
            }
        }
    }
}
