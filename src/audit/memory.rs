//! What a node remembers of the audit logs of others, and of its own, so that a cut end is found.
//!
//! Invariants
//! - What is remembered only moves forward within a start of a node. After another start it moves on from where that one
//!   says that its log ended, if that is not before what was remembered; if it is, both are kept, and said.
//! - A start that was heard late changes nothing.
//! - It is sealed, for the names in it.

use crate::base::audit::HASH_BYTES;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{AuditHead, Incarnation, NodeName};
use crate::seal::keyring::{BoxError, Keyring};
use std::collections::BTreeMap;

const PLACE: &[u8] = b"boveda/audit-memory/v1";
const VERSION: u8 = 1;
/// Most nodes that are remembered: far more than a cluster has.
const NODES_MAX: usize = 1_024;
const FINDING_BYTES_MAX: usize = 512;

/// What a node says of its log with a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which life of its directory.
    pub incarnation: Incarnation,
    /// The number of its start.
    pub start: u64,
    /// Where its log ended when it was opened.
    pub opened: AuditHead,
    /// Where it ends now.
    pub head: AuditHead,
}

/// What is remembered of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Which life of its directory.
    pub incarnation: Incarnation,
    /// The number of the start that was heard last.
    pub start: u64,
    /// Where the log ended when the node was heard last.
    pub last: AuditHead,
    /// Where it ended when the start before was heard last.
    pub before: Option<AuditHead>,
    /// What is wrong with it.
    pub finding: Option<String>,
}

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    nodes: BTreeMap<NodeName, Remembered>,
    /// Where this node's own log ended when this was written.
    pub own: Option<AuditHead>,
}

impl Memory {
    /// A node says where its log ends. Whether anything is remembered otherwise by it; a finding if there is a new one.
    pub fn heard(&mut self, name: &NodeName, said: Said) -> (bool, Option<String>) {
        let fresh = Remembered {
            incarnation: said.incarnation,
            start: said.start,
            last: said.head,
            before: None,
            finding: None,
        };
        let Some(known) = self.nodes.get_mut(name) else {
            if self.nodes.len() < NODES_MAX {
                self.nodes.insert(name.clone(), fresh);
            }
            return (true, None);
        };
        if known.incarnation != said.incarnation && said.opened == AuditHead::NONE {
            // Another life of the node, in another directory: a log of its own. One whose directory was put back as it was
            // before gets another life too, and its log has lines.
            *known = fresh;
            return (true, None);
        }
        if known.incarnation == said.incarnation && said.start < known.start {
            return (false, None);
        }
        if known.start == said.start && known.incarnation == said.incarnation {
            let moved = said.head.sequence > known.last.sequence;
            if moved {
                known.last = said.head;
            }
            return (moved, None);
        }
        let finding = lost(known.last, said.opened);
        if finding.is_some() {
            known.finding.clone_from(&finding);
        }
        *known = Remembered { before: Some(known.last), finding: known.finding.take(), ..fresh };
        (true, finding)
    }

    /// What is remembered of a node.
    pub fn of(&self, name: &NodeName) -> Option<&Remembered> {
        self.nodes.get(name)
    }

    /// All nodes that are remembered.
    pub fn all(&self) -> impl Iterator<Item = (&NodeName, &Remembered)> {
        self.nodes.iter()
    }

    /// The operator has seen what was found of a node.
    pub fn accept(&mut self, name: &NodeName) -> Option<String> {
        self.nodes.get_mut(name).and_then(|known| known.finding.take())
    }

    /// The bytes of its file.
    pub fn seal(&self, ring: &Keyring) -> Vec<u8> {
        let mut w = Writer::default();
        w.u8(VERSION);
        write_head(&mut w, self.own);
        w.u32(u32::try_from(self.nodes.len()).expect("they are few"));
        for (name, known) in &self.nodes {
            w.text(name.as_str()).u64(known.incarnation.0).u64(known.start);
            write_head(&mut w, Some(known.last));
            write_head(&mut w, known.before);
            w.text(known.finding.as_deref().unwrap_or_default());
        }
        ring.seal_box(PLACE, &w.0)
    }

    /// Reads the bytes of its file.
    pub fn open(ring: &Keyring, sealed: &[u8]) -> Result<Self, BoxError> {
        Memory::decode(&ring.open_box(PLACE, sealed)?).map_err(|_| BoxError::Open)
    }

    /// Reads what was in the box.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        if r.u8()? != VERSION {
            return Err(CodecError::Value("version of what is remembered of audit logs"));
        }
        let own = read_head(&mut r)?;
        let count = r.u32()?;
        let mut nodes = BTreeMap::new();
        for _ in 0..count {
            let name =
                NodeName::parse(r.text(NodeName::BYTES_MAX, "node name")?).ok_or(CodecError::Value("node name"))?;
            let (incarnation, start) = (Incarnation(r.u64()?), r.u64()?);
            let last = read_head(&mut r)?.ok_or(CodecError::Value("end of an audit log"))?;
            let before = read_head(&mut r)?;
            let finding = Some(r.text(FINDING_BYTES_MAX, "finding")?.to_owned()).filter(|text| !text.is_empty());
            nodes.insert(name, Remembered { incarnation, start, last, before, finding });
        }
        r.end()?;
        Ok(Memory { nodes, own })
    }
}

