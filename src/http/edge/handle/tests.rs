//! A protocol that is not REST, through the edge: its routes, its callers, its rights, its voice.

use super::*;
use crate::base::{AccessKeyId, BucketName};
use crate::http::edge::access::{Need, Principal, Right};
use crate::http::edge::deed::{Deed, Target};
use crate::http::edge::english;
use crate::http::edge::problem::Problem;
use crate::http::edge::request_id::RequestId;
use crate::http::testing::port;
use actix_web::body::to_bytes;
use actix_web::test::TestRequest;

/// One bucket per path; a caller is who the header `from` says, and may read what bears their name.
struct Marked;

impl Protocol for Marked {
    type Route<'a> = &'a str;
    type Endpoint = BucketName;

    const LABELS: &'static [&'static str] = &["marked"];

    fn route<'a>(&self, req: &'a HttpRequest) -> &'a str {
        req.path().trim_start_matches('/')
    }

    fn label(&self, _: &str) -> usize {
        0
    }

    fn who(&self, req: &HttpRequest) -> Result<Principal, HttpError> {
        match req.headers().get("from").and_then(|from| from.to_str().ok()) {
            Some("reader") => Ok(Principal::with(&[Right::Read])),
            Some("nobody") => Ok(Principal::with(&[])),
            _ => Err(HttpError::Header("nobody known")),
        }
    }

    fn who_lately(&self, req: &HttpRequest) -> Result<Principal, HttpError> {
        self.who(req)
    }

    fn endpoint(&self, _: &HttpRequest, route: &str) -> Result<BucketName, HttpError> {
        Ok(BucketName::parse(route)?)
    }

    fn need<'e>(&self, bucket: &'e BucketName) -> Option<Need<'e>> {
        Some(Need::on_bucket(Right::Read, bucket))
    }

    fn deed<'e>(&self, bucket: &'e BucketName) -> Deed<'e> {
        Deed::change("marked:read", Target::Bucket(bucket))
    }

    fn claims(&self, _: &HttpRequest) -> Option<AccessKeyId> {
        None
    }

    async fn answer(&self, call: &Call<'_>, bucket: BucketName, _: &mut Incoming) -> Result<HttpResponse, HttpError> {
        call.authorize(&Need::on_bucket(Right::Read, &bucket))?;
        match call.authorize(&Need::on_bucket(Right::Write, &bucket)) {
            Err(HttpError::AccessDenied) => {
                call.authorize_again(&Need::on_bucket(Right::Read, &bucket))?;
                Ok(HttpResponse::Ok().body(bucket.to_string()))
            }
            _ => Err(HttpError::Broken("a reader writes")),
        }
    }

    fn tell(&self, problem: &Problem, route: &str, _: &HttpRequest, id: &RequestId) -> HttpResponse {
        let (code, text) = (problem.kind.code(), english::text(problem));
        problem.head().body(format!("<Error><{code}/>{text}<Resource>{route}</Resource>{}</Error>", id.as_str()))
    }
}

#[actix::test]
async fn a_protocol_has_its_own_routes_callers_rights_and_voice() {
    let (port, _) = port(Marked);
    for (from, path, status, told) in [
        ("reader", "/abc", 200, "abc"),
        (
            "nobody",
            "/abc",
            403,
            "<Error><AccessDenied/>the caller has not the right to do this<Resource>abc</Resource>",
        ),
        ("else", "/abc", 400, "<Error><InvalidHeader/>nobody known<Resource>abc</Resource>"),
        ("reader", "/AB", 400, "<Error><InvalidBucketName/>a bucket name has"),
    ] {
        let req = TestRequest::with_uri(path).append_header(("from", from)).to_http_request();
        let response = handle(&port, &req, Payload::None).await;
        assert_eq!(response.status(), status, "{from} {path}");
        let id = response.headers().get("x-request-id").expect("an id").to_str().expect("text").to_owned();
        let body = to_bytes(response.into_body()).await.expect("a body in memory");
        let body = String::from_utf8_lossy(&body);
        assert!(body.starts_with(told), "{body}");
        assert_eq!(body.contains(&id), status != 200, "a problem names the request");
    }
    let text = port.worker.shared.expose(&Default::default(), &serde_json::json!({}));
    let counted = "boveda_http_requests_total{route=\"marked\",method=\"GET\",status=\"4xx\"} 3";
    assert!(text.lines().any(|line| line == counted), "{text}");
}
