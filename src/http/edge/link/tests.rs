use super::super::access::testing::{ID, guarded, secret, with_keys};
use super::super::access::{Need, Right, authorize};
use super::*;
use crate::actors::messages::AccessKey;
use crate::base::{BucketName, Credential, ObjectKey, ObjectName, Secret};
use crate::sign::object_link::{ObjectLink, Use};
use actix_web::http::Method;
use actix_web::test::TestRequest;

const PATH: &str = "/v1/objects/abc/a%20b";

fn at() -> ObjectName {
    ObjectName { bucket: BucketName::parse("abc").expect("a name"), key: ObjectKey::parse("a b").expect("a key") }
}

fn link_by(key: &Credential, to: &Use, at_s: u64, expires_s: u64) -> String {
    ObjectLink { at: &at(), to, host: "node:5000", at_s, expires_s }.target_by(key).expect("a link")
}

fn key() -> Credential {
    Credential { id: AccessKeyId::drawn(ID), secret: Secret::new(secret()) }
}

fn read() -> Use {
    Use::Get { file_name: None }
}

fn now_s() -> u64 {
    now_ms() / 1000
}

fn request(method: Method, target: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let request = TestRequest::with_uri(target).method(method).insert_header(("host", "node:5000"));
    headers.iter().fold(request, |request, header| request.append_header(*header)).to_http_request()
}

