//! The weather of disks, and the operator who goes by the book: a node with a bad disk is restarted; where that does
//! not help, its directory is given up, and it is filled anew.
//!
//! Invariants
//! - Disks of a minority are bad at any time. One counts as bad until its node was started again on a disk that is
//!   good; one with damage that lasts, for as long as it is not wiped.
//! - A node whose disk is good, and was put right, opens and reads whatever was before: all that is let pass is let
//!   pass of bad disks alone.

use super::node::Node;
use super::world::World;
use boveda::disk::CrashDisk;
use boveda::disk::crash::Misread;
use boveda::store::log::HEAD_BYTES;
use std::io::ErrorKind;
use std::path::Path;

const LOG: &str = "/data/log";
const INDEX: &str = "/data/index";
/// How far ahead an operation is struck: it may lie in the next restart.
const AHEAD: usize = 12;
/// Places that are looked at for one that something was written to.
const LOOKS: usize = 16;
const SECTOR_BYTES: u64 = 512;
/// Frames of the log begin at multiples of this.
const BLOCK_BYTES: usize = 4096;
/// What no frame alone takes here.
const BLOCKS_OF_SOME_FRAMES: usize = 10;

/// What is known of a bad disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Something fails, once or for a while. What was durable stays so.
    Struck,
    /// Bytes of the log or of the index have changed behind everybody's back.
    Rotten,
}

impl World {
    /// A disk goes bad, if that leaves the others a majority; or one that is bad already meets something more.
    pub fn disk_goes_bad(&mut self, at: usize) {
        let minority = (self.nodes.len() - 1) / 2;
        let bad: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_bad()).collect();
        let at = if bad.len() < minority || self.weather.all_disks { at } else { self.rng.pick(&bad) };
        if self.nodes[at].retired {
            return;
        }
        let (kind, ahead) = (self.rng.below(10), self.rng.below(AHEAD) as u64);
        let how = Misread::ALL[self.rng.below(Misread::ALL.len())];
        let path = Path::new(if self.rng.odds(500) { LOG } else { INDEX });
        let disk = self.nodes[at].disk().clone();
        let mut bad = Bad::Struck;
        match kind {
            0 | 1 if self.weather.silent => disk.lie_once_after(ahead / 2),
            0 | 1 => disk.fail_once_after(ahead, ErrorKind::Other),
            2 => disk.fail_once_after(ahead, ErrorKind::StorageFull),
            3 => disk.fail_writes_after(ahead, ErrorKind::StorageFull),
            4..=6 => disk.misread_once_after(ahead / 4, how),
            7 | 8 => disk.fail_writeback(path).expect("each node has both files"),
            _ => {
                bad = Bad::Rotten;
                self.rot(&disk, path);
            }
        }
        self.tally.went_bad += 1;
        self.say("disk goes bad", &[at as u64, kind as u64, ahead, u64::from(path == Path::new(LOG))]);
        let node = &mut self.nodes[at];
        node.bad = Some(node.bad.filter(|bad| *bad == Bad::Rotten).unwrap_or(bad));
    }

    /// Bits flip where something is; or a sector of the index, or all frames of the log, are zeros. (One frame alone
    /// may be missed: README, Limits.)
    fn rot(&mut self, disk: &CrashDisk, path: &Path) {
        let bytes = disk.read_raw(path).expect("each node has both files");
        let zeros = self.rng.odds(400);
        if zeros && path == Path::new(LOG) {
            let ring = &bytes[usize::try_from(HEAD_BYTES).expect("small")..];
            let written = ring.chunks(BLOCK_BYTES).filter(|block| block.iter().any(|byte| *byte != 0)).count();
            if written >= BLOCKS_OF_SOME_FRAMES {
                disk.write_raw(path, HEAD_BYTES, &vec![0; ring.len()]).expect("the ring is in the file");
            }
            return;
        }
        let places: Vec<_> = (0..LOOKS).map(|_| self.rng.below(bytes.len())).collect();
        let Some(at) = places.into_iter().find(|at| bytes[*at] != 0) else { return };
        let at = at as u64;
        let done = match zeros {
            true => disk.write_raw(path, at - at % SECTOR_BYTES, &[0; SECTOR_BYTES as usize]),
            false => disk.flip(path, at, 0x5A),
        };
        done.expect("the place is in the file");
    }

    /// The operator looks at a node. Whoever reads and writes in spite of damage is not looked at.
    pub fn operate(&mut self, at: usize) {
        let node = &self.nodes[at];
        let Some(bad) = node.bad.filter(|_| !node.retired) else { return };
        if bad == Bad::Struck {
            self.put_right(at);
        } else if node.store().is_none_or(|store| store.is_poisoned()) {
            self.restart(at);
            if self.nodes[at].store().is_none() {
                self.give_up(at);
            }
        }
    }

    /// The disk is good again, and the node is restarted. Where names were lost with the sync of a folder the file
    /// system has given up: the machine is restarted.
    fn put_right(&mut self, at: usize) {
        let disk = self.nodes[at].disk().clone();
        disk.heal();
        let machine = disk.names_lost() > 0 || self.rng.odds(300);
        self.say("put right", &[at as u64, u64::from(machine)]);
        self.end(at, if machine { Node::lose_power } else { Node::kill });
        // From here on it is held to everything.
        self.nodes[at].bad = None;
        self.start(at);
        self.tally.put_right += 1;
    }

    fn restart(&mut self, at: usize) {
        self.end(at, Node::kill);
        self.start(at);
    }

    /// Starts a node that is down. One that knows that it has forgotten something gives up its place at once.
    pub fn start(&mut self, at: usize) {
        self.nodes[at].start();
        if self.nodes[at].doubts() {
            self.give_up(at);
        }
    }

    /// The directory is given up: it is filled anew when all is healed.
    pub fn give_up(&mut self, at: usize) {
        self.tally.retired += 1;
        self.end(at, |node| {
            node.kill();
            node.retired = true;
        });
    }

    /// The weather ends, and the operator sees to every node.
    pub fn disks_are_good(&mut self) {
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            match node.bad.filter(|_| !node.retired) {
                None => {}
                Some(Bad::Struck) => self.put_right(at),
                Some(Bad::Rotten) => {
                    node.disk().heal();
                    self.restart(at);
                    // What is damaged is seen by whoever reads all of it.
                    if !self.nodes[at].retired && !self.nodes[at].is_whole() {
                        self.give_up(at);
                    }
                    self.nodes[at].bad = None;
                }
            }
        }
    }
}
