//! Marks that wait: news that a record which lies here was chosen. Nobody waits until this node knows it.
//!
//! Invariants
//! - A mark becomes part of a commit that is made anyway; it makes one of its own only when it has waited for `WAIT`.
//! - What is decided of a register rests on the mark that waits for it: `take` comes first.
//! - They are bounded. One that is lost leaves its record tentative: a reader or the settler sees to it.

use super::voting::{Message, Vote};
use crate::base::RegisterKey;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long marks wait for a commit that they can be part of: a record costs one fsync, not two.
const WAIT: Duration = Duration::from_millis(50);
/// Most marks that wait.
const WAITING_MAX: usize = 2048;

/// Bytes of them, at most.
pub const WAITING_BYTES_MAX: usize = WAITING_MAX * (size_of::<Message>() + RegisterKey::BYTES_MAX);

/// The marks of one store.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// One for each register: the last one that came. In the order of the registers, so that a run can be repeated.
    waiting: BTreeMap<RegisterKey, Message>,
    /// When the first of them has waited long enough.
    due: Option<Instant>,
}

impl Marks {
    /// Takes marks in, to go with the next commit.
    pub fn add(&mut self, marks: Vec<Vote>, now: Instant) {
        if !marks.is_empty() {
            self.due.get_or_insert(now + WAIT);
        }
        self.waiting.extend(marks.into_iter().map(|mark| (mark.key, mark.message)));
    }

    /// When they want a commit of their own, if any wait.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether they want a commit now.
    pub fn are_due(&self, now: Instant) -> bool {
        self.are_many() || self.due.is_some_and(|due| due <= now)
    }

    /// Whether no more should be added before a commit.
    pub fn are_many(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// The mark of this register.
    pub fn take(&mut self, key: &RegisterKey) -> Option<Vote> {
        let message = self.waiting.remove(key);
        if self.waiting.is_empty() {
            self.due = None;
        }
        message.map(|message| Vote { key: key.clone(), message })
    }

    /// Takes the mark of the first register out.
    pub fn next(&mut self) -> Option<Vote> {
        let (key, _) = self.waiting.first_key_value()?;
        let key = key.clone();
        self.take(&key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Ballot, BucketName, Epoch, Incarnation, Stamp};
    use crate::register::{Attempt, Request};

    fn mark(n: u64) -> Vote {
        let name = BucketName::parse(&format!("bucket-{n}")).expect("a name");
        let ballot = Ballot { stamp: Stamp(n), node: Incarnation(1) };
        let message = Message { epoch: Epoch(1), attempt: Attempt(1), request: Request::Mark(ballot) };
        Vote { key: RegisterKey::bucket(&name), message }
    }

    #[test]
    fn they_are_due_from_the_first_on_and_until_the_last_is_gone() {
        let (start, mut marks) = (Instant::now(), Marks::default());
        assert_eq!((marks.due(), marks.are_due(start + WAIT)), (None, false));
        marks.add(vec![mark(1)], start);
        marks.add(vec![mark(2)], start + WAIT / 2);
        assert!(!marks.are_due(start + WAIT / 2));
        assert!(marks.are_due(start + WAIT));
        assert_eq!(marks.take(&mark(1).key), Some(mark(1)));
        assert_eq!(marks.take(&mark(1).key), None);
        assert!(marks.due().is_some());
        assert_eq!(marks.next(), Some(mark(2)));
        assert_eq!((marks.next(), marks.due()), (None, None));
    }

    #[test]
    fn many_want_a_commit_at_once() {
        let (start, mut marks) = (Instant::now(), Marks::default());
        marks.add((0..WAITING_MAX as u64 - 1).map(mark).collect(), start);
        assert!(!marks.are_due(start));
        marks.add(vec![mark(u64::MAX)], start);
        assert!(marks.are_due(start));
    }
}
