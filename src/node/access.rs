//! The first access key of a cluster: made where other machines can reach a node, or taken from a file; and the clock
//! by which a node knows how long it may go by what it was told of keys.
//!
//! Invariants
//! - A key that is made lies in its file, durably, before anybody knows it: who wins the race of several nodes has the
//!   secret, and who loses removes the file.
//! - All nodes of a cluster make it under one id, which follows from the cluster's: so one wins. It is made once: where
//!   there ever was a key, none is.
//! - A key from a file is made once too: one that was revoked does not come back with a restart.
//! - No secret is logged; the path is.

use super::error::NodeError;
use crate::actors::access::{Access, Known};
use crate::actors::messages::{AccessKeys, CreateAccess, ObjectError, StoreError};
use crate::audit::line::NODE;
use crate::audit::{Audit, AuditError, Line, Outcome};
use crate::base::credential::secret_of;
use crate::base::{AccessKeyId, ClusterId, Credential, Grant, Secret};
use crate::config::Config;
use crate::disk::secret_file;
use crate::seal::digest::digest_of;
use crate::seal::random;
use actix::Recipient;
use rustix::time::{ClockId, clock_gettime};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The file in the data directory with the key that this node has made.
pub(super) const ROOT_KEY: &str = "root-key";
/// What people read as the name of a first key.
const NAME: &str = "root";
/// Between two tries, where the nodes do not come to a decision.
const AGAIN: Duration = Duration::from_millis(250);
/// How long is waited at once for the nodes to know which keys there are.
const LOOK: Duration = Duration::from_secs(1);

/// Time since this machine was started, its sleep included: a node that was suspended wakes up knowing nothing.
pub(super) fn clock() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// What a node is to do for a first key.
pub(super) enum First {
    /// Nothing: it is open to everybody until somebody makes one.
    Open,
    /// This one is to be there.
    Given(Credential, PathBuf),
    /// One is made, and kept in this file.
    Made(PathBuf),
}

impl First {
    /// What the configuration asks for. A file that cannot be read, or holds no key, is an error.
    pub fn of(config: &Config) -> Result<Self, NodeError> {
        let file = &config.access.root_key_file;
        if !file.as_os_str().is_empty() {
            let key = read(file)?;
            return Ok(First::Given(key, file.clone()));
        }
        match config.may_be_open() {
            true => Ok(First::Open),
            false => Ok(First::Made(config.node.data.join(ROOT_KEY))),
        }
    }
}

fn read(file: &Path) -> Result<Credential, NodeError> {
    let bytes = secret_file::read(file).map_err(NodeError::RootKey)?;
    Credential::parse(bytes.expose()).ok_or_else(|| NodeError::NoRootKey(file.to_owned()))
}

/// The id of the key that a node of this cluster makes.
fn root_id(cluster: ClusterId) -> AccessKeyId {
    let digest = digest_of(&[b"boveda/root-key/v1|", &cluster.0[..]].concat());
    let (first, _) = digest.split_first_chunk::<{ AccessKeyId::LEN }>().expect("32 bytes hold 20");
    AccessKeyId::drawn(*first)
}

/// Sees to a first key, and says so; returns when there is one, or nothing is to be done.
pub(super) async fn see_to(first: First, cluster: ClusterId, access: Access, maker: Maker) {
    let done = match first {
        First::Open => return,
        First::Given(key, file) => give(&key, &file, &access, &maker).await,
        First::Made(file) => make(&file, root_id(cluster), &access, &maker).await,
    };
    if let Err(error) = done {
        log::error!(error:% = error; "there is no first access key, and nobody gets in without one");
    }
}

/// The key of a file, unless there ever was one of that id.
async fn give(key: &Credential, file: &Path, access: &Access, maker: &Maker) -> Result<(), NodeError> {
    loop {
        match fresh(access).await.keys.get(key.id) {
            Some(known) if known.accepts(key.secret.expose()) && known.disabled => {
                log::warn!(id:% = key.id, file:% = file.display(); "the access key of the file is disabled, and lets nobody in");
            }
            Some(known) if known.accepts(key.secret.expose()) => {
                log::info!(id:% = key.id, file:% = file.display(); "the access key of the file is there");
            }
            Some(_) => {
                log::warn!(id:% = key.id, file:% = file.display(); "the access key of the file has another secret by now");
            }
            None => match maker.ask_for(key).await {
                Made::Yes => log::info!(id:% = key.id, file:% = file.display(); "the access key of the file was made"),
                Made::WasThere => {
                    // Another node has made it from the same file, or it was revoked: the next look tells.
                    access.look();
                    let known = |known: &Known| known.keys.get(key.id).is_some();
                    if !access.until(LOOK, known).await {
                        log::warn!(id:% = key.id, file:% = file.display(); "the access key of the file was revoked, and stays so");
                        return Ok(());
                    }
                    continue;
                }
                Made::NotYet => {
                    actix_rt::time::sleep(AGAIN).await;
                    continue;
                }
                Made::Never => return Err(NodeError::NoActor),
            },
        }
        return Ok(());
    }
}

