//! Scrubbing decided: what is read next, how long to wait before, and what becomes of damage. A pure struct; time
//! is an argument, by the steady clock for pauses and by the calendar for what a restart has to know.
//!
//! Invariants
//! - A run begins one period after the one before it began, or at once when that is over; not before that one ended.
//! - Over any time, not more is read than the rate allows and one piece. Idle time is not saved up.
//! - Damage is mended before anything else is read, and counts as repaired only when it was read again and opened.
//! - The place that is kept is never beyond what was read, nor beyond damage that nobody has dealt with yet.
//! - Whether it is paused is kept at once, whatever it is doing; what is under way when it is paused still counts.

use crate::actors::status::{LastScrub, ScrubState, ScrubStatus};
use crate::base::RegisterKey;
use crate::store::scrub::{Part, Seen};
use crate::store::scrub_place::{Place, Run};
use std::time::{Duration, Instant};

/// How long the scrubber stands still before it tries again what could not be.
const STILL: Duration = Duration::from_secs(5);
/// Least time between two savings of the place.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// Longest time between two looks at the calendar, which people set.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// What a register without a body counts for.
const RECORD_BYTES: u64 = 512;

/// The two clocks that scrubbing goes by.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The steady one, for pauses.
    pub at: Instant,
    /// The calendar, in milliseconds since 1970.
    pub ms: u64,
}

/// The settings of `[scrub]`.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Whether anything is read at all.
    pub enabled: bool,
    /// From the beginning of one run to that of the next.
    pub period: Duration,
    /// Most bytes in a second.
    pub bytes_per_second: u64,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing for so long.
    Wait(Duration),
    /// Read on in this part, and tell `seen` or `hindered`.
    Read(Part),
    /// Have this register mended, and tell `mended`.
    Mend(RegisterKey),
    /// Nothing more, ever: it was told to stop, or is switched off.
    End,
}

#[derive(Debug)]
enum Phase {
    Resting,
    Reading,
    Mending(RegisterKey),
    Again(RegisterKey),
}

/// How the scrubbing of one store goes.
#[derive(Debug)]
pub struct Scrub {
    pace: Pace,
    place: Place,
    phase: Phase,
    /// Nothing is read before.
    free_at: Instant,
    saved_at: Option<Instant>,
    unsaved: bool,
    /// A pause or its end that nobody has tried to keep yet.
    urgent: bool,
    /// The place that was to be kept last.
    kept: Place,
    /// Whether the disk says that it is paused.
    kept_paused: bool,
    still: bool,
    stopped: bool,
    last_error: Option<String>,
}

impl Scrub {
    /// Goes on at a place that was kept.
    pub fn new(pace: Pace, place: Place, now: Now) -> Self {
        let phase = match &place.run {
            Some(run) if run.ended_ms.is_none() => Phase::Reading,
            _ => Phase::Resting,
        };
        Scrub {
            pace,
            kept: place.clone(),
            kept_paused: place.paused,
            place,
            phase,
            free_at: now.at,
            saved_at: None,
            unsaved: false,
            urgent: false,
            still: false,
            stopped: false,
            last_error: None,
        }
    }

    /// What to do now.
    pub fn next(&mut self, now: Now) -> Next {
        if self.stopped || !self.pace.enabled {
            return Next::End;
        }
        let saving = self.saved_at.filter(|_| self.unsaved && self.is_settled());
        let saving = saving.map_or(LOOK_EVERY, |at| (at + SAVE_EVERY).saturating_duration_since(now.at));
        if self.place.paused {
            return Next::Wait(saving.min(LOOK_EVERY));
        }
        if let Phase::Resting = self.phase {
            let rest = self.rest(now.ms);
            if !rest.is_zero() {
                return Next::Wait(rest.min(saving).min(LOOK_EVERY));
            }
            self.place.run = Some(Run { begun_ms: now.ms, ..Run::default() });
            self.place.after = None;
            self.phase = Phase::Reading;
        }
        let pause = self.free_at.saturating_duration_since(now.at);
        if !pause.is_zero() {
            return Next::Wait(pause.min(LOOK_EVERY));
        }
        match &self.phase {
            Phase::Reading | Phase::Resting => Next::Read(Part::Behind(self.place.after.clone())),
            Phase::Mending(key) => Next::Mend(key.clone()),
            Phase::Again(key) => Next::Read(Part::Only(key.clone())),
        }
    }

