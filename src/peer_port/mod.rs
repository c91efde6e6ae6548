//! The peer port: handshakes, calls and bodies of the other nodes, over HTTP on a port of its own.
//!
//! | file | what it does |
//! |---|---|
//! | here | the listener: handshakes and calls, and how a refusal is told |
//! | `blobs` | bodies of objects, whole or while they are made |
//! | `bodies` | short ones, many to a request |
//! | `body` | the bytes of a request, with their limits |
//!
//! The peer gate (`actors::peer::sessions`) decides who may speak, and `actors::peer::answers` what is answered; this
//! room reads and writes the bytes.
//!
//! Invariants
//! - No body is kept before its session is known, its counter fresh and a permit taken for its bytes.
//! - What the gate opened is answered sealed; what it did not open is answered with a clear refusal,
//!   and the connection is closed, since an unread body may stand in it.

mod blobs;
mod bodies;
mod body;

use crate::actors::peer::answers::answer;
use crate::actors::peer::sessions::PeerGate;
use crate::actors::peer::store::StoreRecipients;
use crate::base::Class;
use crate::wire::frame::CLEAR_BYTES;
use crate::wire::{
    Answer, BLOB_PATH, BODIES_PATH, CALL_PATH, Call, FRAME_BYTES_MAX, Frame, HELLO_BYTES_MAX, HELLO_PATH,
    LEARN_BYTES_MAX, ORIGIN_PATH, Refusal, STREAM_PATH,
};
use actix_web::dev::Server;
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use blobs::{try_blob, try_stream};
use bodies::try_bodies;
use body::{Body, announced};
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

/// Longest time that a call's body may take.
const CALL_BODY_MAX: Duration = Duration::from_secs(60);
/// Longest time for a request's head.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Idle sockets are kept longer than the peers' clients keep them, so that the client closes first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Most sockets at once, over all workers.
const SOCKETS_MAX: usize = 512;
/// Most bytes of the answer to a call, for which no other permit stands.
const ANSWER_BYTES_MAX: u64 = LEARN_BYTES_MAX as u64;

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
            .route(ORIGIN_PATH, web::post().to(origin))
            .route(CALL_PATH, web::post().to(call))
            .route(BLOB_PATH, web::post().to(blob))
            .route(BODIES_PATH, web::post().to(bodies))
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

async fn origin(request: HttpRequest, body: Payload, gate: Data<PeerGate>) -> HttpResponse {
    let answered = match Body::new(body, CALL_BODY_MAX).whole(&request, HELLO_BYTES_MAX).await {
        Ok(question) => gate.tell(&question),
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
    respond_to_body(&request, &gate, answered)
}

async fn bodies(
    request: HttpRequest,
    body: Payload,
    gate: Data<PeerGate>,
    store: Data<StoreRecipients>,
) -> HttpResponse {
    let answered = try_bodies(&request, body, &gate, &store).await;
    respond_to_body(&request, &gate, answered)
}

async fn stream(
    request: HttpRequest,
    body: Payload,
    gate: Data<PeerGate>,
    store: Data<StoreRecipients>,
) -> HttpResponse {
    let answered = try_stream(body, &gate, &store).await;
    respond_to_body(&request, &gate, answered)
}

/// The answer, after which the connection ends if not all of the body was read.
fn respond_to_body(request: &HttpRequest, gate: &PeerGate, answered: Result<(Vec<u8>, bool), Refusal>) -> HttpResponse {
    let broken = answered.as_ref().is_ok_and(|(_, whole)| !whole);
    let mut response = respond(request, gate, answered.map(|(answer, _)| answer));
    if broken {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    response
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
