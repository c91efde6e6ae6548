//! Refusals: why a listener did not do what was asked, said in the clear.
//!
//! The peer gate decides on one (`actors::peer::sessions`: a handshake, a frame, a lack of room), or `peer_port` where
//! the bytes do not come as they should. What is refused behind an opened frame is told sealed, as a failed answer
//! (`actors::peer::answers`). The byte of a refusal is its place in `REFUSALS`: a new one stands last.
//!
//! Invariants
//! - A refusal proves nothing. The worst a forged one does is a pause, or one more handshake;
//!   nothing weaker is ever agreed on because of one.

use crate::base::Class;
use crate::base::codec::Writer;

/// The first bytes of every refusal, so that no other server's answer is taken for one.
const MAGIC: [u8; 4] = *b"BVDR";

/// Why a listener did not do what was asked, said in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The caller speaks another protocol.
    #[error("it speaks another protocol")]
    Protocol,
    /// The handshake was made with another key ring.
    #[error("it has another key ring")]
    ForeignKey,
    /// The same ring, another cluster id.
    #[error("it belongs to another cluster")]
    ForeignCluster,
    /// Its name is not among the configured peers (`cluster.peers`). The member list is no matter of sessions.
    #[error("this node is not among its peers")]
    NotAPeer,
    /// The address leads to a node of another name.
    #[error("the address belongs to a node of another name")]
    WrongReceiver,
    /// The address leads back to the caller, or to a copy of its data directory.
    #[error("the address leads back to this node, or to a copy of its data directory")]
    Itself,
    /// No such session: the listener restarted, or forgot an idle one. A new handshake helps.
    #[error("the session is not known there")]
    UnknownSession,
    /// The frame does not open, or its counter was used. A new handshake helps.
    #[error("the frame was refused")]
    BadFrame,
    /// The bytes are no frame and no handshake.
    #[error("the message was not understood")]
    Malformed,
    /// More is in flight than the listener takes from this peer.
    #[error("it takes no more at the moment")]
    Busy,
    /// The sender was silent for too long.
    #[error("it waited too long for bytes")]
    Slow,
}

const REFUSALS: [Refusal; 11] = [
    Refusal::Protocol,
    Refusal::ForeignKey,
    Refusal::ForeignCluster,
    Refusal::NotAPeer,
    Refusal::WrongReceiver,
    Refusal::Itself,
    Refusal::UnknownSession,
    Refusal::BadFrame,
    Refusal::Malformed,
    Refusal::Busy,
    Refusal::Slow,
];

impl Refusal {
    /// What the caller may do about it.
    pub fn class(self) -> Class {
        match self {
            Refusal::Protocol
            | Refusal::ForeignKey
            | Refusal::ForeignCluster
            | Refusal::NotAPeer
            | Refusal::WrongReceiver
            | Refusal::Itself => Class::Permanent,
            Refusal::UnknownSession | Refusal::BadFrame | Refusal::Busy | Refusal::Slow => Class::Busy,
            Refusal::Malformed => Class::Invalid,
        }
    }

    /// The word for it, as status, metrics and the audit log have it.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Protocol => "protocol",
            Refusal::ForeignKey => "foreign_key",
            Refusal::ForeignCluster => "foreign_cluster",
            Refusal::NotAPeer => "not_a_peer",
            Refusal::WrongReceiver => "wrong_receiver",
            Refusal::Itself => "itself",
            Refusal::UnknownSession => "unknown_session",
            Refusal::BadFrame => "bad_frame",
            Refusal::Malformed => "malformed",
            Refusal::Busy => "busy",
            Refusal::Slow => "slow",
        }
    }

    /// The HTTP status it travels with.
    pub fn status(self) -> u16 {
        match self {
            Refusal::UnknownSession | Refusal::BadFrame => 401,
            Refusal::Protocol
            | Refusal::ForeignKey
            | Refusal::ForeignCluster
            | Refusal::NotAPeer
            | Refusal::WrongReceiver
            | Refusal::Itself => 403,
            Refusal::Malformed => 400,
            Refusal::Busy => 503,
            Refusal::Slow => 408,
        }
    }

    /// The refusal as it is told in the clear.
    pub fn encode(self) -> Vec<u8> {
        let at = REFUSALS.iter().position(|r| *r == self).and_then(|at| u8::try_from(at).ok());
        let mut w = Writer::default();
        w.raw(&MAGIC).u8(at.expect("every refusal is in the list, which is short"));
        w.0
    }

    /// Reads one; `None` when the bytes are something else (a proxy's page, say).
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let [code] = rest else { return None };
        (*magic == MAGIC).then(|| REFUSALS.get(usize::from(*code)).copied()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_survive() {
        for refusal in REFUSALS {
            assert_eq!(Refusal::decode(&refusal.encode()), Some(refusal));
            assert_eq!(serde_json::to_value(refusal).expect("JSON"), refusal.name());
        }
        for bad in [&b""[..], b"BVDR", b"BVDR\xff", b"BVDR\0\0", b"<html>"] {
            assert_eq!(Refusal::decode(bad), None);
        }
    }
}
