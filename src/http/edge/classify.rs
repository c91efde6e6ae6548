//! Which problem an error is: what of it a client is told.
//!
//! Invariant: every error of the store is named here, so that a new one does not become an `InternalError` in silence.

use super::errors::{FormError, HttpError};
use super::problem::{Kind, Problem};
use crate::actors::messages::{ObjectError, StoreError, Unready, Unrotated, Unseatable, WrongParts};
use crate::audit::AuditError;
use crate::base::checksum::Sum;
use crate::base::{NameError, Shortage};
use crate::sign::body::BodyError;
use crate::sign::chunks::ChunkError;
use crate::sign::{AuthorizationError, PresignError};
use actix_web::http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_RANGE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use std::borrow::Cow;

/// Has a browser ask for an id and a secret.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"boveda\", charset=\"UTF-8\"");

impl HttpError {
    /// What a client is told of it.
    pub fn problem(&self) -> Problem {
        match self {
            HttpError::NoRoute => Kind::NoRoute.into(),
            HttpError::Method { allow, instead } => {
                let detail = instead.map(Cow::Borrowed);
                Problem { detail, ..with_header(Kind::Method, ALLOW, HeaderValue::from_static(allow)) }
            }
            HttpError::Refused(kind) => (*kind).into(),
            HttpError::Name(NameError::Bucket) => Kind::BucketName.into(),
            HttpError::Name(NameError::Key) => Kind::KeyName.into(),
            HttpError::DotSegment => Kind::DotSegment.into(),
            HttpError::Digest => Kind::Digest.into(),
            HttpError::Query(why) => saying(Kind::Query, *why),
            HttpError::Header(why) => saying(Kind::Header, *why),
            HttpError::NotImplemented(what) => saying(Kind::NotImplemented, *what),
            HttpError::Coding => coding(Kind::Coding),
            // What was meant as a body would be read as the next request.
            HttpError::LengthRequired => Problem { closes: true, ..Kind::LengthRequired.into() },
            HttpError::ForeignHost => Kind::ForeignHost.into(),
            HttpError::ForeignOrigin => Kind::ForeignOrigin.into(),
            HttpError::Unauthenticated => with_header(Kind::Unauthenticated, WWW_AUTHENTICATE, CHALLENGE),
            HttpError::AccessUnknown => Kind::AccessUnknown.into(),
            HttpError::AccessDenied => Kind::AccessDenied.into(),
            HttpError::Link(why) => of_link(*why),
            HttpError::Signature(why) => of_signature(*why),
            HttpError::BodyHash(BodyError::V4a) => saying(Kind::NotImplemented, BodyError::V4a.to_string()),
            HttpError::BodyHash(why) => saying(Kind::BodyHash, why.to_string()),
            HttpError::Chunks(why) => of_chunks(*why),
            HttpError::Document(why) => saying(Kind::Document, *why),
            HttpError::TooLarge { .. } => Kind::TooLarge.into(),
            HttpError::Silent => Kind::Silent.into(),
            HttpError::BodyLength | HttpError::BrokenBody(_) => Kind::Incomplete.into(),
            HttpError::Form(form) => of_form(form),
            HttpError::SlowDown => Kind::Busy.into(),
            HttpError::Unsatisfiable { len } => {
                let size = HeaderValue::try_from(format!("bytes */{len}"));
                Problem { header: size.ok().map(|size| (CONTENT_RANGE, size)), ..Kind::Range.into() }
            }
            HttpError::Object(error) => of_object(error),
            HttpError::Members(why) => of_members(why),
            HttpError::Keys(why) => of_keys(why),
            HttpError::Audit { begun: true, .. } => Kind::AuditUntold.into(),
            HttpError::Audit { error: AuditError::Full, .. } => Kind::AuditFull.into(),
            HttpError::Audit { .. } => Kind::AuditFailed.into(),
            HttpError::NotKept => Kind::NotKept.into(),
            HttpError::Mailbox(_) => Kind::Unavailable.into(),
            HttpError::Broken(_) | HttpError::Unread(_) => Kind::Internal.into(),
        }
    }
}

fn saying(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem { detail: Some(detail.into()), ..kind.into() }
}

fn with_header(kind: Kind, name: HeaderName, value: HeaderValue) -> Problem {
    Problem { header: Some((name, value)), ..kind.into() }
}

fn coding(kind: Kind) -> Problem {
    with_header(kind, ACCEPT_ENCODING, HeaderValue::from_static("identity"))
}

