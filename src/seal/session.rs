//! Sealed sessions between two nodes of one ring: the bytes of the handshake and of the frames.
//!
//! Invariants
//! - Only a holder of the ring can make a hello or an answer, or read one.
//! - A session belongs to one pair of names, cluster ids, incarnations and nonces, both of them
//!   fresh: no recorded byte of another session, direction, place or counter opens in it.
//! - A key and a counter seal one frame. The caller counts up and never starts again.
//!
//! # Handshake
//!
//! Two messages, each `prefix | nonce (12) | sealed fields | tag (16)`; integers are little-endian.
//! The prefix is in the clear and authenticated: magic `BVP1`, protocol version (u16), and the id of the
//! key generation (16) whose peer key protects the message, by which a foreign ring is told from noise
//! before anything is opened. The initiator offers one generation after the other until the responder
//! has it (`peers`).
//!
//! - **hello**, initiator to responder. Fields: cluster id (16), incarnation (u64), nonce (32), own
//!   name and responder's name (each a u32 length and bytes). Associated data: prefix, byte 1.
//! - **answer**, responder to initiator. The same fields seen from the responder. Associated data:
//!   prefix, byte 2, and the plaintext fields of the hello, so that it answers this hello alone.
//!
//! Both are sealed under a key derived from the peer key for handshakes alone. Then each side derives
//! one key per direction: HKDF-SHA-512 of the peer key with `boveda/session/v1`, the protocol
//! version, the direction (byte 1 from the initiator, byte 2 from the responder), the fields of the
//! hello and the fields of the answer as info.
//!
//! # What the caller must do
//!
//! - A recorded hello can be sent again, and is answered: the answer's fresh nonce makes the session
//!   useless to whoever cannot derive its keys. So `PeerInfo` from `answer` is a claim until the first
//!   frame of that session opens; until then it must not replace an older session or be acted upon,
//!   and such unproven sessions must be few and short-lived. `complete` proves the responder at once.
//! - Counters: each side counts the frames it seals. Where frames may overtake each other, the
//!   counter travels in the clear and the receiver refuses those it has seen.
//! - `place` holds what else a frame is bound to: method, path, the number of the request answered.
//!
//! The ring is a pre-shared key and there is no exchange of ephemeral keys: whoever gets hold of the
//! ring later can read recorded traffic, as he can read the disks.

use super::derive::derive;
use super::key::{KEY_BYTES, NONCE_BYTES, OpenError, SealingKey, TAG_BYTES};
use super::random;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{Class, ClusterId, Incarnation, KekId, NodeName, Secret};
use std::fmt;

mod asking;
mod peers;

pub use asking::Asked;
pub use peers::PeerKeys;

/// The version of the peer protocol that this release speaks: it counts up with every change of a call or an answer
/// (`wire`) that another release could not read.
pub const PROTOCOL_VERSION: u16 = 8;
/// Bytes of each side's fresh nonce.
pub const HELLO_NONCE_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"BVP1";
const KEY_ID_BYTES: usize = 16;
/// Where the prefix names the generation.
const KEY_ID_AT: usize = 4 + 2;
const PREFIX_BYTES: usize = KEY_ID_AT + KEY_ID_BYTES;
/// Most bytes of a handshake message: more is refused before it is looked at.
pub const HELLO_BYTES_MAX: usize =
    PREFIX_BYTES + NONCE_BYTES + 16 + 8 + HELLO_NONCE_BYTES + 2 * (4 + NodeName::BYTES_MAX) + TAG_BYTES;

const HELLO: u8 = 1;
const ANSWER: u8 = 2;
const FROM_INITIATOR: u8 = 1;
const FROM_RESPONDER: u8 = 2;

/// Why a handshake ends without a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The other side holds another key ring: it has no generation that this one has.
    #[error("the peer has another key ring")]
    ForeignRing,
    /// The other side speaks another version of the protocol.
    #[error("the peer speaks protocol {theirs}, this node {PROTOCOL_VERSION}")]
    ForeignProtocol {
        /// The version that it speaks.
        theirs: u16,
    },
    /// Same ring, another cluster.
    #[error("the peer belongs to cluster {theirs}")]
    ForeignCluster {
        /// The cluster that it belongs to.
        theirs: ClusterId,
    },
    /// The message is addressed to, or comes from, another node than it should.
    #[error("the peer's address leads to a node of another name")]
    NotForMe,
    /// Not a handshake message, changed on the way, or an answer to another hello.
    #[error("the handshake does not open")]
    Garbled,
}

impl HelloError {
    /// What the caller may do about it: foreign nodes stay foreign, noise may be gone next time.
    pub fn class(&self) -> Class {
        match self {
            HelloError::ForeignRing
            | HelloError::ForeignProtocol { .. }
            | HelloError::ForeignCluster { .. }
            | HelloError::NotForMe => Class::Permanent,
            HelloError::Garbled => Class::Invalid,
        }
    }

