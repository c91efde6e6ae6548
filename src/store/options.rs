//! Settings of a store.

use super::error::StoreError;
use super::places::{BODY_BYTES_MAX, SEGMENT_BYTES, SEGMENT_BYTES_SMALL};
use crate::seal::layout::Layout;
use std::time::Duration;

/// Settings of a store.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bodies up to this many bytes are logged with their records, and come to lie in segments.
    pub inline_max: usize,
    /// Larger bodies up to this many bytes lie in segments from the start; larger ones are files. 0: all are.
    pub segment_max: usize,
    /// Bytes of a segment, at most: see `bound_segments`.
    pub segment_bytes: u32,
    /// Bytes of the commit log's ring.
    pub log_bytes: u64,
    /// Bytes of the cache of opened records.
    pub cache_bytes: u64,
    /// Bytes of the index engine's own cache.
    pub index_cache_bytes: usize,
    /// Bytes of memory for large writes of large bodies; those that find none are written in smaller ones.
    pub large_write_bytes: u64,
    /// The index is brought up to the log when this much has gathered.
    pub checkpoint_bytes: u64,
    /// The index is brought up to the log at least this often while there is something to bring.
    pub checkpoint_interval: Duration,
    /// How long a blob that landed may wait for its record.
    pub orphan_grace: Duration,
    /// Writes stop when less than this is free.
    pub reserve_bytes: u64,
    /// Registers that a page of a list looks at, at most: those that it passes over cost time too.
    pub looks_max: usize,
    /// Whether the first bucket is made with the data directory; else it comes with the member list.
    pub first_bucket: bool,
    /// The clock, in milliseconds since 1970.
    pub now_ms: fn() -> u64,
    /// Hears of the first damage of the index (`Class::Corrupt`) and of its first other failure. What is to be done
    /// then is for whoever runs the store to say.
    pub index_failed: fn(&StoreError),
}

impl Options {
    /// Most bytes of a sealed body that is to lie in a segment.
    pub fn segment_sealed_max(&self) -> u64 {
        match self.segment_max {
            0 => 0,
            plain => Layout::default().sealed_len(plain as u64).unwrap_or(u64::MAX).min(u64::from(BODY_BYTES_MAX)),
        }
    }

    /// Makes segments so small that what is alive in one always finds room elsewhere: a quarter of the half of the
    /// reserve that is for that. And no longer than a file may be.
    pub(super) fn bound_segments(&mut self, file_len_max: Option<u64>) {
        let by_reserve = (self.reserve_bytes / 8).max(u64::from(SEGMENT_BYTES_SMALL));
        let most = by_reserve.min(file_len_max.unwrap_or(u64::MAX));
        self.segment_bytes = self.segment_bytes.min(u32::try_from(most).unwrap_or(u32::MAX));
    }

    /// What is set aside for the index beside the reserve, where others may fill the disk: a quarter of the reserve, and
    /// 32 MiB at most: what the index grows by in a checkpoint is less.
    pub fn ballast_bytes(&self) -> u64 {
        (self.reserve_bytes / 4).min(32 << 20)
    }

    /// What is kept free whatever the reserve is: twice a segment, if bodies come to lie in any.
    pub(super) fn kept_for_moves(&self) -> u64 {
        if self.segment_max == 0 && self.inline_max == 0 { 0 } else { 2 * u64::from(self.segment_bytes) }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            inline_max: 16 * 1024,
            segment_max: 512 << 10,
            segment_bytes: SEGMENT_BYTES,
            log_bytes: 64 << 20,
            cache_bytes: 32 << 20,
            index_cache_bytes: 32 << 20,
            large_write_bytes: 32 << 20,
            checkpoint_bytes: 16 << 20,
            checkpoint_interval: Duration::from_secs(1),
            orphan_grace: Duration::from_secs(3600),
            reserve_bytes: 256 << 20,
            looks_max: 4096,
            first_bucket: true,
            now_ms: system_ms,
            index_failed: |_| {},
        }
    }
}

/// The system's clock; 0 before 1970.
pub fn system_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|d| u64::try_from(d.as_millis()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alive_in_four_segments_finds_room_in_the_half_of_the_reserve_that_is_for_moves() {
        const MIB: u64 = 1 << 20;
        let bounded = |reserve_bytes, limit| {
            let mut options = Options { reserve_bytes, ..Options::default() };
            options.bound_segments(limit);
            u64::from(options.segment_bytes)
        };
        assert_eq!(bounded(Options::default().reserve_bytes, None), 32 * MIB);
        for reserve in [64 * MIB, 256 * MIB, 512 * MIB] {
            assert_eq!(4 * bounded(reserve, None), reserve / 2);
        }
        assert_eq!(bounded(1 << 40, None), 64 * MIB, "no more than that");
        assert_eq!(bounded(0, None), 8 * MIB, "nor less than this");
        assert_eq!(bounded(256 * MIB, Some(20 * MIB)), 20 * MIB, "what a file may have");
        let mut options = Options { reserve_bytes: 0, ..Options::default() };
        options.bound_segments(None);
        assert_eq!(options.kept_for_moves(), 16 * MIB, "whatever the reserve is");
    }
}
