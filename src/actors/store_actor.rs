//! The StoreActor: the only way to the disk and to the keys of what lies on it.
//!
//! One stands on every HTTP worker's arbiter (and one on the replicators'); all share one store.
//! What is surely in memory and takes microseconds is done right in the handler; what touches the
//! disk or many bytes goes to the threads. Commits of many requests meet in the store's committer.
//!
//! If a handler or a job panics, the process ends: see `abort`.

use super::guard::PanicGuard;
use super::healer::{Heal, Healed};
use super::messages::*;
use super::threads::Threads;
use crate::base::{ObjectRecord, Record, RegisterKey};
use crate::store::store::{Answer, wait, written};
use crate::store::votes::wait_votes;
use crate::store::{Store, StoreError};
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Bodies up to this many bytes are sealed and opened on the arbiter: cheaper than the hop.
const ON_ARBITER_BYTES: usize = 64 * 1024;

/// How long a reader waits for a damaged copy to be mended. The mending goes on when he has gone.
const MENDING_MAX: Duration = Duration::from_secs(120);

/// Ends the process when the key holder panics: a half-known disk state is worse than a restart,
/// and everything that was answered for is in the log.
pub fn abort() {
    log::error!("the store panicked: the process ends, so that a restart finds a known state");
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
    fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Store>) -> Result<T, StoreError> + Send + 'static,
    ) -> ResponseFuture<Result<T, StoreError>> {
        let (store, threads) = (Arc::clone(&self.store), self.threads.clone());
        Box::pin(async move { threads.run(move || work(&store)).await.unwrap_or(Err(StoreError::ShuttingDown)) })
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
    async fn mends(&self, key: RegisterKey) -> Result<bool, StoreError> {
        let Some(healer) = &self.healer else { return Ok(false) };
        match healer.send(Heal { key }).timeout(MENDING_MAX).await.unwrap_or(Healed::NoCopy) {
            Healed::Good => Ok(true),
            Healed::NoCopy => Ok(false),
            Healed::NoRoom => Err(StoreError::Full),
        }
    }

    async fn open_record(&self, key: RegisterKey, record: Arc<Record>) -> Result<(ObjectInfo, Download), StoreError> {
        let (first, sealed) = (key.clone(), Arc::clone(&record));
        match self.run(move |store| store.open_record(first, sealed)).await {
            Err(error) if error.is_damage() && self.mends(key.clone()).await? => {
                self.run(move |store| store.open_record(key, record)).await
            }
            other => other,
        }
    }

    async fn open(&self, at: crate::base::ObjectName) -> Result<(ObjectInfo, Download), StoreError> {
        let key = RegisterKey::object(&at);
        let again = at.clone();
        match self.run(move |store| store.open_object(&at, None)).await {
            Err(error) if error.is_damage() && self.mends(key).await? => {
                self.run(move |store| store.open_object(&again, None)).await
            }
            other => other,
        }
    }

    async fn read(&self, mut download: Download) -> Result<(Download, Vec<bytes::Bytes>), StoreError> {
        let (mut download, read) = self
            .run(move |_| {
                let read = download.read();
                Ok((download, read))
            })
            .await?;
        match read {
            Ok(pieces) => Ok((download, pieces)),
            Err(error) if error.is_damage() && self.mends(download.key().clone()).await? => {
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

fn commit(answer: Answer) -> ResponseFuture<Result<Written, StoreError>> {
    Box::pin(async move { Ok(written(wait(answer).await?, None)) })
}

async fn seal(
    store: &Arc<Store>,
    threads: &Threads,
    head: NewObject,
    body: Vec<bytes::Bytes>,
) -> Result<Box<ObjectRecord>, StoreError> {
    let len: usize = body.iter().map(bytes::Bytes::len).sum();
    if len <= ON_ARBITER_BYTES {
        return store.seal_small(head, &body);
    }
    let store = Arc::clone(store);
    let sealed = threads.run(move || store.seal_small(head, &body)).await;
    sealed.unwrap_or(Err(StoreError::ShuttingDown))
}

impl Handler<SealSmall> for StoreActor {
    type Result = ResponseFuture<Result<Box<ObjectRecord>, StoreError>>;
    fn handle(&mut self, SealSmall { head, body }: SealSmall, _: &mut Context<Self>) -> Self::Result {
        let (store, threads) = (Arc::clone(&self.store), self.threads.clone());
        guarded(async move { seal(&store, &threads, head, body).await })
    }
}

impl Handler<LandUpload> for StoreActor {
    type Result = ResponseFuture<Result<Landed, StoreError>>;
    fn handle(&mut self, LandUpload { sealed }: LandUpload, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| sealed.land())
    }
}

impl Handler<SealPieces> for StoreActor {
    type Result = ResponseFuture<Result<(StoreUpload, bytes::Bytes), StoreError>>;
    fn handle(&mut self, SealPieces { mut upload, data }: SealPieces, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| {
            let sealed = upload.append(&data)?;
            Ok((upload, sealed))
        })
    }
}

impl Handler<SealLast> for StoreActor {
    type Result = ResponseFuture<Result<(Sealed, bytes::Bytes), StoreError>>;
    fn handle(&mut self, SealLast { upload }: SealLast, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| upload.seal())
    }
}

impl Handler<Peek> for StoreActor {
    type Result = MessageResult<Peek>;
    fn handle(&mut self, Peek { key }: Peek, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.store.lookup_cached(&key).map(|held| held.slot()))
    }
}

