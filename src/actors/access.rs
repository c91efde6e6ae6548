//! What callers are held against: the access keys that are known to be in force, what is open to everybody, and until
//! when that is so.
//!
//! Invariants
//! - A request looks here and asks nobody: one lock that is held for a moment, one look at the clock.
//! - What was shown by a later question is never replaced by what an earlier one showed.
//! - Who knows nothing, or nothing that is fresh, says so: whoever lets callers in refuses then.

use crate::actors::messages::{AccessKeys, PublicBuckets};
use crate::register::Lease;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The time by a clock that goes on while the machine sleeps, from whenever it began.
pub type Clock = fn() -> Duration;

/// Access keys, and what they rest on.
#[derive(Clone, Debug)]
pub struct Known {
    /// The keys.
    pub keys: Arc<AccessKeys>,
    /// Until when they are known to be those in force; none where that was never shown.
    pub lease: Option<Lease>,
    /// Whether nobody else decides on keys: then they are those in force.
    pub alone: bool,
    /// Whether nobody was asked yet, since the node was given its place: that it knew of no key says nothing then.
    pub unasked: bool,
    /// What is open to everybody. It has a lease of its own, so that keys never wait for buckets to be listed.
    pub public: Public,
}

/// What is open to everybody, and what that rests on.
#[derive(Clone, Debug, Default)]
pub struct Public {
    /// By bucket.
    pub buckets: Arc<PublicBuckets>,
    /// Until when it is known to be in force; none where that was never shown.
    pub lease: Option<Lease>,
}

/// A handle on what is known, for whoever finds out and whoever lets callers in; clones are the same handle.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    known: watch::Sender<Arc<Known>>,
    clock: Clock,
    /// Whether this node has a member list by now.
    has_list: Box<dyn Fn() -> bool + Send + Sync>,
    /// Wakes whoever finds out.
    wanted: Notify,
}

impl Access {
    /// What is known at first, the clock of leases, and how to see whether there is a member list.
    pub fn new(known: Known, clock: Clock, has_list: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let known = watch::channel(Arc::new(known)).0;
        Access(Arc::new(Inner { known, clock, has_list: Box::new(has_list), wanted: Notify::new() }))
    }

