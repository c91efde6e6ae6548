//! The fence: what keeps new life out of a bucket that is being deleted, is gone, or lives again.
//!
//! An object's register lies under the random id of its bucket, which no later life of that bucket has. Whoever wants a
//! state stored there says under which generation of the bucket that was decided, and each replica goes by what it
//! holds of the bucket itself.
//!
//! Invariants
//! - A replica grants a present state only while it knows that a bucket of that id is open: what it holds of it is open
//!   *and* known to be chosen. An opening that is not chosen may never be, and a deletion may count on this replica.
//! - Of a bucket whose generation is above the one that was decided under, it grants nothing that is new.
//! - Tombstones pass always: they bring nothing to life, and make a bucket empty.
//! - A deletion closes the bucket first, under a generation of its own, and then counts only what those replicas hold
//!   that hold it as closing under that generation. Whatever present state is ever chosen was granted by one of them,
//!   before it held that: so what it answers is that state, or what came after it. It removes the bucket only as it
//!   closed it: no generation is used twice in one life.
//!
//! A replica may refuse whatever it likes, so all that a register is stays true of the registers behind the fence.

use super::bucket::{Bucket, Known, Under};
use super::message::Refusal;
use super::write::Choice;
use crate::base::Ballot;

/// What is wanted of a bucket's register. `I` is the id of a life of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<I> {
    /// The bucket is there; with this id where there is none. One that is being deleted is opened again.
    Create {
        /// Drawn at random, for this request alone.
        id: I,
    },
    /// It takes nothing any more: the beginning of a deletion, or of the rest of one.
    Close,
    /// A deletion that was begun goes on; where none was, nothing is begun.
    Resume,
    /// It is gone, if it is still as this deletion closed it.
    Remove {
        /// The life that was closed.
        id: I,
        /// The generation under which it was.
        generation: u64,
    },
    /// It is open again, if it is still as this deletion closed it.
    Reopen {
        /// The life that was closed.
        id: I,
        /// The generation under which it was.
        generation: u64,
    },
}

impl<I: Copy + PartialEq> Change<I> {
    /// What becomes of the bucket that was found; `None` in `Choice::Put` is a tombstone.
    pub fn decide(&self, found: Option<(I, Bucket)>) -> Choice<Option<(I, Bucket)>> {
        let closed = |of: I, under: u64| {
            found.is_some_and(|(id, bucket)| id == of && bucket.generation == under && !bucket.is_open)
        };
        let next = |id, bucket: Bucket, is_open| {
            Choice::Put(Some((id, Bucket { generation: bucket.generation.saturating_add(1), is_open })))
        };
        match (*self, found) {
            (Change::Create { id }, None) => Choice::Put(Some((id, Bucket { generation: 1, is_open: true }))),
            (Change::Create { .. }, Some((_, bucket))) if bucket.is_open => Choice::Keep,
            (Change::Create { .. }, Some((id, bucket))) => next(id, bucket, true),
            (Change::Close, Some((id, bucket))) if bucket.is_open => next(id, bucket, false),
            (Change::Close | Change::Resume, Some((_, bucket))) if !bucket.is_open => Choice::Keep,
            (Change::Close | Change::Resume, _) => Choice::Refuse,
            (Change::Remove { id, generation }, _) if closed(id, generation) => Choice::Put(None),
            (Change::Remove { .. }, _) => Choice::Refuse,
            (Change::Reopen { id, generation }, Some((_, bucket))) if closed(id, generation) => next(id, bucket, true),
            (Change::Reopen { .. }, _) => Choice::Keep,
        }
    }
}

/// What helps where a replica refused for the sake of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is behind: it is taught the bucket as it is known to be, and asked again.
    Teach,
    /// It may be ahead: a majority is asked for the bucket, and everything is decided anew.
    LookAgain,
}

/// The sentences of the fence that a test can switch off, one by one: `tests/model_fence.rs`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FenceRules {
    /// Anything is refused at all.
    pub shut: bool,
    /// What is stored again is refused like what is new while the bucket is closing, or gone.
    pub again_too: bool,
    /// An opening counts only when it is known to be chosen.
    pub open_when_chosen: bool,
    /// What is new is refused under an older generation.
    pub newest_generation: bool,
    /// A deletion counts only those that hold the bucket as closing.
    pub closing_counts: bool,
    /// A deletion looks at what is not known to be chosen.
    pub tentative_shows: bool,
    /// A majority promises a higher ballot before that counts as nothing.
    pub tentative_is_settled: bool,
}

/// A replica's side of the fence.
#[derive(Clone, Copy, Debug)]
pub struct Fence {
    rules: FenceRules,
}

impl Fence {
    /// The fence of every node.
    pub const CONTRACT: Fence = Fence {
        rules: FenceRules {
            shut: true,
            again_too: true,
            open_when_chosen: true,
            newest_generation: true,
            closing_counts: true,
            tentative_shows: true,
            tentative_is_settled: true,
        },
    };

    /// The same with some rules changed: for the model's own tests.
    #[doc(hidden)]
    pub fn changed(change: impl FnOnce(&mut FenceRules)) -> Self {
        let mut fence = Fence::CONTRACT;
        change(&mut fence.rules);
        fence
    }

    /// Which of its sentences hold.
    pub(super) fn rules(self) -> FenceRules {
        self.rules
    }