    /// A word for the refusal on the wire and in status; stable.
    pub fn code(&self) -> &'static str {
        match self {
            HelloError::ForeignRing => "foreign_ring",
            HelloError::ForeignProtocol { .. } => "foreign_protocol",
            HelloError::ForeignCluster { .. } => "foreign_cluster",
            HelloError::NotForMe => "not_for_me",
            HelloError::Garbled => "garbled",
        }
    }
}

/// What the initiator says of itself and of whom it expects. The nonce is fresh for every hello.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// The caller's own name, bound by the handshake.
    pub from: &'a str,
    /// The name of the node that should be at the other end.
    pub to: &'a str,
    /// The cluster of this side.
    pub cluster: ClusterId,
    /// This life of the own data directory.
    pub incarnation: u64,
    /// Drawn anew for each handshake, from `seal::random`.
    pub nonce: [u8; HELLO_NONCE_BYTES],
}

impl Hello<'_> {
    /// What the initiator keeps until the answer arrives.
    pub fn pending(&self) -> PendingHello {
        PendingHello {
            from: self.from.to_owned(),
            to: self.to.to_owned(),
            cluster: self.cluster,
            fields: Fields::of_hello(self).encode(),
        }
    }
}

/// A hello that waits for its answer.
#[derive(Debug)]
pub struct PendingHello {
    from: String,
    to: String,
    cluster: ClusterId,
    fields: Vec<u8>,
}

/// What the responder says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Me<'a> {
    /// The name of this side.
    pub name: &'a str,
    /// The cluster of this side.
    pub cluster: ClusterId,
    /// This life of the own data directory.
    pub incarnation: u64,
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The other side's name.
    pub name: NodeName,
    /// This life of its data directory.
    pub incarnation: Incarnation,
}

/// The keys of one session, as seen from one end.
#[derive(Debug)]
pub struct SessionKeys {
    /// Seals what this end sends.
    pub send: SessionKey,
    /// Opens what the other end sent.
    pub receive: SessionKey,
}

/// The key of one direction of one session.
#[derive(Debug)]
pub struct SessionKey(SealingKey);

impl SessionKey {
    /// Seals a frame in place; the tag is appended. A counter is used once.
    pub fn seal(&self, counter: u64, place: &[u8], mut plain: Vec<u8>) -> Vec<u8> {
        plain.reserve_exact(TAG_BYTES);
        let tag = self.0.seal(&counter_nonce(counter), place, &mut plain);
        plain.extend_from_slice(&tag);
        plain
    }

    /// Opens a frame in place.
    pub fn open(&self, counter: u64, place: &[u8], mut sealed: Vec<u8>) -> Result<Vec<u8>, OpenError> {
        let (text, tag) = sealed.split_last_chunk_mut::<TAG_BYTES>().ok_or(OpenError)?;
        self.0.open(&counter_nonce(counter), place, text, tag)?;
        let len = text.len();
        sealed.truncate(len);
        Ok(sealed)
    }
}

fn counter_nonce(counter: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&counter.to_le_bytes());
    nonce
}

/// The key by which nodes that have one generation know each other; from `Keyring::peer_keys`.
pub struct PeerKey {
    generation: KekId,
    secret: Secret<[u8; KEY_BYTES]>,
    handshake: SealingKey,
    prefix: [u8; PREFIX_BYTES],
}

impl fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerKey(..)")
    }
}

