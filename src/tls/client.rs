//! A connection to a port, and whose word is taken for who it is.

use super::error::{TlsError, of_the_far_end};
use super::pair::certificates;
use super::{VERSIONS, provider};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

/// Where systems have their authorities: Debian and Alpine, Fedora and its kin, SUSE, older Alpine and others.
const AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Authorities whose word is taken.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

/// A connection that is sealed on its way, to somebody who has shown who it is.
pub type Secured = StreamOwned<ClientConnection, TcpStream>;

impl Trust {
    /// Those of a file alone; without one, those of the system.
    pub fn of(file: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match file {
            Some(path) => {
                for certificate in certificates(path)? {
                    let unusable =
                        |why: rustls::Error| TlsError::Certificate { path: path.into(), why: why.to_string() };
                    roots.add(certificate).map_err(unusable)?;
                }
            }
            None => {
                let path = of_the_system().ok_or(TlsError::NoAuthorities)?;
                // Among hundreds of a system are some that nobody reads any more.
                roots.add_parsable_certificates(certificates(path)?);
            }
        }
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A session that is taken up again shows no certificate: who asks wants to know who is there now.
        config.resumption = Resumption::disabled();
        Ok(Trust(Arc::new(config)))
    }

    /// Comes to terms with who is at the other end, who must be that host. The socket's own timeouts hold. An error that
    /// is not the socket's has a `TlsError` in it.
    pub fn connect(&self, host: &str, socket: TcpStream) -> io::Result<Secured> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| io::Error::other(TlsError::Name(host.to_owned())))?;
        let session = ClientConnection::new(Arc::clone(&self.0), name)
            .map_err(|error| io::Error::other(TlsError::Setup(error)))?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| match of_the_far_end(&error) {
                Some(why) => io::Error::other(TlsError::FarEnd(why)),
                None => error,
            })?;
        }
        Ok(stream)
    }
}

fn of_the_system() -> Option<&'static Path> {
    AUTHORITIES.iter().map(Path::new).find(|path| path.is_file())
}
