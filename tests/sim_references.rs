//! A store whose records share bodies, through many lives: copies, overwrites, deletes, sweeps, moves, kills and lost power
//! at random. When it has settled its counts are what a recount comes to, nothing is missing that a record refers to, and
//! bytes return to where they were.
//!
//! `BOVEDA_REFERENCES_SEEDS=N` runs more schedules; a failure names its seed.

mod shared_bodies;

use boveda::disk::CrashDisk;
use shared_bodies::{Possible, Rng, check, live};

/// Lives of one schedule.
const LIVES: u64 = 5;

#[test]
fn every_schedule_keeps_what_is_referred_to_and_gives_back_what_is_not() {
    let seeds: u64 = std::env::var("BOVEDA_REFERENCES_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let (mut lost, mut killed) = (0, 0);
    for seed in 0..seeds {
        let mut rng = Rng(seed);
        let (mut disk, mut possible) = (CrashDisk::new(seed), Possible::new());
        for life in 0..LIVES {
            if rng.below(2) == 0 {
                disk.set_power_budget(Some(rng.below(60)));
            }
            let steps = 10 + rng.below(40);
            let ended = live(&disk, &mut rng, steps, &mut possible);
            assert!(ended.is_ok() || disk.is_dead(), "seed {seed}, life {life}: {ended:?}");
            (lost, killed) = (lost + u32::from(disk.is_dead()), killed + u32::from(!disk.is_dead()));
            disk = if disk.is_dead() { disk.after_power_loss() } else { disk };
            disk.set_power_budget(None);
        }
        check(&disk, &possible, &format!("seed {seed}"));
    }
    assert!(u64::from(lost) > seeds && u64::from(killed) > seeds, "{lost} lost power, {killed} were killed");
}
