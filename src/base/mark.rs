//! Marks: rare paths, counted, so that a gate can tell whether it ever went there.
//!
//! A simulation that never reaches the path it is there for says nothing, and says it in green. So whoever writes a
//! rare path marks it, and a test names the mark: `Mark::count` says how often this process was there, and of a node
//! that is a process of its own `/v1/cluster` and the metrics do (`rare`).
//!
//! Invariants
//! - A mark costs one relaxed addition, and nothing is decided by it.
//! - Every mark is asked for by a test (`tests/marks.rs`).

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! marks {
    ($($name:ident: $what:literal,)*) => {
        /// A rare path that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mark {
            $(#[doc = $what] $name,)*
        }

        impl Mark {
            /// All of them, each with what it says.
            pub const ALL: &[(Mark, &str)] = &[$((Mark::$name, $what),)*];
        }
    };
}

marks! {
    ShortPage: "A page of a scan was short, and not the last one.",
    EmptyPage: "A page of a scan was empty, and not the last one.",
    BurialMetScan: "A scan passed over a register that was forgotten, and that an older layer or the index still has.",
    BeganAnew: "A node was given its place anew, and forgot what it held.",
    TailCut: "A commit log had lost frames from its end that were known to be durable.",
    OlderCopy: "A node was told more of itself than it knows: its directory is an older copy.",
    NoVoteForDamage: "A page of the index did not open, and the node had no vote on its registers.",
    Poisoned: "A store took no more writes, since one had failed.",
    BlobSetAside: "A damaged body was moved to quarantine.",
    FolderDoubted: "A folder of bodies could not be synced: what it held before counted as missing.",
    SegmentCompacted: "What was alive in a segment had been moved out of it.",
    SegmentRemoved: "A segment in which nothing had a place any more was removed.",
    OrphanReleased: "A body that nothing referred to any more lost its place.",
    NoRoomForMoves: "There was no room to move what is alive out of any segment.",
    SegmentListed: "A segment was gone through by the places that are named in it: heads in it are damaged.",
    BodyUnplaced: "The log heard that a body does not lie where it should.",
    FirstStartResumed: "A first start had been ended behind its identity, and the next one put that in place anew.",
    TransferJoined: "A body was on its way to a peer already, and who asked for it too waited for that.",
    ArrivalJoined: "A peer that offered a body was told that it comes from somebody else already.",
    Fenced: "A replica refused a state for what it held of its bucket.",
    DeletionResumed: "A deletion of a bucket that somebody had left behind was ended.",
    BucketTaught: "A replica was behind with a bucket, and was told of it in front of what it had refused.",
    UploadCleared: "What was left of an upload in parts that had ended was dropped.",
    UploadExpired: "An upload in parts was aborted that nobody had ended for long.",
    AccessListed: "A node listed the access keys of a majority, since that held others than it did.",
}

static COUNTS: [AtomicU64; Mark::ALL.len()] = [const { AtomicU64::new(0) }; Mark::ALL.len()];

impl Mark {
    /// Counts that it was reached, in this process.
    pub fn hit(self) {
        if let Some(count) = COUNTS.get(self as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Its name in status and metrics.
    pub fn name(self) -> String {
        let words = format!("{self:?}");
        let mut name = String::with_capacity(words.len() + 4);
        for letter in words.chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    /// How often it was reached since this process began.
    pub fn count(self) -> u64 {
        COUNTS.get(self as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_has_a_count_of_its_own() {
        for (at, (mark, what)) in Mark::ALL.iter().enumerate() {
            assert_eq!(*mark as usize, at);
            assert!(what.ends_with('.'), "{what}");
        }
        assert_eq!(Mark::NoVoteForDamage.name(), "no_vote_for_damage");
        let before = Mark::BeganAnew.count();
        Mark::BeganAnew.hit();
        assert!(Mark::BeganAnew.count() > before);
    }
}
