//! The resealer: what was sealed under an older generation of the key ring is sealed anew, under the one that seals.
//!
//! Invariants
//! - It walks over all registers once for each generation that begins to seal. What comes later under another one is
//!   remembered as it comes (`resealing`), and what was forgotten with the process shows in the counts of the index: then
//!   it walks again.
//! - A walk goes on where the last checkpoint has it: a crash costs what came since, and is no harm, since what is sealed
//!   anew already is passed over.
//! - It yields: it works for half of the time, a page at a time, and not at all where the disk is short of room.
//! - What does not open, for want of a key or for damage, is left as it is.

use super::core::Core;
use super::error::StoreError;
use super::intent::{Answer, Intent, Request, Resealed};
use super::sealed_keys;
use super::walk_place::WalkPlace;
use crate::base::{Complete, KekId, RegisterKey};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::cell::RefCell;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Registers of a step.
const STEP: usize = 256;
/// How often it looks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often it has the index brought up, at most, once nothing is left to be sealed anew: then the log lets go of older
/// generations too.
const FREES_EVERY: Duration = Duration::from_secs(2);
/// How long it rests after something failed, and after a walk that has found nothing to do: twice as long each time.
const REST: Duration = Duration::from_secs(10);
const REST_MAX: Duration = Duration::from_secs(3600);

/// Seals anew what there is. One for a store.
#[derive(Debug)]
pub struct Resealer {
    core: Arc<Core>,
    queue: Sender<Request>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: Option<(Answer, Then)>,
    /// Whether the walk under way has found nothing to do so far.
    is_idle: bool,
    /// No walk begins before that, and how long it rests by now: the last one could do nothing about what is counted.
    rests: Option<(Instant, Duration)>,
}

/// What follows when the log has heard.
#[derive(Debug)]
enum Then {
    /// The strays that were taken are done with.
    Strays,
    /// The walk has come there; nothing once it was at the end.
    Walked(KekId, Option<RegisterKey>),
}

impl Resealer {
    pub(super) fn new(core: Arc<Core>, queue: Sender<Request>) -> Self {
        Resealer { core, queue, state: RefCell::default() }
    }

