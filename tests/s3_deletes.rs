//! Many objects away at once, on the S3 port.

mod common;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use boveda::seal::digest::Md5;
use common::Answer;
use common::s3::{S3, path, started, text, texts, told};

fn ask(s3: &S3<'_>, bucket: &str, body: &str) -> Answer {
    let mut md5 = Md5::default();
    md5.update(body.as_bytes());
    let md5 = BASE64_STANDARD.encode(md5.finalize());
    s3.ask("POST", &format!("/{bucket}?delete"), &[("content-md5", &md5)], body.as_bytes())
}

fn document(keys: &[&str], more: &str) -> String {
    let each: String = keys.iter().map(|key| format!("<Object><Key>{key}</Key></Object>")).collect();
    format!("<?xml version=\"1.0\"?><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{each}{more}</Delete>")
}

#[test]
fn many_objects_go_at_once_each_by_its_own_right() {
    let (node, root) = started(&[]);
    let s3 = S3::new(&node, &root);
    s3.ask("PUT", "/abc", &[], b"");
    for name in ["a&b", "ñ", "in/1", "out/1", "stays"] {
        s3.ask("PUT", &path("abc", name), &[], b"v");
    }
    let gone = ask(&s3, "abc", &document(&["a&amp;b", "&#241;", "none"], ""));
    assert_eq!((gone.status, texts(gone.text(), "Key")), (200, vec!["a&amp;b", "ñ", "none"]), "{}", gone.text());
    assert_eq!(texts(gone.text(), "Deleted").len(), 3);
    s3.ask("PUT", &path("abc", "x\u{1}y"), &[], b"v");
    let gone = ask(&s3, "abc", &document(&["x&#x1;y"], ""));
    assert_eq!(text(gone.text(), "Key"), Some("x\u{fffd}y"), "no document holds what XML has not");
    assert_eq!(s3.ask("HEAD", &path("abc", "x\u{1}y"), &[], b"").status, 404);
    let few = node.new_key("few", &["abc/in/:delete"]);
    let answer = ask(&S3::new(&node, &few), "abc", &document(&["in/1", "out/1"], ""));
    let error = text(answer.text(), "Error").expect("one is refused");
    assert_eq!((text(error, "Key"), text(error, "Code")), (Some("out/1"), Some("AccessDenied")));
    assert_eq!(texts(answer.text(), "Deleted").len(), 1);
    let quiet = ask(&s3, "abc", &document(&["out/1"], "<Quiet>true</Quiet>"));
    assert_eq!((quiet.status, texts(quiet.text(), "Deleted").len()), (200, 0));
    let tag = "<Object><Key>stays</Key><ETag>\"other\"</ETag></Object>";
    let failed = ask(&s3, "abc", &document(&[], tag));
    assert_eq!(text(failed.text(), "Code"), Some("PreconditionFailed"), "{}", failed.text());
    let version = ask(&s3, "abc", &document(&[], "<Object><Key>stays</Key><VersionId>1</VersionId></Object>"));
    assert_eq!(text(version.text(), "Code"), Some("NotImplemented"), "{}", version.text());
    assert_eq!(texts(s3.ask("GET", "/abc", &[], b"").text(), "Key"), ["stays"]);
    assert_eq!(told(&ask(&s3, "none", &document(&["k"], ""))), (404, "NoSuchBucket".to_owned()));
}

#[test]
fn what_is_no_such_document_deletes_nothing() {
    let (node, root) = started(&[]);
    let s3 = S3::new(&node, &root);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[], b"v");
    let many: Vec<String> = (0..1001).map(|n| format!("k{n}")).collect();
    let many = document(&many.iter().map(String::as_str).collect::<Vec<_>>(), "");
    for (body, code) in [
        ("", "MalformedXML"),
        ("<Delete>", "MalformedXML"),
        ("<Delete></Delete>", "MalformedXML"),
        ("<Other><Object><Key>k</Key></Object></Other>", "MalformedXML"),
        (&many, "MalformedXML"),
    ] {
        assert_eq!(told(&ask(&s3, "abc", body)), (400, code.to_owned()), "{body:.60}");
    }
    let body = document(&["k"], "");
    let plain = s3.ask("POST", "/abc?delete", &[], body.as_bytes());
    assert_eq!(told(&plain), (400, "InvalidRequest".to_owned()), "without a checksum");
    for (headers, code) in [
        (("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), "BadDigest"),
        (("x-amz-checksum-crc32", "AAAAAA=="), "BadDigest"),
        (("content-md5", "AAAA"), "InvalidDigest"),
        (("x-amz-sdk-checksum-algorithm", "CRC32"), "InvalidRequest"),
    ] {
        let answer = s3.ask("POST", "/abc?delete", &[headers], body.as_bytes());
        assert_eq!(told(&answer), (400, code.to_owned()), "{headers:?}");
    }
    assert_eq!(s3.ask("GET", "/abc/k", &[], b"").body, b"v");
}
