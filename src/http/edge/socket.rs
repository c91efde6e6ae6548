//! The bytes of a connection, sealed on their way or not.
//!
//! Invariants
//! - A connection that its client has only half closed is still written to, with TLS and without.
//! - That a client ended without the farewell of TLS is an end like any other: where a body ends is told by its head, so
//!   one that was cut off is seen.

use crate::tls;
use actix_web::rt::net::TcpStream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are thrown away when a connection ends, so that they do not take its last answer with them.
pub(super) const DISCARD_BYTES_MAX: usize = 1024 * 1024;

/// A connection to a client.
pub(super) enum Socket {
    Plain(TcpStream),
    /// In a box: it is some hundreds of bytes, and most ports of one node have either.
    Tls(Box<tls::Stream>),
}

impl Socket {
    fn tcp(&self) -> &TcpStream {
        match self {
            Socket::Plain(socket) => socket,
            Socket::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Whether there is something to read, or an end. Where there is not, the task is woken when there is.
    pub(super) fn may_be_read(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Socket::Plain(socket) => socket.poll_read_ready(cx).is_ready(),
            Socket::Tls(stream) => tls::may_be_read(stream, cx),
        }
    }

    /// Throws away what has arrived: a system resets a connection that is closed over unread bytes, and may drop the
    /// last answer with it.
    pub(super) fn discard(&self) {
        let mut scratch = [0; 16 * 1024];
        for _ in 0..DISCARD_BYTES_MAX / scratch.len() {
            if !matches!(self.tcp().try_read(&mut scratch), Ok(1..)) {
                break;
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Socket::Tls(stream) => match ready!(Pin::new(stream).poll_read(cx, buf)) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                read => Poll::Ready(read),
            },
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