impl Handler<KnowsBucket> for StoreActor {
    type Result = bool;
    fn handle(&mut self, KnowsBucket { bucket }: KnowsBucket, _: &mut Context<Self>) -> Self::Result {
        self.store.has_bucket(&bucket)
    }
}

impl Handler<CastHere> for StoreActor {
    type Result = ResponseFuture<Result<Vec<Option<Reply>>, StoreError>>;
    fn handle(&mut self, CastHere { votes }: CastHere, _: &mut Context<Self>) -> Self::Result {
        let store = Arc::clone(&self.store);
        if votes.iter().all(Vote::is_mark) {
            let unanswered = votes.iter().map(|_| None).collect();
            store.mark(votes);
            return Box::pin(std::future::ready(Ok(unanswered)));
        }
        let cached: Result<Vec<_>, _> = votes.iter().map(|vote| store.query(vote, true)).collect();
        match cached {
            Ok(replies) if replies.iter().all(Option::is_some) => return Box::pin(std::future::ready(Ok(replies))),
            Ok(_) if votes.iter().all(Vote::is_query) => {}
            Ok(_) => return guarded(async move { wait_votes(store.vote(votes)).await }),
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        }
        let threads = self.threads.clone();
        guarded(async move {
            let asked = Arc::clone(&store);
            let read = threads.run(move || {
                let replies: Result<Vec<_>, _> = votes.iter().map(|vote| asked.query(vote, false)).collect();
                replies.map(|replies| (votes, replies))
            });
            let (votes, mut replies) = read.await.unwrap_or(Err(StoreError::ShuttingDown))?;
            // What only the committer can answer: another epoch.
            let open: Vec<usize> = (0..replies.len()).filter(|at| replies[*at].is_none()).collect();
            if !open.is_empty() {
                let rest = open.iter().map(|at| votes[*at].clone()).collect();
                for (at, reply) in open.into_iter().zip(wait_votes(store.vote(rest)).await?) {
                    replies[at] = reply;
                }
            }
            Ok(replies)
        })
    }
}

impl Handler<OpenRecord> for StoreActor {
    type Result = ResponseFuture<Result<(ObjectInfo, Download), StoreError>>;
    fn handle(&mut self, msg: OpenRecord, _: &mut Context<Self>) -> Self::Result {
        let OpenRecord { key, record, permit } = msg;
        if record.blob().is_none() {
            let opened = self.store.open_record(key.clone(), Arc::clone(&record)).map(|(info, mut download)| {
                download.hold(permit);
                (info, download)
            });
            return Box::pin(std::future::ready(opened));
        }
        let reader = self.reader();
        guarded(async move {
            let (info, mut download) = reader.open_record(key, record).await?;
            download.hold(permit);
            Ok((info, download))
        })
    }
}

