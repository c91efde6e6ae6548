//! Asking a running node, as a client of its HTTP port, by an access key or without, with TLS or without.
//!
//! Invariants
//! - No more is read than `ANSWER_BYTES_MAX`, and a silence of `SILENCE_MAX`, or what the caller said, ends it.
//! - Nothing that a node said stands in an error unless it cannot steer a terminal.

use super::plain::plain;
use super::url::Url;
use crate::base::{Credential, Secret};
use crate::disk::secret_file::SecretFileError;
use crate::tls::{TlsError, Trust};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

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
    /// The profile cannot be read.
    #[error("{0}")]
    Profile(#[from] SecretFileError),
    /// The profile holds no access key.
    #[error("{} holds no access key: it is to be what 'boveda access create --json' prints", .0.display())]
    NoProfile(PathBuf),
    /// The environment names no access key, or half of one.
    #[error("BOVEDA_ACCESS_KEY and BOVEDA_SECRET_KEY are to hold the id and the secret of an access key, both of them")]
    NoCredential,
    /// The node understood and did not do it.
    #[error("the node at {url} refused: {why}")]
    Refused {
        /// The address that was asked.
        url: Url,
        /// The node's own error text, with its code.
        why: String,
    },
}

/// A node that is asked.
#[derive(Debug)]
pub struct Node {
    /// Where it is.
    pub url: Url,
    /// Whose word is taken for who it is; none without https.
    pub trust: Option<Trust>,
    /// Who asks; nobody without one.
    pub key: Option<Credential>,
}

/// What a node answered.
#[derive(Debug)]
pub struct Answered {
    /// The body as it came.
    pub raw: String,
    /// The same, parsed: commands read what they show from here.
    pub json: Value,
}

impl Node {
    /// Sends one request without a body. The answer has to be JSON with `member` in it, by which a node is known.
    pub fn ask(&self, method: &str, target: &str, member: &str) -> Result<Answered, ClientError> {
        self.ask_patiently(method, target, member, SILENCE_MAX)
    }

    /// Has something be so, where an answer without a body says that it is. A node is known by what its writes say.
    pub fn have(&self, method: &str, target: &str) -> Result<Answered, ClientError> {
        self.asked(method, target, None, "", SILENCE_MAX)
    }

    /// Sends one request with a JSON document.
    pub fn tell(&self, method: &str, target: &str, document: &Value, member: &str) -> Result<Answered, ClientError> {
        self.asked(method, target, Some(&document.to_string()), member, SILENCE_MAX)
    }

    /// Sends one request that may take as long as `silence` to be answered.
    pub fn ask_patiently(
        &self,
        method: &str,
        target: &str,
        member: &str,
        silence: Duration,
    ) -> Result<Answered, ClientError> {
        self.asked(method, target, None, member, silence)
    }

    fn asked(
        &self,
        method: &str,
        target: &str,
        body: Option<&str>,
        member: &str,
        silence: Duration,
    ) -> Result<Answered, ClientError> {
        let url = || self.url.clone();
        let answer = self.fetch(method, target, body, silence);
        let answer = answer.map_err(|source| match is_lost(&source) {
            true => ClientError::Lost { url: url() },
            false if is_unknown(&source) => ClientError::Unknown { url: url(), why: plain(&source.to_string()) },
            false => ClientError::Silent { url: url(), source },
        })?;
        let stranger = |what: String| ClientError::Stranger { url: url(), what };
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            return Err(match answer.is_empty() || answer.starts_with("HTTP/1.") {
                true => ClientError::Lost { url: url() },
                false => stranger("no HTTP".to_owned()),
            });
        };
        let status = head.split(' ').nth(1).unwrap_or_default();
        if length_of(head).is_some_and(|length| length > body.len()) {
            return Err(ClientError::Lost { url: url() });
        }
        let json: Result<Value, _> = serde_json::from_str(body);
        if ["200", "201", "204"].contains(&status) && member.is_empty() {
            return match head.to_ascii_lowercase().contains("\r\nx-boveda-durability:") {
                true => Ok(Answered { raw: body.to_owned(), json: Value::Null }),
                false => Err(stranger("it does not say how durable that is".to_owned())),
            };
        }
        if status != "200" && status != "201" {
            let words = |json: Value| Some((plain(json.get("error")?.as_str()?), plain(json.get("code")?.as_str()?)));
            return Err(match json.ok().and_then(words) {
                // It has no such path: a release that cannot do it.
                Some((_, code)) if code == "NoSuchRoute" => stranger(format!("status {}", plain(status))),
                Some((error, code)) => ClientError::Refused { url: url(), why: format!("{error} ({code})") },
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
    fn fetch(&self, method: &str, target: &str, body: Option<&str>, silence: Duration) -> io::Result<String> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in (self.url.host.as_str(), self.url.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, SILENCE_MAX) {
                Ok(stream) => return self.exchange(stream, method, target, body, silence),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn exchange(
        &self,
        stream: TcpStream,
        method: &str,
        target: &str,
        body: Option<&str>,
        silence: Duration,
    ) -> io::Result<String> {
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let request = self.request(method, target, body.unwrap_or_default());
        match &self.trust {
            None => {
                stream.set_read_timeout(Some(silence))?;
                talk(stream, &request)
            }
            Some(trust) => {
                let stream = trust.connect(&self.url.host, stream)?;
                stream.sock.set_read_timeout(Some(silence))?;
                talk(stream, &request)
            }
        }
    }

    /// The request as it travels, with the secret of who asks in it.
    fn request(&self, method: &str, target: &str, body: &str) -> Secret<Vec<u8>> {
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {target} HTTP/1.0\r\nHost: {}\r\n{length}", self.url.authority);
        let who: [&[u8]; 5] = match &self.key {
            Some(key) => [b"Authorization: Bearer ", key.id.as_str().as_bytes(), b".", key.secret.expose(), b"\r\n"],
            None => [b""; 5],
        };
        Secret::new([&[head.as_bytes()], &who[..], &[b"\r\n", body.as_bytes()]].concat().concat())
    }
}

fn talk(mut stream: impl Read + Write, request: &Secret<Vec<u8>>) -> io::Result<String> {
    stream.write_all(request.expose())?;
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
        let told = Node { url, trust: None, key: None }.ask("PUT", "/v1/cluster/members", "seats");
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
}
