//! Bodies that a peer sends: as a blob that is known whole, or as a stream that is still being made.
//!
//! Invariants
//! - No body is kept before its session is known, its counter fresh and a permit taken for its bytes.
//! - What the blob of a stream is, its last frame says: nothing of it is kept where that frame does not open.
//! - A sender whose blob is refused is still listened to while little is left, so that it hears why.

use super::body::{Body, announced};
use crate::actors::messages::StoreError;
use crate::actors::messages::{AppendIncoming, BeginIncoming, FinishIncoming, Incoming, PIECE_BYTES, Purpose};
use crate::actors::peer::answers::failure;
use crate::actors::peer::arrivals::Arriving;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::sessions::{Admitted, Coming, PeerGate};
use crate::actors::peer::store::{StoreRecipients, ask};
use crate::base::BlobRef;
use crate::wire::frame::{BLOB_PREFIX_BYTES, CLEAR_BYTES, blob_prefix_len};
use crate::wire::{
    Answer, BLOB_HEAD_BYTES_MAX, BLOB_PATH, Frame, Refusal, STREAM_PATH, STREAM_TRAILER_BYTES, StreamHead,
};
use actix_web::HttpRequest;
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// What the last block of a file is filled up to.
const BLOCK_BYTES: u64 = 4096;

/// What a blob of that length holds in memory, at most: a gathered piece, and one being written or all of a short one.
fn holds(sealed_len: u64) -> u64 {
    2 * sealed_len.saturating_add(BLOCK_BYTES).min(PIECE_BYTES as u64)
}

/// The sealed answer, and whether the whole body was read.
pub(super) async fn try_blob(
    request: &HttpRequest,
    body: Payload,
    gate: &PeerGate,
    store: &StoreRecipients,
) -> Result<(Vec<u8>, bool), Refusal> {
    let announced = announced(request, u64::MAX)?;
    let mut body = Body::new(body, Duration::MAX);
    let Opening { admitted, counter, plain, clear } =
        open_blob(&mut body, gate, BLOB_PATH, BLOB_HEAD_BYTES_MAX).await?;
    let head = BlobRef::decode(&plain).map_err(|_| Refusal::Malformed)?;
    let done = if head.sealed_len.checked_add(clear) == Some(announced) {
        let _room = gate.hold(&admitted, Coming::Blob, holds(head.sealed_len)).await?;
        Counts::add(&gate.counts().blobs);
        receive(store, gate.arrivals().begin(head.body), head, &mut body).await
    } else {
        Err(LinkError::Store(StoreError::Mismatch("the body's length is not what its head announces")))
    };
    let answer = done.as_ref().map_or_else(failure, |()| Answer::Done);
    let whole = done.is_ok() || body.is_passed_over().await;
    Ok((admitted.answer(BLOB_PATH, counter, &answer), whole))
}

/// What stands in front of a blob, or of many, opened.
pub(super) struct Opening {
    pub admitted: Admitted,
    pub counter: u64,
    pub plain: Vec<u8>,
    /// Bytes that it took.
    pub clear: u64,
}

/// Opens the frame in front of what comes; of at most `head_max` bytes.
pub(super) async fn open_blob(
    body: &mut Body,
    gate: &PeerGate,
    path: &str,
    head_max: usize,
) -> Result<Opening, Refusal> {
    body.gather(BLOB_PREFIX_BYTES + CLEAR_BYTES).await?;
    let frame_len = blob_prefix_len(&body.have, head_max).map_err(|_| Refusal::Malformed)?;
    let prefix = body.have.split_to(BLOB_PREFIX_BYTES).len();
    let (session, counter) = Frame::peek(&body.have).map_err(|_| Refusal::Malformed)?;
    let admitted: Admitted = gate.admit(session, counter, head_max as u64).await?;
    body.gather(frame_len).await?;
    let frame = body.have.split_to(frame_len.min(body.have.len()));
    let frame = Frame::decode(&frame).map_err(|_| Refusal::Malformed)?;
    let plain = gate.open(&admitted, path, &frame)?;
    let clear = u64::try_from(prefix + frame_len).unwrap_or(u64::MAX);
    Ok(Opening { admitted, counter, plain, clear })
}

/// The sealed answer, and whether the whole body was read. What the blob is stands behind it, in a frame with the
/// counter that follows the first one's; the answer has that counter too.
pub(super) async fn try_stream(
    body: Payload,
    gate: &PeerGate,
    store: &StoreRecipients,
) -> Result<(Vec<u8>, bool), Refusal> {
    let mut body = Body::new(body, Duration::MAX);
    let Opening { admitted, counter, plain, .. } = open_blob(&mut body, gate, STREAM_PATH, BLOB_HEAD_BYTES_MAX).await?;
    let head = StreamHead::decode(&plain).map_err(|_| Refusal::Malformed)?;
    let last = counter.checked_add(1).ok_or(Refusal::BadFrame)?;
    let _room = gate.hold(&admitted, Coming::Stream, holds(head.bytes_max)).await?;
    Counts::add(&gate.counts().blobs);
    let done = receive_stream(gate, &admitted, last, store, head, &mut body).await;
    let answer = done.as_ref().map_or_else(failure, |()| Answer::Done);
    let whole = done.is_ok() || body.is_passed_over().await;
    Ok((admitted.answer(STREAM_PATH, last, &answer), whole))
}

