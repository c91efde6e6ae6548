//! The other side of one connection to a port.

use super::error::TlsError;
use super::kept::Kept;
use super::{VERSIONS, provider};
use rustls::ServerConfig;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// A connection that is sealed on its way.
pub type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// What the ports speak, over HTTP/1.1 alone. A client that says nothing of it is taken at its word; one that says
/// `http/1.0`, as `curl --http1.0` does, is served like one without TLS.
const PROTOCOLS: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// What a port needs to speak TLS. Clones are the same.
#[derive(Clone)]
pub struct Server {
    acceptor: TlsAcceptor,
    handshake_max: Duration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("handshake_max", &self.handshake_max).finish_non_exhaustive()
    }
}

impl Server {
    /// A port that shows what is kept, and gives a client so long for each step before its first request.
    pub fn new(kept: &Arc<Kept>, handshake_max: Duration) -> Result<Self, TlsError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(kept) as Arc<_>);
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        Ok(Server { acceptor: TlsAcceptor::from(Arc::new(config)), handshake_max })
    }

    /// The longest time for a handshake, and for a client's first byte.
    pub fn handshake_max(&self) -> Duration {
        self.handshake_max
    }

    /// Comes to terms with a client. It takes as long as the client does: the caller sets the limit.
    pub async fn handshake(&self, socket: TcpStream) -> io::Result<Stream> {
        self.acceptor.accept(socket).await
    }
}

/// Whether there is something to read, or an end to be told of. Where there is not, the task is woken when there is.
pub fn may_be_read(stream: &mut Stream, cx: &mut Context<'_>) -> bool {
    let (socket, session) = stream.get_mut();
    // What was received with something else has no other sign. A fault is told to who reads.
    let opened = session.process_new_packets();
    opened.map_or(true, |state| state.plaintext_bytes_to_read() > 0 || state.peer_has_closed())
        || socket.poll_read_ready(cx).is_ready()
}
