//! Buckets that come and go on real stores, whose disks lose power: the histories of `model_fence.rs`, with the product's
//! committer, its fence and its marks as the replicas.
//!
//! `BOVEDA_MODEL_HISTORIES` sets how many histories run (`model/runner.rs`); a failure prints the seed, and
//! `BOVEDA_MODEL_SEED=<seed> cargo test --release --test sim_buckets one_seed -- --nocapture` replays it.

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
#[allow(dead_code)]
#[path = "model/runner.rs"]
mod runner;
mod small_store;
#[path = "model_fence/value.rs"]
mod value;
#[allow(dead_code)]
#[path = "model_fence/world.rs"]
mod world;

use boveda::base::Mark;
use rng::Rng;
use world::{Tally, Weakened, Weather, World};

const HISTORIES_IN_THE_GATE: u64 = 1_000;

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
    let (histories, all): (_, Tally) =
        runner::hold(HISTORIES_IN_THE_GATE, |seed| run(seed, weather_of(seed), Weakened::NOT, false));
    assert_eq!(all.histories, histories);
    for (what, count) in [("refused", all.refused_by_fence), ("taught", all.taught), ("deleted", all.deleted)] {
        assert!(count > histories / 100, "{what}: {count}");
    }
    assert!(Mark::Fenced.count() > 0);
}

#[test]
fn one_seed() {
    if let Some(seed) = runner::setting("BOVEDA_MODEL_SEED") {
        assert_eq!(run(seed, weather_of(seed), Weakened::NOT, true).1, None);
    }
}
