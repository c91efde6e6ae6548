//! Asking a running node, as a client of its HTTP port, with TLS or without.
//!
//! Invariants
//! - No more is read than `ANSWER_BYTES_MAX`, and a silence of `SILENCE_MAX`, or what the caller said, ends it.
//! - Nothing that a node said stands in an error unless it cannot steer a terminal.

use super::status_text::plain;
use crate::tls::{TlsError, Trust};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

const PORT: u16 = 5000;
const SILENCE_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 16 << 20;
const SAID_CHARS_MAX: usize = 200;

/// Why there is no answer to work with.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the address.
    #[error("no node answers at {url}: {source}; is it running? (--url names another)")]
    Silent {
        /// The address that was asked.
        url: Url,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody's word can be taken for who answers.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// Who answers is not who it should be, or does not speak TLS.
    #[error("no node is known to be at {url}: {why}")]
    Unknown {
        /// The address that was asked.
        url: Url,
        /// What was wrong, with the remedy.
        why: String,
    },
    /// The connection ended without an answer, or in the middle of one.
    #[error(
        "the answer of the node at {url} was lost: its connection ended first; what was asked of it may be under way, or done: ask again"
    )]
    Lost {
        /// The address that was asked.
        url: Url,
    },
    /// What answered is no node, or one of another release.
    #[error("{url} answers, but not as a node of Boveda does: {what}")]
    Stranger {
        /// The address that was asked.
        url: Url,
        /// What is wrong with the answer.
        what: String,
    },
    /// The node understood and did not do it.
    #[error("the node at {url} refused: {why}")]
    Refused {
        /// The address that was asked.
        url: Url,
        /// The node's own error text, with its code.
        why: String,
    },
}

/// Where a node's HTTP port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    /// As it stands in a `Host` header.
    authority: String,
    host: String,
    port: u16,
}

/// What a node answered.
#[derive(Debug)]
pub struct Answered {
    /// The body as it came.
    pub raw: String,
    /// The same, parsed: commands read what they show from here.
    pub json: Value,
}

impl Url {
    /// Sends one request without a body, to be answered within `silence`, or the usual time. The answer has to be JSON
    /// with `member` in it, by which a node is known. `cacert`: whose word is taken with https, or that of the system's
    /// authorities.
    pub fn ask(
        &self,
        cacert: Option<&Path>,
        (method, target, member): (&str, &str, &str),
        silence: Option<Duration>,
    ) -> Result<Answered, ClientError> {
        let trust = if self.tls { Some(Trust::of(cacert)?) } else { None };
        let answer = self.fetch(trust.as_ref(), method, target, silence.unwrap_or(SILENCE_MAX));
        let answer = answer.map_err(|source| match is_lost(&source) {
            true => ClientError::Lost { url: self.clone() },
            false if is_unknown(&source) => ClientError::Unknown { url: self.clone(), why: plain(&source.to_string()) },
            false => ClientError::Silent { url: self.clone(), source },
        })?;
        let stranger = |what: String| ClientError::Stranger { url: self.clone(), what };
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            return Err(match answer.is_empty() || answer.starts_with("HTTP/1.") {
                true => ClientError::Lost { url: self.clone() },
                false => stranger("no HTTP".to_owned()),
            });
        };
        let status = head.split(' ').nth(1).unwrap_or_default();
        if length_of(head).is_some_and(|length| length > body.len()) {
            return Err(ClientError::Lost { url: self.clone() });
        }
        let json: Result<Value, _> = serde_json::from_str(body);
        if status != "200" {
            let words = |json: Value| Some((plain(json.get("error")?.as_str()?), plain(json.get("code")?.as_str()?)));
            return Err(match json.ok().and_then(words) {
                // It has no such path: a release that cannot do it.
                Some((_, code)) if code == "NoSuchRoute" => stranger(format!("status {}", plain(status))),
                Some((error, code)) => ClientError::Refused { url: self.clone(), why: format!("{error} ({code})") },
                None => stranger(match said(head, body) {
                    Some(said) => format!("status {}: {said}", plain(status)),
                    None => format!("status {}", plain(status)),
                }),
            });
        }
        let json = json.map_err(|error| stranger(error.to_string()))?;
        match json.get(member) {
            Some(_) => Ok(Answered { raw: body.to_owned(), json }),
            None => Err(stranger(format!("its answer has no {member}"))),
        }
    }

    /// The whole answer to one request. By HTTP/1.0, whose answers end with their connection.
    fn fetch(&self, trust: Option<&Trust>, method: &str, target: &str, silence: Duration) -> io::Result<String> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, SILENCE_MAX) {
                Ok(stream) => return self.exchange(stream, trust, method, target, silence),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn exchange(
        &self,
        stream: TcpStream,
        trust: Option<&Trust>,
        method: &str,
        target: &str,
        silence: Duration,
    ) -> io::Result<String> {
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
        let head = format!("{method} {target} HTTP/1.0\r\nHost: {}\r\n{length}\r\n", self.authority);
        match trust {
            None => {
                stream.set_read_timeout(Some(silence))?;
                talk(stream, &head)
            }
            Some(trust) => {
                let stream = trust.connect(&self.host, stream)?;
                stream.sock.set_read_timeout(Some(silence))?;
                talk(stream, &head)
            }
        }
    }
}

