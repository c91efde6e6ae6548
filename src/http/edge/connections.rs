//! Open connections: how many, from where, and which of them are stuck.
//!
//! The server bounds the first head of a connection and its idle time between requests, but not a
//! second head that trickles in, a refused body that never ends, or a client that stops reading its
//! answer. Whoever does that is cut off here.
//!
//! Invariants
//! - A connection whose request is being handled is never cut off here: uploads have their own clock.
//! - A connection that carries a download is cut off when it took nothing for `stalled_max`.
//! - Any other connection is cut off when nothing was finished on it for `idle_max`.

use actix_web::rt::net::TcpStream;
use std::collections::HashMap;
use std::net::{IpAddr, Shutdown};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// All open connections of a node's ports for clients, over all workers.
pub(super) struct Connections {
    since: Instant,
    per_address_max: u32,
    next: AtomicU64,
    cut: AtomicU64,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    open: HashMap<u64, Arc<State>>,
    by_address: HashMap<IpAddr, u32>,
}

/// What is known of one connection.
struct State {
    /// A second handle of the socket, to shut it down.
    socket: std::net::TcpStream,
    /// When something last happened, in milliseconds since `Connections::since`.
    at_ms: AtomicU64,
    handling: AtomicU32,
    streaming: AtomicU32,
    /// Shut down here already; the worker has yet to notice.
    gone: AtomicBool,
}

/// Lives as long as its connection.
pub(super) struct Connection {
    all: Arc<Connections>,
    number: u64,
    address: Option<IpAddr>,
    state: Option<Arc<State>>,
}

impl Connection {
    /// The address at its other end.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

impl Connections {
    /// An empty table that allows so many connections per address; 0 allows any number.
    pub(super) fn new(per_address_max: u32) -> Arc<Self> {
        Arc::new(Connections {
            since: Instant::now(),
            per_address_max,
            next: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            table: Mutex::default(),
        })
    }

    /// How many connections are open now.
    pub(super) fn count(&self) -> usize {
        self.table().open.len()
    }

    /// Connections refused or cut off here since start.
    pub(super) fn cut_off(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Takes note of a new connection; shuts it down at once when its address has too many.
    pub(super) fn admit(self: &Arc<Self>, stream: &TcpStream) -> Connection {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let address = stream.peer_addr().ok().map(|a| a.ip());
        // Without a second handle (no descriptors left) the connection works, but is not watched.
        let socket = stream.as_fd().try_clone_to_owned().ok().map(std::net::TcpStream::from);
        let state = socket.map(|socket| {
            let zero = || AtomicU32::new(0);
            let at_ms = AtomicU64::new(self.now_ms());
            Arc::new(State { socket, at_ms, handling: zero(), streaming: zero(), gone: AtomicBool::new(false) })
        });
        let mut table = self.table();
        if let Some(address) = address {
            let count = table.by_address.entry(address).or_default();
            *count += 1;
            let too_many = self.per_address_max > 0 && *count > self.per_address_max;
            if let Some(state) = state.as_ref().filter(|_| too_many) {
                self.cut_off_now(state);
            }
        }
        if let Some(state) = &state {
            table.open.insert(number, Arc::clone(state));
        }
        Connection { all: Arc::clone(self), number, address, state }
    }

    /// Cuts off what is stuck; to be called now and then.
    pub(super) fn sweep(&self, idle_max: Duration, stalled_max: Duration) {
        let now = self.now_ms();
        let older = |state: &State, max: Duration| {
            u128::from(now.saturating_sub(state.at_ms.load(Ordering::Relaxed))) > max.as_millis()
        };
        for state in self.table().open.values() {
            let stuck = if state.handling.load(Ordering::Relaxed) > 0 {
                false
            } else if state.streaming.load(Ordering::Relaxed) > 0 {
                older(state, stalled_max)
            } else {
                older(state, idle_max)
            };
            if stuck {
                self.cut_off_now(state);
            }
        }
    }

    fn cut_off_now(&self, state: &State) {
        if !state.gone.swap(true, Ordering::Relaxed) {
            let _ = state.socket.shutdown(Shutdown::Both);
            self.cut.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.all.table();
        table.open.remove(&self.number);
        if let Some(address) = self.address
            && let Some(count) = table.by_address.get_mut(&address)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                table.by_address.remove(&address);
            }
        }
    }
}

impl Connection {
    /// Something was finished on it.
    pub(super) fn progress(&self) {
        if let Some(state) = &self.state {
            state.at_ms.store(self.all.now_ms(), Ordering::Relaxed);
        }
    }

