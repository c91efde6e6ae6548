//! Thin actors: they carry decisions out and hold no rules of their own.

pub mod messages;
pub mod store_actor;
pub mod threads;
