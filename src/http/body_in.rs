//! Bodies on their way in: received with limits, gathered into pieces, handed to the store.
//!
//! Invariants
//! - No byte is read before a permit is held, and no more than the permit's window is in memory:
//!   one piece at the store, one being gathered; or, when permits are short, one piece in all.
//! - A body that breaks off, falls silent, is longer than allowed or other than announced ends the
//!   upload: the store's handle is dropped, and nothing becomes visible.
//! - A client that waits for leave to send its body has it only once the head alone gives no reason to refuse.
//! - The store is told to finish only after the sender's last byte was counted, and the checksum that came with the body, if
//!   one did, was found to be that of all of it.

use super::errors::HttpError;
use super::pieces::{Gathering, LARGE_BUFFER_BYTES, Small};
use super::turnstile::Gate;
use super::{HttpSettings, Shared, Worker};
use crate::actors::messages::{
    AppendUpload, BeginUpload, FinishUpload, NewObject, PIECE_BYTES, PutSmall, Written, upload_holds,
};
use crate::base::{Budget, Condition, LARGE_BODY_BYTES, ObjectName, Permit};
use crate::seal::digest::{MD5_BYTES, Md5};
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

/// Most bytes of one upload that are in memory at once.
const WINDOW_BYTES: u64 = 2 * PIECE_BYTES as u64;
/// Least that a request's permit counts for its body.
const PERMIT_BYTES_MIN: u64 = 4096;
/// Bytes that are still read from a refused sender, so that the connection can be used again.
const SETTLE_BYTES_MAX: u64 = 64 * 1024;
/// For how long.
const SETTLE_TIME_MAX: Duration = Duration::from_millis(500);

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Where a body's bytes come from.
pub(super) trait Source {
    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError>;
}

/// A request's body, with its limits.
pub(super) struct Incoming {
    payload: Payload,
    announced: Option<u64>,
    /// Whether the head says where the body ends.
    framed: bool,
    seen: u64,
    max: u64,
    idle: Duration,
    /// What the body's MD5 must be, and what it is so far.
    md5: Option<([u8; MD5_BYTES], Md5)>,
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
    pub(super) fn new(req: &HttpRequest, payload: Payload, max: u64, idle: Duration) -> Self {
        let chunked = req.headers().contains_key(header::TRANSFER_ENCODING);
        let framed = chunked || req.headers().contains_key(header::CONTENT_LENGTH);
        let announced = match req.headers().get(header::CONTENT_LENGTH) {
            Some(value) if !chunked => value.to_str().ok().and_then(|text| text.trim().parse().ok()),
            None if !chunked => Some(0),
            _ => None,
        };
        let state = if announced == Some(0) { Reading::Ended } else { Reading::Open };
        let gate = req.conn_data::<Rc<Gate>>().cloned();
        Incoming { payload, announced, framed, seen: 0, max, idle, md5: None, state, gate }
    }

    /// Refuses a body that nobody can tell the end of: what was meant to be stored may stand behind this request, or
    /// not be there at all.
    pub(super) fn check_framed(&self) -> Result<(), HttpError> {
        if self.framed { Ok(()) } else { Err(HttpError::LengthRequired) }
    }

