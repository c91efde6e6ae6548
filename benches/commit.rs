//! Durable PUTs of 1 KiB through the store alone, without HTTP or actors: sealing, group commit, fsync, index.
//!
//! Every waiter has one PUT under way, under a new key each time, and waits for the answer. Compare
//! with the disk's own figure (`tests/load/fsync_probe.rs`) on the same machine and at the same
//! moment: what lies between the two is ours. Runs long enough for checkpoints to take their part.
//! `BENCH_SECONDS` sets the time of each cell, `BENCH_DIR` the disk.

mod common;

use boveda::base::ObjectHead;
use boveda::store::mutation::Mutation;
use boveda::store::wait_blocking;
use boveda::store::{Options, Store};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BODY_BYTES: usize = 1024;

fn main() {
    let length = common::seconds(4.0);
    println!("PUT of {BODY_BYTES} bytes through the store");
    println!(
        "{:>8} {:>10} {:>9} {:>9} {:>12} {:>16} {:>14}",
        "waiters", "puts/s", "p50 ms", "p99 ms", "puts/commit", "CPU s/1000 puts", "disk KiB/put"
    );
    for waiters in [1, 8, 64, 256] {
        let place = common::Place::new("commit");
        let store = common::store(&place, Options::default());
        let (before, cost) = (store.status(), common::Cost::now(&place));
        let mut times = run(&store, waiters, length);
        let (wall, cpu, disk) = cost.since();
        let after = store.status();
        times.sort_unstable();
        let puts = times.len() as f64;
        println!(
            "{waiters:>8} {:>10.0} {:>9.3} {:>9.3} {:>12.1} {:>16.4} {:>14.1}",
            puts / wall,
            common::percentile_ms(&times, 0.50),
            common::percentile_ms(&times, 0.99),
            puts / (after.commits - before.commits).max(1) as f64,
            cpu / puts * 1e3,
            disk / puts / 1024.0,
        );
    }
}

fn run(store: &Arc<Store>, waiters: usize, length: Duration) -> Vec<Duration> {
    let end = Instant::now() + length;
    let body = Bytes::from(common::noise(BODY_BYTES));
    let put = |waiter: usize| {
        let (store, body) = (Arc::clone(store), body.clone());
        std::thread::spawn(move || {
            let mut times = Vec::new();
            while Instant::now() < end {
                let begin = Instant::now();
                let object = store.seal_small(ObjectHead::default(), std::slice::from_ref(&body)).expect("sealed");
                let at = common::name(&format!("waiter-{waiter}/{}", times.len()));
                wait_blocking(store.mutate(Mutation::put(&at, boveda::base::Condition::NONE, object, store.now_ms())))
                    .expect("stored");
                times.push(begin.elapsed());
            }
            times
        })
    };
    let threads: Vec<_> = (0..waiters).map(put).collect();
    threads.into_iter().flat_map(|t| t.join().expect("a waiter ends well")).collect()
}
