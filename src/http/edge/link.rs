//! Who comes by a link: a signature in the query, made with the secret of an access key (`sign::presign`).
//!
//! Invariants
//! - A link lets in for as long as its key would: it is held against the same snapshot as any credential, so a key that
//!   is revoked, disabled or narrowed ends its links with it.
//! - A key that is not there, one that is not in force and a signature that does not fit are told the same, after the
//!   same work. What is wrong with a link as such is told as it is: it depends on no secret.
//! - Which requests links may be for is the port's to say. Of those, nothing reaches a handler that was not signed: no
//!   header of this store's own, and no second credential.
//! - Its time is judged when the request comes: a body that was begun in time may end later.

use super::access::{Entrance, Principal, Signer, now_ms};
use super::errors::HttpError;
use super::escape::{Plus, unescape};
use super::problem::Kind;
use crate::base::AccessKeyId;
use crate::sign::Presigned;
use crate::sign::authorization;
use crate::sign::presign::{self, PREFIX};
use actix_web::HttpMessage;
use actix_web::HttpRequest;
use actix_web::dev::RequestHead;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

/// The second at which a request came that is signed.
struct CameAt(u64);

/// Whether somebody comes by a link, good or bad: a parameter begins as theirs do.
pub fn is_one(query: &str) -> bool {
    !query.is_empty() && query.split('&').any(|pair| named(pair).is_some_and(|name| name.starts_with(PREFIX)))
}

/// The name of a parameter, where its escapes can be read.
fn named(pair: &str) -> Option<std::borrow::Cow<'_, str>> {
    unescape(pair.split_once('=').map_or(pair, |(name, _)| name), Plus::IsSpace).ok()
}

/// The id that a link names as its key's, whoever signed it.
pub fn claimed(query: &str) -> Option<AccessKeyId> {
    AccessKeyId::parse(presign::claimed(&pairs(query).ok()?)?.as_bytes())
}

/// A query taken apart, its parameters in their order, also where one is there twice.
pub(in crate::http) fn pairs(query: &str) -> Result<Vec<(String, String)>, HttpError> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((unescape(name, Plus::IsSpace)?.into_owned(), unescape(value, Plus::IsSpace)?.into_owned()))
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

/// Has the headers that stand in the query of a link be headers of the request, for all who read its head. Nothing is
/// signed yet: `Entrance::who_by_s3_link` holds each against the query, and refuses what could not be moved.
pub fn move_headers(head: &mut RequestHead) {
    let query = head.uri.query().unwrap_or_default();
    if !is_one(query) {
        return;
    }
    for (name, value) in pairs(query).unwrap_or_default() {
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        if let Some((name, value)) = header.filter(|(name, _)| presign::is_header(name.as_str())) {
            head.headers.append(name, value);
        }
    }
}

impl Entrance {
    /// Who calls by the link in the query of a request. `path`: as it is signed.
    pub fn who_by_link(&self, req: &HttpRequest, path: &str) -> Result<Principal, HttpError> {
        if req.headers().contains_key(AUTHORIZATION) {
            return Err(HttpError::Refused(Kind::TwoCredentials));
        }
        let link = Presigned::parse(pairs(req.query_string())?).map_err(HttpError::Link)?;
        link.check_time(came_at(req)).map_err(HttpError::Link)?;
        let headers = signed_headers(req.headers(), &link.headers)?;
        let to_sign = link.string_to_sign(req.method().as_str(), path, &headers);
        match self.signer(&link.id, &link.signature, link.scope(), &to_sign)? {
            Signer::Key(key, _) => Ok(Principal::Link(key)),
            Signer::Unknown | Signer::Other => Err(HttpError::Refused(Kind::LinkRefused)),
        }
    }
}

/// When a request came that is signed: now, the first time that it is asked.
pub(super) fn came_at(req: &HttpRequest) -> u64 {
    let known = req.extensions().get::<CameAt>().map(|came| came.0);
    known.unwrap_or_else(|| {
        let now = now_ms() / 1000;
        req.extensions_mut().insert(CameAt(now));
        now
    })
}

/// Has a request come at that second.
#[cfg(test)]
pub(super) fn came_at_for_tests(req: &HttpRequest, at_s: u64) {
    req.extensions_mut().insert(CameAt(at_s));
}

/// The headers that a link fixes, with their values here. Each has to be there; and of our own none that it does not fix.
fn signed_headers(all: &HeaderMap, names: &[String]) -> Result<Vec<(String, String)>, HttpError> {
    let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    authorization::signed_headers(names, &all).map_err(|_| HttpError::Refused(Kind::LinkHeader))
}

#[cfg(test)]
mod tests;
