//! Objects on the S3 port: in, out and away, under conditions, with checksums, and what is said of them.

mod common;

use common::Node;
use common::s3::{S3, path, started, text, told};

/// The digits of the check values that descriptions of checksums give.
const BODY: &[u8] = b"123456789";
const MD5: &str = "25f9e794323b453885f5181f1b624d0b";
/// Each with the base64 of its check value (the catalogue of parametrised CRC algorithms; FIPS 180-4 for the SHAs).
const CHECKSUMS: [(&str, &str); 5] = [
    ("x-amz-checksum-crc32", "y/Q5Jg=="),
    ("x-amz-checksum-crc32c", "4waSgw=="),
    ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
    ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
    ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
];
/// Another one of the same length as the first.
const WRONG_CRC32: &str = "AAAAAA==";

#[test]
fn objects_go_in_come_out_and_away() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    assert_eq!(s3.ask("PUT", "/abc", &[], b"").status, 200);
    for name in ["k", "a/b/../c", "ñandú + %2F", "with spaces/", "x?y&z=1", "~tilde-._"] {
        let at = path("abc", name);
        let put = s3.ask("PUT", &at, &[("content-type", "text/plain")], BODY);
        assert_eq!(put.status, 200, "{name}: {}", put.text());
        assert_eq!(put.header("etag"), Some(&*format!("\"{MD5}\"")), "{name}");
        assert_eq!(put.header("x-amz-server-side-encryption"), Some("AES256"));
        assert_eq!(put.header("x-boveda-replicas"), Some("1/1"));
        assert_eq!(put.header("x-amz-request-id"), put.header("x-request-id"));
        for method in ["GET", "HEAD"] {
            let got = s3.ask(method, &at, &[], b"");
            assert_eq!((got.status, got.header("content-length")), (200, Some("9")), "{method} {name}");
            assert_eq!(got.header("etag"), put.header("etag"));
            assert_eq!(got.header("content-type"), Some("text/plain"));
            assert_eq!(got.header("x-amz-server-side-encryption"), Some("AES256"));
            assert!(got.header("last-modified").is_some());
            assert_eq!(got.body, if method == "GET" { BODY } else { b"" });
        }
        for _ in 0..2 {
            let gone = s3.ask("DELETE", &at, &[], b"");
            assert_eq!((gone.status, &gone.body[..]), (204, &b""[..]), "{name}: also of nothing");
        }
        assert_eq!(told(&s3.ask("GET", &at, &[], b"")), (404, "NoSuchKey".to_owned()));
        assert_eq!(s3.ask("HEAD", &at, &[], b"").status, 404);
    }
    assert_eq!(told(&s3.ask("GET", "/abcd/k", &[], b"")), (404, "NoSuchBucket".to_owned()));
    assert_eq!(told(&s3.ask("PUT", "/abcd/k", &[], b"")), (404, "NoSuchBucket".to_owned()));
    let long = format!("/abc/{}", "k".repeat(1025));
    assert_eq!(told(&s3.ask("PUT", &long, &[], b"")), (400, "KeyTooLongError".to_owned()));
}

#[test]
fn bodies_of_every_size_come_back_as_they_went() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    for len in [0, 1, 16 << 10, (16 << 10) + 1, 100_000, (512 << 10) + 1, 5 << 20] {
        let body: Vec<u8> = (0..len).map(|i: u32| (i % 251).to_le_bytes()[0]).collect();
        assert_eq!(s3.ask("PUT", "/abc/k", &[], &body).status, 200, "{len}");
        let got = s3.ask("GET", "/abc/k", &[], b"");
        assert!(got.body == body, "{len}: other bytes");
        let etag = got.header("etag").expect("a tag").trim_matches('"');
        assert!(etag.len() == 32 && etag.bytes().all(|b| b.is_ascii_hexdigit()), "{etag}");
    }
}

