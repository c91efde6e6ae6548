//! Who calls on the S3 port: by a signature in the head, by one in the query, or without any.
//!
//! Invariants
//! - Two credentials at once are refused, whichever of them is good.
//! - Nothing but signatures of version 4 is a credential here: no secret comes to this port.
//! - What is wrong is told apart as clients of S3 know it; that a key is not in force is told as that there is none.

use crate::base::AccessKeyId;
use crate::http::edge::access::{Entrance, Principal};
use crate::http::edge::errors::HttpError;
use crate::http::edge::problem::Kind;
use crate::http::edge::{link, signed};
use crate::sign::AuthorizationError;
use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

/// Who calls. `region`: for which requests must be signed; empty: for any. What the head says of the body is kept with the
/// request (`edge::signed::SignedBody`).
pub fn who(entrance: &Entrance, req: &HttpRequest, region: &str) -> Result<Principal, HttpError> {
    let query = req.query_string();
    match (req.headers().contains_key(AUTHORIZATION), link::is_one(query)) {
        (true, true) => Err(HttpError::Refused(Kind::TwoCredentials)),
        (true, false) => entrance.who_by_signature(req, region),
        (false, true) => entrance.who_by_s3_link(req, region),
        (false, false) if is_old_link(query) => Err(HttpError::Signature(AuthorizationError::V2)),
        (false, false) => entrance.who(req.headers()),
    }
}

/// Whether a query has a link of Signature Version 2.
fn is_old_link(query: &str) -> bool {
    let has = |name: &str| query.split('&').any(|pair| pair.split_once('=').is_some_and(|(known, _)| known == name));
    has("AWSAccessKeyId") && has("Signature")
}

/// The id that a request names as its key's, whether anybody is let in by it or not.
pub fn claimed(req: &HttpRequest) -> Option<AccessKeyId> {
    signed::claimed(req.headers()).or_else(|| link::claimed(req.query_string()))
}

#[cfg(test)]
mod tests;
