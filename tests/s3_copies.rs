//! Copies on the S3 port: what is said of them, their checksums, and the conditions of both ends.

mod common;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use boveda::seal::hmac::sha256;
use boveda::sign::sigv4::Second;
use common::s3::{S3, path, started, text, told};
use std::time::{Duration, UNIX_EPOCH};

/// SHA-1 and CRC-32C of the body, in base64.
const SHA1: &str = "98O8HYCOBHMq32eZZczDTKeuNEE=";
const CRC32C: &str = "4waSgw==";
const BODY: &[u8] = b"123456789";
const TAG: &str = "\"25f9e794323b453885f5181f1b624d0b\"";

#[test]
fn copies_keep_or_replace_what_is_said() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    for bucket in ["/abc", "/def"] {
        s3.ask("PUT", bucket, &[], b"");
    }
    let name = "a b/ñ+%";
    let said = [("content-type", "text/plain"), ("x-amz-meta-a", "1"), ("cache-control", "no-store")];
    s3.ask("PUT", &path("abc", name), &said, BODY);
    for source in [path("abc", name), path("abc", name).trim_start_matches('/').to_owned()] {
        let copied = s3.ask("PUT", "/def/copy", &[("x-amz-copy-source", &source)], b"");
        assert_eq!(copied.status, 200, "{source}: {}", copied.text());
        assert!(text(copied.text(), "ETag").is_some_and(|tag| tag.contains("25f9e794323b453885f5181f1b624d0b")));
        assert!(text(copied.text(), "LastModified").is_some());
        let got = s3.ask("GET", "/def/copy", &[], b"");
        assert_eq!((&got.body[..], got.header("etag")), (BODY, Some(TAG)));
        for (name, value) in said {
            assert_eq!(got.header(name), Some(value));
        }
    }
    let source = ("x-amz-copy-source", "/def/copy");
    let anew = [source, ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")];
    assert_eq!(s3.ask("PUT", "/def/anew", &anew, b"").status, 200);
    let got = s3.ask("HEAD", "/def/anew", &[], b"");
    assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-b")), (None, Some("2")));
    assert_eq!(got.header("content-type"), Some("application/octet-stream"));
    // Onto itself: with another head alone.
    assert_eq!(told(&s3.ask("PUT", "/def/copy", &[source], b"")), (400, "InvalidRequest".to_owned()));
    assert_eq!(s3.ask("PUT", "/def/copy", &anew, b"").status, 200);
    let got = s3.ask("GET", "/def/copy", &[], b"");
    assert_eq!((&got.body[..], got.header("x-amz-meta-b")), (BODY, Some("2")));
    for (source, status, code) in [
        ("/abc/none", 404, "NoSuchKey"),
        ("/none/k", 404, "NoSuchBucket"),
        ("abc", 400, "InvalidArgument"),
        ("/abc/", 400, "InvalidArgument"),
        ("/A/k", 400, "InvalidBucketName"),
        ("/abc/k?versionId=1", 501, "NotImplemented"),
    ] {
        let answer = s3.ask("PUT", "/def/new", &[("x-amz-copy-source", source)], b"");
        let got = told(&answer);
        assert_eq!(got, (status, code.to_owned()), "{source}");
        assert_eq!(text(answer.text(), "Key"), None, "it would name the target");
    }
}

#[test]
fn a_large_body_is_copied_whole() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let body: Vec<u8> = (0..3 << 20).map(|i: u32| (i % 251).to_le_bytes()[0]).collect();
    s3.ask("PUT", "/abc/k", &[], &body);
    assert_eq!(s3.ask("PUT", "/abc/copy", &[("x-amz-copy-source", "/abc/k")], b"").status, 200);
    s3.ask("DELETE", "/abc/k", &[], b"");
    assert!(s3.ask("GET", "/abc/copy", &[], b"").body == body, "its body stays when the source goes");
}

#[test]
fn the_source_has_conditions_of_its_own() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[], BODY);
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (name, value, status) in [
        ("x-amz-copy-source-if-match", TAG, 200),
        ("x-amz-copy-source-if-match", "\"other\"", 412),
        ("x-amz-copy-source-if-none-match", "\"other\"", 200),
        ("x-amz-copy-source-if-none-match", TAG, 412),
        ("x-amz-copy-source-if-modified-since", past, 200),
        ("x-amz-copy-source-if-unmodified-since", past, 412),
    ] {
        let copied = s3.ask("PUT", "/abc/copy", &[("x-amz-copy-source", "/abc/k"), (name, value)], b"");
        assert_eq!(copied.status, status, "{name}: {value}");
    }
}

#[test]
fn the_target_has_conditions_too() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[], BODY);
    let copy = |name: &str, value: &str| {
        told(&s3.ask("PUT", "/abc/copy", &[("x-amz-copy-source", "/abc/k"), (name, value)], b""))
    };
    assert_eq!(copy("if-match", TAG), (404, "NoSuchKey".to_owned()));
    assert_eq!(copy("if-none-match", "*").0, 200);
    assert_eq!(copy("if-none-match", "*"), (412, "PreconditionFailed".to_owned()));
    assert_eq!(copy("if-match", "\"other\""), (412, "PreconditionFailed".to_owned()));
    assert_eq!(copy("if-match", TAG).0, 200);
}

