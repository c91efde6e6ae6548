//! Finds out, again and again, which access keys are in force and what is open to everybody, so that no request has to
//! ask.
//!
//! Invariants
//! - It decides nothing: what a majority's answers mean is `register::freshness`.
//! - What is told to be in force is what this node held before it asked, or what a majority listed after it had begun
//!   to.
//! - That there is no key is remembered for as long as the node keeps what it holds: who has just been given a place, or
//!   lost power before it was told so, is not open by what it does not hold.
//! - A node that cannot find out says nothing new: what it said before grows stale by itself. But one that has never
//!   heard of a key, and holds one by now, says that it does.

use crate::actors::access::{Access, Clock, Known, Public};
use crate::actors::coordinator::Coordinator;
use crate::actors::messages::{AccessKeys, HeldAccess, ObjectError, ReadAccess, Seat, Seating, StoreError};
use crate::base::Mark;
use crate::register::Lease;
use crate::register::freshness::Finding;
use crate::store::Store;
use actix_rt::time::{Instant, sleep_until, timeout};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// From one question to the next one, once one was answered.
const EVERY: Duration = Duration::from_millis(250);
/// The same until then: nobody is let in before.
const EVERY_AT_FIRST: Duration = Duration::from_millis(20);
/// How long the answers to a question are waited for: what comes later earns little.
const PATIENCE: Duration = Duration::from_millis(600);
/// How long a list is waited for.
const LIST_PATIENCE: Duration = Duration::from_millis(800);

/// What a node knows when it starts: what it holds, which nobody has confirmed yet. `votes`: whether it decides with
/// others, also before it has a member list.
pub fn begin(store: &Arc<Store>, votes: bool, clock: Clock) -> Access {
    let HeldAccess { keys: (_, keys), public: (_, buckets) } = store.held_access();
    let node = store.voting().node.clone();
    let alone = node.roster.as_ref().map_or(!votes, |list| list.is_of(store.incarnation()));
    let seen = Arc::downgrade(store);
    let has_list = move || seen.upgrade().is_none_or(|store| store.voting().node.roster.is_some());
    let public = Public { buckets, lease: None };
    Access::new(Known { keys, lease: None, alone, unasked: !alone && !node.keyless, public }, clock, has_list)
}

/// Works until the store is gone. `changes`: tells what this node comes to hold.
pub async fn run(coordinator: Coordinator, access: Access, mut changes: watch::Receiver<()>) {
    loop {
        let next = Instant::now() + if access.has_known() { EVERY } else { EVERY_AT_FIRST };
        changes.borrow_and_update();
        match look(&coordinator, &access).await {
            Err(ObjectError::Store(StoreError::ShuttingDown)) => return,
            // Without a list, or without a majority, there is nothing to find out: the next look tries again.
            Err(error) => log::debug!(error:% = error; "which access keys are in force could not be found out"),
            Ok(()) => {}
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = access.wanted() => {}
            () = sleep_until(next) => {}
        }
    }
}

async fn look(coordinator: &Coordinator, access: &Access) -> Result<(), ObjectError> {
    // Before anything is read: what is chosen from here on may be missing in it.
    let asked = access.now();
    let HeldAccess { keys: (holds, keys), public: (open, buckets) } = coordinator.ask(ReadAccess).await?;
    if coordinator.knows_alone() {
        let lease = Some(Lease::since(asked));
        access.found_public(Public { buckets, lease });
        access.found(Known { alone: true, ..by_lease(keys, Lease::since(asked)) });
        return Ok(());
    }
    leave_alone(access);
    let findings = coordinator.compare_access([holds, open], asked, PATIENCE).await;
    let (of_keys, of_public) = match findings {
        Ok([of_keys, of_public]) => (Ok(of_keys), of_public),
        Err(error) => (Err(error), Finding::Silent),
    };
    if let Finding::Same(lease) = of_public {
        access.found_public(Public { buckets, lease: Some(lease) });
    }
    let known = look_at_keys(coordinator, access, keys, of_keys).await;
    // Behind the keys, which many more wait for.
    if of_public == Finding::Differs {
        list_public(coordinator, access).await?;
    }
    known
}

