//! The window: which changes are on their way to a peer. A pure struct; time is an argument.
//!
//! Invariants
//! - The cursor lies below every change that the peer has not acknowledged, and never moves back.
//! - The window is bounded in changes that are *open*, not in their span: one huge or stuck blob
//!   holds the cursor, and stops nothing behind it.
//! - A change is in one state, and only `ack` lets it go.

use crate::actors::messages::Change;
use crate::base::{Incarnation, RegisterKey};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Most open changes of one peer.
pub const OPEN_MAX: usize = 2048;

/// Bytes of them, at most.
pub const OPEN_BYTES_MAX: usize = OPEN_MAX * (size_of::<Open>() + RegisterKey::BYTES_MAX);

/// What is on its way to one life of a peer.
#[derive(Debug)]
pub struct Window {
    number: u64,
    peer: Incarnation,
    read_to: u64,
    open_max: usize,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    change: Change,
    state: State,
    tries: u32,
    not_before: Option<Instant>,
    /// Acknowledged before: the cursor is beyond it already.
    again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is to be offered.
    Waiting,
    /// In the step that is under way.
    Sending,
    /// The peer wants its blob; no lane has it yet.
    BlobWaiting,
    /// A blob lane has it.
    Shipping,
}

impl Window {
    /// A window for a life of a peer that has acknowledged everything up to `cursor`. No other window has its `number`.
    pub fn new(number: u64, peer: Incarnation, cursor: u64, open_max: usize) -> Self {
        Window { number, peer, read_to: cursor, open_max, open: BTreeMap::new() }
    }

    /// What comes back to a window names it: the same change may be on its way in a later one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Which life of the peer it is for.
    pub fn peer(&self) -> Incarnation {
        self.peer
    }

    /// Everything up to this number is acknowledged.
    pub fn cursor(&self) -> u64 {
        // What is offered again was acknowledged once, and does not hold the cursor.
        let first = self.open.iter().find(|(_, open)| !open.again);
        first.map_or(self.read_to, |(seq, _)| seq.saturating_sub(1))
    }

    /// The last number read from the feed.
    pub fn read_to(&self) -> u64 {
        self.read_to
    }

    /// How many more changes may be read.
    pub fn room(&self) -> usize {
        self.open_max.saturating_sub(self.open.len())
    }

    /// How many changes are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether a step or a lane has some of them.
    pub fn is_busy(&self) -> bool {
        self.open.values().any(|open| matches!(open.state, State::Sending | State::Shipping))
    }

    /// The lowest open change.
    pub fn oldest(&self) -> Option<&Change> {
        self.open.first_key_value().map(|(_, open)| &open.change)
    }

    /// Takes in what the feed gave after `read_to`. What came from this peer is acknowledged by that, and so is what is
    /// not the peer's: `its` makes of a change what the peer is to have of it.
    pub fn admit(&mut self, changes: Vec<Change>, its: impl Fn(Change) -> Option<Change>) {
        for change in changes {
            // The feed is in order; what is not behind the last one was seen already.
            if change.seq <= self.read_to {
                continue;
            }
            self.read_to = change.seq;
            // The peer needs no record back that came from it.
            if change.learned_from == Some(self.peer) {
                continue;
            }
            if let Some(change) = its(change) {
                let open = Open { change, state: State::Waiting, tries: 0, not_before: None, again: false };
                self.open.insert(open.change.seq, open);
            }
        }
    }

    /// Takes in changes that were acknowledged and are in doubt: they are offered again. What is behind
    /// `read_to` comes with the feed anyway. How many were taken.
    pub fn doubt(&mut self, changes: Vec<Change>, its: impl Fn(Change) -> Option<Change>) -> usize {
        let mut taken = 0;
        for change in changes.into_iter().filter_map(its) {
            if change.seq <= self.read_to && !self.open.contains_key(&change.seq) {
                let open = Open { change, state: State::Waiting, tries: 0, not_before: None, again: true };
                self.open.insert(open.change.seq, open);
                taken += 1;
            }
        }
        taken
    }

    /// Whether something is open that was in doubt.
    pub fn doubts(&self) -> bool {
        self.open.values().any(|open| open.again)
    }

