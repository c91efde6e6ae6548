//! Uploads in parts: begun, completed, aborted.
//!
//! Invariants
//! - What the head of a completion says of checksums is of the object; nothing but `Content-MD5` is of the document.
//! - Whatever is wrong with a completion, the upload stays open.

use super::buckets::no_condition;
use super::documents::{self, COMPLETION_BYTES_MAX};
use super::heads::{self, CHECKSUM_TYPE, checksum_header};
use super::objects::of_missing;
use super::operations::Endpoint;
use super::payload;
use crate::actors::messages::{
    AbortUpload, ChecksumKind, CompleteUpload, CreateUpload, FindUpload, ObjectError, OpenUpload, StoreError,
};
use crate::base::checksum::{Algorithm, Checksum};
use crate::base::{ObjectName, UploadId};
use crate::http::edge::access::{Need, Right};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::conditions::no_half_writes;
use crate::http::edge::errors::HttpError;
use crate::http::edge::heads::written;
use crate::http::edge::problem::Kind;
use crate::http::edge::signed::only;
use crate::http::edge::windows::claim;
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Names what the checksum of an upload is computed by.
pub(super) const CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-checksum-algorithm");
const OBJECT_SIZE: HeaderName = HeaderName::from_static("x-amz-mp-object-size");

pub(super) async fn create(
    call: &Call<'_>,
    at: ObjectName,
    incoming: &mut Incoming,
) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    heads::check_write(headers)?;
    no_condition(headers)?;
    if !at.key.takes_parts() {
        return Err(HttpError::NotImplemented("an upload in parts is for no key that holds a zero byte"));
    }
    let head = heads::of_write(headers)?;
    let checksum = checksum_kind(headers)?;
    // There is nothing in it; some send the checksum of that.
    payload::document_beside(call.req, incoming, 0, &[CHECKSUM_ALGORITHM.as_str(), CHECKSUM_TYPE.as_str()]).await?;
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let ask = CreateUpload { at: at.clone(), head, checksum };
    let upload = call.worker.links.writes.create_upload.send(ask).await??;
    let mut builder = HttpResponse::Ok();
    heads::sealed(&mut builder);
    if let Some(ChecksumKind { algorithm, is_composite }) = checksum {
        builder.insert_header((CHECKSUM_ALGORITHM, HeaderValue::from_static(algorithm.as_str())));
        builder.insert_header((CHECKSUM_TYPE, HeaderValue::from_static(heads::type_word(is_composite))));
    }
    Ok(documents::initiated(&mut builder, &at, upload))
}

/// Which checksum an upload is to have. Without a type it is the one that S3 has for the algorithm.
fn checksum_kind(headers: &HeaderMap) -> Result<Option<ChecksumKind>, HttpError> {
    const WRONG: HttpError = HttpError::Refused(Kind::ChecksumHeader);
    let is_composite = checksum_type(headers)?;
    let Some(name) = only(headers, CHECKSUM_ALGORITHM.as_str())? else {
        return if is_composite.is_none() { Ok(None) } else { Err(WRONG) };
    };
    let algorithm = Algorithm::parse(name.trim()).ok_or(WRONG)?;
    let (may_be_composite, may_be_full) = match algorithm {
        Algorithm::Crc32 | Algorithm::Crc32c => (true, true),
        Algorithm::Crc64Nvme => (false, true),
        // Sums of parts cannot be combined to that of all bytes.
        Algorithm::Sha1 | Algorithm::Sha256 => (true, false),
    };
    let is_composite = is_composite.unwrap_or(may_be_composite);
    let fits = if is_composite { may_be_composite } else { may_be_full };
    if fits { Ok(Some(ChecksumKind { algorithm, is_composite })) } else { Err(WRONG) }
}

/// Whether a head names the type for checksums that are of the sums of parts, or the other one.
fn checksum_type(headers: &HeaderMap) -> Result<Option<bool>, HttpError> {
    match only(headers, CHECKSUM_TYPE.as_str())? {
        None => Ok(None),
        Some("COMPOSITE") => Ok(Some(true)),
        Some("FULL_OBJECT") => Ok(Some(false)),
        Some(_) => Err(HttpError::Refused(Kind::ChecksumHeader)),
    }
}

