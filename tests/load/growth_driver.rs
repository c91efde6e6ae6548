//! The load of `tests/load/growth`: many objects of 1 KiB, each written once, in order, and read in order or at random.
//! With `GROWTH_BODY_KIB` they are of so many KiB, all of them alike.
//!
//! Invariants
//! - The number of an object gives its key and its bytes: every body that is read is compared, byte for byte.
//! - After the first answer that is not the one asked for no further number is given out. What is neither answered nor
//!   listed as failed was never asked for.
//! - A connection has one request under way; a latency is from its first byte out to the last of the answer.
//!
//! Usage, each printing one line of JSON:
//! `growth_driver put|get ADDRESS CONNECTIONS FROM TO` asks for each number of the range once, in order;
//! `growth_driver random ADDRESS CONNECTIONS OBJECTS SECONDS` reads below OBJECTS at random;
//! `growth_driver files DIRECTORY FROM TO` writes the same bodies as plain files.

use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

const BODY_BYTES: usize = 1024;
/// Most KiB of an object.
const BODY_KIB_MAX: usize = 64 << 10;
/// Under the names that `tests/load/run` has: nginx serves files below its root by the same paths.
const BUCKET: &str = "cargas";
const FOLDERS: u64 = 1000;
/// The threads of the load: they share the cores with the server.
const THREADS: usize = 2;
/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 4096;
/// A request that is not answered by then has failed.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Failed numbers and reasons that are told; all are counted.
const FAILED_MAX: usize = 100_000;

/// Which numbers are asked for.
enum Numbers {
    /// Each once, up to the end.
    Range(u64),
    /// Any below, until then.
    Random(u64, Instant),
}

/// What all connections share.
struct Load {
    address: String,
    puts: bool,
    /// How often the first KiB stands in a body.
    kib: usize,
    numbers: Numbers,
    next: AtomicU64,
    stopped: AtomicBool,
    failed: Mutex<Vec<(u64, String)>>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["files", directory, from, to] => files(Path::new(directory), from, to),
        [kind @ ("put" | "get" | "random"), address, connections, a, b] => drive(kind, address, connections, a, b),
        _ => Err(io::Error::other(
            "put|get ADDRESS CONNECTIONS FROM TO, random ADDRESS CONNECTIONS OBJECTS SECONDS or files DIRECTORY FROM TO",
        )),
    };
    match done {
        Ok(line) => println!("{line}"),
        Err(error) => {
            eprintln!("growth_driver: {error}");
            std::process::exit(1);
        }
    }
}

/// A number of the command line.
fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| io::Error::other(format!("{text} is no number")))
}

