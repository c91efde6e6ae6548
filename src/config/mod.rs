//! Configuration: the file, then the environment, then flags; the last one wins.
//!
//! | file | what |
//! |---|---|
//! | `sections` | the settings and their defaults, as the rest of the program sees them |
//! | `table` | every key, and what it takes by itself |
//! | `check` | what several settings say together |
//! | `layers` | how file, environment and flags become one configuration |
//! | `loaded` | a configuration that knows where each value came from |
//! | `memory` | how the memory ceiling is shared out |
//! | `peers` `units` | how entries of the member list, sizes and periods are written |
//! | `show` | the effective configuration as a file |
//! | `error` | what is wrong with a setting, and where it came from |
//!
//! Invariants
//! - Nothing is ignored: an unknown key, variable or value stops the start, with the remedy.
//! - Nothing is read behind the caller's back: file text, environment and flags are arguments
//!   (only `memory::detect` looks at the kernel's files).
//! - Secrets are paths here; no key material passes through this room.

pub mod check;
pub mod error;
pub mod layers;
pub mod loaded;
pub mod memory;
pub mod peers;
pub mod sections;
pub mod show;
pub mod table;
pub mod units;

pub use error::{ConfigError, Origin};
pub use layers::{Flag, Loaded, load};
pub use memory::{CEILING_MIN, Ceiling, MemoryPlan};
pub use peers::{Durability, PeerEntry, PeerUrl};
pub use sections::{
    ClusterConfig, Config, HttpConfig, MemoryConfig, NodeConfig, PeerConfig, S3Config, ScrubConfig, StoreConfig,
    TlsConfig,
};
