//! A cluster in one thread: real stores on simulated disks, real coordinators, a net that loses, doubles and
//! reorders. One seed, one schedule.

pub mod clients;
pub mod disks;
pub mod heal;
pub mod node;
pub mod trace;
pub mod uploads;
pub mod world;

pub use world::{Ran, Tally, Weather, run};
