//! Plain writes: what a write may ask for on this port, and the refusal of everything else.
//!
//! Invariant: what a write asks for and would not get is answered with 501, never ignored: an ignored `If-None-Match`
//! costs somebody their data.

use crate::http::edge::conditions::no_half_writes;
use crate::http::edge::errors::HttpError;
use crate::http::edge::problem::Kind;
use crate::http::edge::signed;
use actix_web::http::header::{self, HeaderMap};

/// Refuses a write that asks for more than it would get.
pub(in crate::http) fn plain_write(headers: &HeaderMap) -> Result<(), HttpError> {
    no_half_writes(headers)?;
    if headers.contains_key(header::TRAILER) {
        return Err(HttpError::Refused(Kind::Trailers));
    }
    let coded = |v: &header::HeaderValue| !v.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
    if headers.get_all(header::CONTENT_ENCODING).any(coded) {
        return Err(HttpError::Coding);
    }
    // Those of a signature are judged with it.
    let of_signature = |name: &str| signed::is_one(headers) && ["x-amz-date", "x-amz-content-sha256"].contains(&name);
    if headers.keys().any(|name| name.as_str().starts_with("x-amz-") && !of_signature(name.as_str())) {
        return Err(HttpError::Refused(Kind::AmzHeader));
    }
    Ok(())
}

/// Refuses a write with a condition that it could not honour.
pub(super) fn no_condition(headers: &HeaderMap) -> Result<(), HttpError> {
    match headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH) {
        true => Err(HttpError::Refused(Kind::NoConditions)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::headers;

    #[test]
    fn writes_are_plain_or_refused() {
        assert!(plain_write(&headers(&[("content-type", "a/b"), ("content-encoding", "identity")])).is_ok());
        let date = ("x-amz-date", "20130524T000000Z");
        assert!(plain_write(&headers(&[date, ("authorization", "AWS4-HMAC-SHA256 x")])).is_ok());
        assert!(plain_write(&headers(&[date, ("authorization", "Bearer x")])).is_err());
        for name in [
            "if-modified-since",
            "if-unmodified-since",
            "range",
            "content-range",
            "content-digest",
            "x-amz-checksum-crc32",
            "x-amz-anything",
            "trailer",
            "content-encoding",
        ] {
            assert!(plain_write(&headers(&[(name, "*")])).is_err(), "{name}");
        }
    }
}
