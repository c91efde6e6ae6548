//! The peer listener: handshakes, calls and blobs of the other nodes.
//!
//! Invariants
//! - No body is kept before its session is known, its counter fresh and a permit taken for its bytes.
//! - Every wait for a sender's bytes has an end, and no body may last for ever.
//! - What the gate opened is answered sealed; what it did not open is answered with a clear refusal,
//!   and the connection is closed, since an unread body may stand in it.

use crate::actors::messages::StoreError;
use crate::actors::messages::{
    Announced, AppendIncoming, BeginIncoming, FinishIncoming, Incoming, PIECE_BYTES, Purpose,
};
use crate::actors::peer::answers::{answer, failure};
use crate::actors::peer::arrivals::Arriving;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::sessions::{Admitted, Coming, PeerGate};
use crate::actors::peer::store::{StoreRecipients, ask};
use crate::actors::peer::transfers::SMALL_BYTES_MAX;
use crate::actors::peer::vitals::Counts;
use crate::base::Class;
use crate::wire::frame::{BLOB_PREFIX_BYTES, CLEAR_BYTES, blob_prefix_len};
use crate::wire::{Answer, BLOB_HEAD_BYTES_MAX, BLOB_PATH, BlobHead, CALL_PATH, Call, FRAME_BYTES_MAX, Frame};
use crate::wire::{
    HELLO_BYTES_MAX, HELLO_PATH, LEARN_BYTES_MAX, Refusal, SEAL_TAG_BYTES, STREAM_PATH, STREAM_TRAILER_BYTES,
    StreamHead,
};
use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::rt::time::timeout;
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest silence of a sender in the middle of a body.
const SILENT_MAX: Duration = Duration::from_secs(20);
/// Longest time that a call's body may take.
const CALL_BODY_MAX: Duration = Duration::from_secs(60);
/// Longest time for the rest of a small body that was refused.
const PASS_OVER_MAX: Duration = Duration::from_secs(5);
/// Longest time for a request's head.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Idle sockets are kept longer than the peers' clients keep them, so that the client closes first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Most sockets at once, over all workers.
const SOCKETS_MAX: usize = 512;
/// Most bytes of the answer to a call, for which no other permit stands.
const ANSWER_BYTES_MAX: u64 = LEARN_BYTES_MAX as u64;

/// What a blob of that length holds in memory, at most: a gathered piece, and one being written.
fn holds(sealed_len: u64) -> u64 {
    2 * sealed_len.saturating_add(BLOCK_BYTES).min(PIECE_BYTES as u64)
}

/// What the last block of a file is filled up to.
const BLOCK_BYTES: u64 = 4096;

