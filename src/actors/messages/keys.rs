//! Key generations: what is asked of a coordinator for operators, and of the store beside it.

use super::{ObjectError, StoreError};
use crate::base::{ActiveKey, NodeName};
use crate::store::mutation::Mutation;
use actix::Message;

/// Makes a generation the one that seals on all nodes. Answered when that is decided; it is so already where that one
/// seals.
#[derive(Debug, Message)]
#[rtype(result = "Result<ActiveKey, Unrotated>")]
pub struct RotateKeys {
    /// Its number; none: the newest that the node holds.
    pub number: Option<u32>,
}

/// Why no generation is made the one that seals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// Members have not said that they open it.
    #[error(
        "key generation {number} is not known to be on all members: {} (put its file into their key directories, and see that this node hears from them)",
        lacking(.lacks, .silent)
    )]
    Lacking {
        /// Its number.
        number: u32,
        /// Those that open others and not this one.
        lacks: Vec<NodeName>,
        /// Those that said nothing lately.
        silent: Vec<NodeName>,
    },
    /// This node holds no such generation.
    #[error("this node holds no key generation {0}: put its file into the key directory of every node")]
    Unknown(u32),
    /// A newer one seals.
    #[error("key generation {number} is older than the one that seals, {active}")]
    Older {
        /// Its number.
        number: u32,
        /// That of the one that seals.
        active: u32,
    },
    /// Another node opens another key under its number.
    #[error("key generation {number} is another key on {}: it was made on several nodes, and has to be made on one", names(.clashes))]
    Clashes {
        /// Its number.
        number: u32,
        /// Who.
        clashes: Vec<NodeName>,
    },
}

fn names(all: &[NodeName]) -> String {
    all.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

fn lacking(lacks: &[NodeName], silent: &[NodeName]) -> String {
    let lacks = (!lacks.is_empty()).then(|| format!("missing on {}", names(lacks)));
    let silent = (!silent.is_empty()).then(|| format!("nothing heard lately of {}", names(silent)));
    lacks.into_iter().chain(silent).collect::<Vec<_>>().join(", ")
}

/// Why no other generation seals.
#[derive(Debug, thiserror::Error)]
pub enum Unrotated {
    /// Not all members are known to open it.
    #[error(transparent)]
    Unready(Unready),
    /// A newer one was decided on.
    #[error(
        "the nodes have decided on another key generation meanwhile, or on another key of that number: generation {0}"
    )]
    Newer(u32),
    /// It could not be brought about.
    #[error(transparent)]
    Undecided(#[from] ObjectError),
}

/// Seals the key of what is to be put under the generation that seals now.
#[derive(Debug, Message)]
#[rtype(result = "Result<Mutation, StoreError>")]
pub struct SealAnew(pub Mutation);