/// What is made of a request that brings a link to `PATH`.
fn told(entrance: &Entrance, req: &HttpRequest) -> &'static str {
    match entrance.who_by_link(req, PATH) {
        Ok(Principal::Link(_)) => "link",
        Ok(_) => "else",
        Err(HttpError::Refused(Kind::LinkRefused)) => "refused",
        Err(HttpError::Refused(Kind::LinkHeader)) => "header",
        Err(HttpError::Refused(Kind::TwoCredentials)) => "two",
        Err(HttpError::Link(why)) => match why {
            crate::sign::PresignError::Expired => "expired",
            crate::sign::PresignError::NotYet => "not yet",
            _ => "form",
        },
        Err(HttpError::Refused(Kind::Percent | Kind::Escape)) => "form",
        Err(HttpError::AccessUnknown) => "unknown",
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_link_is_known_by_its_parameters() {
    for (query, is) in [
        ("", false),
        ("consistency=local", false),
        ("x-amz-signature=1", false),
        ("X-Amz-Signature=1", true),
        ("a=b&X-Amz-Anything", true),
        ("X%2dAmz-Date=1", true),
        ("a=X-Amz-Date", false),
        ("%=1&X-Amz-Date=1", true),
    ] {
        assert_eq!(is_one(query), is, "{query}");
    }
}

#[test]
fn a_link_lets_in_for_what_it_was_made_and_for_as_long() {
    let entrance = guarded(vec!["abc:read".parse().expect("a grant")]);
    let target = link_by(&key(), &read(), now_s(), 60);
    let get = |target: &str, headers: &[(&str, &str)]| told(&entrance, &request(Method::GET, target, headers));
    assert_eq!(get(&target, &[]), "link");
    assert_eq!(
        get(&target, &[("range", "bytes=0-1"), ("if-none-match", "*")]),
        "link",
        "conditions and ranges are free"
    );
    assert_eq!(told(&entrance, &request(Method::PUT, &target, &[])), "refused");
    assert_eq!(told(&entrance, &request(Method::HEAD, &target, &[])), "refused");
    assert_eq!(get(&target, &[("host", "node:5000")]), "refused", "two hosts are not the one");
    assert_eq!(get(&target, &[("authorization", "Bearer x")]), "two");
    assert_eq!(get(&target, &[("x-boveda-meta-a", "b")]), "header");
    assert_eq!(get(&target, &[("x-amz-date", "b")]), "header");
    assert_eq!(get(&format!("{target}&consistency=local"), &[]), "refused");
    assert_eq!(get(&format!("{target}&X-Amz-Date=20130524T000000Z"), &[]), "form");
    assert_eq!(get(&link_by(&key(), &read(), now_s() - 61, 60), &[]), "expired");
    assert_eq!(get(&link_by(&key(), &read(), now_s() + 1000, 60), &[]), "not yet");
    let elsewhere = entrance.who_by_link(&request(Method::GET, &target, &[]), "/v1/objects/abc/b");
    assert!(matches!(elsewhere, Err(HttpError::Refused(Kind::LinkRefused))));
    let typed = link_by(&key(), &Use::Put { content_type: Some("a/b".into()), bytes_max: None }, now_s(), 60);
    let put = |headers: &[(&str, &str)]| told(&entrance, &request(Method::PUT, &typed, headers));
    assert_eq!((put(&[("content-type", "a/b")]), put(&[])), ("link", "header"));
    assert_eq!(
        (put(&[("content-type", "a/c")]), put(&[("content-type", "a/b"), ("content-type", "a/b")])),
        ("refused", "refused")
    );
}

#[test]
fn one_changed_byte_of_a_link_is_refused_or_means_the_same() {
    let entrance = guarded(Vec::new());
    let target = link_by(&key(), &Use::Get { file_name: Some("ñ.txt".into()) }, now_s(), 60);
    let (path, query) = target.split_once('?').expect("a query");
    let meant = |query: &str| {
        pairs(query).map(|mut pairs| {
            pairs.sort();
            pairs
        })
    };
    let mut let_in = 0;
    for at in 0..query.len() {
        for byte in b"aA0%&=;+/.Zz9" {
            let mut changed = query.as_bytes().to_vec();
            changed[at] = *byte;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            if changed == query {
                continue;
            }
            let result = told(&entrance, &request(Method::GET, &format!("{path}?{changed}"), &[]));
            if result == "link" {
                let_in += 1;
                assert_eq!(meant(&changed).ok(), meant(query).ok(), "{changed}");
            }
        }
    }
    // Escapes may be written in small letters.
    assert!(let_in < 10, "{let_in}");
}

#[test]
fn who_the_key_is_and_whether_it_is_in_force_is_not_told() {
    let held = |change: &dyn Fn(&mut AccessKey)| {
        let mut key = AccessKey::unstored(AccessKeyId::drawn(ID), vec![Secret::new(secret())], Vec::new());
        change(&mut key);
        with_keys([key], true)
    };
    let link = || request(Method::GET, &link_by(&key(), &read(), now_s(), 60), &[]);
    assert_eq!(told(&held(&|_| {}), &link()), "link");
    assert_eq!(told(&held(&|key| key.disabled = true), &link()), "refused");
    assert_eq!(told(&held(&|key| key.expires_ms = 1), &link()), "refused");
    assert_eq!(told(&with_keys([], true), &link()), "refused", "also where everybody may come in");
    let other = Credential { id: AccessKeyId::drawn([9; 20]), ..key() };
    let wrong = Credential { secret: Secret::new([b'A'; 40]), ..key() };
    for key in [other, wrong] {
        assert_eq!(told(&held(&|_| {}), &request(Method::GET, &link_by(&key, &read(), now_s(), 60), &[])), "refused");
    }
    let strange =
        link_by(&key(), &read(), now_s(), 60).replace(AccessKeyId::drawn(ID).as_str(), "AKIAIOSFODNN7EXAMPLE");
    assert_eq!(told(&held(&|_| {}), &request(Method::GET, &strange, &[])), "refused");
}

#[test]
fn a_link_does_what_its_key_may_and_no_more() {
    let link = |grants: &[&str]| {
        let entrance = guarded(grants.iter().map(|grant| grant.parse().expect("a grant")).collect());
        entrance.who_by_link(&request(Method::GET, &link_by(&key(), &read(), now_s(), 60), &[]), PATH).expect("a link")
    };
    let may = |who: &Principal, need: &Need<'_>| authorize(who, Some(need), Some(&Default::default())).is_ok();
    let at = at();
    assert!(may(&link(&["abc:read"]), &Need::on_object(Right::Read, &at)));
    assert!(!may(&link(&["abc:write"]), &Need::on_object(Right::Read, &at)));
    assert!(!may(&link(&["*:read"]), &Need::to_be_known()) && !link(&["*:read"]).reaches(&at.bucket));
}

#[test]
fn a_body_that_was_begun_in_time_may_end_later() {
    let entrance = guarded(Vec::new());
    let req = request(Method::GET, &link_by(&key(), &read(), now_s() - 59, 60), &[]);
    assert_eq!(told(&entrance, &req), "link");
    req.extensions_mut().insert(CameAt(now_s()));
    assert_eq!(told(&entrance, &req), "link");
    req.extensions_mut().insert(CameAt(now_s() + 60));
    assert_eq!(told(&entrance, &req), "expired", "it is the time when it came that counts");
}
