//! How a node that does not know its cluster yet is told of it: one question, one answer.
//!
//! Invariants
//! - Both are sealed under the peer key of a generation that both nodes have: whoever has none learns nothing.
//! - An answer opens for the question that it answers alone, whose nonce is fresh. A question that is sent again is
//!   answered again, to whoever can open that.
//!
//! `prefix | nonce (12) | sealed fields | tag (16)`, as in a handshake. The question, with byte 3 behind the prefix in its
//! associated data: nonce (32), own name, the other's name. The answer, with byte 4 and the fields of the question:
//! cluster id (16), secret of the marks (32).

use super::super::key::KEY_BYTES;
use super::super::origin::Origin;
use super::peers::PeerKeys;
use super::{HELLO_NONCE_BYTES, HelloError, PeerKey};
use crate::base::codec::{Reader, Writer};
use crate::base::{ClusterId, NodeName, Secret};

const ASK: u8 = 3;
const TELL: u8 = 4;

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Asked(Vec<u8>);

impl PeerKey {
    /// A question of `from` to the node named `to`. `nonce`: drawn anew for each, from `seal::random`.
    pub fn ask(&self, from: &NodeName, to: &NodeName, nonce: [u8; HELLO_NONCE_BYTES]) -> (Vec<u8>, Asked) {
        let mut w = Writer::default();
        w.raw(&nonce).text(from.as_str()).text(to.as_str());
        (self.seal(ASK, &[], &w.0), Asked(w.0))
    }

    /// What the answer to it tells.
    pub fn told(&self, asked: &Asked, answer: &[u8]) -> Result<Origin, HelloError> {
        let fields = zeroize::Zeroizing::new(self.open(TELL, &asked.0, answer)?);
        let mut r = Reader(&fields);
        let (cluster, marks) = (ClusterId(r.array()?), Secret::new(r.array::<KEY_BYTES>()?));
        r.end()?;
        Ok(Origin::new(cluster, marks))
    }
}

impl PeerKeys {
    /// Who asks the node named `me`, and the answer that this one may have.
    pub fn tell(&self, me: &NodeName, origin: &Origin, question: &[u8]) -> Result<(NodeName, Vec<u8>), HelloError> {
        let key = self.of_message(question)?;
        let fields = key.open(ASK, &[], question)?;
        let mut r = Reader(&fields);
        r.array::<HELLO_NONCE_BYTES>()?;
        let from = NodeName::parse(r.text(NodeName::BYTES_MAX, "sender")?).ok_or(HelloError::Garbled)?;
        let to = r.text(NodeName::BYTES_MAX, "receiver")?;
        r.end()?;
        if to != me.as_str() || from == *me {
            return Err(HelloError::NotForMe);
        }
        let mut w = Writer(Vec::with_capacity(16 + KEY_BYTES));
        w.raw(&origin.cluster.0).raw(origin.marks().expose());
        let answer = key.seal(TELL, &fields, &w.0);
        zeroize::Zeroize::zeroize(&mut w.0);
        Ok((from, answer))
    }
}
