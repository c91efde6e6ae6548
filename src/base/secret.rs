//! Secrets: zeroed when dropped, never printed, never serialised, never cloned by accident.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A value that is wiped from memory when dropped and shows nothing of itself in `Debug`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes ownership of a secret value.
    pub fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value itself. Callers keep the borrow short and copy nothing out of it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new([7u8; 32])), "Secret(..)");
    }
}
