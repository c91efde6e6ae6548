//! What is known of bodies in segments and is not in the log yet: places that nothing names, and places found wrong.
//!
//! Invariants
//! - A body with a claim is here, durably, for as long as the process lives: whatever names it afterwards names a place
//!   that is there.
//! - A claim goes when the log names its place, or within the gate, when nothing refers to the body.
//! - A place that was found wrong counts as none from then on; the log hears of it as soon as somebody asks.

use super::places::Place;
use super::segments::Claim;
use crate::base::BodyId;
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A body that was copied to another place.
#[derive(Debug)]
pub struct Move {
    /// Which body.
    pub body: BodyId,
    /// Where it lay when it was read.
    pub from: Place,
    /// Where it lies now.
    pub to: Claim,
}

/// Places of small bodies that are durable and that nothing names yet. Their segments stay while this is held.
#[derive(Debug, Default)]
pub struct Flushed(Vec<(BodyId, Claim)>);

impl Flushed {
    /// Of bodies that a checkpoint has appended.
    pub fn new(placed: Vec<(BodyId, Claim)>) -> Self {
        Flushed(placed)
    }

    /// The bodies with their places.
    pub fn places(&self) -> impl Iterator<Item = (BodyId, Place)> {
        self.0.iter().map(|(body, claim)| (*body, claim.place()))
    }
}

/// The claims of one store, and what it found wrong.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<HashMap<BodyId, (Claim, Instant)>>,
    wrong: Mutex<HashMap<BodyId, Place>>,
}

/// A panic while one of these locks is held leaves no half-made state.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Claims {
    /// A body is durable at a place that nothing names.
    pub fn hold(&self, body: BodyId, claim: Claim) {
        lock(&self.held).insert(body, (claim, Instant::now()));
    }

    /// The place of a body, if nothing names it yet.
    pub fn place(&self, body: BodyId) -> Option<Place> {
        lock(&self.held).get(&body).map(|(claim, _)| claim.place())
    }

    /// The log names that place, and whoever looks for the body finds it there.
    pub fn named(&self, body: BodyId, place: Place) {
        let mut held = lock(&self.held);
        if held.get(&body).is_some_and(|(claim, _)| claim.place() == place) {
            held.remove(&body);
        }
    }

    /// Gives a claim up. Within the gate: nothing that is being decided rests on it.
    pub fn drop(&self, body: BodyId) {
        lock(&self.held).remove(&body);
    }

    /// Bodies that have had a claim for so long.
    pub fn older_than(&self, age: Duration) -> Vec<BodyId> {
        lock(&self.held).iter().filter(|(_, (_, since))| since.elapsed() >= age).map(|(body, _)| *body).collect()
    }

    /// The bytes at that place are not the body's.
    pub fn found_wrong(&self, body: BodyId, place: Place) {
        lock(&self.wrong).insert(body, place);
    }

    /// Whether that place of the body was found wrong.
    pub fn is_wrong(&self, body: BodyId, place: Place) -> bool {
        lock(&self.wrong).get(&body) == Some(&place)
    }

    /// What was found wrong and is to be told to the log.
    pub fn wrong(&self) -> Vec<(BodyId, Place)> {
        lock(&self.wrong).iter().map(|(body, place)| (*body, *place)).collect()
    }

    /// The log knows that these places are wrong, or names others.
    pub fn forget_wrong(&self, told: &[(BodyId, Place)]) {
        let told: HashSet<_> = told.iter().collect();
        lock(&self.wrong).retain(|body, place| !told.contains(&(*body, *place)));
    }
}