    /// Works until the sender of `stopped` is gone. On a thread of its own.
    pub(super) fn run(&self, stopped: &Receiver<()>) {
        let mut freed = Instant::now();
        loop {
            let begun = Instant::now();
            let turned = self.turn();
            let asked = self.state.borrow_mut().asked.take();
            let turned = match asked {
                None => turned,
                Some((answer, then)) => {
                    let done = answer.blocking_recv().unwrap_or(Err(StoreError::ShuttingDown));
                    self.heard(done.map(|_| ()), then).and(turned)
                }
            };
            let wait = match turned {
                Ok(true) => begun.elapsed(),
                Ok(false) => {
                    if freed.elapsed() >= FREES_EVERY && self.core.is_log_to_be_freed() {
                        // A failure has poisoned the store and logged why; a full disk is told where it is found.
                        let _ = self.core.checkpoint();
                        freed = Instant::now();
                    }
                    LOOK_EVERY
                }
                Err(error) => {
                    log::debug!(error:% = error; "keys could not be sealed anew");
                    REST
                }
            };
            if !matches!(stopped.recv_timeout(wait), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    /// Does one piece of what there is to do; whether there was something. For tests that bring their own clockwork.
    pub fn turn(&self) -> Result<bool, StoreError> {
        let core = &self.core;
        if core.closing.load(Ordering::Acquire) || core.is_poisoned() || core.is_low() {
            return Ok(false);
        }
        let asked = self.state.borrow_mut().asked.take();
        if let Some((mut answer, then)) = asked {
            let done = match answer.try_recv() {
                Ok(done) => done,
                Err(oneshot::error::TryRecvError::Closed) => Err(StoreError::ShuttingDown),
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.state.borrow_mut().asked = Some((answer, then));
                    return Ok(false);
                }
            };
            self.heard(done.map(|_| ()), then)?;
        }
        let active = core.ring.active();
        if core.reseal_scrub_place(active)? {
            return Ok(true);
        }
        let strays = core.resealing().take_strays(STEP);
        if !strays.is_empty() {
            let found = strays.iter().map(|key| Ok(core.lookup(key)?.map(|held| (key.clone(), held))));
            let found: Result<Vec<_>, StoreError> = found.collect();
            let found: Vec<_> =
                found.inspect_err(|_| core.resealing().strays_heard(false))?.into_iter().flatten().collect();
            self.ask(&found, Then::Strays);
            return Ok(true);
        }
        if !self.is_walking(active)? {
            return Ok(false);
        }
        self.step(active)
    }

    /// Whether a walk is under way for that generation; one is begun where there is something to find.
    fn is_walking(&self, active: KekId) -> Result<bool, StoreError> {
        let core = &self.core;
        let mut resealing = core.resealing();
        if resealing.walk.as_ref().is_some_and(|walk| walk.kek == active) {
            return Ok(true);
        }
        let mut state = self.state.borrow_mut();
        let is_new = resealing.done != Some(active);
        // What a walk that has ended leaves to be found came to the index since, or has been there and does not open.
        let is_left = core.is_other_indexed(active) && !resealing.is_other_logged(active, core.log.start());
        let rests = state.rests.is_some_and(|(until, _)| Instant::now() < until);
        if !is_new && !resealing.overflowed && (rests || !is_left) {
            return Ok(false);
        }
        // A node that begins goes on where it was, once.
        let kept = match is_new && resealing.done.is_none() && resealing.walk.is_none() {
            true => core.index.walk_place()?.filter(|kept| kept.kek == active),
            false => None,
        };
        let is_kept = kept.is_some();
        if is_new && !is_kept && !core.is_other_indexed(active) && !resealing.is_other_logged(active, core.log.start())
        {
            (resealing.done, resealing.overflowed) = (Some(active), false);
            return Ok(false);
        }
        log::info!(kek:% = active, goes_on = is_kept; "what is sealed under other key generations is sealed anew");
        state.is_idle = !is_kept;
        resealing.overflowed = false;
        resealing.walk = Some(kept.unwrap_or(WalkPlace { kek: active, after: None }));
        Ok(true)
    }

    /// Goes through the next registers.
    fn step(&self, active: KekId) -> Result<bool, StoreError> {
        let core = &self.core;
        let after = core.resealing().walk.as_ref().and_then(|walk| walk.after.clone());
        let first = RegisterKey::first();
        let from = after.as_ref().map_or(Bound::Included(&first), Bound::Excluded);
        let page = core.scan(from, &RegisterKey::end(), STEP)?;
        let next = match page.complete {
            Complete::Through(last) => Some(last),
            Complete::End => None,
        };
        if self.ask(&page.entries, Then::Walked(active, next)) {
            self.state.borrow_mut().is_idle = false;
        }
        Ok(true)
    }

    /// Has the keys in these registers sealed anew; whether there was one.
    fn ask(&self, found: &[(RegisterKey, Arc<super::entry::Held>)], then: Then) -> bool {
        let core = &self.core;
        let mut resealed = Vec::new();
        for (key, held) in found {
            match sealed_keys::reseal(&core.ring, core.cluster, key, &held.record) {
                Ok(Some(seals)) => {
                    let ballot = held.record.ballot;
                    resealed.push(Resealed { key: key.clone(), ballot, seals });
                }
                Ok(None) => {}
                // The ring, and the scrubber, tell of what does not open.
                Err(error) => log::debug!(error:% = error; "a key is not sealed anew"),
            }
        }
        let any = !resealed.is_empty();
        core.counters.resealed.fetch_add(resealed.len() as u64, Ordering::Relaxed);
        match any {
            // Nobody has to be asked, so nothing goes wrong.
            false => _ = self.heard(Ok(()), then),
            true => {
                let (reply, answer) = oneshot::channel();
                // A send fails only when the committer is gone.
                let _ = self.queue.send(Request::Write(Intent::Reseal(resealed), reply));
                self.state.borrow_mut().asked = Some((answer, then));
            }
        }
        any
    }

    /// The log has heard, or it has not: then the same is done again.
    fn heard(&self, done: Result<(), StoreError>, then: Then) -> Result<(), StoreError> {
        let core = &self.core;
        let mut resealing = core.resealing();
        if matches!(then, Then::Strays) {
            resealing.strays_heard(done.is_ok());
        }
        done?;
        match then {
            Then::Strays => {}
            Then::Walked(kek, after) => {
                if resealing.walk.as_ref().is_none_or(|walk| walk.kek != kek) {
                    return Ok(());
                }
                let is_end = after.is_none();
                let walk = (!is_end).then_some(WalkPlace { kek, after });
                resealing.walk.clone_from(&walk);
                if is_end {
                    resealing.done = Some(kek);
                }
                drop(resealing);
                core.keep_walk(walk);
                if is_end {
                    self.ended(kek);
                }
            }
        }
        Ok(())
    }

    /// A walk was at its end. Where it has found nothing to do, and something is counted, the counts are looked at; the
    /// next one begins later then.
    fn ended(&self, kek: KekId) {
        log::info!(kek:%; "everything was looked through: what opens is sealed under the active key generation");
        let mut state = self.state.borrow_mut();
        // What is counted may have been sealed anew since, and the index has not heard of it.
        let is_behind = self.core.resealing().is_other_logged(kek, self.core.log.start());
        if !state.is_idle || is_behind {
            state.rests = None;
            return;
        }
        let rest = state.rests.map_or(REST, |(_, rested)| (rested * 2).min(REST_MAX));
        state.rests = Some((Instant::now() + rest, rest));
        if self.core.is_other_indexed(kek)
            && let Err(error) = self.core.set_key_counts_right()
        {
            log::debug!(error:% = error; "keys could not be counted anew");
        }
    }
}

#[cfg(test)]
mod tests;