/// Why a log that ended with `was` cannot have been opened with `opened` as its end.
pub fn lost(was: AuditHead, opened: AuditHead) -> Option<String> {
    if opened.sequence < was.sequence {
        return Some(format!(
            "its log ended with line {} when it was started, and had line {} before: {} lines or more are gone",
            opened.sequence,
            was.sequence,
            was.sequence - opened.sequence
        ));
    }
    (opened.sequence == was.sequence && opened.hash != was.hash)
        .then(|| format!("line {} of its log is another one than it was", was.sequence))
}

fn write_head(w: &mut Writer, head: Option<AuditHead>) {
    match head {
        None => {
            w.u8(0);
        }
        Some(head) => head.write(w.u8(1)),
    }
}

fn read_head(r: &mut Reader<'_>) -> Result<Option<AuditHead>, CodecError> {
    Ok(match r.flag("end of an audit log")? {
        false => None,
        true => Some(AuditHead::read(r)?),
    })
}

const _: () = assert!(HASH_BYTES == 32);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    fn head(sequence: u64, of: u8) -> AuditHead {
        AuditHead { sequence, hash: [of; 32] }
    }

    fn said(start: u64, opened: AuditHead, now: AuditHead) -> Said {
        Said { incarnation: Incarnation(7), start, opened, head: now }
    }

    #[test]
    fn a_cut_end_is_found_at_the_next_start_and_stays_found() {
        let name = NodeName::parse("n2").expect("a name");
        let mut memory = Memory::default();
        assert_eq!(memory.heard(&name, said(1, head(0, 0), head(5, 1))), (true, None));
        assert_eq!(memory.heard(&name, said(1, head(0, 0), head(9, 2))), (true, None));
        assert_eq!(memory.heard(&name, said(1, head(0, 0), head(6, 3))), (false, None), "heard late");
        assert_eq!(
            memory.heard(&name, said(2, head(10, 4), head(11, 5))),
            (true, None),
            "lines that nobody had heard of"
        );
        assert_eq!(memory.of(&name).and_then(|known| known.before), Some(head(9, 2)));
        assert_eq!(memory.heard(&name, said(1, head(0, 0), head(9, 2))), (false, None), "a start that is over");
        let (_, found) = memory.heard(&name, said(3, head(8, 6), head(20, 7)));
        assert!(found.is_some_and(|why| why.contains("3 lines or more are gone")));
        assert_eq!(memory.heard(&name, said(4, head(20, 7), head(21, 7))), (true, None));
        assert!(memory.of(&name).is_some_and(|known| known.finding.is_some()), "a later start does not wipe it out");
        let ring = Keyring::new(vec![(1, Secret::new([1; 32]))]).expect("a ring");
        assert_eq!(Memory::open(&ring, &memory.seal(&ring)), Ok(memory.clone()));
        assert!(memory.accept(&name).is_some() && memory.accept(&name).is_none());
        let (_, found) = memory.heard(&name, said(5, head(21, 9), head(22, 9)));
        assert!(found.is_some_and(|why| why.contains("another one")));
    }

    #[test]
    fn another_life_in_another_directory_begins_anew() {
        let name = NodeName::parse("n2").expect("a name");
        let mut memory = Memory::default();
        memory.heard(&name, said(4, head(0, 0), head(9, 1)));
        let other = Said { incarnation: Incarnation(8), ..said(1, AuditHead::NONE, head(2, 2)) };
        assert_eq!(memory.heard(&name, other), (true, None));
        // It gave up its incarnation and kept its directory: the log goes on.
        let kept = Said { incarnation: Incarnation(9), ..said(2, head(3, 2), head(4, 2)) };
        assert_eq!(memory.heard(&name, kept), (true, None));
        assert_eq!(memory.of(&name).and_then(|known| known.before), Some(head(2, 2)));
    }

    #[test]
    fn another_life_of_a_directory_that_was_put_back_does_not_hide_what_its_log_lost() {
        let name = NodeName::parse("n2").expect("a name");
        let mut memory = Memory::default();
        memory.heard(&name, said(2, head(4, 1), head(9, 1)));
        assert_eq!(memory.heard(&name, said(2, head(4, 1), head(5, 2))), (false, None), "the same start, as it seems");
        let reborn = Said { incarnation: Incarnation(8), ..said(2, head(6, 2), head(7, 2)) };
        let (_, found) = memory.heard(&name, reborn);
        assert!(found.is_some_and(|why| why.contains("3 lines or more are gone")));
        assert_eq!(memory.of(&name).and_then(|known| known.before), Some(head(9, 1)), "it is told what is remembered");
    }
}