#[test]
fn writes_exclude_each_other() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let failed = || (412, "PreconditionFailed".to_owned());
    let missing = || (404, "NoSuchKey".to_owned());
    let tag = format!("\"{MD5}\"");
    assert_eq!(told(&s3.ask("PUT", "/abc/k", &[("if-match", &tag)], BODY)), missing());
    assert_eq!(told(&s3.ask("DELETE", "/abc/k", &[("if-match", "*")], b"")), missing());
    assert_eq!(s3.ask("PUT", "/abc/k", &[("if-none-match", "*")], BODY).status, 200);
    for (header, named) in [(("if-none-match", "*"), "If-None-Match"), (("if-match", "\"other\""), "If-Match")] {
        let refused = s3.ask("PUT", "/abc/k", &[header], b"other");
        assert_eq!((told(&refused), text(refused.text(), "Condition")), (failed(), Some(named)));
    }
    assert_eq!(told(&s3.ask("DELETE", "/abc/k", &[("if-match", "\"other\"")], b"")), failed());
    assert_eq!(s3.ask("GET", "/abc/k", &[], b"").body, BODY);
    assert_eq!(s3.ask("PUT", "/abc/k", &[("if-match", &tag)], b"other").status, 200);
    assert_eq!(s3.ask("DELETE", "/abc/k", &[("if-match", "*")], b"").status, 204);
    // Of many who create it, one does.
    let created = std::thread::scope(|scope| {
        let put = || s3.ask("PUT", "/abc/lock", &[("if-none-match", "*")], b"mine").status;
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(put)).collect();
        racers.into_iter().map(|racer| racer.join().expect("it ends")).collect::<Vec<_>>()
    });
    assert_eq!(created.iter().filter(|status| **status == 200).count(), 1, "{created:?}");
    assert!(created.iter().all(|status| [200, 409, 412].contains(status)), "{created:?}");
}

#[test]
fn reads_have_ranges_and_conditions() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[], BODY);
    let tag = format!("\"{MD5}\"");
    for (query, headers, status, body) in [
        ("", &[("range", "bytes=2-4")][..], 206, &b"345"[..]),
        ("", &[("range", "bytes=-2")], 206, b"89"),
        ("", &[("if-match", &tag)], 200, BODY),
        ("", &[("if-none-match", &tag)], 304, b""),
        ("", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], 200, BODY),
        ("?partNumber=1", &[], 206, BODY),
        ("?x-id=GetObject", &[], 200, BODY),
    ] {
        let got = s3.ask("GET", &format!("/abc/k{query}"), headers, b"");
        assert_eq!((got.status, &got.body[..]), (status, body), "{query} {headers:?}");
    }
    for (query, headers, refused) in [
        ("", &[("range", "bytes=9-")][..], (416, "InvalidRange")),
        ("", &[("if-match", "\"other\"")], (412, "PreconditionFailed")),
        ("", &[("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], (412, "PreconditionFailed")),
        ("?partNumber=2", &[], (416, "InvalidPartNumber")),
        ("?partNumber=10000", &[], (416, "InvalidPartNumber")),
        ("?partNumber=0", &[], (400, "InvalidArgument")),
        ("?partNumber=10001", &[], (400, "InvalidArgument")),
        ("?partNumber=%2B1", &[], (400, "InvalidArgument")),
        ("?partNumber=1", &[("range", "bytes=0-1")], (400, "InvalidRequest")),
    ] {
        let target = format!("/abc/k{query}");
        assert_eq!(
            told(&s3.ask("GET", &target, headers, b"")),
            (refused.0, refused.1.to_owned()),
            "{query} {headers:?}"
        );
        assert_eq!(s3.ask("HEAD", &target, headers, b"").status, refused.0, "{query} {headers:?}");
    }
}

#[test]
fn parts_and_ranges_are_told_with_a_head_too() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[CHECKSUMS[0]], BODY);
    s3.ask("PUT", "/abc/empty", &[], b"");
    let ranged = ("range", "bytes=2-4");
    let summed = ("x-amz-checksum-mode", "ENABLED");
    for (target, headers, status, range, len, sum) in [
        ("/abc/k", &[ranged][..], 206, Some("bytes 2-4/9"), "3", None),
        ("/abc/k", &[("range", "bytes=0-")], 206, Some("bytes 0-8/9"), "9", None),
        ("/abc/k", &[ranged, summed], 206, Some("bytes 2-4/9"), "3", None),
        ("/abc/k", &[ranged, ("if-range", "\"other\"")], 200, None, "9", None),
        ("/abc/k?partNumber=1", &[summed], 206, Some("bytes 0-8/9"), "9", Some(CHECKSUMS[0].1)),
        ("/abc/empty?partNumber=1", &[], 200, None, "0", None),
        ("/abc/empty", &[("range", "bytes=1-0")], 200, None, "0", None),
    ] {
        for method in ["GET", "HEAD"] {
            let got = s3.ask(method, target, headers, b"");
            assert_eq!(
                (got.status, got.header("content-range"), got.header("content-length"), got.header(CHECKSUMS[0].0)),
                (status, range, Some(len), sum),
                "{method} {target} {headers:?}"
            );
        }
    }
    for (target, range, of) in [
        ("/abc/k", "bytes=9-", "bytes */9"),
        ("/abc/k", "bytes=-0", "bytes */9"),
        ("/abc/empty", "bytes=0-", "bytes */0"),
        ("/abc/empty", "bytes=-1", "bytes */0"),
    ] {
        for method in ["GET", "HEAD"] {
            let outside = s3.ask(method, target, &[("range", range)], b"");
            assert_eq!((outside.status, outside.header("content-range")), (416, Some(of)), "{method} {target} {range}");
        }
    }
}

