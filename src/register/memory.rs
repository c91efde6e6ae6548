//! Memory: what nodes have said of themselves, and who says less than before.
//!
//! A data directory may be an older copy of itself: a volume's snapshot that was put back, a disk that forgot what it
//! had synced. Its node has forgotten promises and records that counted, and knows nothing of that. The others can
//! tell: every start of a node has a number, durable before anything is said, and a word drawn at random; the number of
//! its commits and its reserve never fall. So two nodes tell each other, before any vote passes between them, how they
//! stand and what they remember of everybody.
//!
//! Invariants
//! - A node that says less than is remembered of it is not met, and no vote passes to or from a node that is not met.
//! - A node that is told more of itself than it knows has forgotten something: it gives up its place
//!   (`Standing::is_beyond`).
//! - A start that is met is remembered durably: a node that restarts still knows whom it has met.
//! - A node with a place in the member list is remembered, however many others there have been.
//! - When a list of two or of one gives way to another (`Roster::outgrows`), what was said before counts for nothing,
//!   by whoever it is told, for good: since which epoch is remembered durably too. In such a list nothing is decided
//!   without every member, so what one of two has forgotten the other one knows; in the epoch of both lists all of it
//!   is stored again, by both; and a vote of that epoch is only given to a node that has heard the voter in it. So a
//!   word from before protects nothing that this does not protect, and would take away a vote without which that epoch
//!   never ends.
//!
//! An older copy is not found while all nodes are away that had heard of what came after it; nor is one whose node
//! started again before it met anybody, so that its number is above that of the later start which the others have met.

use super::members::VOTERS_MAX;
use super::roster::Roster;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{Epoch, Incarnation, Stamp};
use std::collections::{BTreeMap, BTreeSet};

/// Most nodes that are remembered.
pub const KNOWN_MAX: usize = 64;
// There is always a stranger to give way.
const _: () = assert!(VOTERS_MAX < KNOWN_MAX);

/// A start of a node on its data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Start {
    /// Which, counted from 1.
    pub number: u64,
    /// Drawn at random: two starts from copies of one directory may have the same number.
    #[serde(skip)]
    pub draw: u64,
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Standing {
    /// The start that says it.
    pub start: Start,
    /// The number of its newest commit.
    pub head: u64,
    /// Stamps up to this one may have been promised.
    pub reserved: Stamp,
}

impl Start {
    /// Of an incarnation that two directories have lived under: no start of it is met any more.
    const SPENT: Start = Start { number: u64::MAX, draw: 0 };
}

impl Standing {
    /// Bytes of an encoded one: start, word, change and stamp.
    pub const BYTES: usize = 32;

    /// Whether a node that once stood here and says `now` has forgotten something.
    pub fn is_beyond(&self, now: &Standing) -> bool {
        let (was, is) = (self.start, now.start);
        let other_start = was.number > is.number || (was.number == is.number && was.draw != is.draw);
        other_start || self.head > now.head || self.reserved > now.reserved
    }

    fn raise(&mut self, other: &Standing) -> bool {
        let before = *self;
        self.head = self.head.max(other.head);
        self.reserved = self.reserved.max(other.reserved);
        *self != before
    }

    /// Appends the standing to a message or record.
    pub fn write(&self, w: &mut Writer) {
        w.u64(self.start.number).u64(self.start.draw).u64(self.head).u64(self.reserved.0);
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let start = Start { number: r.u64()?, draw: r.u64()? };
        Ok(Standing { start, head: r.u64()?, reserved: Stamp(r.u64()?) })
    }
}

/// What is remembered of the others, as bytes: a count (1), and for each an incarnation (8) and its standing.
pub type Remembered = Vec<(Incarnation, Standing)>;

/// Appends the bytes of what is remembered.
pub fn write_remembered(w: &mut Writer, remembered: &[(Incarnation, Standing)]) {
    let known = &remembered[..remembered.len().min(KNOWN_MAX)];
    w.u8(u8::try_from(known.len()).unwrap_or(0));
    for (node, standing) in known {
        standing.write(w.u64(node.0));
    }
}

/// Reads what `write_remembered` appended.
pub fn read_remembered(r: &mut Reader<'_>) -> Result<Remembered, CodecError> {
    let count = usize::from(r.u8()?);
    if count > KNOWN_MAX {
        return Err(CodecError::Value("remembered nodes"));
    }
    (0..count).map(|_| Ok((Incarnation(r.u64()?), Standing::read(r)?))).collect()
}