impl Handler<ScanSlots> for StoreActor {
    type Result = ResponseFuture<Result<Vec<(RegisterKey, RegisterSlot)>, StoreError>>;
    fn handle(&mut self, msg: ScanSlots, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.scan_slots(msg.from.as_ref(), &msg.to, msg.limit))
    }
}

impl Handler<FindTentative> for StoreActor {
    type Result = Result<Vec<RegisterKey>, StoreError>;
    fn handle(&mut self, msg: FindTentative, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.tentative_for(msg.age, msg.limit))
    }
}

impl Handler<Seat> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, Seat { seating }: Seat, _: &mut Context<Self>) -> Self::Result {
        let answer = self.store.seat(seating);
        guarded(async move { wait(answer).await.map(|_| ()) })
    }
}

impl Handler<PutSmall> for StoreActor {
    type Result = ResponseFuture<Result<Written, StoreError>>;
    fn handle(&mut self, msg: PutSmall, _: &mut Context<Self>) -> Self::Result {
        let PutSmall { at, condition, head, body, permit } = msg;
        let (store, threads) = (Arc::clone(&self.store), self.threads.clone());
        guarded(async move {
            let object = seal(&store, &threads, head, body).await?;
            let digest = object.digest;
            let outcome = wait(store.put(at, condition, object)).await;
            drop(permit);
            Ok(written(outcome?, Some(&digest)))
        })
    }
}

impl Handler<BeginUpload> for StoreActor {
    type Result = ResponseFuture<Result<Upload, StoreError>>;
    fn handle(&mut self, msg: BeginUpload, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| {
            if !store.has_bucket(&msg.at.bucket) {
                return Err(StoreError::NoSuchBucket);
            }
            let body = store.begin_upload(msg.at, msg.condition, msg.head, msg.len_hint, msg.permit)?;
            Ok(Upload { body, streams: None })
        })
    }
}

impl Handler<StageUpload> for StoreActor {
    type Result = ResponseFuture<Result<StoreUpload, StoreError>>;
    fn handle(&mut self, StageUpload(msg): StageUpload, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.begin_upload(msg.at, msg.condition, msg.head, msg.len_hint, msg.permit))
    }
}

impl Handler<AppendUpload> for StoreActor {
    type Result = ResponseFuture<Result<Upload, StoreError>>;
    fn handle(&mut self, msg: AppendUpload, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| {
            let mut upload = msg.upload;
            upload.body.append(&msg.data)?;
            Ok(upload)
        })
    }
}

impl Handler<FinishUpload> for StoreActor {
    type Result = ResponseFuture<Result<Written, StoreError>>;
    fn handle(&mut self, msg: FinishUpload, _: &mut Context<Self>) -> Self::Result {
        let finishing = self.on_thread(move |store| store.finish_upload(msg.upload.body));
        Box::pin(async move {
            let finishing = finishing.await?;
            let digest = finishing.digest;
            Ok(written(finishing.wait().await?, Some(&digest)))
        })
    }
}

impl Handler<OpenObject> for StoreActor {
    type Result = ResponseFuture<Result<(ObjectInfo, Download), StoreError>>;
    fn handle(&mut self, msg: OpenObject, _: &mut Context<Self>) -> Self::Result {
        let OpenObject { at, mut permit, .. } = msg;
        match self.store.open_cached(&at, &mut permit) {
            Some(opened) => Box::pin(std::future::ready(opened)),
            None => {
                let reader = self.reader();
                guarded(async move {
                    let (info, mut download) = reader.open(at).await?;
                    download.hold(permit);
                    Ok((info, download))
                })
            }
        }
    }
}

