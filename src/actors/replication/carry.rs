//! A body on its way over a session that stands.

use crate::actors::messages::Outgoing;
use crate::actors::peer::conn::{Conn, patience};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::patience::ASK_AGAIN;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::transfers::{SMALL_BYTES_MAX, Sent};
use crate::base::BlobRef;
use crate::wire::{Answer, Bring, Call};
use actix_rt::time::{Instant, sleep};

/// Carries a body on a session. A larger one is offered first: the peer may have it, or get it from somebody else.
pub async fn carry(
    plan: &Plan,
    session: &mut Conn,
    head: BlobRef,
    blob: Outgoing,
    sent: &Sent,
) -> Result<(), LinkError> {
    if head.sealed_len > SMALL_BYTES_MAX && !is_wanted(session, head, sent).await? {
        return Ok(());
    }
    Counts::add(&plan.tally.sent.blobs);
    session.ship(head, blob, &plan.store, sent).await
}

/// Whether a body is to be sent. While somebody else sends it this waits, as long as that moves.
async fn is_wanted(session: &mut Conn, head: BlobRef, sent: &Sent) -> Result<bool, LinkError> {
    let patience = patience(head.sealed_len);
    let mut seen = (0, Instant::now());
    loop {
        match session.call(&Call::Bring(head)).await? {
            Answer::Bring(Bring::Send) => return Ok(true),
            Answer::Bring(Bring::There) => return Ok(false),
            Answer::Bring(Bring::Arriving(bytes)) if bytes > seen.0 => {
                seen = (bytes, Instant::now());
                sent.up_to(bytes);
            }
            Answer::Bring(Bring::Arriving(_)) if seen.1.elapsed() < patience => {}
            Answer::Bring(Bring::Arriving(_)) => return Err(LinkError::NotMoved),
            _ => return Err(LinkError::Unfitting),
        }
        sleep(ASK_AGAIN).await;
    }
}
