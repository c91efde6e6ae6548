//! How far the walk has come that seals everything anew.

use crate::base::{KekId, RegisterKey};

/// How far a walk has come that seals everything under one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkPlace {
    /// Under which generation.
    pub kek: KekId,
    /// The last register that it is done with; none at the beginning.
    pub after: Option<RegisterKey>,
}
