//! Uploads in parts on the S3 port: begun, filled, completed, aborted, and read.

mod common;

use common::multipart::{Begun, MIN, begin, bytes, document, etag};
use common::s3::{S3, UNSIGNED, started, text, texts, told};
use common::{Answer, Node};

/// An object that came as parts 2, 5 and 9, sent in another order, one of them twice; its parts.
fn stored(s3: &S3<'_>, path: &str) -> [Vec<u8>; 3] {
    let parts = [bytes(1, MIN), bytes(2, MIN + 12_345), bytes(3, 70_000)];
    let begun = begin(s3, path, &[("content-type", "text/plain"), ("x-amz-meta-a", "1")]);
    let ninth = begun.send(s3, 9, &parts[2]);
    begun.send(s3, 5, &bytes(4, MIN + 1));
    let (second, fifth) = (begun.send(s3, 2, &parts[0]), begun.send(s3, 5, &parts[1]));
    let done = begun.complete(s3, &[(2, second), (5, fifth), (9, ninth)], &[]);
    assert_eq!(done.status, 200, "{}", done.text());
    parts
}

/// GET of a range of an object.
fn range(s3: &S3<'_>, path: &str, range: std::ops::Range<usize>) -> Answer {
    let got = s3.ask("GET", path, &[("range", &format!("bytes={}-{}", range.start, range.end - 1))], b"");
    assert_eq!(got.status, 206, "{range:?}");
    got
}

#[test]
fn parts_in_any_order_become_one_object() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let begun = begin(&s3, "/abc/a%20b", &[("content-type", "text/plain"), ("x-amz-meta-a", "1")]);
    assert_eq!(s3.ask("GET", "/abc/a%20b", &[], b"").status, 404, "nothing is there before it is completed");
    let parts = [bytes(1, MIN), bytes(2, MIN + 12_345), bytes(3, 70_000)];
    let ninth = begun.send(&s3, 9, &parts[2]);
    let replaced = begun.send(&s3, 5, &bytes(4, MIN + 1));
    let (second, fifth) = (begun.send(&s3, 2, &parts[0]), begun.send(&s3, 5, &parts[1]));
    assert_ne!(replaced, fifth);
    let all = [(2, second), (5, fifth), (9, ninth)];
    let done = begun.complete(&s3, &all, &[]);
    let tag = etag(&[&parts[0], &parts[1], &parts[2]]);
    let shown = |answer: &Answer| text(answer.text(), "ETag").map(|tag| tag.replace("&quot;", "\""));
    assert_eq!((done.status, shown(&done)), (200, Some(tag.clone())), "{}", done.text());
    assert_eq!(text(done.text(), "Location"), Some("http://boveda/abc/a%20b"));
    assert_eq!((text(done.text(), "Bucket"), text(done.text(), "Key")), (Some("abc"), Some("a b")));
    let whole = parts.concat();
    let got = s3.ask("GET", "/abc/a%20b", &[], b"");
    assert!(got.body == whole, "other bytes");
    assert_eq!((got.header("etag"), got.header("x-amz-meta-a")), (Some(&*tag), Some("1")));
    assert_eq!(got.header("content-type"), Some("text/plain"));
    assert_eq!(got.header("x-amz-server-side-encryption"), Some("AES256"));
    // One truth on every port.
    let on_5000 = node.get("/v1/objects/abc/a%20b");
    assert!(on_5000.body == whole && on_5000.header("etag") == Some(&*tag));
    let listed = s3.ask("GET", "/abc?list-type=2", &[], b"");
    assert_eq!((text(listed.text(), "Size"), shown(&listed)), (Some(&*whole.len().to_string()), Some(tag.clone())));
    // Asked again, it says the same; the upload itself is no more.
    let again = begun.complete(&s3, &all, &[("if-none-match", "*")]);
    assert_eq!((again.status, shown(&again)), (200, Some(tag)), "{}", again.text());
    for (method, target) in [("GET", begun.target()), ("DELETE", begun.target()), ("PUT", begun.part(1))] {
        let (status, code) = told(&s3.ask(method, &target, &[], b"x"));
        assert_eq!((status, &*code), (404, "NoSuchUpload"), "{method}");
    }
    assert_eq!(s3.ask("DELETE", "/abc/a%20b", &[], b"").status, 204);
    assert_eq!(told(&begun.complete(&s3, &all, &[])), (404, "NoSuchUpload".to_owned()));
    assert_eq!(s3.ask("GET", "/abc/a%20b", &[], b"").status, 404);
}

