//! Uploads in parts on the S3 port: their lists, who may do what, and parts that are copied.

mod common;

use common::multipart::{MIN, begin, bytes, etag};
use common::s3::{S3, path, started, text, texts, told};

/// All uploads of a list, page by page: keys and common prefixes, and how many pages there were.
fn all(s3: &S3<'_>, query: &str, max: usize) -> (Vec<(String, String)>, Vec<String>, usize) {
    let (mut uploads, mut prefixes, mut pages, mut markers) = (Vec::new(), Vec::new(), 0, String::new());
    loop {
        let page = s3.ask("GET", &format!("/abc?uploads&max-uploads={max}{query}{markers}"), &[], b"");
        assert_eq!(page.status, 200, "{}", page.text());
        pages += 1;
        let before = uploads.len() + prefixes.len();
        for upload in texts(page.text(), "Upload") {
            let one = |name: &str| text(upload, name).unwrap_or_default().to_owned();
            uploads.push((one("Key"), one("UploadId")));
        }
        prefixes.extend(
            texts(page.text(), "CommonPrefixes").iter().filter_map(|one| text(one, "Prefix")).map(str::to_owned),
        );
        assert!(uploads.len() + prefixes.len() - before <= max, "{}", page.text());
        if text(page.text(), "IsTruncated") != Some("true") {
            assert_eq!(text(page.text(), "NextKeyMarker"), None);
            return (uploads, prefixes, pages);
        }
        let marker = |name: &str| text(page.text(), name).expect("a marker").to_owned();
        let key = common::escape(&marker("NextKeyMarker"));
        markers = format!("&key-marker={key}&upload-id-marker={}", marker("NextUploadIdMarker"));
    }
}

#[test]
fn open_uploads_are_listed_page_by_page() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let names = ["a", "b/1", "b/1", "b/1", "b/2", "c ñ", "d/e/f"];
    let mut begun: Vec<(String, String)> =
        names.iter().map(|name| ((*name).to_owned(), begin(&s3, &path("abc", name), &[]).id)).collect();
    begun.sort();
    for max in [1, 2, 3, 1000] {
        let (uploads, prefixes, pages) = all(&s3, "", max);
        assert_eq!((&uploads, prefixes.len()), (&begun, 0), "{max} to a page");
        assert_eq!(pages, begun.len().div_ceil(max));
        let (uploads, prefixes, _) = all(&s3, "&delimiter=/", max);
        assert_eq!(prefixes, ["b/", "d/"], "{max} to a page");
        assert_eq!(uploads, [begun[0].clone(), begun[5].clone()]);
        let (uploads, prefixes, _) = all(&s3, "&prefix=b/&delimiter=/", max);
        assert_eq!((&uploads[..], prefixes.len()), (&begun[1..5], 0));
    }
    let (uploads, ..) = all(&s3, "&key-marker=b/1", 1000);
    assert_eq!(uploads, begun[4..], "without an id, all of the key are passed over");
    let page = s3.ask("GET", "/abc?uploads&encoding-type=url&prefix=c", &[], b"");
    assert_eq!(text(page.text(), "Key"), Some("c%20%C3%B1"));
    assert_eq!(text(page.text(), "StorageClass"), Some("STANDARD"));
    assert!(text(page.text(), "Initiated").is_some_and(|at| at.ends_with('Z')));
    // Neither an object nor an upload that is over is one.
    s3.ask("PUT", "/abc/a", &[], b"v");
    let over = common::multipart::Begun { path: "/abc/a".into(), id: begun[0].1.clone() };
    assert_eq!(over.abort(&s3).status, 204);
    assert_eq!(all(&s3, "", 1000).0, begun[1..]);
    assert_eq!(texts(s3.ask("GET", "/abc?list-type=2", &[], b"").text(), "Contents").len(), 1);
    for (query, refused) in [
        ("max-uploads=-1", (400, "InvalidArgument")),
        ("key-marker=a&upload-id-marker=x", (400, "InvalidArgument")),
        ("encoding-type=xml", (400, "InvalidArgument")),
        ("marker=a", (501, "NotImplemented")),
    ] {
        assert_eq!(told(&s3.ask("GET", &format!("/abc?uploads&{query}"), &[], b"")), (refused.0, refused.1.to_owned()));
    }
    assert_eq!(told(&s3.ask("GET", "/none?uploads", &[], b"")), (404, "NoSuchBucket".to_owned()));
    let none = s3.ask("GET", "/abc?uploads&max-uploads=0", &[], b"");
    assert_eq!((texts(none.text(), "Upload").len(), text(none.text(), "IsTruncated")), (0, Some("false")));
}

