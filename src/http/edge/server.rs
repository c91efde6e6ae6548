//! The server of one port: sockets, the turnstile in front of each, and what the port speaks behind.
//!
//! Invariants
//! - Every request is served through the turnstile of its connection, which is told how long its body is out of the
//!   head as the server below read it.
//! - What a connection is told and refused is the same with TLS and without.

use super::accept::Accept;
use super::connections::Connections;
use super::framing::ChunkScan;
use super::handle::{Port, configure};
use super::protocol::Protocol;
use super::settings::HttpSettings;
use super::turnstile::{Framing, Gate, InTurn, Turnstile};
use super::worker::{Backend, Shared, Worker};
use crate::tls;
use actix_http::{HttpMessage as _, HttpService, Request, Response};
use actix_service::{IntoServiceFactory, Service, ServiceFactoryExt, apply_fn_factory, fn_service, map_config};
use actix_web::App;
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Server};
use actix_web::http::{Method, Version, header};
use actix_web::rt::net::TcpStream;
use futures::future::LocalBoxFuture;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a connection gathers of an answer before it writes to its socket. Every write may have to wake the client,
/// and costs as much for 64 KiB as for four times that. A connection keeps this memory until it ends.
const LARGE_WRITE_BYTES: usize = 256 * 1024;
/// What a connection gathers where memory is short.
const WRITE_BYTES: usize = 64 * 1024;

/// Serves a protocol on a listener that is bound already, over TLS where `tls` says so. `port` is called once on each
/// worker's thread. Signals are the node's business; the server stops by its handle. Call it inside a running system.
pub fn serve<P, F>(
    name: &'static str,
    listener: TcpListener,
    tls: Option<tls::Server>,
    shared: &Shared,
    port: F,
) -> io::Result<Server>
where
    P: Protocol,
    F: Fn() -> (Backend, P) + Send + Clone + 'static,
{
    let of_workers = shared.clone();
    let (settings, connections) = (Arc::clone(&shared.settings), Arc::clone(&shared.connections));
    let handshakes = Arc::clone(&shared.handshakes);
    sweep_while_alive(&settings, tls.as_ref(), &connections);
    let workers = settings.workers.max(1);
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections((settings.connections_max / workers).max(1))
        .shutdown_timeout(settings.drain_timeout.as_secs().max(1))
        .disable_signals();
    let draining = builder.graceful_shutdown_signal();
    let server = builder.listen(name, listener, move || {
        let (backend, protocol) = port();
        let worker = Worker::new(of_workers.clone(), backend, P::LABELS);
        let port = Rc::new(Port { worker, protocol });
        let routes = App::new().configure(|config| configure(config, port));
        let routes = routes.into_factory().map_err(|error: actix_web::Error| error.error_response());
        let routes = map_config(routes, |()| AppConfig::default());
        let in_turn = apply_fn_factory(routes, |request: Request, routes: &_| {
            let answering = request.conn_data::<Rc<Gate>>().map(|gate| {
                let old = request.version() < Version::HTTP_11;
                gate.serve(framing(gate, &request), old)
            });
            let answer = Service::call(routes, request);
            async move {
                let answer: Response<BoxBody> = answer.await?.into();
                Ok(answer.map_body(|_, body| InTurn { body, _answering: answering }))
            }
        });
        let draining = draining.clone();
        let drains = move || -> LocalBoxFuture<'static, ()> {
            let draining = draining.clone();
            Box::pin(async move { draining.notified().await })
        };
        let accept = Rc::new(Accept::new(&connections, &handshakes, tls.clone(), settings.linger, drains.clone()));
        let http = HttpService::build()
            .graceful_shutdown_signal(drains)
            .keep_alive(settings.keep_alive)
            .client_request_timeout(settings.head_timeout)
            .client_disconnect_timeout(settings.linger)
            .h1_write_buffer_size(write_bytes(&settings))
            .on_connect_ext(|stream: &Turnstile, data| {
                data.insert(stream.connection());
                data.insert(stream.gate());
            })
            .h1(in_turn);
        fn_service(move |socket: TcpStream| accept.take(socket)).and_then(http)
    })?;
    Ok(server.run())
}

/// Bytes of an answer that a connection gathers before they are written.
fn write_bytes(settings: &HttpSettings) -> usize {
    if settings.large_buffers { LARGE_WRITE_BYTES } else { WRITE_BYTES }
}

/// How the body of a request ends, as the server below reads it.
fn framing(gate: &Gate, request: &Request) -> Framing {
    if *request.method() == Method::CONNECT {
        // All that follows is its body, there.
        gate.end();
    }
    if request.headers().contains_key(header::TRANSFER_ENCODING) {
        return Framing::Chunked(ChunkScan::default());
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    match length.and_then(|text| text.trim().parse().ok()) {
        None | Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
    }
}

/// Cuts stuck connections off, as long as the server that has them exists.
fn sweep_while_alive(settings: &HttpSettings, tls: Option<&tls::Server>, connections: &Arc<Connections>) {
    let handshake_max = tls.map(tls::Server::handshake_max).unwrap_or_default();
    let waits = settings.keep_alive.max(settings.head_timeout).max(settings.linger).max(handshake_max);
    let idle_max = waits + Duration::from_secs(1);
    let stalled_max = settings.idle_timeout;
    let pause = (idle_max.min(stalled_max) / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
    let connections = Arc::downgrade(connections);
    actix_web::rt::spawn(async move {
        loop {
            actix_web::rt::time::sleep(pause).await;
            match connections.upgrade() {
                Some(connections) => connections.sweep(idle_max, stalled_max),
                None => return,
            }
        }
    });
}