/// A key of this node's making, where there never was one.
async fn make(file: &Path, id: AccessKeyId, access: &Access, maker: &Maker) -> Result<(), NodeError> {
    loop {
        let keys = fresh(access).await.keys.clone();
        let kept = match read(file) {
            Ok(key) => Some(key),
            Err(NodeError::RootKey(error)) if error.is_missing() => None,
            // There is a way in already: what is wrong with the file is said, and no more.
            Err(error) if !keys.is_pristine() => {
                log::warn!(error:% = error; "the file of the root key is passed over: there are access keys");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !keys.is_pristine() {
            return settle(file, kept.as_ref(), &keys);
        }
        let key = match kept {
            Some(key) => key,
            None => {
                let key = Credential { id, secret: Secret::new(secret_of(random())) };
                secret_file::create(file, &key.to_json()).map_err(NodeError::RootKey)?;
                key
            }
        };
        match maker.ask_for(&key).await {
            Made::Yes => {
                log::warn!(
                    id:% = key.id, file:% = file.display();
                    "a root key was made, since other machines reach this node: it may do everything; see its file"
                );
                return Ok(());
            }
            // Another node was faster, or this one by a try whose end it did not hear of.
            Made::WasThere => access.look(),
            Made::NotYet => {}
            Made::Never => return Err(NodeError::NoActor),
        }
        actix_rt::time::sleep(AGAIN).await;
    }
}

/// There are keys: the file stays if its key is one of them.
fn settle(file: &Path, kept: Option<&Credential>, keys: &AccessKeys) -> Result<(), NodeError> {
    match kept {
        Some(key) if keys.check(key.id, key.secret.expose()).is_some() => {
            log::info!(id:% = key.id, file:% = file.display(); "the root key is in its file");
            Ok(())
        }
        Some(key) => {
            log::info!(id:% = key.id, file:% = file.display(); "the root key in this file lets nobody in: the file is removed");
            secret_file::remove(file).map_err(NodeError::RootKey)
        }
        None => Ok(()),
    }
}

/// What is known of keys, once that is what is in force.
async fn fresh(access: &Access) -> Arc<Known> {
    loop {
        let known = access.known();
        if access.is_fresh(&known) {
            return known;
        }
        access.until(LOOK, |known| access.is_fresh(known)).await;
    }
}

/// What came of a key that was to be made.
enum Made {
    Yes,
    /// There is one of that id, or there was.
    WasThere,
    /// Nobody decided.
    NotYet,
    /// The node is ending.
    Never,
}

/// Who makes the first key, with its lines in the audit log.
pub(super) struct Maker {
    create: Recipient<CreateAccess>,
    audit: Audit,
    /// Whether a line says that it was asked for.
    asked: Cell<bool>,
}

impl Maker {
    pub fn new(create: Recipient<CreateAccess>, audit: Audit) -> Self {
        Maker { create, audit, asked: Cell::new(false) }
    }

    async fn ask_for(&self, key: &Credential) -> Made {
        if !self.asked.get() && self.tell(key, Outcome::Asked).await.is_err() {
            return Made::NotYet;
        }
        self.asked.set(true);
        let given = Some((key.id, key.copy().secret));
        let wanted = CreateAccess { given, name: NAME.to_owned(), expires_ms: 0, grants: vec![Grant::everything()] };
        match self.create.send(wanted).await {
            Ok(Ok(_)) => {
                // What keeps it from being written is said by the log itself; the key is there.
                let _ = self.tell(key, Outcome::Done).await;
                Made::Yes
            }
            Ok(Err(ObjectError::Store(StoreError::Precondition))) => Made::WasThere,
            Ok(Err(ObjectError::Store(StoreError::ShuttingDown))) | Err(_) => Made::Never,
            Ok(Err(error)) => {
                log::info!(error:% = error; "a first access key could not be made yet, tried again");
                Made::NotYet
            }
        }
    }

    async fn tell(&self, key: &Credential, outcome: Outcome) -> Result<(), AuditError> {
        let grants = [Grant::everything().to_string()];
        let line = Line::of(NODE, "access:create", outcome).at(key.id.as_str());
        self.audit.change(line.with_new(serde_json::json!({ "name": NAME, "grants": grants }))).await
    }
}

/// What an operator is to know of who gets in, at every start.
pub(super) fn say_who_gets_in(config: &Config, known: &Known) {
    let loopback = config.listens_on_loopback_alone();
    match (known.keys.is_pristine(), config.may_be_open()) {
        (true, true) if loopback => {
            log::warn!(
                "open to everybody on this machine until there is an access key: 'boveda access create' makes one"
            );
        }
        (true, true) => log::warn!(
            "OPEN TO EVERYBODY who reaches this address, as --insecure-open says, until there is an access key"
        ),
        (false, _) if config.http.insecure_open => {
            log::warn!(
                "--insecure-open changes nothing any more: there are access keys, and nobody gets in without one"
            );
        }
        (true, false) => log::info!("other machines reach this node: nobody gets in without an access key"),
        (false, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on() {
        let before = clock();
        assert!(before > Duration::ZERO && clock() >= before);
    }

    #[test]
    fn the_nodes_of_a_cluster_make_their_key_under_one_id() {
        let (one, other) = (ClusterId([1; 16]), ClusterId([2; 16]));
        assert_eq!(root_id(one), root_id(one));
        assert_ne!(root_id(one), root_id(other));
    }

    #[test]
    fn the_file_of_a_key_that_lets_nobody_in_goes() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join(ROOT_KEY);
        let credential =
            |n: u8| Credential { id: root_id(ClusterId([1; 16])), secret: Secret::new(secret_of([n; 40])) };
        let key = |n| {
            let Credential { id, secret } = credential(n);
            crate::actors::messages::AccessKey::unstored(id, vec![secret], Vec::new())
        };
        secret_file::create(&file, &credential(1).to_json()).expect("it is made");
        let kept = read(&file).expect("a key");
        settle(&file, Some(&kept), &AccessKeys::of([key(1)])).expect("it stays");
        assert!(file.exists());
        settle(&file, Some(&kept), &AccessKeys::of([key(2)])).expect("another node has won");
        assert!(!file.exists());
    }
}
