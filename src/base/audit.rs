//! Where an audit log ends, as nodes tell each other and remember of each other.

use super::codec::{CodecError, Reader, Writer};
use std::fmt;

/// Bytes of the hash of a line.
pub const HASH_BYTES: usize = 32;

/// The end of an audit log: the number of its last line, and the hash of that line, into which all lines before it went.
/// Of a log without a line both are zero.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditHead {
    /// The number of the line; the first one has 1.
    pub sequence: u64,
    /// Its hash.
    pub hash: [u8; HASH_BYTES],
}

impl AuditHead {
    /// Bytes of it.
    pub const BYTES: usize = 8 + HASH_BYTES;
    /// The end of a log that has no line.
    pub const NONE: AuditHead = AuditHead { sequence: 0, hash: [0; HASH_BYTES] };

    /// Appends it to what is written.
    pub fn write(&self, w: &mut Writer) {
        w.u64(self.sequence).raw(&self.hash);
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(AuditHead { sequence: r.u64()?, hash: r.array()? })
    }

    /// The hash in hexadecimal digits.
    pub fn hash_text(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash_text())
    }
}
