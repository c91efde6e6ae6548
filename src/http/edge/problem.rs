//! What a client is told of a request that was not served: kind, status, code and headers, in no language yet.
//!
//! Invariants
//! - A problem names no path, no key and nothing of the inside.
//! - Kinds are told apart by what somebody can do about them; several may have one code.
//! - The table is the one place of statuses and codes. A port whose clients know other codes has its own beside it.

use actix_web::HttpResponseBuilder;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use std::borrow::Cow;

/// A problem, to be told by the voice of a port.
#[derive(Debug)]
pub struct Problem {
    pub kind: Kind,
    /// What the English text of the kind leaves open, and says in its place.
    pub detail: Option<Cow<'static, str>>,
    /// The header that belongs to it, such as `Allow`.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// Whether the connection ends with the answer.
    pub closes: bool,
}

impl Problem {
    /// Status and headers of the answer; the voice adds what it says.
    pub fn head(&self) -> HttpResponseBuilder {
        let mut builder = HttpResponseBuilder::new(self.kind.status());
        if let Some((name, value)) = &self.header {
            builder.insert_header((name, value));
        }
        if self.kind.status() == StatusCode::SERVICE_UNAVAILABLE {
            builder.insert_header((RETRY_AFTER, HeaderValue::from_static("1")));
        }
        if self.closes {
            builder.force_close();
        }
        builder
    }
}

impl From<Kind> for Problem {
    fn from(kind: Kind) -> Self {
        Problem { kind, detail: None, header: None, closes: false }
    }
}