impl PeerKey {
    pub(super) fn new(generation: KekId, secret: &[u8; KEY_BYTES]) -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..4].copy_from_slice(&MAGIC);
        prefix[4..KEY_ID_AT].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        prefix[KEY_ID_AT..].copy_from_slice(&generation.0);
        PeerKey {
            generation,
            secret: Secret::new(*secret),
            handshake: SealingKey::new(&derive(secret, &[b"boveda/handshake/v1"])),
            prefix,
        }
    }

    /// The generation that it is derived from.
    pub fn generation(&self) -> KekId {
        self.generation
    }

    /// The initiator's message. Keep `Hello::pending` for the answer.
    pub fn hello(&self, hello: Hello<'_>) -> Vec<u8> {
        self.seal(HELLO, &[], &Fields::of_hello(&hello).encode())
    }

    /// The responder's side: checks a hello, and makes the answer and the session's keys.
    pub fn answer(&self, me: Me<'_>, hello_bytes: &[u8]) -> Result<(Vec<u8>, PeerInfo, SessionKeys), HelloError> {
        let hello_fields = self.open(HELLO, &[], hello_bytes)?;
        let hello = Fields::decode(&hello_fields)?;
        hello.check(me.cluster, me.name, None)?;
        let info = hello.info()?;
        let answer =
            Fields { cluster: me.cluster, incarnation: me.incarnation, nonce: random(), from: me.name, to: hello.from }
                .encode();
        let keys = SessionKeys {
            send: self.session(FROM_RESPONDER, &hello_fields, &answer),
            receive: self.session(FROM_INITIATOR, &hello_fields, &answer),
        };
        Ok((self.seal(ANSWER, &hello_fields, &answer), info, keys))
    }

    /// The initiator's side: checks the answer and makes the session's keys.
    pub fn complete(&self, pending: PendingHello, answer: &[u8]) -> Result<(PeerInfo, SessionKeys), HelloError> {
        let answer_fields = self.open(ANSWER, &pending.fields, answer)?;
        let answer = Fields::decode(&answer_fields)?;
        answer.check(pending.cluster, &pending.from, Some(&pending.to))?;
        let keys = SessionKeys {
            send: self.session(FROM_INITIATOR, &pending.fields, &answer_fields),
            receive: self.session(FROM_RESPONDER, &pending.fields, &answer_fields),
        };
        Ok((answer.info()?, keys))
    }

    fn session(&self, direction: u8, hello: &[u8], answer: &[u8]) -> SessionKey {
        // Fields carry their lengths, so no two pairs run together into the same bytes.
        let info = [&b"boveda/session/v1"[..], &PROTOCOL_VERSION.to_le_bytes(), &[direction], hello, answer];
        SessionKey(SealingKey::new(&derive(self.secret.expose(), &info)))
    }

    fn place(&self, kind: u8, bound_to: &[u8]) -> Vec<u8> {
        [&self.prefix[..], &[kind], bound_to].concat()
    }

    fn seal(&self, kind: u8, bound_to: &[u8], fields: &[u8]) -> Vec<u8> {
        self.seal_with(kind, bound_to, fields, random())
    }

    fn seal_with(&self, kind: u8, bound_to: &[u8], fields: &[u8], nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
        let mut text = fields.to_vec();
        let tag = self.handshake.seal(&nonce, &self.place(kind, bound_to), &mut text);
        [&self.prefix[..], &nonce, &text, &tag].concat()
    }

    fn open(&self, kind: u8, bound_to: &[u8], message: &[u8]) -> Result<Vec<u8>, HelloError> {
        if message.len() > HELLO_BYTES_MAX {
            return Err(HelloError::Garbled);
        }
        if generation_of(message)? != self.generation {
            return Err(HelloError::ForeignRing);
        }
        let mut r = Reader(message.get(PREFIX_BYTES..).ok_or(HelloError::Garbled)?);
        let nonce = r.array()?;
        let (text, tag) = r.0.split_last_chunk::<TAG_BYTES>().ok_or(HelloError::Garbled)?;
        let mut fields = text.to_vec();
        let opened = self.handshake.open(&nonce, &self.place(kind, bound_to), &mut fields, tag);
        opened.map(|()| fields).map_err(|OpenError| HelloError::Garbled)
    }
}

/// The generation that a message of a handshake names, if its prefix is one of this protocol.
pub fn generation_of(message: &[u8]) -> Result<KekId, HelloError> {
    let mut r = Reader(message);
    if r.array()? != MAGIC {
        return Err(HelloError::Garbled);
    }
    let theirs = r.u16()?;
    if theirs != PROTOCOL_VERSION {
        return Err(HelloError::ForeignProtocol { theirs });
    }
    Ok(KekId(r.array::<KEY_ID_BYTES>()?))
}

/// What both messages hold, seen from their sender.
struct Fields<'a> {
    cluster: ClusterId,
    incarnation: u64,
    nonce: [u8; HELLO_NONCE_BYTES],
    from: &'a str,
    to: &'a str,
}

impl<'a> Fields<'a> {
    fn of_hello(hello: &Hello<'a>) -> Self {
        let Hello { from, to, cluster, incarnation, nonce } = *hello;
        Fields { cluster, incarnation, nonce, from, to }
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer(Vec::with_capacity(HELLO_BYTES_MAX));
        w.raw(&self.cluster.0).u64(self.incarnation).raw(&self.nonce).text(self.from).text(self.to);
        w.0
    }

    fn decode(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let fields = Fields {
            cluster: ClusterId(r.array()?),
            incarnation: r.u64()?,
            nonce: r.array()?,
            from: r.text(NodeName::BYTES_MAX, "sender")?,
            to: r.text(NodeName::BYTES_MAX, "receiver")?,
        };
        r.end()?;
        Ok(fields)
    }

    fn check(&self, cluster: ClusterId, me: &str, peer: Option<&str>) -> Result<(), HelloError> {
        if self.cluster != cluster {
            return Err(HelloError::ForeignCluster { theirs: self.cluster });
        }
        // A node that hears its own name from the other end talks to itself.
        if self.to != me || self.from == me || peer.is_some_and(|p| p != self.from) {
            return Err(HelloError::NotForMe);
        }
        Ok(())
    }

    fn info(&self) -> Result<PeerInfo, HelloError> {
        let name = NodeName::parse(self.from).ok_or(HelloError::Garbled)?;
        Ok(PeerInfo { name, incarnation: Incarnation(self.incarnation) })
    }
}

impl From<CodecError> for HelloError {
    fn from(_: CodecError) -> Self {
        HelloError::Garbled
    }
}

#[cfg(test)]
mod tests;
