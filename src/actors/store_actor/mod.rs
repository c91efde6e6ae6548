//! The StoreActor: the only way to the disk and to the keys of what lies on it.
//!
//! One stands on every HTTP worker's arbiter (and one on that of replication); all share one store.
//! What is surely in memory and takes microseconds is done right in the handler (half a MiB of
//! a body takes the longest); what waits for the disk or touches more bytes goes to the threads.
//! Commits of many requests meet in the store's committer.
//!
//! If a handler or a job panics, the process ends: see `abort`.
//!
//! | file | what |
//! |---|---|
//! | here | what clients read of this node; its state, and its end |
//! | `votes` | what coordinators ask |
//! | `copies` | what they ask for the sake of copies |
//! | `peers` | what lanes, the peer listener, the healer and the scrubber ask |
//! | `threads` | the threads for what waits for a disk |

mod copies;
mod peers;
pub mod threads;
mod votes;

use crate::actors::guard::PanicGuard;
use crate::actors::messages::*;
use crate::actors::store_actor::threads::Threads;
use crate::base::{Permit, Record, RegisterKey};
use crate::store::{Store, StoreError};
use actix::prelude::*;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a page of a listing may take; then it ends where it has come to.
const LIST_TIME: Duration = Duration::from_secs(5);

/// How long a reader waits for a damaged copy to be mended. The mending goes on when he has gone.
const MENDING_MAX: Duration = Duration::from_secs(120);

/// Ends the process when the key holder panics: a half-known disk state is worse than a restart,
/// and everything that was answered for is in the log.
pub fn abort() {
    log::error!("the store panicked: the process ends, so that a restart finds a known state");
    crate::base::log_pipe::settle();
    std::process::abort()
}

/// Carries messages to the store.
#[derive(Debug)]
pub struct StoreActor {
    store: Arc<Store>,
    threads: Threads,
    healer: Option<Recipient<Heal>>,
    _guard: PanicGuard,
}

impl StoreActor {
    /// An actor over a shared store and its threads.
    pub fn new(store: Arc<Store>, threads: Threads) -> Self {
        StoreActor { store, threads, healer: None, _guard: PanicGuard::abort() }
    }

    /// The same actor with somebody who mends what readers find damaged.
    pub fn healed_by(self, healer: Recipient<Heal>) -> Self {
        StoreActor { healer: Some(healer), ..self }
    }

    fn reader(&self) -> Reader {
        Reader { store: Arc::clone(&self.store), threads: self.threads.clone(), healer: self.healer.clone() }
    }

    /// Runs store code on a thread.
    fn on_thread<T: Send + 'static, E: From<StoreError> + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, StoreError> + Send + 'static,
    ) -> ResponseFuture<Result<T, E>> {
        let (store, threads) = (Arc::clone(&self.store), self.threads.clone());
        Box::pin(async move { Ok(threads.run(move || work(&store)).await.unwrap_or(Err(StoreError::ShuttingDown))?) })
    }
}

/// What a read needs beside the mailbox.
struct Reader {
    store: Arc<Store>,
    threads: Threads,
    healer: Option<Recipient<Heal>>,
}

impl Reader {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        self.threads.run(move || work(&store)).await.unwrap_or(Err(StoreError::ShuttingDown))
    }

    /// Whether the copy of a register may be read again: it has been mended. `Full` when there was no room for that.
    /// `wanted`: what is to be read of a record that this node may not hold.
    async fn mends(&self, key: RegisterKey, wanted: Option<Ailment>) -> Result<bool, StoreError> {
        let Some(healer) = &self.healer else { return Ok(false) };
        match healer.send(Heal { key, wanted }).timeout(MENDING_MAX).await.unwrap_or(Healed::NoCopy) {
            Healed::Good => Ok(true),
            Healed::NoCopy => Ok(false),
            Healed::NoRoom => Err(StoreError::Full),
        }
    }

    async fn open_record(&self, key: RegisterKey, record: Arc<Record>) -> Result<(ObjectInfo, Download), StoreError> {
        let (first, sealed) = (key.clone(), Arc::clone(&record));
        match self.run(move |store| store.open_record(first, sealed)).await {
            // Where the index is damaged the record came from elsewhere, and so can the body.
            Err(error) if error.is_of_this_copy() => {
                let sealed = Arc::clone(&record);
                let wanted = self.run(move |store| Ok(store.missing(&sealed))).await?;
                if !self.mends(key.clone(), wanted).await? {
                    return Err(error);
                }
                self.run(move |store| store.open_record(key, record)).await
            }
            other => other,
        }
    }

    async fn open(&self, at: crate::base::ObjectName) -> Result<(ObjectInfo, Download), StoreError> {
        let key = self.store.register_of(&at)?;
        let again = at.clone();
        match self.run(move |store| store.open_object(&at)).await {
            Err(error) if error.is_damage() && self.mends(key, None).await? => {
                self.run(move |store| store.open_object(&again)).await
            }
            other => other,
        }
    }

    async fn read(&self, mut download: Download) -> Result<(Download, Vec<bytes::Bytes>), StoreError> {
        let (mut download, read, wanted) = self
            .run(move |_| {
                let read = download.read();
                let wanted = read.is_err().then(|| download.missing()).flatten();
                Ok((download, read, wanted))
            })
            .await?;
        match read {
            Ok(pieces) => Ok((download, pieces)),
            Err(error) if error.is_damage() && self.mends(download.key().clone(), wanted).await? => {
                let anew = move |_: &Store| {
                    download.reopen()?;
                    download.read().map(|pieces| (download, pieces))
                };
                self.run(anew).await
            }
            Err(error) => Err(error),
        }
    }
}

