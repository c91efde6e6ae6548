//! A connection before its first request: it is counted, and where the port has TLS, both sides come to terms.
//!
//! Invariants
//! - A connection counts for its address before a byte of it is read, so limits hold for those that never finish.
//! - Who has not begun within the handshake's time, or not finished within as much again, is hung up on. Who has not
//!   begun when the port drains is, too.
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
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

/// Handshakes at work at once on one thread: each holds some 20 KiB, and computes.
const HANDSHAKES_MAX: usize = 256;

const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 58\r\n\
connection: close\r\n\r\nthis port speaks TLS: use https:// in the place of http://";

/// What takes the connections of one port on one thread.
pub(super) struct Accept {
    connections: Arc<Connections>,
    tls: Option<Tls>,
}

struct Tls {
    server: tls::Server,
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
        tls: Option<tls::Server>,
        linger: Duration,
        drains: impl Fn() -> LocalBoxFuture<'static, ()> + 'static,
    ) -> Self {
        let turns = || Semaphore::new(HANDSHAKES_MAX);
        let tls = tls.map(|server| Tls { server, turns: turns(), linger, drains: Box::new(drains) });
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
                Either::Left((Ok(byte), _)) => byte.map_err(DispatchError::Io)?,
                Either::Left((Err(_), _)) => return Err(gone(io::ErrorKind::TimedOut)),
                Either::Right(_) => return Err(gone(io::ErrorKind::ConnectionAborted)),
            }
        };
        // A method begins with such a letter, and nothing of TLS does.
        if first.is_ascii_uppercase() {
            let _ = timeout(self.linger, tell_plain(socket)).await;
            return Err(gone(io::ErrorKind::InvalidData));
        }
        let Ok(_turn) = self.turns.acquire().await else { return Err(gone(io::ErrorKind::ConnectionAborted)) };
        connection.progress();
        match timeout(limit, self.server.handshake(socket)).await {
            Ok(Ok(stream)) => {
                connection.progress();
                Ok(stream)
            }
            Ok(Err(error)) => {
                log::debug!(error:%; "a client and this port did not come to terms");
                Err(DispatchError::Io(error))
            }
            Err(_) => Err(gone(io::ErrorKind::TimedOut)),
        }
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
    fn the_answer_to_plain_http_is_whole() {
        let text = std::str::from_utf8(NO_TLS).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{} bytes", body.len());
        assert!(body.contains("https://"));
    }
}
