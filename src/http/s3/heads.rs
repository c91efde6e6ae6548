//! What the headers of a write say of an object on this port, and what answers say of one.
//!
//! Invariants
//! - What a write asks for and would not get is refused: another storage class, another cipher, a grant to others.
//! - That everything is sealed is told with every object, since it is so.

use super::payload::content_encoding;
use crate::base::{Algorithm, Checksum};
use crate::base::{Condition, ObjectHead, Parts};
use crate::http::edge::access::Principal;
use crate::http::edge::call::Call;
use crate::http::edge::conditions::{no_half_writes, write_condition};
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::heads::{describe as metadata_of, kept, metadata};
use crate::http::edge::problem::Kind;
use actix_web::HttpResponseBuilder;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

const META_PREFIX: &str = "x-amz-meta-";
const SEALED: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
pub(super) const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");
const PARTS_COUNT: HeaderName = HeaderName::from_static("x-amz-mp-parts-count");
/// What S3 calls the one way in which everything is sealed here: the store's own key.
pub(super) const AES256: &str = "AES256";

/// What the headers of a write say of the object.
pub(super) fn of_write(headers: &HeaderMap) -> Result<ObjectHead, HttpError> {
    Ok(ObjectHead {
        content_type: kept(headers, &header::CONTENT_TYPE)?,
        cache_control: kept(headers, &header::CACHE_CONTROL)?,
        disposition: kept(headers, &header::CONTENT_DISPOSITION)?,
        encoding: encoding(headers)?,
        language: kept(headers, &header::CONTENT_LANGUAGE)?,
        expires: kept(headers, &header::EXPIRES)?,
        meta: metadata(headers, META_PREFIX)?,
    })
}

/// The coding of the object itself: without that of the transfer alone.
fn encoding(headers: &HeaderMap) -> Result<String, HttpError> {
    kept(headers, &header::CONTENT_ENCODING)?;
    content_encoding(headers)
}

/// Refuses a write that asks for more than it would get.
pub(super) fn check_write(headers: &HeaderMap) -> Result<(), HttpError> {
    no_half_writes(headers)?;
    only(headers, "x-amz-storage-class", &["STANDARD"], HttpError::Refused(Kind::StorageClass))?;
    only(
        headers,
        SEALED.as_str(),
        &[AES256],
        HttpError::NotImplemented("everything is sealed by the keys of this store (AES256), and by no others"),
    )?;
    check_acl(headers)?;
    only(
        headers,
        "x-amz-tagging-directive",
        &["COPY"],
        HttpError::NotImplemented("this release has no tags of objects: leave x-amz-tagging-directive out"),
    )
}

/// Refuses grants to others: there are none but those of access keys.
pub(super) fn check_acl(headers: &HeaderMap) -> Result<(), HttpError> {
    only(
        headers,
        "x-amz-acl",
        &["private", "bucket-owner-full-control"],
        HttpError::NotImplemented(
            "rights are granted to access keys and buckets, not by ACLs; of those, private is what everything is",
        ),
    )
}

/// Refuses a header with another value than these.
pub(super) fn only(headers: &HeaderMap, name: &str, values: &[&str], refusal: HttpError) -> Result<(), HttpError> {
    let fits = |value: &HeaderValue| values.iter().any(|known| value.as_bytes() == known.as_bytes());
    if headers.get_all(name).all(fits) { Ok(()) } else { Err(refusal) }
}

/// The condition of a write, where writes may have one.
pub(super) fn condition(call: &Call<'_>) -> Result<Condition, HttpError> {
    let condition = write_condition(call.req.headers())?;
    if !condition.is_none() && !call.worker.shared.settings.conditional_writes {
        return Err(HttpError::NotImplemented("conditional writes need durability = majority on a cluster"));
    }
    Ok(condition)
}

/// Says that an object is sealed.
pub(super) fn sealed(builder: &mut HttpResponseBuilder) {
    builder.insert_header((SEALED, HeaderValue::from_static(AES256)));
}

/// Says what an object's writer named.
pub(super) fn describe(builder: &mut HttpResponseBuilder, head: &ObjectHead) {
    metadata_of(builder, head, META_PREFIX);
}

/// Says the checksum of an object of that ETag, if it has one.
pub(super) fn checksum(builder: &mut HttpResponseBuilder, checksum: Option<&Checksum>, etag: &str) {
    let Some(checksum) = checksum else { return };
    if let Ok(value) = HeaderValue::try_from(checksum_value(checksum, etag)) {
        builder.insert_header((checksum_header(checksum.algorithm), value));
        builder.insert_header((CHECKSUM_TYPE, HeaderValue::from_static(checksum_type(checksum))));
    }
}

/// Says of how many parts an object is, and the checksum of one of them, where the object's is wanted.
pub(super) fn of_part(builder: &mut HttpResponseBuilder, parts: &Parts, number: u16, wanted: Option<&Checksum>) {
    builder.insert_header((PARTS_COUNT, HeaderValue::from(parts.count())));
    let value = parts.of_number(number).and_then(|part| part.checksum);
    if let (Some(whole), Some(value)) = (wanted, value) {
        checksum_of_part(builder, &Checksum { value, ..*whole });
        builder.insert_header((CHECKSUM_TYPE, HeaderValue::from_static(checksum_type(whole))));
    }
}