fn of_form(error: &FormError) -> Problem {
    match error {
        FormError::NotAForm => Kind::NotAForm.into(),
        FormError::NoFile => Kind::NoFile.into(),
        FormError::NoFilePart => Kind::NoFilePart.into(),
        FormError::NoFileName => Kind::NoFileName.into(),
        FormError::OtherField => Kind::OtherField.into(),
        FormError::SeveralFiles => Kind::SeveralFiles.into(),
        FormError::Cut => Kind::FormCut.into(),
        FormError::BareLf => Kind::BareLf.into(),
        FormError::TooMuch => Kind::FormTooLarge.into(),
        FormError::Nested => Kind::NestedFiles.into(),
        FormError::Malformed(kind) => (*kind).into(),
        FormError::Encoded => coding(Kind::PartCoding),
    }
}

fn of_link(why: PresignError) -> Problem {
    match why {
        PresignError::Expired => Kind::LinkExpired.into(),
        PresignError::NotYet => Kind::LinkNotYet.into(),
        PresignError::Token => Kind::SessionToken.into(),
        why => saying(Kind::LinkForm, why.to_string()),
    }
}

fn of_signature(why: AuthorizationError) -> Problem {
    match why {
        AuthorizationError::V2 => Kind::SignatureVersion.into(),
        AuthorizationError::V4a => saying(Kind::NotImplemented, why.to_string()),
        AuthorizationError::Parts
        | AuthorizationError::Credential
        | AuthorizationError::Headers
        | AuthorizationError::Signature
        | AuthorizationError::Region
        | AuthorizationError::Day => saying(Kind::SignatureForm, why.to_string()),
        AuthorizationError::Time => Kind::SignatureTime.into(),
        AuthorizationError::Skewed => Kind::ClockSkew.into(),
        AuthorizationError::Unsigned => Kind::UnsignedHeader.into(),
        AuthorizationError::Absent => saying(Kind::SignatureRefused, why.to_string()),
        AuthorizationError::Token => Kind::SessionToken.into(),
    }
}

fn of_chunks(why: ChunkError) -> Problem {
    match why {
        ChunkError::Cut | ChunkError::Length => saying(Kind::Incomplete, why.to_string()),
        ChunkError::Head | ChunkError::LineEnd | ChunkError::Surplus => saying(Kind::ChunkForm, why.to_string()),
        ChunkError::Signature | ChunkError::TrailerSignature => saying(Kind::ChunkSignature, why.to_string()),
        ChunkError::Trailer => saying(Kind::ChunkTrailer, why.to_string()),
    }
}

fn of_object(error: &ObjectError) -> Problem {
    match error {
        ObjectError::Store(error) => of_store(error),
        ObjectError::Contended => Kind::Contended.into(),
        ObjectError::Crowded => Kind::Crowded.into(),
        ObjectError::NoMajority(why) => saying(Kind::NoMajority, *why),
        ObjectError::OutOfTime(why) => saying(Kind::OutOfTime, *why),
    }
}

fn of_store(error: &StoreError) -> Problem {
    if let Some(what) = error.shortage() {
        return of_shortage(what).into();
    }
    match error {
        StoreError::NoSuchKey => Kind::NoSuchKey.into(),
        StoreError::NoSuchBucket => Kind::NoSuchBucket.into(),
        StoreError::BucketNotEmpty => Kind::BucketNotEmpty.into(),
        StoreError::QuotaExceeded => Kind::QuotaExceeded.into(),
        StoreError::Precondition => Kind::Precondition.into(),
        StoreError::NoSuchUpload => Kind::NoSuchUpload.into(),
        StoreError::TooManyUploads => Kind::TooManyUploads.into(),
        StoreError::WrongParts(WrongParts::Other) => Kind::OtherPart.into(),
        StoreError::WrongParts(WrongParts::Order) => Kind::PartOrder.into(),
        StoreError::WrongParts(WrongParts::Small) => Kind::SmallPart.into(),
        StoreError::WrongParts(WrongParts::Count | WrongParts::Length) => saying(Kind::Parts, error.to_string()),
        StoreError::UnknownOutcome => Kind::UnknownOutcome.into(),
        StoreError::Corrupt { .. } => Kind::Corrupt.into(),
        // By its id, so that its file can be found.
        StoreError::KeyMissing { .. } => saying(Kind::KeyMissing, error.to_string()),
        StoreError::Mismatch(_) => Kind::Incomplete.into(),
        StoreError::SumMismatch(Sum::Md5) => Kind::Digest.into(),
        StoreError::SumMismatch(Sum::Sha256) => Kind::SignedDigest.into(),
        StoreError::SumMismatch(Sum::Checksum(_)) => Kind::Checksum.into(),
        // Between nodes only.
        StoreError::OtherList => Kind::OtherList.into(),
        StoreError::Full => Kind::Full.into(),
        StoreError::Poisoned => Kind::ReadOnly.into(),
        StoreError::ShuttingDown => Kind::ShuttingDown.into(),
        StoreError::Short(what) => of_shortage(*what).into(),
        StoreError::Index(_)
        | StoreError::IndexDamaged(_)
        | StoreError::Disk { .. }
        | StoreError::ForeignKey { .. }
        | StoreError::ForeignCluster { .. }
        | StoreError::ForeignDirectory { .. }
        | StoreError::SmallLog { .. }
        | StoreError::OtherFormat { .. } => Kind::Internal.into(),
    }
}

