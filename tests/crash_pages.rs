//! The index engine on sealed pages on a disk that loses power: after any loss the database opens and holds
//! the state of some commit, none older than the last one answered. And on a disk that lies: right data or an
//! error, never wrong data, and nothing readable.
//!
//! `BOVEDA_CRASH_SEEDS=500 cargo test --release --test crash_pages` looks at more; `BOVEDA_CRASH_FROM` picks the
//! first seed, so that a failure is replayed by the seed it prints and a count of 1.

use boveda::disk::crash::Rng;
use boveda::disk::{CrashDisk, Disk};
use boveda::seal::SealingKey;
use boveda::store::DiskOp;
use boveda::store::pages::{FileId, PagesError, PagesProbe, create_database, guarded, open_database};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("table-name-that-must-not-show");
const ID: FileId = [9; 16];
/// Part of every key and every value.
const MARK: &[u8] = b"planted-plaintext";

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn path() -> &'static Path {
    Path::new("/data/index")
}

fn key() -> SealingKey {
    SealingKey::new(&[5; 32])
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How one seed uses the engine.
#[derive(Clone, Copy)]
struct Habits {
    quick_repair: bool,
    two_phase: bool,
    cache_bytes: usize,
    commits: u64,
}

impl Habits {
    fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xAB);
        // One seed in four commits in one phase: there the engine falls back by its own checksums, and needs
        // zeros where power loss left half a page.
        let one_phase = seed % 4 == 3;
        Habits {
            quick_repair: !one_phase,
            two_phase: !one_phase,
            cache_bytes: [0, 64 << 10, 4 << 20][rng.below(3) as usize],
            commits: 4 + rng.below(3),
        }
    }
}

/// The changes of commit `number`: `None` deletes.
fn changes(seed: u64, number: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut rng = Rng::new(seed.wrapping_mul(1_000).wrapping_add(number));
    let count = if rng.below(4) == 0 { 150 } else { 1 + rng.below(12) };
    let change = |_| {
        let key = [MARK, &rng.below(60).to_le_bytes()].concat();
        let len = if rng.below(12) == 0 { 15_000 } else { rng.below(400) } as usize;
        let text = rng.next().to_le_bytes().repeat(len / 8);
        (key, (rng.below(5) > 0).then(|| [MARK, &text].concat()))
    };
    (0..count).map(change).collect()
}

fn apply(model: &mut Model, seed: u64, number: u64) {
    for (key, value) in changes(seed, number) {
        match value {
            Some(value) => model.insert(key, value),
            None => model.remove(&key),
        };
    }
}

fn commit(database: &Database, habits: Habits, seed: u64, number: u64) -> Result<bool, redb::Error> {
    let mut transaction = database.begin_write()?;
    let durable = !number.is_multiple_of(3);
    transaction.set_quick_repair(habits.quick_repair);
    transaction.set_two_phase_commit(habits.two_phase);
    if !durable {
        transaction.set_durability(Durability::None)?;
    }
    {
        let mut table = transaction.open_table(TABLE)?;
        for (key, value) in changes(seed, number) {
            match value {
                Some(value) => table.insert(key.as_slice(), value.as_slice())?,
                None => table.remove(key.as_slice())?,
            };
        }
    }
    transaction.commit()?;
    Ok(durable)
}

fn read_all(database: &Database) -> Result<Model, redb::Error> {
    let table = match database.begin_read()?.open_table(TABLE) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Model::new()),
        table => table?,
    };
    let mut all = Model::new();
    for pair in table.iter()? {
        let (key, value) = pair?;
        all.insert(key.value().to_vec(), value.value().to_vec());
    }
    Ok(all)
}

type Opened = (Database, Arc<PagesProbe>);

fn open_or_create(disk: &CrashDisk, habits: Habits, at_least: u64) -> Result<Opened, PagesError> {
    let failed = |source| PagesError::Disk { op: DiskOp::LookFor, path: path().to_owned(), source };
    if disk.exists(path()).map_err(failed)? {
        open_database(disk, path(), key(), ID, habits.cache_bytes, at_least)
    } else {
        assert_eq!(at_least, 0, "an index that was used keeps its name");
        create_database(disk, path(), key(), ID, habits.cache_bytes)
    }
}

