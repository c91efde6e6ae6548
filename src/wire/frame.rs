//! Frames: a clear session number and counter, then sealed bytes.
//!
//! Invariants
//! - A frame's seal is bound to `place`: protocol, direction, path and session. The counter goes
//!   into the nonce. So a frame opens once, at the receiver and path it was made for.
//! - The session number is no secret and proves nothing; the seal does.

use super::{FRAME_BYTES_MAX, PROTOCOL};
use crate::base::codec::{CodecError, Reader, Writer};
use std::fmt;

/// Bytes in front of the sealed part: session and counter.
pub const CLEAR_BYTES: usize = 8 + 8;
/// Bytes of the length in front of a blob's head frame.
pub const BLOB_PREFIX_BYTES: usize = 4;

/// Names one session at the listener that made it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:016x})", self.0)
    }
}

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the node that opened the session.
    Request,
    /// From the listener back to the caller.
    Answer,
}

/// A frame as it lies in a request or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Which session's key opens it.
    pub session: SessionId,
    /// Higher with every request of the session; an answer repeats its request's.
    pub counter: u64,
    /// The sealed call or answer.
    pub sealed: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Only the clear part, from the first bytes of a body that has not arrived whole.
    pub fn peek(bytes: &[u8]) -> Result<(SessionId, u64), CodecError> {
        let mut r = Reader(bytes);
        Ok((SessionId(r.u64()?), r.u64()?))
    }

    /// Reads a whole frame; one beyond `FRAME_BYTES_MAX` is refused. Its seal is opened by whoever has the session.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, CodecError> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(CodecError::Value("frame length"));
        }
        let mut r = Reader(bytes);
        let (session, counter) = (SessionId(r.u64()?), r.u64()?);
        Ok(Frame { session, counter, sealed: r.0 })
    }

    /// The frame as it travels: 16 bytes in the clear, and what is sealed.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(CLEAR_BYTES + self.sealed.len()));
        w.u64(self.session.0).u64(self.counter).raw(self.sealed);
        w.0
    }
}

/// What the seal of a frame is bound to besides its counter.
pub fn place(way: Way, path: &str, session: SessionId) -> Vec<u8> {
    let way: &[u8] = match way {
        Way::Request => b"POST ",
        Way::Answer => b"answer ",
    };
    let mut w = Writer(Vec::with_capacity(64));
    w.raw(b"boveda peer ").u16(PROTOCOL).u64(session.0).raw(way).raw(path.as_bytes());
    w.0
}

/// The answer to a handshake: the session's number, then what `seal::session` made.
pub fn welcome(session: SessionId, proof: &[u8]) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(8 + proof.len()));
    w.u64(session.0).raw(proof);
    w.0
}

/// Reads the answer to a handshake.
pub fn read_welcome(bytes: &[u8]) -> Result<(SessionId, &[u8]), CodecError> {
    let mut r = Reader(bytes);
    Ok((SessionId(r.u64()?), r.0))
}

/// The bytes in front of a blob: the length of its head frame, and the frame.
pub fn blob_prefix(frame: &[u8]) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(BLOB_PREFIX_BYTES + frame.len()));
    w.bytes(frame);
    w.0
}

/// The length of the frame in front of a blob, or of many, from the first bytes of the body; at most `max`.
pub fn blob_prefix_len(bytes: &[u8], max: usize) -> Result<usize, CodecError> {
    let len = usize::try_from(Reader(bytes).u32()?).map_err(|_| CodecError::Value("blob head"))?;
    if (CLEAR_BYTES..=max).contains(&len) { Ok(len) } else { Err(CodecError::Value("blob head")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_limits() {
        let frame = Frame { session: SessionId(7), counter: 9, sealed: b"sealed bytes" };
        let bytes = frame.encode();
        assert_eq!(Frame::decode(&bytes), Ok(frame));
        assert_eq!(Frame::peek(&bytes), Ok((SessionId(7), 9)));
        for end in 0..CLEAR_BYTES {
            assert!(Frame::decode(&bytes[..end]).is_err(), "{end}");
            assert!(Frame::peek(&bytes[..end]).is_err(), "{end}");
        }
        assert!(Frame::decode(&vec![0; FRAME_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn places_differ_in_every_part() {
        let all = [
            place(Way::Request, "/a", SessionId(1)),
            place(Way::Answer, "/a", SessionId(1)),
            place(Way::Request, "/b", SessionId(1)),
            place(Way::Request, "/a", SessionId(2)),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a != b));
        }
    }

    #[test]
    fn blob_prefix_lengths_are_bounded() {
        assert_eq!(blob_prefix_len(&blob_prefix(&[0; 80]), 256), Ok(80));
        for bad in [0u32, 15, 257, u32::MAX] {
            assert!(blob_prefix_len(&bad.to_le_bytes(), 256).is_err(), "{bad}");
        }
        assert!(blob_prefix_len(&[80, 0, 0], 256).is_err());
    }
}
