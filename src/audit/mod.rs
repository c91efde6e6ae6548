//! The audit log: who changed what, who was refused, and when the node ran; sealed, and chained so that nothing of it
//! goes missing unseen.
//!
//! Layout: docs/format.md, "Audit log". Why it is so: docs/adr/0040-audit.md. What to do with a finding:
//! docs/operations.md, "Audit log".
//!
//! Invariants
//! - No change is made before a line says that it was asked for, nor answered before one says how it went; both durable.
//! - No secret is in a line.
//! - What is damaged is said, and never repaired: only what was never answered may be passed over.
//!
//! | file | job |
//! |---|---|
//! | `line` | what a line says |
//! | `layout` | the bytes of a file: header, boxes, lines |
//! | `reading` | the files of a log; the lines of one, front to back |
//! | `check` `query` | whether a log is whole; lines of a time, an actor, an action |
//! | `writer` | lines go into the newest file; files begin, and go when they are old |
//! | `flood` | refusals of somebody who does not stop |
//! | `running` `thread` | the log of a running node: what waits, and who writes it |
//! | `memory` `memory_file` | where the logs of others ended; the file with it |
//! | `claims` `witness` | what the others remember of this one; that, held against the log |
//! | `rewrap` | key rotation: the boxes are sealed anew |
//! | `error` | why a line was not written |

pub mod check;
mod claims;
pub mod error;
pub mod flood;
pub mod layout;
pub mod line;
pub mod memory;
mod memory_file;
pub mod query;
pub mod reading;
pub mod rewrap;
pub mod running;
mod thread;
pub mod witness;
pub mod writer;

pub use error::AuditError;
pub use line::{Change, Line, Outcome};
pub use reading::DIR;
pub use running::{Audit, AuditStatus, Setup};
pub use writer::Place;

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
