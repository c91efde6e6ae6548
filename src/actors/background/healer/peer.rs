//! A peer that the healer asks, over a session of the healer's own.
//!
//! Invariant: a session that broke is not used again, and a peer that has merely forgotten one has not failed.

use crate::actors::peer::conn::{Conn, Dialer, may_be_forgotten};
use crate::actors::peer::error::LinkError;
use crate::base::{NodeName, Record, RegisterKey};
use crate::wire::{Answer, Call};
use std::cell::RefCell;
use std::sync::Arc;

/// A peer that is asked for copies.
pub(super) struct Peer {
    pub(super) name: NodeName,
    dialer: Dialer,
    /// A session that is not in use.
    idle: RefCell<Option<Conn>>,
}

impl Peer {
    /// One that there is no session with yet.
    pub(super) fn new(name: NodeName, dialer: Dialer) -> Self {
        Peer { name, dialer, idle: RefCell::new(None) }
    }

    /// Does that with a session to the peer, the one that was used last if the peer still knows it.
    pub(super) async fn on_session<T>(
        &self,
        work: impl AsyncFn(&mut Conn) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let mut reused = self.idle.borrow_mut().take();
        loop {
            let forgivable = reused.is_some();
            let mut conn = match reused.take() {
                Some(conn) => conn,
                None => self.dialer.dial().await?,
            };
            match work(&mut conn).await {
                // The peer may have restarted since this session was used: that is no failure yet.
                Err(error) if forgivable && may_be_forgotten(&error) => continue,
                Err(error) if error.breaks_link() => return Err(error),
                done => {
                    *self.idle.borrow_mut() = Some(conn);
                    return done;
                }
            }
        }
    }
}

/// What the peer holds of a register.
pub(super) async fn record_at(conn: &mut Conn, key: &RegisterKey) -> Result<Option<Arc<Record>>, LinkError> {
    let Answer::Records(found) = conn.call(&Call::Fetch(vec![key.clone()])).await? else {
        return Err(LinkError::Unfitting);
    };
    Ok(found.into_iter().find(|(found, _)| found == key).map(|(_, record)| record))
}