/// Makes the kinds out of their table: what went wrong, kind, status, code.
macro_rules! kinds {
    ($($(#[$what:meta])* $kind:ident $status:ident $code:literal)*) => {
        /// What went wrong, as far as a client can do something about it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($(#[$what])* $kind,)* }

        impl Kind {
            /// All of them.
            #[cfg(test)]
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// The status of the answer.
            pub const fn status(self) -> StatusCode {
                match self { $(Kind::$kind => StatusCode::$status,)* }
            }

            /// The word that programs read.
            pub const fn code(self) -> &'static str {
                match self { $(Kind::$kind => $code,)* }
            }
        }
    };
}

kinds! {
    // The target.
    /// Nothing is at the path.
    NoRoute             NOT_FOUND               "NoSuchRoute"
    /// The path does not take the method; with `Allow`.
    Method              METHOD_NOT_ALLOWED      "MethodNotAllowed"
    /// A percent sign has no two digits behind it.
    Percent             BAD_REQUEST             "InvalidEscape"
    /// What is escaped is not UTF-8.
    Escape              BAD_REQUEST             "InvalidEscape"
    /// The bucket's name is none.
    BucketName          BAD_REQUEST             "InvalidBucketName"
    /// The key is empty or too long.
    KeyName             BAD_REQUEST             "InvalidKey"
    /// The key has a segment that clients resolve themselves.
    DotSegment          BAD_REQUEST             "InvalidKey"
    /// A parameter is unknown, or has a wrong value.
    Query               BAD_REQUEST             "InvalidQuery"
    /// A parameter is there twice.
    QueryTwice          BAD_REQUEST             "InvalidQuery"
    /// What a read is to rest on is unknown.
    Consistency         BAD_REQUEST             "InvalidQuery"

    // The head.
    /// A header cannot be read.
    Header              BAD_REQUEST             "InvalidHeader"
    /// `Content-MD5` is none.
    Md5Header           BAD_REQUEST             "InvalidHeader"
    /// What is named of an object is too much.
    MetadataSize        BAD_REQUEST             "InvalidHeader"
    /// The request asks for what this release has not.
    NotImplemented      NOT_IMPLEMENTED         "NotImplemented"
    /// A write on condition of a date.
    DateCondition       NOT_IMPLEMENTED         "NotImplemented"
    /// A write of a part of an object.
    WriteRange          NOT_IMPLEMENTED         "NotImplemented"
    /// A checksum in another header than `Content-MD5`.
    OtherDigest         NOT_IMPLEMENTED         "NotImplemented"
    /// Headers behind the body.
    Trailers            NOT_IMPLEMENTED         "NotImplemented"
    /// A header of S3.
    AmzHeader           NOT_IMPLEMENTED         "NotImplemented"
    /// A condition on a route that knows none.
    NoConditions        NOT_IMPLEMENTED         "NotImplemented"
    /// A parameter on a write that knows none.
    WriteQuery          NOT_IMPLEMENTED         "NotImplemented"
    /// The body is coded; with `Accept-Encoding`.
    Coding              UNSUPPORTED_MEDIA_TYPE  "UnsupportedCoding"
    /// A part of a form is coded; with `Accept-Encoding`.
    PartCoding          UNSUPPORTED_MEDIA_TYPE  "UnsupportedCoding"
    /// Nobody can tell where the body ends.
    LengthRequired      LENGTH_REQUIRED         "LengthRequired"
    /// A condition does not hold.
    Precondition        PRECONDITION_FAILED     "PreconditionFailed"
    /// The range lies outside; with `Content-Range`.
    Range               RANGE_NOT_SATISFIABLE   "InvalidRange"

    // Who asks.
    /// The node is reached under a name of somebody else.
    ForeignHost         FORBIDDEN               "ForeignHost"
    /// A page of somebody else writes.
    ForeignOrigin       FORBIDDEN               "ForeignOrigin"
    /// Nobody is known to call: no credential, or none that lets anybody in; with `WWW-Authenticate`.
    Unauthenticated     UNAUTHORIZED            "Unauthorized"
    /// Nobody knows which access keys are in force.
    AccessUnknown       SERVICE_UNAVAILABLE     "ServiceUnavailable"
    /// The caller may not.
    AccessDenied        FORBIDDEN               "AccessDenied"
    /// A request brings a link, and another credential.
    TwoCredentials      BAD_REQUEST             "InvalidLink"
    /// A link is not well formed.
    LinkForm            BAD_REQUEST             "InvalidLink"
    /// A link leads where links may not.
    LinkElsewhere       BAD_REQUEST             "InvalidLink"
    /// A header that a link fixes is missing, or one is there that it would have to fix.
    LinkHeader          BAD_REQUEST             "InvalidLink"
    /// A link counts no more.
    LinkExpired         FORBIDDEN               "LinkExpired"
    /// A link does not count yet.
    LinkNotYet          FORBIDDEN               "LinkNotYet"
    /// A link was not signed so by a key that is in force.
    LinkRefused         FORBIDDEN               "LinkRefused"
    /// The signature in the head is not well formed.
    SignatureForm       BAD_REQUEST             "InvalidAuthorization"
    /// The signature in the head is of a version that is not taken.
    SignatureVersion    BAD_REQUEST             "InvalidAuthorization"
    /// A signed request has no time that can be read.
    SignatureTime       FORBIDDEN               "AccessDenied"
    /// A signed request is too far from the clock here.
    ClockSkew           FORBIDDEN               "RequestTimeTooSkewed"
    /// A header came that has to be signed, and is not.
    UnsignedHeader      FORBIDDEN               "AccessDenied"
    /// A signed request brings a token of a session.
    SessionToken        BAD_REQUEST             "InvalidToken"
    /// A signature was made by a key that is not there, or not in force.
    SignerUnknown       FORBIDDEN               "InvalidAccessKeyId"
    /// A signature does not fit.
    SignatureRefused    FORBIDDEN               "SignatureDoesNotMatch"
    /// Who wants a link has no key to sign it with.
    NoLinkKey           BAD_REQUEST             "NoAccessKey"

    // The body.
    /// It is larger than the node takes.
    TooLarge            PAYLOAD_TOO_LARGE       "EntityTooLarge"
    /// No byte came for too long.
    Silent              REQUEST_TIMEOUT         "RequestTimeout"
    /// It is not what its head announces.
    Incomplete          BAD_REQUEST             "IncompleteBody"
    /// It has not the checksum that came with it.
    Digest              BAD_REQUEST             "BadDigest"
    /// It has not one of the other checksums that came with it.
    Checksum            BAD_REQUEST             "BadDigest"
    /// It has not the SHA-256 that its head was signed with.
    SignedDigest        BAD_REQUEST             "BadDigest"
    /// What the head says of its digest cannot be read, or is missing.
    BodyHash            BAD_REQUEST             "InvalidHeader"
    /// What the head says of its checksum cannot be read, or contradicts itself.
    ChecksumHeader      BAD_REQUEST             "InvalidHeader"
    /// It comes in chunks, and these are not well formed.
    ChunkForm           BAD_REQUEST             "InvalidChunk"
    /// The signature of one of its chunks does not fit.
    ChunkSignature      FORBIDDEN               "SignatureDoesNotMatch"
    /// What stands behind its chunks is not what was announced.
    ChunkTrailer        BAD_REQUEST             "MalformedTrailer"

    /// It is not the document that it should be.
    Document            BAD_REQUEST             "InvalidDocument"

    // A form.
    /// The body is none.
    NotAForm            BAD_REQUEST             "InvalidForm"
    /// It has no file.
    NoFile              BAD_REQUEST             "MissingFile"
    /// It has a text where the file should be.
    NoFilePart          BAD_REQUEST             "MissingFile"
    /// Its file has no name.
    NoFileName          BAD_REQUEST             "MissingFileName"
    /// It has a file in another field.
    OtherField          BAD_REQUEST             "MissingFile"
    /// It has several files.
    SeveralFiles        BAD_REQUEST             "SeveralFiles"
    /// One of its fields holds a `multipart/mixed` of files.
    NestedFiles         BAD_REQUEST             "SeveralFiles"
    /// It ends too early.
    FormCut             BAD_REQUEST             "IncompleteBody"
    /// A line of it ends in LF.
    BareLf              BAD_REQUEST             "InvalidForm"
    /// It holds too much besides the file.
    FormTooLarge        PAYLOAD_TOO_LARGE       "EntityTooLarge"
    /// A header of a part is not UTF-8.
    PartNotUtf8         BAD_REQUEST             "InvalidForm"
    /// A header of a part has no colon.
    PartNoColon         BAD_REQUEST             "InvalidForm"
    /// The `Content-Disposition` of a part cannot be read.
    PartDisposition     BAD_REQUEST             "InvalidForm"
    /// Something follows a delimiter on its line.
    DelimiterTail       BAD_REQUEST             "InvalidForm"

    // What is there, and what is not.
    /// No object has the name.
    NoSuchKey           NOT_FOUND               "NoSuchKey"
    /// No bucket has the name.
    NoSuchBucket        NOT_FOUND               "NoSuchBucket"
    /// The bucket would hold more than its quota.
    QuotaExceeded       FORBIDDEN               "QuotaExceeded"
    /// The bucket holds objects.
    BucketNotEmpty      CONFLICT                "BucketNotEmpty"
    /// Other writes of the object kept this one from being decided.
    Contended           CONFLICT                "ConditionalRequestConflict"

    // The node and its peers.
    /// Too much is in flight.
    Busy                SERVICE_UNAVAILABLE     "SlowDown"
    /// Too many write the same object.
    Crowded             SERVICE_UNAVAILABLE     "SlowDown"
    /// No majority; nothing was written.
    NoMajority          SERVICE_UNAVAILABLE     "NoMajority"
    /// The member list changes meanwhile.
    OtherList           SERVICE_UNAVAILABLE     "NoMajority"
    /// There was no time for all of it.
    OutOfTime           SERVICE_UNAVAILABLE     "OutOfTime"
    /// Nobody knows whether the write took effect.
    UnknownOutcome      SERVICE_UNAVAILABLE     "UnknownOutcome"
    /// The node is stopping.
    ShuttingDown        SERVICE_UNAVAILABLE     "ShuttingDown"
    /// It lacks a key generation.
    KeyMissing          SERVICE_UNAVAILABLE     "KeyMissing"
    /// It takes no writes.
    ReadOnly            SERVICE_UNAVAILABLE     "ReadOnly"
    /// Its store does not answer.
    Unavailable         SERVICE_UNAVAILABLE     "Unavailable"
    /// The change is in force, and could not be kept for a restart.
    NotKept             SERVICE_UNAVAILABLE     "NotKept"

    // The audit log.
    /// It has no room for the line of a change.
    AuditFull           INSUFFICIENT_STORAGE    "InsufficientStorage"
    /// It takes no line.
    AuditFailed         SERVICE_UNAVAILABLE     "AuditUnavailable"
    /// It could not say how a change went.
    AuditUntold         SERVICE_UNAVAILABLE     "UnknownOutcome"

    // What it lacks.
    /// There is no room on the disk.
    Full                INSUFFICIENT_STORAGE    "InsufficientStorage"
    /// The file system has no inodes left.
    NoInodes            INSUFFICIENT_STORAGE    "InsufficientStorage"
    /// The file would be longer than it may make one.
    FileSize            INSUFFICIENT_STORAGE    "InsufficientStorage"
    /// The volume is smaller than its reserve.
    SmallVolume         INSUFFICIENT_STORAGE    "InsufficientStorage"
    /// The process has no open files left.
    OpenFiles           SERVICE_UNAVAILABLE     "TooManyOpenFiles"
    /// The volume is gone.
    VolumeGone          SERVICE_UNAVAILABLE     "VolumeGone"

    // The member list.
    /// A node is not known.
    UnknownNode         BAD_REQUEST             "UnknownNode"
    /// A node is not there.
    NodeAway            SERVICE_UNAVAILABLE     "NodeAway"
    /// The list has changed meanwhile.
    MembersChanged      CONFLICT                "MembersChanged"

    // Access keys.
    /// No access key has the id.
    NoSuchAccessKey     NOT_FOUND               "NoSuchAccessKey"
    /// The key has two secrets already.
    Rotating            CONFLICT                "KeyIsRotating"
    /// Nobody could make another key without this one.
    LastAdminKey        CONFLICT                "LastAdminKey"
    /// The first key would leave nobody who could make another.
    FirstKey            CONFLICT                "FirstKeyNotAdmin"
    /// As much of the bucket is open to everybody as may be.
    ManyPublic          CONFLICT                "TooManyGrants"

    // Key generations.
    /// Not all members are known to open it.
    KeyNotEverywhere    CONFLICT                "KeyNotEverywhere"
    /// The node holds none of that number.
    NoSuchGeneration    NOT_FOUND               "NoSuchKeyGeneration"
    /// Another one seals, or another key has its number.
    OtherGeneration     CONFLICT                "OtherKeyGeneration"

    // Requests of S3.
    /// An object is to be kept in another class than there is.
    StorageClass        BAD_REQUEST             "InvalidStorageClass"
    /// Who signs nothing wants an answer changed.
    Unsigned            BAD_REQUEST             "InvalidRequest"
    /// The object has no part of the number.
    PartNumber          RANGE_NOT_SATISFIABLE   "InvalidPartNumber"
    /// A checksum is not what the upload was begun with.
    UploadChecksum      BAD_REQUEST             "InvalidRequest"
    /// An object is copied onto itself as it is.
    CopyOntoItself      BAD_REQUEST             "InvalidRequest"
    /// A bucket is to be in another region.
    OtherRegion         BAD_REQUEST             "IllegalLocationConstraintException"
    /// There is such a bucket.
    OwnBucket           CONFLICT                "BucketAlreadyOwnedByYou"
    /// The answer would have a key that its form cannot hold.
    KeyNotText          BAD_REQUEST             "InvalidRequest"
    /// A read asks for a part and a range.
    PartOfRange         BAD_REQUEST             "InvalidRequest"
    /// No such upload in parts is open.
    NoSuchUpload        NOT_FOUND               "NoSuchUpload"
    /// The key has too many open uploads.
    TooManyUploads      CONFLICT                "TooManyUploads"
    /// A part that an upload is to be completed with is not there, or another one.
    OtherPart           BAD_REQUEST             "InvalidPart"
    /// Their numbers do not grow.
    PartOrder           BAD_REQUEST             "InvalidPartOrder"
    /// One that is not the last is too small.
    SmallPart           BAD_REQUEST             "EntityTooSmall"
    /// They are none, too many, or not as long as was said.
    Parts               BAD_REQUEST             "InvalidParts"
    /// A document comes without a checksum.
    NoChecksum          BAD_REQUEST             "InvalidRequest"
    // What is not set.
    /// The bucket has no policy.
    NoBucketPolicy      NOT_FOUND               "NoSuchBucketPolicy"
    /// The bucket has no rules of expiry.
    NoLifecycle         NOT_FOUND               "NoSuchLifecycleConfiguration"
    /// The bucket is open to no pages of others.
    NoCors              NOT_FOUND               "NoSuchCORSConfiguration"
    /// The bucket has no tags.
    NoTags              NOT_FOUND               "NoSuchTagSet"
    /// The bucket is no web site.
    NoWebsite           NOT_FOUND               "NoSuchWebsiteConfiguration"
    /// The bucket locks nothing.
    NoObjectLock        NOT_FOUND               "ObjectLockConfigurationNotFoundError"
    /// The object is not locked.
    NoRetention         NOT_FOUND               "NoSuchObjectLockConfiguration"
    /// The bucket blocks no public access.
    NoPublicAccessBlock NOT_FOUND               "NoSuchPublicAccessBlockConfiguration"
    /// The bucket has no rules of ownership.
    NoOwnershipControls NOT_FOUND               "OwnershipControlsNotFoundError"
    /// The bucket is copied to no other.
    NoReplication       NOT_FOUND               "ReplicationConfigurationNotFoundError"

    // Faults of ours.
    /// Stored bytes do not open.
    Corrupt             INTERNAL_SERVER_ERROR   "Corrupt"
    /// Something else failed here.
    Internal            INTERNAL_SERVER_ERROR   "InternalError"
}

impl Kind {
    /// Whether the fault is on this side, so that somebody must look at the log.
    pub const fn is_ours(self) -> bool {
        matches!(self, Kind::Corrupt | Kind::Internal | Kind::Unavailable)
    }

    /// Whether no port but that of S3 tells it. They stand beside each other in the table.
    #[cfg(test)]
    pub const fn is_of_s3_alone(self) -> bool {
        Kind::StorageClass as usize <= self as usize && self as usize <= Kind::NoReplication as usize
    }
}