#[test]
fn ranges_and_parts_of_it_are_read() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let parts = stored(&s3, "/abc/k");
    let whole = parts.concat();
    let (first, second) = (MIN, MIN + parts[1].len());
    for wanted in [
        0..1,
        first - 1..first,
        first..first + 1,
        first - 1..first + 1,
        second - 2..second + 3,
        first - 70_000..first + 70_000,
        first - 3..second + 3,
        second - 1..whole.len(),
        whole.len() - 1..whole.len(),
    ] {
        let got = range(&s3, "/abc/k", wanted.clone());
        assert!(got.body == whole[wanted.clone()], "{wanted:?}");
    }
    for (number, start, body) in [(2, 0, &parts[0]), (5, first, &parts[1]), (9, second, &parts[2])] {
        for method in ["GET", "HEAD"] {
            let got = s3.ask(method, &format!("/abc/k?partNumber={number}"), &[], b"");
            let range = format!("bytes {start}-{}/{}", start + body.len() - 1, whole.len());
            assert_eq!((got.status, got.header("content-range")), (206, Some(&*range)), "{method} of {number}");
            assert_eq!(got.header("x-amz-mp-parts-count"), Some("3"));
            assert_eq!(got.header("content-length"), Some(&*body.len().to_string()));
            assert!(method == "HEAD" || got.body == *body, "{number}");
        }
    }
    for (target, headers, refused) in [
        ("/abc/k?partNumber=1", &[][..], (416, "InvalidPartNumber")),
        ("/abc/k?partNumber=10", &[], (416, "InvalidPartNumber")),
        ("/abc/k?partNumber=0", &[], (400, "InvalidArgument")),
        ("/abc/k?partNumber=x", &[], (400, "InvalidArgument")),
        ("/abc/k?partNumber=2", &[("range", "bytes=0-1")], (400, "InvalidRequest")),
    ] {
        assert_eq!(told(&s3.ask("GET", target, headers, b"")), (refused.0, refused.1.to_owned()), "{target}");
    }
    // A copy is in the same parts, and stays when the source goes.
    assert_eq!(s3.ask("PUT", "/abc/copy", &[("x-amz-copy-source", "/abc/k")], b"").status, 200);
    s3.ask("DELETE", "/abc/k", &[], b"");
    let copied = s3.ask("GET", "/abc/copy", &[], b"");
    assert!(copied.body == whole && copied.header("x-amz-meta-a") == Some("1"));
    assert_eq!(s3.ask("GET", "/abc/copy?partNumber=9", &[], b"").body, parts[2]);
}

#[test]
fn what_is_no_completion_leaves_it_open() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let begun = begin(&s3, "/abc/k", &[]);
    let parts = [bytes(1, MIN), bytes(2, 1000), bytes(3, 10)];
    let tags: Vec<String> = (0u16..).zip(&parts).map(|(n, part)| begun.send(&s3, n + 1, part)).collect();
    let named = |numbers: &[u16]| -> Vec<(u16, String)> {
        numbers.iter().map(|n| (*n, tags[usize::from(*n) - 1].clone())).collect()
    };
    let other = [(1, tags[0].clone()), (2, tags[0].clone())];
    let missing = [(1, tags[0].clone()), (4, tags[2].clone())];
    for (parts, headers, code) in [
        (&other[..], &[][..], "InvalidPart"),
        (&missing, &[], "InvalidPart"),
        (&named(&[2, 1]), &[], "InvalidPartOrder"),
        (&named(&[1, 1]), &[], "InvalidPartOrder"),
        (&named(&[1, 2, 3]), &[], "EntityTooSmall"),
        (&[], &[], "MalformedXML"),
        (&named(&[1, 2]), &[("x-amz-mp-object-size", "7")], "InvalidRequest"),
        (&named(&[1, 2]), &[("content-md5", "kAFQmDzST7DWlj99KOF/cg==")], "BadDigest"),
    ] {
        let refused = begun.complete(&s3, parts, headers);
        assert_eq!(told(&refused), (400, code.to_owned()), "{}", document(parts));
        assert_eq!(s3.ask("GET", "/abc/k", &[], b"").status, 404);
    }
    let body = s3.ask("POST", &begun.target(), &[], b"<CompleteMultipartUpload><Part/>");
    assert_eq!(told(&body), (400, "MalformedXML".to_owned()));
    let size = (MIN + 1000).to_string();
    let done = begun.complete(&s3, &named(&[1, 2]), &[("x-amz-mp-object-size", &size)]);
    assert_eq!(done.status, 200, "{}", done.text());
    // A part that was not named is none of it.
    assert!(s3.ask("GET", "/abc/k", &[], b"").body == parts[..2].concat());
}

