//! The real store, register and change feed over a simulated network, on disks that lose power: whatever the
//! schedule, every history is linearizable, and after healing all replicas are the same, byte for byte.
//!
//! The second weather is that of disks (`sim::disks`): those of a minority fail, forget and rot.
//!
//! `BOVEDA_SIM_SEEDS` sets how many schedules run. A failure names its seed, and
//! `BOVEDA_SIM_SEED=<seed> cargo test --release --test sim_cluster one_seed -- --nocapture` replays it
//! (`BOVEDA_SIM_TRACE=1` prints each step, `BOVEDA_SIM_DISKS=1` takes the weather of disks). A seed replays exactly: the
//! same steps, answers, faults and losses, and the
//! same changes on each disk, though the stores draw their names and keys from the system each time.

mod lin;
#[path = "model/machine.rs"]
mod machine;
#[path = "model/rng.rs"]
mod rng;
mod sim;

use boveda::base::Mark;
use sim::{Ran, Tally, Weather, run};
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS_IN_THE_GATE: u64 = 2_000;
const SEEDS_OF_BAD_DISKS: u64 = 150;
/// Seeds that are run twice.
const SEEDS_REPLAYED: u64 = 60;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// Three nodes mostly, five at times.
fn nodes_of(seed: u64) -> usize {
    if seed % 5 == 4 { 5 } else { 3 }
}

/// Names the seed of a schedule that panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with BOVEDA_SIM_SEED={}", self.0);
        }
    }
}

/// Runs the schedules of all seeds, on all cores.
fn run_all(seeds: u64, weather: Weather) -> Tally {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let next = AtomicU64::new(0);
    let worker = || {
        let mut all = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return all;
            }
            let Ran { tally, wrong, .. } = run_named(seed, weather);
            if let Some(wrong) = wrong {
                next.store(seeds, Ordering::Relaxed);
                panic!("replay with BOVEDA_SIM_SEED={seed}: {wrong}");
            }
            all.add(&tally);
        }
    };
    let began = std::time::Instant::now();
    let tally = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Tally::default();
        for one in workers {
            all.add(&one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    println!("{tally:?} in {:?}", began.elapsed());
    assert_eq!(tally.schedules, seeds);
    tally
}

/// Rare paths that were gone.
fn reached(marks: &[Mark]) {
    for mark in marks {
        assert!(mark.count() > 0, "{mark:?} was never reached");
        println!("{mark:?}: {}", mark.count());
    }
}

fn run_named(seed: u64, weather: Weather) -> Ran {
    let _named = Named(seed);
    run(seed, nodes_of(seed), weather)
}

#[test]
fn every_schedule_keeps_what_was_answered() {
    let seeds = setting("BOVEDA_SIM_SEEDS").unwrap_or(SEEDS_IN_THE_GATE);
    let tally = run_all(seeds, Weather::ROUGH);
    assert!(tally.put_back * 4 > seeds && tally.retired > 0, "{tally:?}");
    assert!(tally.written > 3 * seeds && tally.power_losses > seeds && tally.kills > seeds, "{tally:?}");
    assert!(tally.copied * 5 > seeds, "records share bodies: {tally:?}");
    reached(&[Mark::OlderCopy]);
}

#[test]
fn disks_that_go_bad_at_a_minority_take_nothing_away_and_everything_goes_on_afterwards() {
    let seeds = setting("BOVEDA_SIM_SEEDS").unwrap_or(SEEDS_OF_BAD_DISKS);
    let tally = run_all(seeds, Weather::DISKS);
    assert!(tally.went_bad > 3 * seeds && tally.struck > seeds && tally.put_right > seeds, "{tally:?}");
    assert!(tally.retired * 20 > seeds && tally.written > 3 * seeds, "{tally:?}");
    reached(&[Mark::Poisoned, Mark::TailCut]);
}

/// The negative controls of the weather of disks: a majority that goes bad, and syncs that fail and do not say so.
#[test]
fn disks_that_are_worse_than_a_node_can_bear_are_found_out() {
    for (what, weather) in [
        ("disks of a majority", Weather { all_disks: true, ..Weather::DISKS }),
        ("syncs that lie", Weather { silent: true, ..Weather::DISKS }),
    ] {
        let found = (0..SEEDS_OF_BAD_DISKS).find(|seed| fails(*seed, weather));
        println!("{what}: found with seed {found:?}");
        assert!(found.is_some(), "{what}: nobody noticed");
    }
}

/// Whether a schedule is found to be wrong, or a node does not open where it should.
fn fails(seed: u64, weather: Weather) -> bool {
    std::panic::catch_unwind(|| run(seed, nodes_of(seed), weather).wrong).map_or(true, |wrong| {
        wrong.iter().for_each(|wrong| println!("{}", wrong.lines().next().unwrap_or_default()));
        wrong.is_some()
    })
}

#[test]
fn disks_that_lie_are_found_out() {
    let lying = Weather { disks_lie: true, trusting: true, copy: 0, ..Weather::ROUGH };
    let found = (0..200).any(|seed| run_named(seed, lying).wrong.is_some());
    assert!(found, "disks forgot what they had promised, and nobody noticed");
}

/// The negative control of `register::memory`: the same copies, and nobody asks what the others remember.
#[test]
fn older_copies_that_vote_are_found_out() {
    let trusting = Weather { trusting: true, ..Weather::ROUGH };
    let found = (0..SEEDS_IN_THE_GATE).find(|seed| run_named(*seed, trusting).wrong.is_some());
    println!("found with seed {found:?}");
    assert!(found.is_some(), "a node voted with an older copy of its disk, and nobody noticed");
}

#[test]
fn a_seed_replays_exactly() {
    let first = setting("BOVEDA_SIM_SEED").unwrap_or(0);
    let seeds = setting("BOVEDA_SIM_SEEDS").map_or(SEEDS_REPLAYED, |seeds| seeds.min(SEEDS_REPLAYED));
    let mut steps = 0;
    let rough = (first..first + seeds).map(|seed| (seed, Weather::ROUGH));
    let disks = (first..first + seeds.div_ceil(4)).map(|seed| (seed, Weather::DISKS));
    for (seed, weather) in rough.chain(disks) {
        let (once, again) = (run_named(seed, weather), run_named(seed, weather));
        let parted = once.trace.parts_from(&again.trace);
        assert_eq!(parted, None, "the step after which two runs of seed {seed} differ");
        assert_eq!((once.tally, once.wrong), (again.tally, again.wrong), "seed {seed}");
        steps += once.trace.steps.len();
    }
    assert!(steps as u64 > 1_000 * seeds, "{steps} steps were compared");
}

#[test]
fn one_seed() {
    if let Some(seed) = setting("BOVEDA_SIM_SEED") {
        let weather = if std::env::var_os("BOVEDA_SIM_DISKS").is_some() { Weather::DISKS } else { Weather::ROUGH };
        let Ran { tally, wrong, .. } = run_named(seed, weather);
        println!("{tally:?}");
        assert_eq!(wrong, None);
    }
}
