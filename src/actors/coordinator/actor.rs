//! The CoordinatorActor: what HTTP handlers talk to in a cluster. It takes what a StoreActor takes.
//!
//! Invariants
//! - A write is answered when a majority holds it; a read sees every write that was answered before it,
//!   unless the client asked for what this node holds.
//! - Bodies pass through it by hand-over: it opens and seals nothing.

use crate::actors::coordinator::pages::Stride;
use crate::actors::coordinator::takers::New;
use crate::actors::coordinator::{Coordinator, Wish, ended};
use crate::actors::guard::PanicGuard;
use crate::actors::messages::*;
use crate::actors::peer::forming::Seats;
use crate::actors::status::MembersStatus;
use crate::base::names::RegisterName;
use crate::base::{BodyAt, BucketName, Class, NodeName, ObjectKey, ObjectName, Page, RegisterKey, State};
use crate::register::Seat as Seated;
use crate::seal::layout::Layout;
use crate::store::listing::Folding;
use crate::store::voting::record_of;
use crate::wire::StreamHead;
use actix::prelude::*;
use bytes::Bytes;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a walk over a range may take that has to be seen as a whole.
const WALK_TIME: Duration = Duration::from_secs(60);
const MUCH_DELETED: &str =
    "the names of what was deleted take too long to look through; nothing was changed, try again later";
/// How often a reader looks again for an object that was replaced while it was being opened.
const REPLACED_MAX: usize = 8;
/// How long a node of a new member list may take to be heard, and how often that is looked at.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Coordinates the requests of one HTTP worker.
pub struct CoordinatorActor {
    coordinator: Coordinator,
    seats: Arc<Mutex<Seats>>,
    _guard: PanicGuard,
}

impl CoordinatorActor {
    /// An actor over a coordinator of the same arbiter.
    pub fn new(coordinator: Coordinator, seats: Arc<Mutex<Seats>>) -> Self {
        CoordinatorActor { coordinator, seats, _guard: PanicGuard::abort() }
    }

    fn run<T: 'static>(&self, work: impl AsyncFnOnce(Coordinator) -> T + 'static) -> ResponseFuture<T> {
        let coordinator = self.coordinator.clone();
        Box::pin(async move {
            let _guard = PanicGuard::abort();
            work(coordinator).await
        })
    }
}

impl Actor for CoordinatorActor {
    type Context = Context<Self>;
}

/// `NoSuchBucket` unless the bucket is there. What this node knows is enough for "yes".
async fn check_bucket(c: &Coordinator, bucket: &BucketName) -> Result<(), ObjectError> {
    if c.knows(bucket).await {
        return Ok(());
    }
    // A bucket that was made through another node may have yet to come here.
    let (_, state) = c.read(&RegisterKey::bucket(bucket)).await?;
    match state.value.is_some_and(|record| record.state == State::Bucket) {
        true => Ok(()),
        false => Err(StoreError::NoSuchBucket.into()),
    }
}

async fn list(c: &Coordinator, msg: &ListObjects) -> Result<ListPage, ObjectError> {
    let (early, deadline) = (c.page_deadline(), c.deadline());
    check_bucket(c, &msg.bucket).await?;
    // No key begins with what is longer than a key; and what lies behind it lies behind its beginning.
    if msg.prefix.len() > ObjectKey::BYTES_MAX {
        return Ok(ListPage::default());
    }
    let after = msg.after.as_deref().map(|after| &after[..after.floor_char_boundary(ObjectKey::BYTES_MAX)]);
    let mut folding = Folding::new(&msg.bucket, &msg.prefix, msg.delimiter.as_deref(), after, msg.limit);
    let mut stride = Stride::new(msg.limit);
    while let Some(from) = folding.next() {
        let (names, step) = (folding.names(), c.merged(from, folding.end(), stride.registers(), deadline).await?);
        let entries = step.found.into_iter().map(|(key, slot)| (key, Arc::new(record_of(&slot)))).collect();
        folding.take(Page { entries, complete: step.complete });
        stride.stepped(folding.names() > names);
        if actix_rt::time::Instant::now() >= early && folding.stop() {
            break;
        }
    }
    Ok(folding.page())
}

