//! A recount of references: whether the counts of the index are what its records come to. Decided from pages of both, in
//! any order, while both change.
//!
//! Invariants
//! - What was passed counts as it is now: a change behind the place that a walk has come to is taken in as it becomes
//!   durable, one before it is found by the walk.
//! - It takes the same memory however many bodies there are. At first sums are compared, of so many parts of all bodies;
//!   only where a part differs its bodies are counted one by one.
//! - Ids are random numbers of 96 bits and more. A body that is counted once too often or too seldom always shows in a
//!   sum; several that cancel each other out would have to be drawn for it.

use crate::base::{BodyId, Complete, RegisterKey};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Parts of all bodies, each with a sum of its own.
const PARTS: usize = 1024;
/// Parts that are counted body by body at once, at most.
const PARTS_AT_ONCE: usize = 8;

/// A reference that a commit of the index has added or taken away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The register whose record refers to the body, or did.
    pub key: RegisterKey,
    /// Which body.
    pub body: BodyId,
    /// One more, or one fewer.
    pub by: i64,
    /// Whether the count has followed. One that was 0 cannot fall.
    pub counted: bool,
}

/// How far a walk has come.
#[derive(Debug, Default)]
enum Reach<T> {
    #[default]
    Nothing,
    Through(T),
    All,
}

impl<T: Ord> Reach<T> {
    fn covers(&self, at: &T) -> bool {
        match self {
            Reach::Nothing => false,
            Reach::Through(last) => at <= last,
            Reach::All => true,
        }
    }
}

/// By how much what records come to is more than what is counted.
#[derive(Debug)]
enum Balance {
    /// Of each part: references, and the sum of the ids that they name.
    Sums(Vec<(i64, u128)>),
    /// Of each body of these parts that has a balance.
    Bodies { parts: Vec<usize>, of: BTreeMap<BodyId, i64> },
}

/// Where a recount goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// With the registers from here on.
    Registers(Bound<RegisterKey>),
    /// With the counts behind this body.
    Counts(Option<BodyId>),
    /// It is through.
    End,
}

/// What a recount has come to.
#[derive(Debug)]
pub enum Outcome {
    /// The counts are right.
    Equal,
    /// They are not, and which ones another walk will find.
    Again(Recount),
    /// Records refer to these bodies so many times more than is counted, or fewer.
    Differs(BTreeMap<BodyId, i64>),
}

/// A recount that is under way.
#[derive(Debug)]
pub struct Recount {
    registers: Reach<RegisterKey>,
    counts: Reach<BodyId>,
    balance: Balance,
}

impl Default for Recount {
    fn default() -> Self {
        Self::with(Balance::Sums(vec![(0, 0); PARTS]))
    }
}

impl Recount {
    fn with(balance: Balance) -> Self {
        Recount { registers: Reach::Nothing, counts: Reach::Nothing, balance }
    }

    /// Where it goes on.
    pub fn next(&self) -> Next {
        match (&self.registers, &self.counts) {
            (Reach::Nothing, _) => Next::Registers(Bound::Included(RegisterKey::first())),
            (Reach::Through(last), _) => Next::Registers(Bound::Excluded(last.clone())),
            (Reach::All, Reach::Nothing) => Next::Counts(None),
            (Reach::All, Reach::Through(last)) => Next::Counts(Some(*last)),
            (Reach::All, Reach::All) => Next::End,
        }
    }

    /// The next registers were read: the bodies that their records refer to, once for each record.
    pub fn pass_registers(&mut self, bodies: impl IntoIterator<Item = BodyId>, complete: Complete) {
        bodies.into_iter().for_each(|body| self.count(body, 1));
        self.registers = match complete {
            Complete::Through(last) => Reach::Through(last),
            Complete::End => Reach::All,
        };
    }

    /// The next counts were read. `is_end`: those were the last.
    pub fn pass_counts(&mut self, counts: &[(BodyId, u32)], is_end: bool) {
        counts.iter().for_each(|(body, count)| self.count(*body, -i64::from(*count)));
        match counts.last() {
            _ if is_end => self.counts = Reach::All,
            Some((last, _)) => self.counts = Reach::Through(*last),
            None => {}
        }
    }

    /// A commit of the index has changed something.
    pub fn change(&mut self, Changed { key, body, by, counted }: &Changed) {
        if self.registers.covers(key) {
            self.count(*body, *by);
        }
        if *counted && self.counts.covers(body) {
            self.count(*body, -by);
        }
    }

    /// A commit of the index has emptied it, before it changed anything else.
    pub fn clear(&mut self) {
        match &mut self.balance {
            Balance::Sums(sums) => sums.fill((0, 0)),
            Balance::Bodies { of, .. } => of.clear(),
        }
    }

    /// Once it is through.
    pub fn end(self) -> Outcome {
        match self.balance {
            Balance::Sums(sums) => {
                let differing = sums.iter().zip(0..).filter(|(sum, _)| **sum != (0, 0));
                let parts: Vec<_> = differing.map(|(_, part)| part).take(PARTS_AT_ONCE).collect();
                match parts.is_empty() {
                    true => Outcome::Equal,
                    false => Outcome::Again(Recount::with(Balance::Bodies { parts, of: BTreeMap::new() })),
                }
            }
            Balance::Bodies { of, .. } if of.is_empty() => Outcome::Equal,
            Balance::Bodies { of, .. } => Outcome::Differs(of),
        }
    }

