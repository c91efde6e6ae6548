//! The handle of one open store: the shared core, the queue of the committer, and its threads. Its methods stand with
//! their subjects, in the files above this one: see the table in `mod`.
//!
//! Writes are decided by the committer alone; everything else may run on any thread.

use super::commit::Committer;
use super::core::Core;
use super::entry::Held;
use super::error::{DiskOp, StoreError};
use super::intent::{Answer, Intent, Request, wait};
use super::mover::Mover;
use super::reaper::Reaper;
use super::removal::Removal;
use super::reseal::Resealer;
use super::upkeep::background;
use crate::base::{KekId, RegisterKey};
use crossbeam_channel::{Sender, unbounded};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::oneshot;

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
    /// Decides and commits what waits, when it is told to.
    pub committer: Committer,
    /// Removes blobs that no record refers to any more.
    pub reaper: Reaper,
    /// Moves what is alive in segments together.
    pub mover: Mover,
    /// Seals keys anew that are sealed under an older generation.
    pub resealer: Resealer,
}

impl Store {
    /// Gives an opened core its committer and reaper, without threads.
    pub(super) fn manual(core: Core) -> (Self, Clockwork) {
        let core = Arc::new(core);
        let (queue, requests) = unbounded();
        let committer = Committer::new(Arc::clone(&core), requests);
        let reaper = Reaper::new(Arc::clone(&core), queue.clone());
        let mover = Mover::new(Arc::clone(&core), queue.clone());
        let resealer = Resealer::new(Arc::clone(&core), queue.clone());
        let store = Store { core, queue: Some(queue), threads: Mutex::default(), stop: None };
        (store, Clockwork { committer, reaper, mover, resealer })
    }

    /// Puts the clockwork on threads. `on_panic` is called when one of them panics: the disk's
    /// state is then half known, and the process had better end.
    pub fn start(mut self, clockwork: Clockwork, on_panic: fn()) -> Result<Arc<Self>, StoreError> {
        let (stop, stopped) = crossbeam_channel::bounded(0);
        let Clockwork { committer, reaper, mover, resealer } = clockwork;
        let core = Arc::clone(&self.core);
        let (walked, walk_stopped) = (Arc::clone(&self.core), stopped.clone());
        let (written, write_stopped) = (Arc::clone(&self.core), stopped.clone());
        let (move_stopped, reseal_stopped) = (stopped.clone(), stopped.clone());
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let guarded = move || {
                let guard = OnPanic(on_panic);
                work();
                drop(guard);
            };
            std::thread::Builder::new().name(name.to_owned()).spawn(guarded).map_err(|source| StoreError::Disk {
                op: DiskOp::StartThread,
                path: self.core.dir.clone(),
                source,
            })
        };
        let threads = vec![
            spawn("committer", Box::new(move || committer.run()))?,
            spawn("segments", Box::new(move || written.segments.run(&write_stopped)))?,
            spawn("mover", Box::new(move || mover.run(&move_stopped)))?,
            spawn("resealer", Box::new(move || resealer.run(&reseal_stopped)))?,
            spawn("tree", Box::new(move || walked.build_tree(&walk_stopped)))?,
            spawn("keeper-of-disk", Box::new(move || background(&core, &reaper, &stopped)))?,
        ];
        *self.threads.lock().unwrap_or_else(PoisonError::into_inner) = threads;
        self.stop = Some(stop);
        Ok(Arc::new(self))
    }

    /// The core, for this room alone.
    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Gives memory that was not needed since the last time back to the system.
    pub fn trim_memory(&self) {
        self.core.blobs.trim_memory();
    }

    /// Queues an intent for the committer.
    pub(super) fn submit(&self, intent: Intent) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Write(intent, reply));
        answer
    }

    /// Queues a request. One that is not taken drops its reply, and that tells.
    pub(super) fn ask(&self, request: Request) {
        let last = matches!(request, Request::Write(Intent::Barrier | Intent::Release(_), _));
        let refuse = self.core.closing.load(Ordering::Acquire) && !last;
        if let Some(queue) = self.queue.as_ref().filter(|_| !refuse) {
            // A send fails only when the committer is gone.
            let _ = queue.send(request);
        }
    }

    /// The register's state, tombstones included.
    pub fn lookup(&self, key: &RegisterKey) -> Result<Option<Arc<Held>>, StoreError> {
        self.core.lookup(key)
    }

    /// The register's state if it is in memory: no disk is touched. `None` says nothing.
    pub fn lookup_cached(&self, key: &RegisterKey) -> Option<Arc<Held>> {
        self.core.lookup_cached(key)
    }

    /// Brings everything committed so far to the index and frees its room in the log: see `Core::checkpoint`.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        self.core.checkpoint()
    }

    /// Seals under that generation from now on, over restarts too. One that the ring lacks is refused.
    pub fn seal_under(&self, kek: KekId) -> Result<(), StoreError> {
        self.core.seal_under(kek)
    }

    /// Takes no more writes, and waits for those begun. What waits to be removed loses its places: see `close`.
    pub async fn drain(&self) -> Result<(), StoreError> {
        self.core.closing.store(true, Ordering::Release);
        wait(self.submit(Intent::Barrier)).await?;
        let bodies = self.core.waiting().all();
        if !bodies.is_empty() {
            wait(self.submit(Intent::Release(bodies))).await?;
        }
        Ok(())
    }

    /// After `drain`: what waits to be removed goes, and the index is brought up to the log. So the next start finds
    /// nothing that it would have to look for.
    pub fn close(&self) -> Result<(), StoreError> {
        self.core.checkpoint()?;
        let waiting = self.core.waiting().take(Instant::now(), true);
        // What stays is found by the next start, which hears that something may be.
        let stays = waiting.into_iter().filter(|left| !matches!(self.core.remove_left(left.body), Ok(Removal::Done)));
        let stays = stays.collect();
        self.core.waiting().put_back(stays);
        self.core.checkpoint()
    }
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
