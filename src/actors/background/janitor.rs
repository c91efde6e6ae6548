//! The janitor: deletions of buckets that somebody left behind are ended, so that no writer waits for them.
//!
//! Invariants
//! - It decides nothing: a deletion that is gone on with is one like any other (`coordinator::deletion`).
//! - One node of the cluster sees to it, the first of the members that are there, by name.
//! - What is begun has time to end by itself: only what is closed as it was at the look before is gone on with.

use crate::actors::coordinator::Coordinator;
use crate::actors::messages::{FindClosing, ObjectError, StoreError};
use crate::actors::peer::forming::Seats;
use crate::base::{BucketName, Mark};
use crate::seal::random;
use futures::stream::StreamExt;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);
/// Deletions that are gone on with at once.
const AT_ONCE: usize = 16;

/// Works until the store is gone.
pub async fn run(coordinator: Coordinator, seats: Arc<Mutex<Seats>>) {
    let mut before: BTreeSet<(BucketName, u64)> = BTreeSet::new();
    loop {
        let jitter = Duration::from_millis(u64::from(u16::from_le_bytes(random())) % 500);
        actix_rt::time::sleep(PAUSE + jitter).await;
        let Ok(closing) = coordinator.ask(FindClosing).await else { return };
        let leads = |seats: &Seats| coordinator.roster().is_some_and(|roster| seats.leads(Instant::now(), &roster));
        if !leads(&seats.lock().unwrap_or_else(PoisonError::into_inner)) {
            before.clear();
            continue;
        }
        let coordinator = &coordinator;
        let left = closing.iter().filter(|one| before.contains(one)).map(|(bucket, _)| async move {
            let ended = coordinator.end_deletion(bucket).await;
            match &ended {
                Ok(true) => {
                    Mark::DeletionResumed.hit();
                    log::info!("a deletion of a bucket that was left behind has been ended");
                }
                // Somebody else was faster.
                Ok(false) | Err(ObjectError::Store(StoreError::ShuttingDown)) => {}
                Err(error) => log::warn!(error:% = error; "a deletion of a bucket stands still, tried again"),
            }
            matches!(ended, Err(ObjectError::Store(StoreError::ShuttingDown)))
        });
        if futures::stream::iter(left).buffer_unordered(AT_ONCE).any(|is_over| async move { is_over }).await {
            return;
        }
        before = closing.into_iter().collect();
    }
}