impl Handler<ReadDownload> for StoreActor {
    type Result = ResponseFuture<Result<(Download, Vec<bytes::Bytes>), StoreError>>;
    fn handle(&mut self, msg: ReadDownload, _: &mut Context<Self>) -> Self::Result {
        let mut download = msg.download;
        if download.is_in_memory() {
            match download.read() {
                Err(error) if error.is_damage() => {}
                read => return Box::pin(std::future::ready(read.map(|pieces| (download, pieces)))),
            }
        }
        let reader = self.reader();
        guarded(async move { reader.read(download).await })
    }
}

impl Handler<DeleteObject> for StoreActor {
    type Result = ResponseFuture<Result<Written, StoreError>>;
    fn handle(&mut self, msg: DeleteObject, _: &mut Context<Self>) -> Self::Result {
        commit(self.store.delete(msg.at, msg.condition))
    }
}

impl Handler<CreateBucket> for StoreActor {
    type Result = ResponseFuture<Result<Written, StoreError>>;
    fn handle(&mut self, msg: CreateBucket, _: &mut Context<Self>) -> Self::Result {
        commit(self.store.create_bucket(msg.bucket))
    }
}

impl Handler<DeleteBucket> for StoreActor {
    type Result = ResponseFuture<Result<Written, StoreError>>;
    fn handle(&mut self, msg: DeleteBucket, _: &mut Context<Self>) -> Self::Result {
        commit(self.store.delete_bucket(msg.bucket))
    }
}

impl Handler<ListBuckets> for StoreActor {
    type Result = Result<Vec<(crate::base::BucketName, u64)>, StoreError>;
    fn handle(&mut self, _: ListBuckets, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.list_buckets())
    }
}

impl Handler<ListObjects> for StoreActor {
    type Result = ResponseFuture<Result<ListPage, StoreError>>;
    fn handle(&mut self, msg: ListObjects, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| {
            store.list(&msg.bucket, &msg.prefix, msg.delimiter.as_deref(), msg.after.as_deref(), msg.limit)
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
            threads.run(move || store.checkpoint()).await.unwrap_or(Err(StoreError::ShuttingDown))
        })
    }
}

impl Handler<ChangesAfter> for StoreActor {
    type Result = ResponseFuture<Result<Vec<Change>, StoreError>>;
    fn handle(&mut self, msg: ChangesAfter, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.changes_after(msg.after, msg.limit))
    }
}

impl Handler<FetchRecords> for StoreActor {
    type Result = ResponseFuture<Result<Vec<(crate::base::RegisterKey, Arc<Record>)>, StoreError>>;
    fn handle(&mut self, msg: FetchRecords, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.fetch_records(msg.keys, msg.bytes_max))
    }
}

impl Handler<CompareOffers> for StoreActor {
    type Result = ResponseFuture<Result<Vec<Want>, StoreError>>;
    fn handle(&mut self, msg: CompareOffers, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.compare_offers(&msg.offers))
    }
}

impl Handler<LearnRecords> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, msg: LearnRecords, _: &mut Context<Self>) -> Self::Result {
        let queued = self.on_thread(move |store| store.learn(msg.records, msg.from, msg.epoch));
        Box::pin(async move { wait(queued.await?).await.map(|_| ()) })
    }
}

impl Handler<Bury> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, Bury { list, graves }: Bury, _: &mut Context<Self>) -> Self::Result {
        let answers = self.store.bury(list, graves);
        guarded(async move {
            for answer in answers {
                wait(answer).await?;
            }
            Ok(())
        })
    }
}

impl Handler<FindDue> for StoreActor {
    type Result = ResponseFuture<Result<(Vec<Grave>, Option<crate::base::RegisterKey>), StoreError>>;
    fn handle(&mut self, msg: FindDue, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.due_tombstones(msg.after.as_ref(), msg.age, msg.limit))
    }
}

impl Handler<CountTombstones> for StoreActor {
    type Result = Result<Option<u64>, StoreError>;
    fn handle(&mut self, _: CountTombstones, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.tree().tombstones())
    }
}

