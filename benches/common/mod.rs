//! What the benches share: a store on the real disk, and what the process has cost so far.
//!
//! Nothing is measured here. The directory of a store goes with its `Place`, also after a panic.

// Each bench uses its part of this.
#![allow(dead_code)]

use boveda::base::{BucketName, ObjectKey, ObjectName, Secret};
use boveda::disk::RealDisk;
use boveda::seal::keyring::Keyring;
use boveda::store::{Options, Store};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clock ticks in a second, in what Linux reports under /proc, on every machine.
const TICKS_PER_S: f64 = 100.0;
/// What Linux counts a disk's writes in, whatever its sectors are.
const SECTOR_BYTES: f64 = 512.0;

/// Seconds given by `BENCH_SECONDS`, or `default`.
pub fn seconds(default: f64) -> Duration {
    let text = std::env::var("BENCH_SECONDS").ok();
    Duration::from_secs_f64(text.and_then(|t| t.parse().ok()).unwrap_or(default))
}

/// A key ring of one generation.
pub fn ring() -> Arc<Keyring> {
    Arc::new(Keyring::new(vec![(1, Secret::new(boveda::seal::random()))]).expect("one key makes a ring"))
}

/// An object of the first bucket.
pub fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a valid key") }
}

/// Bytes that do not compress.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// A directory of our own on the disk that `BENCH_DIR` names (default: the working directory).
pub struct Place(pub PathBuf);

impl Place {
    /// Makes it.
    pub fn new(what: &str) -> Self {
        let parent = std::env::var_os("BENCH_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
        let dir = parent.join(format!("boveda-bench-{what}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("the bench's directory can be made");
        Place(dir)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A store with its threads, in a new directory.
pub fn store(place: &Place, options: Options) -> Arc<Store> {
    let dir = place.0.join("data");
    let (store, work) = boveda::store::open(Arc::new(RealDisk), &dir, ring(), None, options).expect("a store opens");
    store.start(work, || std::process::abort()).expect("its threads start")
}

/// What this process has used since it began.
#[derive(Clone, Copy)]
pub struct Cost {
    at: Instant,
    cpu_s: f64,
    disk_bytes: f64,
    device: u64,
}

impl Cost {
    /// So far; the disk is the one that holds the place.
    pub fn now(place: &Place) -> Self {
        Cost::on(fs::metadata(&place.0).expect("the place is there").dev())
    }

    fn on(device: u64) -> Self {
        let stat = fs::read_to_string("/proc/self/stat").expect("/proc is there");
        // The name, in brackets, may hold anything; the fields are counted from behind it.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        // What the disk wrote, for whomever: a process's own count takes a whole large page for each
        // byte that it dirties in it.
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let disk = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).unwrap_or_default();
        let sectors: f64 = disk.split_whitespace().nth(6).and_then(|s| s.parse().ok()).unwrap_or(0.0);
        let cpu_s = (ticks(11) + ticks(12)) / TICKS_PER_S;
        Cost { at: Instant::now(), cpu_s, disk_bytes: sectors * SECTOR_BYTES, device }
    }

    /// Seconds on the clock, CPU seconds, bytes that the disk wrote, since then.
    pub fn since(self) -> (f64, f64, f64) {
        let now = Cost::on(self.device);
        ((now.at - self.at).as_secs_f64(), now.cpu_s - self.cpu_s, now.disk_bytes - self.disk_bytes)
    }
}

/// The time below which this part of the sorted times lies, in milliseconds.
pub fn percentile_ms(sorted: &[Duration], part: f64) -> f64 {
    sorted.get((sorted.len() as f64 * part) as usize).map_or(0.0, |d| d.as_secs_f64() * 1e3)
}
