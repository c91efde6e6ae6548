//! Pace: how long a batch waits while the index takes in what the log holds, so that the ring never fills at once.
//!
//! A full ring stops every write until a checkpoint has ended, for seconds. So writes come as fast as the checkpoint
//! makes room: what they have taken of the room that was free when it began is held against how far it has come.
//!
//! Invariants
//! - Nobody waits while no checkpoint is under way, nor while it would end, at the speed of both, before the ring is
//!   full.
//! - While it is known how far a checkpoint is, what is let through never fills the ring, and comes to nine tenths of
//!   the room that it was let through for.
//! - Nobody waits longer than `WAIT_MAX`, however long a checkpoint stands still: behind that only the ring's end counts.
//! - Nothing here reads a clock or waits: who asks says what time it is, and waits for himself.

use std::time::{Duration, Instant};

/// Longest wait of a batch.
pub const WAIT_MAX: Duration = Duration::from_millis(60);
/// Shortest wait: less is not worth going to sleep for.
const WAIT_MIN: Duration = Duration::from_micros(500);
/// The part of the free room that is let through at once when a checkpoint begins, and the part that is kept until it
/// has ended: for batches that have waited for `WAIT_MAX`, and for the length of one.
const AT_ONCE: f64 = 0.05;
const KEPT: f64 = 0.10;
/// What a checkpoint does, and the part of its time that each step takes before one was seen.
const SHARES: [f64; STEPS] = [0.6, 0.3, 0.1];
const STEPS: usize = 3;
/// A step takes at least this part of the time, or what it was estimated by says nothing.
const SHARE_MIN: f64 = 0.02;
/// A checkpoint shorter than this says nothing of long ones.
const LEARN_FROM: Duration = Duration::from_millis(50);

/// The steps of a checkpoint, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Registers are brought into the tables: it is known how many have been.
    Bringing = 0,
    /// The index is made durable. How far that is is estimated by the time it took the last times.
    Syncing = 1,
    /// The room of the log is made free.
    Freeing = 2,
}

/// How far the checkpoint under way is, if there is one, and how long the steps of the last ones took.
#[derive(Debug, Default)]
pub struct Pace {
    run: Option<Run>,
    /// Parts of the time of a whole one; none before one was seen.
    shares: Option<[f64; STEPS]>,
}

/// A checkpoint under way.
#[derive(Debug)]
struct Run {
    began: Instant,
    /// Where the log ended then, and the bytes that were free in it.
    end: u64,
    free: f64,
    step: Step,
    /// When the step began, and the steps before it.
    since: Instant,
    took: [Duration; STEPS],
    /// The part of this step that is known to be done.
    part: f64,
}

impl Pace {
    /// A checkpoint begins, when the log ends there and has so many bytes free.
    pub fn begin(&mut self, now: Instant, end: u64, free: u64) {
        let took = [Duration::ZERO; STEPS];
        let free = free as f64;
        self.run = Some(Run { began: now, end, free, step: Step::Bringing, since: now, took, part: 0.0 });
    }

    /// So many of so many parts of the step are done.
    pub fn came(&mut self, done: u64, of: u64) {
        if let Some(run) = &mut self.run {
            run.part = (done as f64 / of.max(1) as f64).min(1.0);
        }
    }

    /// The next step begins.
    pub fn goes_on(&mut self, now: Instant, step: Step) {
        if let Some(run) = &mut self.run {
            run.took[run.step as usize] = now.saturating_duration_since(run.since);
            (run.step, run.since, run.part) = (step, now, 0.0);
        }
    }

    /// It has ended, whole or not.
    pub fn ended(&mut self, now: Instant, whole: bool) {
        let Some(mut run) = self.run.take() else { return };
        run.took[run.step as usize] = now.saturating_duration_since(run.since);
        let all = now.saturating_duration_since(run.began);
        if whole && all >= LEARN_FROM {
            let seen = run.took.map(|took| (took.as_secs_f64() / all.as_secs_f64()).max(SHARE_MIN));
            let mut shares = self.shares.unwrap_or(seen);
            shares.iter_mut().zip(seen).for_each(|(share, seen)| *share = (*share + seen) / 2.0);
            let sum: f64 = shares.iter().sum();
            self.shares = Some(shares.map(|share| share / sum));
        }
    }