pub(super) async fn complete(
    call: &Call<'_>,
    mut endpoint: Endpoint,
    incoming: &mut Incoming,
    scheme: &str,
) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    no_half_writes(headers)?;
    let condition = heads::condition(call)?;
    let (at, upload) = (endpoint.object()?, upload_id(&mut endpoint)?);
    let said = Said::of(headers)?;
    // The document, and what is read of it.
    let bytes =
        2 * incoming.announced().map_or(COMPLETION_BYTES_MAX as u64, |len| len.min(COMPLETION_BYTES_MAX as u64));
    let permit = claim(&call.worker.shared.budget, bytes, call.worker.shared.settings.turn_max).await?;
    let body = payload::document_beside(call.req, incoming, COMPLETION_BYTES_MAX, &Said::HEADERS).await?;
    let parts = documents::completion(&body)?;
    drop(body);
    call.authorize_again(&Need::on_object(Right::Write, &at))?;
    let checksum = said.checksum_of(call, &at, upload, parts.len()).await?;
    let asked = CompleteUpload {
        at: at.clone(),
        upload,
        parts,
        condition: condition.clone(),
        checksum,
        len: said.len,
        permit: Some(permit),
    };
    let done = match call.worker.links.writes.complete_upload.send(asked).await? {
        Ok(done) => done,
        Err(error) => return Err(of_missing(call, &at, &condition, error.into()).await),
    };
    let mut builder = HttpResponse::Ok();
    written(&mut builder, call.worker, done.replicas);
    heads::sealed(&mut builder);
    Ok(documents::completed(&mut builder, &location(call, scheme), &at, &done))
}

/// What the head of a completion says of the object.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// Its checksum, and of how many parts it is, where that is said.
    checksum: Option<(Checksum, Option<usize>)>,
    /// Whether the checksum is of those of the parts, where that is said.
    is_composite: Option<bool>,
    /// How long it is.
    len: Option<u64>,
}

impl Said {
    /// The headers that say something of its checksum.
    const HEADERS: [&str; 6] = [
        "x-amz-checksum-crc32",
        "x-amz-checksum-crc32c",
        "x-amz-checksum-crc64nvme",
        "x-amz-checksum-sha1",
        "x-amz-checksum-sha256",
        "x-amz-checksum-type",
    ];

    fn of(headers: &HeaderMap) -> Result<Self, HttpError> {
        const WRONG: HttpError = HttpError::Refused(Kind::ChecksumHeader);
        let mut checksum = None;
        for algorithm in Algorithm::ALL {
            let Some(text) = only(headers, checksum_header(algorithm).as_str())? else { continue };
            let (value, parts) = match text.trim().split_once('-') {
                Some((value, parts)) => (value, Some(parts.parse().map_err(|_| WRONG)?)),
                None => (text.trim(), None),
            };
            let value = Checksum::parse(algorithm, value).ok_or(WRONG)?;
            if checksum.replace((value, parts)).is_some() {
                return Err(WRONG);
            }
        }
        let len = only(headers, OBJECT_SIZE.as_str())?.map(|text| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(HttpError::Header("x-amz-mp-object-size is a whole number"))
        });
        Ok(Said { checksum, is_composite: checksum_type(headers)?, len: len.transpose()? })
    }

    /// The checksum that the object must have, held against what the upload was begun with. Of one that is open no more,
    /// nobody knows that: whoever completes it says what becomes of it.
    async fn checksum_of(
        &self,
        call: &Call<'_>,
        at: &ObjectName,
        upload: UploadId,
        count: usize,
    ) -> Result<Option<Checksum>, HttpError> {
        if self.checksum.is_none() && self.is_composite.is_none() {
            return Ok(None);
        }
        let kind = match find(call, at, upload).await {
            Ok(open) => open.checksum,
            Err(HttpError::Object(ObjectError::Store(StoreError::NoSuchUpload))) => {
                let is_composite = self.is_composite.unwrap_or_else(|| self.counts_parts());
                return Ok(self.checksum.map(|(checksum, _)| Checksum { is_composite, ..checksum }));
            }
            Err(error) => return Err(error),
        };
        self.held_against(kind, count)
    }

    fn counts_parts(&self) -> bool {
        self.checksum.is_some_and(|(_, parts)| parts.is_some())
    }

    fn held_against(&self, kind: Option<ChecksumKind>, count: usize) -> Result<Option<Checksum>, HttpError> {
        const OTHER: HttpError = HttpError::Refused(Kind::UploadChecksum);
        let Some(ChecksumKind { algorithm, is_composite }) = kind else { return Err(OTHER) };
        if self.is_composite.is_some_and(|said| said != is_composite) || (self.counts_parts() && !is_composite) {
            return Err(OTHER);
        }
        match self.checksum {
            Some((checksum, _)) if checksum.algorithm != algorithm => Err(OTHER),
            Some((_, Some(parts))) if parts != count => Err(HttpError::Refused(Kind::Checksum)),
            said => Ok(said.map(|(checksum, _)| Checksum { is_composite, ..checksum })),
        }
    }
}

/// Where an object is, by the name that the client has for this node.
fn location(call: &Call<'_>, scheme: &str) -> String {
    let host = match call.req.uri().authority() {
        Some(authority) => authority.as_str(),
        None => call.req.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    };
    format!("{scheme}://{host}{}", call.req.path())
}

