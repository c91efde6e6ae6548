//! A relay between two nodes. It reads whole HTTP messages, so that a test can keep, change, cut or stop
//! them; and its port stays the same while the node behind it comes back on another one. Messages of no
//! announced length pass chunk by chunk, each of which is looked at; and those of one path may pass slowly.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the node behind the relay.
    Request,
    /// Back.
    Answer,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on, perhaps changed.
    Pass,
    /// So many bytes of its body go on; then both connections are closed.
    Cut(usize),
    /// It waits until `let_go`; others go on meanwhile.
    Hold,
}

/// Between two pieces of what passes slowly.
const STEP: Duration = Duration::from_millis(20);

/// Looks at a message, by the path of its request, and may change its body.
pub type Judge = Box<dyn FnMut(Way, &str, &mut Vec<u8>) -> Fate + Send>;

/// Forwards connections; ends them when dropped.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    target: Mutex<Option<SocketAddr>>,
    judge: Mutex<Option<Judge>>,
    /// Requests to this path are read at so many bytes a second.
    pace: Mutex<Option<(&'static str, usize)>>,
    /// Whatever is open, so that it can be closed from outside.
    open: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    ending: AtomicBool,
    let_go: AtomicBool,
}

/// The test that uses a relay may panic in its judge; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// A relay to nowhere yet: it hangs up on whoever comes.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for a relay");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let mine = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for (id, client) in (0..).zip(listener.incoming()) {
                if mine.ending.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Some(target)) = (client, *lock(&mine.target)) else { continue };
                let shared = Arc::clone(&mine);
                std::thread::spawn(move || {
                    // A connection that breaks is closed on both sides; that is all the relay can say.
                    let _ = shared.forward(id, client, target);
                    shared.close(id);
                });
            }
        });
        Relay { address, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects it to a node, or to nowhere. What was open is closed.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        *lock(&self.shared.target) = target;
        self.shared.close_all();
    }

    /// From now on this decides about every message.
    pub fn judge(&self, judge: impl FnMut(Way, &str, &mut Vec<u8>) -> Fate + Send + 'static) {
        *lock(&self.shared.judge) = Some(Box::new(judge));
    }

    /// From now on the bodies of requests to this path are read and passed on at so many bytes a second, those that are
    /// under way too; nobody judges them. With 0 the relay takes the connection and reads no more.
    pub fn slow(&self, path: &'static str, bytes_a_second: usize) {
        *lock(&self.shared.pace) = Some((path, bytes_a_second));
    }

    /// Whatever was held goes on, and nothing is held any more.
    pub fn let_go(&self) {
        self.shared.let_go.store(true, Ordering::SeqCst);
    }

    /// From now on every message passes as it is.
    pub fn pass(&self) {
        *lock(&self.shared.judge) = None;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.shared.close_all();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    fn forward(&self, id: u64, client: TcpStream, target: SocketAddr) -> io::Result<()> {
        let node = TcpStream::connect(target)?;
        for stream in [&client, &node] {
            stream.set_nodelay(true)?;
        }
        {
            let mut open = lock(&self.open);
            // Led elsewhere, or nowhere, while it connected: whoever closed all that was open did not see it.
            if *lock(&self.target) != Some(target) {
                return Ok(());
            }
            open.insert(id, [client.try_clone()?, node.try_clone()?]);
        }
        let (mut client, mut node) = (BufReader::new(client), BufReader::new(node));
        while let Some(mut request) = Message::read_head(&mut client)? {
            let path = request.head.split(' ').nth(1).unwrap_or_default().to_owned();
            // A node may refuse before it has read all; its answer is what counts.
            let passed = match request.chunked {
                true => self.pass_chunks(&path, &request, &mut client, node.get_mut()),
                false if self.pace_of(&path).is_some() => {
                    self.pass_slowly(&path, &request, &mut client, node.get_mut())
                }
                false => {
                    request.read_body(&mut client)?;
                    self.pass_on(Way::Request, &path, request, node.get_mut())
                }
            };
            if !passed.unwrap_or(true) {
                return Ok(());
            }
            let Some(answer) = Message::read(&mut node)? else { return Ok(()) };
            let last = answer.head.to_ascii_lowercase().contains("connection: close");
            if !self.pass_on(Way::Answer, &path, answer, client.get_mut())? || last {
                return Ok(());
            }
        }
        Ok(())
    }

    fn fate(&self, way: Way, path: &str, body: &mut Vec<u8>) -> Fate {
        lock(&self.judge).as_mut().map_or(Fate::Pass, |judge| judge(way, path, body))
    }

    fn pace_of(&self, path: &str) -> Option<usize> {
        lock(&self.pace).filter(|(on, _)| *on == path).map(|(_, pace)| pace)
    }

    /// A request whose body is read no faster than its path allows. The connection goes on.
    fn pass_slowly(
        &self,
        path: &str,
        request: &Message,
        from: &mut BufReader<TcpStream>,
        to: &mut TcpStream,
    ) -> io::Result<bool> {
        to.write_all(request.head.as_bytes())?;
        let mut left = request.body.len();
        while left > 0 && !self.ending.load(Ordering::SeqCst) {
            let pace = self.pace_of(path).unwrap_or(usize::MAX);
            let mut piece = vec![0; left.min(pace / (1000 / STEP.as_millis() as usize))];
            from.read_exact(&mut piece)?;
            to.write_all(&piece)?;
            left -= piece.len();
            std::thread::sleep(STEP);
        }
        Ok(true)
    }

    /// A request whose chunks are passed on as they come. Whether the connection goes on.
    fn pass_chunks(
        &self,
        path: &str,
        request: &Message,
        from: &mut BufReader<TcpStream>,
        to: &mut TcpStream,
    ) -> io::Result<bool> {
        to.write_all(request.head.as_bytes())?;
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let len = usize::from_str_radix(line.trim_end(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
            let mut chunk = vec![0; len];
            from.read_exact(&mut chunk)?;
            from.read_exact(&mut [0; 2])?;
            if len > 0 {
                match self.fate(Way::Request, path, &mut chunk) {
                    Fate::Pass => {}
                    Fate::Hold => self.hold(),
                    Fate::Cut(_) => return Ok(false),
                }
            }
            to.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            chunk.extend_from_slice(b"\r\n");
            to.write_all(&chunk)?;
            if len == 0 {
                return Ok(true);
            }
        }
    }

    /// Whether the connection goes on.
    fn pass_on(&self, way: Way, path: &str, mut message: Message, to: &mut TcpStream) -> io::Result<bool> {
        let fate = self.fate(way, path, &mut message.body);
        if fate == Fate::Hold {
            self.hold();
        }
        to.write_all(message.head.as_bytes())?;
        match fate {
            Fate::Pass | Fate::Hold => to.write_all(&message.body).map(|()| true),
            Fate::Cut(len) => to.write_all(&message.body[..len.min(message.body.len())]).map(|()| false),
        }
    }

    fn hold(&self) {
        while !self.let_go.load(Ordering::SeqCst) && !self.ending.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn close(&self, id: u64) {
        for stream in lock(&self.open).remove(&id).into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn close_all(&self) {
        for stream in std::mem::take(&mut *lock(&self.open)).into_values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A request or an answer.
struct Message {
    head: String,
    body: Vec<u8>,
    /// Its body has not been read: it comes in chunks.
    chunked: bool,
}

impl Message {
    /// The next one; `None` when the sender closed in between.
    fn read(from: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let mut message = Self::read_head(from)?;
        message.iter_mut().try_for_each(|message| message.read_body(from))?;
        Ok(message)
    }

    fn read_body(&mut self, from: &mut BufReader<TcpStream>) -> io::Result<()> {
        from.read_exact(&mut self.body)
    }

    /// The next one, with room for its body.
    fn read_head(from: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let (mut head, mut len, mut chunked) = (String::new(), 0, false);
        loop {
            let begin = head.len();
            if from.read_line(&mut head)? == 0 {
                return if begin == 0 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let line = head[begin..].trim_end();
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                len = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        Ok(Some(Message { head, body: vec![0; len], chunked }))
    }
}
