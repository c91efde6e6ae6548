//! The register under a random scheduler: every history of clients is linearizable, and every
//! sentence of the contract that is left out is found out.
//!
//! `BOVEDA_MODEL_HISTORIES` sets how many histories run; a failure prints the seed, and
//! `BOVEDA_MODEL_SEED=<seed> cargo test --release --test model_register one_seed -- --nocapture` replays it.

mod lin;
mod model;

use boveda::register::Rules;
use model::rng::Rng;
use model::{Tally, Weakened, Weather, run};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const HISTORIES_IN_THE_GATE: u64 = 200_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

fn weather_of(seed: u64) -> Weather {
    let mut rng = Rng::new(!seed);
    let weather = rng.pick(&Weather::EVERY);
    if rng.odds(500) { weather.shaken(&mut rng) } else { weather }
}

#[test]
fn every_history_is_linearizable() {
    let histories = setting("BOVEDA_MODEL_HISTORIES").unwrap_or(HISTORIES_IN_THE_GATE);
    let first = setting("BOVEDA_MODEL_FIRST").unwrap_or(0);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let worker = || {
        let mut tally = Tally::default();
        while !stop.load(Ordering::Relaxed) {
            let seeds = next.fetch_add(1_000, Ordering::Relaxed);
            if seeds >= first + histories {
                break;
            }
            for seed in seeds..(seeds + 1_000).min(first + histories) {
                let (one, violation) = run(seed, weather_of(seed), Weakened::NOT, false);
                tally.add(&one);
                if let Some(violation) = violation {
                    stop.store(true, Ordering::Relaxed);
                    panic!("replay with BOVEDA_MODEL_SEED={seed}: {violation}");
                }
            }
        }
        tally
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

/// Looks for a history that shows the weakness; it must be there.
fn shows(weather: Weather, weak: Weakened) {
    let most = setting("BOVEDA_MODEL_HUNT").unwrap_or(3_000_000);
    for seed in 0..most {
        if let (_, Some(violation)) = run(seed, weather, weak, false) {
            let name = std::thread::current().name().unwrap_or("?").to_owned();
            println!("{name}: after {} histories: {}", seed + 1, violation.lines().next().unwrap_or_default());
            if setting("BOVEDA_MODEL_TRACE").is_some() {
                run(seed, weather, weak, true);
                println!("{violation}");
            }
            return;
        }
    }
    panic!("nothing found in {most} histories of {weak:?}");
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
            shows($weather, $weak);
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
