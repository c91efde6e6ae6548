use super::*;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A query, of which nothing is escaped but slashes and semicolons.
fn query(text: &str) -> Vec<(String, String)> {
    let plain = |text: &str| text.replace("%2F", "/").replace("%3B", ";");
    let pair = |pair: &str| pair.split_once('=').map(|(name, value)| (plain(name), plain(value)));
    text.split('&').map(|text| pair(text).expect("a pair")).collect()
}

/// The example of the Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters".
const EXAMPLE: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
    &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

#[test]
fn the_published_example_of_a_link_comes_out() {
    let link = Presigned::parse(query(EXAMPLE)).expect("a link");
    let to_sign = link.string_to_sign("GET", "/test.txt", &pairs(&[("host", "examplebucket.s3.amazonaws.com")]));
    assert_eq!(link.signature_by(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &to_sign), link.signature);
    assert_eq!((link.id.as_str(), link.expires_s), ("AKIAIOSFODNN7EXAMPLE", 86_400));
}

/// What is in the query, the headers, the signature.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// Of the test suite of Signature Version 4 (awslabs/aws-c-auth, tests/aws-signing-test-suite/v4): what is in the query,
/// which headers are signed, and the signature in `query-signed-request.txt`.
const SUITE: [Case; 3] = [
    // get-vanilla-query-order-key-case
    ("Param2=value2&Param1=value1&", &[], "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"),
    // get-vanilla-query-unreserved
    (
        "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=\
         -._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz&",
        &[],
        "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf",
    ),
    // get-header-value-trim
    (
        "",
        &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
        "e7bb0fd515e125e1aec2ecc4c0c17484fb06f6846b927c35e46005dd3df3acd4",
    ),
];