/// What of a memory is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How the others stood.
    pub remembered: Remembered,
    /// What nodes with a list of an earlier epoch tell counts for nothing.
    pub since: Epoch,
}

impl Kept {
    /// Most bytes of it.
    pub const BYTES_MAX: usize = 1 + KNOWN_MAX * (8 + Standing::BYTES) + 8;

    /// Its bytes: what is remembered and, unless it is 0, since when (8).
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        write_remembered(&mut w, &self.remembered);
        if self.since != Epoch(0) {
            w.u64(self.since.0);
        }
        w.0
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let remembered = read_remembered(&mut r)?;
        let since = match r.0.is_empty() {
            true => Epoch(0),
            false => Some(Epoch(r.u64()?)).filter(|since| *since != Epoch(0)).ok_or(CodecError::Value("epoch"))?,
        };
        r.end().map(|()| Kept { remembered, since })
    }
}

/// What hearing of a node by itself comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This start is known: it is met.
    Known,
    /// It is new: it is met once that is durable.
    New,
    /// It has forgotten something: this is remembered of it.
    Forgot(Standing),
}

/// What a node remembers of the others.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    known: BTreeMap<Incarnation, Known>,
    /// Who has a place, and so does not give way to others.
    seated: BTreeSet<Incarnation>,
    /// The epoch since which the word of others counts, as in `Kept::since`.
    since: Epoch,
    /// Counts words, to tell who was heard of last.
    words: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    standing: Standing,
    /// How it stood when this start was first heard of, if that was in this life of the process.
    first: Option<Standing>,
    /// Whether this start is remembered durably.
    durable: bool,
    /// The word by which it was heard of last; 0 when that was before this life of the process.
    word: u64,
}

impl Memory {
    /// What was remembered durably, by a node with this member list.
    pub fn restored(kept: &Kept, list: Option<&Roster>) -> Self {
        let known = |(node, standing): &(Incarnation, Standing)| {
            (*node, Known { standing: *standing, first: None, durable: true, word: 0 })
        };
        let seated = list.map(seated_in).unwrap_or_default();
        // Earlier builds did not keep it; where that list is still in force it shows by itself.
        let outgrown = list.filter(|list| list.outgrows()).map_or(Epoch(0), |list| list.epoch);
        let known = kept.remembered.iter().map(known).collect();
        Memory { known, seated, since: kept.since.max(outgrown), words: 0 }
    }

    /// Whether what a node with a list of that epoch tells counts.
    pub fn takes_from(&self, epoch: Epoch) -> bool {
        epoch >= self.since
    }

    /// A node says how it stands; and whether anything new came of that.
    pub fn hear(&mut self, node: Incarnation, now: Standing) -> (Heard, bool) {
        let word = self.next_word();
        let Some(known) = self.known.get_mut(&node) else {
            self.admit(node, now, Some(now));
            return (Heard::New, true);
        };
        known.word = word;
        if known.standing.start == now.start {
            // Within one start what it says may overtake itself on the way; it cannot fall.
            let news = known.standing.raise(&now);
            return (if known.durable { Heard::Known } else { Heard::New }, news);
        }
        if known.standing.is_beyond(&now) {
            return (Heard::Forgot(known.standing), false);
        }
        *known = Known { standing: now, first: Some(now), durable: false, word };
        (Heard::New, true)
    }

    /// What a node has forgotten harms nobody: it stands here now.
    pub fn accept(&mut self, node: Incarnation, now: Standing) {
        let word = self.next_word();
        self.known.insert(node, Known { standing: now, first: Some(now), durable: false, word });
    }

    /// Another node says how one stood; whether anything new came of that.
    pub fn overhear(&mut self, node: Incarnation, told: Standing) -> bool {
        let Some(known) = self.known.get_mut(&node) else {
            self.admit(node, told, None);
            return true;
        };
        let (here, there) = (known.standing.start, told.start);
        if here == there {
            return known.standing.raise(&told);
        }
        // Of an earlier start it may tell anything up to what the later one began with.
        let twice = match here.number.cmp(&there.number) {
            std::cmp::Ordering::Less => {
                let fell = known.standing.is_beyond(&told);
                known.standing.start = there;
                (known.first, known.durable) = (None, false);
                fell
            }
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => known.first.is_some_and(|first| told.is_beyond(&first)),
        };
        let news = known.standing.raise(&told);
        if twice {
            known.standing.start = Start::SPENT;
            known.durable = false;
        }
        news || twice || here.number < there.number
    }

