//! The walk that counts all registers into the tree, at every start, and what buckets hold anew.
//!
//! Invariant: what a step sees is what it counts, since no commit becomes visible while it holds the tree.

use super::core::Core;
use super::counted::Counted;
use crate::base::RegisterKey;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Registers taken in one step of the walk. No commit becomes visible meanwhile.
const STEP: usize = 256;
/// How long a walk that could not read waits before it goes on: twice as long each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(60);

impl Core {
    /// Walks over all registers and fills the tree, until the sender of `stopped` is gone. On a thread of its own,
    /// beside the traffic.
    pub(super) fn build_tree(&self, stopped: &Receiver<()>) {
        let mut wait = RETRY_FIRST;
        let end = RegisterKey::end();
        let mut next = Some(Bound::Included(RegisterKey::first()));
        while let Some(from) = &next {
            if self.closing.load(Ordering::Acquire) {
                return;
            }
            // While the tree is held no commit becomes visible: what the step sees is what it counts.
            let mut tree = self.tree();
            let page = match self.scan(from.as_ref(), &end, STEP) {
                Ok(page) => page,
                Err(error) => {
                    drop(tree);
                    if wait == RETRY_FIRST {
                        log::warn!(error:% = error; "registers are not compared with the peers' before they can be read; trying again");
                    }
                    // Nobody sends: it ends with the store.
                    if !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                        return;
                    }
                    wait = (wait * 2).min(RETRY_MAX);
                    continue;
                }
            };
            let open =
                page.entries.iter().filter(|(_, held)| !held.chosen).map(|(key, _)| (key.clone(), Instant::now()));
            self.tentative().extend(open);
            next = page.complete.next();
            if let Some(walked) = tree.found(&page.map(|(key, held)| {
                let counted = Counted::of(&key, &held);
                Some((key, counted))
            })) {
                self.recounted(&walked);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketName, Secret};
    use crate::seal::Keyring;

    #[test]
    fn a_walk_that_could_not_read_goes_on() {
        use crate::base::{Condition, ObjectKey, ObjectName};
        use crate::disk::CrashDisk;
        use crate::disk::crash::Misread;
        use crate::store::mutation::Mutation;
        use crate::store::{Options, StoreError, open};
        use std::sync::Arc;
        let disk = CrashDisk::new(1);
        let start = || {
            let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).unwrap());
            // Nothing stays in memory: what the engine reads by itself differs from build to build.
            let options = Options { log_bytes: 1 << 20, reserve_bytes: 0, index_cache_bytes: 0, ..Options::default() };
            open(Arc::new(disk.clone()), std::path::Path::new("/data"), ring, None, options).unwrap()
        };
        let (store, work) = start();
        for n in 0..200 {
            let object = store.seal_small(Default::default(), &[vec![7; 900].into()]).unwrap();
            let at = ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(&format!("{n}")).unwrap() };
            drop(store.mutate(Mutation::put(&at, Condition::NONE, object, 1)));
            work.committer.turn();
        }
        store.checkpoint().unwrap();
        drop((store, work));
        let (store, work) = start();
        disk.misread_once_after(2, Misread::Refused);
        let store = store.start(work, || std::process::abort()).map_err(|_: StoreError| ()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.tree().root().is_none() {
            assert!(Instant::now() < deadline, "it never went on");
            std::thread::yield_now();
        }
        assert_eq!(disk.struck(), 1, "a read went wrong");
    }
}