#[test]
fn one_that_is_aborted_is_gone() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[], b"before");
    let (begun, other) = (begin(&s3, "/abc/k", &[]), begin(&s3, "/abc/k", &[]));
    let parts = [(1, begun.send(&s3, 1, b"part"))];
    let kept = [(1, other.send(&s3, 1, b"other"))];
    assert_eq!(begun.abort(&s3).status, 204);
    let gone = (404, "NoSuchUpload".to_owned());
    assert_eq!(told(&begun.complete(&s3, &parts, &[])), gone);
    assert_eq!(told(&begun.abort(&s3)), gone);
    assert_eq!(told(&s3.ask("GET", &begun.target(), &[], b"")), gone);
    assert_eq!(told(&s3.ask("PUT", &begun.part(2), &[], b"late")), gone);
    let nowhere = Begun { path: "/abc/k".into(), id: "none".into() };
    assert_eq!(told(&nowhere.abort(&s3)), gone);
    let elsewhere = Begun { path: "/abc/other".into(), id: other.id.clone() };
    assert_eq!(told(&elsewhere.complete(&s3, &kept, &[])), gone, "an upload is of its key");
    assert_eq!(s3.ask("GET", "/abc/k", &[], b"").body, b"before");
    assert_eq!(other.complete(&s3, &kept, &[]).status, 200);
    assert_eq!(s3.ask("GET", "/abc/k", &[], b"").body, b"other");
}

#[test]
fn what_does_not_fit_is_no_part() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let begun = begin(&s3, "/abc/k", &[("x-amz-checksum-algorithm", "CRC32")]);
    let at = |number: &str| format!("/abc/k?partNumber={number}&uploadId={}", begun.id);
    let crc = ("x-amz-checksum-crc32", "NSRBwg==");
    for (number, headers, code) in [
        ("0", &[][..], "InvalidArgument"),
        ("10001", &[], "InvalidArgument"),
        ("", &[], "InvalidArgument"),
        ("1", &[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], "BadDigest"),
        ("1", &[("x-amz-checksum-crc32", "AAAAAA==")], "BadDigest"),
        ("1", &[("x-amz-checksum-crc32c", "NkkVwA==")], "InvalidRequest"),
        ("1", &[("x-amz-checksum-algorithm", "SHA1")], "InvalidRequest"),
        ("1", &[("if-none-match", "*")], "NotImplemented"),
        ("1", &[("x-amz-tagging", "a=b")], "NotImplemented"),
    ] {
        let refused = told(&s3.ask("PUT", &at(number), headers, b"abc"));
        let status = if code == "NotImplemented" { 501 } else { 400 };
        assert_eq!(refused, (status, code.to_owned()), "{number} {headers:?}");
    }
    assert_eq!(texts(s3.ask("GET", &begun.target(), &[], b"").text(), "Part").len(), 0, "none of them was stored");
    let sent = s3.ask("PUT", &at("1"), &[crc, ("content-md5", "kAFQmDzST7DWlj99KOF/cg==")], b"abc");
    assert_eq!((sent.status, sent.header(crc.0)), (200, Some(crc.1)), "{}", sent.text());
    assert_eq!(sent.header("etag"), Some("\"900150983cd24fb0d6963f7d28e17f72\""));
    // In chunks, with its checksum behind them.
    let chunked = [
        ("content-encoding", "aws-chunked"),
        ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
        ("x-amz-decoded-content-length", "3"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ];
    let body = |sum: &str| format!("3\r\nabc\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n");
    let sent = s3.ask("PUT", &at("2"), &chunked, body("NSRBwg==").as_bytes());
    assert_eq!((sent.status, sent.header(crc.0)), (200, Some(crc.1)), "{}", sent.text());
    let refused = told(&s3.ask("PUT", &at("3"), &chunked, body("AAAAAA==").as_bytes()));
    assert_eq!(refused, (400, "BadDigest".to_owned()));
    // A part may be longer than that, but may not be said to be.
    let long = [("x-amz-decoded-content-length", "5368709121"), chunked[0], chunked[1], chunked[3]];
    assert_eq!(told(&s3.ask("PUT", &at("4"), &long, b"0\r\n\r\n")), (400, "EntityTooLarge".to_owned()));
    assert_eq!(UNSIGNED, "UNSIGNED-PAYLOAD");
}

