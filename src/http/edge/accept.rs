//! A connection before its first request: it is counted, and where the port has TLS, both sides come to terms.
//!
//! Invariants
//! - A connection counts for its address before a byte of it is read, so limits hold for those that never finish.
//! - Who has not begun within the handshake's time, or not finished within as much again, is hung up on. Who has not
//!   finished when the port drains is, too: nothing was asked there yet.
//! - At most `HANDSHAKES_MAX` are at work on a thread; others wait for their turn, and those who say nothing take none.
//! - Who speaks HTTP to a port with TLS is told so, in HTTP.

use super::connections::{Connection, Connections};
use super::socket::{DISCARD_BYTES_MAX, Socket};
use super::turnstile::Turnstile;
use crate::tls;
use actix_http::error::DispatchError;
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::timeout;
use futures::future::{Either, LocalBoxFuture, Ready, ready, select};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

/// Handshakes at work at once on one thread: each holds some 20 KiB, and computes.
const HANDSHAKES_MAX: usize = 256;

const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 58\r\n\
connection: close\r\n\r\nthis port speaks TLS: use https:// in the place of http://";

/// How connections to the ports with TLS began, since the start.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    done: AtomicU64,
    failed: [AtomicU64; Failed::ALL.len()],
}

/// Why a connection to a port with TLS came to no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It spoke HTTP.
    Plain,
    /// It did not begin, or not end, in time.
    Late,
    /// It ended before, as probes of a port do that say nothing.
    Ended,
    /// Both sides did not come to terms: versions, ciphers, or who took the certificate for nobody's.
    NoTerms,
}

impl Failed {
    /// All of them, in the order of their counters.
    pub(super) const ALL: [Failed; 4] = [Failed::Plain, Failed::Late, Failed::Ended, Failed::NoTerms];

    /// The word of metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Failed::Plain => "plain_http",
            Failed::Late => "late",
            Failed::Ended => "ended",
            Failed::NoTerms => "no_terms",
        }
    }

    fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Failed::Ended,
            _ => Failed::NoTerms,
        }
    }
}

impl Handshakes {
    /// How many came to an end as they should.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many did not, for this reason.
    pub(super) fn failed(&self, why: Failed) -> u64 {
        self.failed[why as usize].load(Ordering::Relaxed)
    }

