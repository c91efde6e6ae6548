//! The handle of one open store: the shared core, the queue of the committer, and its threads.
//!
//! Writes are decided by the committer alone; everything else may run on any thread.

use super::blobs::Blobs;
use super::commit::{Committer, Intent, Outcome, Request};
use super::core::Core;
use super::download::{Download, etag, info_of};
use super::entry::Held;
use super::error::StoreError;
use super::incoming::Purpose;
use super::types::{NewObject, ObjectInfo, Written};
use super::upload::Upload;
use crate::base::record::ObjectRecord;
use crate::base::{BodyAt, BodyId, BucketName, Condition, Incarnation, ObjectName, Permit, Record, RegisterKey};
use crate::seal::body;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, select, tick, unbounded};
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often the background thread looks at the clock, the disk and the log.
const TICK: Duration = Duration::from_millis(500);
/// Time between sweeps of blobs that landed and never got a record.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Where a commit's answer arrives.
pub type Answer = oneshot::Receiver<Result<Outcome, StoreError>>;

/// An open store. Threads share it in an `Arc`; dropping the last one stops its threads.
#[derive(Debug)]
pub struct Store {
    core: Arc<Core>,
    queue: Option<Sender<Request>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
    stop: Option<Sender<()>>,
}

/// What drives a store that has no threads: a test's own clockwork.
#[derive(Debug)]
pub struct Clockwork {
    /// Commits what waits.
    pub committer: Committer,
    /// Removes blobs that no record refers to any more.
    pub reaper: Reaper,
}

/// Removes blobs whose last record was replaced, once that is durable.
#[derive(Debug)]
pub struct Reaper {
    core: Arc<Core>,
    dead: Receiver<(RegisterKey, BodyId)>,
}

impl Deref for Store {
    type Target = Core;
    fn deref(&self) -> &Core {
        &self.core
    }
}

/// Waits for an answer; a queue that is gone means that the store is closing.
pub async fn wait(answer: Answer) -> Result<Outcome, StoreError> {
    answer.await.unwrap_or(Err(StoreError::ShuttingDown))
}

/// The same, for threads.
pub fn wait_blocking(answer: Answer) -> Result<Outcome, StoreError> {
    answer.blocking_recv().unwrap_or(Err(StoreError::ShuttingDown))
}

impl Store {
    /// Gives an opened core its committer and reaper, without threads.
    pub(super) fn manual(core: Core) -> (Self, Clockwork) {
        let core = Arc::new(core);
        let (queue, requests) = unbounded();
        let (dead_in, dead) = unbounded();
        let committer = Committer::new(Arc::clone(&core), requests, dead_in);
        let reaper = Reaper { core: Arc::clone(&core), dead };
        (Store { core, queue: Some(queue), threads: Mutex::default(), stop: None }, Clockwork { committer, reaper })
    }