#[test]
fn completions_exclude_other_writes() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let begun = begin(&s3, "/abc/k", &[]);
    let parts = [(1, begun.send(&s3, 1, b"part"))];
    let answer = |name: &str, value: &str| told(&begun.complete(&s3, &parts, &[(name, value)]));
    assert_eq!(answer("if-match", "\"x\""), (404, "NoSuchKey".to_owned()));
    let put = s3.ask("PUT", "/abc/k", &[], b"between");
    let tag = put.header("etag").expect("an ETag");
    assert_eq!(answer("if-none-match", "*"), (412, "PreconditionFailed".to_owned()));
    assert_eq!(answer("if-match", "\"x\""), (412, "PreconditionFailed".to_owned()));
    assert_eq!(s3.ask("GET", "/abc/k", &[], b"").body, b"between");
    assert_eq!(answer("if-match", tag).0, 200, "it stayed open");
    assert_eq!(s3.ask("GET", "/abc/k", &[], b"").body, b"part");
}

/// An object of two parts with a checksum of that algorithm and type; the answer to its completion.
fn summed(s3: &S3<'_>, algorithm: &str, kind: Option<&str>, parts: [&[u8]; 2], said: &[(&str, &str)]) -> Answer {
    let mut headers = vec![("x-amz-checksum-algorithm", algorithm)];
    headers.extend(kind.map(|kind| ("x-amz-checksum-type", kind)));
    let begun = begin(s3, "/abc/k", &headers);
    let tags = [(1, begun.send(s3, 1, parts[0])), (2, begun.send(s3, 2, parts[1]))];
    begun.complete(s3, &tags, said)
}

