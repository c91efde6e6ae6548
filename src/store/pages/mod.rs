//! Index pages: what lies under the index engine. Every page is sealed before it reaches the disk.
//!
//! Invariants
//! - A page that is handed out is the page that the last durable sync, or a later write of this process,
//!   put there: bytes that changed, moved, were repeated or come from an older state do not open.
//! - A sync overwrites nothing that the sync before it made durable, except pages that the engine wrote
//!   anew itself. So after any power loss one of two states is whole: the last durable one, or its successor.
//! - Nothing of the engine's file can be read without the key: its magic, its roots and its pages are sealed.
//! - Outside of the engine's own recovery a page that does not open is an error, never zeros.
//!
//! Layout: docs/format.md, "Index pages".
//!
//! | file | job |
//! |---|---|
//! | `engine` | makes and opens the index engine on sealed pages |
//! | `backend` | the engine's file, as it believes, above those pages |
//! | `guard` | work on the engine: no panic passes, and who must not wait leaves |
//! | `state` | the tags of all pages, in memory and on the disk |
//! | `layout` | where things lie, and what a header says |
//! | `error` | what can go wrong under the index |

mod backend;
mod engine;
mod error;
mod guard;
mod layout;
mod state;

#[cfg(test)]
mod tests;

pub use backend::{PagesProbe, SealedPages};
pub use engine::{create_database, open_database};
pub use error::PagesError;
pub(in crate::store) use error::is_damage;
pub use guard::{guarded, unless_it_waits};
pub use layout::{FILE_ID_BYTES, FileId};