    /// How long to wait before more is appended to a log that ends there; at most `WAIT_MAX`, and nothing as a rule.
    pub fn wait(&self, now: Instant, end: u64) -> Duration {
        let Some(run) = &self.run else { return Duration::ZERO };
        let far = self.far(run, now);
        let room = run.free * (1.0 - AT_ONCE - KEPT);
        let taken = end.saturating_sub(run.end) as f64 - run.free * AT_ONCE;
        if taken <= room * far {
            return Duration::ZERO;
        }
        // How long it takes to come as far as that, as fast as it came so far.
        let missing = taken / room.max(1.0) - far;
        let elapsed = now.saturating_duration_since(run.began).as_secs_f64();
        let wait = elapsed * missing / far.max(f64::EPSILON);
        Duration::try_from_secs_f64(wait).unwrap_or(WAIT_MAX).clamp(WAIT_MIN, WAIT_MAX)
    }

    /// The part of a checkpoint that is done, from 0 to 1.
    fn far(&self, run: &Run, now: Instant) -> f64 {
        let shares = self.shares.unwrap_or(SHARES);
        let before: f64 = shares[..run.step as usize].iter().sum();
        let share = shares[run.step as usize];
        let part = match run.step {
            Step::Bringing => run.part,
            Step::Syncing | Step::Freeing => {
                // What the steps before took says how long this one takes.
                let so_far = run.since.saturating_duration_since(run.began).as_secs_f64();
                let whole = so_far / before.max(SHARE_MIN) * share;
                let here = now.saturating_duration_since(run.since).as_secs_f64();
                run.part.max((here / whole.max(f64::EPSILON)).min(1.0))
            }
        };
        (before + share * part).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: u64 = 64 << 20;
    const MS: Duration = Duration::from_millis(1);

    /// Draws, the same ones in each run.
    struct Draws(u64);

    impl Draws {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (self.0 >> 33) % end.max(1)
        }
    }

    /// A log, and the checkpoints that free it: each begins once half of the ring is full, and takes as long as what it
    /// brings along is worth.
    struct Log {
        pace: Pace,
        now: Instant,
        end: u64,
        start: u64,
        /// Until where the checkpoint under way brings the index, when each of its steps ends, and when it began.
        under_way: Option<(u64, [Instant; STEPS], Instant)>,
        /// Time for a MiB.
        per_mib: Duration,
        /// Time that was spent by checkpoints, and what they carried.
        busy: Duration,
        carried: u64,
    }

    impl Log {
        fn new(per_mib: Duration) -> Self {
            let (pace, now) = (Pace::default(), Instant::now());
            Log { pace, now, end: 0, start: 0, under_way: None, per_mib, busy: Duration::ZERO, carried: 0 }
        }

        fn free(&self) -> u64 {
            RING - (self.end - self.start)
        }

        /// Time goes on; what a checkpoint would have told by then is told.
        fn pass(&mut self, time: Duration, draws: &mut Draws) {
            self.now += time;
            if self.under_way.is_none() && self.end - self.start > RING / 2 {
                let whole = self.per_mib * ((self.end - self.start) >> 20) as u32;
                // No two are alike.
                let parts = [600 + draws.below(200), 250 + draws.below(100), 50 + draws.below(30)];
                let mut at = self.now;
                let ends = parts.map(|part| {
                    at += whole * part as u32 / 1000;
                    at
                });
                self.pace.begin(self.now, self.end, self.free());
                self.under_way = Some((self.end, ends, self.now));
            }
            let Some((to, ends, began)) = self.under_way else { return };
            for (at, step) in [(ends[0], Step::Syncing), (ends[1], Step::Freeing)] {
                if self.now >= at && self.pace.run.as_ref().is_some_and(|run| run.step < step) {
                    self.pace.goes_on(at, step);
                }
            }
            if self.now < ends[0] {
                let (done, of) = (self.now - began, ends[0] - began);
                self.pace.came(done.as_micros() as u64, of.as_micros() as u64);
            }
            if self.now >= ends[2] {
                self.pace.ended(ends[2], true);
                (self.busy, self.carried) = (self.busy + (ends[2] - began), self.carried + to - self.start);
                (self.start, self.under_way) = (to, None);
            }
        }

