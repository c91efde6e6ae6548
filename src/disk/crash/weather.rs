//! What real disks and systems do besides losing power: operations that fail once, syncs that fail and leave pages
//! marked clean, reads that bring something else.
//!
//! Invariant: each is asked for by its number among the operations to come, so that a run can be repeated.

use std::fmt;
use std::io;

/// What a read brings in place of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misread {
    /// The beginning, and an error: the device went away in between.
    Short,
    /// A sector of zeros in the middle.
    Zeroed,
    /// A sector with flipped bits in the middle.
    Rotten,
    /// What was durable before the last sync that changed anything.
    Stale,
    /// The bytes of another place of the file.
    Misdirected,
    /// An error in place of the bytes.
    Refused,
}

impl Misread {
    /// Every kind, for tests that try each.
    pub const ALL: [Misread; 6] =
        [Misread::Short, Misread::Zeroed, Misread::Rotten, Misread::Stale, Misread::Misdirected, Misread::Refused];
}

/// Something that happens at a sync, before it.
pub struct AtSync(pub Box<dyn FnOnce() + Send>);

impl fmt::Debug for AtSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AtSync(..)")
    }
}

/// What is to come.
#[derive(Debug, Default)]
pub struct Weather {
    /// Operations on the disk so far, by which a run names where something is to fail.
    pub operations: u64,
    /// Operations left before one fails, and how.
    failing: Option<(u64, io::ErrorKind)>,
    /// Reads left before one goes wrong, and how; how many after it do too.
    misreading: Option<(u64, Misread)>,
    misreading_on: u64,
    /// Syncs of files left before one does nothing and says that all is well.
    lying: Option<(u64, ())>,
    /// Syncs of files left before something happens.
    at_sync: Option<(u64, AtSync)>,
    /// What went wrong so far.
    pub struck: u64,
    /// Changes of names that no sync makes durable any more.
    pub names_lost: u64,
}

impl Weather {
    /// After `operations` more, one fails.
    pub fn fail_once_after(&mut self, operations: u64, kind: io::ErrorKind) {
        self.failing = Some((operations, kind));
    }

    /// After `reads` more, one goes wrong.
    pub fn misread_once_after(&mut self, reads: u64, how: Misread) {
        self.misread_after(reads, 1, how);
    }

    /// After `reads` more, `times` go wrong, one after the other.
    pub fn misread_after(&mut self, reads: u64, times: u64, how: Misread) {
        (self.misreading, self.misreading_on) = (Some((reads, how)), times.saturating_sub(1));
    }

    /// After `syncs` more syncs of files, one lies.
    pub fn lie_once_after(&mut self, syncs: u64) {
        self.lying = Some((syncs, ()));
    }

    /// After `syncs` more syncs of files, before the next.
    pub fn at_sync(&mut self, syncs: u64, what: AtSync) {
        self.at_sync = Some((syncs, what));
    }

    /// Nothing of what was asked for comes any more.
    pub fn calm(&mut self) {
        (self.failing, self.misreading, self.lying, self.at_sync) = (None, None, None, None);
    }

    /// An operation begins: whether it fails.
    pub fn strikes(&mut self) -> Option<io::Error> {
        self.operations += 1;
        let kind = counted(&mut self.failing)?;
        self.struck += 1;
        Some(kind.into())
    }

    /// A read: whether it goes wrong.
    pub fn misread(&mut self) -> Option<Misread> {
        let how = counted(&mut self.misreading)?;
        if let Some(left) = self.misreading_on.checked_sub(1) {
            (self.misreading, self.misreading_on) = (Some((0, how)), left);
        }
        self.struck += 1;
        Some(how)
    }

    /// A sync of a file: whether it lies.
    pub fn lies(&mut self) -> bool {
        let lies = counted(&mut self.lying).is_some();
        self.struck += u64::from(lies);
        lies
    }

    /// A sync of a file: what happens before it.
    pub fn before_sync(&mut self) -> Option<AtSync> {
        counted(&mut self.at_sync)
    }
}

/// Counts down; what comes when nothing is left.
fn counted<T>(slot: &mut Option<(u64, T)>) -> Option<T> {
    match slot {
        Some((0, _)) => slot.take().map(|(_, what)| what),
        Some((left, _)) => {
            *left -= 1;
            None
        }
        None => None,
    }
}
