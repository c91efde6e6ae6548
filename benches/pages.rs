//! Commits of the index engine on sealed pages and on a plain file: records a second, bytes written, peak memory.
//!
//! `cargo bench --bench pages` runs all cases, each in a process of its own (for the peak). Arguments after `--`:
//! backend (sealed, plain), records a commit, commits, cache MiB, mode (qr: quick repair, 2p: two-phase, 1p).

use boveda::disk::crash::Rng;
use boveda::disk::{Disk, RealDisk};
use boveda::seal::SealingKey;
use boveda::store::pages::{create_database, open_database};
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("t");
const RECORD_BYTES: usize = 1_300;
/// Records that are in the table before the clock starts.
const PRELOAD: u64 = 100_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let [backend, records, commits, cache, mode] = arguments.as_slice() {
        let number = |text: &str| text.parse().expect("a number");
        return run(backend, number(records), number(commits), number(cache), mode);
    }
    println!(
        "{:>6} {:>7} {:>5} {:>4} | records/s  commit ms  written B/record  file MiB  peak MiB  reopen ms",
        "", "records", "cache", "mode"
    );
    let me = std::env::current_exe().expect("has a name");
    for (records, commits) in [("64", "300"), ("5000", "8"), ("20000", "4")] {
        for cache in ["16", "32", "64"] {
            for mode in ["qr", "2p", "1p"] {
                for backend in ["plain", "sealed"] {
                    if cache != "32" && mode != "qr" {
                        continue;
                    }
                    let ok = std::process::Command::new(&me).args([backend, records, commits, cache, mode]).status();
                    assert!(ok.expect("runs").success());
                }
            }
        }
    }
}

fn run(backend: &str, records: u64, commits: u64, cache_mib: u64, mode: &str) {
    let dir = tempfile::tempdir_in(std::env::var("BOVEDA_BENCH_DIR").unwrap_or_else(|_| ".".into())).expect("makes");
    let path = dir.path().join("index");
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let cache = usize::try_from(cache_mib << 20).expect("fits");
    let key = || SealingKey::new(&[1; 32]);
    let database = match backend {
        "plain" => Database::builder().set_cache_size(cache).create(&path).expect("creates"),
        _ => create_database(disk.as_ref(), &path, key(), [1; 16], cache).expect("creates").0,
    };
    let mut rng = Rng::new(1);
    for _ in 0..PRELOAD / 10_000 {
        commit(&database, &mut rng, 10_000, mode);
    }
    let (from, start) = (written(), Instant::now());
    for _ in 0..commits {
        commit(&database, &mut rng, records, mode);
    }
    let seconds = start.elapsed().as_secs_f64();
    let total = (records * commits) as f64;
    let bytes = (written() - from) as f64;
    let peak = peak_mib();
    drop(database);
    let start = Instant::now();
    let database = match backend {
        "plain" => Database::builder().set_cache_size(cache).open(&path).expect("opens"),
        _ => open_database(disk.as_ref(), &path, key(), [1; 16], cache, 0).expect("opens").0,
    };
    let reopen = start.elapsed().as_secs_f64() * 1e3;
    let held = database.begin_read().expect("begins").open_table(TABLE).expect("opens").len().expect("reads");
    assert!(held > PRELOAD / 2);
    println!(
        "{backend:>6} {records:>7} {cache_mib:>5} {mode:>4} | {:>9.0}  {:>9.1}  {:>16.0}  {:>8.0}  {peak:>8.0}  {reopen:>9.1}",
        total / seconds,
        seconds * 1e3 / commits as f64,
        bytes / total,
        size_mib(&path),
    );
}

fn commit(database: &Database, rng: &mut Rng, records: u64, mode: &str) {
    let mut batch: Vec<([u8; 40], [u8; 8])> = (0..records).map(|_| record(rng)).collect();
    batch.sort_unstable();
    let mut transaction = database.begin_write().expect("begins");
    transaction.set_quick_repair(mode == "qr");
    transaction.set_two_phase_commit(mode == "2p");
    {
        let mut table = transaction.open_table(TABLE).expect("opens");
        let mut value = [0; RECORD_BYTES];
        for (key, text) in &batch {
            value.iter_mut().zip(text.iter().cycle()).for_each(|(to, from)| *to = *from);
            table.insert(key.as_slice(), value.as_slice()).expect("inserts");
        }
    }
    transaction.commit().expect("commits");
}

/// Random keys of a length that names have, of a million possible ones.
fn record(rng: &mut Rng) -> ([u8; 40], [u8; 8]) {
    let mut key = [b'k'; 40];
    key[..8].copy_from_slice(&(rng.below(1_000_000)).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    (key, rng.next().to_le_bytes())
}

/// Bytes that this process has handed to `write`.
fn written() -> u64 {
    field("/proc/self/io", "wchar:")
}

fn peak_mib() -> f64 {
    field("/proc/self/status", "VmHWM:") as f64 / 1024.0
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).expect("reads");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("has the field");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

fn size_mib(path: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).expect("is there").blocks() as f64 * 512.0 / f64::from(1 << 20)
}