    /// Whether the client waits to hear that its body is wanted; it hears that when the first byte is asked for.
    pub(super) fn is_awaited(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.waits())
    }

    /// Holds the body, as it was sent, against the `Content-MD5` of its head (RFC 1864), if there is one. An empty body is held
    /// against it at once.
    pub(super) fn check_md5(&mut self, headers: &HeaderMap) -> Result<(), HttpError> {
        const WRONG: HttpError = HttpError::Header("Content-MD5 is the 16 bytes of an MD5 in base64");
        let Some(value) = headers.get(CONTENT_MD5) else { return Ok(()) };
        let bytes = BASE64_STANDARD.decode(value.as_bytes().trim_ascii()).map_err(|_| WRONG)?;
        let wanted = <[u8; MD5_BYTES]>::try_from(bytes).map_err(|_| WRONG)?;
        self.md5 = Some((wanted, Md5::default()));
        if self.state == Reading::Ended { self.end() } else { Ok(()) }
    }

    /// After the last byte.
    fn end(&mut self) -> Result<(), HttpError> {
        match self.md5.take() {
            Some((wanted, found)) if found.clone().finalize() != wanted => Err(HttpError::Digest),
            _ => Ok(()),
        }
    }

    /// Bytes that the client announced.
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// Bytes received so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// Refuses at once what is announced as too large.
    pub(super) fn check_announced(&self) -> Result<(), HttpError> {
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
    pub(super) async fn settle(mut self) -> Option<Payload> {
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

/// The right to move one body, and how.
pub(super) struct Window {
    permit: Permit,
    /// Whether a second piece may be in memory while the first one is worked on.
    pub(super) ahead: bool,
    /// Whether pieces may be large.
    large: bool,
}

/// A window for a body of that length, or the refusal. When permits are short a large body gets a
/// window of one piece: slower, but under way. When there are none, a body waits for its turn for `turn_max`.
pub(super) async fn window_for(budget: &Budget, len: Option<u64>, turn_max: Duration) -> Result<Window, HttpError> {
    window_beside(budget, len, 0, turn_max).await
}

/// The same where `more` bytes are held beside the window.
async fn window_beside(budget: &Budget, len: Option<u64>, more: u64, turn_max: Duration) -> Result<Window, HttpError> {
    let bytes = len.map_or(WINDOW_BYTES, |len| len.clamp(PERMIT_BYTES_MIN, WINDOW_BYTES));
    let first = !budget.is_waited_for();
    if first && let Some(permit) = budget.take(bytes + more) {
        return Ok(Window { permit, ahead: true, large: false });
    }
    let least = bytes.min(PIECE_BYTES as u64);
    let permit = claim(budget, least + more, turn_max).await?;
    Ok(Window { permit, ahead: least == bytes, large: false })
}

/// A permit for so many bytes, waited for; `SlowDown` at once where too many requests wait or work already.
pub(super) async fn claim(budget: &Budget, bytes: u64, turn_max: Duration) -> Result<Permit, HttpError> {
    match timeout(turn_max, budget.claim(bytes)).await {
        Ok(permit) => permit.ok_or(HttpError::SlowDown),
        Err(_) => {
            budget.refuse();
            Err(HttpError::SlowDown)
        }
    }
}

/// The same for a body to be stored. If `large`, a large one gets large pieces, which cost the processor less, as long as
/// others have room beside it: two, as one connection alone is faster with, or one, as many are as fast with. What does not
/// fit a record is written from memory of its own, which counts too.
pub(super) async fn upload_window_for(shared: &Shared, len: Option<u64>) -> Result<Window, HttpError> {
    let HttpSettings { inline_max, large_buffers, turn_max, .. } = *shared.settings;
    let more = if len.is_some_and(|len| len <= inline_max as u64) { 0 } else { upload_holds(len) };
    upload_window(&shared.budget, len, large_buffers, more, turn_max).await
}

async fn upload_window(
    budget: &Budget,
    len: Option<u64>,
    large: bool,
    more: u64,
    turn_max: Duration,
) -> Result<Window, HttpError> {
    const PIECE: u64 = LARGE_BUFFER_BYTES as u64;
    let large = large && len.is_some_and(|len| len >= LARGE_BODY_BYTES);
    let level = budget.level();
    for (pieces, part) in [(2, 16), (1, 2)] {
        if large
            && level.bytes + pieces * PIECE <= level.bytes_max / part
            && let Some(permit) = budget.take(pieces * PIECE)
        {
            return Ok(Window { permit, ahead: pieces > 1, large });
        }
    }
    window_beside(budget, len, more, turn_max).await
}

/// Stores all of `source` as one object. `len` is what the sender announced of it, if it did.
pub(super) async fn store<S: Source>(
    worker: &Worker,
    at: ObjectName,
    condition: Condition,
    head: NewObject,
    len: Option<u64>,
    window: Window,
    source: &mut S,
) -> Result<Written, HttpError> {
    let inline_max = worker.shared.settings.inline_max;
    let Window { permit, ahead, large } = window;
    let mut small = Small::default();
    // An announced large body is begun before it is read: a missing bucket or a full disk is told at once.
    if len.is_none_or(|len| len <= inline_max as u64) {
        loop {
            match source.next().await? {
                Some(chunk) => small.push(chunk),
                None => {
                    let put = PutSmall { at, condition, head, body: small.take(), permit: Some(permit) };
                    return Ok(worker.links.put_small.send(put).await??);
                }
            }
            if small.len() > inline_max {
                break;
            }
        }
    }
    let begin = BeginUpload { at, condition, head, len_hint: len, permit: Some(permit) };
    let mut upload = worker.links.begin_upload.send(begin).await??;
    let mut gathering = Gathering::after(small, len, large.then(|| worker.shared.large_memory.clone()));
    let mut ended = gathering.fill(source).await?;
    while !ended {
        // One piece is sealed and written while the next one is received: sending starts the work,
        // awaiting fetches its result.
        let data = gathering.take();
        let append = worker.links.append_upload.send(AppendUpload { upload, data });
        if ahead {
            ended = gathering.fill(source).await?;
            upload = append.await??;
        } else {
            upload = append.await??;
            ended = gathering.fill(source).await?;
        }
    }
    let data = gathering.take();
    // The last piece's memory goes when it is sealed, not when it is durable.
    drop(gathering);
    if !data.is_empty() {
        upload = worker.links.append_upload.send(AppendUpload { upload, data }).await??;
    }
    Ok(worker.links.finish_upload.send(FinishUpload { upload }).await??)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn short_permits_narrow_the_window_before_they_refuse() {
        let piece = PIECE_BYTES as u64;
        let budget = Budget::new(10, 4 * piece - 1);
        let first = window_for(&budget, None, AT_ONCE).await.unwrap();
        let second = window_for(&budget, Some(100 * piece), AT_ONCE).await.unwrap();
        assert_eq!((first.ahead, second.ahead), (true, false));
        assert!(window_for(&budget, None, AT_ONCE).await.is_err());
        let small = window_for(&budget, Some(100), AT_ONCE).await.unwrap();
        assert!(small.ahead);
        assert_eq!((budget.level().bytes, budget.level().refused), (3 * piece + PERMIT_BYTES_MIN, 1));
        drop((first, second, small));
        assert_eq!(budget.level().bytes, 0);
        let full = Budget::new(10, piece / 2);
        assert!(window_for(&full, Some(piece), AT_ONCE).await.is_err());
        assert!(window_for(&full, Some(piece / 2), AT_ONCE).await.unwrap().ahead);
    }

    #[tokio::test]
    async fn a_body_waits_for_its_turn() {
        let piece = PIECE_BYTES as u64;
        let budget = Budget::new(10, piece);
        let held = window_for(&budget, Some(piece), AT_ONCE).await.unwrap();
        let mut next = Box::pin(window_for(&budget, Some(piece), Duration::from_secs(60)));
        assert!(futures::poll!(&mut next).is_pending());
        drop(held);
        assert!(next.await.unwrap().ahead);
    }

    #[tokio::test]
    async fn large_bodies_get_large_pieces_while_there_is_room_for_others() {
        let piece = LARGE_BUFFER_BYTES as u64;
        let budget = Budget::new(100, 32 * piece);
        let window = async |len, large| upload_window(&budget, len, large, 7, AT_ONCE).await.unwrap();
        let mut windows = Vec::new();
        for _ in 0..20 {
            windows.push(window(Some(LARGE_BODY_BYTES), true).await);
        }
        let kinds: Vec<_> = windows.iter().map(|window| (window.large, window.ahead)).collect();
        assert_eq!(kinds[..1], [(true, true)], "a sixteenth of the bytes");
        assert_eq!(kinds[1..15], [(true, false); 14], "half of them");
        assert_eq!(kinds[15..], [(false, true); 5]);
        assert_eq!(budget.level().bytes, 16 * piece + 5 * (WINDOW_BYTES + 7));
        drop(windows);
        for (len, large) in [(Some(LARGE_BODY_BYTES), false), (Some(LARGE_BODY_BYTES - 1), true), (None, true)] {
            let plain = window(len, large).await;
            assert!(plain.ahead && !plain.large && budget.level().bytes == WINDOW_BYTES + 7, "{len:?}, {large}");
        }
    }
}
