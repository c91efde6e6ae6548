//! How much a bucket holds, and how much it may.
//!
//! Invariants
//! - Sums come to the same in whatever order they are taken: they are counted modulo 2^64, and nothing saturates.
//! - A quota never keeps a bucket from shrinking: what a write does not make more of is not asked about.

use super::codec::{CodecError, Reader, Writer};
use serde::{Deserialize, Serialize};

/// What a bucket holds, as clients see it; or by how much that changes, modulo 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BucketUsage {
    /// Objects.
    pub objects: u64,
    /// Their bytes: of their plaintext, without names and metadata.
    pub bytes: u64,
}

impl BucketUsage {
    /// Nothing, and no change.
    pub const NOTHING: BucketUsage = BucketUsage { objects: 0, bytes: 0 };

    /// What one object of so many bytes comes to.
    pub fn of_object(bytes: u64) -> Self {
        BucketUsage { objects: 1, bytes }
    }

    /// It and as much more.
    #[must_use]
    pub fn plus(self, more: BucketUsage) -> Self {
        let (objects, bytes) = (self.objects.wrapping_add(more.objects), self.bytes.wrapping_add(more.bytes));
        BucketUsage { objects, bytes }
    }

    /// It without as much; by how much it is more than that.
    #[must_use]
    pub fn minus(self, less: BucketUsage) -> Self {
        let (objects, bytes) = (self.objects.wrapping_sub(less.objects), self.bytes.wrapping_sub(less.bytes));
        BucketUsage { objects, bytes }
    }
}

/// How much a bucket may hold; without a number as much as there is room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Most objects.
    #[serde(default)]
    pub objects: Option<u64>,
    /// Most bytes of objects, as clients see them.
    #[serde(default)]
    pub bytes: Option<u64>,
}

impl Quota {
    /// As much as there is room for.
    pub const NONE: Quota = Quota { objects: None, bytes: None };

    /// Whether it says nothing.
    pub fn is_none(&self) -> bool {
        *self == Quota::NONE
    }

    /// Whether a write may bring a bucket from what it holds to what it would hold then. What it does not make more of
    /// may lie above: a bucket whose quota was lowered can shrink.
    pub fn allows(&self, now: BucketUsage, then: BucketUsage) -> bool {
        let fits = |most: Option<u64>, now, then| then <= now || most.is_none_or(|most| then <= most);
        fits(self.objects, now.objects, then.objects) && fits(self.bytes, now.bytes, then.bytes)
    }

    /// Whether nothing more goes in.
    pub fn is_reached(&self, now: BucketUsage) -> bool {
        let reached = |most: Option<u64>, now| most.is_some_and(|most| now >= most);
        reached(self.objects, now.objects) || reached(self.bytes, now.bytes)
    }

    /// Which of its numbers it has: 1 objects, 2 bytes.
    pub(super) fn flags(&self) -> u8 {
        u8::from(self.objects.is_some()) | u8::from(self.bytes.is_some()) << 1
    }

    /// The numbers that it has, in the order of their flags.
    pub(super) fn write(&self, w: &mut Writer) {
        self.objects.into_iter().chain(self.bytes).for_each(|most| _ = w.u64(most));
    }

    /// Reads those of these flags; of other bits it knows nothing.
    pub(super) fn read(r: &mut Reader<'_>, flags: u8) -> Result<Self, CodecError> {
        let mut number = |flag| if flags & flag == 0 { Ok(None) } else { r.u64().map(Some) };
        Ok(Quota { objects: number(1)?, bytes: number(2)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_write_makes_more_of_has_to_fit_and_nothing_else() {
        let quota = Quota { objects: Some(3), bytes: Some(100) };
        let of = |objects, bytes| BucketUsage { objects, bytes };
        for (now, then, allowed) in [
            (of(2, 50), of(3, 100), true),
            (of(3, 50), of(4, 60), false),
            (of(2, 50), of(3, 101), false),
            (of(3, 50), of(3, 101), false),
            // Above both of them, as a lowered quota leaves a bucket.
            (of(9, 500), of(9, 500), true),
            (of(9, 500), of(9, 499), true),
            (of(9, 500), of(9, 501), false),
            (of(9, 500), of(8, 0), true),
        ] {
            assert_eq!(quota.allows(now, then), allowed, "{now:?} to {then:?}");
            assert!(Quota::NONE.allows(now, then));
        }
        let none = Quota { objects: Some(0), bytes: None };
        assert!(!none.allows(of(0, 0), of(1, 0)), "0 is a number as well");
    }

    #[test]
    fn sums_come_to_the_same_in_any_order() {
        let (a, b) = (BucketUsage::of_object(7), BucketUsage::of_object(u64::MAX - 3));
        assert_eq!(BucketUsage::NOTHING.minus(a).plus(b).plus(a).minus(b), BucketUsage::NOTHING);
        assert_eq!(a.plus(b).minus(b), a);
    }
}