    /// How long until the next run. A calendar that was set back makes it a period at most.
    fn rest(&mut self, now_ms: u64) -> Duration {
        let Some(run) = &mut self.place.run else { return Duration::ZERO };
        run.begun_ms = run.begun_ms.min(now_ms);
        let since = Duration::from_millis(now_ms.saturating_sub(run.begun_ms));
        self.pace.period.saturating_sub(since)
    }

    /// A piece was read: what `Next::Read` asked for has come.
    pub fn seen(&mut self, now: Now, seen: Seen) {
        self.moved();
        let weight = seen.registers.saturating_mul(RECORD_BYTES).saturating_add(seen.bytes);
        // Counted from now on: time in which nothing was read is not saved up for a burst.
        self.free_at = now.at + time_for(weight, self.pace.bytes_per_second);
        let Some(run) = &mut self.place.run else { return };
        run.bytes += seen.bytes;
        match &self.phase {
            Phase::Reading => {
                run.registers += seen.registers;
                run.objects += seen.objects;
                run.unread += seen.unread;
                self.place.after = seen.after;
                if let Some(key) = seen.damaged {
                    run.damaged += 1;
                    self.phase = Phase::Mending(key);
                } else if seen.done {
                    run.ended_ms = Some(now.ms);
                    self.place.last = Some(*run);
                    self.phase = Phase::Resting;
                }
            }
            // It was mended and does not open all the same: it stays counted as damaged, and the next run meets it.
            Phase::Again(_) if seen.damaged.is_some() => self.phase = Phase::Reading,
            Phase::Again(_) if seen.done => {
                run.repaired += 1;
                self.phase = Phase::Reading;
            }
            Phase::Again(_) | Phase::Mending(_) | Phase::Resting => {}
        }
    }

    /// Whether somebody had a good copy.
    pub fn mended(&mut self, good: bool) {
        self.moved();
        if let Phase::Mending(key) = &self.phase {
            self.phase = if good { Phase::Again(key.clone()) } else { Phase::Reading };
        }
    }

    /// It could not be read: the store takes no writes, is closing, or its index is damaged.
    pub fn hindered(&mut self, now: Now, why: String) {
        self.still = true;
        self.last_error = Some(why);
        self.free_at = now.at + STILL;
    }

    /// Reads nothing until told to go on, over restarts too; or goes on where it was.
    pub fn pause(&mut self, paused: bool) {
        if self.place.paused != paused || self.kept_paused != paused {
            self.place.paused = paused;
            self.unsaved = true;
            self.urgent = true;
        }
    }

    /// Whether a restart would find it paused or not, as it is now.
    pub fn is_pause_kept(&self) -> bool {
        self.kept_paused == self.place.paused
    }

    fn moved(&mut self) {
        self.still = false;
        self.unsaved = true;
    }

    /// The place, when it is time to keep it. How that went is told by `saved` or `not_saved`.
    pub fn to_save(&mut self, now: Now) -> Option<Place> {
        let due = self.urgent || self.stopped || self.saved_at.is_none_or(|at| now.at >= at + SAVE_EVERY);
        if !(due && self.unsaved) {
            return None;
        }
        if self.is_settled() {
            self.kept = self.place.clone();
            self.unsaved = false;
        } else if self.urgent {
            // A pause does not wait for a peer's copy: it goes with the place before.
            self.kept.paused = self.place.paused;
        } else {
            return None;
        }
        self.urgent = false;
        self.saved_at = Some(now.at);
        Some(self.kept.clone())
    }