#[test]
fn parts_are_listed_page_by_page() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let begun = begin(&s3, "/abc/k", &[("x-amz-checksum-algorithm", "SHA256")]);
    let numbers = [1u16, 2, 9, 10, 300, 9999, 10_000];
    let sizes: Vec<String> = numbers.iter().map(|n| (usize::from(*n) + 7).to_string()).collect();
    for number in numbers.iter().rev() {
        begun.send(&s3, *number, &bytes(1, usize::from(*number) + 7));
    }
    for max in [1, 3, 1000] {
        let (mut found, mut after) = (Vec::new(), 0u16);
        loop {
            let page =
                s3.ask("GET", &format!("{}&max-parts={max}&part-number-marker={after}", begun.target()), &[], b"");
            assert_eq!(page.status, 200, "{}", page.text());
            let parts = texts(page.text(), "Part");
            assert!(parts.len() <= max);
            for part in parts {
                let one = |name: &str| text(part, name).unwrap_or_default().to_owned();
                assert!(one("ChecksumSHA256").len() == 44 && one("ETag").len() > 32, "{part}");
                found.push((one("PartNumber").parse::<u16>().expect("a number"), one("Size")));
            }
            assert_eq!(text(page.text(), "PartNumberMarker"), Some(&*after.to_string()));
            if text(page.text(), "IsTruncated") == Some("false") {
                break;
            }
            after = text(page.text(), "NextPartNumberMarker").and_then(|n| n.parse().ok()).expect("a number");
        }
        assert_eq!(found, numbers.iter().copied().zip(sizes.clone()).collect::<Vec<_>>(), "{max} to a page");
    }
    let page = s3.ask("GET", &begun.target(), &[], b"");
    assert_eq!((text(page.text(), "Bucket"), text(page.text(), "Key")), (Some("abc"), Some("k")));
    assert_eq!(text(page.text(), "UploadId"), Some(&*begun.id));
    assert_eq!(text(page.text(), "ChecksumAlgorithm"), Some("SHA256"));
    assert_eq!(told(&s3.ask("GET", &format!("{}&max-parts=x", begun.target()), &[], b"")).0, 400);
}

#[test]
fn who_may_write_may_upload() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/in/source", &[], b"source");
    let writer = node.new_key("writer", &["abc/in/:write"]);
    let reader = node.new_key("reader", &["abc:read,list"]);
    let lister = node.new_key("lister", &["abc/in/:list"]);
    let (by_writer, by_reader, by_lister) = (S3::new(&node, &writer), S3::new(&node, &reader), S3::new(&node, &lister));
    let denied = (403, "AccessDenied".to_owned());
    let begun = begin(&by_writer, "/abc/in/k", &[]);
    let part = begun.send(&by_writer, 1, b"part");
    for refused in [
        by_reader.ask("POST", "/abc/in/k?uploads", &[], b""),
        by_reader.ask("PUT", &begun.part(1), &[], b"x"),
        by_reader.ask("GET", &begun.target(), &[], b""),
        begun.complete(&by_reader, &[(1, part.clone())], &[]),
        begun.abort(&by_reader),
        by_writer.ask("POST", "/abc/out/k?uploads", &[], b""),
        by_writer.ask("GET", "/abc?uploads", &[], b""),
        by_lister.ask("GET", "/abc?uploads", &[], b""),
        by_writer.ask("PUT", &begun.part(2), &[("x-amz-copy-source", "/abc/in/source")], b""),
    ] {
        assert_eq!(told(&refused), denied);
    }
    for by in [&by_reader, &by_lister] {
        let page = by.ask("GET", "/abc?uploads&prefix=in/", &[], b"");
        assert_eq!(text(page.text(), "UploadId"), Some(&*begun.id), "{}", page.text());
    }
    assert_eq!(by_writer.ask("GET", &begun.target(), &[], b"").status, 200);
    assert_eq!(begun.complete(&by_writer, &[(1, part)], &[]).status, 200);
    assert_eq!(begin(&by_writer, "/abc/in/k", &[]).abort(&by_writer).status, 204);
    assert_eq!(s3.ask("GET", "/abc/in/k", &[], b"").body, b"part");
}