#[test]
fn the_published_suite_comes_out() {
    for (more, headers, expected) in SUITE {
        let mut signed = pairs(&[("host", "example.amazonaws.com")]);
        signed.extend(pairs(headers));
        let names = names(&signed).replace(';', "%3B");
        let link = Presigned::parse_any(
            query(&format!(
                "{more}X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request\
             &X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders={names}&X-Amz-Expires=3600&X-Amz-Signature={expected}"
            )),
            false,
        )
        .expect("a link");
        let to_sign = link.to_sign("GET", "/", &signed, EMPTY);
        assert_eq!(hex(&link.signature_by(b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", &to_sign)), expected);
    }
}

fn key() -> Credential {
    Credential::of(&"A".repeat(20), &"B".repeat(40)).expect("a key")
}

const NOW: u64 = 1_700_000_000;

fn made(link: &Link<'_>) -> Presigned {
    Presigned::parse(query(&link.query_by(&key()))).expect("what is made is well formed")
}

fn plain() -> Link<'static> {
    Link {
        method: "PUT",
        path: "/v1/objects/abc/k",
        host: "h:5000",
        at_s: NOW,
        expires_s: 60,
        headers: &[],
        query: &[],
    }
}

fn fits(link: &Presigned, method: &str, path: &str, headers: &[(&str, &str)]) -> bool {
    let to_sign = link.string_to_sign(method, path, &pairs(headers));
    link.signature_by(key().secret.expose(), &to_sign) == link.signature
}

#[test]
fn a_link_is_for_its_method_path_host_headers_and_parameters_alone() {
    let link = made(&plain());
    let host = [("host", "h:5000")];
    assert!(fits(&link, "PUT", "/v1/objects/abc/k", &host));
    assert!(!fits(&link, "GET", "/v1/objects/abc/k", &host) && !fits(&link, "PUT", "/v1/objects/abc/K", &host));
    assert!(!fits(&link, "PUT", "/v1/objects/abc/k", &[("host", "h:5001")]));
    let (headers, query) = (pairs(&[("content-type", "a/b")]), pairs(&[("X-Boveda-Max-Length", "9")]));
    let link = made(&Link { headers: &headers, query: &query, ..plain() });
    assert_eq!(link.headers, ["content-type", "host"]);
    let both = [("content-type", "a/b"), host[0]];
    assert!(fits(&link, "PUT", "/v1/objects/abc/k", &both));
    assert!(!fits(&link, "PUT", "/v1/objects/abc/k", &[("content-type", "a/c"), host[0]]));
    let longer =
        Presigned { query: link.query.iter().map(|(n, v)| (n.clone(), v.replace('9', "99"))).collect(), ..link };
    assert!(!fits(&longer, "PUT", "/v1/objects/abc/k", &both), "another parameter");
}

#[test]
fn a_link_counts_from_a_little_before_it_was_made_until_it_expires() {
    let link = made(&plain());
    for (now, told) in [
        (NOW - AHEAD_SECONDS_MAX - 1, Err(PresignError::NotYet)),
        (NOW - AHEAD_SECONDS_MAX, Ok(())),
        (NOW, Ok(())),
        (NOW + 59, Ok(())),
        (NOW + 60, Err(PresignError::Expired)),
        (u64::MAX, Err(PresignError::Expired)),
        (0, Err(PresignError::NotYet)),
    ] {
        assert_eq!(link.check_time(now), told, "{now}");
    }
}

#[test]
fn what_is_no_link_is_told_by_what_is_wrong() {
    use PresignError::{Algorithm, Credential, Date, Expires, Headers, Missing, Signature, Token, Twice, Unknown};
    let good = plain().query_by(&key());
    for (from, to, why) in [
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&", "", Missing),
        ("X-Amz-Algorithm", "X-Amz-algorithm", Unknown),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", Algorithm),
        ("aws4_request", "aws4", Credential),
        ("%2Fs3%2F", "%2Fsts%2F", Credential),
        ("X-Amz-Date=2", "X-Amz-Date=1", Date),
        ("%2F20231114%2F", "%2F20231115%2F", Date),
        ("X-Amz-Expires=60", "X-Amz-Expires=0", Expires),
        ("X-Amz-Expires=60", "X-Amz-Expires=604801", Expires),
        ("X-Amz-Expires=60", "X-Amz-Expires=%2B60", Expires),
        ("X-Amz-Expires=60", "X-Amz-Expires=", Expires),
        ("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=60", Twice),
        ("X-Amz-Expires=60", "X-Amz-Expires=60&x=1&x=2", Twice),
        ("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Security-Token=t", Token),
        ("SignedHeaders=host", "SignedHeaders=", Headers),
        ("SignedHeaders=host", "SignedHeaders=date", Headers),
        ("SignedHeaders=host", "SignedHeaders=host%3Bdate", Headers),
        ("SignedHeaders=host", "SignedHeaders=Host", Headers),
        ("SignedHeaders=host", "SignedHeaders=host%3Bhost", Headers),
        ("X-Amz-Signature=", "X-Amz-Signature=0", Signature),
        ("X-Amz-Signature=", "X-Amz-Signature=A", Signature),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good, "{from}");
        assert_eq!(Presigned::parse(query(&changed)), Err(why), "{to}");
    }
    let upper = good.replace("X-Amz-Signature=", "");
    let signature = good.split('=').next_back().expect("it is last").to_uppercase();
    let upper = upper.replace(&signature.to_lowercase(), &format!("X-Amz-Signature={signature}"));
    assert!(!signature.bytes().any(|b| b.is_ascii_uppercase()) || Presigned::parse(query(&upper)) == Err(Signature));
    assert_eq!(Presigned::parse(Vec::new()), Err(Missing));
    let many = (0..PARAMETERS_MAX + 1).map(|n| (n.to_string(), String::new())).collect();
    assert_eq!(Presigned::parse(many), Err(PresignError::Many));
}

#[test]
fn headers_in_the_query_are_all_but_the_signature() {
    let more = pairs(&[
        ("x-amz-acl", "private"),
        ("X-Amz-Meta-A", ""),
        ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
        ("x-id", "PutObject"),
        ("xx-amz-acl", "x"),
    ]);
    let text = Link { query: &more, ..plain() }.query_by(&key());
    let link = Presigned::parse_with_headers(query(&text)).expect("a link");
    assert_eq!(link.headers_in_query().collect::<Vec<_>>(), [("X-Amz-Meta-A", ""), ("x-amz-acl", "private")]);
    for own in PARAMETERS.into_iter().chain([P_TOKEN, P_PAYLOAD]) {
        assert!(!is_header(own) && !is_header(&own.to_ascii_lowercase()), "{own}");
    }
}
