//! Appending: what waits is written together, with one sync.
//!
//! Invariants
//! - Whoever waits hears of a place only behind the sync of all that was written for it; until something durable names
//!   the place it holds a claim.
//! - A group begins at a multiple of `ALIGN`: no block that holds something durable is written again.
//! - After a write that failed for want of room nothing is known to be wrong with the file: the next group is written
//!   over what it left. After any other failure the segment takes nothing any more.

use super::entry::{ALIGN, HEAD_BYTES, encode_entry_head, encode_head};
use super::{Segments, lock};
use crate::base::BlobRef;
use crate::disk::{DiskFile, shortage};
use crate::store::error::{DiskOp, StoreError};
use crate::store::places::{ENTRY_HEAD_BYTES, Place, SegmentId};
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, select, unbounded};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// A group takes no further body once it has this many bytes.
const GROUP_BYTES: u64 = 16 << 20;
/// Heads and short bodies are written together up to so many bytes.
const GATHERED_BYTES: usize = 32 * 1024;

/// A sealed body that is to have a place.
#[derive(Debug)]
pub struct NewBody {
    /// What it is.
    pub blob: BlobRef,
    /// All of its bytes.
    pub sealed: Bytes,
}

/// Where the place of a body is told, once it is durable there.
pub type Placed = oneshot::Receiver<Result<Claim, StoreError>>;

type Waiting = (NewBody, oneshot::Sender<Result<Claim, StoreError>>);

/// Bodies that were queued together, and are written together.
type Batch = Vec<Waiting>;

/// How many bodies of each segment have a place that nothing durable names yet.
type Claims = Arc<Mutex<BTreeMap<SegmentId, u64>>>;

/// A place that nothing durable may name yet. While it is held its segment stays.
#[derive(Debug)]
pub struct Claim {
    place: Place,
    claims: Claims,
}

impl Claim {
    fn new(place: Place, claims: &Claims) -> Self {
        *lock(claims).entry(place.segment).or_default() += 1;
        Claim { place, claims: Arc::clone(claims) }
    }

    /// The place.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = lock(&self.claims);
        if let Some(count) = claims.get_mut(&self.place.segment) {
            *count -= 1;
            if *count == 0 {
                claims.remove(&self.place.segment);
            }
        }
    }
}

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Queue {
    to: Sender<Batch>,
    from: Receiver<Batch>,
}

impl Default for Queue {
    fn default() -> Self {
        let (to, from) = unbounded();
        Queue { to, from }
    }
}

/// The segment that bodies are appended to.
#[derive(Debug, Default)]
pub(super) struct Writing {
    open: Option<Open>,
    claims: Claims,
}

#[derive(Debug)]
struct Open {
    file: Box<dyn DiskFile>,
    segment: SegmentId,
    /// Where the next group begins, at the earliest.
    end: u64,
}

impl Writing {
    pub(super) fn segment(&self) -> Option<SegmentId> {
        self.open.as_ref().map(|open| open.segment)
    }

    /// Whether its files must stay: bodies are appended to it, or have places in it that nothing names yet.
    pub(super) fn needs(&self, segment: SegmentId) -> bool {
        self.segment() == Some(segment) || lock(&self.claims).contains_key(&segment)
    }

    /// Ends a segment that takes bodies, unless it has places that nothing names yet. Whether nothing needs it now.
    pub(super) fn close(&mut self, segment: SegmentId) -> bool {
        if lock(&self.claims).contains_key(&segment) {
            return false;
        }
        if self.segment() == Some(segment) {
            self.open = None;
        }
        true
    }

    pub(super) fn resume(&mut self, file: Box<dyn DiskFile>, segment: SegmentId, end: u64) {
        self.open = Some(Open { file, segment, end });
    }
}

