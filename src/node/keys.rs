//! The key ring: made at start where it is safe to make one, missed loudly where it is not, and read again while the
//! node runs.
//!
//! Invariants
//! - The running ring only grows. A key file that is gone, changed or wrong is logged once, and the ring stays as it is;
//!   for as long as the next start would refuse the directory, readiness says so. One that nothing needs may be gone.
//! - At start the generation that sealed last in the data directory seals; in a new directory it is the first one. A
//!   newer one does when the nodes have decided on it (`actors::peer::key_watch`).

use super::error::NodeError;
use super::key_source::KeySource;
use crate::actors::peer::key_watch::KeyWatch;
use crate::actors::peer::node_view::NodeView;
use crate::actors::store_actor::threads::Threads;
use crate::audit::Audit;
use crate::base::KekId;
use crate::config::Config;
use crate::disk::{RealDisk, keydir};
use crate::seal::keyring::{GrowError, Keyring};
use crate::store::{self, Store};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the key directory is looked at, and what the others open.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Refuses a start whose data is not where it must be: its volume is not mounted. Before anything is made.
pub(super) fn require_data(config: &Config) -> Result<(), NodeError> {
    match config.node.data_must_exist && !is_made(&config.node.data)? {
        true => Err(NodeError::DataMissing(config.node.data.clone())),
        false => Ok(()),
    }
}

/// Makes the first key of a new node that stands alone. A cluster's nodes share one ring, so a node
/// with peers makes none, unless it is the demonstration, whose nodes share a directory.
pub(super) fn ensure(config: &Config, source: &KeySource, may_make_cluster_key: bool) -> Result<(), NodeError> {
    let (data, keys) = (&config.node.data, &config.node.key_dir);
    // What a command prints is made elsewhere.
    if source.is_printed() || source.next_generation()? != 1 {
        return Ok(());
    }
    if is_made(data)? {
        return Err(NodeError::KeysLost { data: data.clone(), keys: keys.clone() });
    }
    if config.others().next().is_some() && !may_make_cluster_key {
        return Err(NodeError::ClusterKey { keys: keys.clone() });
    }
    let (_, file) = source.create()?;
    log::warn!(file:% = file.display(); "made a new key: back it up, without it the data cannot be opened");
    Ok(())
}

/// Reads the ring. Its first generation seals, in a new data directory.
pub(super) fn ring(source: &KeySource) -> Result<Arc<Keyring>, NodeError> {
    let ring = source.ring()?;
    if let Some((_, first)) = ring.generations().first() {
        ring.seal_with(*first);
    }
    Ok(Arc::new(ring))
}

/// Lets the ring grow with its directory, and a newer generation seal once that is decided, from now on. The first look is
/// over when this returns.
pub(super) fn keep(
    source: KeySource,
    ring: &Arc<Keyring>,
    store: &Arc<Store>,
    (node_view, audit): (&NodeView, &Audit),
    threads: Threads,
) -> Keeper {
    let kept = Arc::new(Kept {
        source,
        ring: Arc::clone(ring),
        store: Arc::downgrade(store),
        watch: Arc::clone(&node_view.keys),
        audit: audit.clone(),
        // Nothing: what came since the ring was built is read with the first look.
        seen: Mutex::default(),
        nudge: Arc::default(),
    });
    if kept.look(false).is_some() {
        let kept = Arc::clone(&kept);
        let mut decided = store.settings_changes();
        actix_rt::spawn(async move {
            loop {
                let nudged = tokio::select! {
                    () = kept.nudge.notified() => true,
                    // Who has just heard of it seals under it at once.
                    changed = decided.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        false
                    }
                    () = actix_rt::time::sleep(LOOK_EVERY) => false,
                };
                let looking = Arc::clone(&kept);
                if threads.run(move || looking.look(nudged)).await.flatten().is_none() {
                    return;
                }
            }
        });
    }
    Keeper(kept)
}

/// What keeps the ring of a running node.
pub(super) struct Keeper(Arc<Kept>);

impl Keeper {
    /// Has the key directory read again when it is notified.
    pub fn nudge(&self) -> Arc<Notify> {
        Arc::clone(&self.0.nudge)
    }

    /// Leaves the data directory alone from now on. Somebody may be about to give it another life.
    pub fn end(&self) {
        self.0.seen().ended = true;
    }
}

/// What is looked at.
struct Kept {
    source: KeySource,
    ring: Arc<Keyring>,
    store: Weak<Store>,
    watch: Arc<KeyWatch>,
    audit: Audit,
    seen: Mutex<Seen>,
    nudge: Arc<Notify>,
}

