//! A page of registers: some of a range, in order, and what they are complete to.
//!
//! Invariants
//! - How many entries a page has says nothing: it may be short, or empty, in the middle of its range.
//! - A page that does not end its range is complete through a key behind the place where it began.

use super::names::RegisterKey;
use std::ops::Bound;

/// How far a page has everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complete {
    // Before `End`: the least of several is what all of them are complete to.
    /// Up to this register, itself included. It need not be on the page, nor hold anything.
    Through(RegisterKey),
    /// Up to the end of the range that was asked for.
    #[default]
    End,
}

impl Complete {
    /// Where the next page begins; none at the end.
    pub fn next(&self) -> Option<Bound<RegisterKey>> {
        match self {
            Complete::Through(key) => Some(Bound::Excluded(key.clone())),
            Complete::End => None,
        }
    }

    /// Whether everything that there is of this register is known.
    pub fn covers(&self, key: &RegisterKey) -> bool {
        match self {
            Complete::Through(last) => key <= last,
            Complete::End => true,
        }
    }

    /// Whether this is behind `from`, so that pages which begin where the one before ended come to an end.
    pub fn is_behind(&self, from: &Bound<RegisterKey>) -> bool {
        match (self, from) {
            (Complete::End, _) | (_, Bound::Unbounded) => true,
            (Complete::Through(last), Bound::Included(from)) => last >= from,
            (Complete::Through(last), Bound::Excluded(from)) => last > from,
        }
    }
}

/// Some of a range of registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// In the order of their registers.
    pub entries: Vec<T>,
    /// What they are complete to.
    pub complete: Complete,
}

impl<T> Page<T> {
    /// All that a range holds.
    pub fn whole(entries: Vec<T>) -> Self {
        Page { entries, complete: Complete::End }
    }

    /// The same page of other entries; some may be left out.
    pub fn map<U>(self, change: impl FnMut(T) -> Option<U>) -> Page<U> {
        Page { entries: self.entries.into_iter().filter_map(change).collect(), complete: self.complete }
    }

    /// Leaves `most` entries, at least one, and is then complete to the last of them.
    pub fn cut(&mut self, most: usize, key_of: impl Fn(&T) -> &RegisterKey) {
        let most = most.max(1);
        if self.entries.len() > most {
            self.entries.truncate(most);
            if let Some(last) = self.entries.last() {
                self.complete = Complete::Through(key_of(last).clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BucketName;

    fn key(name: &str) -> RegisterKey {
        RegisterKey::bucket(&BucketName::parse(name).unwrap())
    }

    #[test]
    fn the_least_is_what_all_are_complete_to() {
        let (a, b) = (Complete::Through(key("aaa")), Complete::Through(key("bbb")));
        assert_eq!([Complete::End, b.clone(), a.clone()].into_iter().min(), Some(a.clone()));
        assert!(a < b && b < Complete::End);
        assert!(a.covers(&key("aaa")) && !a.covers(&key("aab")) && Complete::End.covers(&key("zzz")));
        assert_eq!((Complete::End.next(), a.next()), (None, Some(Bound::Excluded(key("aaa")))));
        assert!(a.is_behind(&Bound::Included(key("aaa"))) && !a.is_behind(&Bound::Excluded(key("aaa"))));
        assert!(b.is_behind(&Bound::Excluded(key("aaa"))) && Complete::End.is_behind(&Bound::Excluded(key("aaa"))));
    }

    #[test]
    fn what_is_cut_is_no_longer_complete_to_the_end() {
        let whole = || Page::whole(vec![key("aaa"), key("bbb"), key("ccc")]);
        let mut page = whole();
        page.cut(3, |key| key);
        assert_eq!(page, whole());
        page.cut(2, |key| key);
        assert_eq!((page.entries.len(), &page.complete), (2, &Complete::Through(key("bbb"))));
        page.cut(0, |key| key);
        assert_eq!((page.entries.len(), page.complete), (1, Complete::Through(key("aaa"))));
    }
}