#[test]
fn parts_are_copied_out_of_objects() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    for bucket in ["/abc", "/def"] {
        s3.ask("PUT", bucket, &[], b"");
    }
    let (large, small) = (bytes(1, MIN + 4321), bytes(2, 1000));
    s3.ask("PUT", "/abc/large", &[], &large);
    s3.ask("PUT", "/abc/a%20b", &[], &small);
    let begun = begin(&s3, "/def/k", &[]);
    let copy = |number: u16, source: &str, more: &[(&str, &str)]| {
        let headers: Vec<_> = [("x-amz-copy-source", source)].into_iter().chain(more.iter().copied()).collect();
        s3.ask("PUT", &begun.part(number), &headers, b"")
    };
    let tag = |answer: &common::Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(text(answer.text(), "LastModified").is_some(), "{}", answer.text());
        text(answer.text(), "ETag").expect("an ETag").replace("&quot;", "\"")
    };
    let first = tag(&copy(1, "/abc/large", &[]));
    let range = format!("bytes=7-{}", MIN + 6);
    let second = tag(&copy(2, "abc/large", &[("x-amz-copy-source-range", &range)]));
    let third = tag(&copy(3, "/abc/a+b", &[("x-amz-copy-source-range", "bytes=999-999")]));
    let past = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (name, value, status) in [
        ("x-amz-copy-source-if-match", "\"other\"", 412),
        ("x-amz-copy-source-if-none-match", "*", 412),
        ("x-amz-copy-source-if-modified-since", past, 200),
        ("x-amz-copy-source-if-unmodified-since", past, 412),
    ] {
        assert_eq!(copy(4, "/abc/large", &[(name, value)]).status, status, "{name}");
    }
    for (source, range, status, code) in [
        ("/abc/none", None, 404, "NoSuchKey"),
        ("/none/k", None, 404, "NoSuchBucket"),
        ("/abc/large", Some("bytes=0-"), 400, "InvalidArgument"),
        ("/abc/large", Some("bytes=5-4"), 400, "InvalidArgument"),
        ("/abc/large", Some("0-4"), 400, "InvalidArgument"),
        ("/abc/a%20b", Some("bytes=0-1000"), 400, "InvalidArgument"),
        ("/abc/a%20b", Some("bytes=1000-1000"), 400, "InvalidArgument"),
    ] {
        let more: Vec<_> = range.map(|range| ("x-amz-copy-source-range", range)).into_iter().collect();
        assert_eq!(told(&copy(5, source, &more)), (status, code.to_owned()), "{source} {range:?}");
    }
    let done = begun.complete(&s3, &[(1, first), (2, second), (3, third)], &[]);
    assert_eq!(done.status, 200, "{}", done.text());
    let parts = [&large[..], &large[7..MIN + 7], &small[999..]];
    let got = s3.ask("GET", "/def/k", &[], b"");
    assert!(got.body == parts.concat());
    assert_eq!(got.header("etag"), Some(&*etag(&parts)));
    // Out of an object of parts, over the border of two.
    let begun = begin(&s3, "/def/again", &[]);
    let headers = [("x-amz-copy-source", "/def/k"), ("x-amz-copy-source-range", "bytes=5242880-10485777")];
    let only = tag(&s3.ask("PUT", &begun.part(1), &headers, b""));
    assert_eq!(begun.complete(&s3, &[(1, only)], &[]).status, 200);
    assert!(s3.ask("GET", "/def/again", &[], b"").body == parts.concat()[5_242_880..=10_485_777]);
    // No bytes are a part, too.
    s3.ask("PUT", "/abc/empty", &[], b"");
    let begun = begin(&s3, "/def/empty", &[]);
    let only = tag(&s3.ask("PUT", &begun.part(1), &[("x-amz-copy-source", "/abc/empty")], b""));
    assert_eq!(begun.complete(&s3, &[(1, only)], &[]).status, 200);
    let got = s3.ask("GET", "/def/empty", &[], b"");
    assert_eq!((got.status, got.body.len()), (200, 0));
}
