//! The reaper: bodies that no record refers to any more go, once they have waited.

use super::core::Core;
use super::intent::{Intent, Request};
use super::removal::Removal;
use crossbeam_channel::Sender;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Places that the log is asked to take in one request.
const RELEASED_MAX: usize = 512;

/// Removes bodies whose last record was replaced, once that is durable.
#[derive(Debug)]
pub struct Reaper {
    core: Arc<Core>,
    queue: Sender<Request>,
}

impl Reaper {
    pub(super) fn new(core: Arc<Core>, queue: Sender<Request>) -> Self {
        Reaper { core, queue }
    }

    /// Has all go that waits, and what was forgotten by a process before, as if their time had come and the references
    /// were recounted. Places go with a commit, and are looked at in the next turn. For tests that bring their own
    /// clockwork.
    pub fn turn(&self) {
        while self.core.recount_on() {}
        self.core.hasten_orphans();
        self.remove(Instant::now(), true);
    }

    /// Has those go whose time has come by then.
    pub fn look(&self, now: Instant) {
        self.remove(now, self.core.lacks_room_now());
    }

    fn remove(&self, now: Instant, at_once: bool) {
        // What may not go yet stays where it is.
        if !self.core.index.are_counts_sure() {
            return;
        }
        let taken = self.core.waiting().take(now, at_once);
        let (mut again, mut placed) = (Vec::new(), Vec::new());
        for left in taken {
            match self.core.remove_left(left.body) {
                Ok(Removal::Done) => {}
                Ok(Removal::Later) => again.push(left),
                Ok(Removal::Placed) => {
                    placed.push(left.body);
                    again.push(left);
                }
                Err(error) => log::warn!(error:% = error; "a replaced body stays until the next start"),
            }
        }
        for bodies in placed.chunks(RELEASED_MAX) {
            // Whether the log took them shows when they are looked at again.
            let (reply, _) = oneshot::channel();
            let _ = self.queue.send(Request::Write(Intent::Release(bodies.to_vec()), reply));
        }
        self.core.waiting().put_back(again);
    }
}
