//! Where the border between small bodies and blobs should lie: the price of one PUT either way, by size.
//!
//! Sixteen threads put bodies of one size under new keys, once logged with their records and once as blobs.
//! Counted until the index has caught up, so that what a small body costs a second time, when it
//! moves from the log to a segment, is in its price. Disk bytes are all that the disk wrote meanwhile.
//! `BENCH_SECONDS` sets the time of each cell, `BENCH_DIR` the disk.

mod common;

use boveda::base::ObjectHead;
use boveda::store::mutation::Mutation;
use boveda::store::wait_blocking;
use boveda::store::{Options, Store};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

const THREADS: usize = 16;

fn main() {
    let length = common::seconds(4.0);
    println!("PUT from {THREADS} threads; disk factor: bytes written for each byte of body");
    println!(
        "{:>8} {:<7} {:>9} {:>9} {:>9} {:>16} {:>14} {:>12}",
        "bytes", "as", "puts/s", "p50 ms", "p99 ms", "CPU s/1000 puts", "disk KiB/put", "disk factor"
    );
    for kib in [2, 4, 8, 16, 24, 32, 64] {
        for inline in [true, false] {
            cell(kib * 1024, inline, length);
        }
    }
}

fn cell(len: usize, inline: bool, length: Duration) {
    let place = common::Place::new("inline");
    let store = common::store(&place, Options { inline_max: len, ..Options::default() });
    let cost = common::Cost::now(&place);
    let mut times = run(&store, len, inline, length);
    store.checkpoint().expect("the index catches up");
    let (wall, cpu, disk) = cost.since();
    times.sort_unstable();
    let puts = times.len() as f64;
    println!(
        "{len:>8} {:<7} {:>9.0} {:>9.2} {:>9.2} {:>16.3} {:>14.1} {:>12.2}",
        if inline { "inline" } else { "blob" },
        puts / wall,
        common::percentile_ms(&times, 0.50),
        common::percentile_ms(&times, 0.99),
        cpu / puts * 1e3,
        disk / puts / 1024.0,
        disk / puts / len as f64,
    );
}

fn run(store: &Arc<Store>, len: usize, inline: bool, length: Duration) -> Vec<Duration> {
    let end = Instant::now() + length;
    let body = Bytes::from(common::noise(len));
    let put = |thread: usize| {
        let (store, body) = (Arc::clone(store), body.clone());
        std::thread::spawn(move || {
            let mut times = Vec::new();
            while Instant::now() < end {
                let begin = Instant::now();
                let at = common::name(&format!("thread-{thread}/{}", times.len()));
                let pieces = std::slice::from_ref(&body);
                if inline {
                    let object = store.seal_small(ObjectHead::default(), pieces).expect("sealed");
                    wait_blocking(store.mutate(Mutation::put(
                        &at,
                        boveda::base::Condition::NONE,
                        object,
                        store.now_ms(),
                    )))
                    .expect("stored");
                } else {
                    let mut upload = store
                        .begin_upload(
                            at,
                            boveda::base::Condition::NONE,
                            ObjectHead::default(),
                            Some(body.len() as u64),
                            None,
                        )
                        .expect("begun");
                    upload.append(pieces, |_| {}).expect("appended");
                    wait_blocking(store.mutate(upload.land().expect("durable").mutation())).expect("stored");
                }
                times.push(begin.elapsed());
            }
            times
        })
    };
    let threads: Vec<_> = (0..THREADS).map(put).collect();
    threads.into_iter().flat_map(|t| t.join().expect("a thread ends well")).collect()
}