    /// This has become durable. Where it counts from a later epoch, a list of two or of one has given way in that.
    pub fn saved(&mut self, kept: &Kept) {
        if kept.since > self.since {
            self.known.clear();
            self.since = kept.since;
        }
        for (node, standing) in &kept.remembered {
            if let Some(known) = self.known.get_mut(node).filter(|known| known.standing.start == standing.start) {
                known.durable = true;
            }
        }
    }

    /// Whether votes may pass to and from this start of a node.
    pub fn is_met(&self, node: Incarnation, start: Start) -> bool {
        let met = |known: &Known| known.durable && known.standing.start == start && start != Start::SPENT;
        self.known.get(&node).is_some_and(met)
    }

    /// What of it is to be durable.
    pub fn kept(&self) -> Kept {
        Kept { remembered: self.remembered(), since: self.since }
    }

    /// All that is remembered.
    pub fn remembered(&self) -> Remembered {
        self.known.iter().map(|(node, known)| (*node, known.standing)).collect()
    }

    /// The member list is another one now. Whoever has no place in it is nobody's voter, and forgotten.
    pub fn keep(&mut self, list: &Roster) {
        self.seated = seated_in(list);
        self.known.retain(|node, _| self.seated.contains(node));
    }

    fn admit(&mut self, node: Incarnation, standing: Standing, first: Option<Standing>) {
        if self.known.len() >= KNOWN_MAX {
            // Who has no place counts for nothing until it is heard again: the one goes that was not for longest.
            let strangers = self.known.iter().filter(|(node, _)| !self.seated.contains(node));
            let Some(oldest) = strangers.min_by_key(|(_, known)| known.word).map(|(node, _)| *node) else { return };
            self.known.remove(&oldest);
        }
        let word = self.next_word();
        self.known.insert(node, Known { standing, first, durable: false, word });
    }

    fn next_word(&mut self) -> u64 {
        self.words += 1;
        self.words
    }
}

