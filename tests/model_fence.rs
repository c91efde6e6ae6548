//! Buckets that are deleted and made again while objects are put, read and deleted in them: every history of clients is
//! that of one bucket which is there or not, and what is left out of the fence is found out, but for one sentence: that an
//! opening counts only when it is known to be chosen. No history was found that needs it.
//!
//! Replicas, rounds and drives are the product's (`src/register`), and so are the fence and what a deletion counts behind
//! it. `BOVEDA_MODEL_HISTORIES` sets how many histories run (`model/runner.rs`); a failure prints the seed, and
//! `BOVEDA_MODEL_SEED=<seed> cargo test --release --test model_fence one_seed -- --nocapture` replays it.

#[path = "model_fence/flow.rs"]
mod flow;
#[path = "model_fence/judge.rs"]
mod judge;
#[allow(dead_code)]
mod lin;
#[path = "model/machine.rs"]
mod machine;
#[path = "model_fence/replica.rs"]
mod replica;
#[path = "model/rng.rs"]
mod rng;
#[path = "model/runner.rs"]
mod runner;
#[path = "model_fence/value.rs"]
mod value;
#[path = "model_fence/world.rs"]
mod world;

use boveda::register::{Fence, Rules};
use rng::Rng;
use runner::{Sum, setting};
use world::{Tally, Weakened, Weather, World};

const HISTORIES_IN_THE_GATE: u64 = 60_000;

fn weather_of(seed: u64) -> Weather {
    Rng::new(!seed).pick(&Weather::EVERY)
}

fn run(seed: u64, weather: Weather, weak: Weakened, trace: bool) -> (Tally, Option<String>) {
    let mut world = World::new(seed, weather, weak, trace);
    let wrong = world.run();
    (world.tally, wrong)
}

#[test]
fn every_history_is_that_of_one_bucket() {
    let (histories, tally): (_, Tally) =
        runner::hold(HISTORIES_IN_THE_GATE, |seed| run(seed, weather_of(seed), Weakened::NOT, false));
    assert_eq!(tally.histories, histories);
    for (what, count) in [
        ("refusals of the fence", tally.refused_by_fence),
        ("replicas that were taught", tally.taught),
        ("deleted buckets", tally.deleted),
        ("buckets that were not empty", tally.not_empty),
        ("buckets opened again", tally.reopened),
        ("lives of a bucket", tally.lives),
        ("calls that found their bucket gone", tally.gone),
    ] {
        assert!(count > histories / 1_000, "{what}: {count} in {histories} histories");
    }
}

#[test]
fn in_quiet_weather_calls_are_answered() {
    let mut all = Tally::default();
    for seed in 0..2_000 {
        let (tally, wrong) = run(seed, Weather::QUIET, Weakened::NOT, false);
        assert_eq!(wrong, None, "seed {seed}");
        all.add(&tally);
    }
    println!("{all:?}");
    assert!(all.unknown * 50 < all.called, "{all:?}");
}

#[test]
fn one_seed() {
    if let Some(seed) = setting("BOVEDA_MODEL_SEED") {
        let weather = if setting("BOVEDA_MODEL_QUIET").is_some() { Weather::QUIET } else { weather_of(seed) };
        let (_, wrong) = run(seed, weather, Weakened::NOT, true);
        assert_eq!(wrong, None);
    }
}

macro_rules! weakened {
    ($($name:ident: $weather:expr, $weak:expr;)*) => {
        $(#[test]
        fn $name() {
            runner::shows(1_000_000, $weak, |seed, trace| run(seed, $weather, $weak, trace).1);
        })*
    };
}

mod shown {
    use super::*;
    const C: Weakened = Weakened::NOT;

    fn without(change: impl FnOnce(&mut boveda::register::fence::FenceRules)) -> Weakened {
        Weakened { fence: Fence::changed(change), ..C }
    }

    fn of_writes(change: impl FnOnce(&mut Rules)) -> Weakened {
        let mut rules = Rules::CONTRACT;
        change(&mut rules);
        Weakened { rules, ..C }
    }

    weakened! {
        no_fence: Weather::LIVES, without(|rules| rules.shut = false);
        again_passes_while_closing: Weather::LIVES, without(|rules| rules.again_too = false);
        an_older_generation_stores_what_is_new: Weather::MIXED, without(|rules| rules.newest_generation = false);
        who_does_not_hold_closing_is_counted: Weather::FEW, without(|rules| rules.closing_counts = false);
        the_next_life_has_the_same_id: Weather::LIVES, Weakened { same_id: true, ..C };
        tentative_is_none: Weather::LIVES, without(|rules| rules.tentative_shows = false);
        tentative_is_asked_plainly: Weather::COUNTED, without(|rules| rules.tentative_is_settled = false);
        removed_however_it_is_found: Weather::LIVES, Weakened { removes_anyhow: true, ..C };
        never_closed: Weather::MIXED, Weakened { never_closes: true, ..C };
        absence_is_not_confirmed: Weather::LIVES, Weakened { absence_unconfirmed: true, ..C };
        deleted_under_a_known_id: Weather::LIVES, Weakened { deletes_unconfirmed: true, ..C };
        what_was_sent_before_it_went_is_void: Weather::LIVES, of_writes(|rules| rules.sent_is_looked_for = false);
        what_lies_behind_the_end_is_named: Weather::LIVES, of_writes(|rules| rules.ended_names_nothing = false);
    }
}
