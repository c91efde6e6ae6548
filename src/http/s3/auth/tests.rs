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
fn link(sent: &str, path: &str, query: &[(&str, &str)], at_s: u64) -> String {
    let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let link = Link { method: "GET", path, host: "h", at_s, expires_s: 60, headers: &[], query: &query };
    format!("{sent}?{}", link.query_by(&key()))
}

fn told(entrance: &Entrance, target: &str, headers: &[(&str, &str)]) -> String {
    let request = TestRequest::with_uri(target).insert_header(("host", "h"));
    let req = headers.iter().fold(request, |request, header| request.append_header(*header)).to_http_request();
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
    let target = link("/b/k", "/b/k", &[], now_s());
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
    let get = |query: &[(&str, &str)]| told(&closed, &link("/b/k", "/b/k", query, now_s()), &[]);
    assert_eq!(get(&[("x-id", "GetObject"), ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")]), "link");
    assert_eq!(get(&[("x-amz-checksum-mode", "ENABLED"), ("X-Amz-Acl", "private")]), "link");
    assert_eq!(get(&[("response-content-type", "a/b; c=d")]), "link");
    assert_eq!(get(&[("X-Amz-Security-Token", "t")]), "SessionToken");
    assert_eq!(get(&[("x-amz-security-token", "t")]), "SessionToken");
    assert_eq!(get(&[("x-amz-date", "20130524T000000Z")]), "LinkForm", "it would be taken for the other one");
    assert_eq!(get(&[("X-Amz-Acl", "a"), ("x-amz-acl", "b")]), "LinkForm");
    assert_eq!(get(&[("X-Amz-Content-Sha256", "x")]), "BodyHash");
    assert_eq!(get(&[("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")]), "BodyHash");
    let target = link("/b/k", "/b/k", &[], now_s());
    assert_eq!(told(&closed, &target, &[("x-amz-acl", "private")]), "LinkHeader");
    assert_eq!(told(&closed, &format!("{target}&x=y"), &[]), "SignatureRefused");
    assert_eq!(told(&with_keys([], true), &target, &[]), "SignerUnknown", "also where everybody may come in");
    assert_eq!(told(&closed, &link("/b/k", "/b/k", &[], now_s() - 61), &[]), "LinkExpired");
    assert_eq!(told(&closed, &link("/b/k", "/b/k", &[], now_s() + 1000), &[]), "LinkNotYet");
    assert_eq!(told(&closed, &link("/b/a+b", "/b/a%2Bb", &[], now_s()), &[]), "link");
    assert_eq!(told(&closed, &link("/b/a+b", "/b/a+b", &[], now_s()), &[]), "link", "as it came");
    assert_eq!(told(&closed, "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256", &[]), "LinkForm");
}

#[test]
fn a_link_says_of_its_body_what_was_signed() {
    let digest = "0f".repeat(32);
    let target = link("/b/k", "/b/k", &[("X-Amz-Content-Sha256", &digest)], now_s());
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