/// Walks over what a majority holds of a range, until `see` has seen enough or all of it.
async fn walk(
    c: &Coordinator,
    (first, end): (RegisterKey, RegisterKey),
    mut stride: Stride,
    mut see: impl FnMut(RegisterKey, RegisterSlot) -> Seen,
) -> Result<(), ObjectError> {
    let until = Instant::now() + WALK_TIME;
    let mut next = Some(Bound::Included(first));
    while let Some(from) = next {
        if Instant::now() >= until {
            return Err(ObjectError::OutOfTime(MUCH_DELETED));
        }
        let step = c.merged(from, &end, stride.registers(), c.deadline()).await?;
        next = step.complete.next();
        let mut brought = false;
        for (key, slot) in step.found {
            match see(key, slot) {
                Seen::Nothing => {}
                Seen::Some => brought = true,
                Seen::Enough => return Ok(()),
            }
        }
        stride.stepped(brought);
    }
    Ok(())
}

/// What a register was to whoever walks.
enum Seen {
    Nothing,
    Some,
    Enough,
}

/// Whether a majority holds no object of the bucket.
async fn is_empty(c: &Coordinator, bucket: &BucketName) -> Result<bool, ObjectError> {
    let range = (RegisterKey::object_prefix(bucket, ""), RegisterKey::objects_end(bucket));
    let mut empty = true;
    walk(c, range, Stride::new(1), |_, slot| match slot.state.value.is_some_and(|record| record.is_present()) {
        true => {
            empty = false;
            Seen::Enough
        }
        false => Seen::Nothing,
    })
    .await?;
    Ok(empty)
}

async fn open(c: &Coordinator, at: ObjectName) -> Result<(RegisterKey, Arc<crate::base::Record>), ObjectError> {
    let key = RegisterKey::object(&at);
    // Before the read: in a later epoch what was read may have been dropped by all, and must not be learned here.
    let epoch = c.epoch();
    let (ballot, state) = c.read(&key).await?;
    let slot = RegisterSlot { accepted: ballot, chosen: true, state };
    let present = slot.state.value.as_ref().is_some_and(|record| record.object().is_some());
    if !present {
        // Only now: an object that is there needs no second question.
        check_bucket(c, &at.bucket).await?;
        return Err(StoreError::NoSuchKey.into());
    }
    let record = match &slot.state.value {
        Some(record) if record.ballot == ballot => Arc::clone(record),
        _ => Arc::new(record_of(&slot)),
    };
    // A body that is fetched from a peer is mended by what this node holds of the key.
    if record.object().is_some_and(|object| object.at == BodyAt::Blob) {
        match c.learn(&key, slot, epoch).await {
            Ok(()) => {}
            // A full, read-only or damaged store learns nothing: then its body is here, or comes from a peer as it is.
            Err(error) if matches!(error.class(), Class::Full | Class::Internal | Class::Corrupt) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((key, record))
}

impl Handler<PutSmall> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: PutSmall, _: &mut Context<Self>) -> Self::Result {
        let PutSmall { at, condition, head, body, permit } = msg;
        self.run(async move |c| {
            check_bucket(&c, &at.bucket).await?;
            let bytes = body.iter().map(|piece| piece.len() as u64).sum();
            c.check_takers(&RegisterKey::object(&at), Some(New::Record(bytes))).await?;
            // Sealed once, before the vote, so that all copies are the same bytes.
            let object = c.ask(SealSmall { head, body }).await?;
            let written = c.store(&at, condition, object, None).await;
            drop(permit);
            written
        })
    }
}

impl Handler<BeginUpload> for CoordinatorActor {
    type Result = ResponseFuture<Result<Upload, ObjectError>>;
    fn handle(&mut self, msg: BeginUpload, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            c.reachable().await?;
            check_bucket(&c, &msg.at.bucket).await?;
            let bytes = msg.len_hint.and_then(|len| Layout::default().sealed_len(len));
            c.check_takers(&RegisterKey::object(&msg.at), Some(New::Body(bytes.unwrap_or(0)))).await?;
            c.refuse_early(&msg.at, &msg.condition).await?;
            let bytes_max = bytes.unwrap_or(u64::MAX);
            let body = c.ask(StageUpload(msg)).await?;
            let streams = c.streams(StreamHead { body: body.body(), bytes_max });
            Ok(Upload { body, streams })
        })
    }
}

/// The same bytes in slices of at most `most`.
fn parts(piece: &Bytes, most: usize) -> impl Iterator<Item = Bytes> {
    (0..piece.len()).step_by(most).map(move |at| piece.slice(at..piece.len().min(at + most)))
}

