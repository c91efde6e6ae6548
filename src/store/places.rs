//! Where bodies lie: places in segments, and how much of each segment is named.
//!
//! Invariant: of a segment as much is live as the places take that something names; the rest of its file is dead.

use std::collections::BTreeMap;

/// Most bytes of a sealed body in a segment, whatever the setting says.
pub const BODY_BYTES_MAX: u32 = 4 << 20;
/// Most bytes of a segment, as a rule: see `Options::segment_bytes`.
pub const SEGMENT_BYTES: u32 = 64 << 20;
/// A reserve makes a segment no smaller than this.
pub const SEGMENT_BYTES_SMALL: u32 = 8 << 20;
/// Bytes of a segment before its first entry.
pub const SEGMENT_HEAD_BYTES: u64 = 4096;
/// Bytes of an entry before its body.
pub const ENTRY_HEAD_BYTES: usize = 64;

/// The number of a segment, and of its file: never given twice in one data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u32);

impl SegmentId {
    /// The name of its file.
    pub fn file_name(self) -> String {
        format!("{:08}", self.0)
    }

    /// Reads what `file_name` made, and nothing else.
    pub fn from_file_name(name: &str) -> Option<Self> {
        name.parse().ok().map(SegmentId).filter(|segment| segment.file_name() == name)
    }
}

/// Where a body lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// In which segment.
    pub segment: SegmentId,
    /// Where its entry begins, in bytes.
    pub offset: u32,
    /// Bytes of the sealed body.
    pub len: u32,
}

impl Place {
    /// Where the sealed body begins.
    pub fn body_at(&self) -> u64 {
        u64::from(self.offset) + ENTRY_HEAD_BYTES as u64
    }

    /// Where the entry ends.
    pub fn end(&self) -> u64 {
        self.body_at() + u64::from(self.len)
    }

    /// Bytes of the entry.
    pub fn bytes(&self) -> u64 {
        ENTRY_HEAD_BYTES as u64 + u64::from(self.len)
    }
}

/// What is named of one segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the entries that something names.
    pub live: u64,
    /// Where the last of all that were ever named ends.
    pub end: u64,
}

impl Usage {
    /// Something is named there.
    pub fn add(&mut self, place: Place) {
        self.live += place.bytes();
        self.end = self.end.max(place.end());
    }
}

/// What is named of each segment.
pub type Usages = BTreeMap<SegmentId, Usage>;

/// A body that lay at `was` lies at `now`.
pub fn moved(usages: &mut Usages, was: Option<Place>, now: Option<Place>) {
    if let Some(was) = was
        && let Some(usage) = usages.get_mut(&was.segment)
    {
        usage.live = usage.live.saturating_sub(was.bytes());
    }
    if let Some(now) = now {
        usages.entry(now.segment).or_default().add(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_is_live_in_one_segment_alone() {
        let place = |segment, offset| Place { segment: SegmentId(segment), offset, len: 36 };
        let mut usages = Usages::new();
        moved(&mut usages, None, Some(place(1, 4096)));
        moved(&mut usages, None, Some(place(1, 4196)));
        assert_eq!(usages[&SegmentId(1)], Usage { live: 200, end: 4296 });
        moved(&mut usages, Some(place(1, 4196)), Some(place(2, 4096)));
        assert_eq!(usages[&SegmentId(1)], Usage { live: 100, end: 4296 });
        assert_eq!(usages[&SegmentId(2)], Usage { live: 100, end: 4196 });
        moved(&mut usages, Some(place(2, 4096)), None);
        assert_eq!(usages[&SegmentId(2)].live, 0);
    }

    #[test]
    fn names_of_files_are_read_as_they_are_written() {
        assert_eq!(SegmentId(7).file_name(), "00000007");
        assert_eq!(SegmentId::from_file_name("00000007"), Some(SegmentId(7)));
        assert_eq!(SegmentId::from_file_name(&SegmentId(100_000_000).file_name()), Some(SegmentId(100_000_000)));
        for other in ["7", "0000007", "+0000007", "00000007.staged", "0000000a", "99999999999"] {
            assert_eq!(SegmentId::from_file_name(other), None, "{other}");
        }
    }
}