/// Says the checksum of a part alone.
pub(super) fn checksum_of_part(builder: &mut HttpResponseBuilder, checksum: &Checksum) {
    if let Ok(value) = HeaderValue::try_from(checksum.to_base64()) {
        builder.insert_header((checksum_header(checksum.algorithm), value));
    }
}

/// The value of an object's checksum, as S3 says it: that of the sums of its parts with their count behind it, which is
/// the one behind its ETag.
pub(super) fn checksum_value(checksum: &Checksum, etag: &str) -> String {
    match etag.rsplit_once('-').filter(|_| checksum.is_composite) {
        Some((_, parts)) => format!("{}-{parts}", checksum.to_base64()),
        None => checksum.to_base64(),
    }
}

/// Takes an object's checksum out of an answer: it is of the whole, and the answer has a part.
pub(super) fn without_checksum(headers: &mut header::HeaderMap) {
    for algorithm in Algorithm::ALL {
        headers.remove(checksum_header(algorithm));
    }
    headers.remove(CHECKSUM_TYPE);
}

/// What a checksum is of, as S3 says it.
pub(super) fn checksum_type(checksum: &Checksum) -> &'static str {
    type_word(checksum.is_composite)
}

/// The same of what is said to be one or not.
pub(super) fn type_word(is_composite: bool) -> &'static str {
    if is_composite { "COMPOSITE" } else { "FULL_OBJECT" }
}

/// The header with a checksum.
pub(super) fn checksum_header(algorithm: Algorithm) -> HeaderName {
    HeaderName::from_static(match algorithm {
        Algorithm::Crc32 => "x-amz-checksum-crc32",
        Algorithm::Crc32c => "x-amz-checksum-crc32c",
        Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
        Algorithm::Sha1 => "x-amz-checksum-sha1",
        Algorithm::Sha256 => "x-amz-checksum-sha256",
    })
}

/// Whether a read asks for the checksum of the object.
pub(super) fn wants_checksum(headers: &HeaderMap) -> Result<bool, HttpError> {
    match headers.get("x-amz-checksum-mode").map(HeaderValue::as_bytes) {
        None => Ok(false),
        Some(mode) if mode.eq_ignore_ascii_case(b"ENABLED") => Ok(true),
        Some(_) => Err(HttpError::Header("x-amz-checksum-mode is ENABLED or is left out")),
    }
}

/// Headers that a read has answered in the place of what the object has.
pub(super) struct Overrides(Vec<(HeaderName, HeaderValue)>);

impl Overrides {
    /// Takes them out of a query. Who signs nothing has none: a link that somebody else made would say what it likes of an
    /// object.
    pub(super) fn of(query: &mut Query, who: &Principal) -> Result<Self, HttpError> {
        let mut all = Vec::new();
        for (parameter, name) in [
            ("response-cache-control", header::CACHE_CONTROL),
            ("response-content-disposition", header::CONTENT_DISPOSITION),
            ("response-content-encoding", header::CONTENT_ENCODING),
            ("response-content-language", header::CONTENT_LANGUAGE),
            ("response-content-type", header::CONTENT_TYPE),
            ("response-expires", header::EXPIRES),
        ] {
            let Some(text) = query.take(parameter) else { continue };
            let value = HeaderValue::try_from(text);
            all.push((name, value.map_err(|_| HttpError::Query("a response-* parameter is no header's value"))?));
        }
        match (all.is_empty(), who) {
            (false, Principal::Guest | Principal::Nobody) => Err(HttpError::Refused(Kind::Unsigned)),
            _ => Ok(Overrides(all)),
        }
    }

    /// Puts them into an answer.
    pub(super) fn apply(self, headers: &mut header::HeaderMap) {
        for (name, value) in self.0 {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::headers;

    #[test]
    fn a_write_gets_what_it_asks_for_or_is_refused() {
        for (name, good, bad) in [
            ("x-amz-storage-class", &["STANDARD"][..], &["GLACIER", "standard", ""][..]),
            ("x-amz-server-side-encryption", &["AES256"], &["aws:kms", "aws:kms:dsse", ""]),
            ("x-amz-acl", &["private", "bucket-owner-full-control"], &["public-read", "authenticated-read", ""]),
            ("x-amz-tagging-directive", &["COPY"], &["REPLACE"]),
            ("content-encoding", &["gzip", "aws-chunked"], &[]),
            ("if-modified-since", &[], &["x"]),
            ("content-range", &[], &["bytes 0-1/2"]),
        ] {
            good.iter().for_each(|value| assert!(check_write(&headers(&[(name, value)])).is_ok(), "{name}: {value}"));
            bad.iter().for_each(|value| assert!(check_write(&headers(&[(name, value)])).is_err(), "{name}: {value}"));
        }
    }

    #[test]
    fn whoever_signs_nothing_changes_no_answer() {
        let query = || Query::parse("response-content-type=text%2Fhtml&response-expires=x").unwrap();
        assert!(Overrides::of(&mut query(), &Principal::Guest).is_err());
        assert!(Overrides::of(&mut Query::default(), &Principal::Guest).is_ok());
        let mut answer = header::HeaderMap::new();
        Overrides::of(&mut query(), &Principal::Anyone).unwrap().apply(&mut answer);
        assert_eq!(answer.get("content-type").unwrap(), "text/html");
        assert!(Overrides::of(&mut Query::parse("response-expires=a%0Ab").unwrap(), &Principal::Anyone).is_err());
    }
}
