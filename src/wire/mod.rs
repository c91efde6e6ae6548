//! What peers say to each other: frames, calls and their answers, as bytes. Layout: docs/protocol.md.
//!
//! Invariants
//! - Decoding never panics, and takes no memory before a length was checked against a limit here.
//! - Everything that is encoded here decodes to the same value.
//! - What a frame's seal is bound to (its `place`) is written down once, for both sides.
//!
//! | file | what it encodes |
//! |---|---|
//! | `frame` | the clear head of a frame: session and counter |
//! | `bodies` | what stands in front of bodies that travel many to a request |
//! | `call` | what a peer is asked, and what it answers |
//! | `votes` | messages of coordinators and the answers of replicas, many to a call |
//! | `lists` | what a list shows of a range, in items or blocks |
//! | `parts` | what several messages are made of: lists, register keys, records, ballots, classes |
//! | `health` `keys` `audit` | parts of a heartbeat: how the node is, which key generations it opens, where audit logs end |
//! | `refusal` | why a listener did not do what was asked: the one thing that is said in the clear |

pub mod audit;
pub mod bodies;
pub mod call;
pub mod frame;
pub mod health;
pub mod keys;
pub mod lists;
mod parts;
pub mod refusal;
pub mod votes;

pub use audit::AuditNews;
pub use bodies::{BodiesHead, Taken};
pub use call::{Answer, Bring, Call, Offered, Pull, Pulse, Scan, Scanned, StreamHead, Wanted};
pub use frame::{Frame, SessionId, Way};
pub use health::{Health, ScrubState};
pub use keys::{Generation, KeyNews};
pub use lists::{Block, Blocks, Closed, Item, Show, Shown};
pub use refusal::Refusal;
pub use votes::{Vote, Voted};

use crate::base::record::{RECORD_BYTES_MAX, SMALL_SEALED_BYTES_MAX};
use crate::base::{BlobRef, PIECE_BYTES, RegisterKey};

/// The layout of frames, bound into every one. It is not the number of the peer protocol, which counts up with what is
/// said in frames: that is `seal::session::PROTOCOL_VERSION`, which the handshake carries, and by which peers of other
/// releases are told apart.
pub const PROTOCOL: u16 = 1;

/// Where the peer listener takes a handshake.
pub const HELLO_PATH: &str = "/peer/v1/hello";
/// Where the peer listener is asked which cluster this is.
pub const ORIGIN_PATH: &str = "/peer/v1/origin";
/// Where the peer listener takes calls.
pub const CALL_PATH: &str = "/peer/v1/call";
/// Where the peer listener takes blobs.
pub const BLOB_PATH: &str = "/peer/v1/blob";
/// Where the peer listener takes blobs whose length and digest show only at their end.
pub const STREAM_PATH: &str = "/peer/v1/stream";

/// Where the peer listener takes short bodies, many at once.
pub const BODIES_PATH: &str = "/peer/v1/bodies";

/// Most bytes of a sealed frame with its clear header, in either direction.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes of the records in one `Learn`; a single record may exceed it, and still fits a frame.
pub const LEARN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most sealed bytes of a blob in the answer to one `Pull`.
pub const PULL_BYTES_MAX: usize = 1024 * 1024;
/// Most branches in one `Tree`: their leaves fill one list.
pub const BRANCHES_MAX: usize = 16;
/// Most entries in one `Offer` and most records in one `Learn`.
pub const ENTRIES_MAX: usize = 1024;
/// Most bytes of a handshake message: `seal::session` makes and reads them, and has its own limit below this.
pub const HELLO_BYTES_MAX: usize = 1024;
/// Most bytes of the sealed frame in front of a blob.
pub const BLOB_HEAD_BYTES_MAX: usize = 256;
/// Most sealed bytes of a body that travels with others.
pub const SMALL_BODY_BYTES_MAX: u64 = PIECE_BYTES as u64 + 64 * 1024;
/// Most bodies that travel together, and most sealed bytes of them.
pub const BODIES_MAX: usize = 64;
/// See `BODIES_MAX`.
pub const BODIES_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most bytes of the sealed frame in front of them, with its clear header.
pub const BODIES_HEAD_BYTES_MAX: usize = frame::CLEAR_BYTES + 4 + BODIES_MAX * BlobRef::BYTES + SEAL_TAG_BYTES;
/// Bytes that sealing adds to a frame; whoever seals checks it.
pub const SEAL_TAG_BYTES: usize = 16;
/// Bytes of the sealed frame behind a streamed blob, with its clear header.
pub const STREAM_TRAILER_BYTES: usize = frame::CLEAR_BYTES + BlobRef::BYTES + SEAL_TAG_BYTES;
/// Most bytes of a version text.
pub const VERSION_BYTES_MAX: usize = 64;
/// Most bytes of the text in a failure.
pub const TEXT_BYTES_MAX: usize = 200;

/// Bytes of a call's tag and count, and of each entry's lengths: a generous allowance.
const SLACK_BYTES: usize = 64;
const _: () = assert!(
    LEARN_BYTES_MAX + RECORD_BYTES_MAX + SMALL_SEALED_BYTES_MAX + RegisterKey::BYTES_MAX + SLACK_BYTES
        < FRAME_BYTES_MAX
);
const _: () = assert!(PULL_BYTES_MAX + SLACK_BYTES < FRAME_BYTES_MAX);
const _: () = assert!(ENTRIES_MAX * (RegisterKey::BYTES_MAX + SLACK_BYTES) < FRAME_BYTES_MAX);

#[cfg(test)]
pub(crate) mod testing {
    //! Damage for decoders: every prefix, bit flips, and bytes from a seeded generator.

    /// A small generator with a seed, so that a failure can be run again.
    pub struct Noise(pub u64);

    impl Noise {
        /// The next number (xorshift), the same for the same seed.
        pub fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        /// A number below `bound`.
        pub fn below(&mut self, bound: usize) -> usize {
            usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
        }

        /// So many random bytes.
        pub fn bytes(&mut self, len: usize) -> Vec<u8> {
            (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
        }
    }

    /// Feeds every prefix, bit flips and noise to `decode`; `whole` must be refused when cut.
    pub fn batter(whole: &[u8], mut decode: impl FnMut(&[u8]) -> bool) {
        assert!(decode(whole), "the sample itself decodes");
        for end in 0..whole.len() {
            assert!(!decode(&whole[..end]), "cut at {end} of {}", whole.len());
        }
        assert!(!decode(&[whole, b"x"].concat()), "a byte more");
        for bit in 0..(whole.len() * 8).min(20_000) {
            let mut bad = whole.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            decode(&bad);
        }
        let mut noise = Noise(0x5eed_0001);
        for _ in 0..2_000 {
            let len = noise.below(400);
            let mut bytes = noise.bytes(len);
            decode(&bytes);
            // Noise behind a true beginning gets further into the decoder.
            let keep = noise.below(whole.len() + 1);
            bytes.splice(0..0, whole[..keep].iter().copied());
            decode(&bytes);
        }
    }
}
