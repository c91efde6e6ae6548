//! What a panic means: a ReplicaActor is built anew by its keeper; whoever holds keys or the disk, and whoever nobody
//! would build anew (coordinators, keepers, healer, scrubber), ends the process.
//!
//! The guard is a field of the actor (or a local of the work on a thread). A panicking actor is
//! dropped while its thread unwinds, so the guard's `drop` sees the panic; `actor_traps` pins that.

use actix::{Message, WeakRecipient};

/// Told to a keeper when one of its actors panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Died {
    /// Which of the keeper's lanes.
    pub lane: usize,
    /// Which life of it: a death that was told late is not counted against a later life.
    pub life: u64,
}

/// What to do about a panic.
#[derive(Debug)]
pub enum OnPanic {
    /// End the process: half-known state of keys or disk is worse than a restart.
    Abort,
    /// Tell the keeper, which builds a new actor.
    Tell(WeakRecipient<Died>, Died),
}

/// Acts when it is dropped by a panic.
#[derive(Debug)]
pub struct PanicGuard(OnPanic);

impl PanicGuard {
    /// For whatever holds keys or the disk, and for actors that nobody would build anew.
    pub fn abort() -> Self {
        PanicGuard(OnPanic::Abort)
    }

    /// For actors that a keeper builds.
    pub fn tell(keeper: WeakRecipient<Died>, died: Died) -> Self {
        PanicGuard(OnPanic::Tell(keeper, died))
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        match &self.0 {
            OnPanic::Abort => {
                log::error!(
                    "a part that holds keys or the disk panicked: the process ends, and starts again from the log"
                );
                // Lines wait in memory for another thread, which ends with the process.
                crate::base::log_pipe::settle();
                std::process::abort();
            }
            OnPanic::Tell(keeper, died) => {
                if let Some(keeper) = keeper.upgrade() {
                    keeper.do_send(*died);
                }
            }
        }
    }
}