impl Handler<AppendUpload> for CoordinatorActor {
    type Result = ResponseFuture<Result<Upload, ObjectError>>;
    fn handle(&mut self, AppendUpload { upload, data }: AppendUpload, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            let Upload { mut body, mut streams } = upload;
            let Some(ways) = &mut streams else {
                (body, _) = c.ask(SealPieces { upload: body, data, copy: false }).await?;
                return Ok(Upload { body, streams });
            };
            // What waits for a peer is counted in pieces of this length.
            for part in data.iter().flat_map(|piece| parts(piece, PIECE_BYTES)) {
                let sealed;
                (body, sealed) = c.ask(SealPieces { upload: body, data: vec![part], copy: true }).await?;
                ways.send(sealed).await;
            }
            Ok(Upload { body, streams })
        })
    }
}

impl Handler<FinishUpload> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, FinishUpload { upload }: FinishUpload, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            let Upload { body, mut streams } = upload;
            let id = body.body();
            let (sealed, last) = c.ask(SealLast { upload: body }).await?;
            if let (Some(streams), Some(blob)) = (&mut streams, sealed.object().blob()) {
                // The peers make it durable while this node does.
                streams.end(last, blob).await;
            }
            let landed = match c.ask(LandUpload { sealed }).await {
                Ok(landed) => landed,
                Err(error) => {
                    c.take_back(id);
                    return Err(error);
                }
            };
            let written = c.store(&landed.at, landed.condition.clone(), landed.object.clone(), streams).await;
            match &written {
                Ok(_) => landed.settle(),
                // Nothing of it was ever voted on, or it lost for good.
                Err(
                    ObjectError::Store(StoreError::Precondition | StoreError::Full)
                    | ObjectError::NoMajority(_)
                    | ObjectError::Contended
                    | ObjectError::Crowded,
                ) => {
                    c.take_back(id);
                    landed.remove();
                }
                Err(_) => {}
            }
            written
        })
    }
}

impl Handler<OpenObject> for CoordinatorActor {
    type Result = ResponseFuture<Result<(ObjectInfo, Download), ObjectError>>;
    fn handle(&mut self, msg: OpenObject, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            if msg.consistency == Consistency::Local {
                return c.ask(msg).await;
            }
            let (mut key, mut record) = open(&c, msg.at.clone()).await?;
            let mut permit = msg.permit;
            let mut same_again = true;
            for _ in 0..REPLACED_MAX {
                let (of, permit) = (Arc::clone(&record), permit.take());
                match c.ask(OpenRecord { key: key.clone(), record: of, permit }).await {
                    // Its body may be gone because it was replaced in between: then there is a newer one to read.
                    Err(error) if error.is_damage() => {
                        let found = open(&c, msg.at.clone()).await?;
                        // Or this node forgot it in between, when it was given its place anew: it knows it again now.
                        if found.1.ballot == record.ballot && !std::mem::take(&mut same_again) {
                            return Err(error);
                        }
                        (key, record) = found;
                    }
                    done => return done,
                }
            }
            Err(ObjectError::Contended)
        })
    }
}

impl Handler<DeleteObject> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: DeleteObject, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            let key = RegisterKey::object(&msg.at);
            match check_bucket(&c, &msg.at.bucket).await {
                Ok(()) => {}
                // What has lost its bucket meanwhile can be deleted all the same.
                Err(ObjectError::Store(StoreError::NoSuchBucket)) if c.holds(&key).await? => {}
                Err(error) => return Err(error),
            }
            c.check_takers(&key, None).await?;
            let conditional = !msg.condition.is_none();
            let outcome = c.change(key, Wish::gone(msg.condition)).await?;
            ended(outcome, conditional)
        })
    }
}

impl Handler<CreateBucket> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: CreateBucket, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            let key = RegisterKey::bucket(&msg.bucket);
            // One that is there already is no write.
            if !c.knows(&msg.bucket).await {
                c.check_takers(&key, Some(New::Record(0))).await?;
            }
            ended(c.change(key, Wish::bucket()).await?, false)
        })
    }
}