impl Segments {
    /// Queues a body. Its place comes when it is durable there; a reply that is dropped says that the store is closing.
    pub fn append(&self, body: NewBody) -> Placed {
        let (reply, placed) = oneshot::channel();
        self.enqueue(vec![(body, reply)]);
        placed
    }

    /// Queues several, which are written together as far as one segment holds them.
    pub fn append_all(&self, bodies: Vec<NewBody>) -> Vec<Placed> {
        let waiting = bodies.into_iter().map(|body| {
            let (reply, placed) = oneshot::channel();
            ((body, reply), placed)
        });
        let (batch, placed): (Batch, _) = waiting.unzip();
        if !batch.is_empty() {
            self.enqueue(batch);
        }
        placed
    }

    fn enqueue(&self, batch: Batch) {
        // The receiver lives as long as this.
        let _ = self.queue.to.send(batch);
        // Without a thread for that, whoever queues something writes it.
        if !self.threaded.load(Ordering::Acquire) {
            self.write_waiting();
        }
    }

    /// Writes what comes until the sender of `stopped` is gone, and then what waits. On a thread of its own.
    pub fn run(&self, stopped: &Receiver<()>) {
        self.threaded.store(true, Ordering::Release);
        loop {
            select! {
                recv(self.queue.from) -> first => if let Ok(first) = first {
                    self.write_behind(Some(first));
                },
                recv(stopped) -> _ => break,
            }
        }
        self.threaded.store(false, Ordering::Release);
        self.write_waiting();
    }

    pub(super) fn write_waiting(&self) {
        self.write_behind(None);
    }

    /// Writes `first` and what waits behind it.
    fn write_behind(&self, mut first: Option<Batch>) {
        let mut writing = lock(&self.writing);
        loop {
            let (mut group, mut bytes) = (Vec::new(), 0);
            while bytes < GROUP_BYTES
                && let Some(next) = first.take().or_else(|| self.queue.from.try_recv().ok())
            {
                bytes += next.iter().map(|(body, _)| body.sealed.len() as u64).sum::<u64>();
                group.extend(next);
            }
            if group.is_empty() {
                return;
            }
            self.write_group(&mut writing, group);
        }
    }

    fn write_group(&self, writing: &mut Writing, group: Vec<Waiting>) {
        let mut rest = &group[..];
        let mut results = Vec::with_capacity(group.len());
        while !rest.is_empty() {
            let before = results.len();
            match self.write_run(writing, rest) {
                Ok(places) => results.extend(places.into_iter().map(|place| Ok(Claim::new(place, &writing.claims)))),
                Err(failure) => results.extend(rest.iter().map(|_| Err(failure.to_error(self)))),
            }
            rest = &rest[results.len() - before..];
        }
        for ((_, reply), result) in group.into_iter().zip(results) {
            // Whoever has gone leaves bytes that nothing will name.
            let _ = reply.send(result);
        }
    }

    /// Writes the first bodies of `group`, as many as go to one segment and at least one, durably. Their places.
    fn write_run(&self, writing: &mut Writing, group: &[Waiting]) -> Result<Vec<Place>, Failure> {
        let first = group.first().map_or(0, |(body, _)| body.sealed.len() as u64 + ENTRY_HEAD_BYTES as u64);
        if writing.open.as_ref().is_some_and(|open| open.begin() + first > u64::from(self.bytes_max)) {
            // It is full: all that has a place in it is durable.
            writing.open = None;
        }
        let open = match writing.open.take() {
            Some(open) => open,
            None => self.make()?,
        };
        let (segment, begin) = (open.segment, open.begin());
        let (mut at, mut places) = (begin, Vec::new());
        for (body, _) in group {
            let place = body.at(segment, at)?;
            if place.end() > u64::from(self.bytes_max) && !places.is_empty() {
                break;
            }
            at = place.end();
            places.push(place);
        }
        if let Err(source) = open.write(&places, group) {
            let failure = Failure { op: DiskOp::Write, segment, source };
            if shortage::is_no_room(&failure.source) {
                writing.open = Some(open);
            }
            return Err(failure);
        }
        open.file.sync_data().map_err(|source| Failure { op: DiskOp::Sync, segment, source })?;
        lock(&self.files).insert(segment, at);
        writing.open = Some(Open { end: at, ..open });
        Ok(places)
    }

