//! The body of a request, received with its limits.
//!
//! Invariants
//! - A body that breaks off, falls silent, is longer than allowed or other than announced is an error, and stays one.
//! - A client that waits for leave to send its body has it only once the first byte is asked for.
//! - The end is told only after the sender's last byte was counted, and the checksum that came with the body, if one
//!   did, was found to be that of all of it.

use super::errors::HttpError;
use super::problem::Kind;
use super::source::Source;
use super::turnstile::Gate;
use crate::seal::digest::{MD5_BYTES, Md5};
use crate::seal::hmac::{SHA256_BYTES, Sha256Stream};
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap, HeaderName};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::timeout;

/// Bytes that are still read from a refused sender, so that the connection can be used again.
const SETTLE_BYTES_MAX: u64 = 64 * 1024;
/// Longest time for which they are read.
const SETTLE_TIME_MAX: Duration = Duration::from_millis(500);

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// A request's body, with its limits.
pub struct Incoming {
    payload: Payload,
    announced: Option<u64>,
    /// Whether the head says where the body ends.
    framed: bool,
    seen: u64,
    max: u64,
    idle: Duration,
    /// What the body's MD5 must be, and what it is so far.
    md5: Option<([u8; MD5_BYTES], Md5)>,
    /// The same of its SHA-256.
    sha256: Option<([u8; SHA256_BYTES], Sha256Stream)>,
    state: Reading,
    /// To be told when the body is wanted.
    gate: Option<Rc<Gate>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Open,
    Ended,
    Failed,
}

impl Incoming {
    pub fn new(req: &HttpRequest, payload: Payload, max: u64, idle: Duration) -> Self {
        let chunked = req.headers().contains_key(header::TRANSFER_ENCODING);
        let framed = chunked || req.headers().contains_key(header::CONTENT_LENGTH);
        let announced = match req.headers().get(header::CONTENT_LENGTH) {
            Some(value) if !chunked => value.to_str().ok().and_then(|text| text.trim().parse().ok()),
            None if !chunked => Some(0),
            _ => None,
        };
        let state = if announced == Some(0) { Reading::Ended } else { Reading::Open };
        let gate = req.conn_data::<Rc<Gate>>().cloned();
        Incoming { payload, announced, framed, seen: 0, max, idle, md5: None, sha256: None, state, gate }
    }

    /// Refuses a body that nobody can tell the end of: what was meant to be stored may stand behind this request, or
    /// not be there at all.
    pub fn check_framed(&self) -> Result<(), HttpError> {
        if self.framed { Ok(()) } else { Err(HttpError::LengthRequired) }
    }

    /// Whether the client waits to hear that its body is wanted; it hears that when the first byte is asked for.
    pub fn is_awaited(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.waits())
    }

    /// Holds the body, as it was sent, against the `Content-MD5` of its head (RFC 1864), if there is one. An empty body
    /// is held against it at once.
    pub fn check_md5(&mut self, headers: &HeaderMap) -> Result<(), HttpError> {
        const WRONG: HttpError = HttpError::Refused(Kind::Md5Header);
        let Some(value) = headers.get(CONTENT_MD5) else { return Ok(()) };
        let bytes = BASE64_STANDARD.decode(value.as_bytes().trim_ascii()).map_err(|_| WRONG)?;
        let wanted = <[u8; MD5_BYTES]>::try_from(bytes).map_err(|_| WRONG)?;
        self.md5 = Some((wanted, Md5::default()));
        if self.state == Reading::Ended { self.end() } else { Ok(()) }
    }

    /// Holds the body, as it was sent, against the SHA-256 that its head was signed with. An empty body is held against it
    /// at once.
    pub fn check_sha256(&mut self, wanted: [u8; SHA256_BYTES]) -> Result<(), HttpError> {
        self.sha256 = Some((wanted, Sha256Stream::default()));
        if self.state == Reading::Ended { self.end() } else { Ok(()) }
    }

    /// After the last byte.
    fn end(&mut self) -> Result<(), HttpError> {
        match self.md5.take() {
            Some((wanted, found)) if found.clone().finalize() != wanted => return Err(HttpError::Digest),
            _ => {}
        }
        let Some((wanted, mut found)) = self.sha256.take() else { return Ok(()) };
        if found.take() == wanted { Ok(()) } else { Err(HttpError::Refused(Kind::SignedDigest)) }
    }

    /// Bytes that the client announced.
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Bytes received so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes no more than this many bytes either.
    pub fn limit(&mut self, max: u64) {
        self.max = self.max.min(max);
    }

    /// Refuses at once what is announced as too large.
    pub fn check_announced(&self) -> Result<(), HttpError> {
        if self.announced.is_some_and(|len| len > self.max) {
            return Err(HttpError::TooLarge { max: self.max });
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, HttpError> {
        if self.state == Reading::Ended {
            return Ok(None);
        }
        if let Some(gate) = &self.gate {
            gate.want_body();
        }
        match timeout(self.idle, self.payload.next()).await.map_err(|_| HttpError::Silent)? {
            Some(Ok(chunk)) => {
                self.seen = self.seen.saturating_add(chunk.len() as u64);
                if self.seen > self.max {
                    return Err(HttpError::TooLarge { max: self.max });
                }
                if let Some((_, md5)) = &mut self.md5 {
                    md5.update(&chunk);
                }
                if let Some((_, sha256)) = &mut self.sha256 {
                    sha256.update(&chunk);
                }
                Ok(Some(chunk))
            }
            Some(Err(cause)) => Err(HttpError::BrokenBody(cause)),
            None if self.announced.is_some_and(|len| len != self.seen) => Err(HttpError::BodyLength),
            None => {
                self.state = Reading::Ended;
                self.end()?;
                Ok(None)
            }
        }
    }

    /// After an answer is ready: reads what little may be left, so that the connection can be used
    /// again. A body that does not end within the bounds comes back and must live as long as the
    /// answer: it tells the server to close the connection gently instead of reading for ever.
    pub async fn settle(mut self) -> Option<Payload> {
        // Who waits for leave to send is refused instead, and may not send at all.
        if self.state == Reading::Open && !self.is_awaited() {
            let most = self.seen + SETTLE_BYTES_MAX;
            if self.announced.is_some_and(|len| len > most) {
                return Some(self.payload);
            }
            self.max = most;
            let rest = async { while let Ok(Some(_)) = self.next().await {} };
            let _ = timeout(SETTLE_TIME_MAX, rest).await;
        }
        (self.state != Reading::Ended).then_some(self.payload)
    }
}

impl Source for Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        if self.state == Reading::Failed {
            return Err(HttpError::BodyLength);
        }
        let result = self.receive().await;
        // A body that has ended stays so, whatever it was found to be: the connection can be used again.
        if result.is_err() && self.state != Reading::Ended {
            self.state = Reading::Failed;
        }
        result
    }
}