/// Takes in what was found of keys.
async fn look_at_keys(
    coordinator: &Coordinator,
    access: &Access,
    keys: Arc<AccessKeys>,
    finding: Result<Finding, ObjectError>,
) -> Result<(), ObjectError> {
    match finding {
        Ok(Finding::Same(lease)) => told(coordinator, access, keys, lease).await?,
        Ok(Finding::Differs) => {
            Mark::AccessListed.hit();
            // The lease counts from the beginning of the list: what is chosen behind that may be missing in it.
            let began = access.now();
            match timeout(LIST_PATIENCE, coordinator.list_access()).await {
                Ok(Ok(listed)) => told(coordinator, access, Arc::new(listed), Lease::since(began)).await?,
                Ok(Err(error)) => return unconfirmed(access, keys, Err(error)),
                Err(_) => return unconfirmed(access, keys, Ok(())),
            }
        }
        Ok(Finding::Open | Finding::Silent) => return unconfirmed(access, keys, Ok(())),
        Err(error) => return unconfirmed(access, keys, Err(error)),
    }
    Ok(())
}

/// What a majority was shown to hold. That it is no key is kept once: the node is open by that after its next start.
async fn told(
    coordinator: &Coordinator,
    access: &Access,
    keys: Arc<AccessKeys>,
    lease: Lease,
) -> Result<(), ObjectError> {
    let pristine = keys.is_pristine();
    access.found(by_lease(keys, lease));
    if pristine && !coordinator.is_keyless() {
        coordinator.ask(Seat { seating: Seating::Keyless }).await?;
    }
    Ok(())
}

/// Takes in what a majority holds of what is open to everybody, as far as that is listed in time.
async fn list_public(coordinator: &Coordinator, access: &Access) -> Result<(), ObjectError> {
    let began = access.now();
    if let Ok(listed) = timeout(LIST_PATIENCE, coordinator.list_public()).await {
        access.found_public(Public { buckets: Arc::new(listed?), lease: Some(Lease::since(began)) });
    }
    Ok(())
}

/// What was shown of keys, until the end of a lease.
fn by_lease(keys: Arc<AccessKeys>, lease: Lease) -> Known {
    Known { keys, lease: Some(lease), alone: false, unasked: false, public: Public::default() }
}

/// Others decide too by now: what was known when this node decided alone grows stale from then on.
fn leave_alone(access: &Access) {
    let known = access.known();
    if known.alone {
        access.found(Known { alone: false, ..(*known).clone() });
    }
}

/// Nobody has confirmed what this node holds. Who knew of no key, and holds one, is closed to all from now on.
fn unconfirmed<E>(access: &Access, keys: Arc<AccessKeys>, why: Result<(), E>) -> Result<(), E> {
    let known = access.known();
    if known.keys.is_pristine() && !keys.is_pristine() {
        access.found(Known { lease: None, keys, alone: false, ..(*known).clone() });
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, NodeName};
    use crate::register::{Roster, Seat as Place};
    use crate::store::mend::tests::store;
    use crate::store::wait_blocking;

    fn clock() -> std::time::Duration {
        std::time::Duration::from_secs(10)
    }

    #[test]
    fn a_node_with_a_list_is_open_by_what_it_was_told_and_not_by_what_it_does_not_hold() {
        let dir = tempfile::tempdir().expect("a directory");
        let opened = store(dir.path());
        let is_open = |store: &Arc<Store>| {
            let access = begin(store, true, clock);
            access.is_pristine(&access.known())
        };
        assert!(is_open(&opened), "it waits for its first list");
        let seat = |name: &str, incarnation| Place { name: NodeName::parse(name).expect("a name"), incarnation };
        let list = Roster::founding(1, vec![seat("n1", opened.incarnation()), seat("n2", Incarnation(77))]);
        wait_blocking(opened.seat(Seating::Adopt(Arc::new(list)))).expect("it is seated");
        assert!(!is_open(&opened), "nobody has told it anything");
        drop(opened);
        let again = store(dir.path());
        assert!(!is_open(&again), "nor since: it crashed with its list alone");
        wait_blocking(again.seat(Seating::Keyless)).expect("it is kept");
        assert!(is_open(&again));
        drop(again);
        assert!(is_open(&store(dir.path())), "local reads go on where nobody uses keys");
    }
}
