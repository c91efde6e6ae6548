//! Why a request was not served, with its causes, for the log.
//!
//! Invariants
//! - An error keeps its cause; none becomes a text before it is logged.
//! - What a client is told is another thing: `classify` says which problem an error is.

use super::problem::Kind;
use crate::actors::messages::{ObjectError, StoreError, Unrotated, Unseatable};
use crate::audit::AuditError;
use crate::base::NameError;
use crate::sign::body::BodyError;
use crate::sign::chunks::ChunkError;
use crate::sign::{AuthorizationError, PresignError};
use actix::MailboxError;
use actix_web::error::PayloadError;
use std::error::Error as _;
use std::fmt::Write as _;

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no such route")]
    NoRoute,
    #[error("method not allowed")]
    Method {
        allow: &'static str,
        /// Where that method does what was meant, as a sentence.
        instead: Option<&'static str>,
    },
    /// What its kind says, in every language.
    #[error("refused: {0:?}")]
    Refused(Kind),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("a name with a dot segment")]
    DotSegment,
    #[error("the body does not have the checksum that was sent with it")]
    Digest,
    #[error("bad query: {0}")]
    Query(&'static str),
    #[error("bad header: {0}")]
    Header(&'static str),
    #[error("not implemented: {0}")]
    NotImplemented(&'static str),
    #[error("not a coding that is taken")]
    Coding,
    #[error("a body without a length")]
    LengthRequired,
    #[error("asked for under a name that is not ours")]
    ForeignHost,
    #[error("a write from a page of another site")]
    ForeignOrigin,
    #[error("no credential, or none that lets anybody in")]
    Unauthenticated,
    #[error("nobody knows which access keys are in force")]
    AccessUnknown,
    #[error("the caller has not the right that this needs")]
    AccessDenied,
    #[error(transparent)]
    Link(PresignError),
    #[error(transparent)]
    Signature(AuthorizationError),
    #[error(transparent)]
    BodyHash(BodyError),
    #[error(transparent)]
    Chunks(ChunkError),
    #[error("bad document: {0}")]
    Document(&'static str),
    #[error("the body is larger than {max} bytes")]
    TooLarge { max: u64 },
    #[error("the sender fell silent")]
    Silent,
    #[error("the body ended too early or late")]
    BodyLength,
    #[error("the body broke off")]
    BrokenBody(#[source] PayloadError),
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("out of permits")]
    SlowDown,
    #[error("range outside the object")]
    Unsatisfiable { len: u64 },
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Members(Unseatable),
    #[error(transparent)]
    Keys(Unrotated),
    #[error("the audit log takes no line{}", if *begun { " of what was done" } else { "" })]
    Audit {
        #[source]
        error: AuditError,
        /// Whether the change was begun before that.
        begun: bool,
    },
    #[error("the audit log could not be read")]
    Unread(#[source] AuditError),
    #[error("in force, and could not be kept")]
    NotKept,
    #[error("the store did not answer")]
    Mailbox(#[from] MailboxError),
    #[error("{0}")]
    Broken(&'static str),
}

/// What is wrong with a form.
#[derive(Debug, thiserror::Error)]
pub enum FormError {
    #[error("not a multipart form")]
    NotAForm,
    #[error("no file in the form")]
    NoFile,
    #[error("a text in the place of a file")]
    NoFilePart,
    #[error("the file has no name")]
    NoFileName,
    #[error("a file in another field")]
    OtherField,
    #[error("several files in the form")]
    SeveralFiles,
    #[error("the form is cut short")]
    Cut,
    #[error("too much besides the file")]
    TooMuch,
    #[error("a line of the form ends in LF alone")]
    BareLf,
    #[error("several files in one field")]
    Nested,
    #[error("malformed form: {0:?}")]
    Malformed(Kind),
    #[error("transfer encoding in a form")]
    Encoded,
}

impl From<StoreError> for HttpError {
    fn from(error: StoreError) -> Self {
        HttpError::Object(error.into())
    }
}

impl From<Unrotated> for HttpError {
    fn from(why: Unrotated) -> Self {
        match why {
            Unrotated::Undecided(error) => HttpError::Object(error),
            why => HttpError::Keys(why),
        }
    }
}

impl From<Unseatable> for HttpError {
    fn from(why: Unseatable) -> Self {
        match why {
            Unseatable::Undecided(error) => HttpError::Object(error),
            why => HttpError::Members(why),
        }
    }
}

impl HttpError {
    /// The error and all its causes on one line, for the log.
    pub(super) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(next) = cause {
            let _ = write!(text, ": {next}");
            cause = next.source();
        }
        text
    }
}

#[cfg(test)]
pub mod samples {
    //! One error of each sort, for the tests of what is told of them.

    use super::*;
    use crate::actors::messages::Unready;
    use crate::base::checksum::Sum;
    use crate::base::{Algorithm, KekId, NodeName, Shortage};
    use std::io;

    pub fn all() -> Vec<HttpError> {
        vec![
            HttpError::NoRoute,
            HttpError::Method { allow: "GET", instead: None },
            HttpError::Refused(Kind::Escape),
            HttpError::Name(NameError::Bucket),
            HttpError::Name(NameError::Key),
            HttpError::DotSegment,
            HttpError::Digest,
            HttpError::Query("q"),
            HttpError::Header("h"),
            HttpError::NotImplemented("n"),
            HttpError::Coding,
            HttpError::LengthRequired,
            HttpError::ForeignHost,
            HttpError::ForeignOrigin,
            HttpError::Unauthenticated,
            HttpError::AccessUnknown,
            HttpError::AccessDenied,
            HttpError::Document("d"),
            HttpError::Link(PresignError::Expired),
            HttpError::Link(PresignError::Missing),
            HttpError::Signature(AuthorizationError::Parts),
            HttpError::Signature(AuthorizationError::Skewed),
            HttpError::BodyHash(BodyError::Missing),
            HttpError::Chunks(ChunkError::Cut),
            HttpError::Chunks(ChunkError::Signature),
            HttpError::TooLarge { max: 1 },
            HttpError::Silent,
            HttpError::BodyLength,
            HttpError::BrokenBody(PayloadError::Overflow),
            HttpError::Form(FormError::NoFile),
            HttpError::SlowDown,
            HttpError::Unsatisfiable { len: 7 },
            StoreError::Precondition.into(),
            ObjectError::Contended.into(),
            ObjectError::NoMajority("m").into(),
            StoreError::NoSuchKey.into(),
            StoreError::QuotaExceeded.into(),
            StoreError::SumMismatch(Sum::Md5).into(),
            StoreError::SumMismatch(Sum::Sha256).into(),
            StoreError::SumMismatch(Sum::Checksum(Algorithm::Crc32)).into(),
            StoreError::Full.into(),
            StoreError::Poisoned.into(),
            StoreError::Short(Shortage::Inodes).into(),
            StoreError::Short(Shortage::Volume).into(),
            StoreError::KeyMissing { kek: KekId([7; 16]) }.into(),
            StoreError::Disk {
                op: crate::store::DiskOp::Read,
                path: "/hidden/place".into(),
                source: io::Error::other("inner cause"),
            }
            .into(),
            HttpError::Keys(Unrotated::Newer(3)),
            HttpError::Keys(Unrotated::Unready(Unready::Unknown(3))),
            HttpError::Members(Unseatable::Silent(NodeName::parse("n3").expect("a name"))),
            HttpError::Audit { error: AuditError::Full, begun: false },
            HttpError::Audit { error: AuditError::Closed, begun: true },
            HttpError::Unread(AuditError::Closed),
            HttpError::Mailbox(MailboxError::Closed),
            HttpError::Broken("b"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_the_causes() {
        let mut all = samples::all().into_iter();
        let error = all.find(|e| matches!(e, HttpError::Object(ObjectError::Store(StoreError::Disk { .. })))).unwrap();
        assert!(error.with_causes().contains("inner cause"));
    }
}