#[test]
fn what_is_named_of_an_object_has_a_limit() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let long = "v".repeat(900);
    let names: Vec<String> = (0..10).map(|n| format!("x-amz-meta-{n}")).collect();
    let put = |many: usize| {
        let headers: Vec<(&str, &str)> = names[..many].iter().map(|name| (name.as_str(), &*long)).collect();
        told(&s3.ask("PUT", "/abc/k", &headers, BODY))
    };
    assert_eq!((put(10), put(9).0), ((400, "MetadataTooLarge".to_owned()), 200));
    let odd = s3.ask("PUT", "/abc/k", &[("x-amz-meta-a", "\u{f1}")], BODY);
    assert_eq!(told(&odd), (400, "InvalidArgument".to_owned()));
}

#[test]
fn what_does_not_fit_its_checksum_is_not_stored() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    for (name, value) in CHECKSUMS {
        let put = s3.ask("PUT", "/abc/k", &[(name, value)], BODY);
        assert_eq!((put.status, put.header(name)), (200, Some(value)), "{name}: {}", put.text());
        let asked = [("x-amz-checksum-mode", "ENABLED")];
        for method in ["GET", "HEAD"] {
            let got = s3.ask(method, "/abc/k", &asked, b"");
            assert_eq!(
                (got.header(name), got.header("x-amz-checksum-type")),
                (Some(value), Some("FULL_OBJECT")),
                "{name}"
            );
        }
        assert_eq!(s3.ask("GET", "/abc/k", &[], b"").header(name), None, "nobody asked");
        let part = s3.ask("GET", "/abc/k", &[asked[0], ("range", "bytes=0-1")], b"");
        assert_eq!((part.status, part.header(name)), (206, None), "it is of the whole");
        let other = s3.ask("PUT", "/abc/k", &[(name, value)], b"987654321");
        assert_eq!(told(&other), (400, "BadDigest".to_owned()), "{name}");
        assert_eq!(s3.ask("GET", "/abc/k", &[], b"").body, BODY, "what was there stays");
    }
    for (headers, code) in [
        (&[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")][..], "BadDigest"),
        (&[("content-md5", "x")], "InvalidDigest"),
        (&[("x-amz-checksum-crc32", WRONG_CRC32)], "BadDigest"),
        (&[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), CHECKSUMS[0]], "BadDigest"),
        (&[("content-md5", "AAAA"), CHECKSUMS[0]], "InvalidDigest"),
        (&[("x-amz-checksum-crc32", "x")], "InvalidRequest"),
        (&[CHECKSUMS[0], CHECKSUMS[3]], "InvalidRequest"),
        (&[("x-amz-checksum-md17", "AAAA")], "InvalidRequest"),
        (&[("x-amz-sdk-checksum-algorithm", "MD17")], "InvalidRequest"),
        (&[("x-amz-content-sha256", &"0".repeat(64))], "XAmzContentSHA256Mismatch"),
    ] {
        assert_eq!(told(&s3.ask("PUT", "/abc/new", headers, BODY)), (400, code.to_owned()), "{headers:?}");
        assert_eq!(s3.ask("HEAD", "/abc/new", &[], b"").status, 404, "{headers:?}");
    }
}

