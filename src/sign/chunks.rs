//! A body in chunks (`aws-chunked`), taken apart as it arrives, without I/O.
//!
//! ```text
//! body    = *chunk last *trailer CRLF
//! chunk   = SIZE [";chunk-signature=" SIGNATURE] CRLF  data CRLF      SIZE in hex
//! last    = "0" [";chunk-signature=" SIGNATURE] CRLF
//! trailer = NAME ":" VALUE CRLF                                      in the kinds with trailers alone
//! ```
//!
//! Invariants
//! - However the bytes are cut on their way, they mean the same.
//! - Each signature rests on the one before, the first on that of the head, and that of the trailers on the last chunk's:
//!   none can be left out, moved or said twice.
//! - A signed chunk of at most `HELD_BYTES_MAX` is handed out only once its signature fits. A larger one is handed out
//!   while it is hashed, and fails at its end: whoever takes it makes nothing visible before `end` is good.
//! - What is shorter or longer than announced, and what stands behind the end, is an error. An error stays one.
//! - Memory: one held chunk, one line, and `TRAILERS_MAX` trailers.

use super::body::Coding;
use super::sigv4::{Scope, Second, SigningKey, hex, signed, unhex};
use crate::seal::digest::constant_time_eq;
use crate::seal::hmac::{SHA256_BYTES, Sha256Stream, sha256};
use bytes::{Bytes, BytesMut};
use std::fmt::Write as _;
use std::sync::Arc;

/// Most bytes of a signed chunk that is held back until its signature fits.
pub const HELD_BYTES_MAX: u64 = 1 << 20;
/// Most bytes of the line before a chunk, with its end.
const HEAD_BYTES_MAX: usize = 128;
/// Most bytes of a trailer, with its end.
const TRAILER_BYTES_MAX: usize = 1024;
/// Most trailers, the signature among them.
const TRAILERS_MAX: usize = 16;
/// Most digits of a chunk's size.
const SIZE_DIGITS_MAX: usize = 16;
/// What is set aside at first for a chunk that is held, in bytes.
const HELD_BYTES_FIRST: u64 = 128 << 10;
/// The trailer that signs the others.
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Why a body in chunks is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The line before a chunk is too long, or has no size, or not the signature that it should have.
    #[error("a chunk begins with its size in hex, and with its signature where chunks are signed")]
    Head,
    /// No CRLF where one belongs.
    #[error("a line of the chunked body does not end in CRLF, or a chunk is longer than it says")]
    LineEnd,
    /// The chunks are shorter or longer in all than the head announces.
    #[error("the chunks are not as long as x-amz-decoded-content-length says")]
    Length,
    /// The body ends before its last chunk, or within the trailers.
    #[error("the chunked body is cut short")]
    Cut,
    /// There is something behind the end.
    #[error("something stands behind the end of the chunked body")]
    Surplus,
    /// The signature of a chunk does not fit.
    #[error("the signature of a chunk does not fit")]
    Signature,
    /// A trailer is no header line, is there twice, or there are too many.
    #[error("a chunked body has at most 16 trailers of 1 KiB, NAME:VALUE each, and no name twice")]
    Trailer,
    /// The signature of the trailers is missing, is not the last of them, or does not fit.
    #[error("the signature of the trailers (x-amz-trailer-signature) does not fit, or is not the last trailer")]
    TrailerSignature,
}

/// What the signatures of chunks rest on: the signature of the head, and what made it.
#[derive(Debug)]
pub struct Seed {
    /// What signed.
    pub key: Arc<SigningKey>,
    /// The time of the request.
    pub at: Second,
    /// What the key is for.
    pub scope: Scope,
    /// The signature of the head.
    pub signature: [u8; SHA256_BYTES],
}

impl Seed {
    /// The signature of a chunk behind another signature.
    pub fn of_chunk(&self, before: &[u8; SHA256_BYTES], data: &[u8; SHA256_BYTES]) -> [u8; SHA256_BYTES] {
        self.signed("AWS4-HMAC-SHA256-PAYLOAD", before, &format!("{}\n{}", hex(&sha256(b"")), hex(data)))
    }

    /// The signature of trailers behind the last chunk's. `trailers`: names in lower case.
    pub fn of_trailers(&self, before: &[u8; SHA256_BYTES], trailers: &[(String, String)]) -> [u8; SHA256_BYTES] {
        let mut lines: Vec<String> = trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        lines.sort();
        self.signed("AWS4-HMAC-SHA256-TRAILER", before, &hex(&sha256(lines.concat().as_bytes())))
    }

