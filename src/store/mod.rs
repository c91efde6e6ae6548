//! The store as plain synchronous code: a sealed commit log, a sealed index, sealed blobs.

pub mod download;
pub mod error;
pub mod incoming;
pub mod outgoing;
pub mod pages;
pub mod status;
pub mod upload;

pub use error::StoreError;