/// What is known to a user of the index who answers only after a durable commit.
#[derive(Default)]
struct Known {
    /// Commits answered as durable.
    answered: u64,
    /// Commits that were begun: the newest may have become durable or not.
    begun: u64,
    sequence: u64,
}

/// One life: opens, checks, commits until the power goes. False when it does not even open.
fn live(disk: &CrashDisk, habits: Habits, seed: u64, states: &[Model], known: &mut Known) -> bool {
    let Ok((database, probe)) = open_or_create(disk, habits, known.sequence) else {
        assert!(disk.is_dead(), "seed {seed}: does not open with power");
        return false;
    };
    let found = match read_all(&database) {
        Ok(found) => found,
        Err(_) if disk.is_dead() => return false,
        Err(error) => panic!("seed {seed}: does not read with power: {error}"),
    };
    let within = known.answered..=known.begun;
    let at = within.clone().find(|&number| states.get(number as usize) == Some(&found));
    let at = at.unwrap_or_else(|| panic!("seed {seed}: holds no state of {within:?}"));
    assert_eq!(probe.damaged_pages(), 0, "seed {seed}");
    // What is found now was made durable by the open itself.
    (known.answered, known.begun, known.sequence) = (at, at, probe.sequence());
    while (known.begun as usize) < states.len() - 1 {
        known.begun += 1;
        match commit(&database, habits, seed, known.begun) {
            Ok(true) => (known.answered, known.sequence) = (known.begun, probe.sequence()),
            Ok(false) => {}
            Err(_) => {
                assert!(disk.is_dead(), "seed {seed}: a commit fails with power");
                break;
            }
        }
    }
    true
}

#[test]
fn any_power_loss_leaves_a_committed_state() {
    let (from, seeds) = (setting("BOVEDA_CRASH_FROM", 0), setting("BOVEDA_CRASH_SEEDS", 100));
    let points = AtomicU64::new(0);
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= from + seeds {
                    return;
                }
                points.fetch_add(all_points(seed), Ordering::Relaxed);
            }
        };
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("see above"));
    });
    let points = points.into_inner();
    println!("{points} power losses");
    assert!(points > seeds * 30);
}

/// All stops of one seed; how many power losses that were.
fn all_points(seed: u64) -> u64 {
    let habits = Habits::of(seed);
    let states = states_of(seed, habits);
    let mut points = 0;
    for stop_at in 0.. {
        let disk = CrashDisk::new(seed.wrapping_mul(10_007).wrapping_add(stop_at));
        disk.create_dir_all(Path::new("/data")).expect("has power");
        disk.set_power_budget(Some(stop_at));
        let mut known = Known::default();
        live(&disk, habits, seed, &states, &mut known);
        let complete = !disk.is_dead();
        points += 1;
        // Power goes again, and again: in recovery, or in the commits behind it.
        let mut rng = Rng::new(seed ^ stop_at);
        let mut disk = disk.after_power_loss();
        for _ in 0..rng.below(3) {
            disk.set_power_budget(Some(rng.below(9)));
            live(&disk, habits, seed, &states, &mut known);
            disk = disk.after_power_loss();
            points += 1;
        }
        assert!(live(&disk, habits, seed, &states, &mut known), "seed {seed} stop {stop_at}");
        assert_eq!(known.begun, habits.commits, "seed {seed} stop {stop_at}: all of it in the end");
        if stop_at % 8 == 0 {
            assert_unreadable(&disk);
        }
        if complete {
            return points;
        }
    }
    points
}

/// What is there before the first commit, and after each.
fn states_of(seed: u64, habits: Habits) -> Vec<Model> {
    let mut states = vec![Model::new()];
    for number in 1..=habits.commits {
        let mut next = states[states.len() - 1].clone();
        apply(&mut next, seed, number);
        states.push(next);
    }
    states
}

/// The negative control: with a sync that does nothing and says that all is well, a commit that was answered is gone.
#[test]
fn a_sync_that_lies_is_found_out() {
    let lied = |seed: u64| {
        let (habits, mut known) = (Habits::of(seed), Known::default());
        let states = states_of(seed, habits);
        let disk = CrashDisk::new(seed);
        disk.create_dir_all(Path::new("/data")).expect("has power");
        disk.lie_once_after(seed);
        live(&disk, habits, seed, &states, &mut known);
        live(&disk.after_power_loss(), habits, seed, &states, &mut known);
    };
    let found = (0..40).find(|seed| std::panic::catch_unwind(|| lied(*seed)).is_err());
    assert!(found.is_some(), "syncs did nothing, and nobody noticed");
}