/// How the key directory looked when it was read last.
#[derive(Default)]
struct Seen {
    /// Read, and done with, whether it was taken in or refused.
    taken: keydir::Look,
    /// Refused once: somebody may have been about to write it.
    suspect: Option<keydir::Look>,
    /// The generation that the files of the audit log were last seen to be under, all of them.
    audited: Option<KekId>,
    /// Why they are not all under the one that seals, as it was logged last.
    unsealed: Option<String>,
    /// A generation that was gone when the directory was refused, and that was needed then.
    gone: Option<KekId>,
    ended: bool,
}

impl Kept {
    /// One look; nothing once there is no use in another.
    fn look(&self, nudged: bool) -> Option<()> {
        let now = self.source.look();
        let is_due = nudged || {
            let seen = self.seen();
            // What was missed may be needed no more. A command is run when somebody says so alone.
            let is_forgiven =
                seen.gone.is_some_and(|kek| self.watch.free().contains(&kek)) && !self.source.is_printed();
            now != seen.taken || is_forgiven
        };
        // Nobody waits for a command that is waited for here.
        let read = is_due.then(|| self.source.load().map_err(|error| error.to_string()));
        let mut seen = self.seen();
        let store = self.store.upgrade().filter(|_| !seen.ended)?;
        if let Some(read) = read {
            self.take(&mut seen, now, read, nudged);
        }
        // What cannot be read now is read at the next look.
        let decided = store.decided_key().ok().flatten();
        if let Some(kek) = self.watch.next(decided).filter(|_| !store.is_poisoned()) {
            match store.seal_under(kek) {
                Ok(()) => log::info!(kek:%; "seals under another key generation from now on, as was decided"),
                Err(error) => log::warn!(error:% = error, kek:%; "a key generation does not seal yet"),
            }
        }
        self.seal_audit_anew(&mut seen, &store);
        Some(())
    }

    /// Has the audit log sealed under the generation that seals, and says what of it is under others.
    fn seal_audit_anew(&self, seen: &mut Seen, store: &Store) {
        let active = store.sealing();
        if seen.audited == Some(active) {
            return;
        }
        let rewrapped = self.audit.rewrap();
        match &rewrapped {
            Ok(0) => {}
            Ok(files) => log::info!(files, kek:% = active; "the audit log is sealed under the active key generation"),
            Err(error) => {
                let why = error.to_string();
                if seen.unsealed.as_ref() != Some(&why) {
                    log::warn!(why:%; "the audit log is not all sealed anew: older key generations stay needed here");
                    seen.unsealed = Some(why);
                }
            }
        }
        let keks = may_be_under(self.audit.sealed_under(), &self.ring);
        let is_done = rewrapped.is_ok() && keks.iter().all(|kek| *kek == active);
        store.sealed_beside(keks);
        seen.audited = is_done.then_some(active);
    }

    fn take(&self, seen: &mut Seen, now: keydir::Look, read: Result<keydir::Keys, String>, nudged: bool) {
        let mut gone = None;
        let grown = read.and_then(|keys| {
            let grown = self.ring.grow(keys, &self.watch.free());
            if let Err(GrowError::Gone(number)) = grown {
                gone = self.ring.generations().into_iter().find(|(one, _)| *one == number).map(|(_, kek)| kek);
            }
            grown.map_err(|error| error.to_string())
        });
        match grown {
            Ok(new) => {
                self.watch.refuse_directory(false);
                for (number, kek) in new {
                    log::info!(number, kek:%; "a key generation was taken in: it opens, and may seal once all members have it ('boveda key rotate')");
                }
            }
            // It is read once more when it still looks like this.
            Err(_) if !nudged && seen.suspect.as_ref() != Some(&now) => {
                seen.suspect = Some(now);
                return;
            }
            Err(why) => {
                self.watch.refuse_directory(true);
                log::warn!(why:%, from:% = self.source; "what is there now is not taken: the ring stays as it is");
            }
        }
        (seen.taken, seen.suspect, seen.gone) = (now, None, gone);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The generations that files may be under: what cannot be read may be under any.
fn may_be_under<E>(read: Result<BTreeSet<KekId>, E>, ring: &Keyring) -> BTreeSet<KekId> {
    read.unwrap_or_else(|_| ring.generations().into_iter().map(|(_, kek)| kek).collect())
}

/// Whether a data directory has been made.
pub(super) fn is_made(data: &Path) -> Result<bool, NodeError> {
    let made = store::open::is_made(&RealDisk, data);
    made.map_err(|source| NodeError::Store { dir: data.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    #[test]
    fn what_cannot_be_read_keeps_all_generations_from_being_free() {
        let ring = Keyring::new([1, 2].map(|n| (u32::from(n), Secret::new([n; 32]))).into()).expect("a ring");
        let active = BTreeSet::from([ring.active()]);
        assert_eq!(may_be_under(Ok::<_, ()>(active.clone()), &ring), active);
        assert_eq!(may_be_under(Err(()), &ring).len(), 2);
    }
}
