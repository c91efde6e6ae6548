//! What coordinators ask of the store: votes, what this node decides alone, and bodies on their way to either.

use super::threads::Threads;
use super::{StoreActor, guarded, holding};
use crate::actors::messages::*;
use crate::base::{BucketName, Class, ObjectRecord, Page, RegisterKey};
use crate::store::intent::{wait_votes, written};
use crate::store::mutation::Mutation;
use crate::store::{Store, StoreError, wait};
use crate::wire::Closed;
use actix::prelude::*;
use std::sync::Arc;

/// Bodies up to this many bytes are sealed and opened on the arbiter: cheaper than the hop.
const ON_ARBITER_BYTES: usize = 64 * 1024;

impl Handler<MutateHere> for StoreActor {
    type Result = ResponseFuture<Result<Decided<Written>, StoreError>>;
    fn handle(&mut self, MutateHere(mutation): MutateHere, _: &mut Context<Self>) -> Self::Result {
        let answer = decide_alone(&self.store, mutation);
        guarded(answer)
    }
}

impl Handler<SealSmall> for StoreActor {
    type Result = ResponseFuture<Result<Decided<Written>, StoreError>>;
    fn handle(&mut self, msg: SealSmall, _: &mut Context<Self>) -> Self::Result {
        let (store, threads) = (Arc::clone(&self.store), self.threads.clone());
        guarded(async move {
            let (at, condition, alone) = (msg.at.clone(), msg.condition.clone(), msg.alone);
            let object = seal(&store, &threads, msg).await?;
            let put = Mutation::put(&at, condition, object, store.now_ms());
            if alone { decide_alone(&store, put).await } else { Ok(Decided::ForVote(put)) }
        })
    }
}

/// Queued at once, so that the order of commits is that of the mailbox.
pub(super) fn decide_alone(
    store: &Store,
    mutation: Mutation,
) -> impl Future<Output = Result<Decided<Written>, StoreError>> + use<> {
    let sums = mutation.sums();
    let answer = store.mutate(mutation);
    async move {
        Ok(match wait(answer).await? {
            Decided::Alone(outcome) => Decided::Alone(written(outcome, sums)),
            Decided::ForVote(mutation) => Decided::ForVote(mutation),
            Decided::Closing(mutation) => Decided::Closing(mutation),
        })
    }
}

async fn seal(store: &Arc<Store>, threads: &Threads, msg: SealSmall) -> Result<Box<ObjectRecord>, StoreError> {
    let SealSmall { head, body, sums, expected, .. } = msg;
    let len: usize = body.iter().map(bytes::Bytes::len).sum();
    if len <= ON_ARBITER_BYTES {
        return store.seal_summed(head, &body, sums, &expected);
    }
    let store = Arc::clone(store);
    let sealed = threads.run(move || store.seal_summed(head, &body, sums, &expected)).await;
    sealed.unwrap_or(Err(StoreError::ShuttingDown))
}

impl Handler<StageUpload> for StoreActor {
    type Result = ResponseFuture<Result<StoreUpload, StoreError>>;
    fn handle(&mut self, StageUpload(msg): StageUpload, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| {
            let BeginUpload { at, condition, head, part, len_hint, sums, permit } = msg;
            let upload = match part {
                Some(part) => store.begin_part(at, part, len_hint, permit)?,
                None => store.begin_upload(at, condition, head, len_hint, permit)?,
            };
            Ok(upload.with_sums(sums))
        })
    }
}

impl Handler<SealUpload> for StoreActor {
    type Result = Result<Box<ObjectRecord>, StoreError>;
    fn handle(&mut self, msg: SealUpload, _: &mut Context<Self>) -> Self::Result {
        self.store.seal_upload(msg.upload, msg.head, msg.checksum)
    }
}

