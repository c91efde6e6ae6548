//! How this port tells a problem.

use super::documents::escape;
use crate::http::edge::english;
use crate::http::edge::problem::{Kind, Problem};
use crate::http::edge::request_id::RequestId;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

pub fn code(kind: Kind) -> (u16, &'static str) {
    match kind {
        Kind::KeyName => (400, "KeyTooLongError"),
        Kind::Query | Kind::Header | Kind::QueryTwice => (400, "InvalidArgument"),
        Kind::Unauthenticated => (403, "AccessDenied"),
        Kind::Document => (400, "MalformedXML"),
        kind => (kind.status().as_u16(), kind.code()),
    }
}

pub fn tell(problem: &Problem, req: &HttpRequest, id: &RequestId) -> HttpResponse {
    let (status, code) = code(problem.kind);
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message><Resource>{}</Resource><RequestId>{}</RequestId></Error>",
        escape(english::text(problem)),
        escape(req.path()),
        id.as_str()
    );
    problem
        .head()
        .status(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST))
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/xml")))
        .body(body)
}
