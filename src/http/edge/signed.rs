//! Who has signed the head of a request (`sign::authorization`), and what that says of the body.
//!
//! Invariants
//! - A signature counts for what its key may, and for as long: it is held against the same snapshot as any credential.
//! - A key that is not there takes the same work as a signature that does not fit. A key that is not in force is told as
//!   one that is not there.
//! - A request has been signed under one path: escaped by S3's rule, or, where that does not fit, as it came.
//! - Its time is judged when the request comes: a body that was begun in time may end later.
//! - On a port that is open to everybody nothing is asked of a signature: there is no key that it could be held against.

use super::access::{Entrance, Principal, Signer};
use super::body_in::Incoming;
use super::errors::HttpError;
use super::escape::{Plus, unescape};
use super::link::{came_at, pairs};
use super::problem::Kind;
use crate::actors::messages::AccessKey;
use crate::base::AccessKeyId;
use crate::seal::hmac::SHA256_BYTES;
use crate::sign::authorization::{self, Authorization};
use crate::sign::body::{Announced, BodyError};
use crate::sign::canonical::{Request, escaped_path};
use crate::sign::chunks::Seed;
use crate::sign::sigv4::{Scope, SigningKey, UNSIGNED_PAYLOAD};
use crate::sign::{AuthorizationError, PresignError, Presigned};
use actix_web::http::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};
use std::rc::Rc;
use std::sync::Arc;

/// What a body is, as its head says; and what signatures of chunks rest on.
const BODY_HASH: &str = "x-amz-content-sha256";

/// What was found of the body while the head was read: kept with the request for who reads the body.
#[derive(Debug)]
pub struct SignedBody {
    /// What the head says of it.
    pub announced: Announced,
    /// What the signatures of its chunks rest on; none where nobody was asked for a signature.
    pub seed: Option<Arc<Seed>>,
}

/// Whether the head is signed, well or not.
pub fn is_one(headers: &HeaderMap) -> bool {
    headers.get_all(AUTHORIZATION).any(|value| value.to_str().is_ok_and(authorization::is_one))
}

/// The id that a signature in the head names, whoever made it.
pub fn claimed(headers: &HeaderMap) -> Option<AccessKeyId> {
    AccessKeyId::parse(authorization::claimed(headers.get(AUTHORIZATION)?.to_str().ok()?)?.as_bytes())
}

/// A header that may stand there once.
pub fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, HttpError> {
    let mut all = headers.get_all(name);
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(HttpError::Header("a header stands there twice that may stand there once"));
    }
    first.map(|value| value.to_str().map_err(|_| HttpError::Header("a header is not ASCII"))).transpose()
}

/// What the head says of its body; none where it says nothing.
pub fn announced(headers: &HeaderMap) -> Result<Option<Announced>, HttpError> {
    only(headers, BODY_HASH)?.map(|text| Announced::parse(text).map_err(HttpError::BodyHash)).transpose()
}

/// Holds the body of a signed request against its digest, where the head gives one.
pub fn hold_body(headers: &HeaderMap, incoming: &mut Incoming) -> Result<(), HttpError> {
    match announced(headers)? {
        Some(Announced::Digest(wanted)) => incoming.check_sha256(wanted),
        Some(Announced::Chunks(_)) => {
            Err(HttpError::NotImplemented("this port takes no aws-chunked bodies; the S3 port does"))
        }
        Some(Announced::Unsigned) | None => Ok(()),
    }
}

/// A signature that came: who is said to have made it, and for what.
struct Held<'a> {
    id: &'a str,
    signature: &'a [u8; SHA256_BYTES],
    scope: &'a Scope,
}

impl Held<'_> {
    /// Whose it is, where a request may have been signed under several paths. `to_sign`: what was signed under one.
    fn signer(
        &self,
        entrance: &Entrance,
        req: &HttpRequest,
        to_sign: impl Fn(&str) -> String,
    ) -> Result<Signer, HttpError> {
        let raw = req.path();
        let escaped = escaped_path(&unescape(raw, Plus::IsPlus)?);
        let under = |path| entrance.signer(self.id, self.signature, self.scope, &to_sign(path));
        match under(&escaped)? {
            signer @ Signer::Key(..) => Ok(signer),
            signer if raw == escaped => Ok(signer),
            _ => under(raw),
        }
    }
}