async fn receive_stream(
    gate: &PeerGate,
    admitted: &Admitted,
    last: u64,
    store: &StoreRecipients,
    head: StreamHead,
    body: &mut Body,
) -> Result<(), LinkError> {
    let bytes_max = Some(head.bytes_max).filter(|max| *max < u64::MAX);
    let begin = BeginIncoming { body: head.body, bytes_max, purpose: Purpose::Copy };
    let arriving = gate.arrivals().begin(head.body);
    let mut incoming = ask(&store.begin_incoming, begin).await?;
    let first = std::mem::take(&mut body.have).freeze();
    let mut gathered = first.len();
    let mut pieces = vec![first];
    while let Some(bytes) = body.next().await.map_err(LinkError::Refused)? {
        gathered += bytes.len();
        pieces.push(bytes);
        // What may be the frame behind the blob is held back.
        if gathered >= PIECE_BYTES + STREAM_TRAILER_BYTES {
            let held = split_end(&mut pieces, STREAM_TRAILER_BYTES).ok_or(cut())?;
            incoming = append(store, incoming, std::mem::take(&mut pieces)).await?;
            arriving.moved(gathered - held.len());
            gathered = held.len();
            pieces.push(held);
        }
    }
    let trailer = split_end(&mut pieces, STREAM_TRAILER_BYTES).ok_or(cut())?;
    let incoming = append(store, incoming, pieces).await?;
    let frame = Frame::decode(&trailer).map_err(|_| LinkError::Refused(Refusal::Malformed))?;
    if frame.counter != last {
        return Err(LinkError::Refused(Refusal::BadFrame));
    }
    let plain = gate.open(admitted, STREAM_PATH, &frame).map_err(LinkError::Refused)?;
    let announced = BlobRef::decode(&plain).map_err(LinkError::Undecodable)?;
    ask(&store.finish_incoming, FinishIncoming { incoming, announced, mends: None }).await
}

/// Takes the last `len` bytes off the pieces; `None` when there are fewer.
fn split_end(pieces: &mut Vec<Bytes>, len: usize) -> Option<Bytes> {
    let mut end = BytesMut::with_capacity(len);
    let mut from = pieces.len();
    let mut held = 0;
    while held < len {
        from = from.checked_sub(1)?;
        held += pieces.get(from).map_or(0, Bytes::len);
    }
    let mut tail = pieces.split_off(from);
    if let Some(first) = tail.first_mut() {
        let keep = first.split_to(held - len);
        if !keep.is_empty() {
            pieces.push(keep);
        }
    }
    tail.iter().for_each(|piece| end.extend_from_slice(piece));
    Some(end.freeze())
}

async fn receive(
    store: &StoreRecipients,
    arriving: Arriving,
    announced: BlobRef,
    body: &mut Body,
) -> Result<(), LinkError> {
    let BlobRef { body: id, sealed_len, .. } = announced;
    let begin = BeginIncoming { body: id, bytes_max: Some(sealed_len), purpose: Purpose::Copy };
    let mut incoming = ask(&store.begin_incoming, begin).await?;
    let mut left = sealed_len;
    let mut pieces = Vec::new();
    let mut gathered = 0;
    let first = std::mem::take(&mut body.have).freeze();
    let mut next = Some(first).filter(|first| !first.is_empty());
    while left > 0 {
        let bytes = match next.take() {
            Some(bytes) => bytes,
            None => body.next().await.map_err(LinkError::Refused)?.ok_or(cut())?,
        };
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(len).ok_or(cut())?;
        gathered += bytes.len();
        pieces.push(bytes);
        if gathered >= PIECE_BYTES || left == 0 {
            incoming = append(store, incoming, std::mem::take(&mut pieces)).await?;
            arriving.moved(gathered);
            gathered = 0;
        }
    }
    // Read to the end, so that the connection can be used again.
    if body.next().await.map_err(LinkError::Refused)?.is_some() {
        return Err(cut());
    }
    ask(&store.finish_incoming, FinishIncoming { incoming, announced, mends: None }).await
}

async fn append(store: &StoreRecipients, incoming: Incoming, data: Vec<Bytes>) -> Result<Incoming, LinkError> {
    ask(&store.append_incoming, AppendIncoming { incoming, data }).await
}

fn cut() -> LinkError {
    LinkError::Store(StoreError::Mismatch("the body is not as long as announced"))
}

const _: () = assert!(BLOB_PREFIX_BYTES + BLOB_HEAD_BYTES_MAX < PIECE_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_split_off_wherever_pieces_begin() {
        let whole: Vec<u8> = (0..20).collect();
        for size in 1..=20 {
            for len in 0..=20 {
                let mut pieces: Vec<Bytes> = whole.chunks(size).map(Bytes::copy_from_slice).collect();
                let end = split_end(&mut pieces, len).expect("there is as much");
                assert_eq!((pieces.concat(), &end[..]), (whole[..20 - len].to_vec(), &whole[20 - len..]));
            }
        }
        let mut few = vec![Bytes::from_static(b"abc"), Bytes::new()];
        assert_eq!(split_end(&mut few, 4), None);
    }
}
