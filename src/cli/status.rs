//! `boveda status`: asks a running node how it is.
//!
//! Invariants
//! - No more is read than `ANSWER_BYTES_MAX`, and a silence of `SILENCE_MAX` ends it.
//! - Whatever answers, what is printed cannot steer a terminal.

use super::{Exit, print, refuse, status_text};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

const PORT: u16 = 5000;
const SILENCE_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Ask a running node how it and its peers are
///
/// Shows what /v1/cluster of that node says: disk, scrubbing, healing, keys, and for each peer the link, what
/// it lacks, and whether it holds the same. Exits 1 when the node does not answer.
#[derive(Debug, clap::Args)]
pub struct Status {
    /// The node's HTTP port
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    url: Url,
    /// Print the node's answer as it is
    #[arg(long)]
    json: bool,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum StatusError {
    #[error("no node answers at {url}: {source}; is it running? (--url names another)")]
    Silent { url: Url, source: io::Error },
    #[error("{url} answers, but not as a node of Boveda does: {what}")]
    Stranger { url: Url, what: String },
}

/// Where a node's HTTP port is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Url {
    /// As it stands in a `Host` header.
    authority: String,
    host: String,
    port: u16,
}

impl Status {
    /// Asks and prints.
    pub fn run(&self) -> ExitCode {
        match self.ask() {
            Ok((raw, _)) if self.json => print(&format!("{}\n", raw.trim_end())),
            Ok((_, status)) => print(&status_text::page(&status)),
            Err(error) => refuse(&error, Exit::Failed),
        }
    }

    fn ask(&self) -> Result<(String, Value), StatusError> {
        let answer = fetch(&self.url).map_err(|source| StatusError::Silent { url: self.url.clone(), source })?;
        let stranger = |what: String| StatusError::Stranger { url: self.url.clone(), what };
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| stranger("no HTTP".to_owned()))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            return Err(stranger(format!("status {}", status_text::plain(status))));
        }
        let json: Value = serde_json::from_str(body).map_err(|error| stranger(error.to_string()))?;
        match json.get("node") {
            Some(_) => Ok((body.to_owned(), json)),
            None => Err(stranger("no status of a node".to_owned())),
        }
    }
}

/// The whole answer to one request. By HTTP/1.0, whose answers end with their connection.
fn fetch(url: &Url) -> io::Result<String> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in (url.host.as_str(), url.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, SILENCE_MAX) {
            Ok(stream) => return exchange(stream, &url.authority),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: TcpStream, authority: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    stream.write_all(format!("GET /v1/cluster HTTP/1.0\r\nHost: {authority}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    Ok(answer)
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
