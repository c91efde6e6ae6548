//! Sockets to peers, with TCP_NODELAY: a streamed body ends in a small write, and waiting for the
//! peer's delayed ACK before it costs 44 ms each time.

use crate::actors::peer::patience::CONNECT_MAX;
use crate::actors::peer::patience::SOCKET_IDLE_MAX;
use actix_rt::net::TcpStream;
use actix_service::ServiceExt;
use actix_tls::connect::{ConnectInfo, Connection, Connector};
use awc::Client;
use awc::http::Uri;
use std::time::Duration;

/// A client for one lane. `!Send`: it lives and dies in its actor.
pub fn client() -> Client {
    let plain = Connector::default().service();
    let undelayed = ServiceExt::<ConnectInfo<Uri>>::map(plain, |connection: Connection<Uri, TcpStream>| {
        // A socket that refuses the option still works, only slower.
        if let Err(error) = connection.io_ref().set_nodelay(true) {
            log::debug!("no TCP_NODELAY on a peer socket: {error}");
        }
        connection
    });
    let connector = awc::Connector::new()
        .connector(undelayed)
        .timeout(CONNECT_MAX)
        .conn_keep_alive(SOCKET_IDLE_MAX)
        .conn_lifetime(Duration::from_secs(3600));
    // Time limits are the lane's own: it knows a stalled body from a long one.
    Client::builder().connector(connector).disable_timeout().disable_redirects().no_default_headers().finish()
}
