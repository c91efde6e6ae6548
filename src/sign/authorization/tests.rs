use super::super::canonical::escaped_path;
use super::super::sigv4::{signed, signing_key};
use super::*;

const SECRET: &[u8] = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const NOW: u64 = 1_369_353_600;
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A request as it comes: method, path, query, headers without host, time and payload; its payload, its signature.
struct Example {
    method: &'static str,
    path: &'static str,
    query: &'static [(&'static str, &'static str)],
    headers: &'static [(&'static str, &'static str)],
    payload: &'static str,
    signature: &'static str,
}

/// The examples in the Amazon S3 API Reference, "Signature Calculations for the Authorization Header": of whole payloads
/// and of one in chunks.
const EXAMPLES: [Example; 6] = [
    Example {
        method: "GET",
        path: "/test.txt",
        query: &[],
        headers: &[("range", "bytes=0-9")],
        payload: EMPTY,
        signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    },
    Example {
        method: "PUT",
        path: "/test$file.text",
        query: &[],
        headers: &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
        payload: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    },
    Example {
        method: "GET",
        path: "/",
        query: &[("lifecycle", "")],
        headers: &[],
        payload: EMPTY,
        signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    },
    Example {
        method: "GET",
        path: "/",
        query: &[("prefix", "J"), ("max-keys", "2")],
        headers: &[],
        payload: EMPTY,
        signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    },
    Example {
        method: "PUT",
        path: "/examplebucket/chunkObject.txt",
        query: &[],
        headers: &[
            ("content-encoding", "aws-chunked"),
            ("content-length", "66824"),
            ("host", "s3.amazonaws.com"),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
        ],
        payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        signature: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    },
    Example {
        method: "PUT",
        path: "/examplebucket/chunkObject.txt",
        query: &[],
        headers: &[
            ("content-encoding", "aws-chunked"),
            ("host", "s3.amazonaws.com"),
            ("x-amz-decoded-content-length", "66560"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-trailer", "x-amz-checksum-crc32c"),
        ],
        payload: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        signature: "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    },
];

impl Example {
    fn headers(&self) -> Vec<(String, String)> {
        let mut all: Vec<_> = self.headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        if !self.headers.iter().any(|(name, _)| *name == "host") {
            all.push(("host".into(), "examplebucket.s3.amazonaws.com".into()));
        }
        all.push(("x-amz-content-sha256".into(), self.payload.into()));
        all.push(("x-amz-date".into(), "20130524T000000Z".into()));
        all.sort();
        all
    }

    fn authorization(&self) -> String {
        let names = self.headers().iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(";");
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders={names},Signature={}",
            self.signature
        )
    }

    fn query(&self) -> Vec<(String, String)> {
        self.query.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }
}

/// Whether that secret has signed this.
fn fits(
    authorization: &str,
    method: &str,
    path: &str,
    query: &[(String, String)],
    headers: &[(String, String)],
) -> Result<bool, AuthorizationError> {
    let read = Authorization::parse(authorization)?;
    let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let at = read.time(value("x-amz-date"), value("date"), NOW)?;
    let payload = value("x-amz-content-sha256").unwrap_or_default();
    let signed_headers =
        read.signed_headers(&headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect::<Vec<_>>())?;
    let request = Request { method, path: &escaped_path(path), query, headers: &signed_headers, payload };
    Ok(signed(&signing_key(SECRET, &read.scope), &read.string_to_sign(at, &request)) == read.signature)
}

#[test]
fn the_published_examples_come_out() {
    for example in &EXAMPLES {
        let Example { method, path, .. } = example;
        let found = fits(&example.authorization(), method, path, &example.query(), &example.headers());
        assert_eq!(found, Ok(true), "{method} {path}");
    }
}

#[test]
fn one_changed_byte_of_the_examples_is_refused() {
    for example in &EXAMPLES {
        let Example { method, path, .. } = example;
        let (whole, query, headers) = (example.authorization(), example.query(), example.headers());
        let changed = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            String::from_utf8(bytes).expect("ASCII")
        };
        let id = whole.find("AKIA").expect("an id")..whole.find("/2013").expect("a day");
        // Which key it is says the id, and is asked of who has the keys.
        for at in (0..whole.len()).filter(|at| !id.contains(at)) {
            let text = changed(&whole, at);
            assert_ne!(fits(&text, method, path, &query, &headers), Ok(true), "{text}");
        }
        for at in 0..method.len() {
            assert_ne!(fits(&whole, &changed(method, at), path, &query, &headers), Ok(true));
        }
        for at in 0..path.len() {
            assert_ne!(fits(&whole, method, &changed(path, at), &query, &headers), Ok(true));
        }
        for (place, (name, value)) in headers.iter().enumerate() {
            for at in 0..value.len() {
                let mut other = headers.clone();
                other[place] = (name.clone(), changed(value, at));
                assert_ne!(fits(&whole, method, path, &query, &other), Ok(true), "{name}: {}", other[place].1);
            }
        }
        let more = [query, vec![("x".to_owned(), String::new())]].concat();
        assert_eq!(fits(&whole, method, path, &more, &headers), Ok(false));
    }
}