    /// Up to `max` changes to offer now, lowest first.
    pub fn take_offers(&mut self, now: Instant, max: usize) -> Vec<Change> {
        self.take(State::Waiting, State::Sending, now, max)
    }

    /// The changes whose blobs are to be shipped now and together: those of which `goes` says so, lowest first.
    pub fn take_blobs(&mut self, now: Instant, mut goes: impl FnMut(&Change) -> bool) -> Vec<Change> {
        let waits = |open: &&mut Open| open.state == State::BlobWaiting && open.not_before.is_none_or(|at| at <= now);
        let taken = self.open.values_mut().filter(waits).filter(|open| goes(&open.change)).map(|open| {
            open.state = State::Shipping;
            open.change.clone()
        });
        taken.collect()
    }

    fn take(&mut self, from: State, to: State, now: Instant, max: usize) -> Vec<Change> {
        let ready = |open: &&mut Open| open.state == from && open.not_before.is_none_or(|at| at <= now);
        let taken = self.open.values_mut().filter(ready).take(max).map(|open| {
            open.state = to;
            open.change.clone()
        });
        taken.collect()
    }

    /// The peer has it, or does not need it any more.
    /// True when it had been in doubt.
    pub fn ack(&mut self, seq: u64) -> bool {
        self.open.remove(&seq).is_some_and(|open| open.again)
    }

    /// The peer wants its blob.
    pub fn wants_blob(&mut self, seq: u64) {
        if let Some(open) = self.open.get_mut(&seq) {
            open.state = State::BlobWaiting;
        }
    }

    /// It failed; it is offered again after the wait that its number of tries asks for.
    pub fn failed(&mut self, seq: u64, now: Instant, wait: impl FnOnce(u32) -> Duration) {
        if let Some(open) = self.open.get_mut(&seq) {
            open.state = State::Waiting;
            open.not_before = Some(now + wait(open.tries));
            open.tries = open.tries.saturating_add(1);
        }
    }

    /// The step ended with an error that is not the link's: what it still had waits as if each had failed.
    pub fn step_failed(&mut self, now: Instant, wait: impl Fn(u32) -> Duration) {
        for open in self.open.values_mut().filter(|open| open.state == State::Sending) {
            open.state = State::Waiting;
            open.not_before = Some(now + wait(open.tries));
            open.tries = open.tries.saturating_add(1);
        }
    }