impl Handler<BeginIncoming> for StoreActor {
    type Result = ResponseFuture<Result<Incoming, StoreError>>;
    fn handle(&mut self, msg: BeginIncoming, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.begin_incoming(msg.body, msg.announced, msg.purpose))
    }
}

impl Handler<AppendIncoming> for StoreActor {
    type Result = ResponseFuture<Result<Incoming, StoreError>>;
    fn handle(&mut self, msg: AppendIncoming, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| {
            let mut incoming = msg.incoming;
            incoming.append(&msg.data)?;
            Ok(incoming)
        })
    }
}

impl Handler<FinishIncoming> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, msg: FinishIncoming, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| msg.incoming.finish(msg.announced))
    }
}

impl Handler<DiscardBlob> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, DiscardBlob { body }: DiscardBlob, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.discard_blob(body))
    }
}

impl Handler<OpenOutgoing> for StoreActor {
    type Result = ResponseFuture<Result<Outgoing, StoreError>>;
    fn handle(&mut self, msg: OpenOutgoing, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.open_outgoing(msg.body))
    }
}

impl Handler<ReadOutgoing> for StoreActor {
    type Result = ResponseFuture<Result<(Outgoing, bytes::Bytes), StoreError>>;
    fn handle(&mut self, msg: ReadOutgoing, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| {
            let mut outgoing = msg.outgoing;
            let bytes = outgoing.read()?;
            Ok((outgoing, bytes))
        })
    }
}

impl Handler<ReadSealed> for StoreActor {
    type Result = ResponseFuture<Result<bytes::Bytes, StoreError>>;
    fn handle(&mut self, msg: ReadSealed, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.read_sealed(msg.body, msg.from, msg.len))
    }
}

impl Handler<ReadSums> for StoreActor {
    type Result = ResponseFuture<Result<Vec<crate::base::Sum>, StoreError>>;
    fn handle(&mut self, msg: ReadSums, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| Ok(store.tree().sums(&msg.branches)))
    }
}

impl Handler<ChangesIn> for StoreActor {
    type Result = ResponseFuture<Result<(Vec<Change>, Option<RegisterKey>), StoreError>>;
    fn handle(&mut self, msg: ChangesIn, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.changes_in(&msg.leaves, msg.after.as_ref(), msg.limit))
    }
}

impl Handler<Diagnose> for StoreActor {
    type Result = ResponseFuture<Result<Option<Ailment>, StoreError>>;
    fn handle(&mut self, msg: Diagnose, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.diagnose(&msg.key))
    }
}

impl Handler<Restore> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, msg: Restore, _: &mut Context<Self>) -> Self::Result {
        let queued = self.on_thread(move |store| store.restore(msg.key, msg.record, msg.from));
        Box::pin(async move { wait(queued.await?).await.map(|_| ()) })
    }
}

impl Handler<LoadCursor> for StoreActor {
    type Result = ResponseFuture<Result<u64, StoreError>>;
    fn handle(&mut self, msg: LoadCursor, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.cursor(msg.peer))
    }
}

impl Handler<SaveCursor> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, msg: SaveCursor, _: &mut Context<Self>) -> Self::Result {
        let answer = self.store.save_cursor(msg.peer, msg.seq);
        Box::pin(async move { wait(answer).await.map(|_| ()) })
    }
}

impl Handler<Scrutinize> for StoreActor {
    type Result = ResponseFuture<Result<(Round, Seen), StoreError>>;
    fn handle(&mut self, msg: Scrutinize, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| {
            let mut round = msg.round.unwrap_or_else(|| store.scrub(msg.part));
            let seen = round.read()?;
            Ok((round, seen))
        })
    }
}

impl Handler<LoadScrubPlace> for StoreActor {
    type Result = ResponseFuture<Result<Place, StoreError>>;
    fn handle(&mut self, _: LoadScrubPlace, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(|store| store.load_scrub_place())
    }
}

impl Handler<SaveScrubPlace> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, SaveScrubPlace(place): SaveScrubPlace, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.save_scrub_place(&place))
    }
}
