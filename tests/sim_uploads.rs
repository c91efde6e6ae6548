//! Uploads in parts on real stores over a simulated network, on disks that lose power: begun, completed and aborted by
//! several coordinators at once, beside writes of the same keys. An upload ends once; what it becomes is there, or was
//! overwritten later; of one that was aborted nothing appears; one whose completion was answered is never lost.
//!
//! `BOVEDA_SIM_SEEDS` sets how many schedules run. A failure names its seed, and
//! `BOVEDA_SIM_SEED=<seed> cargo test --release --test sim_uploads one_seed -- --nocapture` replays it
//! (`BOVEDA_SIM_TRACE=1` prints each step).

#[allow(dead_code)]
mod lin;
#[path = "model/machine.rs"]
mod machine;
#[path = "model/rng.rs"]
mod rng;
#[allow(dead_code)]
mod sim;

use sim::{Ran, Tally, Weather, run};
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS_IN_THE_GATE: u64 = 400;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

fn run_named(seed: u64) -> Ran {
    run(seed, if seed % 5 == 4 { 5 } else { 3 }, Weather::UPLOADS)
}

/// Runs the schedules of all seeds, on all cores.
fn run_all(seeds: u64) -> Tally {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let next = AtomicU64::new(0);
    let worker = || {
        let mut all = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return all;
            }
            let Ran { tally, wrong, .. } = run_named(seed);
            if let Some(wrong) = wrong {
                next.store(seeds, Ordering::Relaxed);
                panic!("replay with BOVEDA_SIM_SEED={seed}: {wrong}");
            }
            all.add(&tally);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Tally::default();
        for one in workers {
            all.add(&one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}

#[test]
fn every_upload_ends_once() {
    let seeds = setting("BOVEDA_SIM_SEEDS").unwrap_or(SEEDS_IN_THE_GATE);
    let tally = run_all(seeds);
    println!("{tally:?}");
    assert_eq!(tally.schedules, seeds);
    assert!(tally.uploads > 5 * seeds && tally.completed > seeds / 2 && tally.aborted > seeds / 4, "{tally:?}");
    assert!(tally.late > seeds / 4 && tally.again > 0, "those who end them meet: {tally:?}");
    assert!(tally.power_losses > seeds && tally.kills > seeds && tally.put_back * 4 > seeds, "{tally:?}");
}

#[test]
fn one_seed() {
    if let Some(seed) = setting("BOVEDA_SIM_SEED") {
        assert_eq!(run_named(seed).wrong, None);
    }
}
