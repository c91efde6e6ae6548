//! The log of a running node: a thread that writes, and those who give it lines.
//!
//! Invariants
//! - Whoever awaits a line is answered when it is durable, or told why it is not. Lines that arrive together share one sync.
//! - Nobody waits for the line of a refusal. It is on the disk within a second, while the disk has room above its
//!   reserve; what had to be left out is counted, and said in a line once there is room again.
//! - What waits is bounded: `WAITING_MAX` lines that nobody awaits; who awaits one is a request, and those are few.

use super::claims::Witnesses;
use super::error::AuditError;
use super::flood::Flood;
use super::line::Line;
use super::memory::{Memory, Said};
use super::memory_file::read_memory;
use super::rewrap::{generations, memory_kek, rewrap};
use super::writer::{Place, Writer};
use crate::base::dates::rfc3339;
use crate::base::{AuditHead, KekId, NodeName};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// Most lines in memory that nobody awaits.
const WAITING_MAX: usize = 512;
/// Most bytes of them: the longest name of an object, and what is said of it.
pub const WAITING_BYTES_MAX: usize = WAITING_MAX * 2_048;

/// What a log is started with, besides its place.
pub struct Setup {
    /// Where it is, and what it is sealed under.
    pub place: Place,
    /// Whether object reads and writes have lines.
    pub objects: bool,
    /// Whether the disk is full down to its reserve.
    pub low: Box<dyn Fn() -> bool + Send + Sync>,
}

/// How a log is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AuditStatus {
    /// The number of the last line.
    pub sequence: u64,
    /// Lines that were written since the start.
    pub lines: u64,
    /// Refusals among them that stand for others, since the start: so many had no line of their own.
    pub suppressed: u64,
    /// Refusals that were left out for want of room, since the start.
    pub unwritten: u64,
    /// Lines that somebody awaited and that could not be written, since the start.
    pub failed: u64,
    /// Files of the log.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether object reads and writes have lines.
    pub objects: bool,
    /// Why the last line could not be written; none once one was.
    pub last_error: Option<String>,
    /// How many findings there are.
    pub findings: u64,
    /// What was found first.
    pub finding: Option<String>,
}

/// The log of a running node. Cheap to clone.
#[derive(Clone)]
pub struct Audit(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) place: Place,
    pub(super) objects: bool,
    pub(super) low: Box<dyn Fn() -> bool + Send + Sync>,
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    pub(super) state: Mutex<State>,
    pub(super) witnesses: Mutex<Witnesses>,
    /// Held by whoever writes what is remembered.
    pub(super) remembering: Mutex<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A line, and who awaits it.
pub(super) type Waiting = (Line, Option<oneshot::Sender<Result<(), AuditError>>>);

#[derive(Default)]
pub(super) struct Queue {
    pub lines: Vec<Waiting>,
    /// When the oldest line came that nobody awaits.
    pub since: Option<Instant>,
    pub awaited: usize,
    pub flood: Flood,
    /// Refusals that were left out since the last line.
    pub left_out: u64,
    pub ends: bool,
}

/// What is known of the log while somebody writes.
#[derive(Default)]
pub(super) struct State {
    pub status: AuditStatus,
    pub opened: Option<AuditHead>,
    pub head: Option<AuditHead>,
    pub memory: Memory,
    pub remember: bool,
}

