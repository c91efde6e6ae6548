//! What this node tells its peers of itself with every heartbeat. What takes a look at the disk is counted now and
//! then beside the traffic, so that a heartbeat never waits.

use crate::actors::background::healer::HealTally;
use crate::actors::background::scrubber::ScrubTally;
use crate::actors::store_actor::threads::Threads;
use crate::http::Readiness;
use crate::store::Store;
use crate::wire::health::{Health, RunHealth, ScrubHealth};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often what lies on the disk is counted.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// What the numbers of a heartbeat come from.
pub(super) struct Pulses {
    pub store: Arc<Store>,
    pub readiness: Readiness,
    pub healing: Arc<HealTally>,
    pub scrubbing: Arc<ScrubTally>,
    pub counted: Counted,
}

/// What was counted last.
#[derive(Default)]
pub(super) struct Counted {
    quarantined: AtomicU64,
    registers: AtomicU64,
}

impl Pulses {
    /// What this node tells of itself now.
    pub fn health(&self) -> Health {
        let healing = self.healing.read();
        let scrub = self.scrubbing.read(self.counted.registers.load(Ordering::Relaxed));
        Health {
            tentative: self.store.tentative_count(),
            quarantined: self.counted.quarantined.load(Ordering::Relaxed),
            mended: healing.mended_blobs + healing.mended_records,
            unmended: healing.unmended,
            full: self.store.is_low(),
            poisoned: self.store.is_poisoned(),
            ready: self.readiness.is_ready(),
            scrub: ScrubHealth {
                state: scrub.state,
                done_permille: permille(scrub.position),
                damaged: scrub.damaged,
                repaired: scrub.repaired,
                last: scrub.last.map(|last| RunHealth {
                    age_s: last.age_s,
                    damaged: last.damaged,
                    repaired: last.repaired,
                }),
            },
        }
    }

    fn count(&self) {
        let status = self.store.status();
        self.counted.quarantined.store(status.quarantined, Ordering::Relaxed);
        self.counted.registers.store(status.records + status.overlay_records, Ordering::Relaxed);
    }
}

/// Counts now and then, as long as there is somebody to tell.
pub(super) fn keep_counting(pulses: &Arc<Pulses>, threads: Threads) {
    let pulses = Arc::downgrade(pulses);
    actix_rt::spawn(async move {
        while let Some(now) = pulses.upgrade() {
            if threads.run(move || now.count()).await.is_none() {
                return;
            }
            actix_rt::time::sleep(COUNT_EVERY).await;
        }
    });
}

/// A share of 0 to 1 in thousandths.
fn permille(share: f64) -> u16 {
    (0..=1_000).rev().find(|n| f64::from(*n) <= share * 1_000.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_in_thousandths() {
        for (share, told) in [(0.0, 0), (0.25, 250), (0.999_9, 999), (1.0, 1_000), (7.0, 1_000), (f64::NAN, 0)] {
            assert_eq!(permille(share), told, "{share}");
        }
    }
}