    fn signed(&self, what: &str, before: &[u8; SHA256_BYTES], rest: &str) -> [u8; SHA256_BYTES] {
        let Self { at, scope, .. } = self;
        let mut to_sign = format!("{what}\n{at}\n{scope}\n");
        let _ = write!(to_sign, "{}\n{rest}", hex(before));
        signed(&self.key, &to_sign)
    }
}

/// Where the decoder stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before or within the line before a chunk.
    Head,
    /// Within a chunk.
    Data {
        left: u64,
        signature: Option<[u8; SHA256_BYTES]>,
        is_held: bool,
    },
    /// Behind a chunk, before its CRLF.
    Gap,
    /// Behind the last chunk: trailers, and an empty line.
    Trailers,
    /// Behind all of it.
    End,
    Failed(ChunkError),
}

/// A decoder of one body.
#[derive(Debug)]
pub struct Chunks {
    coding: Coding,
    /// None where there is nobody whose signatures could be checked.
    seed: Option<Arc<Seed>>,
    /// The signature before.
    before: [u8; SHA256_BYTES],
    /// Bytes of all chunks: announced, and begun so far.
    len: u64,
    begun: u64,
    state: State,
    /// The line that is being read.
    line: Vec<u8>,
    held: BytesMut,
    hash: Sha256Stream,
    trailers: Vec<(String, String)>,
    trailer_signature: Option<[u8; SHA256_BYTES]>,
}

impl Chunks {
    /// A decoder of a body that has `len` bytes when it is taken apart. Without a seed, signatures have to be there and
    /// are not checked.
    pub fn new(coding: Coding, seed: Option<Arc<Seed>>, len: u64) -> Self {
        Chunks {
            coding,
            before: seed.as_ref().map_or([0; SHA256_BYTES], |seed| seed.signature),
            seed: seed.filter(|_| coding.is_signed),
            len,
            begun: 0,
            state: State::Head,
            line: Vec::new(),
            held: BytesMut::new(),
            hash: Sha256Stream::default(),
            trailers: Vec::new(),
            trailer_signature: None,
        }
    }