    /// The step ended without a word on what it still had: that is offered again.
    pub fn step_ended(&mut self) {
        for open in self.open.values_mut().filter(|open| open.state == State::Sending) {
            open.state = State::Waiting;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::testing::change;

    const PEER: Incarnation = Incarnation(2);

    fn window(seqs: &[u64]) -> (Window, Instant) {
        let mut window = Window::new(1, PEER, 10, 100);
        window.admit(seqs.iter().map(|&seq| change(seq)).collect(), Some);
        (window, Instant::now())
    }

    fn seqs(changes: &[Change]) -> Vec<u64> {
        changes.iter().map(|change| change.seq).collect()
    }

    #[test]
    fn the_cursor_stays_below_the_lowest_open_change() {
        let (mut w, now) = window(&[12, 15, 20]);
        assert_eq!((w.cursor(), w.read_to(), w.open()), (11, 20, 3));
        assert_eq!(seqs(&w.take_offers(now, 2)), [12, 15]);
        w.ack(15);
        assert_eq!(w.cursor(), 11);
        w.ack(12);
        assert_eq!(w.cursor(), 19);
        w.ack(20);
        assert_eq!((w.cursor(), w.open()), (20, 0));
    }

    #[test]
    fn what_came_from_the_peer_is_not_sent_back() {
        let (mut w, now) = window(&[]);
        let mut own = change(11);
        own.learned_from = Some(Incarnation(3));
        let mut circle = change(12);
        circle.learned_from = Some(PEER);
        w.admit(vec![own, circle], Some);
        assert_eq!(seqs(&w.take_offers(now, 10)), [11]);
        w.ack(11);
        assert_eq!(w.cursor(), 12);
    }

    #[test]
    fn what_is_not_the_peers_is_acknowledged_and_never_offered() {
        let (mut w, now) = window(&[11]);
        let its = |change: Change| (change.seq != 12).then_some(change);
        w.admit(vec![change(12), change(13)], its);
        assert_eq!((w.read_to(), seqs(&w.take_offers(now, 9))), (13, vec![11, 13]));
        assert!(!w.ack(11) && !w.ack(13));
        assert_eq!(w.cursor(), 13);
        assert_eq!(w.doubt(vec![change(12), change(11)], its), 1);
        assert_eq!(seqs(&w.take_offers(now, 9)), [11]);
    }

    #[test]
    fn one_long_blob_holds_the_cursor_and_nothing_else() {
        let mut w = Window::new(1, PEER, 0, 3);
        let now = Instant::now();
        w.admit(vec![change(1)], Some);
        assert_eq!(w.take_offers(now, 9).len(), 1);
        w.wants_blob(1);
        assert_eq!(seqs(&w.take_blobs(now, |_| true)), [1]);
        for seq in 2..1_000 {
            assert!(w.room() > 0);
            w.admit(vec![change(seq)], Some);
            assert_eq!(seqs(&w.take_offers(now, 9)), [seq]);
            w.ack(seq);
            assert_eq!(w.cursor(), 0);
        }
        w.ack(1);
        assert_eq!(w.cursor(), 999);
    }

    #[test]
    fn what_is_in_doubt_is_offered_again_and_moves_no_cursor() {
        let (mut w, now) = window(&[11, 12]);
        assert!(!w.ack(11), "it was not in doubt");
        assert_eq!(
            w.doubt(vec![change(3), change(9), change(12), change(40)], Some),
            2,
            "12 is open, 40 comes with the feed"
        );
        assert_eq!((w.cursor(), w.open(), w.doubts()), (11, 3, true));
        assert_eq!(seqs(&w.take_offers(now, 9)), [3, 9, 12]);
        assert!(!w.ack(12));
        assert_eq!(w.cursor(), 12);
        assert!(w.ack(3) && w.ack(9) && !w.doubts());
        assert_eq!((w.cursor(), w.open()), (12, 0));
    }

    #[test]
    fn failures_wait_longer_each_time_and_keep_their_place() {
        let (mut w, now) = window(&[11]);
        let wait = |tries: u32| Duration::from_secs(u64::from(tries) + 1);
        let later = |s| now + Duration::from_secs(s);
        assert_eq!(w.take_offers(now, 9).len(), 1);
        w.failed(11, now, wait);
        assert!(w.take_offers(now, 9).is_empty());
        assert_eq!(w.take_offers(later(1), 9).len(), 1);
        w.failed(11, later(1), wait);
        assert!(w.take_offers(later(2), 9).is_empty());
        assert_eq!(w.take_offers(later(3), 9).len(), 1);
        assert_eq!(w.cursor(), 10);
    }

    #[test]
    fn blobs_that_go_together_are_lent_together_and_once() {
        let (mut w, now) = window(&[11, 12, 13, 14]);
        w.take_offers(now, 9);
        [11, 12, 14].into_iter().for_each(|seq| w.wants_blob(seq));
        assert!(w.take_blobs(now, |_| false).is_empty());
        assert_eq!(seqs(&w.take_blobs(now, |change| change.seq != 12)), [11, 14]);
        assert_eq!(seqs(&w.take_blobs(now, |_| true)), [12], "the others are on their way");
        w.failed(12, now, |_| Duration::from_secs(1));
        assert!(w.take_blobs(now, |_| true).is_empty());
    }

    #[test]
    fn an_ended_step_gives_back_what_it_had_and_leaves_blobs_alone() {
        let (mut w, now) = window(&[11, 12]);
        assert_eq!(w.take_offers(now, 9).len(), 2);
        w.wants_blob(12);
        assert_eq!(seqs(&w.take_blobs(now, |_| true)), [12]);
        w.step_ended();
        assert_eq!(seqs(&w.take_offers(now, 9)), [11]);
        assert!(w.is_busy());
    }

    #[test]
    fn doubled_answers_and_doubled_reads_change_nothing() {
        let (mut w, _) = window(&[11, 12]);
        w.admit(vec![change(11), change(12)], Some);
        assert_eq!(w.open(), 2);
        w.ack(11);
        w.ack(11);
        w.failed(11, Instant::now(), |_| Duration::ZERO);
        w.wants_blob(11);
        assert_eq!((w.open(), w.cursor()), (1, 11));
    }
}
