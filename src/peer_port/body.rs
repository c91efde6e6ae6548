//! The body of a peer's request, as it arrives.
//!
//! Invariants
//! - Every wait for a sender's bytes has an end, and no body may last for ever.
//! - No more is taken than was announced.

use crate::actors::peer::transfers::SMALL_BYTES_MAX;
use crate::wire::Refusal;
use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::rt::time::timeout;
use actix_web::web::Payload;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::time::{Duration, Instant};

/// Longest silence of a sender in the middle of a body.
const SILENT_MAX: Duration = Duration::from_secs(20);
/// Longest time for the rest of a small body that was refused.
const PASS_OVER_MAX: Duration = Duration::from_secs(5);

/// A body that arrives, and the time that it may still take.
pub(super) struct Body {
    payload: Payload,
    /// What has come and is not used yet.
    pub(super) have: BytesMut,
    until: Option<Instant>,
}

impl Body {
    pub(super) fn new(payload: Payload, last_max: Duration) -> Self {
        Body { payload, have: BytesMut::new(), until: Instant::now().checked_add(last_max) }
    }

    /// The next bytes of the sender; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        let left = self.until.map_or(SILENT_MAX, |until| until.saturating_duration_since(Instant::now()));
        match timeout(left.min(SILENT_MAX), self.payload.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
            Ok(Some(Err(_))) => Err(Refusal::Malformed),
            Err(_) => Err(Refusal::Slow),
        }
    }

    /// Reads on after a refusal, if little is left: a sender hears the answer once it has sent everything, and takes a
    /// connection that ends before for a peer that is lost. Whether all of it was read.
    pub(super) async fn is_passed_over(&mut self) -> bool {
        self.until = Instant::now().checked_add(PASS_OVER_MAX);
        let mut passed = 0;
        loop {
            match self.next().await {
                Ok(None) => return true,
                Ok(Some(bytes)) => passed += bytes.len() as u64,
                Err(_) => return false,
            }
            if passed > SMALL_BYTES_MAX {
                return false;
            }
        }
    }

    /// Waits until at least `len` bytes are here.
    pub(super) async fn gather(&mut self, len: usize) -> Result<(), Refusal> {
        while self.have.len() < len {
            let bytes = self.next().await?.ok_or(Refusal::Malformed)?;
            self.have.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// All of it, at most `max` bytes.
    pub(super) async fn whole(mut self, request: &HttpRequest, max: usize) -> Result<BytesMut, Refusal> {
        let announced = announced(request, max as u64)?;
        let announced = usize::try_from(announced).map_err(|_| Refusal::Malformed)?;
        self.have.reserve(announced.saturating_sub(self.have.len()));
        while let Some(bytes) = self.next().await? {
            if self.have.len() + bytes.len() > announced {
                return Err(Refusal::Malformed);
            }
            self.have.extend_from_slice(&bytes);
        }
        if self.have.len() == announced { Ok(self.have) } else { Err(Refusal::Malformed) }
    }
}

/// Peers always say how long a body is.
pub(super) fn announced(request: &HttpRequest, max: u64) -> Result<u64, Refusal> {
    let text = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).filter(|len| *len <= max).ok_or(Refusal::Malformed)
}
