//! Making and opening the engine on sealed pages, so that damage is an error and never a panic or a wrong answer.
//!
//! Invariants
//! - The index has its name only once the engine has finished making it.
//! - The engine's recovery may meet pages that power loss left unfinished and reads them as zeros; where it
//!   did so without calling it a repair, the database is refused, and nothing is written.

use super::backend::{PagesProbe, SealedPages, publish};
use super::error::PagesError;
use super::guard::guarded;
use super::layout::FileId;
use crate::disk::{Disk, place};
use crate::seal::SealingKey;
use redb::{Database, DatabaseError, StorageBackend};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{CrashDisk, RealDisk};
    use crate::store::pages::guard::{is_hurried, unless_it_waits};
    use crate::store::pages::layout::PAGE_BYTES;
    use redb::{ReadableDatabase, TableDefinition};

    const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");
    const ID: FileId = [7; 16];
    const KEYS: u64 = 3000;

    fn key() -> SealingKey {
        SealingKey::new(&[3; 32])
    }

    fn write(database: &Database, round: u8) {
        let tx = database.begin_write().expect("begins");
        {
            let mut table = tx.open_table(TABLE).expect("opens");
            for n in 0..KEYS {
                table.insert(n, [round; 100].as_slice()).expect("inserts");
            }
        }
        tx.commit().expect("commits");
    }

    /// The first byte under a key.
    fn look(database: &Database, n: u64) -> Result<u8, redb::Error> {
        let table = database.begin_read()?.open_table(TABLE)?;
        Ok(table.get(n)?.map_or(0, |value| value.value()[0]))
    }

    #[test]
    fn who_must_not_wait_leaves_and_the_engine_goes_on() {
        // A disk in memory does not tell what the system has in memory: what the engine does not hold has to be waited for.
        let disk = CrashDisk::new(5);
        let path = Path::new("/pages");
        let (database, probe) = create_database(&disk, path, key(), ID, 16 * PAGE_BYTES).expect("creates");
        let (mut left, mut seen) = (0, 0);
        for round in 1..5 {
            write(&database, round);
            for n in 0..KEYS {
                match unless_it_waits(|| look(&database, n)) {
                    Some(found) => {
                        assert_eq!(found.expect("reads"), round);
                        seen += 1;
                    }
                    None => left += 1,
                }
                assert_eq!(look(&database, n).expect("who has time is told"), round);
            }
        }
        assert!(left > 100 && seen > 100, "{left} left, {seen} saw");
        assert!(!is_hurried() && probe.damaged_pages() == 0 && !probe.is_poisoned());
    }

    #[test]
    fn what_the_system_has_in_memory_is_seen_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("pages");
        let (database, _) = create_database(&RealDisk, &path, key(), ID, 16 * PAGE_BYTES).expect("creates");
        write(&database, 1);
        // Not every file system tells what it has in memory.
        let file = RealDisk.open(&path).expect("opens");
        let tells = file.read_cached_at(0, &mut [0; PAGE_BYTES]);
        let seen =
            (0..KEYS).filter(|n| unless_it_waits(|| look(&database, *n)).is_some_and(|found| found.is_ok())).count();
        assert!(seen as u64 == KEYS || !tells, "{seen} of {KEYS}");
    }

    #[test]
    fn who_leaves_a_damaged_page_says_nothing_of_it() {
        let disk = CrashDisk::new(5);
        let path = Path::new("/pages");
        let (database, probe) = create_database(&disk, path, key(), ID, 0).expect("creates");
        write(&database, 1);
        let len = disk.open(path).expect("opens").len().expect("has a length");
        for at in (8 * PAGE_BYTES as u64..len).step_by(PAGE_BYTES) {
            disk.flip(path, at + 5, 1).expect("flips");
        }
        assert!((0..KEYS).all(|n| unless_it_waits(|| look(&database, n)).is_none()));
        assert_eq!(probe.damaged_pages(), 0, "no page was judged");
        assert!(guarded(|| look(&database, 7)).is_ok_and(|found| found.is_err()) && probe.damaged_pages() > 0);
    }
}
