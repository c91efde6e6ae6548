//! Making and opening the engine on sealed pages, so that damage is an error and never a panic or a wrong answer.
//!
//! Invariants
//! - The index has its name only once the engine has finished making it.
//! - The engine's recovery may meet pages that power loss left unfinished and reads them as zeros; where it
//!   did so without calling it a repair, the database is refused, and nothing is written.

use super::backend::{PagesProbe, SealedPages, publish};
use super::error::PagesError;
use super::layout::FileId;
use crate::disk::{Disk, place};
use crate::seal::SealingKey;
use redb::{Database, DatabaseError, StorageBackend};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

/// Makes an empty database, durable under its name when this returns. The name must be free; what an earlier
/// crash left under the staged name is removed.
pub fn create_database(
    disk: &dyn Disk,
    path: &Path,
    key: SealingKey,
    id: FileId,
    cache_bytes: usize,
) -> Result<(Database, Arc<PagesProbe>), PagesError> {
    let pages = SealedPages::create_staged(disk, path, key, id)?;
    let made = start(pages, cache_bytes)?;
    publish(disk, &place::staged(path), path)?;
    Ok(made)
}

/// Opens a database at its newest whole state. `at_least` is the sequence (`PagesProbe::sequence`) that the
/// caller knows to have been durable, 0 when it knows none: with it, damage that would set the index back by
/// one commit is refused too.
pub fn open_database(
    disk: &dyn Disk,
    path: &Path,
    key: SealingKey,
    id: FileId,
    cache_bytes: usize,
    at_least: u64,
) -> Result<(Database, Arc<PagesProbe>), PagesError> {
    let pages = SealedPages::open(disk, path, key, id, at_least)?;
    if pages.len().unwrap_or(0) == 0 {
        return Err(PagesError::Damaged("holds no database"));
    }
    start(pages, cache_bytes)
}

fn start(pages: SealedPages, cache_bytes: usize) -> Result<(Database, Arc<PagesProbe>), PagesError> {
    let repaired = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&repaired);
    let backend = pages.clone();
    let opened = guarded(move || {
        Database::builder()
            .set_cache_size(cache_bytes)
            .set_repair_callback(move |_| seen.store(true, Ordering::Release))
            .create_with_backend(backend)
    });
    let unexplained = pages.zeroed_reads() > 0 && !repaired.load(Ordering::Acquire);
    let refusal = match opened {
        Ok(Ok(database)) if !unexplained => {
            pages.become_strict();
            return Ok((database, Arc::new(pages.probe())));
        }
        Ok(Ok(database)) => {
            // Its way out would write.
            pages.poison();
            drop(database);
            PagesError::Damaged("the engine read damaged pages and did not notice")
        }
        Ok(Err(DatabaseError::Storage(error))) => PagesError::Engine(Box::new(error.into())),
        Ok(Err(error)) => PagesError::Engine(Box::new(error.into())),
        Err(panicked) => panicked,
    };
    pages.poison();
    Err(refusal)
}

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

static QUIET: Once = Once::new();

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}