pub(super) async fn abort(call: &Call<'_>, mut endpoint: Endpoint) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    no_half_writes(headers)?;
    no_condition(headers)?;
    let (at, upload) = (endpoint.object()?, upload_id(&mut endpoint)?);
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    call.worker.links.writes.abort_upload.send(AbortUpload { at, upload }).await??;
    Ok(HttpResponse::NoContent().finish())
}

/// The upload that a request is about. What is no id is none of an upload.
pub(super) fn upload_id(endpoint: &mut Endpoint) -> Result<UploadId, HttpError> {
    let text = endpoint.query.take("uploadId").unwrap_or_default();
    UploadId::from_hex(&text).ok_or(StoreError::NoSuchUpload.into())
}

/// What is known of an upload that is open.
pub(super) async fn find(call: &Call<'_>, at: &ObjectName, upload: UploadId) -> Result<OpenUpload, HttpError> {
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    Ok(call.worker.links.writes.find_upload.send(FindUpload { at: at.clone(), upload }).await??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::headers;

    const CRC: ChecksumKind = ChecksumKind { algorithm: Algorithm::Crc32, is_composite: true };

    #[test]
    fn kinds_of_checksums() {
        let of = |algorithm: &str, of: Option<&str>| {
            let mut all = vec![("x-amz-checksum-algorithm", algorithm)];
            all.extend(of.map(|of| ("x-amz-checksum-type", of)));
            checksum_kind(&headers(&all)).ok().map(|kind| kind.expect("a kind").is_composite)
        };
        let (full, composite) = (Some("FULL_OBJECT"), Some("COMPOSITE"));
        for (algorithm, plain, of_all, of_parts) in [
            ("CRC32", Some(true), Some(false), Some(true)),
            ("crc32c", Some(true), Some(false), Some(true)),
            ("CRC64NVME", Some(false), Some(false), None),
            ("SHA1", Some(true), None, Some(true)),
            ("SHA256", Some(true), None, Some(true)),
            ("MD5", None, None, None),
            ("", None, None, None),
        ] {
            assert_eq!([of(algorithm, None), of(algorithm, full), of(algorithm, composite)], [plain, of_all, of_parts]);
            assert_eq!(of(algorithm, Some("other")), None);
        }
        assert_eq!(checksum_kind(&HeaderMap::new()).unwrap(), None);
        assert!(checksum_kind(&headers(&[("x-amz-checksum-type", "COMPOSITE")])).is_err());
    }

    #[test]
    fn what_a_completion_says_of_the_object() {
        let said = |all: &[(&str, &str)]| Said::of(&headers(all));
        let of_all = Checksum::of_all(Algorithm::Crc32, &[0; 4]).unwrap();
        let of_parts = Checksum { is_composite: true, ..of_all };
        let full = ChecksumKind { is_composite: false, ..CRC };
        let crc = "x-amz-checksum-crc32";
        for (all, kind, held) in [
            (&[(crc, "AAAAAA==")][..], Some(CRC), Ok(Some(of_parts))),
            (&[(crc, "AAAAAA==-2")], Some(CRC), Ok(Some(of_parts))),
            (&[(crc, "AAAAAA==-3")], Some(CRC), Err(Kind::Checksum)),
            (&[(crc, "AAAAAA==")], Some(full), Ok(Some(of_all))),
            (&[(crc, "AAAAAA==-2")], Some(full), Err(Kind::UploadChecksum)),
            (&[(crc, "AAAAAA=="), ("x-amz-checksum-type", "FULL_OBJECT")], Some(CRC), Err(Kind::UploadChecksum)),
            (&[("x-amz-checksum-type", "COMPOSITE")], Some(CRC), Ok(None)),
            (&[("x-amz-checksum-crc32c", "AAAAAA==")], Some(CRC), Err(Kind::UploadChecksum)),
            (&[(crc, "AAAAAA==")], None, Err(Kind::UploadChecksum)),
        ] {
            let found = said(all).unwrap().held_against(kind, 2);
            assert_eq!(found.map_err(|error| error.problem().kind), held, "{all:?} of {kind:?}");
        }
        assert_eq!(said(&[("x-amz-mp-object-size", "12")]).unwrap().len, Some(12));
        for bad in [
            &[(crc, "AAAA")][..],
            &[(crc, "AAAAAA==-x")],
            &[(crc, "AAAAAA=="), ("x-amz-checksum-crc32c", "AAAAAA==")],
            &[("x-amz-checksum-type", "FULL")],
            &[("x-amz-mp-object-size", "-1")],
            &[("x-amz-mp-object-size", "")],
        ] {
            assert!(said(bad).is_err(), "{bad:?}");
        }
    }
}
