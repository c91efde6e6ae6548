//! What each kind of problem is called in English, on every port.
//!
//! Invariant: a text names no path of the disk, no key and nothing of the inside.

use super::problem::{Kind, Problem};

/// The text of a problem: what it says of its own, or what its kind says.
pub fn text(problem: &Problem) -> &str {
    problem.detail.as_deref().unwrap_or_else(|| of(problem.kind))
}

fn of(kind: Kind) -> &'static str {
    match kind {
        Kind::NoRoute => "there is nothing at this path; GET / names the routes, and /openapi.json describes them",
        Kind::Method => "this path does not take this method; see the Allow header",
        Kind::Percent => "a percent sign in the target is not followed by two hexadecimal digits; write it as %25",
        Kind::Escape => "a name in the target is not UTF-8 in percent-escapes",
        Kind::BucketName => {
            "a bucket name has 3 to 63 characters of a-z, 0-9, '.' and '-', and begins and ends with a letter or digit"
        }
        Kind::KeyName => "an object key has 1 to 1024 bytes of UTF-8",
        Kind::DotSegment => {
            "clients resolve '.' and '..' in paths, so a name with such a segment could not be asked for again; use another name"
        }
        Kind::Query => "a parameter of the query is not valid",
        Kind::QueryTwice => "a parameter of the query stands there twice",
        Kind::Consistency => "the parameter consistency is majority or local",
        Kind::Header => "a header is not valid",
        Kind::Md5Header => "the header Content-MD5 must hold the 16 bytes of an MD5 in base64",
        Kind::MetadataSize => "the headers of metadata are too large: 8 KiB in 128 of them is the most",
        Kind::NotImplemented => "the request asks for what this release does not offer",
        Kind::DateCondition => {
            "this release has no writes on condition of a date; use If-Match or If-None-Match, or leave the header out"
        }
        Kind::WriteRange => {
            "this release does not write parts of an object: leave the range headers out and send all of it"
        }
        Kind::OtherDigest => "this release checks a body against Content-MD5 alone; leave other checksum headers out",
        Kind::Trailers => "this release takes no trailers (headers behind a body); leave the Trailer header out",
        Kind::AmzHeader => "this port does not speak S3: leave the x-amz-* headers out",
        Kind::NoConditions => "this route takes no conditions (If-Match, If-None-Match); /v1/objects does",
        Kind::WriteQuery => "this write takes no query parameters; leave them out",
        Kind::Coding => "the body comes in a Content-Encoding, which this node does not take; send it as it is",
        Kind::PartCoding => {
            "a part of the form comes in a Content-Transfer-Encoding, which this node does not take; send the file as it is"
        }
        Kind::LengthRequired => {
            "the body has no length: send Content-Length (0 for an empty object) or Transfer-Encoding: chunked"
        }
        Kind::Precondition => "a condition of the request does not hold",
        Kind::Range => "the range lies outside the object",
        Kind::ForeignHost => "the Host of the request is not a name of this node; add it to http.hosts if it is",
        Kind::ForeignOrigin => "a page of another site may not write here; add its host to http.hosts if it may",
        Kind::Unauthenticated => {
            "an access key is needed: send its id and secret by Basic, or as Bearer ID.SECRET; those that came let nobody in"
        }
        Kind::AccessUnknown => {
            "this node cannot tell which access keys are in force: it does not hear from a majority; try another node, or later"
        }
        Kind::AccessDenied => "the caller has not the right to do this",
        Kind::TwoCredentials => "the request brings a link and an Authorization header; leave one of them out",
        Kind::LinkForm => "the link is not well formed",
        Kind::LinkElsewhere => "links are for GET, HEAD and PUT of an object",
        Kind::LinkHeader => {
            "a header that the link fixes is missing, or one of x-boveda- or x-amz- came that the link does not fix"
        }
        Kind::LinkExpired => "the link has expired",
        Kind::LinkNotYet => "the link counts from a time on that is still to come, by this node's clock",
        Kind::LinkRefused => {
            "the link was made for another request, with another secret, or by an access key that is not in force"
        }
        Kind::SignatureForm => "the signature in the Authorization header is not well formed",
        Kind::SignatureVersion => "signatures are of version 4 alone: sign with AWS4-HMAC-SHA256",
        Kind::SignatureTime => "a signed request has its time in x-amz-date (YYYYMMDDThhmmssZ), or in Date",
        Kind::ClockSkew => "the time of the request is more than 15 minutes from this node's clock",
        Kind::UnsignedHeader => "a header of x-amz- or x-boveda- came that is not signed",
        Kind::SessionToken => "tokens of sessions are not taken: access keys here have none",
        Kind::SignerUnknown => "there is no access key of this id that is in force",
        Kind::SignatureRefused => {
            "the signature does not fit the request: it was made of another request, or with another secret"
        }
        Kind::BodyHash => "the header x-amz-content-sha256 of a signed request says what its body is",
        Kind::Checksum => "the body does not have the checksum that came with it; nothing was stored",
        Kind::SignedDigest => "the body does not have the SHA-256 that the request was signed with; nothing was stored",
        Kind::ChecksumHeader => "the headers do not say in one way which checksum the body has",
        Kind::ChunkForm => "the body is not well formed aws-chunked",
        Kind::ChunkSignature => "the signature of a chunk of the body does not fit; nothing was stored",
        Kind::ChunkTrailer => "the trailers behind the body are not those that its head announces; nothing was stored",
        Kind::NoLinkKey => "a link is signed with the secret of an access key: ask for it by one",
        Kind::ManyPublic => "a bucket has at most 16 prefixes that are open to everybody; close one first",
        Kind::Document => "the body is not the JSON document that is wanted",
        Kind::NoSuchAccessKey => "there is no access key of this id",
        Kind::Rotating => "the key has two secrets already; drop the old one first (drop=old)",
        Kind::LastAdminKey => {
            "this is the last key in force with admin on everything: without it nobody could make another one; make one first"
        }
        Kind::FirstKey => {
            "the first access key ends open access: it has to have admin on * and no end, or nobody could make another one"
        }
        Kind::TooLarge => "the body is larger than this node takes",
        Kind::Silent => "no byte of the body came for too long",
        Kind::Incomplete => "the body is not what its headers announce",
        Kind::Digest => "the body does not have the MD5 that Content-MD5 announces; nothing was stored",
        Kind::NotAForm => "the body must be multipart/form-data with a boundary",
        Kind::NoFile => "the form has no file in the field 'archivo'",
        Kind::NoFilePart => {
            "the field 'archivo' holds a text and no file; send it as a file, with a file name (curl -F archivo=@FILE)"
        }
        Kind::NoFileName => "the file has no name",
        Kind::OtherField => {
            "the form has a file in another field; a form holds one file, in the field 'archivo'. None was stored"
        }
        Kind::SeveralFiles => "the form holds several files; send one form for each. None was stored",
        Kind::NestedFiles => {
            "a field of the form holds a multipart of several files (curl -F archivo=@A,B sends that); send one form for each file. None was stored"
        }
        Kind::FormCut => "the form ends before its last delimiter (its lines end in CRLF)",
        Kind::BareLf => "a line of the form ends in LF alone; lines of a form end in CRLF",
        Kind::FormTooLarge => "besides its file a form holds at most 1 MiB, 256 parts, and 16 KiB of headers for each",
        Kind::PartNotUtf8 => {
            "a header of a part of the form is not UTF-8, such as a file name in Latin-1; send names in UTF-8"
        }
        Kind::PartNoColon => "a header of a part of the form has no colon",
        Kind::PartDisposition => {
            "the Content-Disposition of a part of the form cannot be read; it should be form-data; name=\"archivo\"; filename=\"NAME\""
        }
        Kind::DelimiterTail => "a delimiter of the form is followed by other bytes on its line",
        Kind::NoSuchKey => "there is no such object",
        Kind::NoSuchBucket => "there is no such bucket",
        Kind::NoSuchUpload => "no such upload is open: it was completed or aborted, or there was none",
        Kind::TooManyUploads => "too many uploads are open for this key; complete or abort some",
        Kind::OtherPart => "a part is not there, or does not have the ETag or checksum that was named",
        Kind::PartOrder => "the numbers of the parts do not grow",
        Kind::SmallPart => "a part that is not the last has less than 5 MiB",
        Kind::Parts => "the parts are not those of the upload",
        Kind::QuotaExceeded => {
            "the bucket's quota would be exceeded, with what is on its way into it; nothing was written"
        }
        Kind::BucketNotEmpty => "the bucket still holds objects",
        Kind::Contended => {
            "concurrent writes of the same object kept this one from being decided; nothing was written, try again"
        }
        Kind::Busy => "too much is in flight; try again later",
        Kind::Crowded => {
            "too many writes of the same object at once, or its bucket is being deleted; nothing was written, try again later"
        }
        Kind::NoMajority => "there is no majority of the nodes; nothing was written, try again later",
        Kind::OtherList => "the member list is changing; nothing was written, try again",
        Kind::OutOfTime => "there was no time to go through all of it; nothing was changed, try again later",
        Kind::UnknownOutcome => {
            "the write was begun, and then a disk failed or the majority was lost: it may have taken effect, or may yet; read before trying again"
        }
        Kind::ShuttingDown => "this node is shutting down; try another or try again",
        Kind::KeyMissing => "this node lacks a key generation: put its file into the key directory",
        Kind::ReadOnly => {
            "this node takes no writes since its disk failed one, or its index is damaged; its /readyz says what must be done"
        }
        Kind::Unavailable => "the store does not answer; try again later",
        Kind::NotKept => "it is so until the node ends; it could not be written to the disk: ask again",
        Kind::AuditFull => {
            "the disk of this node has no room for its audit log, and no change is made without a line there: nothing was changed; reads and deletes of objects go on"
        }
        Kind::AuditFailed => {
            "this node cannot write its audit log, and no change is made without a line there: nothing was changed; try another node"
        }
        Kind::AuditUntold => {
            "the change was begun, and the audit log of this node could not say how it went: look whether it was made before asking again"
        }
        Kind::Full => {
            "the disk of this node, or of a majority of the nodes, has no room for this above its reserve; reads and deletes go on, and their /readyz says more"
        }
        Kind::NoInodes => {
            "this node's volume has no inodes left: it takes no more files although bytes are free; reads and deletes go on"
        }
        Kind::FileSize => {
            "the file size limit of this node's process (ulimit -f) is reached: it makes no longer file; smaller bodies, reads and deletes go on"
        }
        Kind::SmallVolume => {
            "this node's volume is smaller than its reserve (store.reserve_bytes): it can take no write; reads and deletes go on"
        }
        Kind::OpenFiles => "this node may not open more files at the moment (ulimit -n); try again",
        Kind::VolumeGone => {
            "the volume of this node's data directory is gone: it must be mounted again and the node restarted; try another node"
        }
        Kind::UnknownNode => "a node is not known here",
        Kind::NodeAway => "a node was not heard lately",
        Kind::MembersChanged => "somebody else has changed the list",
        Kind::KeyNotEverywhere => "not all members are known to hold the key generation",
        Kind::NoSuchGeneration => "this node holds no key generation of that number",
        Kind::OtherGeneration => "another key generation seals, or another key has its number",
        Kind::StorageClass => "everything is kept in one class here: STANDARD",
        Kind::KeyNotText => {
            "a key or a parameter has a character that XML 1.0 has not: ask with encoding-type=url for keys in percent-escapes"
        }
        Kind::PartOfRange => "a read has a Range or a partNumber, and not both",
        Kind::Unsigned => "response-* parameters change answers to signed requests alone",
        Kind::PartNumber => "the object has no part of that number",
        Kind::UploadChecksum => "the checksum is of another algorithm or type than the upload was begun with",
        Kind::CopyOntoItself => {
            "an object is copied onto itself to change what is said of it: send x-amz-metadata-directive: REPLACE"
        }
        Kind::OtherRegion => "buckets of this store are in the region that s3.region names",
        Kind::OwnBucket => "the bucket is there already, and it is yours",
        Kind::NoChecksum => "the document needs a checksum: send Content-MD5, or an x-amz-checksum-* header",
        Kind::NoBucketPolicy => "the bucket has no policy",
        Kind::NoLifecycle => "the bucket has no lifecycle configuration",
        Kind::NoCors => "the bucket has no CORS configuration",
        Kind::NoTags => "the bucket has no tags",
        Kind::NoWebsite => "the bucket has no website configuration",
        Kind::NoObjectLock => "the bucket has no object lock configuration",
        Kind::NoRetention => "the object has neither a retention nor a legal hold",
        Kind::NoPublicAccessBlock => "the bucket has no public access block",
        Kind::NoOwnershipControls => "the bucket has no ownership controls",
        Kind::NoReplication => {
            "the bucket has no replication configuration; this store replicates everything to its nodes by itself"
        }
        Kind::Corrupt => "the stored bytes do not open; no copy could replace them",
        Kind::Internal => "something failed on this node; its log has the request id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_text_of_its_own() {
        let texts: std::collections::BTreeSet<&str> = Kind::ALL.iter().map(|kind| of(*kind)).collect();
        assert_eq!(texts.len(), Kind::ALL.len());
        assert!(!texts.contains(""));
    }
}
