//! (to come)

pub mod peers;