/// Lives that end in order, and lives in which one write or sync fails, on a disk that keeps its power: the system goes
/// on remembering what is not there. What an open finds then is on the disk.
#[test]
fn a_close_is_believed_and_what_a_failed_sync_left_in_memory_is_not() {
    let (mut closed, mut dropped, mut failed) = (0, 0, 0);
    for seed in 0..setting("BOVEDA_CRASH_SEEDS", 100) {
        let (habits, mut known, mut rng) = (Habits::of(seed), Known::default(), Rng::new(seed ^ 0xC105ED));
        let states = states_of(seed, habits);
        let disk = CrashDisk::new(seed);
        disk.create_dir_all(Path::new("/data")).expect("has power");
        create_database(&disk, path(), key(), ID, habits.cache_bytes).expect("creates");
        for life in 0..6 {
            let opened = open_database(&disk, path(), key(), ID, habits.cache_bytes, known.sequence);
            let (database, probe) = opened.unwrap_or_else(|error| panic!("seed {seed} life {life}: {error}"));
            *(if probe.was_closed() { &mut closed } else { &mut dropped }) += 1;
            let found = read_all(&database).unwrap_or_else(|error| panic!("seed {seed} life {life}: {error}"));
            let mut within = known.answered..=known.begun;
            let at = within.find(|&number| states.get(number as usize) == Some(&found));
            let at = at.unwrap_or_else(|| panic!("seed {seed} life {life}: holds no state of {within:?}"));
            let there =
                open_database(&disk.after_power_loss(), path(), key(), ID, habits.cache_bytes, probe.sequence());
            let there = there.map_err(|error| error.to_string()).map(|(database, _)| read_all(&database).ok());
            assert_eq!(there, Ok(Some(found)), "seed {seed} life {life}: what it found is not on the disk");
            (known.answered, known.begun, known.sequence) = (at, at, probe.sequence());
            // In the commits, or in the close, or not at all.
            disk.fail_once_after(rng.below(60), std::io::ErrorKind::Other);
            let before = disk.struck();
            for _ in 0..rng.below(3) {
                if (known.begun as usize) < states.len() - 1 {
                    known.begun += 1;
                    match commit(&database, habits, seed, known.begun) {
                        Ok(true) => (known.answered, known.sequence) = (known.begun, probe.sequence()),
                        Ok(false) => {}
                        Err(_) => break,
                    }
                }
            }
            drop(database);
            failed += disk.struck() - before;
            disk.heal();
        }
    }
    assert!(closed > 100 && dropped > 50 && failed > 50, "{closed} closed, {dropped} not, {failed} failures");
}

/// What every file of the index engine begins with in the clear. All of it: four bytes of it alone come up by chance in
/// some hundred megabytes of sealed pages, which this looks through.
const ENGINE_MAGIC: &[u8] = b"redb\x1a\x0a\xa9\x0d\x0a";

fn assert_unreadable(disk: &CrashDisk) {
    for (name, raw) in disk.dump() {
        for plain in [MARK, b"table-name-that-must-not-show", ENGINE_MAGIC] {
            assert!(!raw.windows(plain.len()).any(|w| w == plain), "{} shows {plain:?}", name.display());
        }
    }
}

/// A database of some size, cleanly stopped or not, with what it holds and its sequence.
fn sample(clean: bool) -> (CrashDisk, Model, u64) {
    let disk = CrashDisk::new(1);
    disk.create_dir_all(Path::new("/data")).expect("has power");
    let (database, probe) = create_database(&disk, path(), key(), ID, 1 << 20).expect("creates");
    for number in 0..8 {
        let mut transaction = database.begin_write().expect("begins");
        transaction.set_quick_repair(true);
        let mut table = transaction.open_table(TABLE).expect("opens");
        for i in 0..300u64 {
            let key = [MARK, &(i * 7 % 1_000 + number * 100).to_be_bytes()].concat();
            table.insert(key.as_slice(), [MARK, &[number as u8; 300]].concat().as_slice()).expect("inserts");
        }
        drop(table);
        transaction.commit().expect("commits");
    }
    let model = read_all(&database).expect("reads");
    if clean {
        drop(database);
        return (disk, model, probe.sequence());
    }
    let copy = disk.copy();
    let sequence = probe.sequence();
    (copy, model, sequence)
}