#[test]
fn a_header_is_read_in_any_order_and_in_one_meaning() {
    let signature = "0f".repeat(32);
    let credential = "Credential=ID/20130524/r/s3/aws4_request";
    let read = |parts: &str| Authorization::parse(&format!("AWS4-HMAC-SHA256 {parts}"));
    let good = read(&format!("{credential}, SignedHeaders=host;x-amz-date, Signature={signature}")).expect("it is one");
    assert_eq!(
        (good.id.as_str(), good.headers.join(" ").as_str(), good.signature),
        ("ID", "host x-amz-date", [15; 32])
    );
    assert_eq!(read(&format!("Signature={signature},{credential},  SignedHeaders=host;x-amz-date ")), Ok(good));
    let (headers, signature) = ("SignedHeaders=host", format!("Signature={signature}"));
    for (parts, why) in [
        (String::new(), AuthorizationError::Parts),
        (format!("{credential}, {headers}"), AuthorizationError::Parts),
        (format!("{credential}, {headers}, {signature},"), AuthorizationError::Parts),
        (format!("{credential}, {headers}, {signature}, {headers}"), AuthorizationError::Parts),
        (format!("{credential}, {headers}, {signature}, X=y"), AuthorizationError::Parts),
        (format!("{credential} {headers} {signature}"), AuthorizationError::Parts),
        (format!("{credential}, {headers}, {signature}{}", " ".repeat(BYTES_MAX)), AuthorizationError::Parts),
        (format!("Credential=ID, {headers}, {signature}"), AuthorizationError::Credential),
        (format!("Credential=ID/20130524/r/ec2/aws4_request, {headers}, {signature}"), AuthorizationError::Credential),
        (format!("{credential}, SignedHeaders=x-amz-date, {signature}"), AuthorizationError::Headers),
        (format!("{credential}, SignedHeaders=x;host, {signature}"), AuthorizationError::Headers),
        (format!("{credential}, SignedHeaders=Host, {signature}"), AuthorizationError::Headers),
        (format!("{credential}, {headers}, Signature=0F"), AuthorizationError::Signature),
    ] {
        assert_eq!(read(&parts), Err(why), "{parts}");
    }
    for (text, why) in [
        ("AWS ID:signature", AuthorizationError::V2),
        ("AWS4-ECDSA-P256-SHA256 Credential=ID", AuthorizationError::V4a),
        ("AWS4-HMAC-SHA1 Credential=ID", AuthorizationError::Parts),
        ("Bearer x", AuthorizationError::Parts),
    ] {
        assert_eq!(Authorization::parse(text), Err(why), "{text}");
        assert_eq!(is_one(text), text.starts_with("AWS"), "{text}");
    }
    assert_eq!((claimed("AWS4-HMAC-SHA256 Credential=ID/2013"), claimed("AWS ID:x")), (Some("ID"), None));
}

#[test]
fn time_is_of_the_day_in_the_scope_and_near_the_clock() {
    let text = EXAMPLES[0].authorization();
    let read = Authorization::parse(&text).expect("it is one");
    let at = Ok(Second(NOW));
    let date = "Fri, 24 May 2013 00:00:00 GMT";
    for (amz, date, now, is) in [
        (Some("20130524T000000Z"), None, NOW, at),
        (None, Some(date), NOW, at),
        (None, Some("20130524T000000Z"), NOW, at),
        (Some("20130524T000000Z"), Some("x"), NOW, at),
        (Some("20130524T000000Z"), None, NOW + 900, at),
        (Some("20130524T000000Z"), None, NOW - 900, at),
        (Some("20130524T000000Z"), None, NOW + 901, Err(AuthorizationError::Skewed)),
        (Some("20130524T000000Z"), None, NOW - 901, Err(AuthorizationError::Skewed)),
        (Some("20130523T235959Z"), None, NOW, Err(AuthorizationError::Day)),
        (Some("x"), Some(date), NOW, Err(AuthorizationError::Time)),
        (None, Some("x"), NOW, Err(AuthorizationError::Time)),
        (None, None, NOW, Err(AuthorizationError::Time)),
    ] {
        assert_eq!(read.time(amz, date, now), is, "{amz:?} {date:?} {now}");
    }
}

#[test]
fn what_is_signed_came_and_what_changes_a_meaning_is_signed() {
    let names: Vec<String> = ["host", "x-amz-date", "x-more"].map(str::to_owned).to_vec();
    let found = |all: &[(&str, &[u8])]| signed_headers(&names, all);
    let good: Vec<(&str, &[u8])> = vec![("x-more", b" a "), ("host", b"h"), ("x-amz-date", b"d"), ("x-more", b"b")];
    let values = found(&good).expect("all are there");
    assert_eq!(values[2], ("x-more".to_owned(), "a,b".to_owned()));
    assert_eq!(found(&good[1..3]), Err(AuthorizationError::Absent));
    for name in ["x-amz-acl", "x-boveda-meta-a"] {
        let more = [good.clone(), vec![(name, &b"v"[..])]].concat();
        assert_eq!(found(&more), Err(AuthorizationError::Unsigned), "{name}");
    }
    let other = [good.clone(), vec![("range", &b"v"[..]), ("x-amzn-trace-id", b"v"), ("content-type", b"v")]].concat();
    assert!(found(&other).is_ok(), "these need not be signed");
    let latin = [good, vec![("x-more", &b"\xe9"[..])]].concat();
    assert_eq!(found(&latin), Err(AuthorizationError::Absent));
}