    /// Whether there is no damage that waits for something.
    fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Reading | Phase::Resting)
    }

    /// A place is on the disk.
    pub fn saved(&mut self, place: &Place) {
        self.kept_paused = place.paused;
    }

    /// A place could not be kept: it is tried again later.
    pub fn not_saved(&mut self, why: String) {
        self.unsaved = true;
        self.last_error = Some(why);
    }

    /// Reads nothing any more.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The scrubber as status and metrics show it.
    pub fn status(&self) -> ScrubStatus {
        let run = self.place.run.unwrap_or_default();
        let state = match &self.phase {
            _ if !self.pace.enabled => ScrubState::Off,
            _ if self.place.paused => ScrubState::Paused,
            _ if self.still || self.stopped => ScrubState::Waiting,
            Phase::Resting => ScrubState::Resting,
            Phase::Reading => ScrubState::Reading,
            Phase::Mending(_) | Phase::Again(_) => ScrubState::Mending,
        };
        ScrubStatus {
            state,
            started_ms: self.place.run.map(|run| run.begun_ms),
            position: if run.ended_ms.is_some() { 1.0 } else { 0.0 },
            registers: run.registers,
            objects: run.objects,
            bytes: run.bytes,
            unread: run.unread,
            damaged: run.damaged,
            repaired: run.repaired,
            last: self.place.last.map(LastScrub::of),
            last_error: self.last_error.clone(),
        }
    }
}

