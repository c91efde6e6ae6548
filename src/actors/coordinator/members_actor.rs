//! The MembersActor: what operators ask of the member list, on a node that decides with others.
//!
//! Invariant: nothing is decided here: lists are a register, and `members` carries a change of them through.

use super::Coordinator;
use super::actor::run;
use crate::actors::guard::PanicGuard;
use crate::actors::messages::*;
use crate::actors::peer::forming::Seats;
use crate::actors::status::MembersStatus;
use crate::base::NodeName;
use crate::register::Seat as Seated;
use actix::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a node of a new member list may take to be heard, and how often that is looked at.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Shows and changes the member list for one HTTP worker.
pub struct MembersActor {
    coordinator: Coordinator,
    seats: Arc<Mutex<Seats>>,
    _guard: PanicGuard,
}

impl MembersActor {
    /// An actor over a coordinator of the same arbiter, and who is known to be there.
    pub fn new(coordinator: Coordinator, seats: Arc<Mutex<Seats>>) -> Self {
        MembersActor { coordinator, seats, _guard: PanicGuard::abort() }
    }
}

impl Actor for MembersActor {
    type Context = Context<Self>;
}

/// The places of these nodes; and the first list of a cluster, if this node is to begin one alone.
fn resolve(seats: &Mutex<Seats>, names: &[NodeName]) -> (Result<Vec<Seated>, Unseatable>, Option<Roster>) {
    let (seats, now) = (seats.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    let resolved = seats.resolve(now, names);
    let alone = resolved.as_ref().is_ok_and(|found| *found == [seats.me()]);
    let first = if alone { seats.found_alone(now, crate::store::system_ms()) } else { None };
    (resolved, first)
}

impl Handler<ChangeMembers> for MembersActor {
    type Result = ResponseFuture<Result<Roster, Unseatable>>;
    fn handle(&mut self, ChangeMembers { names, since }: ChangeMembers, _: &mut Context<Self>) -> Self::Result {
        let seats = Arc::clone(&self.seats);
        run(&self.coordinator, async move |c| {
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

impl Handler<ShowMembers> for MembersActor {
    type Result = MessageResult<ShowMembers>;
    fn handle(&mut self, _: ShowMembers, _: &mut Context<Self>) -> Self::Result {
        let roster = self.coordinator.roster();
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let full = roster.as_deref().map(|list| self.coordinator.full_of(list)).unwrap_or_default();
        MessageResult(MembersStatus { full, ..seats.show(Instant::now(), roster.as_deref()) })
    }
}
