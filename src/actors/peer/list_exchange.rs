//! Member lists on their way between two nodes.
//!
//! Invariants
//! - The later epoch wins, whichever side has it. Of equal epochs nothing moves: both sides show the difference.
//! - A list is taken over by the store alone, which refuses what is not later than its own.

use crate::actors::messages::{Seat, Seating, StoreError};
use crate::actors::peer::conn::Conn;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::store::{StoreRecipients, ask};
use crate::base::{Class, Epoch};
use crate::register::Roster;
use crate::wire::{Answer, Call};
use std::sync::Arc;

/// Takes over a list that somebody else has.
pub(in crate::actors) async fn adopt(store: &StoreRecipients, roster: Arc<Roster>) -> Result<(), LinkError> {
    let (epoch, voters) = (roster.epoch.0, roster.seats.len());
    match ask(&store.seat, Seat { seating: Seating::Adopt(roster) }).await {
        Ok(()) => log::info!(epoch, voters; "member list taken over"),
        // Somebody was faster.
        Err(LinkError::Store(StoreError::Mismatch(_))) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Takes over the list of the peer, if it has one.
pub(in crate::actors) async fn fetch(plan: &Plan, session: &mut Conn) -> Result<(), LinkError> {
    match session.call(&Call::List).await? {
        Answer::List(Some(roster)) => adopt(&plan.store, roster).await,
        Answer::List(None) => Ok(()),
        _ => Err(LinkError::Unfitting),
    }
}

/// After a refusal that may be for the member list: the lists are exchanged, and the error stands.
pub(in crate::actors) async fn after_refusal(plan: &Plan, session: &mut Conn, error: LinkError) -> LinkError {
    match error.class() {
        Class::Conflict => exchange(plan, session).await.err().unwrap_or(error),
        _ => error,
    }
}

/// Brings the one of the two that is behind to the list of the other: votes between them wait for that.
pub(in crate::actors) async fn exchange(plan: &Plan, session: &mut Conn) -> Result<(), LinkError> {
    let Answer::List(theirs) = session.call(&Call::List).await? else { return Err(LinkError::Unfitting) };
    let own = plan.node_view.ballots.voting().node.roster.clone();
    let epoch = |roster: &Option<Arc<Roster>>| roster.as_ref().map_or(Epoch(0), |roster| roster.epoch);
    let (here, there) = (epoch(&own), epoch(&theirs));
    match (own, theirs) {
        (_, Some(theirs)) if there > here => adopt(&plan.store, theirs).await,
        (Some(own), _) if here > there => match session.call(&Call::Take(own)).await? {
            Answer::Done => Ok(()),
            _ => Err(LinkError::Unfitting),
        },
        _ => Ok(()),
    }
}
