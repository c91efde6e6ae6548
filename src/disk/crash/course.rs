//! The course that things took on a disk: one number over all that was changed there, in its order.
//!
//! Invariant: names and bytes never come in, for they are random; which file, where and how much does.

use super::chance::Rng;

/// The course so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course(pub u64);

/// What was changed. Files and directories are named by the order of their making.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Create { file: usize },
    Write { file: usize, offset: u64, len: usize },
    SetLen { file: usize, len: u64 },
    Sync { file: usize },
    Rename { file: usize, over: Option<usize> },
    Remove { file: usize },
    CreateDir { dir: usize },
    SyncDir { dir: Option<usize> },
    PowerLoss { names: usize },
}

impl Course {
    /// Takes a step in.
    pub fn note(&mut self, step: Step) {
        let of = |which: Option<usize>| which.map_or(0, |which| which as u64 + 1);
        let words = match step {
            Step::Create { file } => [1, file as u64, 0, 0],
            Step::Write { file, offset, len } => [2, file as u64, offset, len as u64],
            Step::SetLen { file, len } => [3, file as u64, len, 0],
            Step::Sync { file } => [4, file as u64, 0, 0],
            Step::Rename { file, over } => [5, file as u64, of(over), 0],
            Step::Remove { file } => [6, file as u64, 0, 0],
            Step::CreateDir { dir } => [7, dir as u64, 0, 0],
            Step::SyncDir { dir } => [8, of(dir), 0, 0],
            Step::PowerLoss { names } => [9, names as u64, 0, 0],
        };
        self.0 = words.into_iter().fold(self.0, |course, word| Rng::new(course ^ word).next());
    }
}
