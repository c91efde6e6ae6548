//! Short bodies that a peer sends, many to a request.
//!
//! Invariants
//! - No body is kept before its session is known, its counter fresh and a permit taken for the bytes of all.
//! - What became of each is told for itself: one that is wrong, or finds no room, takes nothing from the others.

use super::blobs::{Opening, open_blob};
use super::body::{Body, announced};
use crate::actors::messages::{StoreError, TakeBodies};
use crate::actors::peer::answers::failure;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::sessions::{Coming, PeerGate};
use crate::actors::peer::store::{StoreRecipients, ask};
use crate::wire::{Answer, BODIES_HEAD_BYTES_MAX, BODIES_PATH, BodiesHead, Refusal, Taken};
use actix_web::HttpRequest;
use actix_web::web::Payload;
use std::time::Duration;

/// The sealed answer, and whether the whole body was read.
pub(super) async fn try_bodies(
    request: &HttpRequest,
    body: Payload,
    gate: &PeerGate,
    store: &StoreRecipients,
) -> Result<(Vec<u8>, bool), Refusal> {
    let announced = announced(request, u64::MAX)?;
    let mut body = Body::new(body, Duration::MAX);
    let Opening { admitted, counter, plain, clear } =
        open_blob(&mut body, gate, BODIES_PATH, BODIES_HEAD_BYTES_MAX).await?;
    let head = BodiesHead::decode(&plain).map_err(|_| Refusal::Malformed)?;
    let bytes = head.sealed_bytes();
    if bytes.checked_add(clear) != Some(announced) {
        return Err(Refusal::Malformed);
    }
    let _room = gate.hold(&admitted, Coming::Blob, bytes).await?;
    Counts::add(&gate.counts().blobs);
    let arriving: Vec<_> = head.0.iter().map(|blob| gate.arrivals().begin(blob.body)).collect();
    let bodies = gather(&mut body, head).await?;
    let taken = take(store, bodies).await;
    drop(arriving);
    let answer = taken.as_ref().map_or_else(failure, |taken| Answer::Taken(taken.clone()));
    Ok((admitted.answer(BODIES_PATH, counter, &answer), true))
}

/// All bytes of all bodies, each by itself.
async fn gather(body: &mut Body, head: BodiesHead) -> Result<TakeBodies, Refusal> {
    let len = |bytes: u64| usize::try_from(bytes).map_err(|_| Refusal::Malformed);
    let whole = len(head.sealed_bytes())?;
    body.have.reserve(whole.saturating_sub(body.have.len()));
    body.gather(whole).await?;
    // Read to the end, so that the connection can be used again.
    if body.have.len() > whole || body.next().await?.is_some() {
        return Err(Refusal::Malformed);
    }
    let cut = |blob: crate::base::BlobRef| Ok((blob, body.have.split_to(len(blob.sealed_len)?).freeze()));
    let bodies = head.0.into_iter().map(cut).collect::<Result<_, Refusal>>()?;
    Ok(TakeBodies { bodies })
}

async fn take(store: &StoreRecipients, bodies: TakeBodies) -> Result<Taken, LinkError> {
    let taken = ask(&store.take_bodies, bodies).await?;
    Ok(taken.into_iter().map(|taken| taken.err().as_ref().map(StoreError::class)).collect())
}
