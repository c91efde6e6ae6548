//! Old tombstones: one node of the cluster looks for those that are old enough to go, and has them buried
//! (`coordinator::tombstones`).
//!
//! Invariants
//! - It decides nothing about safety: `register::Burial` does, and every store for itself.
//! - While no tombstone is old enough, no epoch begins and no other node hears of it.
//! - While a member is away it only says so: nothing can go.

use crate::actors::coordinator::Coordinator;
use crate::actors::messages::{CountTombstones, FindDue, Grave, ObjectError, StoreError};
use crate::actors::peer::forming::Seats;
use crate::actors::status::BurialStatus;
use crate::base::{Complete, NodeName};
use crate::register::Roster;
use crate::seal::random;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest time between two looks.
const EVERY_MAX: Duration = Duration::from_secs(3600);
/// Shortest time between two looks.
const EVERY_MIN: Duration = Duration::from_millis(200);
/// How many looks there are while a tombstone grows old.
const LOOKS_PER_AGE: u32 = 24;
/// A round that could not take all goes on after this part of the time between two looks.
const SOON: u32 = 60;
/// Most tombstones that go in one round, in one epoch.
const ROUND_MAX: usize = 16 * 1024;
/// Registers looked at in one step.
const STEP: usize = 1024;

/// When to look. A pure struct; time is an argument.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    next: Instant,
}

impl Pace {
    /// A first look at once; for tombstones that go when they are this old.
    pub fn new(age: Duration, now: Instant) -> Self {
        Pace { every: (age / LOOKS_PER_AGE).clamp(EVERY_MIN, EVERY_MAX), next: now }
    }

    /// Whether it is time to look, with so many tombstones here; `None` before they are counted.
    pub fn is_due(&self, now: Instant, tombstones: Option<u64>) -> bool {
        now >= self.next && tombstones.is_some_and(|count| count > 0)
    }

    /// A look has ended; `more` says that there was more than a round takes.
    pub fn looked(&mut self, now: Instant, more: bool) {
        self.next = now + if more { (self.every / SOON).max(EVERY_MIN) } else { self.every };
    }

    /// How often to ask whether it is time.
    pub fn tick(&self) -> Duration {
        (self.every / 4).clamp(EVERY_MIN, Duration::from_secs(10))
    }
}

/// What has become of old tombstones on this node.
#[derive(Default)]
pub struct BurialTally {
    rounds: AtomicU64,
    waits_for: Mutex<Vec<NodeName>>,
}

impl BurialTally {
    /// The tally as status and metrics show it.
    pub fn read(&self) -> BurialStatus {
        let waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone();
        BurialStatus { rounds: self.rounds.load(Ordering::Relaxed), away: waits_for.len(), waits_for }
    }

    /// Takes note of who is missed. True when that is new.
    fn waits(&self, names: &[NodeName]) -> bool {
        let mut known = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        let new = *known != names;
        known.clear();
        known.extend_from_slice(names);
        new
    }
}

/// Works until the store is gone.
pub async fn run(coordinator: Coordinator, seats: Arc<Mutex<Seats>>, age: Duration, tally: Arc<BurialTally>) {
    let mut pace = Pace::new(age, Instant::now());
    loop {
        let jitter = u64::from(u16::from_le_bytes(random())) % 100;
        actix_rt::time::sleep(pace.tick() + Duration::from_millis(jitter)).await;
        let Ok(tombstones) = coordinator.ask(CountTombstones).await else { return };
        let roster = coordinator.roster().filter(|_| pace.is_due(Instant::now(), tombstones));
        // One node alone sees to it: two would begin epochs against each other.
        let Some(roster) = roster.filter(|roster| is_mine(&seats, roster)) else {
            tally.waits(&[]);
            continue;
        };
        let missing = seats.lock().unwrap_or_else(PoisonError::into_inner).missing(Instant::now(), &roster);
        if tally.waits(&missing) && !missing.is_empty() {
            let names = missing.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ");
            log::warn!(nodes:% = names; "tombstones are kept until these nodes are back, or have no place in the member list");
        }
        // Only a member itself can say that it holds a tombstone: while one is away none may go.
        if !missing.is_empty() {
            continue;
        }
        let more = match look(&coordinator, age).await {
            Ok((graves, more)) if !graves.is_empty() => match coordinator.bury(graves).await {
                Ok(buried) => {
                    tally.rounds.fetch_add(u64::from(buried > 0), Ordering::Relaxed);
                    more && buried > 0
                }
                Err(error) => {
                    log::warn!(error:% = error; "tombstones could not be dropped, tried again later");
                    false
                }
            },
            Ok(_) => false,
            Err(ObjectError::Store(StoreError::ShuttingDown)) => return,
            Err(error) => {
                log::warn!(error:% = error; "tombstones could not be looked for, tried again later");
                false
            }
        };
        pace.looked(Instant::now(), more);
    }
}

fn is_mine(seats: &Mutex<Seats>, roster: &Roster) -> bool {
    roster.before.is_empty() && seats.lock().unwrap_or_else(PoisonError::into_inner).leads(Instant::now(), roster)
}

/// Tombstones that are old enough, as many as a round takes, and whether there may be more.
async fn look(coordinator: &Coordinator, age: Duration) -> Result<(Vec<Grave>, bool), ObjectError> {
    let (mut graves, mut after) = (Vec::new(), None);
    loop {
        let page = coordinator.ask(FindDue { after, age, limit: STEP }).await?;
        graves.extend(page.entries);
        match page.complete {
            Complete::End => return Ok((graves, false)),
            Complete::Through(_) if graves.len() >= ROUND_MAX => return Ok((graves, true)),
            Complete::Through(last) => after = Some(last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_an_hour_apart_unless_there_is_more() {
        let now = Instant::now();
        let mut pace = Pace::new(Duration::from_secs(24 * 3600), now);
        assert!(!pace.is_due(now, None) && !pace.is_due(now, Some(0)), "there is nothing to look for");
        assert!(pace.is_due(now, Some(1)));
        pace.looked(now, false);
        assert!(!pace.is_due(now + Duration::from_secs(3599), Some(1)) && pace.is_due(now + EVERY_MAX, Some(1)));
        pace.looked(now, true);
        assert!(!pace.is_due(now + Duration::from_secs(59), Some(1)));
        assert!(pace.is_due(now + Duration::from_secs(60), Some(1)));
        let short = Pace::new(Duration::from_secs(1), now);
        assert_eq!((short.every, short.tick()), (EVERY_MIN, EVERY_MIN));
        let long = Pace::new(Duration::from_secs(100 * 24 * 3600), now);
        assert_eq!((long.every, long.tick()), (EVERY_MAX, Duration::from_secs(10)));
    }
}
