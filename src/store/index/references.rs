//! How many records of the index refer to each body: counted with the records, and recounted beside the traffic.
//!
//! Invariants
//! - A body has a row where a record refers to it, with how many do. Rows change in the transaction of the records.
//! - Rows are no reason to remove anything while they are recounted, nor while they differ from the records: see
//!   `are_counts_sure`.
//! - A recount hears of each commit before anybody steps on from it. It begins between two commits.

use super::{BODIES, Index, LIVE, corrupt, engine};
use crate::base::{BodyId, Complete, RegisterKey};
use crate::store::entry::Held;
use crate::store::error::StoreError;
use crate::store::recount::{Changed, Next, Outcome, Recount};
use crate::store::references::only_in;
use redb::{ReadableDatabase, Table};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

/// Registers that a step reads, and counts.
const STEP: usize = 512;

/// A step ends behind so many bodies: some objects have thousands of parts.
const BODIES_MAX: usize = 1 << 16;

/// How far the counts can be relied on.
#[derive(Debug, Default)]
pub(super) enum Counts {
    /// They are right.
    #[default]
    Sure,
    /// Nobody knows before a recount has ended.
    Recounting(Recount),
    /// Records refer to these bodies so many times more than is counted, or fewer.
    Differ(BTreeMap<BodyId, i64>),
}

/// A body whose count is not what records come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which body.
    pub body: BodyId,
    /// Records that refer to it by its row.
    pub counted: u64,
    /// Records that do.
    pub records: u64,
}

/// What a step of a recount came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Recounted {
    /// It goes on.
    More,
    /// The counts are right.
    Sure,
    /// Some are not: they are to be told, and then to be taken over.
    Differs(Vec<Difference>),
}

/// Counts what one commit changes.
pub(super) struct Counter<'tx> {
    bodies: Table<'tx, [u8; 16], u32>,
    /// For a recount that is under way.
    changes: Option<Vec<Changed>>,
    /// References that were to be taken away and were not counted.
    lacked: u64,
}

/// What a commit has changed of references.
#[derive(Default)]
pub(super) struct Counted {
    changes: Vec<Changed>,
    lacked: u64,
}

impl<'tx> Counter<'tx> {
    pub fn new(bodies: Table<'tx, [u8; 16], u32>, is_recounted: bool) -> Self {
        Counter { bodies, changes: is_recounted.then(Vec::new), lacked: 0 }
    }

    /// A register held `old`, and holds `now`.
    pub fn replaced(&mut self, key: &RegisterKey, old: Option<&Held>, now: Option<&Held>) -> Result<(), StoreError> {
        let (old, now) = (old.map(|held| &*held.record), now.map(|held| &*held.record));
        for body in only_in(old, now) {
            let was = self.bodies.remove(body.0).map_err(engine)?.map(|count| count.value());
            if let Some(fewer) = was.map(|count| count.saturating_sub(1)).filter(|count| *count > 0) {
                self.bodies.insert(body.0, fewer).map_err(engine)?;
            }
            self.lacked += u64::from(was.is_none());
            self.tell(key, body, -1, was.is_some());
        }
        for body in only_in(now, old) {
            // Nearly always it is the first one, and the row is written once.
            let was = self.bodies.insert(body.0, 1).map_err(engine)?.map(|count| count.value());
            if let Some(count) = was {
                self.bodies.insert(body.0, count.saturating_add(1)).map_err(engine)?;
            }
            self.tell(key, body, 1, true);
        }
        Ok(())
    }

    fn tell(&mut self, key: &RegisterKey, body: BodyId, by: i64, counted: bool) {
        if let Some(changes) = &mut self.changes {
            changes.push(Changed { key: key.clone(), body, by, counted });
        }
    }

    pub fn end(self) -> Counted {
        Counted { changes: self.changes.unwrap_or_default(), lacked: self.lacked }
    }
}

impl Index {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something may be removed for its count.
    pub fn are_counts_sure(&self) -> bool {
        self.is_sure.load(Ordering::Acquire)
    }

    /// Has the references counted anew, from the next step on. Between two commits.
    pub fn begin_recount(&self) {
        self.becomes(&mut self.counts(), Counts::Recounting(Recount::default()));
    }

    /// What is known of the counts becomes something else.
    fn becomes(&self, counts: &mut Counts, now: Counts) {
        // Beside the lock: who holds that may wait for the disk, and who asks may hold the gate.
        self.is_sure.store(matches!(now, Counts::Sure), Ordering::Release);
        *counts = now;
    }

    /// Commits, so that a recount hears of it before anybody steps on from there. References that were to be taken away
    /// and were not counted: then all are recounted.
    pub(super) fn commit_counted(
        &self,
        tx: redb::WriteTransaction,
        is_cleared: bool,
        counted: &Counted,
    ) -> Result<u64, StoreError> {
        let mut counts = self.counts();
        if counted.lacked == 0 && matches!(*counts, Counts::Sure) {
            // Nobody counts: nobody has to hear of it.
            drop(counts);
            return tx.commit().map_err(engine).map(|()| 0);
        }
        tx.commit().map_err(engine)?;
        match &mut *counts {
            Counts::Sure => self.becomes(&mut counts, Counts::Recounting(Recount::default())),
            Counts::Recounting(recount) => {
                if is_cleared {
                    recount.clear();
                }
                counted.changes.iter().for_each(|changed| recount.change(changed));
            }
            Counts::Differ(by) => {
                if is_cleared {
                    by.clear();
                }
                for changed in counted.changes.iter().filter(|changed| !changed.counted) {
                    *by.entry(changed.body).or_default() += changed.by;
                }
            }
        }
        Ok(counted.lacked)
    }

