//! Links on the S3 port: signed in the query, with headers there that clients have moved.

mod common;

use common::s3::{S3, started, text, told};

const BODY: &[u8] = b"123456789";
const CRC32: &str = "y/Q5Jg==";
const WEEK_S: u64 = 7 * 24 * 3600;

#[test]
fn parameters_of_a_link_are_the_headers_of_their_names() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let said = [
        ("x-amz-meta-who", "a b"),
        ("X-Amz-Acl", "private"),
        ("x-amz-checksum-crc32", CRC32),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("x-amz-user-agent", "x"),
        ("x-id", "PutObject"),
    ];
    let put = s3.by_link("PUT", &s3.link("PUT", "/abc/k", &said), &[("content-type", "text/plain")], BODY);
    assert_eq!(put.status, 200, "{}", put.text());
    let got = s3.by_link("GET", &s3.link("GET", "/abc/k", &[("x-amz-checksum-mode", "ENABLED")]), &[], b"");
    assert_eq!((got.status, &got.body[..], got.header("x-amz-checksum-crc32")), (200, BODY, Some(CRC32)));
    assert_eq!((got.header("x-amz-meta-who"), got.header("content-type")), (Some("a b"), Some("text/plain")));
    assert_eq!(s3.by_link("GET", &s3.link("GET", "/abc/k", &[]), &[], b"").header("x-amz-checksum-crc32"), None);
    // They count as those do: a checksum is held against the body, and a source makes it a copy.
    let other = s3.by_link("PUT", &s3.link("PUT", "/abc/other", &said), &[], b"987654321");
    assert_eq!(told(&other), (400, "BadDigest".to_owned()));
    let copy = s3.link("PUT", "/abc/copy", &[("x-amz-copy-source", "abc/k"), ("x-amz-copy-source-if-match", "\"x\"")]);
    assert_eq!(told(&s3.by_link("PUT", &copy, &[], b"")), (412, "PreconditionFailed".to_owned()));
    let copy = s3.link("PUT", "/abc/copy", &[("x-amz-copy-source", "abc/k")]);
    assert_eq!(s3.by_link("PUT", &copy, &[], b"").status, 200);
    assert_eq!(s3.ask("GET", "/abc/copy", &[], b"").body, BODY);
    for (name, value, code) in [
        ("x-amz-nothing", "1", "NotImplemented"),
        ("x-amz-acl", "public-read", "NotImplemented"),
        ("x-amz-tagging", "a=b", "NotImplemented"),
        ("x-amz-storage-class", "GLACIER", "InvalidStorageClass"),
        ("X-Amz-Security-Token", "t", "InvalidToken"),
    ] {
        let put = s3.by_link("PUT", &s3.link("PUT", "/abc/no", &[(name, value)]), &[], BODY);
        assert_eq!(told(&put).1, code, "{name}: {value}");
    }
    assert_eq!(s3.ask("HEAD", "/abc/no", &[], b"").status, 404);
    let in_the_head = s3.ask("PUT", "/abc/no?x-amz-acl=private", &[], BODY);
    assert_eq!(told(&in_the_head), (501, "NotImplemented".to_owned()), "that is no link");
}

#[test]
fn nothing_comes_in_by_a_link_that_was_not_signed() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[], BODY);
    let denied = || (403, "AccessDenied".to_owned());
    let refused = || (403, "SignatureDoesNotMatch".to_owned());
    let link = s3.link("PUT", "/abc/k", &[("x-amz-meta-a", "1")]);
    let unsigned = s3.by_link("PUT", &link, &[("x-amz-meta-b", "2")], b"other");
    assert_eq!(told(&unsigned), denied());
    let said = text(unsigned.text(), "Message");
    assert_eq!(said, Some("There were headers present in the request which were not signed"));
    for changed in [
        link.replace("x-amz-meta-a=1", "x-amz-meta-a=2"),
        link.replace("x-amz-meta-a=1&", "x-amz-meta-b=1&"),
        link.replace("&x-amz-meta-a=1", ""),
        format!("{link}&x-amz-meta-b=2"),
        link.replace("/abc/k", "/abc/l"),
    ] {
        assert_ne!(changed, link);
        assert_eq!(told(&s3.by_link("PUT", &changed, &[], b"other")), refused(), "{changed}");
    }
    let read = s3.link("GET", "/abc/k", &[]);
    assert_eq!(told(&s3.by_link("DELETE", &read, &[], b"")), refused());
    assert_eq!(told(&s3.by_link("PUT", &link, &[("x-amz-meta-a", "2")], b"other")).0, 400);
    let (rest, last) = link.split_at(link.len() - 1);
    let other = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    assert_eq!(told(&s3.by_link("PUT", &other, &[], b"other")), refused(), "every digit of a signature counts");
    assert_eq!(s3.ask("GET", "/abc/k", &[], b"").body, BODY);
}

#[test]
fn a_link_counts_for_a_week_at_most() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[], BODY);
    assert_eq!(s3.by_link("GET", &s3.link_for(WEEK_S, "GET", "/abc/k", &[]), &[], b"").body, BODY);
    let longer = s3.by_link("GET", &s3.link_for(WEEK_S + 1, "GET", "/abc/k", &[]), &[], b"");
    assert_eq!(told(&longer), (400, "AuthorizationQueryParametersError".to_owned()));
}
