//! Access keys, and what is open to everybody, as this node holds them: for whoever lets callers in, and for peers that
//! compare; and sealing a new secret.
//!
//! Invariant: see `access_keys` and `public_buckets`; all of it is durable.

use super::access_keys::AccessKeys;
use super::access_secret::{AccessSecret, seal_secret};
use super::core::Core;
use super::error::StoreError;
use super::public_buckets::PublicBuckets;
use super::store::Store;
use crate::base::credential::secret_of;
use crate::base::names::RegisterName;
use crate::base::{AccessKeyId, Record, RegisterKey, RegisterKind, Secret};
use crate::register::Holds;
use crate::seal::random;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::watch;

/// Registers looked at in one step of reading the keys.
const STEP: usize = 256;

/// A secret that was just made, or given, and the same sealed for its key.
#[derive(Debug)]
pub struct NewSecret {
    /// Whose it is.
    pub id: AccessKeyId,
    /// What its owner is told, once.
    pub secret: AccessSecret,
    /// What its register holds.
    pub sealed: Box<[u8]>,
}

/// What a node holds that callers are held against: each as it is compared with others, and the same for callers.
#[derive(Clone, Debug)]
pub struct HeldAccess {
    /// The access keys.
    pub keys: (Holds, Arc<AccessKeys>),
    /// The buckets of which something is open to everybody.
    pub public: (Holds, Arc<PublicBuckets>),
}

impl Store {
    /// What this node holds of the access keys, and of what is open to everybody.
    pub fn held_access(&self) -> HeldAccess {
        let mut public = self.core().public();
        let public = (public.holds(), public.buckets());
        HeldAccess { keys: self.access(), public }
    }

    /// What this node holds of the access keys, as it is compared with others, and the same for callers.
    pub fn access(&self) -> (Holds, Arc<AccessKeys>) {
        let core = self.core();
        let mut table = core.access();
        (table.holds(), table.keys(&core.ring, core.cluster))
    }

    /// The keys in these registers, as others hold them.
    pub fn open_access(&self, records: &[(AccessKeyId, Arc<Record>)]) -> AccessKeys {
        let core = self.core();
        core.access().open(records, &core.ring, core.cluster)
    }

    /// Told whenever what this node holds of the access keys, or of what is open to everybody, has changed.
    pub fn access_changes(&self) -> watch::Receiver<()> {
        self.core().access_changed.subscribe()
    }

    /// Seals a secret for a key: this one, or one that is drawn; for the key of that id, or of one that is drawn.
    pub fn seal_secret(&self, id: Option<AccessKeyId>, secret: Option<AccessSecret>) -> NewSecret {
        let core = self.core();
        let id = id.unwrap_or_else(|| AccessKeyId::drawn(random()));
        let secret = secret.unwrap_or_else(|| Secret::new(secret_of(random())));
        let sealed = seal_secret(&core.ring, core.cluster, id, &secret);
        NewSecret { id, secret, sealed }
    }
}

/// Reads the access keys from the index; at open.
pub(super) fn load_access(core: &Core) -> Result<(), StoreError> {
    let (first, end) = RegisterKey::all_of(RegisterKind::AccessKey);
    let mut next = Some(Bound::Included(first));
    while let Some(from) = next {
        let page = core.scan(from.as_ref(), &end, STEP)?;
        next = page.complete.next();
        let mut table = core.access();
        for (key, held) in page.entries {
            if let Some(RegisterName::AccessKey(id)) = key.name() {
                table.set(id, Some(&held));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::AccessRecord;
    use crate::base::{BucketId, BucketName};
    use crate::store::access_keys::AccessChange;
    use crate::store::intent::{Decided, wait_blocking};
    use crate::store::mend::tests::store;
    use crate::store::mutation::Mutation;
    use std::time::{Duration, Instant};

    fn change(store: &Store, id: AccessKeyId, change: AccessChange) {
        let decided = wait_blocking(store.mutate(Mutation::change_access_key(id, change, store.now_ms())));
        assert!(matches!(decided, Ok(Decided::Alone(_))), "{decided:?}");
    }

    fn make(store: &Store) -> NewSecret {
        let new = store.seal_secret(None, None);
        let record = AccessRecord {
            name: "n".to_owned(),
            created_ms: 1,
            expires_ms: 0,
            disabled: false,
            secrets: vec![new.sealed.clone()],
            grants: Vec::new(),
        };
        change(store, new.id, AccessChange::Create(Arc::new(record)));
        new
    }

    #[test]
    fn keys_are_known_from_the_commit_on_and_after_a_start_and_what_was_revoked_is_never_forgotten() {
        let dir = tempfile::tempdir().expect("a directory");
        let opened = store(dir.path());
        let mut told = opened.access_changes();
        assert!(opened.access().1.is_pristine());
        let (kept, gone) = (make(&opened), make(&opened));
        assert!(told.has_changed().is_ok_and(|changed| changed));
        let opens = |store: &Store, key: &NewSecret| store.access().1.check(key.id, key.secret.expose()).is_some();
        assert!(opens(&opened, &kept) && opens(&opened, &gone));
        let before = opened.access().0;
        change(&opened, gone.id, AccessChange::Revoke);
        told.borrow_and_update();
        assert_ne!(opened.access().0, before, "the sum tells of the tombstone");
        assert!(opens(&opened, &kept) && !opens(&opened, &gone));
        opened.checkpoint().expect("the index takes it in");
        // A bucket that is deleted behind it is old enough after it.
        let bucket = BucketName::parse("papers").expect("a name");
        for wanted in [
            Mutation::create_bucket(&bucket, BucketId(7), opened.now_ms()),
            Mutation::delete_bucket(&bucket, opened.now_ms()),
        ] {
            wait_blocking(opened.mutate(wanted)).expect("decided");
        }
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let due = opened.due_tombstones(None, Duration::ZERO, 100).expect("a page").entries;
            assert!(due.iter().all(|(key, _)| key.kind() != Some(RegisterKind::AccessKey)), "it stays");
            if due.iter().any(|(key, _)| *key == RegisterKey::bucket(&bucket)) {
                break;
            }
            assert!(Instant::now() < until, "the bucket's tombstone grows old");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let held = opened.access().0;
        drop(opened);
        let again = store(dir.path());
        assert_eq!(again.access().0, held);
        assert!(opens(&again, &kept) && !opens(&again, &gone) && !again.access().1.is_pristine());
    }
}
