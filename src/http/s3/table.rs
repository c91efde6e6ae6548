//! The table of operations, in the order in which S3's documentation has them: of the service, of buckets, of objects.
//!
//! Invariant: of two rows of one method and place that a request could select, the first counts; so the more particular
//! one stands first.

use super::operations::{Asks, By, Calm, Does, On, Row, Verb};
use crate::http::edge::access::Right;
use crate::http::edge::deed::Sort;
use crate::http::edge::problem::Kind;

/// What a write says of the object, and what of its bytes.
const WRITE_HEADERS: &[&str] = &[
    "x-amz-meta-",
    "x-amz-acl",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-checksum-",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
];
/// What a copy says of the object and of its source.
const COPY_HEADERS: &[&str] = &[
    "x-amz-meta-",
    "x-amz-acl",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-metadata-directive",
    "x-amz-tagging-directive",
    "x-amz-checksum-algorithm",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
];
/// What is said of an object when an upload in parts is begun that it is to become.
const CREATE_HEADERS: &[&str] = &[
    "x-amz-meta-",
    "x-amz-acl",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-checksum-",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
];
/// What is said of the object when it is completed: its checksum, and how long it is.
const COMPLETE_HEADERS: &[&str] = &[
    "x-amz-checksum-crc32",
    "x-amz-checksum-crc32c",
    "x-amz-checksum-crc64nvme",
    "x-amz-checksum-sha1",
    "x-amz-checksum-sha256",
    "x-amz-checksum-type",
    "x-amz-mp-object-size",
];
/// What is said of the source of a part.
const PART_COPY_HEADERS: &[&str] = &[
    "x-amz-copy-source-range",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-unmodified-since",
];
/// What a document in a body is held against.
const DOCUMENT_HEADERS: &[&str] = &["x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-trailer"];
/// What a read has answered in the place of what the object has.
const READ_QUERY: &[&str] = &[
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
];
const READ_HEADERS: &[&str] = &["x-amz-checksum-mode"];

/// An operation that is served.
const fn serves(verb: Verb, on: On, by: By, name: &'static str, does: Does, asks: Asks) -> Row {
    Row { name, verb, on, by, does, asks, deed: ("bucket:show", Sort::Look), query: &[], headers: &[] }
}

impl Row {
    const fn deed(self, action: &'static str, sort: Sort) -> Self {
        Row { deed: (action, sort), ..self }
    }

    const fn query(self, query: &'static [&'static str]) -> Self {
        Row { query, ..self }
    }

    const fn headers(self, headers: &'static [&'static str]) -> Self {
        Row { headers, ..self }
    }
}

/// An operation that this release has not.
const fn refused(verb: Verb, on: On, by: By, name: &'static str) -> Row {
    serves(verb, on, by, name, Does::Refused, Asks::Known)
}

/// A setting of a bucket that nothing can be set to here.
const fn of_bucket(name: &'static str, by: &'static str, calm: Calm) -> Row {
    serves(Verb::Get, On::Bucket, By::Query(by), name, Does::Calm(calm), Asks::Some(Right::List))
}

/// A setting of an object that nothing can be set to here.
const fn of_object(name: &'static str, by: &'static str, calm: Calm) -> Row {
    serves(Verb::Get, On::Object, By::Query(by), name, Does::Calm(calm), Asks::Object(Right::Read))
        .deed("object:read", Sort::Object)
}

/// An operation on an upload in parts: of whoever may write the object.
const fn of_upload(verb: Verb, by: By, name: &'static str, does: Does, action: &'static str) -> Row {
    serves(verb, On::Object, by, name, does, Asks::Object(Right::Write)).deed(action, Sort::Object)
}

