//! A signature in the head of a request: `Authorization: AWS4-HMAC-SHA256 …`. Read strictly, and judged by the clock.
//!
//! Invariants
//! - A signature fixes method, path, every parameter, what is said of the body, and each header that it names; among
//!   these are the host and every header that changes what a request means here.
//! - A header that it names and that did not come is refused, and so is one that cannot be read: neither is signed as if
//!   it were empty.
//! - What is wrong with it as such is told apart, since none of that depends on a secret. Whether it fits is asked of
//!   whoever has the secrets (`sigv4::signing_key`, `sigv4::signed`).

use super::canonical::{Request, canonical};
use super::presign::AHEAD_SECONDS_MAX;
use super::sigv4::{ALGORITHM, SERVICE, Scope, Second, header_names, string_to_sign, unhex};
use crate::seal::hmac::SHA256_BYTES;
use std::time::UNIX_EPOCH;

/// How far the time of a request may be from the clock of who judges it, in seconds, before it or behind.
pub const SKEW_SECONDS_MAX: u64 = AHEAD_SECONDS_MAX;
/// Most bytes of the header.
pub const BYTES_MAX: usize = 4096;
/// Headers that change what a request means begin so, and are signed wherever they come.
pub const OURS: [&str; 2] = ["x-amz-", "x-boveda-"];

/// Why a request is not signed as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizationError {
    /// Signature Version 2.
    #[error("Signature Version 2 is not taken: sign with AWS4-HMAC-SHA256")]
    V2,
    /// Signature Version 4A.
    #[error("Signature Version 4A is not taken: sign with AWS4-HMAC-SHA256")]
    V4a,
    /// A part is missing, is there twice, or is not known; or it is too long.
    #[error("the Authorization header has Credential, SignedHeaders and Signature once each, with commas between them")]
    Parts,
    /// No credential, or none of an object store.
    #[error(
        "Credential of the Authorization header is an id, the day, a region, s3 and aws4_request, with slashes between them"
    )]
    Credential,
    /// No list of headers with the host among them.
    #[error("SignedHeaders of the Authorization header names headers in lower case and in order, host among them")]
    Headers,
    /// No signature.
    #[error("Signature of the Authorization header has 64 characters of 0-9 and a-f")]
    Signature,
    /// There is no time, or it cannot be read.
    #[error("a signed request has its time in x-amz-date (YYYYMMDDThhmmssZ), or in Date")]
    Time,
    /// The time is of another day than the credential.
    #[error("the day in Credential of the Authorization header is not the day of the request")]
    Day,
    /// The scope is of another region.
    #[error("the region in Credential of the Authorization header is not the one of this store")]
    Region,
    /// The time is too far from the clock here.
    #[error("the time of the request is more than 15 minutes from the clock here")]
    Skewed,
    /// A header that has to be signed is not.
    #[error("a header of x-amz- or x-boveda- came that is not signed")]
    Unsigned,
    /// A signed header did not come, or is not UTF-8.
    #[error("a header that is signed did not come, or is not UTF-8")]
    Absent,
    /// There is a token of a session.
    #[error("tokens of sessions (x-amz-security-token) are not taken: access keys here have none")]
    Token,
}

/// Whether an `Authorization` is a signature of whatever version.
pub fn is_one(value: &str) -> bool {
    value.starts_with("AWS4-") || value.starts_with("AWS ")
}

/// The id of the key that a signature says it is made by, whether it is one or not.
pub fn claimed(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("Credential=")?;
    rest.split(['/', ',']).next()
}

/// A signature as it came, well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The id of the key that made it, as it stands there.
    pub id: String,
    /// The headers that it covers, in lower case and in order.
    pub headers: Vec<String>,
    /// The signature that came.
    pub signature: [u8; SHA256_BYTES],
    /// What it is for.
    pub scope: Scope,
}

