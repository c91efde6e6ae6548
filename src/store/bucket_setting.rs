//! What a bucket is set to, changed part by part: each change rests on what was found and touches its own part, so that
//! two of different parts do not lose each other.
//!
//! Invariant: a change counts the bucket's generation up, whoever decides it; one that changes nothing does not.

use crate::base::{BucketRecord, EtagMode, PublicGrants, Quota, Rights};
use crate::register::Choice;

/// What is wanted of one part of a bucket's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketSetting {
    /// These rights, of reading and listing, are open to everybody under that very prefix. Where a bucket has as many
    /// such grants as it may, one more is left out.
    Open {
        /// What the keys begin with.
        prefix: String,
        /// What may be done there.
        rights: Rights,
    },
    /// Nothing that was opened under a prefix that begins so is open to everybody any more.
    Close {
        /// What the prefixes begin with; empty: all of them.
        prefix: String,
    },
    /// It may hold so much. One that holds more can only shrink.
    Quota(Quota),
    /// What its objects are known by that clients of S3 write from now on.
    Etag(EtagMode),
}

impl BucketSetting {
    /// What becomes of the bucket that was found, open or closing: the next generation of it, if that changes anything.
    pub fn decide(&self, found: Option<&BucketRecord>) -> Choice<BucketRecord> {
        let Some(bucket) = found else { return Choice::Refuse };
        let mut next = bucket.clone();
        self.apply(&mut next);
        if next == *bucket {
            return Choice::Keep;
        }
        next.generation = next.generation.saturating_add(1);
        Choice::Put(next)
    }

    fn apply(&self, bucket: &mut BucketRecord) {
        match self {
            BucketSetting::Open { prefix, rights } => {
                if let Some(public) = bucket.public.with(prefix, *rights) {
                    bucket.public = public;
                }
            }
            BucketSetting::Close { prefix } => bucket.public = bucket.public.without(prefix),
            BucketSetting::Quota(quota) => bucket.quota = *quota,
            BucketSetting::Etag(mode) => bucket.etag = *mode,
        }
        debug_assert!(bucket.public.iter().all(|grant| PublicGrants::may_be(grant.rights)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketId, Right};

    fn open(prefix: &str) -> BucketSetting {
        BucketSetting::Open { prefix: prefix.to_owned(), rights: Rights::of(&[Right::Read]) }
    }

    fn put(choice: Choice<BucketRecord>) -> BucketRecord {
        if let Choice::Put(bucket) = choice { bucket } else { panic!("{choice:?}") }
    }

    #[test]
    fn each_change_counts_the_generation_up_and_touches_its_part_alone() {
        let made = BucketRecord::made(BucketId(7), 5);
        let opened = put(open("a/").decide(Some(&made)));
        assert_eq!((opened.generation, opened.public.iter().count()), (2, 1));
        assert_eq!(BucketRecord { generation: 1, public: PublicGrants::NONE, ..opened.clone() }, made);
        assert_eq!(open("a/").decide(Some(&opened)), Choice::Keep, "it is so already");
        let close = |prefix: &str| BucketSetting::Close { prefix: prefix.to_owned() };
        assert_eq!(close("b").decide(Some(&opened)), Choice::Keep);
        let closed = put(close("").decide(Some(&opened)));
        assert_eq!(closed, BucketRecord { generation: 3, ..made.clone() });
        let closing = BucketRecord { is_open: false, ..opened };
        let closed = put(close("").decide(Some(&closing)));
        assert!(!closed.is_open && closed.public.is_empty());
        assert_eq!(open("").decide(None), Choice::Refuse);
    }

    #[test]
    fn a_quota_and_what_is_open_leave_each_other_alone() {
        let made = BucketRecord::made(BucketId(7), 5);
        let quota = Quota { objects: Some(3), bytes: None };
        let opened = put(open("a/").decide(Some(&made)));
        let limited = put(BucketSetting::Quota(quota).decide(Some(&opened)));
        assert_eq!(limited, BucketRecord { generation: 3, quota, ..opened.clone() });
        assert_eq!(BucketSetting::Quota(quota).decide(Some(&limited)), Choice::Keep, "it is so already");
        let closed = put(BucketSetting::Close { prefix: String::new() }.decide(Some(&limited)));
        assert_eq!(closed, BucketRecord { generation: 4, quota, ..made.clone() });
        let fast = put(BucketSetting::Etag(EtagMode::Fast).decide(Some(&closed)));
        assert_eq!(fast, BucketRecord { generation: 5, quota, etag: EtagMode::Fast, ..made });
        assert_eq!(BucketSetting::Etag(EtagMode::Fast).decide(Some(&fast)), Choice::Keep, "it is so already");
        assert_eq!(
            put(BucketSetting::Etag(EtagMode::Md5).decide(Some(&fast))),
            BucketRecord { generation: 6, ..closed }
        );
    }

    #[test]
    fn one_grant_too_many_is_left_out() {
        let all = (0..16)
            .fold(BucketRecord::made(BucketId(7), 5), |bucket, n| put(open(&format!("p{n:02}")).decide(Some(&bucket))));
        assert_eq!(open("more").decide(Some(&all)), Choice::Keep);
    }
}