/// What the machine has run out of is told by its name, wherever it was met.
fn of_shortage(what: Shortage) -> Kind {
    match what {
        Shortage::Inodes => Kind::NoInodes,
        Shortage::FileSize => Kind::FileSize,
        Shortage::SmallVolume => Kind::SmallVolume,
        Shortage::OpenFiles => Kind::OpenFiles,
        Shortage::Volume => Kind::VolumeGone,
    }
}

/// The error's own text names the node.
fn of_members(why: &Unseatable) -> Problem {
    let kind = match why {
        Unseatable::Unknown(_) => Kind::UnknownNode,
        Unseatable::Silent(_) => Kind::NodeAway,
        Unseatable::Twice(_) | Unseatable::TooMany => Kind::Query,
        Unseatable::Moved(_) => Kind::MembersChanged,
        Unseatable::Undecided(error) => return of_object(error),
    };
    saying(kind, why.to_string())
}

fn of_keys(why: &Unrotated) -> Problem {
    let kind = match why {
        Unrotated::Unready(Unready::Lacking { .. }) => Kind::KeyNotEverywhere,
        Unrotated::Unready(Unready::Unknown(_)) => Kind::NoSuchGeneration,
        Unrotated::Unready(Unready::Older { .. } | Unready::Clashes { .. }) | Unrotated::Newer(_) => {
            Kind::OtherGeneration
        }
        Unrotated::Undecided(error) => return of_object(error),
    };
    saying(kind, why.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::errors::samples;
    use super::*;
    use crate::base::KekId;
    use std::io;

    #[test]
    fn statuses_that_clients_rely_on() {
        let status = |e: HttpError| e.problem().kind.status().as_u16();
        assert_eq!(status(StoreError::Full.into()), 507);
        for (what, expected) in [
            (Shortage::Inodes, 507),
            (Shortage::FileSize, 507),
            (Shortage::SmallVolume, 507),
            (Shortage::OpenFiles, 503),
            (Shortage::Volume, 503),
        ] {
            assert_eq!(status(StoreError::Short(what).into()), expected, "{what:?}");
        }
        let no_more_files = StoreError::Disk {
            op: crate::store::DiskOp::Open,
            path: "/p".into(),
            source: io::Error::from_raw_os_error(24),
        };
        let no_more_files = HttpError::from(no_more_files);
        assert!(!no_more_files.problem().kind.is_ours(), "a passing shortage is no line in the log for each request");
        assert_eq!(status(no_more_files), 503);
        assert_eq!(status(StoreError::BucketNotEmpty.into()), 409);
        assert_eq!(status(StoreError::QuotaExceeded.into()), 403, "no client tries that again by itself");
        assert_eq!(status(StoreError::ShuttingDown.into()), 503);
        assert_eq!(status(StoreError::KeyMissing { kek: KekId([7; 16]) }.into()), 503);
        assert_eq!(status(HttpError::Unauthenticated), 401);
        let challenge = HttpError::Unauthenticated.problem().header.expect("a browser asks for it");
        assert_eq!((challenge.0, challenge.1.as_bytes().starts_with(b"Basic realm=")), (WWW_AUTHENTICATE, true));
        assert_eq!(status(HttpError::AccessUnknown), 503);
        assert_eq!(status(HttpError::Silent), 408);
        assert_eq!(status(HttpError::TooLarge { max: 1 }), 413);
        assert_eq!(status(HttpError::NotImplemented("x")), 501);
    }

    #[test]
    fn what_is_ours_is_what_somebody_must_look_at() {
        for error in samples::all() {
            let disk = matches!(error, HttpError::Object(ObjectError::Store(StoreError::Disk { .. })));
            let ours = disk || matches!(error, HttpError::Mailbox(_) | HttpError::Broken(_) | HttpError::Unread(_));
            assert_eq!(error.problem().kind.is_ours(), ours, "{error:?}");
        }
    }
}
