//! A whole body into the store, as one object, or as a part of one.
//!
//! Invariants
//! - No byte is read before a permit is held.
//! - A body that fails ends the upload: the store's handle is dropped, and nothing becomes visible.
//! - The store is told to finish only after the source has told its end, and only if the caller may write by then.

use super::access::{Need, Right};
use super::call::Call;
use super::errors::HttpError;
use super::pieces::{Gathering, Small};
use super::source::Source;
use super::windows::Window;
use crate::actors::messages::{
    AppendUpload, BeginUpload, Consistency, FinishUpload, ObjectError, OpenObject, PartOf, PutSmall, StoreError,
    Written,
};
use crate::base::{Condition, ObjectHead, ObjectName, WantedSums};

/// Stores all of `source` as one object, with these sums, if they come to what the source expects of them. `len` is what
/// the sender announced of it, if it did.
#[expect(clippy::too_many_arguments, reason = "each of them is one word of the request, and told by its own route")]
pub async fn store<S: Source>(
    call: &Call<'_>,
    at: ObjectName,
    condition: Condition,
    head: ObjectHead,
    sums: WantedSums,
    len: Option<u64>,
    window: Window,
    source: &mut S,
) -> Result<Written, HttpError> {
    let worker = call.worker;
    let inline_max = worker.shared.settings.inline_max;
    let Window { permit, ahead, large } = window;
    let mut small = Small::default();
    // An announced large body is begun before it is read: a missing bucket or a full disk is told at once.
    if len.is_none_or(|len| len <= inline_max as u64) {
        loop {
            match source.next().await? {
                Some(chunk) => small.push(chunk),
                None => {
                    call.authorize_again(&Need::on_object(Right::Write, &at))?;
                    let (body, expected) = (small.take(), source.expected());
                    let put = PutSmall { at, condition, head, body, sums, expected, permit: Some(permit) };
                    return Ok(worker.links.writes.put_small.send(put).await??);
                }
            }
            if small.len() > inline_max {
                break;
            }
        }
    }
    let begin = BeginUpload { at, condition, head, part: None, len_hint: len, sums, permit: Some(permit) };
    send(call, begin, small, (ahead, large), source).await
}

/// Stores all of `source` as a part of an upload for the object `at`, with these sums. What is there of its number is
/// replaced. `len`: as of `store`.
pub async fn store_part<S: Source>(
    call: &Call<'_>,
    at: ObjectName,
    part: PartOf,
    sums: WantedSums,
    len: Option<u64>,
    window: Window,
    source: &mut S,
) -> Result<Written, HttpError> {
    let Window { permit, ahead, large } = window;
    let (condition, head) = (Condition::NONE, ObjectHead::default());
    let begin = BeginUpload { at, condition, head, part: Some(part), len_hint: len, sums, permit: Some(permit) };
    send(call, begin, Small::default(), (ahead, large), source).await
}

/// Sends what was taken already and all that is left of `source`. `ahead`, `large`: as the window says.
async fn send<S: Source>(
    call: &Call<'_>,
    begin: BeginUpload,
    small: Small,
    (ahead, large): (bool, bool),
    source: &mut S,
) -> Result<Written, HttpError> {
    let worker = call.worker;
    let (at, len) = (begin.at.clone(), begin.len_hint);
    let mut upload = worker.links.writes.begin_upload.send(begin).await??;
    let mut gathering = Gathering::after(small, len, large.then(|| worker.shared.large_memory.clone()));
    let mut ended = gathering.fill(source).await?;
    while !ended {
        // One piece is sealed and written while the next one is received: sending starts the work,
        // awaiting fetches its result.
        let data = gathering.take();
        let append = worker.links.writes.append_upload.send(AppendUpload { upload, data });
        if ahead {
            ended = gathering.fill(source).await?;
            upload = append.await??;
        } else {
            upload = append.await??;
            ended = gathering.fill(source).await?;
        }
    }
    let data = gathering.take();
    // The last piece's memory goes when it is sealed, not when it is durable.
    drop(gathering);
    if !data.is_empty() {
        upload = worker.links.writes.append_upload.send(AppendUpload { upload, data }).await??;
    }
    // A refusal drops the upload: nothing of it becomes visible.
    call.authorize_again(&Need::on_object(Right::Write, &at))?;
    Ok(worker.links.writes.finish_upload.send(FinishUpload { upload, expected: source.expected() }).await??)
}

/// Refuses a write whose bucket or condition fails by now, before its body is asked for. What passes here is judged
/// again when it is decided.
pub async fn refuse_early(call: &Call<'_>, at: &ObjectName, condition: &Condition) -> Result<(), HttpError> {
    let permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let open = OpenObject { at: at.clone(), consistency: Consistency::Majority, permit: Some(permit) };
    let found = match call.worker.links.reads.open_object.send(open).await? {
        Ok((info, _)) => Some(info.etag),
        Err(ObjectError::Store(StoreError::NoSuchKey)) => None,
        Err(error @ (ObjectError::Store(StoreError::NoSuchBucket) | ObjectError::NoMajority(_))) => {
            return Err(error.into());
        }
        // Whatever else keeps it from being read need not keep it from being written.
        Err(_) => return Ok(()),
    };
    if condition.holds(found.as_deref()) { Ok(()) } else { Err(StoreError::Precondition.into()) }
}