    /// Goes on with a recount, a page at a time.
    pub fn recount_step(&self) -> Result<Recounted, StoreError> {
        let mut counts = self.counts();
        let recount = match &mut *counts {
            Counts::Sure => return Ok(Recounted::Sure),
            Counts::Differ(by) => return self.differences(by).map(Recounted::Differs),
            Counts::Recounting(recount) => recount,
        };
        match recount.next() {
            Next::Registers(from) => {
                let (bodies, complete) = self.bodies_of_records(from.as_ref())?;
                recount.pass_registers(bodies, complete);
            }
            Next::Counts(after) => {
                let found = self.counts_behind(after)?;
                recount.pass_counts(&found, found.len() < STEP);
            }
            Next::End => {
                match std::mem::take(recount).end() {
                    Outcome::Equal => self.becomes(&mut counts, Counts::Sure),
                    Outcome::Again(again) => *recount = again,
                    Outcome::Differs(by) => self.becomes(&mut counts, Counts::Differ(by)),
                }
                drop(counts);
                return match self.are_counts_sure() {
                    true => Ok(Recounted::Sure),
                    false => Ok(Recounted::More),
                };
            }
        }
        Ok(Recounted::More)
    }

    /// Takes over what a recount has found, durably. It is counted once more then. Between two commits.
    pub fn take_recount_over(&self) -> Result<(), StoreError> {
        let mut counts = self.counts();
        let Counts::Differ(by) = &*counts else { return Ok(()) };
        self.work(|| {
            let mut tx = self.db.begin_write().map_err(engine)?;
            tx.set_quick_repair(true);
            {
                let mut bodies = tx.open_table(BODIES).map_err(engine)?;
                for (body, by) in by {
                    let was = bodies.remove(body.0).map_err(engine)?.map_or(0, |count| count.value());
                    let now = u32::try_from((i64::from(was) + by).max(0)).unwrap_or(u32::MAX);
                    if now > 0 {
                        bodies.insert(body.0, now).map_err(engine)?;
                    }
                }
            }
            tx.commit().map_err(engine)
        })?;
        self.becomes(&mut counts, Counts::Recounting(Recount::default()));
        Ok(())
    }

    /// Records of the index that refer to a body.
    pub fn references(&self, body: BodyId) -> Result<u32, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let table = tx.open_table(BODIES).map_err(engine)?;
            Ok(table.get(body.0).map_err(engine)?.map_or(0, |count| count.value()))
        })
    }

    fn differences(&self, by: &BTreeMap<BodyId, i64>) -> Result<Vec<Difference>, StoreError> {
        let of = |(body, by): (&BodyId, &i64)| {
            let counted = self.references(*body)?;
            let records = u64::try_from(i64::from(counted) + by).unwrap_or(0);
            Ok(Difference { body: *body, counted: u64::from(counted), records })
        };
        by.iter().filter(|(_, by)| **by != 0).map(of).collect()
    }

    /// The bodies that the next records refer to. A tombstone that is known to be chosen refers to none.
    fn bodies_of_records(&self, from: Bound<&RegisterKey>) -> Result<(Vec<BodyId>, Complete), StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let live = tx.open_table(LIVE).map_err(engine)?;
            let (mut bodies, mut last, mut passed) = (Vec::new(), None, 0);
            let bounds = (from.map(RegisterKey::as_bytes), Bound::Unbounded);
            for entry in live.range::<&[u8]>(bounds).map_err(engine)?.take(STEP) {
                let (key, value) = entry.map_err(engine)?;
                let held = Held::decode(value.value()).map_err(corrupt)?;
                bodies.extend(only_in(Some(&held.record), None));
                last = Some(RegisterKey::from_bytes(key.value()).ok_or(StoreError::Corrupt { what: "index key" })?);
                passed += 1;
                if bodies.len() > BODIES_MAX {
                    passed = STEP;
                    break;
                }
            }
            let complete = last.filter(|_| passed == STEP).map_or(Complete::End, Complete::Through);
            Ok((bodies, complete))
        })
    }

    fn counts_behind(&self, after: Option<BodyId>) -> Result<Vec<(BodyId, u32)>, StoreError> {
        self.work(|| {
            let tx = self.db.begin_read().map_err(engine)?;
            let table = tx.open_table(BODIES).map_err(engine)?;
            let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.0));
            let mut found = Vec::new();
            for entry in table.range::<[u8; 16]>((from, Bound::Unbounded)).map_err(engine)?.take(STEP) {
                let (body, count) = entry.map_err(engine)?;
                found.push((BodyId(body.value()), count.value()));
            }
            Ok(found)
        })
    }
}

#[cfg(test)]
impl Index {
    /// Counts a body for so many records, whatever they say.
    pub(in crate::store) fn miscount(&self, body: BodyId, count: u32) {
        let tx = self.db.begin_write().expect("it is open");
        {
            let mut bodies = tx.open_table(BODIES).expect("it is there");
            match count {
                0 => drop(bodies.remove(body.0).expect("is written")),
                count => drop(bodies.insert(body.0, count).expect("is written")),
            }
        }
        tx.commit().expect("is written");
    }
}
