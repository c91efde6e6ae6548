//! Histories by the thousand, a seed each: all of them have to hold, or one that breaks is looked for.
//!
//! `BOVEDA_MODEL_HISTORIES` sets how many run, `BOVEDA_MODEL_FIRST` the first seed, `BOVEDA_MODEL_HUNT` after how many
//! nothing more is looked for, and `BOVEDA_MODEL_TRACE` has the one that was found told step by step.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Seeds that a thread takes at once.
const SEEDS: u64 = 100;

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.replace('_', "").parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// What histories have come across, summed up.
pub trait Sum: Default + Debug + Send {
    /// Takes in that of one more.
    fn add(&mut self, other: &Self);
}

/// Runs so many histories, or as many as the environment says, on all processors: what each came across, and what is
/// wrong with it. How many ran, and the sum of them.
pub fn hold<T: Sum>(in_the_gate: u64, run: impl Fn(u64) -> (T, Option<String>) + Sync) -> (u64, T) {
    let histories = setting("BOVEDA_MODEL_HISTORIES").unwrap_or(in_the_gate);
    let first = setting("BOVEDA_MODEL_FIRST").unwrap_or(0);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let worker = || {
        let mut sum = T::default();
        while !stop.load(Ordering::Relaxed) {
            let seeds = next.fetch_add(SEEDS, Ordering::Relaxed);
            if seeds >= first + histories {
                break;
            }
            for seed in seeds..(seeds + SEEDS).min(first + histories) {
                let (one, wrong) = run(seed);
                sum.add(&one);
                if let Some(wrong) = wrong {
                    stop.store(true, Ordering::Relaxed);
                    panic!("replay with BOVEDA_MODEL_SEED={seed}: {wrong}");
                }
            }
        }
        sum
    };
    let began = std::time::Instant::now();
    let sum = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().fold(T::default(), |mut all, one| {
            all.add(&one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            all
        })
    });
    println!("{sum:?} in {:?}", began.elapsed());
    (histories, sum)
}

/// Looks for a history that shows a weakness; it must be there. `run`: a seed, and whether it is told step by step.
pub fn shows(most: u64, weak: impl Debug, run: impl Fn(u64, bool) -> Option<String>) {
    let most = setting("BOVEDA_MODEL_HUNT").unwrap_or(most);
    for seed in 0..most {
        if let Some(wrong) = run(seed, false) {
            let name = std::thread::current().name().unwrap_or("?").to_owned();
            println!("{name}: after {} histories: {}", seed + 1, wrong.lines().next().unwrap_or_default());
            if setting("BOVEDA_MODEL_TRACE").is_some() {
                run(seed, true);
                println!("{wrong}");
            }
            return;
        }
    }
    panic!("nothing found in {most} histories of {weak:?}");
}