    /// Puts the clockwork on threads. `on_panic` is called when one of them panics: the disk's
    /// state is then half known, and the process had better end.
    pub fn start(mut self, clockwork: Clockwork, on_panic: fn()) -> Result<Arc<Self>, StoreError> {
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let Clockwork { committer, reaper } = clockwork;
        let core = Arc::clone(&self.core);
        let (walked, walk_stopped) = (Arc::clone(&self.core), stopped.clone());
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let guarded = move || {
                let guard = OnPanic(on_panic);
                work();
                drop(guard);
            };
            std::thread::Builder::new().name(name.to_owned()).spawn(guarded).map_err(|source| StoreError::Disk {
                op: "start a thread for",
                path: self.core.dir.clone(),
                source,
            })
        };
        let threads = vec![
            spawn("committer", Box::new(move || committer.run()))?,
            spawn("tree", Box::new(move || walked.build_tree(&walk_stopped)))?,
            spawn("keeper-of-disk", Box::new(move || background(&core, &reaper, &stopped)))?,
        ];
        *self.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        self.stop = Some(stop);
        Ok(Arc::new(self))
    }

    /// The core, for those of this room who keep a share of it.
    pub(super) fn shared(&self) -> &Arc<Core> {
        &self.core
    }

    /// Gives memory that was not needed since the last time back to the system.
    pub fn trim_memory(&self) {
        self.core.blobs.trim_memory();
    }

    /// Queues an intent.
    pub(super) fn submit(&self, intent: Intent) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Write(intent, reply));
        answer
    }

    /// Queues a request. One that is not taken drops its reply, and that tells.
    pub(super) fn ask(&self, request: Request) {
        let last = matches!(request, Request::Write(Intent::Barrier, _));
        let refuse = self.core.closing.load(Ordering::Acquire) && !last;
        if let Some(queue) = self.queue.as_ref().filter(|_| !refuse) {
            // A send fails only when the committer is gone.
            let _ = queue.send(request);
        }
    }

    /// Takes no more writes, waits for those begun, and brings the index up to the log.
    pub async fn drain(&self) -> Result<(), StoreError> {
        self.core.closing.store(true, Ordering::Release);
        wait(self.submit(Intent::Barrier)).await.map(|_| ())
    }

    /// Seals a small body; what is left is `put`.
    pub fn seal_small(&self, head: NewObject, pieces: &[Bytes]) -> Result<Box<ObjectRecord>, StoreError> {
        let len: usize = pieces.iter().map(Bytes::len).sum();
        if len > self.core.options.inline_max {
            return Err(StoreError::Mismatch("a body is too long for its record"));
        }
        self.core.check_room(len as u64)?;
        let body = BodyId(crate::seal::random());
        let (sealed, wrap, digest) = body::seal_whole(&self.core.ring, self.core.cluster, body, pieces);
        Ok(Box::new(ObjectRecord {
            len: len as u64,
            content_type: head.content_type,
            meta: head.meta,
            body,
            sealed_len: sealed.len() as u64,
            digest,
            wrap,
            at: BodyAt::Inline(sealed.into()),
        }))
    }

    /// Commits an object whose body is in its record.
    pub fn put(&self, at: ObjectName, condition: Condition, object: Box<ObjectRecord>) -> Answer {
        self.submit(Intent::Put { at, condition, object })
    }

    /// Begins an upload.
    pub fn begin_upload(
        &self,
        at: ObjectName,
        condition: Condition,
        head: NewObject,
        len_hint: Option<u64>,
        permit: Option<Permit>,
    ) -> Result<Upload, StoreError> {
        Upload::begin(&self.core, at, condition, head, len_hint, permit)
    }

    /// Makes an upload's body durable and queues its record.
    pub fn finish_upload(&self, upload: Upload) -> Result<super::upload::Finishing, StoreError> {
        upload.finish(self)
    }

    /// Opens an object if no disk is waited for. `None` is no error: `open_object` tells.
    pub fn open_cached(&self, at: &ObjectName) -> Option<(ObjectInfo, Download)> {
        let key = RegisterKey::object(at);
        self.open_held_cached(&key, &self.core.lookup_cached(&key)?)
    }

    fn open_held_cached(&self, key: &RegisterKey, held: &Arc<Held>) -> Option<(ObjectInfo, Download)> {
        Some((info_of(&held.record)?, Download::open_cached(&self.core, key, held)?))
    }

    /// Opens an object.
    pub fn open_object(&self, at: &ObjectName) -> Result<(ObjectInfo, Download), StoreError> {
        let missing = || match self.core.buckets().contains_key(&at.bucket) {
            true => StoreError::NoSuchKey,
            false => StoreError::NoSuchBucket,
        };
        let key = RegisterKey::object(at);
        let held = self.core.lookup(&key)?.filter(|h| h.record.object().is_some()).ok_or_else(missing)?;
        match self.open_held(&key, Arc::clone(&held)) {
            // Replaced between the lookup and the opening of its blob: the new one is there by now.
            Err(StoreError::Corrupt { .. }) => match self.core.lookup(&key)? {
                Some(newer) if newer.seq != held.seq => {
                    if newer.record.object().is_none() {
                        return Err(missing());
                    }
                    self.open_held(&key, newer)
                }
                _ => self.open_held(&key, held),
            },
            other => other,
        }
    }

    fn open_held(&self, key: &RegisterKey, held: Arc<Held>) -> Result<(ObjectInfo, Download), StoreError> {
        let info = info_of(&held.record).ok_or(StoreError::NoSuchKey)?;
        Ok((info, Download::open(&self.core, key.clone(), held)?))
    }

    /// Opens a body by a record that was chosen, whatever this node holds of the key by now.
    pub fn open_record(&self, key: RegisterKey, record: Arc<Record>) -> Result<(ObjectInfo, Download), StoreError> {
        let held = self.kept(&key, record);
        self.open_held(&key, held)
    }

    /// The same if no disk is waited for. `None` is no error: `open_record` tells.
    pub fn open_record_cached(&self, key: &RegisterKey, record: &Arc<Record>) -> Option<(ObjectInfo, Download)> {
        self.open_held_cached(key, &self.kept(key, Arc::clone(record)))
    }

    /// What is in memory of a record: its body's keys may be expanded already.
    fn kept(&self, key: &RegisterKey, record: Arc<Record>) -> Arc<Held> {
        let kept = self.core.lookup_cached(key).filter(|held| held.record.ballot == record.ballot);
        kept.unwrap_or_else(|| Arc::new(Held::new(record, true, 0, None)))
    }

    /// Deletes an object.
    pub fn delete(&self, at: ObjectName, condition: Condition) -> Answer {
        self.submit(Intent::Delete { at, condition })
    }

    /// Creates a bucket.
    pub fn create_bucket(&self, bucket: BucketName) -> Answer {
        self.submit(Intent::CreateBucket { bucket, first_start: false })
    }

    /// Creates the bucket that every new data directory has.
    pub(super) fn first_bucket(&self, bucket: BucketName) -> Answer {
        self.submit(Intent::CreateBucket { bucket, first_start: true })
    }

    /// Deletes an empty bucket.
    pub fn delete_bucket(&self, bucket: BucketName) -> Answer {
        self.submit(Intent::DeleteBucket { bucket })
    }

    /// Keeps a peer's cursor.
    pub fn save_cursor(&self, peer: Incarnation, seq: u64) -> Answer {
        self.submit(Intent::Cursor { peer, seq })
    }

    /// Begins to receive a peer's blob; how long it will be may show only at its end.
    pub fn begin_incoming(
        &self,
        body: BodyId,
        bytes_max: Option<u64>,
        purpose: Purpose,
    ) -> Result<super::incoming::Incoming, StoreError> {
        super::incoming::Incoming::begin(&self.core, body, bytes_max, purpose)
    }

    /// Removes a blob that landed here for a record that will never come.
    pub fn discard_blob(&self, body: BodyId) -> Result<(), StoreError> {
        let free = |blobs: &Blobs| Ok(blobs.is_landed(body) && !self.core.refers_to(body)?);
        self.core.blobs.remove_if(body, free).map(|_| ())
    }

    /// Opens a blob for a peer.
    pub fn open_outgoing(&self, body: BodyId) -> Result<super::outgoing::Outgoing, StoreError> {
        super::outgoing::Outgoing::open(&self.core, body)
    }

    /// Removes blobs that no record refers to and that nobody is about to refer to.
    pub fn sweep_orphans(&self) -> Result<usize, StoreError> {
        // The index may still refer to what the overlay has replaced.
        self.core.checkpoint()?;
        let (ids, strangers) = self.core.blobs.all()?;
        if strangers > 0 {
            log::warn!(strangers; "files under blobs/ that Boveda did not make were left alone");
        }
        let mut swept = 0;
        for body in ids {
            // Asked within the gate: a vote may have been granted on it a moment ago. In this order: a blob stops being
            // "landed" only after its record is visible.
            let free = |blobs: &Blobs| Ok(!blobs.is_landed(body) && !self.core.refers_to(body)?);
            swept += usize::from(self.core.blobs.remove_if(body, free)?);
        }
        self.core.counters.swept.fetch_add(swept as u64, Ordering::Relaxed);
        Ok(swept)
    }
}

