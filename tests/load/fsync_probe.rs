//! What the disk gives at best: one prezeroed log, one writer, group commit, many waiters.
//!
//! Invariants
//! - A waiter has one record under way; it is answered only after the fdatasync behind its record.
//! - The file holds its zeros on disk before the clock starts: no append changes its length or its blocks.
//! - The store's code is not used: this is the yardstick, not the thing measured.
//!
//! Usage: `fsync_probe DIR [SECONDS] [WAITERS]`. Prints one line of JSON.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

const RECORD_BYTES: usize = 4096;
const RING_BYTES: u64 = 64 << 20;
const ZERO_STEP: usize = 1 << 20;
/// Left out of the figures: the first batches find cold threads and an idle disk.
const WARM_UP: Duration = Duration::from_millis(300);

/// What the writer has done.
struct Written {
    syncs: u64,
    records: u64,
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| String::from(".")));
    let seconds = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(3.0);
    let waiters = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(64);
    let path = dir.join("fsync-probe.log");
    let result = probe(&path, Duration::from_secs_f64(seconds), waiters);
    let _ = std::fs::remove_file(&path);
    if let Err(error) = result {
        eprintln!("fsync_probe: {}: {error}", path.display());
        std::process::exit(1);
    }
}

fn probe(path: &Path, length: Duration, waiters: usize) -> io::Result<()> {
    let file = prezeroed(path)?;
    let (queue, requests) = channel();
    let begin = Instant::now() + WARM_UP;
    let end = begin + length;
    let waiting: Vec<_> = (0..waiters)
        .map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || wait_for_records(&queue, begin, end))
        })
        .collect();
    drop(queue);
    let written = write_batches(&file, &requests)?;
    let mut latencies: Vec<Duration> = Vec::new();
    for waiter in waiting {
        latencies.extend(waiter.join().map_err(|_| io::Error::other("a waiter panicked"))?);
    }
    latencies.sort_unstable();
    let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).map_or(0.0, Duration::as_secs_f64);
    println!(
        r#"{{"waiters": {waiters}, "records_per_s": {:.0}, "p50_ms": {:.3}, "p99_ms": {:.3}, "batch_mean": {:.1}}}"#,
        latencies.len() as f64 / length.as_secs_f64(),
        at(0.50) * 1e3,
        at(0.99) * 1e3,
        written.records as f64 / written.syncs.max(1) as f64,
    );
    Ok(())
}

fn prezeroed(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    let zeros = vec![0; ZERO_STEP];
    for at in (0..RING_BYTES).step_by(ZERO_STEP) {
        file.write_all_at(&zeros, at)?;
    }
    file.sync_all()?;
    Ok(file)
}

/// Puts in one record after the other; returns how long those took that ended in time.
fn wait_for_records(queue: &Sender<SyncSender<()>>, begin: Instant, end: Instant) -> Vec<Duration> {
    let (answer, answered) = sync_channel(1);
    let mut latencies = Vec::new();
    loop {
        let sent = Instant::now();
        if sent >= end || queue.send(answer.clone()).is_err() || answered.recv().is_err() {
            return latencies;
        }
        let now = Instant::now();
        if sent >= begin && now <= end {
            latencies.push(now - sent);
        }
    }
}

/// Writes all that waits, then one fdatasync, then the answers; ends when all waiters have left.
fn write_batches(file: &File, requests: &Receiver<SyncSender<()>>) -> io::Result<Written> {
    let record: Vec<u8> = (0..RECORD_BYTES).map(|i| (i % 251) as u8).collect();
    let mut written = Written { syncs: 0, records: 0 };
    let (mut at, mut bytes, mut batch) = (0, Vec::new(), Vec::new());
    while let Ok(first) = requests.recv() {
        batch.push(first);
        batch.extend(requests.try_iter());
        bytes.clear();
        batch.iter().for_each(|_| bytes.extend_from_slice(&record));
        if at + bytes.len() as u64 > RING_BYTES {
            at = 0;
        }
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        at += bytes.len() as u64;
        written.syncs += 1;
        written.records += batch.len() as u64;
        batch.drain(..).for_each(|answer| answer.send(()).unwrap_or_default());
    }
    Ok(written)
}