    /// Whether a replica may store a state under the id of a bucket. `held`: the bucket of that very id as the replica
    /// holds it, decided or durable; none where it holds another one under that name, or none.
    pub fn check(&self, held: Option<(Bucket, Known)>, under: Under, is_present: bool) -> Result<(), Refusal> {
        let rules = self.rules;
        if !is_present || !rules.shut || (!under.is_new && !rules.again_too) {
            return Ok(());
        }
        let Some((bucket, known)) = held else { return Err(Refusal::Bucket(Known::NOTHING)) };
        let is_open = bucket.is_open && (known.chosen || !rules.open_when_chosen);
        let is_late = under.is_new && under.generation < bucket.generation && rules.newest_generation;
        if is_open && !is_late { Ok(()) } else { Err(Refusal::Bucket(known)) }
    }

    /// Whether what a replica holds under a bucket counts for a deletion that closed it under this generation.
    pub fn counts(&self, held: Option<Bucket>, generation: u64) -> bool {
        held.is_some_and(|bucket| !bucket.is_open && bucket.generation == generation) || !self.rules.closing_counts
    }
}

/// What helps a coordinator that rests on the bucket as chosen at `mine`, when a replica refused for what it knows.
pub fn remedy(mine: Ballot, replica: Known) -> Remedy {
    let is_behind = replica.ballot < mine || (replica.ballot == mine && !replica.chosen);
    if is_behind { Remedy::Teach } else { Remedy::LookAgain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, Stamp};

    fn known(stamp: u64, chosen: bool) -> Known {
        Known { ballot: Ballot { stamp: Stamp(stamp), node: Incarnation(1) }, chosen }
    }

    #[test]
    fn a_present_state_needs_an_open_bucket_that_is_chosen() {
        let fence = Fence::CONTRACT;
        let bucket = |generation, is_open| Bucket { generation, is_open };
        let new = Under { generation: 4, is_new: true };
        let again = Under { generation: 0, is_new: false };
        let refused = |known| Err(Refusal::Bucket(known));
        for (held, of_new, of_again) in [
            (Some((bucket(4, true), known(7, true))), Ok(()), Ok(())),
            (Some((bucket(3, true), known(7, true))), Ok(()), Ok(())),
            (Some((bucket(5, true), known(7, true))), refused(known(7, true)), Ok(())),
            (Some((bucket(4, true), known(7, false))), refused(known(7, false)), refused(known(7, false))),
            (Some((bucket(4, false), known(7, true))), refused(known(7, true)), refused(known(7, true))),
            (Some((bucket(4, false), known(7, false))), refused(known(7, false)), refused(known(7, false))),
            (None, refused(Known::NOTHING), refused(Known::NOTHING)),
        ] {
            assert_eq!(fence.check(held, new, true), of_new, "{held:?}");
            assert_eq!(fence.check(held, again, true), of_again, "{held:?}");
            assert_eq!(fence.check(held, new, false), Ok(()), "a tombstone passes: {held:?}");
        }
    }

    #[test]
    fn no_generation_is_used_twice_and_nothing_goes_but_as_it_was_closed() {
        use Choice::{Keep, Put, Refuse};
        let found = |generation, is_open| Some((7u8, Bucket { generation, is_open }));
        let (open, closed) = (found(4, true), found(5, false));
        let create = Change::Create { id: 8u8 };
        assert_eq!(create.decide(None), Put(Some((8, Bucket { generation: 1, is_open: true }))));
        assert_eq!((create.decide(open), create.decide(closed)), (Keep, Put(found(6, true))));
        assert_eq!((Change::Close.decide(open), Change::Close.decide(closed)), (Put(closed), Keep));
        assert_eq!(
            (Change::Resume.decide(open), Change::Resume.decide(closed)),
            (Refuse::<Option<(u8, Bucket)>>, Keep)
        );
        assert_eq!((Change::<u8>::Close.decide(None), Change::<u8>::Resume.decide(None)), (Refuse, Refuse));
        let of = |id, generation| (Change::Remove { id, generation }, Change::Reopen { id, generation });
        let both = |(remove, reopen): (Change<u8>, Change<u8>), found| (remove.decide(found), reopen.decide(found));
        assert_eq!(both(of(7, 5), closed), (Put(None), Put(found(6, true))));
        for other in [open, None, found(7, false), Some((9, Bucket { generation: 5, is_open: false }))] {
            assert_eq!(both(of(7, 5), other), (Refuse, Keep), "{other:?}");
        }
    }

    #[test]
    fn a_deletion_counts_those_that_hold_the_bucket_as_it_closed_it() {
        let counts = |generation, is_open| Fence::CONTRACT.counts(Some(Bucket { generation, is_open }), 5);
        assert!(counts(5, false));
        assert!(!counts(5, true) && !counts(4, false) && !counts(6, false));
        assert!(!Fence::CONTRACT.counts(None, 5));
    }

    #[test]
    fn who_is_behind_is_taught_and_who_is_ahead_is_believed() {
        let mine = known(7, true).ballot;
        assert_eq!(remedy(mine, Known::NOTHING), Remedy::Teach);
        assert_eq!(remedy(mine, known(6, true)), Remedy::Teach);
        assert_eq!(remedy(mine, known(7, false)), Remedy::Teach);
        assert_eq!(remedy(mine, known(7, true)), Remedy::LookAgain);
        assert_eq!(remedy(mine, known(8, false)), Remedy::LookAgain);
    }
}