/// Opens a damaged database and reads everything: what is read is right. True when all of it could be read.
fn right_or_refused(disk: &CrashDisk, model: &Model, at_least: u64, what: &str) -> bool {
    let Ok((database, probe)) = open_database(disk, path(), key(), ID, 1 << 20, at_least) else { return false };
    let mut refused = 0;
    for (key, value) in model {
        let read = guarded(|| {
            let table = database.begin_read()?.open_table(TABLE)?;
            Ok::<_, redb::Error>(table.get(key.as_slice())?.map(|v| v.value().to_vec()))
        });
        match read {
            Ok(Ok(found)) => assert_eq!(found.as_ref(), Some(value), "{what}: wrong data"),
            Ok(Err(_)) => refused += 1,
            Err(panicked) => panic!("{what}: {panicked} on a read"),
        }
    }
    assert_eq!(refused > 0, probe.damaged_pages() > 0, "{what}: errors are damage and damage is counted");
    refused == 0
}

#[test]
fn damage_is_an_error_or_harmless() {
    let samples = setting("BOVEDA_DAMAGE_SAMPLES", 400);
    for clean in [true, false] {
        let (disk, model, sequence) = sample(clean);
        assert!(model.len() > 1_000 && right_or_refused(&disk.copy(), &model, sequence, "undamaged"));
        assert_unreadable(&disk);
        let raw = disk.read_raw(path()).expect("reads");
        let blocks = raw.len() as u64 / 4096;
        let mut rng = Rng::new(7);
        let mut harmless = 0;
        for round in 0..samples {
            let copy = disk.copy();
            let (a, b) = (rng.below(blocks) * 4096, rng.below(blocks) * 4096);
            let block = |at: u64| &raw[at as usize..at as usize + 4096];
            let done = match round % 6 {
                0 | 1 => copy.flip(path(), rng.below(raw.len() as u64), 1 << rng.below(8)),
                2 => copy.write_raw(path(), a, &[0; 4096]),
                3 => copy.write_raw(path(), a, block(b)).and_then(|()| copy.write_raw(path(), b, block(a))),
                4 => copy.set_len_raw(path(), rng.below(raw.len() as u64)),
                _ => copy.write_raw(path(), a, &rng.next().to_le_bytes().repeat(512)),
            };
            done.expect("damages");
            let what = format!("clean {clean} round {round} at {a} and {b} of {}", raw.len());
            harmless += u64::from(right_or_refused(&copy, &model, sequence, &what));
        }
        assert!(harmless < samples * 3 / 4, "damage is met: {harmless} of {samples} harmless");
    }
}

#[test]
fn an_older_page_or_file_is_refused() {
    let (disk, ..) = sample(true);
    let old = disk.copy();
    let before = old.read_raw(path()).expect("reads");
    let (database, probe) = open_database(&disk, path(), key(), ID, 1 << 20, 0).expect("opens");
    let mut transaction = database.begin_write().expect("begins");
    transaction.set_quick_repair(true);
    let mut table = transaction.open_table(TABLE).expect("opens");
    let keys: Vec<Vec<u8>> = table.iter().expect("reads").map(|p| p.expect("reads").0.value().to_vec()).collect();
    for key in &keys {
        table.insert(key.as_slice(), b"changed".as_slice()).expect("inserts");
    }
    drop(table);
    transaction.commit().expect("commits");
    drop(database);
    let sequence = probe.sequence();
    let model: Model = keys.into_iter().map(|key| (key, b"changed".to_vec())).collect();
    assert!(right_or_refused(&disk.copy(), &model, sequence, "undamaged"));
    for at in (0..before.len()).step_by(4096) {
        let copy = disk.copy();
        copy.write_raw(path(), at as u64, &before[at..(at + 4096).min(before.len())]).expect("damages");
        right_or_refused(&copy, &model, sequence, &format!("older block at {at}"));
    }
    assert!(matches!(open_database(&old, path(), key(), ID, 1 << 20, sequence), Err(PagesError::RolledBack { .. })));
}
