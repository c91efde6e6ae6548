//! What the integration tests share: a node as a process of its own, and HTTP over a socket, with TLS or without.
//!
//! A node listens on ports of the system's choice and tells them in `<data>/addresses.json`. Nothing
//! here waits for a time to pass: it waits for a condition, with a deadline.

#![allow(dead_code)] // Each test binary uses its own part of this.

pub mod cluster;
pub mod multipart;
pub mod pki;
pub mod relay;
pub mod s3;

use boveda::tls::{Secured, Trust};
use pki::{Ca, Placed};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take that should take milliseconds; machines under load are slow.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// An address on this machine, at a port of the system's choice.
pub const ANY_PORT: &str = "127.0.0.1:0";

/// The arguments by which a node is told where to listen: for clients, for those of S3, and for its peers.
pub const fn listening<'a>(http: &'a str, s3: &'a str, peer: &'a str) -> [&'a str; 6] {
    ["--listen", http, "--s3-listen", s3, "--peer-listen", peer]
}

/// All of them at ports of the system's choice.
pub const ANY_PORTS: [&str; 6] = listening(ANY_PORT, ANY_PORT, ANY_PORT);

/// Copies a directory; nobody writes in it.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// Waits until `condition` gives a value.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// An access key as its owner has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl Key {
    /// The key that an answer or a file tells.
    #[track_caller]
    pub fn of(json: &serde_json::Value) -> Self {
        let text = |name: &str| json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned();
        Key { id: text("id"), secret: text("secret") }
    }

    /// The key that a file holds.
    pub fn in_file(path: &Path) -> Self {
        Key::of(&serde_json::from_slice(&fs::read(path).expect("a file with a key")).expect("JSON"))
    }

    /// How its owner calls.
    pub fn bearer(&self) -> String {
        format!("Bearer {}.{}", self.id, self.secret)
    }
}

/// A running node with its own directories, ended when dropped.
pub struct Node {
    child: Option<Child>,
    dir: TempDir,
    keys: PathBuf,
    settings: Vec<(String, String)>,
    /// Whose word is taken for its certificate; none where it speaks plain HTTP.
    trust: Option<Trust>,
    /// Where it is to listen for clients.
    listen: String,
    /// By which access key requests without one are sent.
    key: Option<Key>,
    at: Option<Addresses>,
}

/// Where a node listens.
#[derive(Clone, Copy)]
struct Addresses {
    http: SocketAddr,
    s3: SocketAddr,
    peer: SocketAddr,
}

