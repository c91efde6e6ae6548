//! What the headers of a write say of an object, and how the answers of reads and writes tell it: the same on every port.
//!
//! Invariants
//! - An object's head has one form: whatever port it was written by, every port shows all of it, each with the prefix of
//!   its own for what its writer named.
//! - What comes from a request is visible ASCII, and within the limits of `base::head`.

use super::errors::HttpError;
use super::problem::Kind;
use super::worker::Worker;
use crate::base::ObjectHead;
use crate::base::head::{META_BYTES_MAX, META_ENTRIES_MAX, TEXT_BYTES_MAX};
use actix_web::HttpResponseBuilder;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::sync::atomic::Ordering;

const DURABILITY: HeaderName = HeaderName::from_static("x-boveda-durability");
const REPLICAS: HeaderName = HeaderName::from_static("x-boveda-replicas");

/// What the headers of a write name of an object besides its bytes: those that begin with `prefix`, sorted.
///
/// Values are visible ASCII and spaces, kept as they are: who needs more encodes it, and gets it back encoded. Several
/// lines of one name are joined by commas, as HTTP has it.
pub fn metadata(headers: &HeaderMap, prefix: &str) -> Result<Vec<(String, String)>, HttpError> {
    let mut meta: Vec<(String, String)> = Vec::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(prefix) else { continue };
        let value = visible(value).ok_or(HttpError::Header("the values of metadata are visible ASCII"))?;
        if name.is_empty() {
            return Err(HttpError::Header("a header of metadata needs a name behind its prefix"));
        }
        bytes += name.len() + value.len();
        match meta.iter_mut().find(|(known, _)| known == name) {
            Some((_, joined)) => {
                bytes += 2;
                joined.push_str(", ");
                joined.push_str(value);
            }
            None => meta.push((name.to_owned(), value.to_owned())),
        }
    }
    if bytes > META_BYTES_MAX || meta.len() > META_ENTRIES_MAX {
        return Err(HttpError::Refused(Kind::MetadataSize));
    }
    // The server keeps headers in a map without an order; one state of an object should have one form.
    meta.sort();
    Ok(meta)
}

/// A header of a write that is kept with the object; empty where it is not there.
pub fn kept(headers: &HeaderMap, name: &HeaderName) -> Result<String, HttpError> {
    let Some(value) = headers.get(name) else { return Ok(String::new()) };
    let text = visible(value).ok_or(HttpError::Header("a header that is kept with the object is not visible ASCII"))?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(HttpError::Header("a header that is kept with the object is longer than 1024 bytes"));
    }
    Ok(text.to_owned())
}

fn visible(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()))
}

/// What its writer named, with the prefix of a port. Text that came from elsewhere and is no header text is left out
/// rather than refused: the bytes matter more.
pub fn describe(builder: &mut HttpResponseBuilder, head: &ObjectHead, prefix: &str) {
    for (name, value) in &head.meta {
        let name = HeaderName::try_from([prefix, name].concat());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
            builder.insert_header((name, value));
        }
    }
}

/// How the bytes are to be handled: cached, shown, decoded. No text of it is this node's word for anything.
pub(super) fn handling(builder: &mut HttpResponseBuilder, head: &ObjectHead) {
    for (name, text) in [
        (header::CACHE_CONTROL, &head.cache_control),
        (header::CONTENT_DISPOSITION, &head.disposition),
        (header::CONTENT_ENCODING, &head.encoding),
        (header::CONTENT_LANGUAGE, &head.language),
        (header::EXPIRES, &head.expires),
    ] {
        if let Some(value) = HeaderValue::try_from(text.as_str()).ok().filter(|value| !value.is_empty()) {
            builder.insert_header((name, value));
        }
    }
}

/// The headers that every write answers with: how far it went before it was answered.
pub fn written(builder: &mut HttpResponseBuilder, worker: &Worker, replicas: u32) {
    let settings = &worker.shared.settings;
    builder.insert_header((DURABILITY, HeaderValue::from_static(settings.durability)));
    let replicas = match (replicas, settings.cluster_size.load(Ordering::Relaxed)) {
        (1, 1) => Ok(HeaderValue::from_static("1/1")),
        (n, of) => HeaderValue::from_str(&format!("{n}/{of}")),
    };
    if let Ok(replicas) = replicas {
        builder.insert_header((REPLICAS, replicas));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::headers;

    #[test]
    fn metadata_is_taken_or_refused() {
        let named = |all: &[(&str, &[u8])]| metadata(&headers(all), "x-boveda-meta-");
        let found = named(&[
            ("X-Boveda-Meta-B", &b"two words"[..]),
            ("x-boveda-meta-a", b"1"),
            ("x-boveda-meta-a", b"2"),
            ("x-amz-meta-c", b"of another port"),
        ]);
        assert_eq!(found.unwrap(), [("a".to_owned(), "1, 2".to_owned()), ("b".to_owned(), "two words".to_owned())]);
        let long = [b'x'; META_BYTES_MAX];
        for bad in [("x-boveda-meta-a", &b"\xc3\xa9"[..]), ("x-boveda-meta-a", b"a\tb"), ("x-boveda-meta-", b"a")] {
            assert_eq!(named(&[bad]).unwrap_err().problem().kind, Kind::Header, "{bad:?}");
        }
        let size = |all: &[(&str, &[u8])]| named(all).err().map(|error| error.problem().kind);
        assert_eq!(size(&[("x-boveda-meta-a", &long)]), Some(Kind::MetadataSize));
        assert_eq!(size(&[("x-boveda-meta-a", &long[1..])]), None);
        let many: Vec<String> = (0..=META_ENTRIES_MAX).map(|n| format!("x-boveda-meta-{n}")).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b"v"[..])).collect();
        assert_eq!((size(&many), size(&many[1..])), (Some(Kind::MetadataSize), None));
    }

    #[test]
    fn what_is_kept_is_visible_and_not_too_long() {
        let one = |value: &[u8]| kept(&headers(&[("content-type", value)]), &header::CONTENT_TYPE);
        assert_eq!(one(b"text/plain; charset=utf-8").unwrap(), "text/plain; charset=utf-8");
        assert_eq!(kept(&HeaderMap::new(), &header::EXPIRES).unwrap(), "");
        assert!(one(b"\xff").is_err() && one(b"a\tb").is_err());
        assert!(one(&[b'x'; TEXT_BYTES_MAX]).is_ok() && one(&[b'x'; TEXT_BYTES_MAX + 1]).is_err());
    }
}