impl Authorization {
    /// Reads the header's value.
    pub fn parse(value: &str) -> Result<Self, AuthorizationError> {
        if value.starts_with("AWS ") {
            return Err(AuthorizationError::V2);
        }
        if value.starts_with("AWS4-ECDSA-") {
            return Err(AuthorizationError::V4a);
        }
        let parts = value.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' '));
        let parts = parts.filter(|_| value.len() <= BYTES_MAX).ok_or(AuthorizationError::Parts)?;
        let [mut credential, mut headers, mut signature] = [None; 3];
        for part in parts.split(',') {
            let (name, value) = part.trim_matches([' ', '\t']).split_once('=').ok_or(AuthorizationError::Parts)?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return Err(AuthorizationError::Parts),
            };
            if slot.replace(value).is_some() {
                return Err(AuthorizationError::Parts);
            }
        }
        let (Some(credential), Some(headers), Some(signature)) = (credential, headers, signature) else {
            return Err(AuthorizationError::Parts);
        };
        let (id, scope) = Scope::of_credential(credential)
            .filter(|(_, scope)| scope.service == SERVICE)
            .ok_or(AuthorizationError::Credential)?;
        let headers = header_names(headers).ok_or(AuthorizationError::Headers)?;
        let signature = unhex(signature.as_bytes()).ok_or(AuthorizationError::Signature)?;
        Ok(Authorization { id: id.to_owned(), headers, signature, scope })
    }

    /// The time of the request, by `x-amz-date` or else by `Date`; it has to be of the scope's day, and near `now_s`.
    pub fn time(&self, amz: Option<&str>, date: Option<&str>, now_s: u64) -> Result<Second, AuthorizationError> {
        let at = match (amz, date) {
            (Some(amz), _) => Second::parse(amz),
            (None, Some(date)) => Second::parse(date).or_else(|| http_date(date)),
            (None, None) => None,
        };
        let at = at.ok_or(AuthorizationError::Time)?;
        if at.date() != self.scope.date {
            return Err(AuthorizationError::Day);
        }
        if at.0.abs_diff(now_s) > SKEW_SECONDS_MAX { Err(AuthorizationError::Skewed) } else { Ok(at) }
    }

    /// The signed headers with their values, out of all that came, names in lower case. Several of one name have commas
    /// between them, in their order.
    pub fn signed_headers(&self, all: &[(&str, &[u8])]) -> Result<Vec<(String, String)>, AuthorizationError> {
        signed_headers(&self.headers, all)
    }

    /// What was signed. `path`: escaped as it is signed; `query`: unescaped; `payload`: `x-amz-content-sha256`.
    pub fn string_to_sign(&self, at: Second, request: &Request<'_>) -> String {
        string_to_sign(at, &self.scope, &canonical(request))
    }
}

/// The headers of these names with their values, out of all that came. Each has to be there; and of those that change
/// what a request means, each that came has to be among them.
pub fn signed_headers(names: &[String], all: &[(&str, &[u8])]) -> Result<Vec<(String, String)>, AuthorizationError> {
    let unsigned = |name: &str| OURS.iter().any(|ours| name.starts_with(ours)) && !names.iter().any(|n| n == name);
    if all.iter().any(|(name, _)| unsigned(name)) {
        return Err(AuthorizationError::Unsigned);
    }
    let value = |name: &String| {
        let values = all.iter().filter(|(known, _)| known == name);
        let values: Option<Vec<&str>> =
            values.map(|(_, value)| std::str::from_utf8(value).ok().map(|text| text.trim_matches(' '))).collect();
        let values = values.filter(|values| !values.is_empty()).ok_or(AuthorizationError::Absent)?;
        Ok((name.clone(), values.join(",")))
    };
    names.iter().map(value).collect()
}

/// A date as HTTP writes it.
fn http_date(text: &str) -> Option<Second> {
    let since = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Second(since.as_secs()))
}

#[cfg(test)]
mod tests;
