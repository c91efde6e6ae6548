//! Work on the index engine from outside: its panics are errors, and who must not wait for a disk need not.
//!
//! Invariant: a look that was left has changed nothing, and says nothing of any page.

use super::error::PagesError;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Once;

/// Runs work on the engine; a panic in it comes back as an error, told by whoever handles that.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, PagesError> {
    QUIET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match GUARDED.get() {
            // The engine's own message names its source, not the damage; it is for those who look for it.
            true => log::debug!("index engine panicked: {info}"),
            false => loud(info),
        }));
    });
    let before = GUARDED.replace(true);
    // What the engine shares across the boundary is its own file state, which is poisoned or dropped after.
    let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| PagesError::Panicked);
    GUARDED.set(before);
    result
}

/// Runs a look at the engine that must not wait for a disk; `None` where it would have to, or where the engine fails in
/// any way: whoever looks again, with time, is told.
///
/// The engine takes an error of a read for the end of all its work, so what would wait is left by unwinding through it
/// instead. It holds no lock while it reads, and a look changes nothing.
pub fn unless_it_waits<T>(look: impl FnOnce() -> T) -> Option<T> {
    let before = HURRIED.replace(true);
    let seen = guarded(look);
    HURRIED.set(before);
    seen.ok()
}

/// Whether who reads now must not wait.
pub(super) fn is_hurried() -> bool {
    HURRIED.get()
}

/// Leaves a look that would wait. No panic: nothing is said of it.
pub(super) fn leave() -> ! {
    resume_unwind(Box::new(()))
}

static QUIET: Once = Once::new();

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static HURRIED: Cell<bool> = const { Cell::new(false) };
}