    /// Marks a request as being handled, until the guard drops.
    pub(super) fn handling(&self) -> Option<Handling> {
        let state = self.state.as_ref()?;
        state.handling.fetch_add(1, Ordering::Relaxed);
        Some(Handling { all: Arc::clone(&self.all), state: Arc::clone(state) })
    }

    /// Marks an answer as being streamed, until the guard drops.
    pub(super) fn streaming(&self) -> Option<Streaming> {
        let state = self.state.as_ref()?;
        state.streaming.fetch_add(1, Ordering::Relaxed);
        Some(Streaming { all: Arc::clone(&self.all), state: Arc::clone(state) })
    }
}

/// A request is being handled on a connection.
pub(super) struct Handling {
    all: Arc<Connections>,
    state: Arc<State>,
}

impl Drop for Handling {
    fn drop(&mut self) {
        self.state.at_ms.store(self.all.now_ms(), Ordering::Relaxed);
        self.state.handling.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer is being streamed on a connection.
pub(super) struct Streaming {
    all: Arc<Connections>,
    state: Arc<State>,
}

impl Streaming {
    /// The client took something.
    pub(super) fn progress(&self) {
        self.state.at_ms.store(self.all.now_ms(), Ordering::Relaxed);
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.progress();
        self.state.streaming.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream as Plain};

    async fn pair(all: &Arc<Connections>) -> (Plain, TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = Plain::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let accepted = listener.accept().unwrap().0;
        accepted.set_nonblocking(true).unwrap();
        let server = TcpStream::from_std(accepted).unwrap();
        let connection = all.admit(&server);
        (client, server, connection)
    }

    fn is_open(client: &mut Plain) -> bool {
        matches!(client.read(&mut [0]), Err(e) if e.kind() == ErrorKind::WouldBlock)
    }

    /// Everything counts as older than nothing, once the clock has moved.
    fn sweep_all(all: &Connections) {
        let start = all.now_ms();
        while all.now_ms() <= start + 1 {
            std::thread::yield_now();
        }
        all.sweep(Duration::ZERO, Duration::ZERO);
    }

    #[actix::test]
    async fn only_what_is_stuck_is_cut_off() {
        let all = Connections::new(0);
        let (mut busy_client, _s1, busy) = pair(&all).await;
        let (mut idle_client, _s2, _idle) = pair(&all).await;
        let (mut reader, _s3, slow) = pair(&all).await;
        let (_handling, streaming) = (busy.handling(), slow.streaming());
        sweep_all(&all);
        assert!(is_open(&mut busy_client));
        assert!(!is_open(&mut idle_client));
        assert!(!is_open(&mut reader), "took nothing since it began");
        drop(streaming);
        all.sweep(Duration::from_secs(60), Duration::from_secs(60));
        assert_eq!(all.cut_off(), 2);
        assert_eq!(all.count(), 3);
        drop((busy, _idle, slow));
        assert_eq!(all.count(), 0);
        assert!(all.table().by_address.is_empty());
    }

    #[actix::test]
    async fn an_address_has_so_many_connections_and_no_more() {
        let all = Connections::new(2);
        let (mut a, _sa, _a) = pair(&all).await;
        let (mut b, _sb, b_conn) = pair(&all).await;
        let (mut c, _sc, c_conn) = pair(&all).await;
        assert!(is_open(&mut a) && is_open(&mut b) && !is_open(&mut c));
        drop((b_conn, c_conn));
        let (mut d, _sd, _d) = pair(&all).await;
        assert!(is_open(&mut d));
    }
}