#[test]
fn what_is_said_of_an_object_is_told_on_both_ports() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let said = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "max-age=60"),
        ("content-disposition", "attachment; filename=\"x\""),
        ("content-language", "es"),
        ("expires", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let named = ("x-amz-meta-year", "2026");
    let put = s3.ask("PUT", "/abc/k", &[&said[..], &[named, ("content-encoding", "gzip")]].concat(), BODY);
    assert_eq!(put.status, 200, "{}", put.text());
    let of = |node: &Node| [s3.ask("HEAD", "/abc/k", &[], b""), node.ask("HEAD", "/v1/objects/abc/k", &[], b"")];
    for got in of(&node) {
        for (name, value) in said {
            assert_eq!(got.header(name), Some(value), "{name}");
        }
        assert_eq!(got.header("content-encoding"), Some("gzip"));
    }
    let [on_s3, on_v1] = of(&node);
    assert_eq!((on_s3.header("x-amz-meta-year"), on_v1.header("x-boveda-meta-year")), (Some("2026"), Some("2026")));
    assert_eq!(on_s3.header("etag"), on_v1.header("etag"));
    node.ask("PUT", "/v1/objects/abc/v1", &[("x-boveda-meta-a", "1")], BODY);
    assert_eq!(s3.ask("HEAD", "/abc/v1", &[], b"").header("x-amz-meta-a"), Some("1"));
}

#[test]
fn who_signs_has_answers_changed() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[("content-type", "text/plain")], BODY);
    let asked = "/abc/k?response-content-type=text%2Fcsv&response-content-disposition=attachment&response-cache-control=no-store";
    let got = s3.ask("GET", asked, &[], b"");
    for (name, value) in
        [("content-type", "text/csv"), ("content-disposition", "attachment"), ("cache-control", "no-store")]
    {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    assert_eq!(node.ask("PUT", "/v1/buckets/abc/public?rights=read", &[], b"").status, 200);
    let unsigned = |target: &str| {
        let mut conn = common::Conn::open(node.s3()).expect("it takes connections");
        conn.ask("GET", target, &[], b"").expect("an answer")
    };
    common::eventually("the bucket to be open", || (unsigned("/abc/k").status == 200).then_some(()));
    assert_eq!(told(&unsigned(asked)), (400, "InvalidRequest".to_owned()));
}

#[test]
fn what_is_known_of_an_object_is_told_as_far_as_it_is_asked_for() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[CHECKSUMS[4]], BODY);
    let ask = |name: &str, headers: &[(&str, &str)]| s3.ask("GET", &format!("/abc/{name}?attributes"), headers, b"");
    let got = ask("k", &[("x-amz-object-attributes", "ETag,Checksum,ObjectSize,StorageClass,ObjectParts")]);
    assert_eq!(got.status, 200, "{}", got.text());
    for (element, value) in [
        ("ETag", MD5),
        ("ChecksumSHA256", CHECKSUMS[4].1),
        ("ChecksumType", "FULL_OBJECT"),
        ("ObjectSize", "9"),
        ("StorageClass", "STANDARD"),
    ] {
        assert_eq!(text(got.text(), element), Some(value), "{element}");
    }
    assert!(!got.text().contains("ObjectParts"), "it is in one piece");
    assert_eq!(got.header("last-modified"), s3.ask("HEAD", "/abc/k", &[], b"").header("last-modified"));
    let few = ask("k", &[("x-amz-object-attributes", "ObjectSize")]);
    assert_eq!((text(few.text(), "ETag"), text(few.text(), "ObjectSize")), (None, Some("9")));
    for (name, headers, status, code) in [
        ("none", &[("x-amz-object-attributes", "ETag")][..], 404, "NoSuchKey"),
        ("k", &[], 400, "InvalidArgument"),
        ("k", &[("x-amz-object-attributes", "Owner")], 400, "InvalidArgument"),
        ("k", &[("x-amz-object-attributes", "ETag"), ("x-amz-max-parts", "x")], 400, "InvalidArgument"),
    ] {
        assert_eq!(told(&ask(name, headers)), (status, code.to_owned()), "{name} {headers:?}");
    }
    let lister = node.new_key("lister", &["abc:list"]);
    let asked = [("x-amz-object-attributes", "ETag")];
    let refused = S3::new(&node, &lister).ask("GET", "/abc/k?attributes", &asked, b"");
    assert_eq!(told(&refused), (403, "AccessDenied".to_owned()));
}
