//! Buckets that come and go on real stores, whose disks lose power: the histories of `model_fence.rs`, with the product's
//! committer, its fence and its marks as the replicas.
//!
//! `BOVEDA_SIM_HISTORIES` sets how many histories run; a failure prints the seed, and
//! `BOVEDA_SIM_SEED=<seed> cargo test --release --test sim_buckets one_seed -- --nocapture` replays it.

#[path = "model_fence/flow.rs"]
mod flow;
#[path = "model_fence/judge.rs"]
mod judge;
#[allow(dead_code)]
mod lin;
#[path = "model/machine.rs"]
mod machine;
#[path = "sim_buckets/replica.rs"]
mod replica;
#[path = "model/rng.rs"]
mod rng;
#[path = "model_fence/value.rs"]
mod value;
#[allow(dead_code)]
#[path = "model_fence/world.rs"]
mod world;

use boveda::base::Mark;
use rng::Rng;
use world::{Tally, Weakened, Weather, World};

const HISTORIES_IN_THE_GATE: u64 = 1_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

fn run(seed: u64, weather: Weather, weak: Weakened, trace: bool) -> (Tally, Option<String>) {
    let mut world = World::new(seed, weather, weak, trace);
    let wrong = world.run();
    (world.tally, wrong)
}

fn weather_of(seed: u64) -> Weather {
    Rng::new(!seed).pick(&Weather::EVERY)
}

#[test]
fn every_history_is_that_of_one_bucket() {
    let histories = setting("BOVEDA_SIM_HISTORIES").unwrap_or(HISTORIES_IN_THE_GATE);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as u64;
    let worker = |from: u64| {
        let mut all = Tally::default();
        for seed in (from..histories).step_by(threads as usize) {
            let (tally, wrong) = run(seed, weather_of(seed), Weakened::NOT, false);
            assert_eq!(wrong, None, "replay with BOVEDA_SIM_SEED={seed}");
            all.add(&tally);
        }
        all
    };
    let all = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|from| scope.spawn(move || worker(from))).collect();
        workers.into_iter().fold(Tally::default(), |mut all, one| {
            all.add(&one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            all
        })
    });
    println!("{all:?}");
    assert_eq!(all.histories, histories);
    for (what, count) in [("refused", all.refused_by_fence), ("taught", all.taught), ("deleted", all.deleted)] {
        assert!(count > histories / 100, "{what}: {count}");
    }
    assert!(Mark::Fenced.count() > 0);
}

#[test]
fn one_seed() {
    if let Some(seed) = setting("BOVEDA_SIM_SEED") {
        assert_eq!(run(seed, weather_of(seed), Weakened::NOT, true).1, None);
    }
}