impl Actor for StoreActor {
    type Context = Context<Self>;
}

/// Work beside the mailbox. The actor's own guard does not see a panic there (`actor_traps` pins that),
/// so it takes one along.
fn guarded<T>(work: impl Future<Output = T> + 'static) -> ResponseFuture<T> {
    Box::pin(async move {
        let _guard = PanicGuard::abort();
        work.await
    })
}

/// A download that holds its permit until it ends.
fn holding((info, mut download): (ObjectInfo, Download), permit: Option<Permit>) -> (ObjectInfo, Download) {
    download.hold(permit);
    (info, download)
}

impl Handler<OpenObject> for StoreActor {
    type Result = ResponseFuture<Result<(ObjectInfo, Download), ObjectError>>;
    fn handle(&mut self, msg: OpenObject, _: &mut Context<Self>) -> Self::Result {
        let OpenObject { at, permit, .. } = msg;
        match self.store.open_cached(&at) {
            Some(opened) => Box::pin(std::future::ready(Ok(holding(opened, permit)))),
            None => {
                let reader = self.reader();
                guarded(async move { Ok(holding(reader.open(at).await?, permit)) })
            }
        }
    }
}

impl Handler<ReadDownload> for StoreActor {
    type Result = ResponseFuture<Result<(Download, Vec<bytes::Bytes>), StoreError>>;
    fn handle(&mut self, msg: ReadDownload, _: &mut Context<Self>) -> Self::Result {
        let mut download = msg.download;
        // Opening it takes microseconds: less than the way to a thread.
        if download.is_in_memory() {
            match download.read() {
                // Mending takes longer than an arbiter may wait: a thread meets the damage once more.
                Err(error) if error.is_damage() => {}
                read => return Box::pin(std::future::ready(read.map(|pieces| (download, pieces)))),
            }
        }
        if let Some(pieces) = download.read_cached() {
            return Box::pin(std::future::ready(Ok((download, pieces))));
        }
        let reader = self.reader();
        guarded(async move { reader.read(download).await })
    }
}

impl Handler<ListBuckets> for StoreActor {
    type Result = Result<Vec<BucketInfo>, ObjectError>;
    fn handle(&mut self, _: ListBuckets, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.list_buckets())
    }
}

impl Handler<ListObjects> for StoreActor {
    type Result = ResponseFuture<Result<ListPage, ObjectError>>;
    fn handle(&mut self, msg: ListObjects, _: &mut Context<Self>) -> Self::Result {
        let until = Instant::now() + LIST_TIME;
        self.on_thread(move |store| {
            store.list(&msg.bucket, &msg.prefix, msg.delimiter.as_deref(), msg.after.as_deref(), msg.limit, until)
        })
    }
}

impl Handler<ObserveStore> for StoreActor {
    type Result = ResponseFuture<StoreStatus>;
    fn handle(&mut self, _: ObserveStore, _: &mut Context<Self>) -> Self::Result {
        let (store, threads) = (Arc::clone(&self.store), self.threads.clone());
        guarded(async move {
            let observed = Arc::clone(&store);
            match threads.run(move || observed.status()).await {
                Some(status) => status,
                None => store.status(), // the threads have ended: nobody is kept waiting any more
            }
        })
    }
}

impl Handler<DrainStore> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, _: DrainStore, _: &mut Context<Self>) -> Self::Result {
        let (store, threads) = (Arc::clone(&self.store), self.threads.clone());
        guarded(async move {
            store.drain().await?;
            threads.run(move || store.close()).await.unwrap_or(Err(StoreError::ShuttingDown))
        })
    }
}
