//! Requests through the whole of the port, over a store that must not be asked.

use super::*;
use crate::base::{Grant, Rights};
use crate::http::edge::access::Right;
use crate::http::edge::access::testing::{guarded, with_keys};
use crate::http::edge::handle::handle;
use crate::http::testing::port;
use actix_web::body::to_bytes;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::test::TestRequest;

fn s3(entrance: Entrance) -> S3 {
    let domains = vec!["S3.Example.org.".to_owned()];
    let hosts = Hosts::new(&[], true).with_domains(&domains);
    S3::new(entrance, S3Settings { hosts, domains, region: String::new() }, "http")
}

async fn told(entrance: Entrance, req: TestRequest) -> (u16, String) {
    let (port, budget) = port(s3(entrance));
    let response = handle(&port, &req.to_http_request(), Payload::None).await;
    let status = response.status().as_u16();
    let ids = ["x-request-id", "x-amz-request-id"].map(|name| response.headers().get(name).cloned());
    assert!(ids[0].is_some() && ids[0] == ids[1], "every answer has its id under both names: {ids:?}");
    assert_eq!(budget.level().requests, 0, "no permit was asked for");
    let body = to_bytes(response.into_body()).await.expect("a body in memory");
    (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
}

#[actix::test]
async fn who_signs_nothing_gets_nothing() {
    for (method, uri) in [
        (Method::GET, "/"),
        (Method::GET, "/abc"),
        (Method::PUT, "/abc"),
        (Method::PUT, "/abc/k"),
        (Method::DELETE, "/abc/k"),
        (Method::POST, "/abc?delete"),
        (Method::POST, "/abc/k?uploads"),
        (Method::GET, "/abc?uploads"),
        (Method::PUT, "/abc/k?partNumber=1&uploadId=1"),
        (Method::GET, "/abc?policy"),
    ] {
        let grant = Grant { rights: Rights::of(&Right::ALL), ..Grant::everything() };
        let (status, body) = told(guarded(vec![grant]), TestRequest::with_uri(uri).method(method.clone())).await;
        assert_eq!(status, 403, "{method} {uri}: {body}");
        assert!(body.contains("<Code>AccessDenied</Code>"), "{method} {uri}: {body}");
    }
}

#[actix::test]
async fn what_is_not_offered_is_refused_before_anybody_is_asked_who_they_are() {
    for (method, uri, name, status, code) in [
        (Method::PUT, "/abc/k", "x-amz-website-redirect-location", 501, "NotImplemented"),
        (Method::PUT, "/abc?acl", "x", 501, "NotImplemented"),
        (Method::POST, "/abc/k?restore", "x", 501, "NotImplemented"),
        (Method::PATCH, "/abc/k", "x", 405, "MethodNotAllowed"),
        (Method::GET, "/AB/k", "x", 400, "InvalidBucketName"),
    ] {
        let req = TestRequest::with_uri(uri).method(method.clone()).insert_header((name, "1"));
        let (got, body) = told(with_keys([], false), req).await;
        assert_eq!(got, status, "{method} {uri}: {body}");
        assert!(body.contains(&format!("<Code>{code}</Code>")), "{method} {uri}: {body}");
    }
}

#[actix::test]
async fn names_of_others_are_not_ours_and_domains_are() {
    for (host, status) in [("abc.s3.example.org", 403), ("s3.example.org:5001", 403), ("evil.example", 403)] {
        let req = TestRequest::with_uri("/abc").insert_header(("host", host));
        let (got, body) = told(with_keys([], false), req).await;
        let foreign = body.contains("Host of the request");
        assert_eq!((got, foreign), (status, host == "evil.example"), "{host}: {body}");
    }
}