/// Serves peers on a bound listener. `store` is called once on each worker, on its own arbiter.
/// Signals are left to whoever owns the process.
pub fn serve<F>(listener: TcpListener, gate: Arc<PeerGate>, store: F, workers: usize) -> io::Result<Server>
where
    F: Fn() -> StoreRecipients + Send + Clone + 'static,
{
    let workers = workers.max(1);
    let app = move || {
        App::new()
            .app_data(Data::from(Arc::clone(&gate)))
            .app_data(Data::new(store()))
            .route(HELLO_PATH, web::post().to(hello))
            .route(CALL_PATH, web::post().to(call))
            .route(BLOB_PATH, web::post().to(blob))
            .route(STREAM_PATH, web::post().to(stream))
            .default_service(web::to(|| async { HttpResponse::NotFound().force_close().finish() }))
    };
    let server = HttpServer::new(app)
        .workers(workers)
        .max_connections(SOCKETS_MAX / workers)
        .client_request_timeout(HEAD_MAX)
        .keep_alive(KEEP_ALIVE)
        .tcp_nodelay(true)
        .shutdown_timeout(5)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

async fn hello(request: HttpRequest, body: Payload, gate: Data<PeerGate>) -> HttpResponse {
    let answered = match Body::new(body, CALL_BODY_MAX).whole(&request, HELLO_BYTES_MAX).await {
        Ok(hello) => gate.hello(&hello),
        Err(refusal) => Err(refusal),
    };
    respond(&request, &gate, answered)
}

async fn call(request: HttpRequest, body: Payload, gate: Data<PeerGate>, store: Data<StoreRecipients>) -> HttpResponse {
    let answered = try_call(&request, body, &gate, &store).await;
    respond(&request, &gate, answered)
}

async fn try_call(
    request: &HttpRequest,
    body: Payload,
    gate: &PeerGate,
    store: &StoreRecipients,
) -> Result<Vec<u8>, Refusal> {
    let len = announced(request, FRAME_BYTES_MAX as u64)?;
    let mut body = Body::new(body, CALL_BODY_MAX);
    body.gather(CLEAR_BYTES).await?;
    let (session, counter) = Frame::peek(&body.have).map_err(|_| Refusal::Malformed)?;
    let admitted = gate.admit(session, counter, len + ANSWER_BYTES_MAX).await?;
    let bytes = body.whole(request, FRAME_BYTES_MAX).await?;
    let frame = Frame::decode(&bytes).map_err(|_| Refusal::Malformed)?;
    let plain = gate.open(&admitted, CALL_PATH, &frame)?;
    let answer = match Call::decode(&plain) {
        Ok(call) => answer(gate, store, &admitted, call).await,
        Err(error) => Answer::failed(Class::Invalid, &error.to_string()),
    };
    Ok(admitted.answer(CALL_PATH, frame.counter, &answer))
}

async fn blob(request: HttpRequest, body: Payload, gate: Data<PeerGate>, store: Data<StoreRecipients>) -> HttpResponse {
    let answered = try_blob(&request, body, &gate, &store).await;
    let broken = answered.as_ref().is_ok_and(|(_, whole)| !whole);
    let mut response = respond(&request, &gate, answered.map(|(answer, _)| answer));
    if broken {
        response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    response
}

/// The sealed answer, and whether the whole body was read.
async fn try_blob(
    request: &HttpRequest,
    body: Payload,
    gate: &PeerGate,
    store: &StoreRecipients,
) -> Result<(Vec<u8>, bool), Refusal> {
    let announced = announced(request, u64::MAX)?;
    let mut body = Body::new(body, Duration::MAX);
    let Opening { admitted, counter, plain, clear } = open_blob(&mut body, gate, BLOB_PATH).await?;
    let head = BlobHead::decode(&plain).map_err(|_| Refusal::Malformed)?;
    let done = if head.sealed_len.checked_add(clear) == Some(announced) {
        let _room = gate.hold(&admitted, Coming::Blob, holds(head.sealed_len)).await?;
        Counts::add(&gate.counts().blobs);
        receive(store, gate.arrivals().begin(head.body), head, &mut body).await
    } else {
        Err(LinkError::Store(StoreError::Mismatch("the body's length is not what its head announces")))
    };
    let answer = done.as_ref().map_or_else(failure, |()| Answer::Done);
    let whole = done.is_ok() || body.is_passed_over().await;
    Ok((admitted.answer(BLOB_PATH, counter, &answer), whole))
}

/// What stands in front of a blob, opened.
struct Opening {
    admitted: Admitted,
    counter: u64,
    plain: Vec<u8>,
    /// Bytes that it took.
    clear: u64,
}

async fn open_blob(body: &mut Body, gate: &PeerGate, path: &str) -> Result<Opening, Refusal> {
    body.gather(BLOB_PREFIX_BYTES + CLEAR_BYTES).await?;
    let frame_len = blob_prefix_len(&body.have).map_err(|_| Refusal::Malformed)?;
    let prefix = body.have.split_to(BLOB_PREFIX_BYTES).len();
    let (session, counter) = Frame::peek(&body.have).map_err(|_| Refusal::Malformed)?;
    let admitted: Admitted = gate.admit(session, counter, BLOB_HEAD_BYTES_MAX as u64).await?;
    body.gather(frame_len).await?;
    let frame = body.have.split_to(frame_len.min(body.have.len()));
    let frame = Frame::decode(&frame).map_err(|_| Refusal::Malformed)?;
    let plain = gate.open(&admitted, path, &frame)?;
    let clear = u64::try_from(prefix + frame_len).unwrap_or(u64::MAX);
    Ok(Opening { admitted, counter, plain, clear })
}

async fn stream(
    request: HttpRequest,
    body: Payload,
    gate: Data<PeerGate>,
    store: Data<StoreRecipients>,
) -> HttpResponse {
    let answered = try_stream(body, &gate, &store).await;
    let broken = answered.as_ref().is_ok_and(|(_, whole)| !whole);
    let mut response = respond(&request, &gate, answered.map(|(answer, _)| answer));
    if broken {
        response.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    response
}

/// The sealed answer, and whether the whole body was read. What the blob is stands behind it, in a frame with the
/// counter that follows the first one's; the answer has that counter too.
async fn try_stream(body: Payload, gate: &PeerGate, store: &StoreRecipients) -> Result<(Vec<u8>, bool), Refusal> {
    let mut body = Body::new(body, Duration::MAX);
    let Opening { admitted, counter, plain, .. } = open_blob(&mut body, gate, STREAM_PATH).await?;
    let head = StreamHead::decode(&plain).map_err(|_| Refusal::Malformed)?;
    let last = counter.checked_add(1).ok_or(Refusal::BadFrame)?;
    let coming = if head.bytes_max <= SMALL_BYTES_MAX { Coming::Blob } else { Coming::Stream };
    let _room = gate.hold(&admitted, coming, holds(head.bytes_max)).await?;
    Counts::add(&gate.counts().blobs);
    let done = receive_stream(gate, &admitted, last, store, head, &mut body).await;
    let answer = done.as_ref().map_or_else(failure, |()| Answer::Done);
    let whole = done.is_ok() || body.is_passed_over().await;
    Ok((admitted.answer(STREAM_PATH, last, &answer), whole))
}

async fn receive_stream(
    gate: &PeerGate,
    admitted: &Admitted,
    last: u64,
    store: &StoreRecipients,
    head: StreamHead,
    body: &mut Body,
) -> Result<(), LinkError> {
    let bytes_max = Some(head.bytes_max).filter(|max| *max < u64::MAX);
    let begin = BeginIncoming { body: head.body, bytes_max, purpose: Purpose::Copy };
    let arriving = gate.arrivals().begin(head.body);
    let mut incoming = ask(&store.begin_incoming, begin).await?;
    let first = std::mem::take(&mut body.have).freeze();
    let mut gathered = first.len();
    let mut pieces = vec![first];
    while let Some(bytes) = body.next().await.map_err(LinkError::Refused)? {
        gathered += bytes.len();
        pieces.push(bytes);
        // What may be the frame behind the blob is held back.
        if gathered >= PIECE_BYTES + STREAM_TRAILER_BYTES {
            let held = split_end(&mut pieces, STREAM_TRAILER_BYTES).ok_or(cut())?;
            incoming = append(store, incoming, std::mem::take(&mut pieces)).await?;
            arriving.moved(gathered - held.len());
            gathered = held.len();
            pieces.push(held);
        }
    }
    let trailer = split_end(&mut pieces, STREAM_TRAILER_BYTES).ok_or(cut())?;
    let incoming = append(store, incoming, pieces).await?;
    let frame = Frame::decode(&trailer).map_err(|_| LinkError::Refused(Refusal::Malformed))?;
    if frame.counter != last {
        return Err(LinkError::Refused(Refusal::BadFrame));
    }
    let plain = gate.open(admitted, STREAM_PATH, &frame).map_err(LinkError::Refused)?;
    let BlobHead { body: id, sealed_len, digest } = BlobHead::decode(&plain).map_err(LinkError::Undecodable)?;
    if id != head.body {
        return Err(LinkError::Store(StoreError::Mismatch("a blob ends as another than it began")));
    }
    let announced = Announced { sealed_len, digest };
    ask(&store.finish_incoming, FinishIncoming { incoming, announced }).await
}

/// Takes the last `len` bytes off the pieces; `None` when there are fewer.
fn split_end(pieces: &mut Vec<Bytes>, len: usize) -> Option<Bytes> {
    let mut end = BytesMut::with_capacity(len);
    let mut from = pieces.len();
    let mut held = 0;
    while held < len {
        from = from.checked_sub(1)?;
        held += pieces.get(from).map_or(0, Bytes::len);
    }
    let mut tail = pieces.split_off(from);
    if let Some(first) = tail.first_mut() {
        let keep = first.split_to(held - len);
        if !keep.is_empty() {
            pieces.push(keep);
        }
    }
    tail.iter().for_each(|piece| end.extend_from_slice(piece));
    Some(end.freeze())
}

async fn receive(
    store: &StoreRecipients,
    arriving: Arriving,
    head: BlobHead,
    body: &mut Body,
) -> Result<(), LinkError> {
    let BlobHead { body: id, sealed_len, digest } = head;
    let announced = Announced { sealed_len, digest };
    let begin = BeginIncoming { body: id, bytes_max: Some(sealed_len), purpose: Purpose::Copy };
    let mut incoming = ask(&store.begin_incoming, begin).await?;
    let mut left = sealed_len;
    let mut pieces = Vec::new();
    let mut gathered = 0;
    let first = std::mem::take(&mut body.have).freeze();
    let mut next = Some(first).filter(|first| !first.is_empty());
    while left > 0 {
        let bytes = match next.take() {
            Some(bytes) => bytes,
            None => body.next().await.map_err(LinkError::Refused)?.ok_or(cut())?,
        };
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        left = left.checked_sub(len).ok_or(cut())?;
        gathered += bytes.len();
        pieces.push(bytes);
        if gathered >= PIECE_BYTES || left == 0 {
            incoming = append(store, incoming, std::mem::take(&mut pieces)).await?;
            arriving.moved(gathered);
            gathered = 0;
        }
    }
    // Read to the end, so that the connection can be used again.
    if body.next().await.map_err(LinkError::Refused)?.is_some() {
        return Err(cut());
    }
    ask(&store.finish_incoming, FinishIncoming { incoming, announced }).await
}

async fn append(store: &StoreRecipients, incoming: Incoming, data: Vec<Bytes>) -> Result<Incoming, LinkError> {
    ask(&store.append_incoming, AppendIncoming { incoming, data }).await
}

fn cut() -> LinkError {
    LinkError::Store(StoreError::Mismatch("the body is not as long as announced"))
}

/// A body that arrives: what has come and is not used yet, and the time that it may still take.
struct Body {
    payload: Payload,
    have: BytesMut,
    until: Option<Instant>,
}

impl Body {
    fn new(payload: Payload, last_max: Duration) -> Self {
        Body { payload, have: BytesMut::new(), until: Instant::now().checked_add(last_max) }
    }

    /// The next bytes of the sender; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
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
    async fn is_passed_over(&mut self) -> bool {
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
    async fn gather(&mut self, len: usize) -> Result<(), Refusal> {
        while self.have.len() < len {
            let bytes = self.next().await?.ok_or(Refusal::Malformed)?;
            self.have.extend_from_slice(&bytes);
        }
        Ok(())
    }

    /// All of it, at most `max` bytes.
    async fn whole(mut self, request: &HttpRequest, max: usize) -> Result<BytesMut, Refusal> {
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
fn announced(request: &HttpRequest, max: u64) -> Result<u64, Refusal> {
    let text = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).filter(|len| *len <= max).ok_or(Refusal::Malformed)
}

fn respond(request: &HttpRequest, gate: &PeerGate, answered: Result<Vec<u8>, Refusal>) -> HttpResponse {
    match answered {
        Ok(bytes) => HttpResponse::Ok().content_type("application/octet-stream").body(bytes),
        Err(refusal) => {
            gate.turned_away(caller(request), refusal);
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            HttpResponse::build(status).content_type("application/octet-stream").force_close().body(refusal.encode())
        }
    }
}

/// The address of the socket: a header could say anything.
fn caller(request: &HttpRequest) -> Option<IpAddr> {
    request.peer_addr().map(|address| address.ip())
}

const _: () = assert!(BLOB_PREFIX_BYTES + BLOB_HEAD_BYTES_MAX < PIECE_BYTES);
const _: () = assert!(SEAL_TAG_BYTES == crate::seal::TAG_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_split_off_wherever_pieces_begin() {
        let whole: Vec<u8> = (0..20).collect();
        for size in 1..=20 {
            for len in 0..=20 {
                let mut pieces: Vec<Bytes> = whole.chunks(size).map(Bytes::copy_from_slice).collect();
                let end = split_end(&mut pieces, len).expect("there is as much");
                assert_eq!((pieces.concat(), &end[..]), (whole[..20 - len].to_vec(), &whole[20 - len..]));
            }
        }
        let mut few = vec![Bytes::from_static(b"abc"), Bytes::new()];
        assert_eq!(split_end(&mut few, 4), None);
    }
}