#[test]
fn checksums_are_of_all_bytes_or_of_those_of_the_parts() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let (first, second) = (bytes(1, MIN), bytes(2, 1234));
    let whole = [&first[..], &second].concat();
    let parts = [&first[..], &second];
    let enabled = [("x-amz-checksum-mode", "ENABLED")];
    for (name, algorithm) in [("crc32", "CRC32"), ("crc32c", "CRC32C"), ("crc64nvme", "CRC64NVME")] {
        let header = format!("x-amz-checksum-{name}");
        // What the same bytes come to when they are sent whole.
        let trailer = [("x-amz-sdk-checksum-algorithm", algorithm), ("x-amz-checksum-algorithm", algorithm)];
        let begun = begin(&s3, "/abc/whole", &[trailer[1]]);
        let sent = s3.ask("PUT", &begun.part(1), &[], &whole);
        let expected = sent.header(&header).expect("its checksum").to_owned();
        let done = summed(&s3, algorithm, Some("FULL_OBJECT"), parts, &[(&header, &expected)]);
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(text(done.text(), &format!("Checksum{algorithm}")), Some(&*expected), "{algorithm}");
        let got = s3.ask("HEAD", "/abc/k", &enabled, b"");
        assert_eq!((got.header(&header), got.header("x-amz-checksum-type")), (Some(&*expected), Some("FULL_OBJECT")));
        let wrong = summed(&s3, algorithm, Some("FULL_OBJECT"), parts, &[(&header, sent_of(&s3, &header).as_str())]);
        assert_eq!(told(&wrong), (400, "BadDigest".to_owned()));
    }
    for (name, algorithm) in [("crc32", "CRC32"), ("crc32c", "CRC32C"), ("sha1", "SHA1"), ("sha256", "SHA256")] {
        let header = format!("x-amz-checksum-{name}");
        let done = summed(&s3, algorithm, None, parts, &[("x-amz-checksum-type", "COMPOSITE")]);
        assert_eq!((done.status, text(done.text(), "ChecksumType")), (200, Some("COMPOSITE")), "{}", done.text());
        let told = text(done.text(), &format!("Checksum{algorithm}")).expect("a checksum").to_owned();
        assert!(told.ends_with("=-2"), "{told}");
        let got = s3.ask("GET", "/abc/k", &enabled, b"");
        assert_eq!((got.header(&header), got.header("x-amz-checksum-type")), (Some(&*told), Some("COMPOSITE")));
        let part = s3.ask("GET", "/abc/k?partNumber=2", &enabled, b"");
        let alone = begin(&s3, "/abc/alone", &[("x-amz-checksum-algorithm", algorithm)]);
        let sent = s3.ask("PUT", &alone.part(1), &[], &second);
        assert_eq!(part.header(&header), sent.header(&header), "the part's own");
        let asked = [("x-amz-object-attributes", "ObjectParts"), ("x-amz-part-number-marker", "1")];
        let attributes = s3.ask("GET", "/abc/k?attributes", &asked, b"");
        assert_eq!(text(attributes.text(), "PartsCount"), Some("2"), "{}", attributes.text());
        assert_eq!(texts(attributes.text(), "PartNumber"), ["2"]);
        assert_eq!(text(attributes.text(), &format!("Checksum{algorithm}")), sent.header(&header));
        let again = summed(&s3, algorithm, None, parts, &[(&header, &told)]);
        assert_eq!(again.status, 200, "{}", again.text());
    }
    for (algorithm, kind) in
        [("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("MD5", "COMPOSITE"), ("CRC32", "x")]
    {
        let headers = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
        let refused = told(&s3.ask("POST", "/abc/k?uploads", &headers, b""));
        assert_eq!(refused, (400, "InvalidRequest".to_owned()), "{algorithm} {kind}");
    }
    let other = summed(&s3, "CRC32", None, parts, &[("x-amz-checksum-type", "FULL_OBJECT")]);
    assert_eq!(told(&other), (400, "InvalidRequest".to_owned()));
}

/// A checksum of something else.
fn sent_of(s3: &S3<'_>, header: &str) -> String {
    let algorithm = header.rsplit_once('-').expect("a name").1.to_uppercase();
    let begun = begin(s3, "/abc/other", &[("x-amz-checksum-algorithm", &algorithm)]);
    let sent = s3.ask("PUT", &begun.part(1), &[], b"something else");
    sent.header(header).expect("its checksum").to_owned()
}

#[test]
fn a_node_that_starts_again_knows_its_uploads() {
    let (mut node, key) = started(&[]);
    let (begun, first) = {
        let s3 = S3::new(&node, &key);
        s3.ask("PUT", "/abc", &[], b"");
        let begun = begin(&s3, "/abc/k", &[]);
        let first = begun.send(&s3, 1, &bytes(1, MIN));
        (begun, first)
    };
    Node::kill9(&mut node);
    node.begin();
    let s3 = S3::new(&node, &key);
    let second = begun.send(&s3, 2, b"behind");
    let parts = [(1, first), (2, second)];
    let done = begun.complete(&s3, &parts, &[]);
    assert_eq!(done.status, 200, "{}", done.text());
    let whole = [bytes(1, MIN), b"behind".to_vec()].concat();
    assert!(s3.ask("GET", "/abc/k", &[], b"").body == whole);
    node.kill9();
    node.begin();
    let s3 = S3::new(&node, &key);
    assert!(s3.ask("GET", "/abc/k", &[], b"").body == whole);
    assert_eq!(begun.complete(&s3, &parts, &[]).status, 200, "it says so again");
}