impl Node {
    /// A node with default settings.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A node with some settings, by the names of their environment variables.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let mut node = Self::prepared(settings, None);
        node.begin();
        node
    }

    /// A node that does not run yet; without a key directory it makes its own key.
    pub fn prepared(settings: &[(&str, &str)], keys: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the node");
        let keys = keys.map_or_else(|| dir.path().join("keys"), Path::to_owned);
        let settings = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let listen = ANY_PORT.to_owned();
        Node { child: None, dir, keys, settings, trust: None, listen, key: None, at: None }
    }

    /// The same node twice: one that speaks plain HTTP, and one that speaks it over TLS.
    pub fn on_both_wires(settings: &[(&str, &str)]) -> [Self; 2] {
        let ca = Ca::new("an authority of tests");
        let mut sealed = Self::prepared(settings, None);
        sealed.show(&ca, &ca.issue(&["localhost"], pki::FAR).place(&sealed.home().join("tls")));
        sealed.begin();
        [Self::with(settings), sealed]
    }

    /// Has it show that certificate from its next start on, and asks it over TLS.
    pub fn show(&mut self, ca: &Ca, placed: &Placed) {
        self.set("BOVEDA_TLS_CERT", placed.cert.to_str().expect("UTF-8"));
        self.set("BOVEDA_TLS_KEY", placed.key.to_str().expect("UTF-8"));
        self.trust = Some(ca.trust());
    }

    /// A setting of its next start, by the name of its environment variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Where it listens for clients from its next start on: an address of this machine, and port 0.
    pub fn listen_at(&mut self, address: &str) {
        self.listen = address.to_owned();
    }

    /// From now on its requests are sent by this access key, unless they bring another along.
    pub fn ask_by(&mut self, key: &Key) {
        self.key = Some(key.clone());
    }

    /// Makes an access key with these grants.
    #[track_caller]
    pub fn new_key(&self, name: &str, grants: &[&str]) -> Key {
        let wanted = serde_json::json!({ "name": name, "grants": grants });
        let made = self.ask("POST", "/v1/access", &[], wanted.to_string().as_bytes());
        assert_eq!(made.status, 201, "{made:?}");
        Key::of(&made.json())
    }

    /// One request by an access key.
    pub fn ask_as(&self, key: &Key, method: &str, target: &str, body: &[u8]) -> Answer {
        self.ask(method, target, &[("Authorization", &key.bearer())], body)
    }

    /// Starts the process (again) and waits until it is ready.
    pub fn begin(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let addresses = self.data().join("addresses.json");
        match fs::remove_file(&addresses) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{}: {error}", addresses.display()),
            _ => {}
        }
        let log = File::options().append(true).create(true).open(self.log_path()).expect("a log file");
        let mut command = self.serve();
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.child = Some(command.spawn().expect("the node starts"));
        self.wait_for("its addresses", |_| read_addresses(&addresses));
        // Nodes that have to find each other first are ready together, later.
        let voting = self.settings.iter().any(|(k, v)| k == "BOVEDA_CLUSTER_DURABILITY" && v == "majority");
        let probe = if voting { "/healthz" } else { "/readyz" };
        let at = self.wait_for("readiness", |node| {
            // A node that begins another life starts again, at other ports.
            let at = read_addresses(&addresses)?;
            let answer = Conn::open_with(node.trust.as_ref(), at.http).ok()?.ask("GET", probe, &[], b"").ok()?;
            (answer.status == 200).then_some(at)
        });
        self.at = Some(at);
    }

    /// Another limit of what the running process may take of the system; the one before.
    pub fn limit(&self, what: Resource, to: u64) -> Rlimit {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        // It has the upper limit from us, and keeps it.
        let maximum = getrlimit(what).maximum;
        let current = Some(to).filter(|to| maximum.is_none_or(|most| *to <= most)).or(maximum);
        prlimit(Some(pid), what, Rlimit { current, maximum }).expect("a child of ours")
    }

    /// Looks where it listens now: it may have started again by itself.
    pub fn look_again(&mut self) {
        if let Some(at) = read_addresses(&self.data().join("addresses.json")) {
            self.at = Some(at);
        }
    }

    /// Its key directory.
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// The program over this node's directories, which does not run, with what it has for settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boveda"));
        command.args(args).arg("--data").arg(self.data()).arg("--key-dir").arg(&self.keys);
        command.envs(self.settings.iter().map(|(k, v)| (k, v))).stdin(Stdio::null());
        command
    }

    /// The program as it serves over this node's directories, at ports of the system's choice.
    pub fn serve(&self) -> Command {
        let mut command = self.command(&["serve"]);
        command.args(listening(&self.listen, ANY_PORT, ANY_PORT));
        command
    }

    fn wait_for<T>(&mut self, what: &str, mut condition: impl FnMut(&Self) -> Option<T>) -> T {
        let log = self.log_path();
        let mut child = self.child.take().expect("it was started");
        let found = eventually(what, || {
            if let Some(status) = child.try_wait().expect("the child can be asked") {
                panic!("the node ended with {status}:\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            condition(self)
        });
        self.child = Some(child);
        found
    }

    /// Its HTTP address.
    pub fn http(&self) -> SocketAddr {
        self.at.expect("it runs").http
    }

    /// The address of its S3 port.
    pub fn s3(&self) -> SocketAddr {
        self.at.expect("it runs").s3
    }

    /// Its peer address.
    pub fn peer(&self) -> SocketAddr {
        self.at.expect("it runs").peer
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The directory that holds data, keys and log.
    pub fn home(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Ends it without warning.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("it can be signalled");
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.ended()
    }

    /// Waits until it has ended, as it was asked to.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        eventually("the node to end", || child.try_wait().expect("the child can be asked"))
    }

    /// A new connection, if it takes one.
    pub fn connect_if_up(&self) -> Option<Conn> {
        Conn::open_with(self.trust.as_ref(), self.http()).ok()
    }

    /// A new connection to the node's HTTP port.
    pub fn connect(&self) -> Conn {
        Conn::open_with(self.trust.as_ref(), self.http()).expect("the node takes connections")
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = self.key.as_ref().map(Key::bearer).unwrap_or_default();
        let has_one = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let mut all = headers.to_vec();
        if self.key.is_some() && !has_one {
            all.push(("Authorization", &bearer));
        }
        self.connect().ask(method, target, &all, body).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    /// GET without headers.
    pub fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], b"")
    }

    /// PUT without headers.
    pub fn put(&self, target: &str, body: &[u8]) -> Answer {
        self.ask("PUT", target, &[], body)
    }

    /// Has that generation of the cluster's key seal, once all members hold it.
    pub fn rotate(&self, generation: u32) {
        let target = format!("/v1/cluster/keys?generation={generation}");
        eventually("a key generation to be on all members", || {
            (self.ask("POST", &target, &[], b"").status == 200).then_some(())
        });
    }

    /// DELETE without headers.
    pub fn delete(&self, target: &str) -> Answer {
        self.ask("DELETE", target, &[], b"")
    }

    /// A form with one file, as `curl -F` sends it.
    pub fn upload(&self, name: &str, data: &[u8]) -> Answer {
        self.ask("POST", "/cargar", &[("Content-Type", FORM)], &form(&[file_part("archivo", name, data)]))
    }

    /// Files in a directory of its data, by name.
    pub fn files_in(&self, below: &str) -> Vec<String> {
        let entries = fs::read_dir(self.data().join(below)).into_iter().flatten().flatten();
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- log of the node ----\n{}", self.log());
        }
    }
}

