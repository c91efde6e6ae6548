//! The values of `[cluster]`: the other nodes with their URLs, and `durability`, as a file writes them.
//!
//! A peer's URL is a scheme, a host and a port and nothing else: frames between peers are sealed
//! and authenticated by themselves, so there is no user, no path and no TLS to configure.

use crate::base::{ClusterId, NodeName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::fmt;

/// Where peers listen unless a URL says otherwise.
pub const PEER_PORT: u16 = 5002;

/// Where a peer listens: `http://host:port`, the host resolved anew at each connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerUrl {
    host: String,
    port: u16,
}

/// Why a text is no peer URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerUrlError {
    /// The URL asks for TLS.
    #[error("peer frames are sealed and authenticated by themselves; write http:// in place of https://")]
    Tls,
    /// The URL does not begin with `http://`.
    #[error("a peer URL looks like http://host:{PEER_PORT}")]
    Scheme,
    /// More than host and port.
    #[error("a peer URL has a host and a port only, no user, path or query: http://host:{PEER_PORT}")]
    Rest,
    /// A host that no resolver takes.
    #[error("the host is a DNS name, an IPv4 address, or an IPv6 address in brackets")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port is a number from 1 to 65535")]
    Port,
}

impl PeerUrl {
    /// Parses `http://host[:port]`; an IPv6 host stands in brackets.
    pub fn parse(text: &str) -> Result<Self, PeerUrlError> {
        if text.starts_with("https://") {
            return Err(PeerUrlError::Tls);
        }
        let rest = text.strip_prefix("http://").ok_or(PeerUrlError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@']) {
            return Err(PeerUrlError::Rest);
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or(PeerUrlError::Host)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| PeerUrlError::Host)?;
                (format!("[{host}]"), after.strip_prefix(':').or(after.is_empty().then_some("")))
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (rest.to_owned(), Some("")),
            },
        };
        let name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if host.is_empty() || host.len() > 255 || !(host.starts_with('[') || host.bytes().all(name_byte)) {
            return Err(PeerUrlError::Host);
        }
        let port = match port.ok_or(PeerUrlError::Host)? {
            "" if rest.ends_with(':') => return Err(PeerUrlError::Port),
            "" => PEER_PORT,
            digits => digits.parse().ok().filter(|&p| p != 0).ok_or(PeerUrlError::Port)?,
        };
        Ok(PeerUrl { host: host.to_ascii_lowercase(), port })
    }

    /// The host: a DNS name, an IPv4 address, or an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, which every peer URL names or has by default.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl Serialize for PeerUrl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PeerUrl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        PeerUrl::parse(&text).map_err(|why| D::Error::custom(format_args!("{text:?}: {why}")))
    }
}

/// One node of the cluster as its file lists it; the list may hold the reader itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerEntry {
    /// What the node calls itself (`node.name`): a node finds itself in the list by it.
    #[serde(with = "node_name")]
    pub name: NodeName,
    /// Where its peer port is reached.
    pub url: PeerUrl,
}

/// What an answered write has survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Durable on a majority of the nodes.
    Majority,
    /// Durable on the node that answered; the other nodes get it by the change feed.
    Local,
}

impl Durability {
    /// The word in files, flags and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::Majority => "majority",
            Durability::Local => "local",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Durability {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Durability {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match String::deserialize(d)?.as_str() {
            "local" => Ok(Durability::Local),
            "majority" => Ok(Durability::Majority),
            other => Err(D::Error::custom(format_args!("{other:?} is no durability level; it is majority or local"))),
        }
    }
}

/// For `#[serde(with = ...)]`: a node name, checked.
pub mod node_name {
    use super::*;

    /// Writes the name as text.
    pub fn serialize<S: Serializer>(name: &NodeName, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(name.as_str())
    }

    /// Reads and checks a name.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<NodeName, D::Error> {
        let text = String::deserialize(d)?;
        NodeName::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "{text:?} is no node name; it has 1 to {} letters, digits, '.', '-' or '_', a letter or digit first",
                NodeName::BYTES_MAX
            ))
        })
    }
}

/// For `#[serde(with = ...)]`: a cluster id, or `auto` for `None`.
pub mod cluster_id_or_auto {
    use super::*;
    use crate::config::units::AUTO;

    /// Writes the id or `auto`.
    pub fn serialize<S: Serializer>(id: &Option<ClusterId>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&id.map_or_else(|| AUTO.to_owned(), |id| id.to_string()))
    }

    /// Reads an id or `auto`.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<ClusterId>, D::Error> {
        match String::deserialize(d)?.as_str() {
            AUTO => Ok(None),
            text => ClusterId::from_hex(text).map(Some).ok_or_else(|| {
                D::Error::custom(format_args!("{text:?} is no cluster id; write 32 digits of 0-9a-f, or auto"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_read_and_print() {
        for (text, shown) in [
            ("http://boveda-1.peers:5002", "http://boveda-1.peers:5002"),
            ("http://Boveda-1.peers/", "http://boveda-1.peers:5002"),
            ("http://10.0.0.1:7", "http://10.0.0.1:7"),
            ("http://[::1]:5012", "http://[::1]:5012"),
            ("http://[::1]", "http://[::1]:5002"),
        ] {
            assert_eq!(PeerUrl::parse(text).map(|u| u.to_string()).as_deref(), Ok(shown));
        }
    }

    #[test]
    fn bad_urls_say_why() {
        for (text, why) in [
            ("", PeerUrlError::Scheme),
            ("boveda-1:5002", PeerUrlError::Scheme),
            ("https://boveda-1:5002", PeerUrlError::Tls),
            ("http://a:b@host:1", PeerUrlError::Rest),
            ("http://host:1/path", PeerUrlError::Rest),
            ("http://host?x", PeerUrlError::Rest),
            ("http://", PeerUrlError::Host),
            ("http://:5002", PeerUrlError::Host),
            ("http://ho st:1", PeerUrlError::Host),
            ("http://::1:5002", PeerUrlError::Host),
            ("http://[::1", PeerUrlError::Host),
            ("http://[::1]x", PeerUrlError::Host),
            ("http://[host]:1", PeerUrlError::Host),
            ("http://host:", PeerUrlError::Port),
            ("http://host:0", PeerUrlError::Port),
            ("http://host:65536", PeerUrlError::Port),
            ("http://host:x", PeerUrlError::Port),
        ] {
            assert_eq!(PeerUrl::parse(text), Err(why), "{text}");
        }
    }
}
