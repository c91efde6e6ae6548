//! Short bodies on their way to a peer, many to a request: what both kinds of lanes do with them.
//!
//! Invariants
//! - A parcel holds what was given with its bodies, for which others have permits, and what is read for it, for which its
//!   turn has room.
//! - What becomes of a body is told to all who wait for it, whoever carried it.

use crate::actors::messages::ReadBodies;
use crate::actors::peer::conn::Conn;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::store::ask;
use crate::actors::peer::transfers::{Carried, Lead, SMALL_BYTES_MAX};
use crate::base::{BlobRef, Class};
use crate::wire::BODIES_MAX;
use bytes::Bytes;
use std::sync::atomic::Ordering;

/// Whether a body travels so.
pub fn is_short(blob: &BlobRef) -> bool {
    blob.sealed_len <= SMALL_BYTES_MAX
}

/// One body of a parcel.
pub struct Item {
    /// What it is.
    pub blob: BlobRef,
    /// Its bytes, once they are in memory.
    pub sealed: Option<Bytes>,
    /// The duty to carry it.
    pub lead: Lead,
}

/// What goes in one request: one body whatever its length, and with it so many short ones as fit.
#[derive(Debug)]
pub struct Filling {
    /// Bodies that may still go, and bytes.
    left: (usize, u64),
    has_first: bool,
}

impl Filling {
    /// A request of at most so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        Filling { left: (BODIES_MAX, bytes_max), has_first: false }
    }

    /// Whether a body of that sealed length goes too. It counts then.
    pub fn takes(&mut self, sealed_len: u64) -> bool {
        let is_short = sealed_len <= SMALL_BYTES_MAX;
        if self.has_first && (!is_short || self.left.0 == 0 || self.left.1 < sealed_len) {
            return false;
        }
        // A large one goes alone.
        self.left = if is_short { (self.left.0 - 1, self.left.1.saturating_sub(sealed_len)) } else { (0, 0) };
        self.has_first = true;
        true
    }
}

/// Bytes that have to be read for a parcel.
pub fn to_read(parcel: &[Item]) -> u64 {
    parcel.iter().filter(|item| item.sealed.is_none()).map(|item| item.blob.sealed_len).sum()
}

/// Bytes of what is in memory of a parcel.
pub fn to_send(parcel: &[Item]) -> u64 {
    parcel.iter().filter(|item| item.sealed.is_some()).map(|item| item.blob.sealed_len).sum()
}

/// Reads what is not in memory. What is not to be had here is no part of the parcel any more: its place in it, and why.
pub async fn read(plan: &Plan, parcel: &mut [Item]) -> Result<Vec<(usize, LinkError)>, LinkError> {
    let missing = || parcel.iter().enumerate().filter(|(_, item)| item.sealed.is_none());
    let bodies: Vec<_> = missing().map(|(_, item)| item.blob).collect();
    if bodies.is_empty() {
        return Ok(Vec::new());
    }
    let ats: Vec<_> = missing().map(|(at, _)| at).collect();
    let mut gone = Vec::new();
    for (at, found) in ats.into_iter().zip(ask(&plan.store.read_bodies, ReadBodies { bodies }).await?) {
        match (found, parcel.get_mut(at)) {
            (Ok(sealed), Some(item)) => item.sealed = Some(sealed),
            (Ok(_), None) => {}
            (Err(error), _) => gone.push((at, LinkError::Store(error))),
        }
    }
    Ok(gone)
}

/// What became of one body of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has it, durable and checked.
    There,
    /// The peer did not take it, and what that means.
    Refused(Class),
    /// It was not in memory.
    NotSent,
}

impl Outcome {
    /// What those hear who wait for it.
    pub fn carried(self) -> Carried {
        match self {
            Outcome::There => Carried::There,
            Outcome::Refused(Class::Full) => Carried::NoRoom,
            Outcome::Refused(_) | Outcome::NotSent => Carried::Not,
        }
    }
}

/// Sends what is in memory of a parcel over a session. What became of each, in its order.
pub async fn ship(plan: &Plan, session: &mut Conn, parcel: &[Item]) -> Result<Vec<Outcome>, LinkError> {
    let with_bytes = |item: &Item| item.sealed.clone().map(|sealed| (item.blob, sealed, item.lead.sent().clone()));
    let sent: Vec<_> = parcel.iter().filter_map(with_bytes).collect();
    if sent.is_empty() {
        return Ok(vec![Outcome::NotSent; parcel.len()]);
    }
    Counts::add(&plan.tally.sent.blobs);
    let mut taken = session.ship_many(sent).await?.into_iter();
    let became = |item: &Item| match item.sealed.as_ref().and_then(|_| taken.next()) {
        Some(None) => Outcome::There,
        Some(Some(class)) => Outcome::Refused(class),
        None => Outcome::NotSent,
    };
    let became: Vec<_> = parcel.iter().map(became).collect();
    let there = parcel.iter().zip(&became).filter(|(_, became)| **became == Outcome::There);
    let bytes = there.map(|(item, _)| item.blob.sealed_len).sum();
    plan.tally.shipped_bytes.fetch_add(bytes, Ordering::Relaxed);
    Ok(became)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_what_fits_and_one_at_least() {
        const LARGE: u64 = SMALL_BYTES_MAX + 1;
        let taken = |of: &[u64], max: u64| {
            let mut filling = Filling::new(max);
            of.iter().copied().filter(|len| filling.takes(*len)).collect::<Vec<_>>()
        };
        assert_eq!(taken(&[50, 60, 70], 110), [50, 60]);
        assert_eq!(taken(&[50, 60, 7], 109), [50, 7]);
        assert_eq!(taken(&[90, 1], 10), [90], "one is always taken");
        assert_eq!(taken(&[LARGE, 1, LARGE], u64::MAX), [LARGE], "a large one goes alone");
        assert_eq!(taken(&[1, LARGE, 2], u64::MAX), [1, 2]);
        assert_eq!(taken(&[1; BODIES_MAX + 3], 1000).len(), BODIES_MAX);
    }
}