impl Audit {
    /// Opens the log and starts its thread. A log that cannot be opened is opened with the first line for which it can:
    /// a node without room can still be read.
    pub fn start(setup: Setup) -> std::io::Result<Self> {
        let mut writer = Writer::new(setup.place.clone());
        let Place { disk, dir, ring, .. } = &setup.place;
        let (memory, unread) = match read_memory(disk.as_ref(), dir, ring) {
            Ok(memory) => (memory.unwrap_or_default(), None),
            Err(error) => {
                (Memory::default(), Some(format!("what was remembered of other logs cannot be read: {error}")))
            }
        };
        let inner = Arc::new(Inner {
            place: setup.place,
            objects: setup.objects,
            low: setup.low,
            queue: Mutex::default(),
            wake: Condvar::new(),
            state: Mutex::new(State { memory, ..State::default() }),
            witnesses: Mutex::default(),
            remembering: Mutex::default(),
            thread: Mutex::default(),
        });
        let audit = Audit(Arc::clone(&inner));
        unread.into_iter().for_each(|why| audit.found(why));
        audit.opens(&mut writer);
        let of_thread = audit.clone();
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || of_thread.run(&mut writer))?;
        *lock(&inner.thread) = Some(thread);
        Ok(audit)
    }

    /// Writes a line; answered when it is durable. No change is made, or answered, without.
    pub async fn change(&self, line: Line) -> Result<(), AuditError> {
        let (tell, told) = oneshot::channel();
        self.push(line, Some(tell));
        told.await.unwrap_or(Err(AuditError::Closed))
    }

    /// The same for who is on no runtime.
    pub fn change_blocking(&self, line: Line) -> Result<(), AuditError> {
        let (tell, told) = oneshot::channel();
        self.push(line, Some(tell));
        told.blocking_recv().unwrap_or(Err(AuditError::Closed))
    }

    /// Writes the line of a refusal, or counts it; never waits.
    pub fn refused(&self, line: impl FnOnce() -> Line, address: Option<IpAddr>) {
        let low = (self.0.low)();
        {
            let mut queue = lock(&self.0.queue);
            let room = !low && queue.lines.len() < WAITING_MAX;
            if room && !queue.flood.admits(address, Instant::now()) {
                // The thread looks when the second is over.
                queue.since.get_or_insert_with(Instant::now);
                self.0.wake.notify_one();
                return;
            }
            if !room {
                queue.left_out += 1;
                queue.since.get_or_insert_with(Instant::now);
                drop(queue);
                lock(&self.0.state).status.unwritten += 1;
                return;
            }
        }
        self.push(line(), None);
    }

    /// Whether object reads and writes have lines.
    pub fn wants_objects(&self) -> bool {
        self.0.objects
    }

    /// Writes the line of an object that was read or written. Waits when more lines come than the disk takes.
    pub async fn object(&self, line: Line) -> Result<(), AuditError> {
        if lock(&self.0.queue).lines.len() < WAITING_MAX {
            self.push(line, None);
            return Ok(());
        }
        self.change(line).await
    }

    fn push(&self, mut line: Line, tell: Option<oneshot::Sender<Result<(), AuditError>>>) {
        line.time = rfc3339(now_ms());
        line.node.clone_from(&self.0.place.node);
        let mut queue = lock(&self.0.queue);
        if queue.ends {
            return;
        }
        if tell.is_some() {
            queue.awaited += 1;
        } else {
            queue.since.get_or_insert_with(Instant::now);
        }
        queue.lines.push((line, tell));
        self.0.wake.notify_one();
    }

    /// How the log is; what was found of other logs and not accepted counts too.
    pub fn status(&self) -> AuditStatus {
        let state = lock(&self.0.state);
        let mut status = state.status.clone();
        for (name, why) in state.memory.all().filter_map(|(name, known)| Some((name, known.finding.as_ref()?))) {
            status.findings += 1;
            status.finding.get_or_insert_with(|| format!("{name}: {why}"));
        }
        status
    }

    /// Where it ends; none before it could be opened.
    pub fn head(&self) -> Option<AuditHead> {
        lock(&self.0.state).head
    }

    /// Where it ended when it was opened, and where it ends now.
    pub fn ends(&self) -> Option<(AuditHead, AuditHead)> {
        let state = lock(&self.0.state);
        state.opened.zip(state.head)
    }

    /// Another node says where its log ends.
    pub fn heard(&self, name: &NodeName, said: Said) {
        let (moved, finding) = lock(&self.0.state).memory.heard(name, said);
        if let Some(why) = finding {
            log::error!(node:% = name, why; "the audit log of another node: see docs/operations.md, 'Audit log'");
        }
        if moved {
            lock(&self.0.state).remember = true;
        }
    }

    /// What is remembered of another node: where its log ended before its present start, and where it does now.
    pub fn remembered(&self, name: &NodeName) -> Option<(Option<AuditHead>, AuditHead)> {
        lock(&self.0.state).memory.of(name).map(|known| (known.before, known.last))
    }

    /// Seals what is sealed under another generation than the one that seals under that one; how many files there were.
    /// It may be called at any time, and again: see `rewrap`.
    pub fn rewrap(&self) -> Result<u64, AuditError> {
        let Place { disk, dir, ring, begins, .. } = &self.0.place;
        // A file that is about to begin, under the generation before, is among those that are listed; one that begins
        // later is under the one that seals now.
        drop(lock(begins));
        let done = rewrap(disk.as_ref(), dir, ring);
        drop(lock(&self.0.remembering));
        let is_due = memory_kek(disk.as_ref(), dir)?.is_some_and(|kek| kek != ring.active());
        match !is_due || self.remember() {
            true => done,
            false => Err(AuditError::Unwritten("what is remembered of other logs could not be sealed anew".to_owned())),
        }
    }

    /// The generations that its files are sealed under.
    pub fn sealed_under(&self) -> Result<BTreeSet<KekId>, AuditError> {
        let Place { disk, dir, .. } = &self.0.place;
        Ok(generations(disk.as_ref(), dir)?.into_keys().collect())
    }

    /// Something is wrong with this log.
    pub(super) fn found(&self, why: String) {
        log::error!(why; "the audit log: see docs/operations.md, 'Audit log'");
        let status = &mut lock(&self.0.state).status;
        status.findings += 1;
        status.finding.get_or_insert(why);
    }

    /// Writes what waits, and this line, and ends.
    pub fn stop(&self, last: Line) {
        self.push(last, None);
        lock(&self.0.queue).ends = true;
        self.0.wake.notify_all();
        if let Some(thread) = lock(&self.0.thread).take() {
            // It has said itself why it did not write.
            let _ = thread.join();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one is held leaves no half-made state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