    fn fails(&self, why: Failed) {
        self.failed[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// What takes the connections of one port on one thread.
pub(super) struct Accept {
    connections: Arc<Connections>,
    tls: Option<Tls>,
}

struct Tls {
    server: tls::Server,
    handshakes: Arc<Handshakes>,
    turns: Semaphore,
    /// How long who was refused is still listened to.
    linger: Duration,
    /// Comes when the port drains.
    drains: Box<dyn Fn() -> LocalBoxFuture<'static, ()>>,
}

/// A connection that may send its first request, and where it comes from.
pub(super) type Taken = Result<(Turnstile, Option<SocketAddr>), DispatchError>;

impl Accept {
    pub(super) fn new(
        connections: &Arc<Connections>,
        handshakes: &Arc<Handshakes>,
        tls: Option<tls::Server>,
        linger: Duration,
        drains: impl Fn() -> LocalBoxFuture<'static, ()> + 'static,
    ) -> Self {
        let turns = || Semaphore::new(HANDSHAKES_MAX);
        let handshakes = Arc::clone(handshakes);
        let tls = tls.map(|server| Tls { server, handshakes, turns: turns(), linger, drains: Box::new(drains) });
        Accept { connections: Arc::clone(connections), tls }
    }

    /// Takes a connection that was just opened.
    pub(super) fn take(self: &Rc<Self>, socket: TcpStream) -> Either<Ready<Taken>, LocalBoxFuture<'static, Taken>> {
        // Without it an answer may wait for a packet of the client; with a fault it only does.
        let _ = socket.set_nodelay(true);
        let (peer, connection) = (socket.peer_addr().ok(), self.connections.admit(&socket));
        if self.tls.is_none() {
            return Either::Left(ready(Ok((Turnstile::new(Socket::Plain(socket), connection), peer))));
        }
        let this = Rc::clone(self);
        Either::Right(Box::pin(async move {
            let Some(tls) = &this.tls else { return Err(gone(io::ErrorKind::Unsupported)) };
            let stream = tls.greet(socket, &connection).await?;
            Ok((Turnstile::new(Socket::Tls(Box::new(stream)), connection), peer))
        }))
    }
}

impl Tls {
    /// Comes to terms with a client, or leaves it.
    async fn greet(&self, socket: TcpStream, connection: &Connection) -> Result<tls::Stream, DispatchError> {
        let limit = self.server.handshake_max();
        let first = {
            let byte = pin!(timeout(limit, first_byte(&socket)));
            match select(byte, (self.drains)()).await {
                Either::Left((Ok(byte), _)) => byte.map_err(|error| self.left(Failed::of(&error), error))?,
                Either::Left((Err(_), _)) => return Err(self.left(Failed::Late, io::ErrorKind::TimedOut.into())),
                Either::Right(_) => return Err(gone(io::ErrorKind::ConnectionAborted)),
            }
        };
        // A method begins with such a letter, and nothing of TLS does.
        if first.is_ascii_uppercase() {
            let _ = timeout(self.linger, tell_plain(socket)).await;
            return Err(self.left(Failed::Plain, io::ErrorKind::InvalidData.into()));
        }
        let Ok(_turn) = self.turns.acquire().await else { return Err(gone(io::ErrorKind::ConnectionAborted)) };
        connection.progress();
        let shaken = pin!(timeout(limit, self.server.handshake(socket)));
        let shaken = match select(shaken, (self.drains)()).await {
            Either::Left((shaken, _)) => shaken,
            Either::Right(_) => return Err(gone(io::ErrorKind::ConnectionAborted)),
        };
        match shaken {
            Ok(Ok(stream)) => {
                connection.progress();
                self.handshakes.done.fetch_add(1, Ordering::Relaxed);
                Ok(stream)
            }
            Ok(Err(error)) => {
                log::debug!(error:%; "a client and this port did not come to terms");
                Err(self.left(Failed::of(&error), error))
            }
            Err(_) => Err(self.left(Failed::Late, io::ErrorKind::TimedOut.into())),
        }
    }

    /// A connection that ends before its first request, for that reason.
    fn left(&self, why: Failed, error: io::Error) -> DispatchError {
        self.handshakes.fails(why);
        DispatchError::Io(error)
    }
}

/// How a connection ends before its first request. Nobody is told but the server below, which passes over it.
fn gone(why: io::ErrorKind) -> DispatchError {
    DispatchError::Io(why.into())
}

/// What a client sends first, which stays to be read.
async fn first_byte(socket: &TcpStream) -> io::Result<u8> {
    let mut first = [0];
    match socket.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}

/// Says in HTTP that this is no port for it. What was sent is read, or it would take the answer with it.
async fn tell_plain(mut socket: TcpStream) -> io::Result<()> {
    socket.write_all(NO_TLS).await?;
    socket.shutdown().await?;
    let (mut scratch, mut left) = (vec![0; 16 * 1024], DISCARD_BYTES_MAX);
    while left > 0 {
        match socket.read(&mut scratch).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let handshakes = Handshakes::default();
        for why in Failed::ALL {
            handshakes.fails(why);
            assert_eq!(handshakes.failed(why), 1, "{why:?}");
        }
        assert_eq!((Failed::of(&io::ErrorKind::UnexpectedEof.into()), handshakes.done()), (Failed::Ended, 0));
        assert_eq!(Failed::of(&io::ErrorKind::InvalidData.into()), Failed::NoTerms);
    }

    #[test]
    fn the_answer_to_plain_http_is_whole() {
        let text = std::str::from_utf8(NO_TLS).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{} bytes", body.len());
        assert!(body.contains("https://"));
    }
}
