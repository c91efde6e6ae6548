//! Where a node's HTTP port is, as people write it.

use std::net::IpAddr;
use std::str::FromStr;

const PORT: u16 = 5000;

/// Where a node's HTTP port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub(super) tls: bool,
    /// As it stands in a `Host` header.
    pub(super) authority: String,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Url {
    /// The `Host` that browsers send there: in lower case, without the port that the scheme has anyway.
    pub fn as_browsers_send_it(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let port = if self.port == usual { String::new() } else { format!(":{}", self.port) };
        format!("{host}{port}").to_ascii_lowercase()
    }

    /// Whether what is sent there is readable on a way that leaves this machine.
    pub fn is_in_the_clear(&self) -> bool {
        let is_here = match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        };
        !self.tls && !is_here
    }
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

    #[test]
    fn a_host_is_sent_with_the_port_that_its_scheme_does_not_have() {
        for (text, sent) in [
            ("http://Node:80", "node"),
            ("https://node:443", "node"),
            ("https://node:80", "node:80"),
            ("http://node", "node:5000"),
            ("https://[::1]:443", "[::1]"),
            ("http://[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(text.parse::<Url>().expect(text).as_browsers_send_it(), sent, "{text}");
        }
    }

    #[test]
    fn what_leaves_the_machine_without_tls_is_in_the_clear() {
        let clear = |text: &str| text.parse::<Url>().expect(text).is_in_the_clear();
        for here in [
            "http://127.0.0.1",
            "http://127.8.9.1:1",
            "http://[::1]",
            "http://[::ffff:127.0.0.1]",
            "http://LocalHost:1",
        ] {
            assert!(!clear(here), "{here}");
        }
        for there in [
            "http://10.0.0.1",
            "http://node-1",
            "http://localhost.example",
            "http://[::ffff:10.0.0.1]",
            "http://0.0.0.0",
        ] {
            assert!(clear(there), "{there}");
            assert!(!clear(&there.replace("http:", "https:")), "{there}");
        }
    }
}
