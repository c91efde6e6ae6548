//! Where a chunk lies: the arithmetic of sealed bodies, without a key.
//!
//! Invariants
//! - Every plaintext length has exactly one sealed length, and no two share one.
//! - Every chunk is full except the last, which is strictly shorter and may be empty. So a body cut
//!   at a chunk border has an impossible length, and one cut elsewhere a last chunk that does not open.

use super::key::TAG_BYTES;

/// Bytes of the header before the first chunk.
pub const HEADER_BYTES: usize = 96;
/// Plaintext bytes of a full chunk, unless the header says otherwise.
pub const CHUNK_BYTES: usize = 1 << CHUNK_LOG2_DEFAULT;

pub(super) const CHUNK_LOG2_DEFAULT: u8 = 16;
const CHUNK_LOG2_MIN: u8 = 12;
const CHUNK_LOG2_MAX: u8 = 20;
const HEADER: u64 = HEADER_BYTES as u64;
const TAG: u64 = TAG_BYTES as u64;

/// How a body is cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    chunk_log2: u8,
}

impl Default for Layout {
    /// Chunks of `CHUNK_BYTES`: what this release seals with.
    fn default() -> Self {
        Layout { chunk_log2: CHUNK_LOG2_DEFAULT }
    }
}

impl Layout {
    /// Chunks of two to the power of `log2` plaintext bytes; `None` outside the format's range.
    pub fn from_log2(log2: u8) -> Option<Self> {
        (CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX).contains(&log2).then_some(Layout { chunk_log2: log2 })
    }

    /// The logarithm that the header holds.
    pub fn chunk_log2(self) -> u8 {
        self.chunk_log2
    }

    /// Plaintext bytes of a full chunk.
    pub fn chunk_bytes(self) -> usize {
        1 << self.chunk_log2
    }

    /// How many chunks a plaintext of `len` bytes has: at least one.
    pub fn chunks(self, len: u64) -> u64 {
        (len >> self.chunk_log2) + 1
    }

    /// Which chunk holds the plaintext byte at `offset`.
    pub fn chunk_of(self, offset: u64) -> u64 {
        offset >> self.chunk_log2
    }

    /// Where chunk `index` begins in the plaintext; `None` when that is no 64-bit number.
    pub fn plain_at(self, index: u64) -> Option<u64> {
        index.checked_mul(1 << self.chunk_log2)
    }

    /// Where chunk `index` begins in the sealed body; `None` when that is no 64-bit number.
    pub fn sealed_at(self, index: u64) -> Option<u64> {
        index.checked_mul(self.sealed_chunk())?.checked_add(HEADER)
    }

    /// Plaintext bytes of chunk `index` of a body of `len` plaintext bytes; `None` when it has no such chunk.
    pub fn chunk_len(self, len: u64, index: u64) -> Option<usize> {
        if index >= self.chunks(len) {
            return None;
        }
        let left = len.checked_sub(self.plain_at(index)?)?;
        Some(usize::try_from(left).unwrap_or(usize::MAX).min(self.chunk_bytes()))
    }

    /// Bytes of the sealed body of `len` plaintext bytes; `None` when that is no 64-bit number.
    pub fn sealed_len(self, len: u64) -> Option<u64> {
        self.chunks(len).checked_mul(TAG)?.checked_add(len)?.checked_add(HEADER)
    }

    /// Bytes of plaintext in a sealed body of `sealed` bytes; `None` when no body has that length.
    pub fn plain_len(self, sealed: u64) -> Option<u64> {
        let chunks = sealed.checked_sub(HEADER)?;
        let full = chunks / self.sealed_chunk();
        let last = (chunks % self.sealed_chunk()).checked_sub(TAG)?;
        self.plain_at(full)?.checked_add(last)
    }

    fn sealed_chunk(self) -> u64 {
        (1 << self.chunk_log2) + TAG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_map_both_ways_around_every_border() {
        for log2 in CHUNK_LOG2_MIN..=CHUNK_LOG2_MAX {
            let layout = Layout::from_log2(log2).unwrap();
            let chunk = layout.chunk_bytes() as u64;
            let mut last_sealed = 0;
            for len in (0..4).flat_map(|k| [k * chunk, k * chunk + 1, k * chunk + chunk - 1]) {
                let sealed = layout.sealed_len(len).unwrap();
                assert!(sealed > last_sealed);
                last_sealed = sealed;
                assert_eq!(layout.plain_len(sealed), Some(len));
                // The chunks, laid end to end, are the sealed body.
                let mut at = HEADER;
                let mut plain = 0;
                for i in 0..layout.chunks(len) {
                    assert_eq!(layout.sealed_at(i), Some(at));
                    assert_eq!(layout.plain_at(i), Some(plain));
                    let bytes = layout.chunk_len(len, i).unwrap() as u64;
                    let is_last = i + 1 == layout.chunks(len);
                    assert_eq!(bytes < chunk, is_last, "len {len}, chunk {i}");
                    at += bytes + TAG;
                    plain += bytes;
                }
                assert_eq!((at, plain), (sealed, len));
                assert_eq!(layout.chunk_len(len, layout.chunks(len)), None);
            }
        }
    }

    #[test]
    fn every_offset_lies_in_its_chunk() {
        let layout = Layout::default();
        let chunk = CHUNK_BYTES as u64;
        for (offset, index) in [(0, 0), (chunk - 1, 0), (chunk, 1), (chunk + 1, 1), (2 * chunk - 1, 1), (2 * chunk, 2)]
        {
            assert_eq!(layout.chunk_of(offset), index, "{offset}");
        }
    }

    #[test]
    fn impossible_lengths() {
        let layout = Layout::default();
        let one_full = HEADER + layout.sealed_chunk();
        for sealed in (0..HEADER + TAG).chain(one_full..one_full + TAG) {
            assert_eq!(layout.plain_len(sealed), None, "{sealed}");
        }
        assert_eq!(layout.plain_len(HEADER + TAG), Some(0));
        assert_eq!(layout.plain_len(one_full + TAG), Some(CHUNK_BYTES as u64));
    }

    #[test]
    fn nothing_overflows() {
        for log2 in [CHUNK_LOG2_MIN, CHUNK_LOG2_DEFAULT, CHUNK_LOG2_MAX] {
            let layout = Layout::from_log2(log2).unwrap();
            assert_eq!(layout.sealed_len(u64::MAX), None);
            assert_eq!(layout.sealed_at(u64::MAX), None);
            assert_eq!(layout.plain_at(u64::MAX), None);
            assert_eq!(layout.chunk_len(u64::MAX, u64::MAX), None);
            let _ = layout.plain_len(u64::MAX);
            assert!(layout.chunks(u64::MAX) > 1);
        }
        assert_eq!(Layout::from_log2(CHUNK_LOG2_MIN - 1), None);
        assert_eq!(Layout::from_log2(CHUNK_LOG2_MAX + 1), None);
        assert_eq!(Layout::from_log2(u8::MAX), None);
    }
}