    /// What is known now.
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.known.borrow())
    }

    /// Whether it was ever known which keys are in force.
    pub fn has_known(&self) -> bool {
        let known = self.known();
        known.alone || known.lease.is_some()
    }

    /// Whether that is known to be what is in force.
    pub fn is_fresh(&self, known: &Known) -> bool {
        known.alone || known.lease.is_some_and(|lease| lease.holds(self.now()))
    }

    /// What is open to everybody, where that is known to be in force.
    pub fn public<'k>(&self, known: &'k Known) -> Option<&'k PublicBuckets> {
        let fresh = known.alone || known.public.lease.is_some_and(|lease| lease.holds(self.now()));
        fresh.then_some(&*known.public.buckets)
    }

    /// Whether no key was ever heard of, by somebody who would have: not by a node that has a member list, and was never
    /// told by a majority of it that there is none. It can read by that list what others guard, and the list may be all
    /// that it got before a crash.
    pub fn is_pristine(&self, known: &Known) -> bool {
        known.keys.is_pristine() && !(known.unasked && (self.0.has_list)())
    }

    /// The time by the clock of leases.
    pub fn now(&self) -> Duration {
        (self.0.clock)()
    }

    /// Takes in what was found out of keys, unless a later question has shown something already. What is open to everybody
    /// stays as it was: see `found_public`.
    pub fn found(&self, next: Known) {
        self.0.known.send_if_modified(|known| {
            let is_older = |next: Lease| known.lease.is_some_and(|lease| lease.follows(&next));
            // Who decides alone, or did so until now, has nobody whose question could be a later one.
            let takes = next.alone || known.alone || !next.lease.is_some_and(is_older);
            if takes {
                *known = Arc::new(Known { public: known.public.clone(), ..next });
            }
            takes
        });
    }

    /// Takes in what was found out of what is open to everybody, unless a later question has shown something already.
    pub fn found_public(&self, next: Public) {
        self.0.known.send_if_modified(|known| {
            let is_older = |next: Lease| known.public.lease.is_some_and(|lease| lease.follows(&next));
            let takes = known.alone || !next.lease.is_some_and(is_older);
            if takes {
                *known = Arc::new(Known { public: next, ..(**known).clone() });
            }
            takes
        });
    }

    /// Has it found out at once.
    pub fn look(&self) {
        self.0.wanted.notify_one();
    }

    /// Waits until somebody wants it found out at once.
    pub(in crate::actors) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// Waits until something holds of what is known, `patience` at most; whether it does.
    pub async fn until(&self, patience: Duration, holds: impl Fn(&Known) -> bool) -> bool {
        let mut known = self.0.known.subscribe();
        let found = known.wait_for(|known| holds(known));
        actix_rt::time::timeout(patience, found).await.is_ok_and(|found| found.is_ok())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::AccessKeyId;
    use crate::store::access_keys::AccessKey;

    const ID: [u8; 20] = [1; 20];

    fn known(lease_ms: Option<u64>, alone: bool, with_key: bool) -> Known {
        let key = AccessKey::unstored(AccessKeyId::drawn(ID), Vec::new(), Vec::new());
        let keys = Arc::new(AccessKeys::of(with_key.then_some(key)));
        let lease = lease_ms.map(|ms| Lease::since(Duration::from_millis(ms)));
        Known { keys, lease, alone, unasked: false, public: Public::default() }
    }

    fn has_key(access: &Access) -> bool {
        access.known().keys.get(AccessKeyId::drawn(ID)).is_some()
    }

    #[test]
    fn what_is_known_is_fresh_by_its_lease_or_where_nobody_else_decides() {
        let access = Access::new(known(None, false, false), || Duration::from_secs(10), || true);
        let fresh = |lease, alone| access.is_fresh(&known(lease, alone, false));
        assert!(!fresh(None, false) && fresh(None, true));
        assert!(fresh(Some(9_500), false) && !fresh(Some(9_000), false) && !fresh(Some(10_001), false));
    }

    #[test]
    fn that_no_key_is_known_says_nothing_once_there_is_a_list_that_was_not_asked() {
        let list = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = Arc::clone(&list);
        let has_list = move || seen.load(std::sync::atomic::Ordering::Relaxed);
        let without = Known { unasked: true, ..known(None, false, false) };
        let access = Access::new(without.clone(), || Duration::from_secs(10), has_list);
        assert!(access.is_pristine(&without));
        list.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(!access.is_pristine(&without), "it may read what others guard");
        assert!(access.is_pristine(&known(Some(9_500), false, false)), "the members were asked");
        assert!(!access.is_pristine(&known(Some(9_500), false, true)));
    }

    #[test]
    fn what_is_open_has_a_lease_of_its_own() {
        let access = Access::new(known(Some(9_500), false, false), || Duration::from_secs(10), || true);
        let open = |access: &Access| access.public(&access.known()).map(|public| public.iter().len());
        let name = crate::base::BucketName::cargas();
        let grants = || crate::base::PublicGrants::NONE.with("", crate::base::Rights::of(&[crate::base::Right::Read]));
        let found = |ms, is_open: bool| {
            let buckets = Arc::new(PublicBuckets::of(is_open.then(|| (name.clone(), grants().expect("a grant")))));
            access.found_public(Public { buckets, lease: Some(Lease::since(Duration::from_millis(ms))) });
        };
        assert!(access.is_fresh(&access.known()) && open(&access).is_none(), "keys are known, and nothing of buckets");
        found(9_000, true);
        assert_eq!(open(&access), None, "it was shown too long ago");
        found(9_400, true);
        assert_eq!(open(&access), Some(1));
        found(9_300, false);
        assert_eq!(open(&access), Some(1), "an answer to an earlier question");
        access.found(known(Some(9_600), false, true));
        assert_eq!((open(&access), has_key(&access)), (Some(1), true), "keys come without it");
        found(9_700, false);
        assert_eq!((open(&access), has_key(&access)), (Some(0), true));
        access.found(known(None, true, true));
        assert_eq!(open(&access), Some(0), "nobody else decides");
    }

    #[test]
    fn what_an_earlier_question_has_shown_comes_too_late() {
        let access = Access::new(known(None, false, false), || Duration::from_secs(10), || true);
        access.found(known(Some(9_500), false, true));
        assert!(has_key(&access));
        access.found(known(Some(9_400), false, false));
        assert!(has_key(&access), "an answer to an earlier question");
        access.found(known(Some(9_600), false, false));
        assert!(!has_key(&access));
        access.found(known(None, true, true));
        assert!(has_key(&access), "it decides alone by now");
        access.found(known(Some(1), false, false));
        assert!(!has_key(&access), "and does so no more");
        access.found(known(None, false, true));
        assert!(has_key(&access) && !access.is_fresh(&access.known()), "what it holds, and nobody has confirmed");
    }
}
