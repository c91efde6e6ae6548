//! Asking a running node, as a client of its HTTP port: which one, and by which access key.
//!
//! Invariants
//! - No more is read than `ANSWER_BYTES_MAX`, and a silence of `SILENCE_MAX`, or what the caller said, ends it.
//! - Nothing that a node said stands in an error unless it cannot steer a terminal.

use super::settings::Env;
use super::status_text::plain;
use crate::base::{Credential, Secret};
use crate::config::layers::CREDENTIAL_VARIABLES;
use crate::disk::secret_file::{self, SecretFileError};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const PORT: u16 = 5000;
const SILENCE_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 16 << 20;

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

/// Which node, and who asks: the environment says so by BOVEDA_ACCESS_KEY and BOVEDA_SECRET_KEY, unless a profile does.
#[derive(Debug, clap::Args)]
pub struct NodeArg {
    /// The node's HTTP port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    url: Url,
    /// Read the access key from this file, as `boveda access create --json` prints it
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

impl NodeArg {
    /// The node, as whoever runs this command is known there.
    pub fn node(&self, env: &Env) -> Result<Node, ClientError> {
        let key = match &self.profile {
            Some(file) => {
                let json = secret_file::read(file)?;
                Some(Credential::parse(json.expose()).ok_or_else(|| ClientError::NoProfile(file.clone()))?)
            }
            None => match CREDENTIAL_VARIABLES.map(|name| env.get(name)) {
                [None, None] => None,
                [id, secret] => Some(
                    id.zip(secret)
                        .and_then(|(id, secret)| Credential::of(id, secret))
                        .ok_or(ClientError::NoCredential)?,
                ),
            },
        };
        Ok(Node { url: self.url.clone(), key })
    }
}

/// A node that is asked.
#[derive(Debug)]
pub struct Node {
    url: Url,
    key: Option<Credential>,
}

/// Where a node's HTTP port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
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

impl Node {
    /// Sends one request without a body. The answer has to be JSON with `member` in it, by which a node is known.
    pub fn ask(&self, method: &str, target: &str, member: &str) -> Result<Answered, ClientError> {
        self.ask_patiently(method, target, member, SILENCE_MAX)
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
        if status != "200" && status != "201" {
            let words = |json: Value| Some((plain(json.get("error")?.as_str()?), plain(json.get("code")?.as_str()?)));
            return Err(match json.ok().and_then(words) {
                // It has no such path: a release that cannot do it.
                Some((_, code)) if code == "NoSuchRoute" => stranger(format!("status {}", plain(status))),
                Some((error, code)) => ClientError::Refused { url: url(), why: format!("{error} ({code})") },
                None => stranger(format!("status {}", plain(status))),
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
        mut stream: TcpStream,
        method: &str,
        target: &str,
        body: Option<&str>,
        silence: Duration,
    ) -> io::Result<String> {
        stream.set_read_timeout(Some(silence))?;
        stream.set_write_timeout(Some(SILENCE_MAX))?;
        let body = body.unwrap_or_default();
        let length = if method == "GET" { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {target} HTTP/1.0\r\nHost: {}\r\n{length}", self.url.authority);
        stream.write_all(head.as_bytes())?;
        if let Some(key) = &self.key {
            let line =
                [b"Authorization: Bearer ", key.id.as_str().as_bytes(), b".", key.secret.expose(), b"\r\n"].concat();
            stream.write_all(Secret::new(line).expose())?;
        }
        stream.write_all(b"\r\n")?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }
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
        const NOT: &str = "write http://HOST or http://HOST:PORT";
        let authority = text.strip_prefix("http://").ok_or(NOT)?;
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
        Ok(Url { authority: authority.to_owned(), host, port })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
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
        let told = Node { url, key: None }.ask("PUT", "/v1/cluster/members", "seats");
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
    }

    #[test]
    fn who_asks_is_said_by_a_profile_or_by_the_environment() {
        let (id, secret) = ("A".repeat(20), "B".repeat(40));
        let arg = |profile: Option<PathBuf>| NodeArg { url: "http://h".parse().expect("an address"), profile };
        let env = |vars: &[(&str, &str)]| vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Env>();
        let asks = |arg: &NodeArg, vars: &[(&str, &str)]| arg.node(&env(vars)).map(|node| node.key.map(|key| key.id));
        let both = [("BOVEDA_ACCESS_KEY", id.as_str()), ("BOVEDA_SECRET_KEY", secret.as_str())];
        assert!(asks(&arg(None), &[]).is_ok_and(|key| key.is_none()));
        assert!(asks(&arg(None), &both).is_ok_and(|key| key.is_some()));
        for half in [&both[..1], &both[1..], &[both[0], ("BOVEDA_SECRET_KEY", "B")]] {
            assert!(matches!(asks(&arg(None), half), Err(ClientError::NoCredential)));
        }
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("profile");
        assert!(matches!(asks(&arg(Some(file.clone())), &both), Err(ClientError::Profile(_))));
        let other = Credential::of(&"C".repeat(20), &secret).expect("a key");
        secret_file::create(&file, &other.to_json()).expect("a file");
        assert!(asks(&arg(Some(file.clone())), &both).is_ok_and(|key| key == Some(other.id)), "the profile counts");
        secret_file::remove(&file).expect("ours");
        secret_file::create(&file, &Secret::new(b"{}".to_vec())).expect("a file");
        assert!(matches!(asks(&arg(Some(file)), &both), Err(ClientError::NoProfile(_))));
    }

    #[test]
    fn urls_are_taken_apart() {
        for (text, host, port) in [
            ("http://127.0.0.1:5010", "127.0.0.1", 5010),
            ("http://node-1.example/", "node-1.example", 5000),
            ("http://[::1]", "::1", 5000),
            ("http://[::1]:7/", "::1", 7),
        ] {
            let url: Url = text.parse().expect(text);
            assert_eq!((url.host.as_str(), url.port), (host, port), "{text}");
            assert_eq!(url.to_string(), text.trim_end_matches('/'));
        }
        for bad in [
            "",
            "http://",
            "https://h",
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
