//! What clients reach: HTTP on ports of their own.
//!
//! | place | what stands there |
//! |---|---|
//! | `edge` | what every port has, whatever it speaks: sockets, limits, bodies, problems, who may what |
//! | `rest` | what port 5000 speaks: the notebook's routes, `/v1`, and operations |
//! | `s3` | what port 5001 speaks: S3 |
//! | `fuzzing`, `testing` | ways in for the fuzz targets; what unit tests share |
//!
//! ```text
//! socket -> edge::turnstile -> edge::handle ----> edge::Protocol ----------> StoreLinks
//!           one request at     one request,       rest or s3: which           the actors
//!           a time             head to answer     endpoint, who, how told
//! ```
//!
//! A port for another protocol stands beside `rest` and implements `edge::protocol::Protocol`. The edge imports none
//! of them, and none imports another.
//!
//! Invariants
//! - Handlers know no file and no cipher: they parse, take a permit, send messages, and stream.
//! - A name from a request never becomes a path, and never stands in a log above debug level.
//! - Every answer of a handler carries `x-request-id`; every error has a code. (A head that is not HTTP at all is
//!   refused by the server below, without an id, and closed: `edge::refusal`.)
//! - Nothing that a client sends is ignored where it would change what a write means: 501, 415 or 411.
//! - A web page of somebody else neither reads nor writes here: see `edge::hosts`.
//! - Memory for bodies is bounded by the budget, whatever the number and size of requests.

mod edge;
#[doc(hidden)]
pub mod fuzzing;
pub mod rest;
pub mod s3;
#[cfg(test)]
mod testing;

pub use edge::access::Entrance;
pub use edge::hosts::Hosts;
pub use edge::links::{MemberLinks, ReadLinks, StoreLinks, WriteLinks};
pub use edge::readiness::Readiness;
pub use edge::settings::{HttpSettings, LOG_FILTER};
pub use edge::worker::{Backend, Shared, StatusSource};
pub use s3::S3Settings;