fn read_addresses(path: &Path) -> Option<Addresses> {
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let address = |name: &str| json[name].as_str()?.parse().ok();
    Some(Addresses { http: address("http")?, s3: address("s3")?, peer: address("peer")? })
}

/// The content type of `form`.
pub const FORM: &str = "multipart/form-data; boundary=------------------------d74496d66958873e";
const DELIMITER: &str = "--------------------------d74496d66958873e";

/// A part of a form with a file.
pub fn file_part(field: &str, name: &str, data: &[u8]) -> Vec<u8> {
    let disposition = format!("form-data; name=\"{field}\"; filename=\"{}\"", name.replace('"', "%22"));
    part(&[("Content-Disposition", &disposition)], data)
}

/// A part of a form.
pub fn part(headers: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    [head.as_bytes(), b"\r\n", data].concat()
}

/// A form of parts.
pub fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(format!("{DELIMITER}\r\n").as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("{DELIMITER}--\r\n").as_bytes());
    out
}

/// What bytes travel on.
enum Wire {
    Plain(TcpStream),
    Tls(Box<Secured>),
}

impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buf),
            Wire::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Tls(stream) => stream.flush(),
        }
    }
}

/// A connection to a node: requests are written as given, answers are read by the book.
pub struct Conn {
    stream: BufReader<Wire>,
    /// Interim answers (100) seen so far.
    pub continued: usize,
}

impl Conn {
    /// Connects; nothing is waited for longer than `DEADLINE`.
    pub fn open(to: SocketAddr) -> io::Result<Self> {
        Self::open_with(None, to)
    }

    /// The same over TLS, by somebody whose word is taken.
    pub fn open_with(trust: Option<&Trust>, to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        let wire = match trust {
            None => Wire::Plain(stream),
            Some(trust) => Wire::Tls(Box::new(trust.connect("localhost", stream)?)),
        };
        Ok(Conn { stream: BufReader::new(wire), continued: 0 })
    }

