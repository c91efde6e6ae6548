use super::*;
use crate::base::{AccessKeyId, Credential, Secret};
use crate::http::edge::access::now_ms;
use crate::http::edge::access::testing::{ID, bearer, guarded, secret, with_keys};
use crate::http::edge::link::pairs;
use crate::http::edge::signed::SignedBody;
use crate::sign::Presigned;
use crate::sign::body::Announced;
use crate::sign::presign::Link;
use crate::sign::sigv4::hex;
use actix_web::HttpMessage;
use actix_web::test::TestRequest;
use std::rc::Rc;

fn key() -> Credential {
    Credential { id: AccessKeyId::drawn(ID), secret: Secret::new(secret()) }
}

/// The target of a link with these parameters, signed under that path.
fn linked(sent: &str, path: &str, query: &[(&str, &str)], at_s: u64) -> String {
    let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let link = Link { method: "GET", path, host: "h", at_s, expires_s: 60, headers: &[], query: &query };
    format!("{sent}?{}", link.query_by(&key()))
}

/// A request as it comes to whoever reads it.
fn prepared(request: TestRequest) -> HttpRequest {
    let mut request = request.to_srv_request();
    link::move_headers(request.head_mut());
    request.into_parts().0
}

fn told(entrance: &Entrance, target: &str, headers: &[(&str, &str)]) -> String {
    let request = TestRequest::with_uri(target).insert_header(("host", "h"));
    let req = prepared(headers.iter().fold(request, |request, header| request.append_header(*header)));
    match who(entrance, &req, "") {
        Ok(Principal::Link(_)) => "link".to_owned(),
        Ok(Principal::Guest) => "guest".to_owned(),
        Ok(Principal::Anyone) => "anyone".to_owned(),
        Ok(_) => "else".to_owned(),
        Err(error) => format!("{:?}", error.problem().kind),
    }
}

fn now_s() -> u64 {
    now_ms() / 1000
}

#[test]
fn who_brings_nothing_is_a_guest_and_who_brings_two_things_is_refused() {
    let (closed, open) = (guarded(Vec::new()), with_keys([], true));
    assert_eq!((told(&closed, "/b/k", &[]), told(&open, "/b/k", &[])), ("guest".into(), "anyone".into()));
    let target = linked("/b/k", "/b/k", &[], now_s());
    assert_eq!(told(&closed, &target, &[]), "link");
    assert_eq!(told(&closed, &target, &[("authorization", "AWS4-HMAC-SHA256 x")]), "TwoCredentials");
    assert_eq!(told(&closed, "/b/k", &[("authorization", "AWS4-HMAC-SHA256 x")]), "SignatureForm");
    assert_eq!(told(&closed, "/b/k", &[("authorization", &bearer())]), "SignatureForm", "no secret comes here");
    assert_eq!(told(&closed, "/b/k", &[("authorization", "AWS id:signature")]), "SignatureVersion");
    assert_eq!(told(&closed, "/b/k?AWSAccessKeyId=id&Expires=1&Signature=x", &[]), "SignatureVersion");
    assert_eq!(told(&closed, "/b/k?Signature=x", &[]), "guest");
}

