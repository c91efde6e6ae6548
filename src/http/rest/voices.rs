//! How this port tells a problem: JSON, in English or Spanish.
//!
//! Invariants
//! - The notebook's routes answer in Spanish, everything else in English; codes are the same.
//! - Every problem is told with its code and the id of the request.

use super::answers::json;
use super::castellano;
use crate::http::edge::english;
use crate::http::edge::problem::Problem;
use crate::http::edge::request_id::RequestId;
use actix_web::HttpResponse;

/// What a route's users read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Castellano,
}

#[derive(serde::Serialize)]
struct Body<'a> {
    error: &'a str,
    code: &'a str,
    request_id: &'a str,
}

/// The answer to a request that was not served.
pub(super) fn tell(problem: &Problem, language: Language, id: &RequestId) -> HttpResponse {
    let error = match language {
        Language::English => english::text(problem),
        Language::Castellano => castellano::of(problem.kind),
    };
    json(&mut problem.head(), &Body { error, code: problem.kind.code(), request_id: id.as_str() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::edge::errors::samples;
    use actix_web::body::to_bytes;

    #[actix::test]
    async fn every_error_is_json_with_code_and_id_and_without_paths() {
        let id = RequestId::for_tests("abc-1");
        for language in [Language::English, Language::Castellano] {
            for error in samples::all() {
                let response = tell(&error.problem(), language, &id);
                let status = response.status();
                assert!(status.is_client_error() || status.is_server_error());
                assert_eq!(response.headers().contains_key("retry-after"), status == 503, "{error:?}");
                assert_eq!(response.headers().get("content-type").unwrap(), "application/json");
                let body = to_bytes(response.into_body()).await.unwrap();
                let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(json["request_id"], "abc-1");
                assert!(json["code"].as_str().is_some_and(|c| !c.is_empty()));
                assert!(json["error"].as_str().is_some_and(|c| !c.is_empty() && !c.contains('/')
                    || c.contains("multipart/")
                    || c.contains("/readyz")
                    || c.contains("/openapi.json")));
                assert!(!String::from_utf8_lossy(&body).contains("hidden"));
            }
        }
    }
}
