//! The CoordinatorActor: what HTTP handlers ask of objects and buckets, on every node. A node that decides alone has
//! its own committer decide.
//!
//! Invariants
//! - A write is answered when a majority holds it: where nobody else has a vote, that is this node.
//! - A read sees every write that was answered before it, unless the client asked for what this node holds.
//! - Bodies pass through it by hand-over: it opens and seals nothing.

use crate::actors::coordinator::Coordinator;
use crate::actors::coordinator::homes::Home;
use crate::actors::coordinator::takers::New;
use crate::actors::guard::PanicGuard;
use crate::actors::messages::*;
use crate::actors::underway::Counted;
use crate::base::{AccessKeyId, ActiveKey};
use crate::seal::layout::Layout;
use crate::store::mutation::Mutation;
use crate::store::system_ms;
use crate::wire::StreamHead;
use actix::prelude::*;
use actix_rt::time::Instant;
use bytes::Bytes;

/// Coordinates the requests of one HTTP worker.
pub struct CoordinatorActor {
    coordinator: Coordinator,
    _guard: PanicGuard,
}

impl CoordinatorActor {
    /// An actor over a coordinator of the same arbiter.
    pub fn new(coordinator: Coordinator) -> Self {
        CoordinatorActor { coordinator, _guard: PanicGuard::abort() }
    }

    pub(super) fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    fn run<T: 'static>(&self, work: impl AsyncFnOnce(Coordinator) -> T + 'static) -> ResponseFuture<T> {
        run(&self.coordinator, work)
    }
}

/// Work of a coordinator beside an actor's mailbox.
pub(super) fn run<T: 'static>(
    coordinator: &Coordinator,
    work: impl AsyncFnOnce(Coordinator) -> T + 'static,
) -> ResponseFuture<T> {
    let coordinator = coordinator.clone();
    Box::pin(async move {
        let _guard = PanicGuard::abort();
        work(coordinator).await
    })
}

impl Actor for CoordinatorActor {
    type Context = Context<Self>;
}

impl Handler<PutSmall> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: PutSmall, _: &mut Context<Self>) -> Self::Result {
        let PutSmall { at, condition, head, body, sums, expected, permit } = msg;
        self.run(async move |c| {
            let new = Some(New::Record(body.iter().map(|piece| piece.len() as u64).sum()));
            let deadline = c.deadline();
            let home = if c.decides_alone() { None } else { Some(c.admit_put(&at.bucket, new, deadline).await?) };
            let sums = match &home {
                Some(home) => sums.in_bucket(home.etag),
                // What it is set to is asked of the bucket where that counts.
                None if sums.for_etag => sums.in_bucket(c.home(&at.bucket, deadline).await?.etag),
                None => sums,
            };
            // Sealed once, before the vote, so that all copies are the same bytes.
            let seal = SealSmall { at, condition, head, body, sums, expected, alone: home.is_none() };
            let sealed = c.ask(seal).await?;
            let written = c.change_sealed(sealed, home, new, deadline).await;
            drop(permit);
            written
        })
    }
}

impl Handler<BeginUpload> for CoordinatorActor {
    type Result = ResponseFuture<Result<Upload, ObjectError>>;
    fn handle(&mut self, mut msg: BeginUpload, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            let deadline = c.deadline();
            if c.decides_alone() {
                let home = c.home(&msg.at.bucket, deadline).await?;
                // Without a list a condition is asked once, by the commit.
                let is_asked = c.roster().is_some();
                let announced = admit(&c, &home, &msg, is_asked, deadline).await?;
                msg.sums = msg.sums.in_bucket(home.etag);
                return Ok(Upload { body: c.ask(StageUpload(msg)).await?, streams: None, announced });
            }
            let bytes = msg.len_hint.and_then(|len| Layout::default().sealed_len(len));
            let home = c.admit_put(&msg.at.bucket, Some(New::Body(bytes.unwrap_or(0))), deadline).await?;
            let announced = admit(&c, &home, &msg, true, deadline).await?;
            let bytes_max = bytes.unwrap_or(u64::MAX);
            msg.sums = msg.sums.in_bucket(home.etag);
            let body = c.ask(StageUpload(msg)).await?;
            let streams = c.streams(StreamHead { body: body.body(), bytes_max });
            Ok(Upload { body, streams, announced })
        })
    }
}

/// Whether a body may come into a bucket, as things are: its condition holds, if that is to be asked, and there is room for
/// it by the quota. A part has no condition, and replaces no object.
async fn admit(
    c: &Coordinator,
    home: &Home,
    msg: &BeginUpload,
    is_asked: bool,
    deadline: Instant,
) -> Result<Option<Counted>, ObjectError> {
    if msg.part.is_some() {
        return c.announce_part(home, msg.len_hint);
    }
    if is_asked {
        c.check_condition(home, &msg.at, &msg.condition, deadline).await?;
    }
    c.announce(home, &msg.at, msg.len_hint).await
}

/// The bytes of a piece, in slices of at most `most`.
fn parts(piece: &Bytes, most: usize) -> impl Iterator<Item = Bytes> {
    (0..piece.len()).step_by(most).map(move |at| piece.slice(at..piece.len().min(at + most)))
}

