//! The ports of a node: the sockets it listens on, and the servers behind them.
//!
//! Invariant: only a listener on a loopback address departs from what the system says of its
//! connections; what crosses a network is sent as its operator decided.

use super::error::NodeError;
use crate::disk::{RealDisk, place};
use actix_web::dev::{Server, ServerHandle};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The file in the data directory that names the bound addresses, for scripts and tests.
const ADDRESSES: &str = "addresses.json";

/// Connections that wait to be taken; the system has a limit of its own.
const BACKLOG: i32 = 4096;
/// A congestion control without pacing, which every Linux kernel has and lets everybody choose.
const UNPACED: &str = "reno";

/// Who reaches a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Clients,
    Peers,
}

/// A port that is served.
pub(super) struct Listener {
    /// Its name, as `addresses.json` and logs have it.
    pub name: &'static str,
    pub whom: Whom,
    pub address: SocketAddr,
    server: ServerHandle,
}

impl Listener {
    /// Lets a server run until `stop`: one that ends before is worth a line, and the node goes on.
    pub fn run(name: &'static str, whom: Whom, address: SocketAddr, server: Server) -> Self {
        let handle = server.handle();
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                log::error!(name, error:% = error; "a server ended");
            }
        });
        Listener { name, whom, address, server: handle }
    }

    /// Takes no connections any more; returns when those that are open have ended, or at once.
    pub async fn stop(&self, in_order: bool) {
        self.server.stop(in_order).await;
    }
}

/// Takes the address of `setting`, so that one that is taken is told before anything is touched.
pub(super) fn reserve(addr: SocketAddr, setting: &'static str) -> Result<Reserved, NodeError> {
    let bind = || -> io::Result<(OwnedFd, SocketAddr)> {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        net::sockopt::set_socket_reuseaddr(&socket, true)?;
        net::bind(&socket, &addr)?;
        let bound = SocketAddr::try_from(net::getsockname(&socket)?)?;
        Ok((socket, bound))
    };
    let (socket, bound) = bind().map_err(|source| NodeError::Listen { addr, setting, source })?;
    Ok(Reserved { socket, bound, setting })
}

/// An address that nobody else gets any more. Who connects is refused until it is open.
pub(super) struct Reserved {
    socket: OwnedFd,
    bound: SocketAddr,
    setting: &'static str,
}

impl Reserved {
    /// Takes connections from now on.
    pub fn open(self) -> Result<(TcpListener, SocketAddr), NodeError> {
        let Reserved { socket, bound, setting } = self;
        let fail = |source: rustix::io::Errno| NodeError::Listen { addr: bound, setting, source: source.into() };
        net::listen(&socket, BACKLOG).map_err(fail)?;
        let listener = TcpListener::from(socket);
        if bound.ip().is_loopback() {
            send_unpaced(&listener);
        }
        Ok((listener, bound))
    }
}

/// Connections of this listener, whose clients are all on this machine, send without pacing, whatever
/// the system's congestion control is: BBR sets a timer for every segment, and here is no network to
/// spare. They inherit it: on a connection that exists it comes too late, since what was paced once
/// remains so. A client that connects before this line is served like all, but paced.
fn send_unpaced(listener: &TcpListener) {
    if let Err(error) = rustix::net::sockopt::set_tcp_congestion(listener, UNPACED) {
        log::debug!(error:% = error; "the system's congestion control stays");
    }
}

/// For scripts. A disk without room for it can still be read, and be made room on.
pub(super) fn tell_addresses(data: &Path, listeners: &[Listener]) {
    if let Err(error) = write_addresses(data, listeners) {
        log::warn!(error:% = error; "{ADDRESSES} is not of this start");
    }
}

fn write_addresses(data: &Path, listeners: &[Listener]) -> Result<(), NodeError> {
    let path = data.join(ADDRESSES);
    let all: BTreeMap<_, _> = listeners.iter().map(|listener| (listener.name, listener.address.to_string())).collect();
    let text = serde_json::json!(all).to_string();
    place::replace(&RealDisk, &path, text.as_bytes()).map_err(|source| NodeError::Data { op: "write", path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(addr: SocketAddr, setting: &'static str) -> Result<(TcpListener, SocketAddr), NodeError> {
        reserve(addr, setting)?.open()
    }
    use rustix::net::sockopt::tcp_congestion;
    use std::net::TcpStream;

    fn accepted(listener: &TcpListener) -> TcpStream {
        let port = listener.local_addr().expect("is bound").port();
        let _client = TcpStream::connect(("127.0.0.1", port)).expect("connects");
        listener.accept().expect("accepts").0
    }

    #[test]
    fn clients_of_this_machine_are_not_paced_and_others_as_the_system_says() {
        let plain = TcpListener::bind("127.0.0.1:0").expect("binds");
        let system = tcp_congestion(&plain).expect("tells");
        let (local, _) = listen("127.0.0.1:0".parse().expect("an address"), "http.listen").expect("binds");
        assert_eq!(tcp_congestion(accepted(&local)).expect("tells"), UNPACED);
        let (any, bound) = listen("0.0.0.0:0".parse().expect("an address"), "http.listen").expect("binds");
        assert_ne!(bound.port(), 0);
        assert_eq!(tcp_congestion(accepted(&any)).expect("tells"), system);
    }

    #[test]
    fn who_connects_before_a_port_is_open_is_refused() {
        let reserved = reserve("127.0.0.1:0".parse().expect("an address"), "http.listen").expect("binds");
        let at = reserved.bound;
        assert!(TcpStream::connect(at).is_err());
        let (listener, bound) = reserved.open().expect("opens");
        assert_eq!(bound, at);
        let _client = TcpStream::connect(at).expect("connects");
        listener.accept().expect("accepts");
    }

    #[test]
    fn a_taken_port_names_the_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
        let addr = taken.local_addr().expect("is bound");
        let refused = listen(addr, "peer.listen").expect_err("is taken");
        assert!(matches!(refused, NodeError::Listen { setting: "peer.listen", .. }), "{refused}");
    }
}
