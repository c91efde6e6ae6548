//! A reference to a body that lies in a blob: all that another node or a disk is held to.
//!
//! Invariant: who holds bytes of this length and digest holds the body, whoever they came from; no key is needed to
//! check.

use super::codec::{CodecError, Reader, Writer};
use super::ids::BodyId;

/// Names a blob and says what its bytes are. Travels between nodes in front of a blob (docs/protocol.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// The name of the blob, the same at all nodes.
    pub body: BodyId,
    /// Bytes of the sealed body.
    pub sealed_len: u64,
    /// BLAKE3 of all of them.
    pub digest: [u8; 32],
}

impl BlobRef {
    /// Bytes of an encoded reference.
    pub const BYTES: usize = 16 + 8 + 32;

    /// The reference in bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.0
    }

    /// Reads one reference and nothing behind it.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let blob = Self::read(&mut r)?;
        r.end()?;
        Ok(blob)
    }

    /// Appends the reference to what is being written.
    pub fn write(&self, w: &mut Writer) {
        w.raw(&self.body.0).u64(self.sealed_len).raw(&self.digest);
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(BlobRef { body: BodyId(r.array()?), sealed_len: r.u64()?, digest: r.array()? })
    }
}