/// How long so many bytes take at this rate.
fn time_for(bytes: u64, per_second: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::testing::key;

    const PERIOD: Duration = Duration::from_secs(1_000);
    const PACE: Pace = Pace { enabled: true, period: PERIOD, bytes_per_second: 1_000_000 };

    fn after(start: Now, secs: u64) -> Now {
        Now { at: start.at + Duration::from_secs(secs), ms: start.ms + secs * 1_000 }
    }

    fn begin() -> (Scrub, Now) {
        let now = Now { at: Instant::now(), ms: 1_700_000_000_000 };
        (Scrub::new(PACE, Place::default(), now), now)
    }

    fn piece(last: u64, bytes: u64) -> Seen {
        Seen { registers: 1, objects: 1, bytes, after: Some(key(last)), ..Seen::default() }
    }

    fn done() -> Seen {
        Seen { done: true, ..Seen::default() }
    }

    #[test]
    fn a_run_reads_behind_what_was_read_and_begins_once_in_a_period() {
        let (mut scrub, start) = begin();
        assert_eq!(scrub.next(start), Next::Read(Part::Behind(None)), "the first at once");
        scrub.seen(start, piece(1, 0));
        let now = after(start, 1);
        assert_eq!(scrub.next(now), Next::Read(Part::Behind(Some(key(1)))));
        scrub.seen(now, Seen { done: true, ..piece(2, 0) });
        let now = after(start, 10);
        assert_eq!(scrub.next(now), Next::Wait(LOOK_EVERY), "it looks at the calendar now and then");
        assert_eq!(scrub.next(after(start, 990)), Next::Wait(Duration::from_secs(10)));
        let last = scrub.status().last.expect("a run ended");
        assert_eq!((last.objects, scrub.status().position, scrub.status().state), (2, 1.0, ScrubState::Resting));
        let now = after(start, 1_000);
        assert_eq!(scrub.next(now), Next::Read(Part::Behind(None)), "from the beginning");
        assert_eq!((scrub.status().objects, scrub.status().started_ms), (0, Some(now.ms)));
        assert!(scrub.status().last.is_some());
        // One that takes longer than the period is followed at once.
        scrub.seen(after(start, 5_000), done());
        assert_eq!(scrub.next(after(start, 5_001)), Next::Read(Part::Behind(None)));
    }

    #[test]
    fn the_rate_is_kept_and_idle_time_is_not_saved_up() {
        let (mut scrub, start) = begin();
        scrub.next(start);
        scrub.seen(start, Seen { registers: 0, ..piece(1, 3_000_000) });
        assert_eq!(scrub.next(start), Next::Wait(Duration::from_secs(3)));
        assert_eq!(scrub.next(after(start, 2)), Next::Wait(Duration::from_secs(1)));
        let now = after(start, 60);
        assert_eq!(scrub.next(now), Next::Read(Part::Behind(Some(key(1)))));
        scrub.seen(now, Seen { registers: 1_000, bytes: 0, ..piece(2, 0) });
        assert_eq!(scrub.next(now), Next::Wait(Duration::from_millis(512)), "records have a weight");
    }

    #[test]
    fn damage_is_mended_and_counts_as_repaired_when_it_opens() {
        let (mut scrub, start) = begin();
        scrub.next(start);
        let damaged = |n| Seen { damaged: Some(key(n)), ..piece(n, 0) };
        scrub.seen(start, damaged(1));
        let now = after(start, 1);
        assert_eq!(scrub.next(now), Next::Mend(key(1)));
        assert!(scrub.to_save(now).is_none(), "a crash now must meet it again");
        scrub.mended(true);
        assert!(scrub.to_save(now).is_none());
        assert_eq!(scrub.next(now), Next::Read(Part::Only(key(1))));
        scrub.seen(now, Seen { after: None, ..piece(1, 5) });
        let now = after(start, 2);
        assert_eq!(scrub.next(now), Next::Read(Part::Only(key(1))), "a long one takes its time");
        scrub.seen(now, done());
        assert_eq!((scrub.status().damaged, scrub.status().repaired), (1, 1));
        assert_eq!(scrub.to_save(now).expect("a place").after, Some(key(1)));

        // A copy that does not open either, and none at all.
        for (n, good) in [(2, true), (3, false)] {
            let now = after(start, 10 * n);
            assert_eq!(scrub.next(now), Next::Read(Part::Behind(Some(key(n - 1)))));
            scrub.seen(now, damaged(n));
            scrub.mended(good);
            if good {
                let now = after(now, 1);
                assert_eq!(scrub.next(now), Next::Read(Part::Only(key(n))));
                scrub.seen(now, Seen { done: true, ..damaged(n) });
            }
        }
        assert_eq!((scrub.status().damaged, scrub.status().repaired, scrub.status().registers), (3, 1, 3));
    }

    #[test]
    fn a_hindrance_is_waited_for_and_told() {
        let (mut scrub, start) = begin();
        scrub.next(start);
        scrub.seen(start, piece(1, 0));
        let now = after(start, 1);
        scrub.hindered(now, "poisoned".to_owned());
        assert_eq!(scrub.next(now), Next::Wait(STILL));
        assert_eq!(scrub.status().state, ScrubState::Waiting);
        let now = after(start, 6);
        assert_eq!(scrub.next(now), Next::Read(Part::Behind(Some(key(1)))), "the same again");
        scrub.seen(now, piece(2, 0));
        assert_eq!(scrub.status().state, ScrubState::Reading);
        assert_eq!(scrub.status().last_error.as_deref(), Some("poisoned"));
    }

    #[test]
    fn the_place_is_kept_now_and_then_and_a_restart_goes_on_there() {
        let (mut scrub, start) = begin();
        scrub.next(start);
        assert!(scrub.to_save(start).is_none(), "nothing has happened");
        scrub.seen(start, piece(1, 0));
        let first = scrub.to_save(start).expect("a place");
        scrub.seen(start, piece(2, 0));
        assert!(scrub.to_save(after(start, 9)).is_none(), "not so often");
        let kept = scrub.to_save(after(start, 10)).expect("a place");
        assert_eq!((first.after, kept.after.clone()), (Some(key(1)), Some(key(2))));
        scrub.seen(after(start, 11), Seen { done: true, ..piece(3, 0) });
        assert_eq!(scrub.next(after(start, 15)), Next::Wait(Duration::from_secs(5)), "the end is kept too");
        assert!(scrub.to_save(after(start, 20)).expect("a place").last.is_some());
        assert!(scrub.to_save(after(start, 90)).is_none(), "once");

        let now = after(start, 500);
        let mut scrub = Scrub::new(PACE, kept, now);
        assert_eq!(scrub.next(now), Next::Read(Part::Behind(Some(key(2)))));
        assert_eq!((scrub.status().objects, scrub.status().started_ms), (2, Some(start.ms)));
        scrub.seen(now, piece(3, 0));
        scrub.stop();
        assert_eq!(scrub.next(now), Next::End);
        assert_eq!(scrub.to_save(now).expect("at the end").after, Some(key(3)));
    }

    #[test]
    fn a_clock_that_was_set_back_puts_nothing_off_for_more_than_a_period() {
        let (mut scrub, start) = begin();
        scrub.next(start);
        scrub.seen(start, done());
        scrub.to_save(start);
        let back = Now { ms: start.ms - 10_000_000, ..start };
        assert_eq!(scrub.next(back), Next::Wait(LOOK_EVERY));
        assert_eq!(scrub.next(after(back, 999)), Next::Wait(Duration::from_secs(1)));
        assert_eq!(scrub.next(after(back, 1_000)), Next::Read(Part::Behind(None)));
    }

    #[test]
    fn a_pause_reads_nothing_and_a_run_goes_on_where_it_was() {
        let (mut scrub, start) = begin();
        scrub.next(start);
        scrub.seen(start, piece(1, 0));
        scrub.to_save(start);
        scrub.pause(true);
        assert_eq!(scrub.status().state, ScrubState::Paused);
        assert!(!scrub.is_pause_kept());
        // The piece that was under way.
        scrub.seen(start, piece(2, 0));
        let kept = scrub.to_save(start).expect("at once");
        assert_eq!((kept.paused, kept.after.clone()), (true, Some(key(2))));
        scrub.saved(&kept);
        assert!(scrub.is_pause_kept() && scrub.to_save(start).is_none());
        assert_eq!(scrub.next(after(start, 5_000)), Next::Wait(LOOK_EVERY), "not for any number of periods");
        scrub.pause(true);
        assert!(scrub.to_save(after(start, 5_000)).is_none(), "it is so already");

        let now = after(start, 5_000);
        let mut scrub = Scrub::new(PACE, kept, now);
        assert_eq!((scrub.status().state, scrub.next(now)), (ScrubState::Paused, Next::Wait(LOOK_EVERY)));
        scrub.pause(false);
        assert_eq!(scrub.next(now), Next::Read(Part::Behind(Some(key(2)))));
        let kept = scrub.to_save(now).expect("at once");
        assert!(!kept.paused && !scrub.is_pause_kept());
        scrub.saved(&kept);
        assert!(scrub.is_pause_kept());
        assert_eq!((scrub.status().state, scrub.status().objects), (ScrubState::Reading, 2));
    }

    #[test]
    fn a_pause_is_kept_while_damage_is_being_mended_without_passing_it() {
        let (mut scrub, start) = begin();
        scrub.next(start);
        scrub.seen(start, piece(1, 0));
        scrub.to_save(start);
        scrub.seen(start, Seen { damaged: Some(key(2)), ..piece(2, 0) });
        scrub.pause(true);
        let kept = scrub.to_save(start).expect("at once");
        assert_eq!((kept.paused, kept.after, kept.run.map(|run| run.damaged)), (true, Some(key(1)), Some(0)));
        assert!(scrub.to_save(after(start, 60)).is_none(), "the rest is not kept until the damage is dealt with");
        assert_eq!(scrub.next(after(start, 60)), Next::Wait(LOOK_EVERY), "and nobody waits for that");
        scrub.mended(false);
        assert_eq!(scrub.to_save(after(start, 60)).expect("it is now").after, Some(key(2)));
    }

    #[test]
    fn a_pause_that_could_not_be_kept_is_in_force_and_tried_again() {
        let (mut scrub, start) = begin();
        scrub.pause(true);
        scrub.to_save(start).expect("at once");
        scrub.not_saved("full".to_owned());
        assert!(!scrub.is_pause_kept());
        assert_eq!(scrub.status().last_error.as_deref(), Some("full"));
        assert!(scrub.to_save(after(start, 9)).is_none(), "not so often");
        assert_eq!(scrub.next(after(start, 9)), Next::Wait(Duration::from_secs(1)));
        assert!(scrub.to_save(after(start, 10)).expect("again").paused);
        scrub.not_saved("full".to_owned());
        scrub.pause(true);
        assert!(scrub.to_save(after(start, 11)).is_some(), "at once when somebody asks");
    }

    #[test]
    fn what_is_switched_off_reads_nothing() {
        let now = Now { at: Instant::now(), ms: 1 };
        let mut scrub = Scrub::new(Pace { enabled: false, ..PACE }, Place::default(), now);
        assert_eq!((scrub.next(now), scrub.status().state), (Next::End, ScrubState::Off));
    }
}