    /// Creates the file of the next segment. A number under which something else stands is passed over.
    fn create(&self) -> Result<(SegmentId, Box<dyn DiskFile>), Failure> {
        loop {
            let segment = SegmentId(self.next.load(Ordering::Relaxed));
            let fail = |source| Failure { op: DiskOp::Create, segment, source };
            // Where the volume was there may be another directory now, which must not be filled.
            self.room.check_there().map_err(|_| fail(io::ErrorKind::NotFound.into()))?;
            let next = segment.0.checked_add(1).ok_or_else(|| fail(io::Error::other("no number is left")))?;
            self.next.store(next, Ordering::Relaxed);
            match self.disk.create_new(&self.path(segment)) {
                Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.map(|file| (segment, file)).map_err(fail),
            }
        }
    }

    /// Makes the next segment, durable under its name.
    fn make(&self) -> Result<Open, Failure> {
        let (segment, file) = self.create()?;
        let fail = |op| move |source| Failure { op, segment, source };
        let path = self.path(segment);
        let made = file.write_at(0, &encode_head(&self.key, segment)).map_err(fail(DiskOp::Write));
        let made = made.and_then(|()| file.sync_data().map_err(fail(DiskOp::Sync)));
        let made = made.and_then(|()| self.disk.sync_dir(&self.dir).map_err(fail(DiskOp::SyncFolder)));
        if let Err(failure) = made {
            // Best effort: the error that counts is the first one, and the next start removes what is left.
            let _ = self.disk.remove(&path);
            return Err(failure);
        }
        lock(&self.files).insert(segment, HEAD_BYTES as u64);
        Ok(Open { file, segment, end: HEAD_BYTES as u64 })
    }
}

impl Open {
    fn begin(&self) -> u64 {
        self.end.next_multiple_of(u64::from(ALIGN))
    }

    /// Writes bodies to their places, which stand one right behind the other: what is short is gathered.
    fn write(&self, places: &[Place], group: &[Waiting]) -> io::Result<()> {
        let mut gathered: Vec<u8> = Vec::new();
        let mut from = places.first().map_or(0, |place| u64::from(place.offset));
        for (place, (body, _)) in places.iter().zip(group) {
            gathered.extend_from_slice(&encode_entry_head(*place, &body.blob));
            if gathered.len() + body.sealed.len() <= GATHERED_BYTES {
                gathered.extend_from_slice(&body.sealed);
                continue;
            }
            self.file.write_at(from, &gathered)?;
            self.file.write_at(place.body_at(), &body.sealed)?;
            gathered.clear();
            from = place.end();
        }
        if gathered.is_empty() { Ok(()) } else { self.file.write_at(from, &gathered) }
    }
}

impl NewBody {
    fn at(&self, segment: SegmentId, at: u64) -> Result<Place, Failure> {
        let fits = |bytes: u64| u32::try_from(bytes).map_err(|_| too_long(segment));
        Ok(Place { segment, offset: fits(at)?, len: fits(self.sealed.len() as u64)? })
    }
}

fn too_long(segment: SegmentId) -> Failure {
    Failure { op: DiskOp::Write, segment, source: io::ErrorKind::FileTooLarge.into() }
}

/// Why a group has no places. All that waited for it hear it.
struct Failure {
    op: DiskOp,
    segment: SegmentId,
    source: io::Error,
}

impl Failure {
    fn to_error(&self, segments: &Segments) -> StoreError {
        let source = match self.source.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(self.source.kind(), self.source.to_string()),
        };
        segments.failed(self.op, self.segment, source)
    }
}
