//! How a records lane gets its session, and what a lost one means.
//!
//! Invariants
//! - A window goes on over sessions with the same life of the peer; another life begins behind its own cursor.
//! - A change of the link is logged once.

use super::cleared_peer::ClearedPeer;
use super::compare::Compare;
use super::link::Link;
use super::window::{OPEN_MAX, Window};
use super::{RecordsLane, pause};
use crate::actors::messages::LoadCursor;
use crate::actors::peer::conn::{Conn, may_be_forgotten};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::store::ask;
use crate::actors::replication::actor::{LaneContext, ReplicaActor, spawn};
use crate::actors::status::LinkState;
use crate::base::{Class, NodeName};
use actix::{ActorContext, Context};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

impl RecordsLane {
    pub(super) fn dial(&mut self, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        self.link = Link::Dialing { tries: self.link.tries() };
        Counts::add(&own.plan.tally.sent.hellos);
        let (dialer, plan) = (own.dialer.clone(), Arc::clone(&own.plan));
        let store = plan.store.clone();
        // A window for the same life goes on; another life begins behind its own cursor.
        let known = self.window.as_ref().map(Window::peer);
        let work = async move {
            let conn = dialer.dial().await?;
            let peer = conn.info.incarnation;
            // Whatever the own store says of its cursor.
            plan.node_view.reach.answered(&plan.peer, peer);
            let cursor =
                if known == Some(peer) { None } else { Some(ask(&store.load_cursor, LoadCursor { peer }).await?) };
            Ok((conn, cursor))
        };
        spawn(ctx, work, |dialed: Result<_, LinkError>, actor, ctx| {
            actor.with(|lane, own| {
                match dialed {
                    Ok((conn, cursor)) => lane.link_up(conn, cursor, own),
                    Err(error) => {
                        if error.is_absence() {
                            own.plan.node_view.reach.failed(&own.plan.peer, Instant::now());
                        }
                        lane.link_lost(error, own, ctx);
                    }
                }
                lane.pump(own, ctx);
            });
        });
    }

    fn link_up(&mut self, conn: Conn, cursor: Option<u64>, own: &LaneContext) {
        self.peer = Some(conn.info.incarnation);
        if let Some(cursor) = cursor {
            // Another life of the peer: it has what its own cursor says, perhaps nothing.
            self.window = Some(Window::new(own.plan.tally.new_life(), conn.info.incarnation, cursor, OPEN_MAX));
            self.cleared_peer = ClearedPeer::default();
            self.saved = cursor;
            self.dry = None;
            self.compare = Compare::new(own.plan.timing.compare, own.plan.timing.settle, Instant::now());
        }
        self.beat_at = None;
        self.link = Link::Up { conn: Some(conn), tries: self.link.tries() };
        if self.changed_to(LinkState::Up) {
            log::info!(peer:% = own.plan.peer; "peer reached");
        }
    }

    pub(super) fn link_lost(&mut self, error: LinkError, own: &LaneContext, ctx: &mut Context<ReplicaActor<Self>>) {
        let peer: &NodeName = &own.plan.peer;
        if let Some(window) = &mut self.window {
            window.step_ended();
        }
        self.compare.failed(Instant::now());
        self.last_error = Some(error.to_string());
        if let Some(seats) = &own.plan.seats {
            seats.lock().unwrap_or_else(PoisonError::into_inner).lost(peer);
        }
        let timing = &own.plan.timing;
        if let LinkError::StoreGone(_) = error {
            log::error!(peer:% = peer, error:% = error; "the records lane lost its store");
            ctx.stop();
            return;
        }
        if error.class() == Class::Permanent {
            self.link = Link::Refused { until: Instant::now() + timing.refused_retry };
            if self.changed_to(LinkState::Refused) {
                log::warn!(peer:% = peer, error:% = error; "peer and this node do not agree, tried again slowly");
            }
            return;
        }
        let tries = self.link.tries();
        // A listener that restarted has forgotten the session, and is there: one fresh handshake at once.
        let wait = if tries == 0 && may_be_forgotten(&error) { Duration::ZERO } else { pause(&own.plan, tries) };
        self.link = Link::Down { tries: tries.saturating_add(1), until: Instant::now() + wait };
        // One lost connection after a good time is not worth a line: a try that fails is.
        if tries > 0 && self.changed_to(LinkState::Down) {
            log::warn!(peer:% = peer, error:% = error; "peer unreachable, tried again with growing pauses");
        }
    }

    fn changed_to(&mut self, state: LinkState) -> bool {
        self.logged.replace(state) != Some(state)
    }
}
