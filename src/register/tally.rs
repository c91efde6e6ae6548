//! Tally: the answers of one round, counted.
//!
//! Invariants
//! - One answer per replica; its first grant beats its later refusals.
//! - A majority is one of the configured voters: `Members::majority`.

use super::members::{Members, Votes};

/// Who granted, and who did not, in one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    granted: Votes,
    refused: Votes,
}

impl Tally {
    /// Counts a grant; false when this voter's was counted before.
    pub fn grant(&mut self, voter: Votes) -> bool {
        let first = !self.granted.meets(voter);
        self.granted = self.granted.with(voter);
        self.refused = self.refused.without(voter);
        first
    }

    /// Counts a refusal, or a silence that will not end.
    pub fn refuse(&mut self, voter: Votes) {
        self.refused = self.refused.with(voter.without(self.granted));
    }

    /// The voters that granted; a later refusal takes nothing back.
    pub fn granted(&self) -> Votes {
        self.granted
    }

    /// Who granted or refused.
    pub fn answered(&self) -> Votes {
        self.granted.with(self.refused)
    }

    /// Whether a majority granted.
    pub fn won(&self, members: &Members) -> bool {
        members.majority(self.granted)
    }

    /// Whether a majority can no longer be had.
    pub fn lost(&self, members: &Members) -> bool {
        !members.majority(members.all().without(self.refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Epoch, Incarnation};

    #[test]
    fn one_answer_per_replica_and_grants_beat_refusals() {
        let members = Members::new(Epoch(1), &[Incarnation(1), Incarnation(2), Incarnation(3)]).unwrap();
        let voter = |n| members.only(Incarnation(n));
        let mut tally = Tally::default();
        assert!(tally.grant(voter(1)) && !tally.grant(voter(1)));
        assert!(!tally.won(&members));
        tally.refuse(voter(1));
        tally.refuse(voter(2));
        assert!(!tally.lost(&members), "1 granted, 3 may yet");
        assert!(tally.grant(voter(2)), "the copy that was granted comes after the copy that was refused");
        assert!(tally.won(&members));
        let mut tally = Tally::default();
        tally.refuse(voter(1));
        tally.refuse(voter(1));
        assert!(!tally.lost(&members));
        tally.refuse(voter(3));
        assert!(tally.lost(&members));
        assert_eq!(tally.answered().count(), 2);
    }
}
