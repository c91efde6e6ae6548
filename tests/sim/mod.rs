//! A cluster in one thread: real stores on simulated disks, real coordinators, a net that loses, doubles and
//! reorders. One seed, one schedule.

pub mod clients;
pub mod node;
pub mod world;

pub use world::{Tally, Weather, run};
