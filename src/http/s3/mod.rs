//! What port 5001 speaks: S3.
//!
//! | file | what it does |
//! |---|---|
//! | `auth` | who calls: by a signature in the head, by one in the query, or without any |
//! | `payload` | the body: its coding, its checksums, and what is to be computed of it |

pub mod auth;
pub mod payload;