impl Handler<LandUpload> for StoreActor {
    type Result = ResponseFuture<Result<Landed, StoreError>>;
    fn handle(&mut self, LandUpload { upload, expected }: LandUpload, _: &mut Context<Self>) -> Self::Result {
        let placing: ResponseFuture<Result<_, StoreError>> =
            self.on_thread(move |_| upload.seal(&expected, |_| {})?.place());
        Box::pin(async move { placing.await?.ended().await })
    }
}

impl Handler<LandSealed> for StoreActor {
    type Result = ResponseFuture<Result<Landed, StoreError>>;
    fn handle(&mut self, LandSealed { sealed }: LandSealed, _: &mut Context<Self>) -> Self::Result {
        let placing: ResponseFuture<Result<_, StoreError>> = self.on_thread(move |_| sealed.place());
        Box::pin(async move { placing.await?.ended().await })
    }
}

impl Handler<SealPieces> for StoreActor {
    type Result = ResponseFuture<Result<(StoreUpload, bytes::Bytes), StoreError>>;
    fn handle(&mut self, SealPieces { mut upload, data, copy }: SealPieces, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| {
            if !copy {
                upload.append(&data, |_| {})?;
                return Ok((upload, bytes::Bytes::new()));
            }
            // With tags, and with what was held back of the chunk before.
            let len: usize = data.iter().map(bytes::Bytes::len).sum();
            let mut copied = Vec::with_capacity(len + len / 8);
            upload.append(&data, |sealed| copied.extend_from_slice(sealed))?;
            Ok((upload, copied.into()))
        })
    }
}

impl Handler<SealLast> for StoreActor {
    type Result = ResponseFuture<Result<(Sealed, bytes::Bytes), StoreError>>;
    fn handle(&mut self, SealLast { upload, expected, copy }: SealLast, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| {
            let mut copied = Vec::new();
            let sealed = upload.seal(&expected, |sealed| {
                if copy {
                    copied.extend_from_slice(sealed);
                }
            })?;
            Ok((sealed, copied.into()))
        })
    }
}

impl Handler<Peek> for StoreActor {
    type Result = MessageResult<Peek>;
    fn handle(&mut self, Peek { key }: Peek, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.store.lookup_cached(&key).map(|held| held.slot()))
    }
}

impl Handler<KnowsBucket> for StoreActor {
    type Result = MessageResult<KnowsBucket>;
    fn handle(&mut self, KnowsBucket { bucket }: KnowsBucket, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.store.bucket_slot(&bucket))
    }
}

impl Handler<NameOfBucket> for StoreActor {
    type Result = MessageResult<NameOfBucket>;
    fn handle(&mut self, NameOfBucket { id }: NameOfBucket, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.store.name_of_bucket(id))
    }
}

impl Handler<HoldsClosed> for StoreActor {
    type Result = Result<bool, StoreError>;
    fn handle(&mut self, HoldsClosed(Closed { id, generation }): HoldsClosed, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.holds_closed(id, generation))
    }
}

impl Handler<FindClosing> for StoreActor {
    type Result = Result<Vec<(BucketName, u64)>, StoreError>;
    fn handle(&mut self, _: FindClosing, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.closing_buckets())
    }
}

impl Handler<CastHere> for StoreActor {
    type Result = ResponseFuture<Result<Vec<Option<Reply>>, StoreError>>;
    fn handle(&mut self, CastHere { votes }: CastHere, _: &mut Context<Self>) -> Self::Result {
        if !votes.iter().any(Vote::is_mark) {
            return self.cast(votes);
        }
        // Nobody waits for marks: they wait for a commit, and not even queries wait for them.
        let is_mark: Vec<bool> = votes.iter().map(Vote::is_mark).collect();
        let (marks, votes): (Vec<_>, Vec<_>) = votes.into_iter().partition(Vote::is_mark);
        self.store.mark(marks);
        if votes.is_empty() {
            return Box::pin(std::future::ready(Ok(vec![None; is_mark.len()])));
        }
        let answered = self.cast(votes);
        Box::pin(async move {
            let mut replies = answered.await?.into_iter();
            Ok(is_mark.iter().map(|mark| if *mark { None } else { replies.next().flatten() }).collect())
        })
    }
}

