//! What a machine can run out of that a node needs, besides the bytes above its reserve.

use serde::Serialize;

/// Something that the system does not give any more, or that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortage {
    /// The volume has no inodes left: it takes no more files, whatever bytes are free.
    Inodes,
    /// A file would be longer than this process may make one (`ulimit -f`).
    FileSize,
    /// This process, or the machine, may not open more files at the moment (`ulimit -n`).
    OpenFiles,
    /// The volume is smaller than the reserve: it can never take a write.
    SmallVolume,
    /// The data directory is not the one that was opened: its volume was unmounted.
    Volume,
}

impl Shortage {
    /// All of them, for whoever counts each.
    pub const ALL: [Shortage; 5] =
        [Shortage::Inodes, Shortage::FileSize, Shortage::OpenFiles, Shortage::SmallVolume, Shortage::Volume];

    /// Its name in `/readyz`, status and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Shortage::Inodes => "inodes",
            Shortage::FileSize => "file_size",
            Shortage::OpenFiles => "open_files",
            Shortage::SmallVolume => "small_volume",
            Shortage::Volume => "volume",
        }
    }

    /// What it is and what to do about it, for the operator.
    pub fn why(self) -> &'static str {
        match self {
            Shortage::Inodes => {
                "the volume has no inodes left: bodies that need a file get 507 although bytes are free; delete objects, or make the file system anew with more inodes"
            }
            Shortage::FileSize => {
                "the file size limit of this process (ulimit -f) is reached: what needs a longer file gets 507; raise the limit and restart the node"
            }
            Shortage::OpenFiles => {
                "this process may not open more files (ulimit -n): what needs one gets 503; raise the limit, or send less at once"
            }
            Shortage::SmallVolume => {
                "the volume is smaller than store.reserve_bytes: every write gets 507; use a larger volume, or lower the reserve"
            }
            Shortage::Volume => {
                "the data directory is not the one that was opened, its volume is gone: mount it again, then restart the node"
            }
        }
    }
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.why())
    }
}