impl Handler<DeleteBucket> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: DeleteBucket, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            let bucket = msg.bucket;
            check_bucket(&c, &bucket).await?;
            // Looking and deleting are two decisions: an object that comes in between stays behind (README, "Limits").
            if !is_empty(&c, &bucket).await? {
                return Err(StoreError::BucketNotEmpty.into());
            }
            let outcome = c.change(RegisterKey::bucket(&bucket), Wish::gone(crate::base::Condition::NONE)).await?;
            match ended(outcome, false)? {
                written if written.existed => Ok(written),
                _ => Err(StoreError::NoSuchBucket.into()),
            }
        })
    }
}

impl Handler<ListBuckets> for CoordinatorActor {
    type Result = ResponseFuture<Result<Vec<(BucketName, u64)>, ObjectError>>;
    fn handle(&mut self, msg: ListBuckets, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            if msg.consistency == Consistency::Local {
                return c.ask(msg).await;
            }
            let mut found = Vec::new();
            walk(&c, RegisterKey::buckets(), Stride::new(usize::MAX), |key, slot| {
                let record = slot.state.value.filter(|record| record.state == State::Bucket);
                let (Some(record), Some(RegisterName::Bucket(name))) = (record, key.name()) else {
                    return Seen::Nothing;
                };
                found.push((name, record.written_ms));
                Seen::Some
            })
            .await?;
            Ok(found)
        })
    }
}

/// The places of these nodes; and the first list of a cluster, if this node is to begin one alone.
fn resolve(seats: &Mutex<Seats>, names: &[NodeName]) -> (Result<Vec<Seated>, Unseatable>, Option<Roster>) {
    let (seats, now) = (seats.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    let resolved = seats.resolve(now, names);
    let alone = resolved.as_ref().is_ok_and(|found| *found == [seats.me()]);
    let first = if alone { seats.found_alone(now, crate::store::system_ms()) } else { None };
    (resolved, first)
}

impl Handler<ChangeMembers> for CoordinatorActor {
    type Result = ResponseFuture<Result<Roster, Unseatable>>;
    fn handle(&mut self, ChangeMembers { names, since }: ChangeMembers, _: &mut Context<Self>) -> Self::Result {
        let seats = Arc::clone(&self.seats);
        self.run(async move |c| {
            let until = Instant::now() + HEARD_WITHIN;
            let (resolved, first) = loop {
                let (resolved, first) = resolve(&seats, &names);
                match resolved {
                    // Its heartbeat may be under way: a link that was lost a moment ago says nothing yet.
                    Err(Unseatable::Silent(_)) if Instant::now() < until => actix_rt::time::sleep(LOOK_EVERY).await,
                    resolved => break (resolved, first),
                }
            };
            let seats = resolved?;
            // Without a list nobody votes: the first one is founded, not decided.
            if let Some(first) = first.filter(|_| c.roster().is_none()) {
                c.ask(Seat { seating: Seating::Adopt(Arc::new(first)) }).await?;
                return c.change_members(&seats, None).await.map(|roster| (*roster).clone()).map_err(Unseatable::from);
            }
            if let Some(since) = since.filter(|since| *since != c.epoch()) {
                log::info!(since = since.0, epoch = c.epoch().0; "a change of an older member list is refused");
                return Err(Unseatable::Moved(c.epoch()));
            }
            let next = c.roster().filter(|list| list.before.is_empty()).map(|list| list.next(0, &seats));
            if next.is_some_and(|next| next.members().is_none()) {
                return Err(Unseatable::TooMany);
            }
            let roster = c.change_members(&seats, since).await?;
            match roster.same_seats(&seats) {
                true => Ok((*roster).clone()),
                false => Err(Unseatable::Moved(roster.epoch)),
            }
        })
    }
}

impl Handler<ShowMembers> for CoordinatorActor {
    type Result = MessageResult<ShowMembers>;
    fn handle(&mut self, _: ShowMembers, _: &mut Context<Self>) -> Self::Result {
        let roster = self.coordinator.roster();
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let full = roster.as_deref().map(|list| self.coordinator.full_of(list)).unwrap_or_default();
        MessageResult(MembersStatus { full, ..seats.show(Instant::now(), roster.as_deref()) })
    }
}

impl Handler<ListObjects> for CoordinatorActor {
    type Result = ResponseFuture<Result<ListPage, ObjectError>>;
    fn handle(&mut self, msg: ListObjects, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| match msg.consistency {
            Consistency::Local => c.ask(msg).await,
            Consistency::Majority => list(&c, &msg).await,
        })
    }
}
