//! Members: who votes in an epoch, and what a majority of them is.
//!
//! Invariants
//! - A list has 1 to `VOTERS_MAX` voters, each once.
//! - A majority is always one of the configured voters. While the list changes it is a majority of
//!   the old list and of the new one.
//!
//! How a list changes, by way of an epoch of both lists: `change`. In that epoch every key is stored again
//! (`Read::settle`) by a majority of the old list too: so none of it is left to the epoch before.

use crate::base::{Epoch, Incarnation};

/// Most voters of the old and the new list together.
pub const VOTERS_MAX: usize = 32;

/// Why a member list was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// A list names nobody.
    #[error("a member list names nobody")]
    Empty,
    /// A list names an incarnation twice.
    #[error("a member list names {0} twice")]
    Twice(Incarnation),
    /// More voters than `VOTERS_MAX`.
    #[error("more than {VOTERS_MAX} voters")]
    TooMany,
}

/// A set of voters of one member list, by their place in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes(u32);

impl Votes {
    /// The nodes of both sets.
    pub fn with(self, other: Votes) -> Votes {
        Votes(self.0 | other.0)
    }

    /// This set less the other.
    pub fn without(self, other: Votes) -> Votes {
        Votes(self.0 & !other.0)
    }

    /// Whether the sets share a voter.
    pub fn meets(self, other: Votes) -> bool {
        self.0 & other.0 != 0
    }

    /// How many voters are in it.
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// The voters of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    epoch: Epoch,
    voters: Vec<Incarnation>,
    list: Votes,
    old: Option<Votes>,
}

impl Members {
    /// The list of an epoch in which nothing changes.
    pub fn new(epoch: Epoch, voters: &[Incarnation]) -> Result<Self, MembersError> {
        let mut all = Vec::new();
        let list = admit(&mut all, voters)?;
        Ok(Members { epoch, voters: all, list, old: None })
    }

    /// The lists of an epoch in which `old` gives way to `new`: every majority is one of both.
    pub fn joint(epoch: Epoch, old: &[Incarnation], new: &[Incarnation]) -> Result<Self, MembersError> {
        let mut all = Vec::new();
        let old = admit(&mut all, old)?;
        let list = admit(&mut all, new)?;
        Ok(Members { epoch, voters: all, list, old: Some(old) })
    }

    /// The number that names these lists.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Everybody who is asked: the voters of all lists.
    pub fn voters(&self) -> &[Incarnation] {
        &self.voters
    }

    /// Everybody, as a set.
    pub fn all(&self) -> Votes {
        Votes(self.list.0 | self.old.unwrap_or_default().0)
    }

    /// The set of this one voter; empty when it has no vote.
    pub fn only(&self, node: Incarnation) -> Votes {
        self.voters.iter().position(|v| *v == node).map_or(Votes::default(), |at| Votes(1 << at))
    }

    /// The voters of a set.
    pub fn of(&self, votes: Votes) -> impl Iterator<Item = Incarnation> + '_ {
        self.voters.iter().enumerate().filter(move |(at, _)| votes.0 & (1 << at) != 0).map(|(_, node)| *node)
    }

    /// The fewest voters that are a majority of every list.
    pub fn majority_size(&self) -> u32 {
        self.list.count().max(self.old.unwrap_or_default().count()) / 2 + 1
    }

    /// Whether these are a majority of every list.
    pub fn majority(&self, votes: Votes) -> bool {
        let of = |list: Votes| Votes(votes.0 & list.0).count() > list.count() / 2;
        of(self.list) && self.old.is_none_or(of)
    }
}

fn admit(all: &mut Vec<Incarnation>, voters: &[Incarnation]) -> Result<Votes, MembersError> {
    let mut list = Votes::default();
    for node in voters {
        let at = all.iter().position(|v| v == node).unwrap_or(all.len());
        if at == VOTERS_MAX {
            return Err(MembersError::TooMany);
        }
        if at == all.len() {
            all.push(*node);
        }
        if list.meets(Votes(1 << at)) {
            return Err(MembersError::Twice(*node));
        }
        list = list.with(Votes(1 << at));
    }
    if list == Votes::default() { Err(MembersError::Empty) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(of: std::ops::Range<u64>) -> Vec<Incarnation> {
        of.map(Incarnation).collect()
    }

    fn votes(members: &Members, of: &[u64]) -> Votes {
        of.iter().fold(Votes::default(), |all, n| all.with(members.only(Incarnation(*n))))
    }

    #[test]
    fn majorities_are_of_the_configured() {
        for (n, m) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (32, 17)] {
            let members = Members::new(Epoch(1), &nodes(0..n)).unwrap();
            let first = |k: u64| votes(&members, &(0..k).collect::<Vec<_>>());
            assert!(members.majority(first(m)) && !members.majority(first(m - 1)), "{n}");
        }
    }

    #[test]
    fn strangers_have_no_vote() {
        let members = Members::new(Epoch(1), &nodes(0..3)).unwrap();
        assert_eq!(members.only(Incarnation(9)), Votes::default());
        assert!(!members.majority(votes(&members, &[0, 9, 8])));
    }

    #[test]
    fn a_change_needs_both_majorities() {
        let members = Members::joint(Epoch(2), &nodes(0..3), &nodes(2..5)).unwrap();
        assert_eq!(members.voters().len(), 5);
        assert!(!members.majority(votes(&members, &[0, 1, 2])));
        assert!(!members.majority(votes(&members, &[2, 3, 4])));
        assert!(members.majority(votes(&members, &[1, 2, 3])));
        assert!(members.majority(votes(&members, &[0, 1, 3, 4])));
    }

    #[test]
    fn lists_are_checked() {
        assert_eq!(Members::new(Epoch(1), &[]), Err(MembersError::Empty));
        assert_eq!(Members::new(Epoch(1), &nodes(0..33)), Err(MembersError::TooMany));
        assert_eq!(Members::joint(Epoch(1), &nodes(0..20), &nodes(20..33)), Err(MembersError::TooMany));
        let twice = [Incarnation(1), Incarnation(1)];
        assert_eq!(Members::new(Epoch(1), &twice), Err(MembersError::Twice(Incarnation(1))));
    }
}