fn talk(mut stream: impl Read + Write, head: &str) -> io::Result<String> {
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

/// Whether who answers did not show who it is.
fn is_unknown(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TlsError>())
}

/// The first line of an answer in plain text: what a port says to who does not speak its protocol.
fn said(head: &str, body: &str) -> Option<String> {
    let is_text = head.lines().any(|line| line.to_ascii_lowercase().starts_with("content-type: text/plain"));
    let line: String = body.lines().next()?.chars().take(SAID_CHARS_MAX).collect();
    (is_text && !line.is_empty()).then(|| plain(&line))
}

/// Whether a connection that stood has ended: nobody is there to refuse one then.
fn is_lost(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// How long a body is, by its head.
fn length_of(head: &str) -> Option<usize> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next()?.1.trim().parse().ok()
}

impl FromStr for Url {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NOT: &str = "write http://HOST, https://HOST, or either with :PORT behind it";
        let (tls, authority) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(NOT),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let known = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        if authority.is_empty() || !authority.chars().all(known) {
            return Err(NOT);
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons within the brackets of an address are not before a port.
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| NOT)?),
            _ => (authority, PORT),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bare.unwrap_or(host).to_owned();
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(NOT);
        }
        Ok(Url { tls, authority: authority.to_owned(), host, port })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http{}://{}", if self.tls { "s" } else { "" }, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of an answer that ends there.
    fn told(answer: &'static str) -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url: Url = format!("http://{}", listener.local_addr().expect("bound")).parse().expect("an address");
        let node = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a caller");
            let mut asked = [0; 1024];
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                let got = stream.read(&mut asked).expect("a request");
                seen.extend_from_slice(&asked[..got]);
            }
            stream.write_all(answer.as_bytes()).expect("it listens");
        });
        let told = url.ask(None, ("PUT", "/v1/cluster/members", "seats"), None);
        node.join().expect("it answers");
        told.map_or_else(|error| error.to_string(), |answered| answered.raw)
    }

    #[test]
    fn an_answer_that_breaks_off_is_lost_and_no_strangers() {
        const WHOLE: &str = "HTTP/1.0 200 OK\r\ncontent-length: 12\r\n\r\n{\"seats\":[]}";
        assert_eq!(told(WHOLE), "{\"seats\":[]}");
        for end in [0, 10, 30, WHOLE.len() - 1] {
            let why = told(&WHOLE[..end]);
            assert!(why.contains("was lost") && why.contains("ask again"), "{end}: {why}");
        }
        assert!(told("220 mail.example ESMTP\r\n").contains("not as a node of Boveda does: no HTTP"));
        let told = told("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nuse https://\u{1b}\nmore");
        assert!(told.ends_with("does: status 400: use https://?"), "{told}");
    }

    #[test]
    fn urls_are_taken_apart() {
        for (text, host, port) in [
            ("http://127.0.0.1:5010", "127.0.0.1", 5010),
            ("http://node-1.example/", "node-1.example", 5000),
            ("http://[::1]", "::1", 5000),
            ("http://[::1]:7/", "::1", 7),
            ("https://node-1.example:5443", "node-1.example", 5443),
            ("https://[::1]", "::1", 5000),
        ] {
            let url: Url = text.parse().expect(text);
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for bad in [
            "",
            "http://",
            "https://",
            "ftp://h",
            "h:1",
            "http://h:x",
            "http://h:70000",
            "http://:1",
            "http://h/p",
            "http://a b",
            "http://::1:5",
            "http://h\r\nX: y",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad:?}");
        }
    }
}