fn seated_in(list: &Roster) -> BTreeSet<Incarnation> {
    list.seats.iter().chain(&list.before).map(|seat| seat.incarnation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeName;
    use crate::register::Seat;

    const N: Incarnation = Incarnation(7);

    fn at(number: u64, draw: u64, head: u64, reserved: u64) -> Standing {
        Standing { start: Start { number, draw }, head, reserved: Stamp(reserved) }
    }

    fn met(memory: &mut Memory, standing: Standing) {
        assert_eq!(memory.hear(N, standing).0, Heard::New);
        assert!(!memory.is_met(N, standing.start), "not before it is durable");
        memory.saved(&memory.kept());
        assert!(memory.is_met(N, standing.start));
    }

    #[test]
    fn who_says_less_than_before_is_not_met() {
        let mut memory = Memory::default();
        met(&mut memory, at(5, 1, 100, 9));
        assert_eq!(memory.hear(N, at(5, 1, 90, 9)), (Heard::Known, false), "overtaken on the way");
        assert_eq!(memory.hear(N, at(5, 1, 120, 9)), (Heard::Known, true));
        for (what, less) in [
            ("the same number of another start", at(5, 2, 200, 99)),
            ("an earlier start", at(4, 1, 200, 99)),
            ("fewer commits", at(6, 2, 119, 99)),
            ("a lower reserve", at(6, 2, 200, 8)),
        ] {
            assert_eq!(memory.hear(N, less), (Heard::Forgot(at(5, 1, 120, 9)), false), "{what}");
            assert!(!memory.is_met(N, less.start), "{what}");
            assert!(memory.remembered()[0].1.is_beyond(&less), "{what}: it is told so, and sees it");
        }
        met(&mut memory, at(6, 3, 120, 9));
        assert!(!memory.is_met(N, Start { number: 5, draw: 1 }), "the start before it is over");
        assert!(!memory.remembered()[0].1.is_beyond(&at(6, 3, 121, 9)), "an honest node is never told so");
    }

    #[test]
    fn what_is_durable_outlives_a_restart() {
        let mut memory = Memory::default();
        met(&mut memory, at(5, 1, 100, 9));
        let mut again = Memory::restored(&memory.kept(), None);
        assert_eq!(again.hear(N, at(5, 1, 100, 9)).0, Heard::Known);
        assert!(matches!(again.hear(N, at(5, 2, 100, 9)).0, Heard::Forgot(_)));
    }

    #[test]
    fn what_a_third_node_tells_counts() {
        let mut memory = Memory::default();
        // It is met here, as a copy; a third node has heard what it has forgotten.
        met(&mut memory, at(6, 2, 50, 9));
        assert!(memory.overhear(N, at(5, 1, 50, 9)) || memory.is_met(N, Start { number: 6, draw: 2 }), "old news");
        for told in [at(6, 1, 50, 9), at(5, 1, 51, 9), at(5, 1, 50, 10)] {
            let mut memory = memory.clone();
            assert!(memory.overhear(N, told));
            assert!(!memory.is_met(N, Start { number: 6, draw: 2 }), "{told:?}");
            assert!(memory.remembered()[0].1.is_beyond(&at(6, 2, 99, 99)), "and is told so");
        }
        assert!(memory.overhear(N, at(7, 4, 60, 9)), "a later start is known before it is met");
        assert!(!memory.is_met(N, Start { number: 7, draw: 4 }));
        assert_eq!(memory.hear(N, at(7, 4, 61, 9)).0, Heard::New);
    }

    #[test]
    fn bytes_and_bounds() {
        let mut memory = Memory::default();
        for n in 0..2 * KNOWN_MAX as u64 {
            memory.hear(Incarnation(n), at(1, n, 2, 3));
        }
        let remembered = memory.remembered();
        assert_eq!(remembered.len(), KNOWN_MAX);
        let mut w = Writer::default();
        write_remembered(&mut w, &remembered);
        assert_eq!(w.0.len(), 1 + KNOWN_MAX * (8 + Standing::BYTES));
        assert_eq!(read_remembered(&mut Reader(&w.0)), Ok(remembered));
        for end in 0..w.0.len() {
            assert!(read_remembered(&mut Reader(&w.0[..end])).is_err());
        }
        assert!(read_remembered(&mut Reader(&[KNOWN_MAX as u8 + 1])).is_err());
        for since in [Epoch(0), Epoch(7)] {
            let kept = Kept { since, ..memory.kept() };
            let bytes = kept.encode();
            assert_eq!(bytes.len(), Kept::BYTES_MAX - if since.0 == 0 { 8 } else { 0 });
            assert_eq!(Kept::decode(&bytes), Ok(kept));
            assert!(Kept::decode(&[&bytes[..], &[0; 8]].concat()).is_err(), "one encoding, and nothing behind it");
        }
        memory.keep(&list(&[100, 101, 999]));
        assert_eq!(memory.remembered().len(), 2);
    }

    fn seat(n: u64) -> Seat {
        Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation: Incarnation(n) }
    }

    fn list(nodes: &[u64]) -> Roster {
        Roster::founding(1, nodes.iter().map(|n| seat(*n)).collect())
    }

    fn knows(memory: &Memory, node: u64) -> bool {
        memory.remembered().iter().any(|(known, _)| known.0 == node)
    }

    #[test]
    fn members_are_remembered_however_many_strangers_come() {
        let (before, then) = ([seat(1), seat(2)], [seat(1), seat(3)]);
        let joint = Roster::founding(1, before.to_vec()).next(2, &then);
        let mut memory = Memory::default();
        memory.keep(&joint);
        for n in 1..=3 {
            memory.hear(Incarnation(n), at(1, n, 2, 3));
        }
        // They are remembered after a restart too, before anybody has said a word.
        for mut memory in [memory.clone(), Memory::restored(&memory.kept(), Some(&joint))] {
            for n in 10..10 + 3 * KNOWN_MAX as u64 {
                if n % 2 == 0 {
                    memory.hear(Incarnation(n), at(1, n, 2, 3));
                } else {
                    memory.overhear(Incarnation(n), at(1, n, 2, 3));
                }
                assert!((1..=3).all(|member| knows(&memory, member)), "after {n}");
                assert!(knows(&memory, n), "the newest stranger");
            }
            assert_eq!(memory.remembered().len(), KNOWN_MAX);
        }
    }

    #[test]
    fn of_strangers_those_go_that_were_not_heard_for_longest() {
        let mut memory = Memory::default();
        for n in 1..=KNOWN_MAX as u64 {
            memory.hear(Incarnation(n), at(1, n, 2, 3));
        }
        memory.hear(Incarnation(1), at(1, 1, 2, 3));
        for n in (1..KNOWN_MAX as u64).map(|n| 1000 - n) {
            memory.hear(Incarnation(n), at(1, n, 2, 3));
            assert!(knows(&memory, 1) && knows(&memory, n), "{n}");
        }
        assert!(!(2..=KNOWN_MAX as u64).any(|n| knows(&memory, n)));
    }
}
