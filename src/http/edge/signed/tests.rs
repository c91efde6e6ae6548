use super::super::access::testing::{ID, guarded, secret, with_keys};
use super::super::access::{Need, Right, authorize};
use super::*;
use crate::actors::access::Known;
use crate::actors::messages::AccessKeys;
use crate::base::{BucketName, Secret};
use crate::http::edge::access::now_ms;
use crate::sign::sigv4::{Scope, Second, hex, signed, signing_key};
use actix_web::http::Method;
use actix_web::test::TestRequest;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request that somebody signs.
#[derive(Clone)]
struct Asked {
    method: Method,
    /// As it is sent; with a query or without.
    target: String,
    /// As it is signed.
    path: String,
    headers: Vec<(String, String)>,
    at_s: u64,
    id: AccessKeyId,
    secret: [u8; 40],
    region: String,
}

impl Asked {
    fn get(target: &str) -> Self {
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let headers = [("host", "node:5001"), ("x-amz-content-sha256", EMPTY)];
        Asked {
            method: Method::GET,
            target: target.to_owned(),
            path,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            at_s: now_ms() / 1000,
            id: AccessKeyId::drawn(ID),
            secret: secret(),
            region: "r".to_owned(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The request, and what of it is signed: with all headers that are there.
    fn signed(mut self) -> TestRequest {
        let at = Second(self.at_s);
        if !self.headers.iter().any(|(name, _)| name == "date") {
            self = self.with("x-amz-date", &at.to_string());
        }
        self.headers.sort();
        let scope = Scope { date: at.date(), region: self.region.clone(), service: "s3".to_owned() };
        let query = pairs(self.target.split_once('?').map_or("", |(_, query)| query)).expect("a query");
        let payload = self.headers.iter().find(|(name, _)| name == "x-amz-content-sha256").map_or("", |(_, of)| of);
        let (method, path, headers) = (self.method.as_str(), self.path.as_str(), &self.headers);
        let names = crate::sign::canonical::names(headers);
        let request = crate::sign::canonical::canonical(&Request { method, path, query: &query, headers, payload });
        let to_sign = crate::sign::sigv4::string_to_sign(at, &scope, &request);
        let signature = hex(&signed(&signing_key(&self.secret, &scope), &to_sign));
        let text =
            format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.id);
        let request = TestRequest::with_uri(&self.target).method(self.method.clone());
        let request = self
            .headers
            .iter()
            .fold(request, |request, (name, value)| request.append_header((name.as_str(), value.as_str())));
        request.append_header(("authorization", text))
    }
}

fn told(entrance: &Entrance, req: &HttpRequest) -> String {
    match entrance.who_by_signature(req, "") {
        Ok(Principal::Key(_)) => "key".to_owned(),
        Ok(Principal::Anyone) => "anyone".to_owned(),
        Ok(_) => "else".to_owned(),
        Err(error) => format!("{:?}", error.problem().kind),
    }
}

fn entrance() -> Entrance {
    guarded(vec!["abc:read".parse().expect("a grant")])
}

#[test]
fn a_signature_lets_in_for_what_it_was_made() {
    let tell = |asked: Asked| told(&entrance(), &asked.signed().to_http_request());
    let get = || Asked::get("/abc/a?list-type=2&prefix=a%20b");
    assert_eq!(tell(get()), "key");
    assert_eq!(tell(Asked { method: Method::PUT, ..get() }), "key");
    assert_eq!(tell(get().with("x-amz-content-sha256", "UNSIGNED-PAYLOAD")), "key");
    assert_eq!(tell(get().with("x-amz-content-sha256", "x")), "BodyHash");
    assert_eq!(tell(get().with("x-amz-content-sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")), "NotImplemented");
    assert_eq!(tell(get().with("x-amz-security-token", "x")), "SessionToken");
    let now = now_ms() / 1000;
    let of_day = |at_s: u64| Asked { at_s, ..get() };
    assert_eq!(tell(of_day(now + 1000)), "ClockSkew");
    assert_eq!(tell(of_day(now - 1000)), "ClockSkew");
    assert_eq!(tell(of_day(now - 800)), "key");
    let date = httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(now));
    assert_eq!(tell(Asked { at_s: now, ..get() }.with("date", &date)), "key");
    let missing = Asked { headers: vec![("host".into(), "h".into())], ..get() };
    assert_eq!(tell(missing), "BodyHash");
    // What comes beside what was signed.
    let more = |name: &str, value: &str| {
        let req = get().signed().append_header((name, value)).to_http_request();
        told(&entrance(), &req)
    };
    assert_eq!(more("range", "bytes=0-1"), "key", "a header that is free");
    assert_eq!(more("host", "other"), "SignatureRefused");
    assert_eq!(more("x-amz-acl", "private"), "UnsignedHeader");
    assert_eq!(more("x-boveda-meta-a", "b"), "UnsignedHeader");
    assert_eq!(more("authorization", "Bearer x"), "SignatureForm");
    assert_eq!(more("x-amz-date", "20130524T000000Z"), "Header");
    assert_eq!(more("x-amz-content-sha256", EMPTY), "Header");
}

#[test]
fn a_path_is_signed_escaped_or_as_it_came() {
    let tell = |sent: &str, path: &str| {
        let asked = Asked { path: path.to_owned(), ..Asked::get(sent) };
        told(&entrance(), &asked.signed().to_http_request())
    };
    assert_eq!(tell("/abc/a%20b", "/abc/a%20b"), "key");
    assert_eq!(tell("/abc/a+b", "/abc/a%2Bb"), "key", "escaped, as S3 has it");
    assert_eq!(tell("/abc/a+b", "/abc/a+b"), "key", "as it came");
    assert_eq!(tell("/abc/(a)=%c3%b1", "/abc/%28a%29%3D%C3%B1"), "key");
    assert_eq!(tell("/abc/a%2Fb", "/abc/a/b"), "key");
    assert_eq!(tell("/abc/a%2Fb", "/abc/a%252Fb"), "SignatureRefused", "never twice");
    assert_eq!(tell("/abc/a", "/abc/b"), "SignatureRefused");
    assert_eq!(tell("/abc/a%ff", "/abc/a%ff"), "Escape");
}

#[test]
fn which_key_it_is_counts_and_whether_it_is_in_force() {
    let by = |secrets: Vec<Secret<[u8; 40]>>| AccessKey::unstored(AccessKeyId::drawn(ID), secrets, Vec::new());
    let held = |change: &dyn Fn(&mut AccessKey)| {
        let mut key = by(vec![Secret::new(secret())]);
        change(&mut key);
        with_keys([key], true)
    };
    let good = Asked::get("/abc/a");
    let tell = |entrance: &Entrance, asked: &Asked| told(entrance, &asked.clone().signed().to_http_request());
    assert_eq!(tell(&held(&|_| {}), &good), "key");
    let rotating = with_keys([by(vec![Secret::new([b'D'; 40]), Secret::new(secret())])], true);
    assert_eq!(tell(&rotating, &good), "key", "the older of two");
    assert_eq!(tell(&held(&|key| key.disabled = true), &good), "SignerUnknown");
    assert_eq!(tell(&held(&|key| key.expires_ms = 1), &good), "SignerUnknown");
    assert_eq!(tell(&with_keys([], true), &good), "anyone", "the port is open");
    assert_eq!(tell(&with_keys([], false), &good), "SignerUnknown");
    let other = Asked { id: AccessKeyId::drawn([9; 20]), ..good.clone() };
    assert_eq!(tell(&held(&|_| {}), &other), "SignerUnknown");
    for secret in [[b'A'; 40], [0; 40]] {
        assert_eq!(tell(&held(&|_| {}), &Asked { secret, ..good.clone() }), "SignatureRefused");
    }
    let region = |region: &str| entrance().who_by_signature(&good.clone().signed().to_http_request(), region).is_ok();
    assert!(region("r") && region("") && !region("q"));
    let who = entrance().who_by_signature(&good.signed().to_http_request(), "").expect("a key");
    let bucket = BucketName::parse("abc").expect("a name");
    let may = |right| authorize(&who, Some(&Need::on_bucket(right, &bucket)), Some(&Default::default())).is_ok();
    assert!(may(Right::Read) && !may(Right::Write));
}

#[test]
fn a_secret_that_is_rotated_away_or_revoked_has_signed_nothing_from_then_on() {
    let entrance = with_keys([], false);
    let told_by = |secrets: &[[u8; 40]]| {
        let secrets: Vec<_> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        let is_there = !secrets.is_empty();
        let key = AccessKey::unstored(AccessKeyId::drawn(ID), secrets, Vec::new());
        let keys = Arc::new(AccessKeys::of(is_there.then_some(key)));
        entrance.access().found(Known { keys, ..(*entrance.access().known()).clone() });
        // More than once: by the second time what signs has been derived.
        [(); 3].map(|()| told(&entrance, &Asked::get("/abc/a").signed().to_http_request()))
    };
    assert_eq!(told_by(&[secret()]), ["key"; 3]);
    assert_eq!(told_by(&[[b'D'; 40], secret()]), ["key"; 3], "it is the older of two");
    assert_eq!(told_by(&[[b'D'; 40]]), ["SignatureRefused"; 3]);
    assert_eq!(told_by(&[secret()]), ["key"; 3]);
    assert_eq!(told_by(&[]), ["SignerUnknown"; 3]);
}

#[test]
fn who_reads_the_body_finds_what_the_signature_says_of_it() {
    let kept = |entrance: &Entrance, payload: &str| {
        let req = Asked::get("/abc/a").with("x-amz-content-sha256", payload).signed().to_http_request();
        entrance.who_by_signature(&req, "").expect("somebody");
        entrance.who_by_signature(&req, "").expect("it may be asked again");
        req.extensions().get::<Rc<SignedBody>>().cloned().expect("it is kept")
    };
    let body = kept(&entrance(), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let seed = body.seed.as_ref().expect("a seed");
    assert_eq!(seed.key.expose(), signing_key(&secret(), &seed.scope).expose());
    assert!(matches!(body.announced, Announced::Chunks(coding) if coding.is_signed));
    assert!(kept(&with_keys([], true), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD").seed.is_none(), "nobody was asked");
    assert_eq!(kept(&entrance(), &"0f".repeat(32)).announced, Announced::Digest([15; 32]));
}

#[test]
fn a_body_that_took_long_is_judged_by_when_it_came() {
    let asked = Asked { at_s: now_ms() / 1000 - 800, ..Asked::get("/abc/a") };
    let req = asked.signed().to_http_request();
    assert_eq!(told(&entrance(), &req), "key");
    super::super::link::came_at_for_tests(&req, now_ms() / 1000 + 200);
    assert_eq!(told(&entrance(), &req), "ClockSkew");
}

#[test]
fn an_id_is_read_of_whatever_claims_to_be_signed() {
    let req = Asked::get("/").signed().to_http_request();
    assert!(is_one(req.headers()));
    assert_eq!(claimed(req.headers()), Some(AccessKeyId::drawn(ID)));
    let other = TestRequest::get().append_header(("authorization", "Bearer x")).to_http_request();
    assert!(!is_one(other.headers()) && claimed(other.headers()).is_none());
}

/// Requests of random names, values and headers as botocore signs them, at one second and with one key. Made with
/// `botocore.auth.S3SigV4Auth` over `AWSRequest`s; each header as it was sent.
const BOTOCORE: &str = include_str!("botocore.json");
const BOTOCORE_AT: u64 = 1_779_621_753;

#[test]
fn what_botocore_signs_is_let_in_and_not_what_is_changed() {
    #[derive(serde::Deserialize)]
    struct Sent {
        method: String,
        target: String,
        headers: Vec<(String, String)>,
    }
    let all: Vec<Sent> = serde_json::from_str(BOTOCORE).expect("a list of requests");
    assert_eq!(all.len(), 60);
    let id = AccessKeyId::parse(b"ABCDEFGHIJKLMNOPQRST").expect("an id");
    let secret = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGH";
    let entrance = with_keys([AccessKey::unstored(id, vec![Secret::new(secret)], Vec::new())], true);
    let tell = |sent: &Sent, target: &str| {
        let method = sent.method.parse().expect("a method");
        let request = TestRequest::with_uri(target).method(method);
        let headers = sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let req = headers.fold(request, |request, header| request.append_header(header)).to_http_request();
        super::super::link::came_at_for_tests(&req, BOTOCORE_AT);
        told(&entrance, &req)
    };
    for sent in &all {
        assert_eq!(tell(sent, &sent.target), "key", "{} {}", sent.method, sent.target);
        let more = if sent.target.contains('?') { "&z=1" } else { "?z=1" };
        assert_eq!(tell(sent, &format!("{}{more}", sent.target)), "SignatureRefused", "{}", sent.target);
        let other = sent.target.replacen("bucket-1", "bucket-2", 1);
        assert_eq!(tell(sent, &other), "SignatureRefused", "{}", sent.target);
    }
}
