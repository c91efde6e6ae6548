//! The sockets a node listens on.
//!
//! Invariant: only a listener on a loopback address departs from what the system says of its
//! connections; what crosses a network is sent as its operator decided.

use super::error::NodeError;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// A congestion control without pacing, which every Linux kernel has and lets everybody choose.
const UNPACED: &str = "reno";

/// A listener on the address of `setting`, and where it is bound.
pub(super) fn listen(addr: SocketAddr, setting: &'static str) -> Result<(TcpListener, SocketAddr), NodeError> {
    let bind = || -> io::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind(addr)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    let (listener, bound) = bind().map_err(|source| NodeError::Listen { addr, setting, source })?;
    if bound.ip().is_loopback() {
        send_unpaced(&listener);
    }
    Ok((listener, bound))
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

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_taken_port_names_the_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("binds");
        let addr = taken.local_addr().expect("is bound");
        let refused = listen(addr, "peer.listen").expect_err("is taken");
        assert!(matches!(refused, NodeError::Listen { setting: "peer.listen", .. }), "{refused}");
    }
}