/// The finalizer of splitmix64: every number has another result, and neighbours are far apart.
fn mixed(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The key of an object: folders fill evenly, and in a folder keys come in no order.
fn key(n: u64) -> String {
    format!("folder-{:03}/{:016x}", n % FOLDERS, mixed(n))
}

/// Writes the bytes of an object to `out`.
fn body(n: u64, out: &mut [u8; BODY_BYTES]) {
    let first = mixed(!n);
    for (i, word) in (0u64..).zip(out.as_chunks_mut::<8>().0) {
        *word = mixed(first.wrapping_add(i)).to_le_bytes();
    }
}

fn files(directory: &Path, from: &str, to: &str) -> io::Result<String> {
    let bucket = directory.join("v1/objects").join(BUCKET);
    for folder in 0..FOLDERS {
        std::fs::create_dir_all(bucket.join(format!("folder-{folder:03}")))?;
    }
    let (from, to) = (number(from)?, number(to)?);
    let mut bytes = [0; BODY_BYTES];
    for n in from..to {
        body(n, &mut bytes);
        std::fs::write(bucket.join(key(n)), bytes)?;
    }
    Ok(format!("{{\"files\":{}}}", to.saturating_sub(from)))
}

/// KiB of each object, by the environment; 1 where that says nothing.
fn body_kib() -> io::Result<usize> {
    let text = std::env::var("GROWTH_BODY_KIB").unwrap_or_else(|_| "1".to_owned());
    let kib = usize::try_from(number(&text)?).map_err(io::Error::other)?;
    if (1..=BODY_KIB_MAX).contains(&kib) { Ok(kib) } else { Err(io::Error::other("GROWTH_BODY_KIB is out of range")) }
}

fn drive(kind: &str, address: &str, connections: &str, a: &str, b: &str) -> io::Result<String> {
    let connections = usize::try_from(number(connections)?.clamp(1, 4096)).map_err(io::Error::other)?;
    let begin = Instant::now();
    let (numbers, next) = match kind {
        "random" => {
            let seconds: f64 = b.parse().map_err(|_| io::Error::other(format!("{b} is no number of seconds")))?;
            (Numbers::Random(number(a)?.max(1), begin + Duration::from_secs_f64(seconds.clamp(0.1, 3600.0))), 0)
        }
        _ => (Numbers::Range(number(b)?), number(a)?),
    };
    let load = Load {
        address: address.to_owned(),
        puts: kind == "put",
        kib: body_kib()?,
        numbers,
        next: AtomicU64::new(next),
        stopped: AtomicBool::new(false),
        failed: Mutex::default(),
    };
    let load = &load;
    let mut latencies: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || on_thread(load, (thread..connections).step_by(THREADS))))
            .collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))))
            .collect::<io::Result<Vec<_>>>()
    })?
    .concat();
    let seconds = begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(told(load, &latencies, seconds))
}

/// The connections of one thread; returns their latencies in microseconds.
fn on_thread(load: &Load, connections: impl Iterator<Item = usize>) -> io::Result<Vec<u32>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let all = connections.map(|seed| connection(load, seed as u64));
        Ok(futures::future::join_all(all).await.concat())
    })
}

async fn connection(load: &Load, seed: u64) -> Vec<u32> {
    let mut latencies = Vec::new();
    let mut draw = mixed(seed ^ std::process::id() as u64);
    let mut line = match TcpStream::connect(&load.address).await {
        Ok(stream) => Line { stream, out: Vec::new(), got: Vec::new() },
        Err(error) => {
            load.stop(None, format!("no connection: {error}"));
            return latencies;
        }
    };
    if let Err(error) = line.stream.set_nodelay(true) {
        load.stop(None, error.to_string());
    }
    while let Some(n) = load.take(&mut draw) {
        let begin = Instant::now();
        let asked = tokio::time::timeout(ANSWER_MAX, line.ask(load, n)).await;
        match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => latencies.push(u32::try_from(begin.elapsed().as_micros()).unwrap_or(u32::MAX)),
            Err(error) => {
                return {
                    load.stop(Some(n), error.to_string());
                    latencies
                };
            }
        }
    }
    latencies
}

impl Load {
    /// The next number to ask for; none when all were given out, the time is over, or something went wrong.
    fn take(&self, draw: &mut u64) -> Option<u64> {
        if self.stopped.load(Ordering::Acquire) {
            return None;
        }
        match self.numbers {
            Numbers::Range(end) => Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < end),
            Numbers::Random(objects, until) => {
                *draw = mixed(*draw);
                (Instant::now() < until).then_some(*draw % objects)
            }
        }
    }

    /// Something went wrong: nothing more is asked for.
    fn stop(&self, n: Option<u64>, why: String) {
        self.stopped.store(true, Ordering::Release);
        let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        failed.push((n.unwrap_or(u64::MAX), why));
    }
}

/// One connection: its socket, the request under way, and what came of the answer.
struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    got: Vec<u8>,
}

