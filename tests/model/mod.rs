//! The model: a cluster in one thread, whose every history comes from a seed.
//!
//! | file | what |
//! |---|---|
//! | `setup` | the weather, and what is weakened on purpose |
//! | `value` `node` | records and clients' wishes; a node with its disk |
//! | `world` | the scheduler, the end of a history and its judgement |
//! | `net` | what travels, and what is done with what arrives |
//! | `coordinators` `machine` | those who drive the register's state machines; a write or a read as one of them |
//! | `chores` | feed, settler, burials |
//! | `lists` | member lists, their changes, and lost disks |

pub mod chores;
pub mod coordinators;
pub mod lists;
pub mod machine;
pub mod net;
pub mod node;
pub mod rng;
pub mod setup;
pub mod value;
pub mod world;

pub use setup::{Weakened, Weather};
pub use world::{Tally, run};