    fn count(&mut self, body: BodyId, times: i64) {
        let part = part_of(body);
        match &mut self.balance {
            Balance::Sums(sums) => {
                if let Some((references, ids)) = sums.get_mut(part) {
                    *references = references.wrapping_add(times);
                    // A negative number of times becomes its complement, and the sum is right.
                    *ids = ids.wrapping_add(u128::from_le_bytes(body.0).wrapping_mul(i128::from(times) as u128));
                }
            }
            Balance::Bodies { parts, of } if parts.contains(&part) => {
                let balance = of.entry(body).or_default();
                *balance += times;
                if *balance == 0 {
                    of.remove(&body);
                }
            }
            Balance::Bodies { .. } => {}
        }
    }
}

/// The part of a body: by the end of its id, which is random in each.
fn part_of(body: BodyId) -> usize {
    let [.., high, low] = body.0;
    usize::from(u16::from_be_bytes([high, low])) % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BucketName;

    fn key(n: usize) -> RegisterKey {
        RegisterKey::bucket(&BucketName::parse(&format!("b{n:02}")).expect("a name"))
    }

    /// A body of a part of its own.
    fn body(n: u8) -> BodyId {
        let mut id = [7; 16];
        (id[0], id[15]) = (n, n);
        BodyId(id)
    }

    /// Registers with the body that each refers to, and counts.
    #[derive(Clone, Default)]
    struct Tables {
        registers: BTreeMap<usize, u8>,
        counts: BTreeMap<u8, u32>,
    }

    impl Tables {
        /// A register refers to another body, or to none: what the recount is told of that.
        fn set(&mut self, register: usize, to: Option<u8>) -> Vec<Changed> {
            let was = self.registers.remove(&register);
            to.map(|to| self.registers.insert(register, to));
            let mut changes = Vec::new();
            for (of, by) in [(was, -1), (to, 1)] {
                let Some(of) = of else { continue };
                let count = self.counts.entry(of).or_default();
                let counted = by > 0 || *count > 0;
                *count = count.saturating_add_signed(if counted { by } else { 0 });
                changes.push(Changed { key: key(register), body: body(of), by: i64::from(by), counted });
            }
            self.counts.retain(|_, count| *count > 0);
            changes
        }

        /// One step over them, of so many entries.
        fn step(&self, recount: &mut Recount, most: usize) -> bool {
            match recount.next() {
                Next::Registers(from) => {
                    let ahead = self.registers.iter().filter(|(register, _)| match &from {
                        Bound::Excluded(from) => key(**register) > *from,
                        _ => true,
                    });
                    let page: Vec<_> = ahead.take(most).collect();
                    let last = page.last().filter(|_| page.len() == most);
                    let complete = last.map_or(Complete::End, |(register, _)| Complete::Through(key(**register)));
                    recount.pass_registers(page.iter().map(|(_, of)| body(**of)), complete);
                }
                Next::Counts(after) => {
                    let ahead = self.counts.iter().map(|(of, count)| (body(*of), *count));
                    let page: Vec<_> = ahead.filter(|(of, _)| Some(*of) > after).take(most).collect();
                    recount.pass_counts(&page, page.len() < most);
                }
                Next::End => return false,
            }
            true
        }

        fn recounted(&self) -> BTreeMap<u8, i64> {
            let mut recount = Recount::default();
            loop {
                while self.step(&mut recount, 3) {}
                match recount.end() {
                    Outcome::Equal => return BTreeMap::new(),
                    Outcome::Again(again) => recount = again,
                    Outcome::Differs(by) => return by.into_iter().map(|(of, by)| (of.0[0], by)).collect(),
                }
            }
        }
    }

    fn some() -> Tables {
        let mut tables = Tables::default();
        for register in 0..20 {
            tables.set(register, Some((register % 7) as u8));
        }
        tables
    }

    #[test]
    fn what_is_counted_right_is_equal_and_what_is_not_is_named() {
        let right = some();
        assert!(right.recounted().is_empty());
        for (of, count, by) in [(3, 2, 1), (3, 4, -1), (9, 1, -1), (0, 0, 3)] {
            let mut wrong = right.clone();
            wrong.counts.insert(of, count);
            wrong.counts.retain(|_, count| *count > 0);
            assert_eq!(wrong.recounted(), [(of, by)].into());
        }
        let mut exchanged = right;
        // As many as there are, of others.
        exchanged.counts.insert(1, 2);
        exchanged.counts.insert(2, 4);
        assert_eq!(exchanged.recounted(), [(1, 1), (2, -1)].into());
    }

    #[test]
    fn what_changes_meanwhile_is_counted_once_wherever_the_walks_are() {
        for (at, cleared) in (0..14).flat_map(|at| [(at, false), (at, true)]) {
            for register in [0, 10, 19, 25] {
                for to in [None, Some(0), Some(5), Some(9)] {
                    let (mut tables, mut recount) = (some(), Recount::default());
                    (0..at).for_each(|_| _ = tables.step(&mut recount, 3));
                    if cleared {
                        tables = Tables::default();
                        recount.clear();
                    }
                    tables.set(register, to).iter().for_each(|changed| recount.change(changed));
                    while tables.step(&mut recount, 3) {}
                    let context = format!("register {register} to {to:?} after {at} steps, cleared: {cleared}");
                    assert!(matches!(recount.end(), Outcome::Equal), "{context}");
                }
            }
        }
    }

    #[test]
    fn a_count_that_cannot_fall_is_found_as_it_is_then() {
        for at in 0..14 {
            let (mut tables, mut recount) = (some(), Recount::default());
            tables.counts.remove(&3);
            (0..at).for_each(|_| _ = tables.step(&mut recount, 3));
            tables.set(3, None).iter().for_each(|changed| recount.change(changed));
            while tables.step(&mut recount, 3) {}
            let Outcome::Again(mut again) = recount.end() else { panic!("two more refer to it") };
            while tables.step(&mut again, 3) {}
            assert!(matches!(again.end(), Outcome::Differs(by) if by == [(body(3), 2)].into()), "after {at} steps");
        }
    }
}
