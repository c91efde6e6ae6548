//! How this port tells a problem: S3's statuses, codes and XML.
//!
//! Invariants
//! - Every kind of problem has a row here; no code is chosen anywhere else on this port.
//! - A code means to clients what AWS means by it: they decide by it whether to try again, and what to tell. What AWS has
//!   no code for keeps the one that it has on port 5000.
//! - An answer to HEAD has no body.
//!
//! Codes: Amazon S3 API Reference, "Error responses".

use super::documents::MEDIA_TYPE;
use super::xml::Writer;
use crate::http::edge::english;
use crate::http::edge::problem::{Kind, Problem};
use crate::http::edge::request_id::RequestId;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName};

/// The id of a request.
pub(super) const AMZ_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
/// The same for those who want to know the host, too: it is named by none.
pub(super) const AMZ_ID_2: HeaderName = HeaderName::from_static("x-amz-id-2");

/// What a problem is to clients of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub status: StatusCode,
    pub code: &'static str,
    /// The text, where that of the other ports would be wrong here.
    message: Option<&'static str>,
}

impl Row {
    const fn new(status: StatusCode, code: &'static str) -> Self {
        Row { status, code, message: None }
    }

    const fn saying(self, message: &'static str) -> Self {
        Row { message: Some(message), ..self }
    }
}

/// What a request was about, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resource<'a> {
    /// The path as it was sent.
    pub path: &'a str,
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    /// The header that may have failed with 412, where there is one alone.
    pub condition: Option<&'static str>,
}

/// Conditions, as S3 names them in an error.
const CONDITIONS: [(&str, bool); 7] = [
    ("If-Match", true),
    ("If-None-Match", false),
    ("If-Unmodified-Since", true),
    ("x-amz-copy-source-If-Match", false),
    ("x-amz-copy-source-If-None-Match", false),
    ("x-amz-copy-source-If-Modified-Since", false),
    ("x-amz-copy-source-If-Unmodified-Since", false),
];

/// The condition that a request failed for, if it could be no other: with `If-Match` the one of a date does not count,
/// and `If-None-Match` of a read fails with 304.
pub(super) fn condition(headers: &HeaderMap, is_read: bool) -> Option<&'static str> {
    let counts = |(name, of_reads): &(&'static str, bool)| (*of_reads || !is_read) && headers.contains_key(*name);
    let mut all = CONDITIONS.iter().filter(|row| counts(row)).map(|(name, _)| *name);
    let first = all.next()?;
    if is_read || all.next().is_none() { Some(first) } else { None }
}

