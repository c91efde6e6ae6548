//! The register under a random scheduler: every history of clients is linearizable, and every
//! sentence of the contract that is left out is found out.
//!
//! `BOVEDA_MODEL_HISTORIES` sets how many histories run (`model/runner.rs`); a failure prints the seed, and
//! `BOVEDA_MODEL_SEED=<seed> cargo test --release --test model_register one_seed -- --nocapture` replays it.

mod lin;
mod model;
#[path = "model/runner.rs"]
mod runner;

use boveda::register::Rules;
use model::rng::Rng;
use model::{Tally, Weakened, Weather, run};
use runner::{Sum, setting};

const HISTORIES_IN_THE_GATE: u64 = 200_000;

impl Sum for Tally {
    fn add(&mut self, other: &Self) {
        Tally::add(self, other);
    }
}

fn weather_of(seed: u64) -> Weather {
    let mut rng = Rng::new(!seed);
    let weather = rng.pick(&Weather::EVERY);
    if rng.odds(500) { weather.shaken(&mut rng) } else { weather }
}

#[test]
fn every_history_is_linearizable() {
    let (histories, tally): (_, Tally) =
        runner::hold(HISTORIES_IN_THE_GATE, |seed| run(seed, weather_of(seed), Weakened::NOT, false));
    assert_eq!(tally.histories, histories);
    // A list is seldom whole again before a history ends.
    for (what, count) in [("seated anew", tally.seated), ("changed", tally.changed), ("buried", tally.buried)] {
        assert!(count >= histories / 1000, "{what}: {count} in {histories} histories");
    }
}

/// Concurrent writes that keep interrupting each other may leave a base that nobody else has seen, and then an
/// unknown outcome; that is rare, and nothing else goes unanswered.
#[test]
fn in_quiet_weather_calls_are_answered() {
    let mut all = Tally::default();
    for seed in 0..5_000 {
        let (tally, violation) = run(seed, Weather::QUIET, Weakened::NOT, false);
        assert_eq!(violation, None, "seed {seed}");
        let answered = tally.written + tally.refused + tally.kept + tally.read;
        assert_eq!(answered + tally.unknown, tally.called, "seed {seed}: {tally:?}");
        all.add(&tally);
    }
    assert!(all.unknown * 1000 < all.called, "{all:?}");
}

#[test]
fn one_seed() {
    if let Some(seed) = setting("BOVEDA_MODEL_SEED") {
        let (_, violation) = run(seed, weather_of(seed), Weakened::NOT, true);
        assert_eq!(violation, None);
    }
}

fn without(change: impl FnOnce(&mut Rules)) -> Weakened {
    let mut rules = Rules::CONTRACT;
    change(&mut rules);
    Weakened { rules, ..Weakened::NOT }
}

macro_rules! weakened {
    ($($name:ident: $weather:expr, $weak:expr;)*) => {
        $(#[test]
        fn $name() {
            runner::shows(3_000_000, $weak, |seed, trace| run(seed, $weather, $weak, trace).1);
        })*
    };
}

mod shown {
    use super::*;
    const C: Weakened = Weakened::NOT;

    weakened! {
        no_floor_on_restart: Weather::RESTARTS, without(|r| r.floor_on_restart = false);
        floor_not_applied_to_store: Weather::RESTARTS, without(|r| r.floor_in_store = false);
        floor_test_not_strict: Weather::RESTARTS, without(|r| r.floor_strict = false);
        same_ballot_promised_twice: Weather::REUSE, without(|r| r.promise_once = false);
        no_promise_check_in_store: Weather::MIXED, without(|r| r.promise_in_store = false);
        learn_of_a_tentative_record: Weather::MIXED, Weakened { teaches_tentative: true, ..C };
        learn_clears_the_promise: Weather::MIXED, without(|r| r.learn_keeps_promise = false);
        promises_forgotten_without_the_floor: Weather::RESTARTS, without(|r| r.forget_raises_floor = false);
        store_keeps_the_mark: Weather::MIXED, without(|r| r.store_clears_mark = false);
        tentative_minority_read: Weather::MIXED, without(|r| r.read_chosen = false);
        mark_of_a_lower_ballot: Weather::MIXED, without(|r| r.mark_of_highest = false);
        settled_with_the_query_s_record: Weather::MIXED, without(|r| r.settle_prepared = false);
        refusal_from_a_tentative_state: Weather::MIXED, without(|r| r.rest_on_chosen = false);
        retry_without_lineage: Weather::RETRIES, without(|r| r.lineage_checked = false);
        lineage_checked_once: Weather::RETRIES, without(|r| r.lineage_every_round = false);
        neither_is_dead: Weather::HOT, without(|r| r.neither_is_unknown = false);
        below_is_dead: Weather::RETRIES, without(|r| r.below_by_lineage = false);
        empty_base_always_named: Weather::HOT, without(|r| r.empty_base_by_lineage = false);
        success_without_storing_again: Weather::RETRIES, without(|r| r.lineage_stored_again = false);
        one_id_for_all_attempts: Weather::HOT, without(|r| r.id_per_attempt = false);
        answers_matched_by_ballot: Weather::REUSE, without(|r| r.match_attempt = false);
        majority_of_answers: Weather::MIXED, without(|r| r.majority_of_configured = false);
        majority_without_the_blob: Weather::MIXED, Weakened { grants_without_blob: true, ..C };
        wiped_node_votes_at_once: Weather::WIPES, Weakened { keeps_its_life: true, ..C };
        wiped_node_seated_at_once: Weather::WIPES, Weakened { changes_at_once: true, ..C };
        wiped_node_copies_tentative: Weather::WIPES, Weakened { copies_tentative: true, ..C };
        wiped_node_joins_without_epoch: Weather { list: 300, ..Weather::WIPES }, Weakened { joins_without_epoch: true, ..C };
        returning_node_keeps_what_it_held: Weather::RETURNS, Weakened { keeps_what_it_held: true, ..C };
        lower_epochs_answered: Weather::CHANGES, without(|r| r.epoch_refused = false);
        member_list_changed_at_once: Weather::CHANGES, Weakened { changes_at_once: true, ..C };
        member_list_changed_without_settling: Weather::CHANGES, Weakened { changes_without_settling: true, ..C };
        answered_before_durable: Weather::RESTARTS, Weakened { answers_early: true, ..C };
        tombstone_dropped_without_epoch: Weather::BURIALS, Weakened { buries_without_epoch: true, ..C };
        tombstone_dropped_and_strangers_teach: Weather { outsider: 1000, ..Weather::BURIALS }, Weakened { strangers_teach: true, ..C };
        tombstone_dropped_without_floor: Weather { outsider: 1000, ..Weather::BURIALS }, Weakened { buries_without_floor: true, ..without(|r| r.floor_on_enter = false) };
    }
}