/// An outcome as handlers tell it.
pub fn written(outcome: Outcome, digest: Option<&[u8; 32]>) -> Written {
    Written {
        ballot: outcome.ballot,
        etag: digest.map(etag).unwrap_or_default(),
        existed: outcome.existed,
        replicas: 1,
    }
}

impl Reaper {
    /// Removes what waits for it. For tests that bring their own clockwork.
    pub fn turn(&self) {
        self.dead.try_iter().for_each(|dead| self.remove(dead));
    }

    fn remove(&self, (key, body): (RegisterKey, BodyId)) {
        // It may have come back meanwhile: an older state that is stored again brings its blob along.
        let free = |blobs: &Blobs| {
            let now = self.core.lookup(&key)?;
            Ok(!blobs.is_landed(body) && now.is_none_or(|held| held.record.blob() != Some(body)))
        };
        if let Err(error) = self.core.blobs.remove_if(body, free) {
            log::warn!(error:% = error; "a replaced body stays until the next start");
        }
    }
}

fn background(core: &Arc<Core>, reaper: &Reaper, stopped: &Receiver<()>) {
    let ticks = tick(TICK);
    let mut clock = TickClock { log_end: 0, checkpointed: Instant::now(), swept: Instant::now() };
    loop {
        select! {
            recv(reaper.dead) -> dead => match dead {
                Ok(dead) => reaper.remove(dead),
                Err(_) => return,
            },
            recv(core.nudge.1) -> _ => bring_index_up(core, &mut clock),
            recv(ticks) -> _ => on_tick(core, &mut clock),
            recv(stopped) -> _ => return,
        }
    }
}