    /// Takes bytes off the front of `input`, and gives the next of the body; `None` once `input` is used up.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        while !input.is_empty() {
            match self.step(input) {
                Ok(None) => {}
                Ok(some) => return Ok(some),
                Err(why) => {
                    self.state = State::Failed(why);
                    self.held = BytesMut::new();
                    return Err(why);
                }
            }
        }
        Ok(None)
    }

    /// After the last byte: the trailers, names in lower case, without their signature.
    pub fn end(&self) -> Result<&[(String, String)], ChunkError> {
        match self.state {
            State::End => Ok(&self.trailers),
            State::Failed(why) => Err(why),
            _ => Err(ChunkError::Cut),
        }
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, ChunkError> {
        match self.state {
            State::Failed(why) => return Err(why),
            State::End => return Err(ChunkError::Surplus),
            State::Data { left, signature, is_held } => return self.data(input, left, signature, is_held),
            State::Head => {
                if let Some(line) = self.line(input, HEAD_BYTES_MAX, ChunkError::Head)? {
                    self.begin(&line)?;
                }
            }
            State::Gap => {
                if self.line(input, 2, ChunkError::LineEnd)?.is_some() {
                    self.state = State::Head;
                }
            }
            State::Trailers => {
                if let Some(line) = self.line(input, TRAILER_BYTES_MAX, ChunkError::Trailer)? {
                    self.trailer(&line)?;
                }
            }
        }
        Ok(None)
    }

    /// Reads on to the end of a line: the line without CRLF, once all of it is here. `long`: what one over `max` is.
    fn line(&mut self, input: &mut Bytes, max: usize, long: ChunkError) -> Result<Option<Vec<u8>>, ChunkError> {
        let found = memchr::memchr(b'\n', input);
        let taken = input.split_to(found.map_or(input.len(), |at| at + 1));
        if self.line.len() + taken.len() > max {
            return Err(long);
        }
        self.line.extend_from_slice(&taken);
        if found.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        if line.pop() != Some(b'\r') || line.contains(&b'\r') {
            return Err(ChunkError::LineEnd);
        }
        Ok(Some(line))
    }

    /// The line before a chunk.
    fn begin(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let text = std::str::from_utf8(line).map_err(|_| ChunkError::Head)?;
        let (size, signature) = match text.split_once(';') {
            Some((size, rest)) if self.coding.is_signed => {
                let signature = rest.strip_prefix("chunk-signature=").and_then(|text| unhex(text.as_bytes()));
                (size, Some(signature.ok_or(ChunkError::Head)?))
            }
            None if !self.coding.is_signed => (text, None),
            _ => return Err(ChunkError::Head),
        };
        let digits = (1..=SIZE_DIGITS_MAX).contains(&size.len()) && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| digits).ok_or(ChunkError::Head)?;
        self.begun = self.begun.checked_add(size).filter(|begun| *begun <= self.len).ok_or(ChunkError::Length)?;
        if size > 0 {
            let is_held = self.seed.is_some() && size <= HELD_BYTES_MAX;
            self.state = State::Data { left: size, signature, is_held };
            return Ok(());
        }
        if self.begun != self.len {
            return Err(ChunkError::Length);
        }
        self.check(signature)?;
        self.state = State::Trailers;
        Ok(())
    }

    /// Bytes of a chunk.
    fn data(
        &mut self,
        input: &mut Bytes,
        left: u64,
        signature: Option<[u8; SHA256_BYTES]>,
        is_held: bool,
    ) -> Result<Option<Bytes>, ChunkError> {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let piece = input.split_to(take);
        let left = left.saturating_sub(take as u64);
        if self.seed.is_some() {
            self.hash.update(&piece);
        }
        if left > 0 {
            self.state = State::Data { left, signature, is_held };
            if !is_held {
                return Ok(Some(piece));
            }
            if self.held.is_empty() {
                self.held.reserve(usize::try_from(left.min(HELD_BYTES_FIRST)).unwrap_or_default() + take);
            }
            self.held.extend_from_slice(&piece);
            return Ok(None);
        }
        self.check(signature)?;
        self.state = State::Gap;
        if self.held.is_empty() {
            return Ok(Some(piece));
        }
        self.held.extend_from_slice(&piece);
        Ok(Some(std::mem::take(&mut self.held).freeze()))
    }

    /// Holds the signature of a chunk against what it should be, at its end.
    fn check(&mut self, signature: Option<[u8; SHA256_BYTES]>) -> Result<(), ChunkError> {
        let (Some(seed), Some(signature)) = (&self.seed, signature) else { return Ok(()) };
        let wanted = seed.of_chunk(&self.before, &self.hash.take());
        if !constant_time_eq(&wanted, &signature) {
            return Err(ChunkError::Signature);
        }
        self.before = signature;
        Ok(())
    }

    /// A line behind the last chunk.
    fn trailer(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        if line.is_empty() {
            self.check_trailers()?;
            self.state = State::End;
            return Ok(());
        }
        if !self.coding.has_trailer {
            return Err(ChunkError::Surplus);
        }
        if self.trailer_signature.is_some() {
            return Err(ChunkError::TrailerSignature);
        }
        let is_text = |text: &str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        let text = std::str::from_utf8(line).ok().filter(|text| is_text(text)).ok_or(ChunkError::Trailer)?;
        let (name, value) = text.split_once(':').ok_or(ChunkError::Trailer)?;
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let (name, value) = (name.to_ascii_lowercase(), value.trim_matches(' ').to_owned());
        let known = self.trailers.iter().any(|(known, _)| *known == name);
        if name.is_empty() || !name.bytes().all(is_name) || known || self.trailers.len() + 1 > TRAILERS_MAX {
            return Err(ChunkError::Trailer);
        }
        if name == TRAILER_SIGNATURE && self.coding.is_signed {
            self.trailer_signature = Some(unhex(value.as_bytes()).ok_or(ChunkError::TrailerSignature)?);
        } else {
            self.trailers.push((name, value));
        }
        Ok(())
    }

    fn check_trailers(&self) -> Result<(), ChunkError> {
        if !self.coding.is_signed || !self.coding.has_trailer {
            return Ok(());
        }
        let signature = self.trailer_signature.ok_or(ChunkError::TrailerSignature)?;
        let fits = |seed: &Arc<Seed>| constant_time_eq(&seed.of_trailers(&self.before, &self.trailers), &signature);
        if self.seed.as_ref().is_none_or(fits) { Ok(()) } else { Err(ChunkError::TrailerSignature) }
    }
}

#[cfg(test)]
mod tests;
