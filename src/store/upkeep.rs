//! Upkeep: what a store does for itself beside the commits: checkpoints in time, and the files that nothing refers to.
//!
//! Invariant: a blob is removed only within its gate, after a look at who refers to it.

use super::blobs::Blobs;
use super::core::Core;
use super::reaper::Reaper;
use crossbeam_channel::{Receiver, select, tick};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the background thread looks at the clock, the disk and the log.
const TICK: Duration = Duration::from_millis(500);
/// Time between sweeps of blobs that landed and never got a record.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Keeps the store until the sender of `stopped` is gone. On a thread of its own.
pub(super) fn background(core: &Arc<Core>, reaper: &Reaper, stopped: &Receiver<()>) {
    let ticks = tick(TICK);
    let mut clock = TickClock { log_end: 0, checkpointed: Instant::now(), swept: Instant::now() };
    loop {
        select! {
            recv(core.reap.1) -> _ => reaper.look(Instant::now()),
            // What it was sent for may have been done by the checkpoint that was under way.
            recv(core.nudge.1) -> _ => if core.is_index_behind() {
                bring_index_up(core, &mut clock);
            },
            recv(ticks) -> _ => {
                on_tick(core, &mut clock);
                reaper.look(Instant::now());
            }
            recv(stopped) -> _ => return,
        }
    }
}

struct TickClock {
    /// Where the log ended a tick ago.
    log_end: u64,
    checkpointed: Instant,
    swept: Instant,
}

fn on_tick(core: &Core, clock: &mut TickClock) {
    // A shortage has been told of when it began.
    if let Some(error) = core.refresh_space().err().filter(|error| !error.is_shortage()) {
        log::warn!(error:% = error; "free space unknown");
    }
    let due = clock.checkpointed.elapsed() >= core.options.checkpoint_interval;
    // One that found no room holds writes up: it is tried again at every look.
    if due || core.is_checkpoint_due_for_room() || core.unflushed.load(Ordering::Acquire) {
        bring_index_up(core, clock);
    }
    // While frames follow each other each says that those before it are durable.
    if std::mem::replace(&mut clock.log_end, core.log.end()) == core.log.end() {
        // A failure has poisoned the store and logged why.
        let _ = core.mark_log();
    }
    if clock.swept.elapsed() >= SWEEP_EVERY {
        clock.swept = Instant::now();
        if let Err(error) = core.sweep_claims(core.options.orphan_grace) {
            log::warn!(error:% = error; "places of bodies without a record could not be given up");
        }
        for body in core.blobs.landed_before(core.options.orphan_grace) {
            let free = |blobs: &Blobs| {
                if core.refers_to(body)? {
                    blobs.settle(body);
                }
                core.may_go(body)
            };
            if let Err(error) = core.blobs.remove_if(body, free) {
                log::warn!(error:% = error; "a body without a record could not be removed");
            }
        }
    }
}

fn bring_index_up(core: &Core, clock: &mut TickClock) {
    if !core.is_poisoned() {
        // A failure has poisoned the store and logged why; a full disk is told where it is found.
        let _ = core.checkpoint();
    }
    clock.checkpointed = Instant::now();
}