struct TickClock {
    /// Where the log ended a tick ago.
    log_end: u64,
    checkpointed: Instant,
    swept: Instant,
}

fn on_tick(core: &Core, clock: &mut TickClock) {
    // A shortage has been told of when it began.
    if let Some(error) = core.refresh_space().err().filter(|error| !error.is_shortage()) {
        log::warn!(error:% = error; "free space unknown");
    }
    let due = clock.checkpointed.elapsed() >= core.options.checkpoint_interval;
    if due {
        bring_index_up(core, clock);
    }
    // While frames follow each other each says that those before it are durable.
    if std::mem::replace(&mut clock.log_end, core.log.end()) == core.log.end() {
        // A failure has poisoned the store and logged why.
        let _ = core.mark_log();
    }
    if clock.swept.elapsed() >= SWEEP_EVERY {
        clock.swept = Instant::now();
        for body in core.blobs.landed_before(core.options.orphan_grace) {
            let free = |blobs: &Blobs| {
                let referred = core.refers_to(body)?;
                if referred {
                    blobs.settle(body);
                }
                Ok(!referred)
            };
            if let Err(error) = core.blobs.remove_if(body, free) {
                log::warn!(error:% = error; "a body without a record could not be removed");
            }
        }
    }
}

fn bring_index_up(core: &Core, clock: &mut TickClock) {
    if !core.is_poisoned() {
        // A failure has poisoned the store and logged why; a full disk is told where it is found.
        let _ = core.checkpoint();
    }
    clock.checkpointed = Instant::now();
}

struct OnPanic(fn());

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            (self.0)();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The committer ends when the queue's last sender is gone, the other when it is told.
        self.core.closing.store(true, Ordering::Release);
        self.queue = None;
        self.stop = None;
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
        // The next start then knows where the log ended. It is a help: without it, it knows where the last frame began.
        if let Err(error) = self.core.mark_log() {
            log::debug!(error:% = error; "the end of the log is not marked");
        }
    }
}