/// All operations.
pub(super) const ROWS: &[Row] = {
    use By::{Both, Default, Header, Query};
    use On::{Bucket, Object, Service};
    use Verb::{Delete, Get, Head, Options, Post, Put};
    &[
        // The service.
        serves(Get, Service, Default, "ListBuckets", Does::ListBuckets, Asks::Known)
            .deed("bucket:list", Sort::Look)
            .query(&["prefix", "max-buckets", "continuation-token", "bucket-region"]),
        // A bucket itself.
        refused(Get, Bucket, Query("session"), "CreateSession"),
        serves(Put, Bucket, Default, "CreateBucket", Does::CreateBucket, Asks::All(Right::Admin))
            .deed("bucket:create", Sort::Change)
            .headers(&[
                "x-amz-acl",
                "x-amz-object-ownership",
                "x-amz-bucket-object-lock-enabled",
                "x-amz-checksum-",
                "x-amz-sdk-checksum-algorithm",
                "x-amz-trailer",
            ]),
        serves(Head, Bucket, Default, "HeadBucket", Does::HeadBucket, Asks::Some(Right::List)),
        serves(Delete, Bucket, Default, "DeleteBucket", Does::DeleteBucket, Asks::All(Right::Admin))
            .deed("bucket:delete", Sort::Change),
        serves(Get, Bucket, Query("location"), "GetBucketLocation", Does::GetLocation, Asks::Some(Right::List)),
        // What is in it.
        refused(Get, Bucket, Query("versions"), "ListObjectVersions"),
        serves(Get, Bucket, Query("uploads"), "ListMultipartUploads", Does::ListUploads, Asks::Some(Right::List))
            .deed("upload:list", Sort::Object)
            .query(&["prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"]),
        serves(Post, Bucket, Query("delete"), "DeleteObjects", Does::DeleteObjects, Asks::Some(Right::Delete))
            .deed("object:delete", Sort::Object)
            .headers(DOCUMENT_HEADERS),
        refused(Post, Bucket, Default, "PostObject"),
        refused(Options, Bucket, Default, "Preflight"),
        // What it is set to.
        of_bucket("GetBucketAcl", "acl", Calm::Acl),
        refused(Put, Bucket, Query("acl"), "PutBucketAcl"),
        of_bucket("GetBucketPolicy", "policy", Calm::Missing(Kind::NoBucketPolicy)),
        of_bucket("GetBucketPolicyStatus", "policyStatus", Calm::Missing(Kind::NoBucketPolicy)),
        refused(Put, Bucket, Query("policy"), "PutBucketPolicy"),
        refused(Delete, Bucket, Query("policy"), "DeleteBucketPolicy"),
        of_bucket("GetBucketLifecycleConfiguration", "lifecycle", Calm::Missing(Kind::NoLifecycle)),
        refused(Put, Bucket, Query("lifecycle"), "PutBucketLifecycleConfiguration"),
        refused(Delete, Bucket, Query("lifecycle"), "DeleteBucketLifecycle"),
        of_bucket("GetBucketCors", "cors", Calm::Missing(Kind::NoCors)),
        refused(Put, Bucket, Query("cors"), "PutBucketCors"),
        refused(Delete, Bucket, Query("cors"), "DeleteBucketCors"),
        of_bucket("GetBucketTagging", "tagging", Calm::Missing(Kind::NoTags)),
        refused(Put, Bucket, Query("tagging"), "PutBucketTagging"),
        refused(Delete, Bucket, Query("tagging"), "DeleteBucketTagging"),
        of_bucket("GetBucketWebsite", "website", Calm::Missing(Kind::NoWebsite)),
        refused(Put, Bucket, Query("website"), "PutBucketWebsite"),
        refused(Delete, Bucket, Query("website"), "DeleteBucketWebsite"),
        of_bucket("GetBucketEncryption", "encryption", Calm::Encryption),
        refused(Put, Bucket, Query("encryption"), "PutBucketEncryption"),
        refused(Delete, Bucket, Query("encryption"), "DeleteBucketEncryption"),
        of_bucket("GetObjectLockConfiguration", "object-lock", Calm::Missing(Kind::NoObjectLock)),
        refused(Put, Bucket, Query("object-lock"), "PutObjectLockConfiguration"),
        of_bucket("GetPublicAccessBlock", "publicAccessBlock", Calm::Missing(Kind::NoPublicAccessBlock)),
        refused(Put, Bucket, Query("publicAccessBlock"), "PutPublicAccessBlock"),
        refused(Delete, Bucket, Query("publicAccessBlock"), "DeletePublicAccessBlock"),
        of_bucket("GetBucketOwnershipControls", "ownershipControls", Calm::Missing(Kind::NoOwnershipControls)),
        refused(Put, Bucket, Query("ownershipControls"), "PutBucketOwnershipControls"),
        refused(Delete, Bucket, Query("ownershipControls"), "DeleteBucketOwnershipControls"),
        of_bucket("GetBucketReplication", "replication", Calm::Missing(Kind::NoReplication)),
        refused(Put, Bucket, Query("replication"), "PutBucketReplication"),
        refused(Delete, Bucket, Query("replication"), "DeleteBucketReplication"),
        of_bucket("GetBucketNotificationConfiguration", "notification", Calm::Empty("NotificationConfiguration")),
        refused(Put, Bucket, Query("notification"), "PutBucketNotificationConfiguration"),
        of_bucket("GetBucketLogging", "logging", Calm::Empty("BucketLoggingStatus")),
        refused(Put, Bucket, Query("logging"), "PutBucketLogging"),
        of_bucket("GetBucketVersioning", "versioning", Calm::Empty("VersioningConfiguration")),
        refused(Put, Bucket, Query("versioning"), "PutBucketVersioning"),
        of_bucket("GetBucketRequestPayment", "requestPayment", Calm::RequestPayment),
        refused(Put, Bucket, Query("requestPayment"), "PutBucketRequestPayment"),
        of_bucket("GetBucketAccelerateConfiguration", "accelerate", Calm::Empty("AccelerateConfiguration")),
        refused(Put, Bucket, Query("accelerate"), "PutBucketAccelerateConfiguration"),
        refused(Get, Bucket, Query("analytics"), "GetBucketAnalyticsConfiguration"),
        refused(Put, Bucket, Query("analytics"), "PutBucketAnalyticsConfiguration"),
        refused(Delete, Bucket, Query("analytics"), "DeleteBucketAnalyticsConfiguration"),
        refused(Get, Bucket, Query("intelligent-tiering"), "GetBucketIntelligentTieringConfiguration"),
        refused(Put, Bucket, Query("intelligent-tiering"), "PutBucketIntelligentTieringConfiguration"),
        refused(Delete, Bucket, Query("intelligent-tiering"), "DeleteBucketIntelligentTieringConfiguration"),
        refused(Get, Bucket, Query("inventory"), "GetBucketInventoryConfiguration"),
        refused(Put, Bucket, Query("inventory"), "PutBucketInventoryConfiguration"),
        refused(Delete, Bucket, Query("inventory"), "DeleteBucketInventoryConfiguration"),
        refused(Get, Bucket, Query("metrics"), "GetBucketMetricsConfiguration"),
        refused(Put, Bucket, Query("metrics"), "PutBucketMetricsConfiguration"),
        refused(Delete, Bucket, Query("metrics"), "DeleteBucketMetricsConfiguration"),
        refused(Get, Bucket, Query("metadataConfiguration"), "GetBucketMetadataConfiguration"),
        refused(Post, Bucket, Query("metadataConfiguration"), "CreateBucketMetadataConfiguration"),
        refused(Delete, Bucket, Query("metadataConfiguration"), "DeleteBucketMetadataConfiguration"),
        refused(Get, Bucket, Query("abac"), "GetBucketAbac"),
        refused(Put, Bucket, Query("abac"), "PutBucketAbac"),
        // Lists: what is left of a GET.
        serves(Get, Bucket, Query("list-type"), "ListObjectsV2", Does::ListObjectsV2, Asks::Some(Right::List))
            .deed("object:list", Sort::Object)
            .query(&[
                "prefix",
                "delimiter",
                "start-after",
                "continuation-token",
                "fetch-owner",
                "max-keys",
                "encoding-type",
            ]),
        serves(Get, Bucket, Default, "ListObjects", Does::ListObjects, Asks::Some(Right::List))
            .deed("object:list", Sort::Object)
            .query(&["prefix", "delimiter", "marker", "max-keys", "encoding-type"]),
        // Multipart uploads.
        of_upload(Post, Query("uploads"), "CreateMultipartUpload", Does::CreateUpload, "upload:create")
            .headers(CREATE_HEADERS),
        of_upload(Put, Both("uploadId", "x-amz-copy-source"), "UploadPartCopy", Does::CopyPart, "upload:write")
            .query(&["partNumber"])
            .headers(PART_COPY_HEADERS),
        of_upload(Put, Query("uploadId"), "UploadPart", Does::UploadPart, "upload:write")
            .query(&["partNumber"])
            .headers(DOCUMENT_HEADERS),
        of_upload(Post, Query("uploadId"), "CompleteMultipartUpload", Does::CompleteUpload, "upload:complete")
            .headers(COMPLETE_HEADERS),
        of_upload(Delete, Query("uploadId"), "AbortMultipartUpload", Does::AbortUpload, "upload:abort"),
        of_upload(Get, Query("uploadId"), "ListParts", Does::ListParts, "upload:show")
            .query(&["max-parts", "part-number-marker"]),
        // What an object is set to.
        of_object("GetObjectAcl", "acl", Calm::Acl),
        refused(Put, Object, Query("acl"), "PutObjectAcl"),
        of_object("GetObjectTagging", "tagging", Calm::NoTags),
        refused(Put, Object, Query("tagging"), "PutObjectTagging"),
        refused(Delete, Object, Query("tagging"), "DeleteObjectTagging"),
        of_object("GetObjectRetention", "retention", Calm::Missing(Kind::NoRetention)),
        refused(Put, Object, Query("retention"), "PutObjectRetention"),
        of_object("GetObjectLegalHold", "legal-hold", Calm::Missing(Kind::NoRetention)),
        refused(Put, Object, Query("legal-hold"), "PutObjectLegalHold"),
        serves(Get, Object, Query("attributes"), "GetObjectAttributes", Does::GetAttributes, Asks::Object(Right::Read))
            .deed("object:read", Sort::Object)
            .headers(&["x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"]),
        refused(Get, Object, Query("torrent"), "GetObjectTorrent"),
        refused(Post, Object, Query("restore"), "RestoreObject"),
        refused(Post, Object, Query("select"), "SelectObjectContent"),
        refused(Put, Object, Query("renameObject"), "RenameObject"),
        refused(Put, Object, Query("encryption"), "UpdateObjectEncryption"),
        refused(Options, Object, Default, "PreflightObject"),
        // Objects.
        serves(Put, Object, Header("x-amz-copy-source"), "CopyObject", Does::CopyObject, Asks::Object(Right::Write))
            .deed("object:write", Sort::Object)
            .headers(COPY_HEADERS),
        serves(Put, Object, Default, "PutObject", Does::PutObject, Asks::Object(Right::Write))
            .deed("object:write", Sort::Object)
            .headers(WRITE_HEADERS),
        serves(Get, Object, Default, "GetObject", Does::GetObject, Asks::Object(Right::Read))
            .deed("object:read", Sort::Object)
            .query(READ_QUERY)
            .headers(READ_HEADERS),
        serves(Head, Object, Default, "HeadObject", Does::GetObject, Asks::Object(Right::Read))
            .deed("object:read", Sort::Object)
            .query(READ_QUERY)
            .headers(READ_HEADERS),
        serves(Delete, Object, Default, "DeleteObject", Does::DeleteObject, Asks::Object(Right::Delete))
            .deed("object:delete", Sort::Object),
    ]
};
