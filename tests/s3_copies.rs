//! Copies on the S3 port: what is said of them, and the conditions of both ends.

mod common;

use common::s3::{S3, path, started, text, told};

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