impl StoreActor {
    fn cast(&self, votes: Vec<Vote>) -> ResponseFuture<Result<Vec<Option<Reply>>, StoreError>> {
        let store = Arc::clone(&self.store);
        let cached: Result<Vec<_>, _> = votes.iter().map(|vote| store.query(vote, true)).collect();
        match cached {
            Ok(replies) if replies.iter().all(Option::is_some) => return Box::pin(std::future::ready(Ok(replies))),
            // Queries alone need no commit: what is not in memory is read by a thread, beside the committer.
            Ok(_) if votes.iter().all(Vote::is_query) => {}
            Ok(_) => return guarded(async move { wait_votes(store.vote(votes)).await }),
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        }
        let threads = self.threads.clone();
        guarded(async move {
            let asked = Arc::clone(&store);
            let read = threads.run(move || {
                // A page of the index that does not open costs its own registers this node's vote, and no others.
                let query = |vote| {
                    asked.query(vote, false).or_else(|error| match error.class() {
                        Class::Corrupt => Ok(None),
                        _ => Err(error),
                    })
                };
                let replies: Result<Vec<_>, _> = votes.iter().map(query).collect();
                replies.map(|replies| (votes, replies))
            });
            let (votes, mut replies) = read.await.unwrap_or(Err(StoreError::ShuttingDown))?;
            // What only the committer can answer: another epoch.
            let open: Vec<usize> = (0..replies.len()).filter(|at| replies[*at].is_none()).collect();
            if !open.is_empty() {
                let rest = open.iter().map(|at| votes[*at].clone()).collect();
                // A store that takes no writes any more has no answer to these; it has to the others.
                let answers = wait_votes(store.vote(rest)).await.unwrap_or_default();
                for (at, reply) in open.into_iter().zip(answers) {
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
        match self.store.open_record_cached(&key, &record) {
            Some(opened) => Box::pin(std::future::ready(Ok(holding(opened, permit)))),
            None => {
                let reader = self.reader();
                guarded(async move { Ok(holding(reader.open_record(key, record).await?, permit)) })
            }
        }
    }
}

impl Handler<ScanSlots> for StoreActor {
    type Result = ResponseFuture<Result<Page<(RegisterKey, RegisterSlot)>, StoreError>>;
    fn handle(&mut self, msg: ScanSlots, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.scan_slots(msg.from.as_ref(), &msg.to, msg.limit))
    }
}

impl Handler<ShowSlots> for StoreActor {
    type Result = ResponseFuture<Result<Page<(RegisterKey, RegisterSlot)>, StoreError>>;
    fn handle(&mut self, msg: ShowSlots, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.show_slots(&msg.folds, msg.from.as_ref(), &msg.to, msg.limit))
    }
}

impl Handler<ReadAccess> for StoreActor {
    type Result = Result<HeldAccess, StoreError>;
    fn handle(&mut self, _: ReadAccess, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.held_access())
    }
}

impl Handler<OpenAccess> for StoreActor {
    type Result = Result<AccessKeys, StoreError>;
    fn handle(&mut self, OpenAccess(records): OpenAccess, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.open_access(&records))
    }
}

impl Handler<SealSecret> for StoreActor {
    type Result = Result<NewSecret, StoreError>;
    fn handle(&mut self, SealSecret { id, secret }: SealSecret, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.seal_secret(id, secret))
    }
}

impl Handler<SealAnew> for StoreActor {
    type Result = Result<Mutation, StoreError>;
    fn handle(&mut self, SealAnew(mutation): SealAnew, _: &mut Context<Self>) -> Self::Result {
        let wrap = mutation.object().and_then(|object| self.store.fresh_wrap(object));
        Ok(wrap.map_or_else(|| mutation.clone(), |wrap| mutation.clone().with_wrap(wrap)))
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