    /// The certificate that the node showed, as it is.
    pub fn shown(&self) -> Vec<u8> {
        match self.stream.get_ref() {
            Wire::Plain(_) => panic!("no certificate is shown on a plain wire"),
            Wire::Tls(stream) => stream.conn.peer_certificates().expect("a certificate")[0].to_vec(),
        }
    }

    /// Writes bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Says that nothing more will be sent.
    pub fn end_sending(&mut self) {
        match self.stream.get_mut() {
            Wire::Plain(stream) => drop(stream.shutdown(Shutdown::Write)),
            Wire::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
                let _ = stream.sock.shutdown(Shutdown::Write);
            }
        }
    }

    /// The name by which nodes are asked.
    pub const HOST: &'static str = "boveda";

    /// Sends a request with a `Content-Length`, and reads its answer.
    pub fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        self.ask_at(Self::HOST, method, target, headers, body)
    }

    /// The same by another name of the node.
    pub fn ask_at(
        &mut self,
        host: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || matches!(method, "PUT" | "POST") {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        self.send(&head)?;
        // A node that refuses early may close while we send; its answer is what counts.
        let sent = self.send(body);
        match self.answer(method == "HEAD") {
            Ok(answer) => Ok(answer),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    /// Reads one answer, with its body unless it is for HEAD.
    pub fn answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let answer = self.head()?;
        if to_head || matches!(answer.status, 204 | 304) {
            return Ok(answer);
        }
        self.body(answer)
    }

    /// Reads one answer up to its body.
    pub fn head(&mut self) -> io::Result<Answer> {
        loop {
            let line = self.line()?;
            let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
            let mut headers = Vec::new();
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            if status == 100 {
                self.continued += 1;
                continue;
            }
            return Ok(Answer { status, headers, body: Vec::new() });
        }
    }

    /// Reads the body that an answer's head announces.
    pub fn body(&mut self, mut answer: Answer) -> io::Result<Answer> {
        assert_eq!(answer.header("transfer-encoding"), None, "bodies have a known length here");
        let len = answer.header("content-length").map_or(0, |v| v.parse().expect("a length is a number"));
        answer.body = vec![0; len];
        self.stream.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    /// Waits for an answer: whether it is an interim one, that the body is wanted.
    pub fn is_told_to_go_on(&mut self) -> bool {
        self.stream.fill_buf().expect("an answer").starts_with(b"HTTP/1.1 100")
    }

    /// Waits to be told to go on with a body.
    pub fn told_to_go_on(&mut self) {
        const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut told = [0; GO_ON.len()];
        self.stream.read_exact(&mut told).expect("an interim answer");
        assert_eq!(told, GO_ON);
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Reads to the end of the connection; a reset counts as an end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the connection stays open")
            }
            _ => rest,
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header that stands once, or not at all.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = all.next();
        assert_eq!(all.next(), None, "{name} stands twice");
        first
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// Checks that this is an error as all errors are: JSON, with this code and the request's id.
    #[track_caller]
    pub fn expect_error(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let json = self.json();
        assert_eq!(json["code"], code);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(json["request_id"].as_str(), self.header("x-request-id"));
        assert!(json["request_id"].as_str().is_some_and(|id| !id.is_empty()));
        json["error"].as_str().filter(|text| !text.is_empty()).expect("a message").to_owned()
    }

    /// Checks that this is a write's answer: it says how far the write went.
    #[track_caller]
    pub fn expect_written(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("x-boveda-durability"), Some("majority"));
        assert_eq!(self.header("x-boveda-replicas"), Some("1/1"));
        self
    }
}

/// Numbers that look random and are the same on every run of a seed.
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    /// Bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.roll().to_le_bytes());
        }
        out.truncate(len);
        out
    }
}

/// Percent-encodes everything but letters and digits.
pub fn escape(name: &str) -> String {
    name.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