impl Entrance {
    /// Who calls by the signature in the head. `region`: for which it must be signed; empty: for any.
    pub fn who_by_signature(&self, req: &HttpRequest, region: &str) -> Result<Principal, HttpError> {
        if self.is_open_to_all() {
            let announced = announced(req.headers())?.unwrap_or(Announced::Unsigned);
            keep(req, SignedBody { announced, seed: None });
            return Ok(Principal::Anyone);
        }
        let headers = req.headers();
        let refused = HttpError::Signature;
        let text = only(headers, AUTHORIZATION.as_str()).ok().flatten().ok_or(refused(AuthorizationError::Parts))?;
        let read = Authorization::parse(text).map_err(refused)?;
        if headers.contains_key("x-amz-security-token") {
            return Err(refused(AuthorizationError::Token));
        }
        if !region.is_empty() && read.scope.region != region {
            return Err(refused(AuthorizationError::Region));
        }
        let (amz_date, date) = (only(headers, "x-amz-date")?, only(headers, DATE.as_str())?);
        let at = read.time(amz_date, date, came_at(req)).map_err(refused)?;
        let announced = announced(headers)?.ok_or(HttpError::BodyHash(BodyError::Missing))?;
        let payload = only(headers, BODY_HASH)?.unwrap_or_default();
        let all: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let fixed = read.signed_headers(&all).map_err(refused)?;
        let (method, query) = (req.method().as_str(), pairs(req.query_string())?);
        let to_sign =
            |path: &str| read.string_to_sign(at, &Request { method, path, query: &query, headers: &fixed, payload });
        let held = Held { id: &read.id, signature: &read.signature, scope: &read.scope };
        let (who, key) = owner(held.signer(self, req, to_sign)?)?;
        let seed = Seed { key, at, scope: read.scope, signature: read.signature };
        keep(req, SignedBody { announced, seed: Some(Arc::new(seed)) });
        Ok(Principal::Key(who))
    }

    /// Who calls by a link that a client of S3 has made: it may have headers in its query (`link::move_headers`), say
    /// something of the body, and be signed under either path.
    pub fn who_by_s3_link(&self, req: &HttpRequest, region: &str) -> Result<Principal, HttpError> {
        if req.headers().contains_key(AUTHORIZATION) {
            return Err(HttpError::Refused(Kind::TwoCredentials));
        }
        let link = Presigned::parse_with_headers(pairs(req.query_string())?).map_err(HttpError::Link)?;
        if !region.is_empty() && link.scope().region != region {
            return Err(HttpError::Link(PresignError::Region));
        }
        link.check_time(came_at(req)).map_err(HttpError::Link)?;
        let headers = headers_of_link(&link, req.headers())?;
        let (in_head, in_query) = (only(req.headers(), BODY_HASH)?, link.payload());
        let payload = in_head.or(in_query).unwrap_or(UNSIGNED_PAYLOAD);
        let announced = Announced::parse(payload).map_err(HttpError::BodyHash)?;
        let is_signed = matches!(announced, Announced::Chunks(coding) if coding.is_signed);
        if is_signed || in_query.is_some_and(|text| text != payload) {
            // Who has a link has no secret to sign chunks with.
            return Err(HttpError::BodyHash(BodyError::Unknown));
        }
        let method = req.method().as_str();
        let to_sign = |path: &str| link.string_to_sign_with(method, path, &headers, payload);
        let held = Held { id: &link.id, signature: &link.signature, scope: link.scope() };
        let (who, _) = owner(held.signer(self, req, to_sign)?)?;
        keep(req, SignedBody { announced, seed: None });
        Ok(Principal::Link(who))
    }
}

/// The headers that a link fixes, with their values here. Of ours there are none but these, and those that stand in its
/// query, each with the value that it has there.
fn headers_of_link(link: &Presigned, headers: &HeaderMap) -> Result<Vec<(String, String)>, HttpError> {
    let in_query: Vec<(String, &str)> =
        link.headers_in_query().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    for (name, value) in &in_query {
        if !headers.get_all(name.as_str()).map(HeaderValue::as_bytes).eq([value.as_bytes()]) {
            return Err(HttpError::Link(PresignError::NoHeader));
        }
    }
    let is_fixed = |name: &str| link.headers.iter().any(|fixed| fixed == name);
    let came = |name: &str| is_fixed(name) || !in_query.iter().any(|(moved, _)| moved == name);
    let all = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let all: Vec<_> = all.filter(|(name, _)| came(name)).collect();
    authorization::signed_headers(&link.headers, &all).map_err(HttpError::Signature)
}

/// The key of who has signed, and what that has signed with.
fn owner(signer: Signer) -> Result<(Arc<AccessKey>, Arc<SigningKey>), HttpError> {
    match signer {
        Signer::Key(key, with) => Ok((key, with)),
        Signer::Unknown => Err(HttpError::Refused(Kind::SignerUnknown)),
        Signer::Other => Err(HttpError::Refused(Kind::SignatureRefused)),
    }
}

fn keep(req: &HttpRequest, body: SignedBody) {
    req.extensions_mut().insert(Rc::new(body));
}

#[cfg(test)]
mod tests;