impl Line {
    /// Writes or reads one object; an error when the answer is another than it has to be.
    async fn ask(&mut self, load: &Load, n: u64) -> io::Result<()> {
        let mut bytes = [0; BODY_BYTES];
        body(n, &mut bytes);
        let times = if load.puts { load.kib } else { 0 };
        let (method, len) = if load.puts { ("PUT", BODY_BYTES * times) } else { ("GET", 0) };
        self.out.clear();
        let head = format!("{method} /v1/objects/{BUCKET}/{} HTTP/1.1\r\nhost: {}\r\n", key(n), load.address);
        self.out.extend_from_slice(head.as_bytes());
        if load.puts {
            self.out.extend_from_slice(format!("content-length: {len}\r\n").as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
        (0..times).for_each(|_| self.out.extend_from_slice(&bytes));
        self.send().await?;
        let (status, from, to) = self.answer().await?;
        let right = if load.puts {
            matches!(status, 200 | 201)
        } else {
            status == 200 && self.holds(from..to, &bytes, load.kib)
        };
        if !right {
            let text = String::from_utf8_lossy(&self.got[from..to.min(from + 200)]);
            let what = if status == 200 { "other bytes" } else { &*text };
            return Err(io::Error::other(format!("{}: {status} {what}", key(n))));
        }
        self.got.clear();
        Ok(())
    }

    /// Whether what was got there is this, so often.
    fn holds(&self, at: std::ops::Range<usize>, bytes: &[u8; BODY_BYTES], kib: usize) -> bool {
        at.len() == kib * BODY_BYTES && self.got[at].chunks(BODY_BYTES).all(|piece| piece == bytes)
    }

    async fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.try_write(&self.out[sent..]) {
                Ok(more) => sent += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads a whole answer: its status, and where its body begins and ends in `got`.
    async fn answer(&mut self) -> io::Result<(u16, usize, usize)> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.got, b"\r\n\r\n") {
                let (status, len) = head_of(&self.got[..end])?;
                let from = end + 4;
                if self.got.len() >= from + len {
                    return Ok((status, from, from + len));
                }
            } else if self.got.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("the head of the answer does not end"));
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> io::Result<()> {
        // Most often the answer is there by the time one looks; if not, the runtime tells.
        self.stream.readable().await?;
        let mut piece = [0; 4096];
        match self.stream.try_read(&mut piece) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => {
                self.got.extend_from_slice(&piece[..more]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Status and length of the body, from the head of an answer.
fn head_of(head: &[u8]) -> io::Result<(u16, usize)> {
    let text = std::str::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|word| word.parse().ok());
    let len =
        lines.filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let len = len.and_then(|(_, value)| value.trim().parse().ok());
    match (status, len) {
        (Some(status), Some(len)) => Ok((status, len)),
        _ => Err(io::Error::other(format!("no status or no length in {text:?}"))),
    }
}

/// The line of JSON. Reasons hold whatever a server said, so they go as text of printable ASCII.
fn told(load: &Load, latencies: &[u32], seconds: f64) -> String {
    let at =
        |part: f64| latencies.get(((latencies.len() as f64 * part) as usize).min(latencies.len().saturating_sub(1)));
    let ms = |part| f64::from(at(part).copied().unwrap_or(0)) / 1e3;
    let failed = load.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let numbers: Vec<String> =
        failed.iter().filter(|(n, _)| *n != u64::MAX).take(FAILED_MAX).map(|(n, _)| n.to_string()).collect();
    let plain = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    let trouble = match failed.first() {
        Some((_, why)) => format!("\"{}\"", why.chars().filter(plain).collect::<String>()),
        None => "null".to_owned(),
    };
    // Numbers that were given out, whatever became of them.
    let next = match load.numbers {
        Numbers::Range(end) => load.next.load(Ordering::Acquire).min(end),
        Numbers::Random(..) => 0,
    };
    format!(
        "{{\"answered\":{},\"next\":{next},\"failed\":[{}],\"trouble\":{trouble},\"seconds\":{seconds},\
         \"p50_ms\":{},\"p99_ms\":{},\"p999_ms\":{},\"max_ms\":{}}}",
        latencies.len(),
        numbers.join(","),
        ms(0.5),
        ms(0.99),
        ms(0.999),
        ms(1.0),
    )
}