impl Handler<AppendUpload> for CoordinatorActor {
    type Result = ResponseFuture<Result<Upload, ObjectError>>;
    fn handle(&mut self, AppendUpload { upload, data }: AppendUpload, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            let Upload { mut body, mut streams, announced } = upload;
            let Some(ways) = streams.as_mut().filter(|ways| !ways.goes_later()) else {
                (body, _) = c.ask(SealPieces { upload: body, data, copy: false }).await?;
                return Ok(Upload { body, streams, announced });
            };
            // What waits for a peer is counted in pieces of this length.
            for part in data.iter().flat_map(|piece| parts(piece, PIECE_BYTES)) {
                let sealed;
                (body, sealed) = c.ask(SealPieces { upload: body, data: vec![part], copy: true }).await?;
                ways.send(sealed).await;
            }
            Ok(Upload { body, streams, announced })
        })
    }
}

impl Handler<FinishUpload> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, FinishUpload { upload, expected }: FinishUpload, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| {
            let Upload { body, mut streams, announced } = upload;
            let id = body.body();
            let landed = match &mut streams {
                None => c.ask(LandUpload { upload: body, expected }).await,
                Some(streams) => {
                    let copy = !streams.goes_later();
                    let (sealed, last) = c.ask(SealLast { upload: body, expected, copy }).await?;
                    // The peers make it durable while this node does.
                    match (sealed.object().blob(), sealed.whole()) {
                        (Some(blob), _) if copy => streams.end(last, blob).await,
                        (Some(blob), Some(whole)) => streams.hand_over(blob, whole),
                        (Some(_), None) | (None, _) => {}
                    }
                    c.ask(LandSealed { sealed }).await
                }
            };
            let landed = landed.inspect_err(|_| c.take_back(id))?;
            // It has come: from here on it counts as what is being decided.
            drop(announced);
            let written = c.finish(landed.mutation(), streams).await;
            match &written {
                Ok(_) => landed.settle(),
                // Nothing of it was ever voted on, or it lost for good.
                Err(
                    ObjectError::Store(
                        StoreError::NoSuchBucket
                        | StoreError::Precondition
                        | StoreError::QuotaExceeded
                        | StoreError::Full,
                    )
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

impl Handler<CopyObject> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: CopyObject, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| c.copy(msg).await)
    }
}

impl Handler<OpenObject> for CoordinatorActor {
    type Result = ResponseFuture<Result<(ObjectInfo, Download), ObjectError>>;
    fn handle(&mut self, msg: OpenObject, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| match msg.consistency {
            Consistency::Local => c.ask(msg).await,
            Consistency::Majority => c.open(msg).await,
        })
    }
}

impl Handler<DeleteObject> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: DeleteObject, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| c.change(Mutation::delete(&msg.at, msg.condition, system_ms()), None, None).await)
    }
}

impl Handler<CreateBucket> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: CreateBucket, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| c.create_bucket(&msg.bucket).await)
    }
}

impl Handler<DeleteBucket> for CoordinatorActor {
    type Result = ResponseFuture<Result<Written, ObjectError>>;
    fn handle(&mut self, msg: DeleteBucket, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| c.delete_bucket(&msg.bucket).await)
    }
}

impl Handler<SetBucket> for CoordinatorActor {
    type Result = ResponseFuture<Result<BucketSet, ObjectError>>;
    fn handle(&mut self, msg: SetBucket, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| c.set_bucket(msg).await)
    }
}

impl Handler<CreateAccess> for CoordinatorActor {
    type Result = ResponseFuture<Result<(AccessKeyId, AccessSecret), ObjectError>>;
    fn handle(&mut self, msg: CreateAccess, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| c.create_access(msg).await)
    }
}

impl Handler<ChangeAccess> for CoordinatorActor {
    type Result = ResponseFuture<Result<(Written, Option<AccessSecret>), ObjectError>>;
    fn handle(&mut self, msg: ChangeAccess, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| c.change_access(msg).await)
    }
}

impl Handler<RotateKeys> for CoordinatorActor {
    type Result = ResponseFuture<Result<ActiveKey, Unrotated>>;
    fn handle(&mut self, msg: RotateKeys, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| c.rotate_keys(msg).await)
    }
}

impl Handler<ListBuckets> for CoordinatorActor {
    type Result = ResponseFuture<Result<Vec<BucketInfo>, ObjectError>>;
    fn handle(&mut self, msg: ListBuckets, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| match msg.consistency {
            Consistency::Local => c.ask(msg).await,
            Consistency::Majority => c.list_buckets().await,
        })
    }
}

impl Handler<ListObjects> for CoordinatorActor {
    type Result = ResponseFuture<Result<ListPage, ObjectError>>;
    fn handle(&mut self, msg: ListObjects, _: &mut Context<Self>) -> Self::Result {
        self.run(async move |c| match msg.consistency {
            Consistency::Local => c.ask(msg).await,
            Consistency::Majority => c.list(&msg).await,
        })
    }
}