#[test]
fn a_copy_has_the_checksum_of_its_source_or_the_one_that_is_asked_for() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[("x-amz-checksum-sha1", SHA1), ("x-amz-meta-a", "1")], BODY);
    let source = ("x-amz-copy-source", "/abc/k");
    let asked = |name: &'static str| ("x-amz-checksum-algorithm", name);
    let replaced = [source, asked("CRC32C"), ("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-a", "2")];
    for (to, headers, element, name, value, meta) in [
        ("/abc/kept", &[source][..], "ChecksumSHA1", "x-amz-checksum-sha1", SHA1, "1"),
        ("/abc/same", &[source, asked("SHA1")], "ChecksumSHA1", "x-amz-checksum-sha1", SHA1, "1"),
        ("/abc/other", &[source, asked("CRC32C")], "ChecksumCRC32C", "x-amz-checksum-crc32c", CRC32C, "1"),
        ("/abc/k", &replaced, "ChecksumCRC32C", "x-amz-checksum-crc32c", CRC32C, "2"),
    ] {
        let copied = s3.ask("PUT", to, headers, b"");
        assert_eq!((copied.status, text(copied.text(), element)), (200, Some(value)), "{to}: {}", copied.text());
        assert_eq!(text(copied.text(), "ChecksumType"), Some("FULL_OBJECT"), "{to}");
        assert_eq!(copied.text().matches("<Checksum").count(), 2, "one, and its type: {}", copied.text());
        let got = s3.ask("GET", to, &[("x-amz-checksum-mode", "ENABLED")], b"");
        assert_eq!((&got.body[..], got.header(name), got.header("etag")), (BODY, Some(value), Some(TAG)), "{to}");
        assert_eq!(got.header("x-amz-meta-a"), Some(meta), "{to}");
    }
    let copy = |headers: &[(&str, &str)]| told(&s3.ask("PUT", "/abc/other", headers, b""));
    assert_eq!(copy(&[source, asked("MD17")]), (400, "InvalidRequest".to_owned()));
    let failed = || (412, "PreconditionFailed".to_owned());
    assert_eq!(copy(&[source, asked("SHA256"), ("if-none-match", "*")]), failed());
    assert_eq!(copy(&[source, asked("SHA256"), ("x-amz-copy-source-if-match", "\"x\"")]), failed());
    assert_eq!(copy(&[("x-amz-copy-source", "/abc/none"), asked("SHA256")]), (404, "NoSuchKey".to_owned()));
    let head = s3.ask("HEAD", "/abc/other", &[("x-amz-checksum-mode", "ENABLED")], b"");
    assert_eq!(head.header("x-amz-checksum-crc32c"), Some(CRC32C), "nothing was written since");
}

#[test]
fn bodies_of_every_size_are_written_anew_for_another_checksum() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    for len in [0, 1, (16 << 10) + 1, (512 << 10) + 1, 5 << 20] {
        let body: Vec<u8> = (0..len).map(|i: u32| (i % 251).to_le_bytes()[0]).collect();
        s3.ask("PUT", "/abc/k", &[], &body);
        let headers = [("x-amz-copy-source", "/abc/k"), ("x-amz-checksum-algorithm", "SHA256")];
        let copied = s3.ask("PUT", "/abc/copy", &headers, b"");
        let sum = BASE64_STANDARD.encode(sha256(&body));
        assert_eq!(text(copied.text(), "ChecksumSHA256"), Some(&*sum), "{len}: {}", copied.text());
        assert!(s3.ask("GET", "/abc/copy", &[], b"").body == body, "{len}: other bytes");
    }
}

#[test]
fn every_answer_tells_the_same_second_of_an_object_that_is_written_often() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/source", &[], BODY);
    // Each runs ahead of the clock, by a second or less; what is told does not.
    let agreed = (0..20).any(|_| {
        s3.ask("PUT", "/abc/k", &[], BODY);
        s3.ask("PUT", "/abc/k", &[], b"other");
        let copied = s3.ask("PUT", "/abc/k", &[("x-amz-copy-source", "/abc/source")], b"");
        let ask = |method: &str| {
            let answer = s3.ask(method, "/abc/k", &[], b"");
            httpdate::parse_http_date(answer.header("last-modified").expect("a date")).expect("of HTTP")
        };
        let before = ask("HEAD");
        let lists = ["/abc?prefix=k", "/abc?list-type=2&prefix=k"].map(|target| s3.ask("GET", target, &[], b""));
        let after = ask("GET");
        let told = |answer: &common::Answer| {
            let digits =
                text(answer.text(), "LastModified").expect("a time").replace(['-', ':'], "").replace(".000Z", "Z");
            UNIX_EPOCH + Duration::from_secs(Second::parse(&digits).expect("to the second").0)
        };
        let all = [told(&copied), told(&lists[0]), told(&lists[1])];
        assert!(all.iter().all(|at| *at <= after), "{all:?} after {after:?}");
        // A second may have begun in between; then they are asked anew.
        before == after && all.iter().all(|at| *at == before)
    });
    assert!(agreed, "in one second all tell the same");
}
