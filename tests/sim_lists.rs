//! Lists, bucket deletion and member changes that meet burials, lost power and nodes that are behind, with many more
//! registers than a step takes, and long times between checkpoints. The stores, the register and the merging of pages are
//! the real ones.
//!
//! A write is decided at once, so that what is there is always known; what walks goes on step by step between all else.
//! So every list can be judged: whatever was there all the while is in it, and nothing that was not there at any time.
//!
//! `BOVEDA_SIM_SEEDS` sets how many schedules run; `BOVEDA_SIM_SEED=<seed> cargo test --release --test sim_lists one_seed`
//! runs one again.

#[path = "model/rng.rs"]
mod rng;
#[path = "sim_lists/ship.rs"]
mod ship;
mod small_store;
#[path = "sim_lists/walks.rs"]
mod walks;
#[path = "sim_lists/world.rs"]
mod world;

use boveda::base::Mark;
use world::{Reader, Tally, World};

const SEEDS_IN_THE_GATE: u64 = 40;
const STEPS: usize = 1200;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

fn run(seed: u64, reader: Reader) -> Result<Tally, String> {
    let mut world = World::new(seed, reader);
    (0..STEPS).try_for_each(|_| world.step())?;
    world.settle()?;
    Ok(world.tally)
}

#[test]
fn every_list_has_what_was_there_all_the_while() {
    let seeds = setting("BOVEDA_SIM_SEEDS").unwrap_or(SEEDS_IN_THE_GATE);
    let mut all = Tally::default();
    for seed in 0..seeds {
        match run(seed, Reader::Sound) {
            Ok(tally) => all.add(&tally),
            Err(wrong) => panic!("run it again with BOVEDA_SIM_SEED={seed}: {wrong}"),
        }
    }
    println!("{all:?}");
    let Tally { lists, empty, not_empty, changes, buried, power_losses, decided_by_readers, spans, within, .. } = all;
    // A bucket is seldom empty at the moment that somebody deletes it.
    for (what, count, one_in) in [
        ("lists", lists, 2),
        ("empty buckets", empty, 20),
        ("buckets that were not empty", not_empty, 2),
        ("member changes", changes, 2),
        ("buried tombstones", buried, 2),
        ("power losses", power_losses, 2),
        ("writes that readers have settled", decided_by_readers, 2),
        ("parts looked at register by register", spans, 1),
        ("common prefixes looked through", within, 1),
    ] {
        assert!(count >= seeds / one_in, "{what}: {count} in {seeds} schedules");
    }
    for mark in [Mark::ShortPage, Mark::EmptyPage, Mark::BurialMetScan, Mark::BeganAnew] {
        assert!(mark.count() > 0, "{mark:?} was never reached");
    }
}

#[test]
fn a_reader_that_takes_a_short_page_for_the_last_is_found_out() {
    let found = (0..20).any(|seed| run(seed, Reader::TakesShortForLast).is_err());
    assert!(found, "pages were short, and nobody noticed");
}

#[test]
fn a_reader_that_passes_over_tombstones_which_nobody_knows_to_be_chosen_is_found_out() {
    let found = (0..SEEDS_IN_THE_GATE).any(|seed| run(seed, Reader::PassesOverTombstones).is_err());
    assert!(found, "what was seen to be deleted came back, and nobody noticed");
}

#[test]
fn one_seed() {
    if let Some(seed) = setting("BOVEDA_SIM_SEED") {
        println!("{:?}", run(seed, Reader::Sound));
    }
}