/// The row of a kind.
pub(super) const fn row(kind: Kind) -> Row {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
    const AGAIN: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    const INVALID: Row = Row::new(BAD, "InvalidRequest");
    const ARGUMENT: Row = Row::new(BAD, "InvalidArgument");
    const URI: Row = Row::new(BAD, "InvalidURI");
    const NOT_HERE: Row = Row::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented");
    const DENIED: Row = Row::new(FORBIDDEN, "AccessDenied");
    const UNAVAILABLE: Row = Row::new(AGAIN, "ServiceUnavailable");
    const FORM: Row = Row::new(BAD, "MalformedPOSTRequest");
    match kind {
        // The target.
        Kind::NoRoute => URI.saying("nothing is at this path"),
        Kind::Percent | Kind::Escape | Kind::DotSegment => URI,
        Kind::KeyName => Row::new(BAD, "KeyTooLongError"),
        Kind::Query | Kind::QueryTwice | Kind::Consistency => ARGUMENT,
        // The head.
        Kind::Header => ARGUMENT,
        Kind::MetadataSize => Row::new(BAD, "MetadataTooLarge"),
        Kind::Md5Header => Row::new(BAD, "InvalidDigest"),
        Kind::BodyHash | Kind::ChecksumHeader => INVALID,
        Kind::NoConditions => NOT_HERE.saying("this operation takes no conditions (If-Match, If-None-Match)"),
        Kind::OtherDigest => {
            NOT_HERE.saying("a body is held against Content-MD5 and x-amz-checksum-* alone; leave other digests out")
        }
        Kind::AmzHeader => NOT_HERE.saying("an x-amz-* header of the request is not known here"),
        Kind::NotImplemented
        | Kind::DateCondition
        | Kind::WriteRange
        | Kind::Trailers
        | Kind::WriteQuery
        | Kind::Coding
        | Kind::PartCoding => NOT_HERE,
        Kind::LengthRequired => Row::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength"),
        // Who asks.
        Kind::ForeignHost | Kind::ForeignOrigin | Kind::AccessDenied => DENIED,
        Kind::Unauthenticated => DENIED.saying("the request is not signed; sign it with AWS4-HMAC-SHA256"),
        Kind::AccessUnknown => UNAVAILABLE,
        Kind::TwoCredentials => ARGUMENT,
        Kind::LinkForm => Row::new(BAD, "AuthorizationQueryParametersError"),
        Kind::LinkExpired | Kind::LinkNotYet => DENIED,
        Kind::LinkHeader | Kind::LinkRefused => Row::new(FORBIDDEN, "SignatureDoesNotMatch"),
        Kind::LinkElsewhere | Kind::NoLinkKey | Kind::SignatureVersion => INVALID,
        Kind::SignatureForm => Row::new(BAD, "AuthorizationHeaderMalformed"),
        Kind::SignatureTime => DENIED,
        // Word for word: it is looked for.
        Kind::UnsignedHeader => DENIED.saying("There were headers present in the request which were not signed"),
        // The body.
        Kind::SignedDigest => Row::new(BAD, "XAmzContentSHA256Mismatch"),
        Kind::TooLarge | Kind::FormTooLarge => Row::new(BAD, "EntityTooLarge"),
        Kind::Silent => Row::new(BAD, "RequestTimeout"),
        Kind::ChunkForm => INVALID,
        Kind::ChunkTrailer => Row::new(BAD, "MalformedTrailerError"),
        Kind::Document => Row::new(BAD, "MalformedXML").saying("the body is not the XML document that is wanted"),
        Kind::Parts => Row::new(BAD, "InvalidRequest"),
        Kind::NotAForm
        | Kind::NoFile
        | Kind::NoFilePart
        | Kind::NoFileName
        | Kind::OtherField
        | Kind::SeveralFiles
        | Kind::NestedFiles
        | Kind::BareLf
        | Kind::PartNotUtf8
        | Kind::PartNoColon
        | Kind::PartDisposition
        | Kind::DelimiterTail => FORM,
        // The node and its peers: clients try again by themselves.
        Kind::Busy | Kind::Crowded => Row::new(AGAIN, "SlowDown"),
        Kind::NoMajority
        | Kind::OtherList
        | Kind::OutOfTime
        | Kind::UnknownOutcome
        | Kind::ShuttingDown
        | Kind::KeyMissing
        | Kind::ReadOnly
        | Kind::Unavailable
        | Kind::NotKept
        | Kind::AuditFailed
        | Kind::AuditUntold
        | Kind::OpenFiles
        | Kind::VolumeGone
        | Kind::NodeAway => UNAVAILABLE,
        Kind::Corrupt | Kind::Internal => Row::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        // Told as on the other ports.
        Kind::Method
        | Kind::BucketName
        | Kind::Precondition
        | Kind::Range
        | Kind::ClockSkew
        | Kind::SessionToken
        | Kind::SignerUnknown
        | Kind::SignatureRefused
        | Kind::Incomplete
        | Kind::FormCut
        | Kind::Digest
        | Kind::Checksum
        | Kind::ChunkSignature
        | Kind::NoSuchKey
        | Kind::NoSuchBucket
        | Kind::NoSuchUpload
        | Kind::TooManyUploads
        | Kind::OtherPart
        | Kind::PartOrder
        | Kind::SmallPart
        | Kind::QuotaExceeded
        | Kind::BucketNotEmpty
        | Kind::Contended
        | Kind::AuditFull
        | Kind::Full
        | Kind::NoInodes
        | Kind::FileSize
        | Kind::SmallVolume
        | Kind::StorageClass
        | Kind::Unsigned
        | Kind::PartNumber
        | Kind::PartOfRange
        | Kind::UploadChecksum
        | Kind::KeyNotText
        | Kind::CopyOntoItself
        | Kind::OtherRegion
        | Kind::OwnBucket
        | Kind::NoChecksum
        | Kind::NoBucketPolicy
        | Kind::NoLifecycle
        | Kind::NoCors
        | Kind::NoTags
        | Kind::NoWebsite
        | Kind::NoObjectLock
        | Kind::NoRetention
        | Kind::NoPublicAccessBlock
        | Kind::NoOwnershipControls
        | Kind::NoReplication
        // And these on no request of S3.
        | Kind::UnknownNode
        | Kind::MembersChanged
        | Kind::NoSuchAccessKey
        | Kind::Rotating
        | Kind::LastAdminKey
        | Kind::FirstKey
        | Kind::ManyPublic
        | Kind::KeyNotEverywhere
        | Kind::NoSuchGeneration
        | Kind::OtherGeneration => Row::new(kind.status(), kind.code()),
    }
}

/// What a problem is told by: what it says of its own, or what its kind says on this port.
pub(super) fn message(problem: &Problem) -> &str {
    match row(problem.kind).message {
        Some(message) if problem.detail.is_none() => message,
        _ => english::text(problem),
    }
}

/// The answer to a request that was not served.
pub(super) fn tell(problem: &Problem, resource: &Resource<'_>, id: &RequestId, is_head: bool) -> HttpResponse {
    let mut builder = problem.head();
    builder
        .status(row(problem.kind).status)
        .insert_header((AMZ_REQUEST_ID, id.header()))
        .insert_header((AMZ_ID_2, id.header()))
        .insert_header((header::CONTENT_TYPE, MEDIA_TYPE));
    let mut response = if is_head { builder.finish() } else { builder.body(document(problem, resource, id)) };
    // Nobody comes in by Basic here.
    response.headers_mut().remove(header::WWW_AUTHENTICATE);
    response
}

/// `Error`. Names of bucket and key are told of what is missing, or in the way; a condition where one failed.
fn document(problem: &Problem, resource: &Resource<'_>, id: &RequestId) -> String {
    const ROOT: &str = "Error";
    let message = message(problem);
    let mut writer = Writer::plain(ROOT, 256 + message.len() + resource.path.len());
    writer.text("Code", row(problem.kind).code).text("Message", message);
    match problem.kind {
        Kind::NoSuchKey => writer.maybe("Key", resource.key),
        Kind::Precondition => writer.maybe("Condition", resource.condition),
        Kind::NoSuchBucket | Kind::BucketNotEmpty | Kind::OwnBucket => writer.maybe("BucketName", resource.bucket),
        _ => &mut writer,
    };
    writer.text("Resource", resource.path).text("RequestId", id.as_str()).text("HostId", id.as_str());
    writer.finish(ROOT)
}

#[cfg(test)]
mod tests;
