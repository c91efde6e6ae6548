//! What the answers of this port have in common.

use crate::actors::messages::Consistency;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::problem::Kind;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde::Serialize;

const CONSISTENCY: HeaderName = HeaderName::from_static("x-boveda-consistency");

/// A parameter that nobody reads could change what a write means.
pub(super) fn no_query(call: &Call<'_>) -> Result<(), HttpError> {
    if call.req.query_string().is_empty() {
        return Ok(());
    }
    Err(HttpError::Refused(Kind::WriteQuery))
}

/// What a read is to rest on: `?consistency=local` asks for what this node holds.
pub(super) fn consistency(query: &mut Query) -> Result<Consistency, HttpError> {
    match query.take("consistency").as_deref() {
        None | Some("majority") => Ok(Consistency::Majority),
        Some("local") => Ok(Consistency::Local),
        Some(_) => Err(HttpError::Refused(Kind::Consistency)),
    }
}

/// Says so when an answer rests on less than a majority.
pub(super) fn rests_on(headers: &mut HeaderMap, consistency: Consistency) {
    if consistency == Consistency::Local {
        headers.insert(CONSISTENCY, HeaderValue::from_static("local"));
    }
}

/// A JSON answer that rests on that.
pub(super) fn json_resting_on<T: Serialize>(value: &T, consistency: Consistency) -> HttpResponse {
    let mut response = json(&mut HttpResponse::Ok(), value);
    rests_on(response.headers_mut(), consistency);
    response
}

/// An answer with a JSON body.
pub(super) fn json<T: Serialize>(builder: &mut HttpResponseBuilder, value: &T) -> HttpResponse {
    match serde_json::to_vec(value) {
        Ok(body) => {
            builder.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).body(body)
        }
        Err(error) => {
            log::error!("an answer could not be written as JSON: {error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}