#[test]
fn links_of_clients_of_s3_have_headers_in_their_query() {
    let closed = guarded(Vec::new());
    let get = |query: &[(&str, &str)]| told(&closed, &linked("/b/k", "/b/k", query, now_s()), &[]);
    assert_eq!(get(&[("x-id", "GetObject"), ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")]), "link");
    assert_eq!(get(&[("x-amz-checksum-mode", "ENABLED"), ("X-Amz-Acl", "private")]), "link");
    assert_eq!(get(&[("response-content-type", "a/b; c=d")]), "link");
    assert_eq!(get(&[("X-Amz-Security-Token", "t")]), "SessionToken");
    assert_eq!(get(&[("x-amz-security-token", "t")]), "SessionToken");
    assert_eq!(get(&[("x-amz-date", "20130524T000000Z")]), "LinkForm", "it would be taken for the other one");
    assert_eq!(get(&[("X-Amz-Acl", "a"), ("x-amz-acl", "b")]), "LinkForm");
    assert_eq!(get(&[("X-Amz-Content-Sha256", "x")]), "BodyHash");
    assert_eq!(get(&[("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]), "BodyHash");
    let target = linked("/b/k", "/b/k", &[], now_s());
    assert_eq!(told(&closed, &target, &[("x-amz-acl", "private")]), "UnsignedHeader");
    assert_eq!(told(&closed, &target, &[("x-amz-date", "20130524T000000Z")]), "UnsignedHeader");
    assert_eq!(told(&closed, &format!("{target}&x=y"), &[]), "SignatureRefused");
    assert_eq!(told(&with_keys([], true), &target, &[]), "SignerUnknown", "also where everybody may come in");
    assert_eq!(told(&closed, &linked("/b/k", "/b/k", &[], now_s() - 61), &[]), "LinkExpired");
    assert_eq!(told(&closed, &linked("/b/k", "/b/k", &[], now_s() + 1000), &[]), "LinkNotYet");
    assert_eq!(told(&closed, &linked("/b/a+b", "/b/a%2Bb", &[], now_s()), &[]), "link");
    assert_eq!(told(&closed, &linked("/b/a+b", "/b/a+b", &[], now_s()), &[]), "link", "as it came");
    assert_eq!(told(&closed, "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256", &[]), "LinkForm");
}

#[test]
fn a_link_says_of_its_body_what_was_signed() {
    let digest = "0f".repeat(32);
    let target = linked("/b/k", "/b/k", &[("X-Amz-Content-Sha256", &digest)], now_s());
    // Signed as that says, and not as if nothing were known of the body.
    let (rest, _) = target.split_once("&X-Amz-Signature=").expect("a signature");
    let (_, query) = target.split_once('?').expect("a query");
    let read = Presigned::parse_with_headers(pairs(query).expect("a query")).expect("a link");
    let host = [("host".to_owned(), "h".to_owned())];
    let signature = read.signature_by(&secret(), &read.string_to_sign_with("GET", "/b/k", &host, &digest));
    assert_eq!(told(&guarded(Vec::new()), &target, &[]), "SignatureRefused");
    let target = format!("{rest}&X-Amz-Signature={}", hex(&signature));
    let req = TestRequest::with_uri(&target).insert_header(("host", "h")).to_http_request();
    assert!(who(&guarded(Vec::new()), &req, "").is_ok() && who(&guarded(Vec::new()), &req, "elsewhere").is_err());
    let kept = req.extensions().get::<Rc<SignedBody>>().map(|body| body.announced);
    assert_eq!(kept, Some(Announced::Digest([15; 32])));
    assert_eq!(claimed(&req), Some(AccessKeyId::drawn(ID)));
}

#[test]
fn what_stands_in_the_query_of_a_link_is_in_its_head_and_was_signed() {
    let closed = guarded(Vec::new());
    let target = linked("/b/k", "/b/k", &[("X-Amz-Acl", "private"), ("x-amz-meta-a", "b c")], now_s());
    let req = prepared(TestRequest::with_uri(&target).insert_header(("host", "h")));
    let value = |name: &str| req.headers().get(name).map(|value| value.as_bytes());
    assert_eq!((value("x-amz-acl"), value("x-amz-meta-a")), (Some(&b"private"[..]), Some(&b"b c"[..])));
    assert_eq!(req.headers().len(), 3, "and nothing of the signature");
    assert!(who(&closed, &req, "").is_ok());
    for (changed, headers, is) in [
        (target.replace("=private", "=public-read"), &[][..], "SignatureRefused"),
        (target.replace("X-Amz-Acl", "x-amz-acl"), &[], "SignatureRefused"),
        (target.replace("X-Amz-Acl=private&", ""), &[], "SignatureRefused"),
        (target.replace("X-Amz-Acl=private&", ""), &[("x-amz-acl", "private")], "UnsignedHeader"),
        (format!("{target}&x-amz-meta-b=c"), &[], "SignatureRefused"),
        // What came in the head besides is no other meaning of it.
        (target.clone(), &[("x-amz-acl", "public-read")], "LinkForm"),
        (target.clone(), &[("x-amz-acl", "private")], "LinkForm"),
    ] {
        assert_eq!(told(&closed, &changed, headers), is, "{changed}");
    }
    // What is no header's value is refused, and not left out.
    for (name, value) in [("x-amz-meta-a", "b\nc"), ("x-amz-meta-a b", "c"), ("x-amz-\u{f1}", "c")] {
        assert_eq!(
            told(&closed, &linked("/b/k", "/b/k", &[(name, value)], now_s()), &[]),
            "LinkForm",
            "{name}: {value}"
        );
    }
    // Without a link they are parameters.
    let req = prepared(TestRequest::with_uri("/b/k?x-amz-acl=private"));
    assert!(!req.headers().contains_key("x-amz-acl"));
}

#[test]
fn a_header_that_a_link_fixes_has_to_come() {
    let headers = [("x-amz-acl".to_owned(), "private".to_owned())];
    let link =
        Link { method: "GET", path: "/b/k", host: "h", at_s: now_s(), expires_s: 60, headers: &headers, query: &[] };
    let target = format!("/b/k?{}", link.query_by(&key()));
    let closed = guarded(Vec::new());
    assert_eq!(told(&closed, &target, &[("x-amz-acl", "private")]), "link");
    assert_eq!(told(&closed, &target, &[("x-amz-acl", "public-read")]), "SignatureRefused");
    assert_eq!(told(&closed, &target, &[]), "SignatureRefused");
}