        /// Writes a batch as a committer does. How long it waited; none where the ring was full.
        fn write(&mut self, bytes: u64, draws: &mut Draws) -> Option<Duration> {
            let began = self.now;
            loop {
                let left = WAIT_MAX.saturating_sub(self.now - began);
                let wait = self.pace.wait(self.now, self.end).min(left);
                if wait.is_zero() {
                    break;
                }
                self.pass(wait.min(MS), draws);
            }
            let waited = self.now - began;
            let fits = bytes <= self.free();
            self.end += if fits { bytes } else { 0 };
            self.pass(MS / 4, draws);
            fits.then_some(waited)
        }
    }

    #[test]
    fn the_ring_never_fills_and_writes_come_as_fast_as_checkpoints_carry_them() {
        for seed in 0..40 {
            let mut draws = Draws(seed);
            let mut log = Log::new(Duration::from_millis(20 + draws.below(200)));
            let (began, mut longest) = (log.now, Duration::ZERO);
            while log.carried < 40 * RING {
                let bytes = 4096 * (1 + draws.below(100));
                let waited = log.write(bytes, &mut draws).unwrap_or_else(|| panic!("seed {seed}: the ring is full"));
                longest = longest.max(waited);
            }
            assert!(longest <= WAIT_MAX && longest > MS, "seed {seed}: {longest:?}");
            // Nearly all the time a checkpoint is under way: nobody waits for anything else.
            let all = log.now - began;
            assert!(log.busy > all * 9 / 10, "seed {seed}: {:?} of {all:?}", log.busy);
        }
    }

    #[test]
    fn nobody_waits_while_there_is_room() {
        for seed in 0..40 {
            let mut draws = Draws(seed);
            let mut log = Log::new(Duration::from_millis(20));
            // Half of the ring in the time of a checkpoint, and two fifths less.
            let pause = Duration::from_millis(20).mul_f64(4096.0 * 50.0 / f64::from(1 << 20)).mul_f64(1.7) - MS / 4;
            while log.carried < 10 * RING {
                let bytes = 4096 * (1 + draws.below(99));
                assert_eq!(log.write(bytes, &mut draws), Some(Duration::ZERO), "seed {seed}");
                log.pass(pause, &mut draws);
            }
        }
    }

    #[test]
    fn nobody_waits_without_a_checkpoint_nor_longer_than_the_most_for_one_that_stands() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(now, u64::MAX), Duration::ZERO);
        pace.begin(now, 1000, 1000);
        assert_eq!(pace.wait(now, 1000), Duration::ZERO, "nothing was taken");
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.wait(later, 1900), WAIT_MAX);
        pace.came(1, 2);
        assert_eq!(pace.wait(later, 1300), Duration::ZERO, "it goes on, and half is done");
        pace.ended(later, false);
        assert_eq!(pace.wait(later, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn the_share_of_each_step_is_learnt_from_whole_checkpoints_alone() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut run = |pace: &mut Pace, whole: bool, steps: [u32; STEPS]| {
            pace.begin(now, 0, 1 << 20);
            now += MS * steps[0];
            pace.goes_on(now, Step::Syncing);
            now += MS * steps[1];
            pace.goes_on(now, Step::Freeing);
            now += MS * steps[2];
            pace.ended(now, whole);
        };
        run(&mut pace, false, [100, 800, 100]);
        run(&mut pace, true, [1, 8, 1]);
        assert_eq!(pace.shares, None);
        for _ in 0..12 {
            run(&mut pace, true, [100, 800, 100]);
        }
        let shares = pace.shares.expect("some");
        let near = |share: f64, part: f64| (share - part).abs() < 0.01;
        assert!(near(shares[0], 0.1) && near(shares[1], 0.8) && near(shares[2], 0.1), "{shares:?}");
        // Half of the middle step by the time that it takes.
        pace.begin(now, 0, 1 << 20);
        pace.goes_on(now + MS * 10, Step::Syncing);
        let run = pace.run.as_ref().expect("one");
        assert!(near(pace.far(run, now + MS * 50), 0.5), "{}", pace.far(run, now + MS * 50));
    }
}
