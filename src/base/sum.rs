//! Sums of sets: what two nodes compare instead of everything they hold.

use std::ops::{BitXor, BitXorAssign};

/// The sum of the marks of a set's members. Adding a member and taking it away is the same operation, so
/// that the order of changes makes no difference; two sets of the same sum are the same set, as far as marks
/// nobody can choose tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sum(pub u128);

impl BitXor for Sum {
    type Output = Sum;
    fn bitxor(self, other: Sum) -> Sum {
        Sum(self.0 ^ other.0)
    }
}

impl BitXorAssign for Sum {
    fn bitxor_assign(&mut self, other: Sum) {
        self.0 ^= other.0;
    }
}
