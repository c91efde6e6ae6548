//! What can go wrong between two nodes, and what it means to a lane.

use crate::base::Class;
use crate::base::codec::CodecError;
use crate::seal::session::HelloError;
use crate::store::StoreError;
use crate::wire::Refusal;
use awc::error::{PayloadError, SendRequestError};

/// The errors of a link to a peer, and of what a lane asks of this node's store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No connection, or it broke.
    #[error("peer unreachable: {0}")]
    Unreachable(#[source] Box<SendRequestError>),
    /// The answer broke off.
    #[error("the peer's answer broke off: {0}")]
    BrokenAnswer(#[source] PayloadError),
    /// Nothing moved for too long.
    #[error("the peer was silent for too long")]
    Silent,
    /// Something that is no peer listener answered.
    #[error("the address answers with status {0} and no peer message")]
    NotAPeer(u16),
    /// The peer said no.
    #[error("the peer refused: {0}")]
    Refused(Refusal),
    /// The peer's answer to the handshake was not what it must be.
    #[error("handshake: {0}")]
    Handshake(#[source] HelloError),
    /// An answer did not open under the session's key.
    #[error("the peer's answer does not open")]
    Forged,
    /// An answer opened and makes no sense.
    #[error("the peer's answer: {0}")]
    Undecodable(#[source] CodecError),
    /// An answer of the wrong kind or length.
    #[error("the peer's answer does not fit the call")]
    Unfitting,
    /// The peer understood, and its store could not do it.
    #[error("the peer could not: {text}")]
    Remote {
        /// What the caller may do about it, as the peer says.
        class: Class,
        /// The peer's words, without names of files.
        text: String,
    },
    /// Votes came under another member list than this node has.
    #[error("the two nodes have different member lists")]
    OtherList,
    /// The peer belongs to another life of the cluster.
    #[error("one of the two has left the cluster of the other for good ('boveda leave'): nothing passes between them")]
    OtherLife,
    /// How the peer stands was not heard in this session, or less than is remembered of it.
    #[error("the two nodes have not met, or one of them has forgotten what it had promised")]
    NotMet,
    /// A body was to go with another transfer of it, or after others, and did not.
    #[error("another transfer of the body did not come to its end")]
    NotMoved,
    /// A blob is missing here while a record refers to it.
    #[error("a blob is missing on this node")]
    BlobMissing,
    /// A peer does not hold the state that was asked for.
    #[error("the peer does not hold that state")]
    NotThere,
    /// This node's own store failed.
    #[error("own store: {0}")]
    Store(#[from] StoreError),
    /// This node's own store actor is gone.
    #[error("own store is gone: {0}")]
    StoreGone(#[from] actix::MailboxError),
}

impl LinkError {
    /// What the lane may do about it.
    pub fn class(&self) -> Class {
        match self {
            LinkError::OtherList | LinkError::NotMet => Class::Conflict,
            LinkError::OtherLife => Class::Permanent,
            LinkError::Unreachable(_) | LinkError::BrokenAnswer(_) | LinkError::Silent | LinkError::NotAPeer(_) => {
                Class::Busy
            }
            LinkError::NotMoved => Class::Busy,
            LinkError::Refused(refusal) => refusal.class(),
            LinkError::Handshake(error) => error.class(),
            // A changed answer may be noise on the way: a new session settles it.
            LinkError::Forged => Class::Busy,
            LinkError::Undecodable(_) | LinkError::Unfitting => Class::Invalid,
            LinkError::Remote { class, .. } => *class,
            LinkError::BlobMissing | LinkError::NotThere => Class::Missing,
            LinkError::Store(error) => error.class(),
            LinkError::StoreGone(_) => Class::Internal,
        }
    }

    /// Whether a handshake that ended so shows that no session is to be had: nobody is there, or will not agree.
    pub fn is_absence(&self) -> bool {
        match self {
            LinkError::Refused(refusal) => refusal.class() == Class::Permanent,
            _ => self.breaks_link(),
        }
    }

    /// Whether the session with the peer is of no more use. What a store said, here or there, says
    /// nothing against the link.
    pub fn breaks_link(&self) -> bool {
        match self {
            // The frame was not looked at: neither its counter nor its session is used up.
            LinkError::Refused(Refusal::Busy) => false,
            LinkError::Unreachable(_)
            | LinkError::BrokenAnswer(_)
            | LinkError::Silent
            | LinkError::NotAPeer(_)
            | LinkError::Refused(_)
            | LinkError::Handshake(_)
            | LinkError::Forged
            | LinkError::Undecodable(_)
            | LinkError::OtherLife
            | LinkError::Unfitting => true,
            // The two will not agree: not by asking again in this session.
            LinkError::Remote { class, .. } => *class == Class::Permanent,
            LinkError::OtherList
            | LinkError::NotMet
            | LinkError::NotMoved
            | LinkError::BlobMissing
            | LinkError::NotThere
            | LinkError::Store(_)
            | LinkError::StoreGone(_) => false,
        }
    }
}
