//! Requests that are signed with the secret of an access key: Signature Version 4, as S3 clients know it, without I/O.
//!
//! | file | job |
//! |---|---|
//! | `canonical` | the one form of a request that is signed, and of what stands in it |
//! | `sigv4` | its digest with time and scope, and the signature of that |
//! | `authorization` | a signature in the head of a request: read, and judged by the clock |
//! | `body` | what a head says of its body: its digest, nothing, or that it comes in chunks |
//! | `chunks` | a body in chunks, each with a signature that rests on the one before, and what stands behind it |
//! | `presign` | a signature in the query of a link: read, judged by the clock, and made |
//! | `object_link` | what a link to an object on the HTTP port says |
//!
//! Whether a signature counts is not decided here: secrets are with the access keys, which compare
//! (`store::access_keys`), and what a link may be for is the port's business. Any port that takes signatures uses this.
//!
//! Invariants
//! - Whatever is handed in, nothing here panics, and nothing is accepted in two meanings: a parameter that is there
//!   twice, or is not known, is refused.
//! - One bit that changes of method, path, query, signed headers, time or scope changes what is signed.

pub mod authorization;
pub mod body;
pub mod canonical;
pub mod chunks;
pub mod object_link;
pub mod presign;
pub mod sigv4;

pub use authorization::{Authorization, AuthorizationError};
pub use presign::{PresignError, Presigned};
