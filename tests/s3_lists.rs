//! Lists on the S3 port: pages, folds, escapes, tokens.

mod common;

use common::s3::{S3, path, started, text, texts, told};
use std::collections::BTreeSet;

const KEYS: [&str; 9] = ["a", "a b", "a+b", "b/1", "b/2", "b/c/3", "d&e", "ñ", "z/"];

/// All pages of a list of some entries each: keys, and common prefixes.
fn all(s3: &S3<'_>, version: u8, query: &str, max: usize) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes, mut place) = (Vec::new(), Vec::new(), String::new());
    let base = if version == 2 { "/abc?list-type=2" } else { "/abc?encoding-type=url" };
    for _ in 0..20 {
        let answer = s3.ask("GET", &format!("{base}&max-keys={max}{query}{place}"), &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.text();
        let own = |part: &str| part.to_owned();
        let of_page = texts(page, "Contents").into_iter().filter_map(|part| text(part, "Key")).map(own);
        let before = keys.len() + prefixes.len();
        keys.extend(of_page);
        prefixes.extend(texts(page, "CommonPrefixes").into_iter().filter_map(|part| text(part, "Prefix")).map(own));
        assert!(keys.len() + prefixes.len() - before <= max, "a page is not larger than was asked");
        let next = text(page, if version == 2 { "NextContinuationToken" } else { "NextMarker" });
        assert_eq!(text(page, "IsTruncated"), Some(if next.is_some() { "true" } else { "false" }), "{page}");
        assert_eq!(text(page, "MaxKeys"), Some(&*max.to_string()));
        match (next, version) {
            (None, _) => return (keys, prefixes),
            (Some(next), 2) => place = format!("&continuation-token={next}"),
            (Some(next), _) => place = format!("&marker={next}"),
        }
    }
    panic!("the list does not end");
}

#[test]
fn pages_follow_each_other_in_both_versions() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    for name in KEYS {
        assert_eq!(s3.ask("PUT", &path("abc", name), &[], b"v").status, 200, "{name}");
    }
    let raw = |all: &[&str]| all.iter().map(|key| (*key).to_owned()).collect::<Vec<String>>();
    let plain = raw(&["a", "a b", "a+b", "b/1", "b/2", "b/c/3", "d&amp;e", "z/", "ñ"]);
    let escaped = raw(&["a", "a%20b", "a%2Bb", "b/1", "b/2", "b/c/3", "d%26e", "z/", "%C3%B1"]);
    for max in [1, 2, 4, 1000] {
        let (mut found, folded) = all(&s3, 2, "", max);
        assert_eq!((&found, folded.len()), (&plain, 0), "{max}");
        found.dedup();
        assert_eq!(found.len(), KEYS.len(), "each once");
        // V1 asks with escapes here: what it is answered can be sent back as it is.
        let (found, _) = all(&s3, 1, "", max);
        assert_eq!(found.iter().map(|key| key.replace('+', "%20")).collect::<Vec<_>>(), escaped, "{max}");
        let (keys, folded) = all(&s3, 2, "&delimiter=/", max);
        assert_eq!((keys, folded), (raw(&["a", "a b", "a+b", "d&amp;e", "ñ"]), raw(&["b/", "z/"])), "{max}");
        let (keys, folded) = all(&s3, 1, "&delimiter=/&prefix=b/", max);
        assert_eq!((keys, folded), (raw(&["b/1", "b/2"]), raw(&["b/c/"])), "{max}");
    }
    let (keys, _) = all(&s3, 2, "&start-after=b/2", 3);
    assert_eq!(keys, raw(&["b/c/3", "d&amp;e", "z/", "ñ"]));
    let (keys, _) = all(&s3, 2, "&encoding-type=url&prefix=d", 3);
    assert_eq!(keys, raw(&["d%26e"]));
    let page = s3.ask("GET", "/abc?list-type=2&max-keys=2&fetch-owner=true", &[], b"");
    assert_eq!((texts(page.text(), "Owner").len(), text(page.text(), "KeyCount")), (2, Some("2")));
    assert_eq!(text(page.text(), "Size"), Some("1"));
    assert!(
        text(page.text(), "ETag").is_some_and(|tag| tag.contains("9e3669d19b675bd57058fd4664205d2a")),
        "{}",
        page.text()
    );
    assert!(text(page.text(), "LastModified").is_some_and(|at| at.ends_with('Z') && at.contains('T')));
}

#[test]
fn what_is_no_question_is_refused() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    for bucket in ["abc", "abd"] {
        s3.ask("PUT", &format!("/{bucket}"), &[], b"");
    }
    for name in ["a/1", "a/2", "b"] {
        s3.ask("PUT", &path("abc", name), &[], b"v");
    }
    let page = s3.ask("GET", "/abc?list-type=2&max-keys=1", &[], b"");
    let token = text(page.text(), "NextContinuationToken").expect("there is more").to_owned();
    let mut codes = BTreeSet::new();
    for target in [
        format!("/abd?list-type=2&continuation-token={token}"),
        format!("/abc?list-type=2&prefix=a&continuation-token={token}"),
        format!("/abc?list-type=2&delimiter=/&continuation-token={token}"),
        "/abc?list-type=2&continuation-token=".to_owned(),
        "/abc?list-type=2&continuation-token=abc".to_owned(),
        "/abc?list-type=3".to_owned(),
        "/abc?max-keys=-1".to_owned(),
        "/abc?max-keys=x".to_owned(),
        "/abc?encoding-type=xml".to_owned(),
    ] {
        let (status, code) = told(&s3.ask("GET", &target, &[], b""));
        assert_eq!(status, 400, "{target}: {code}");
        codes.insert(code);
    }
    assert_eq!(codes, BTreeSet::from(["InvalidArgument".to_owned()]));
    assert_eq!(told(&s3.ask("GET", "/none", &[], b"")), (404, "NoSuchBucket".to_owned()));
    assert_eq!(told(&s3.ask("GET", "/none?max-keys=0", &[], b"")), (404, "NoSuchBucket".to_owned()));
    for (max, is_truncated, keys) in
        [("0", "false", 0), ("1001", "false", 3), ("99999999999999999999", "false", 3), ("2", "true", 2)]
    {
        let page = s3.ask("GET", &format!("/abc?list-type=2&max-keys={max}"), &[], b"");
        assert_eq!(text(page.text(), "IsTruncated"), Some(is_truncated), "{max}");
        assert_eq!(text(page.text(), "MaxKeys"), Some(if max.len() > 3 { "1000" } else { max }), "{max}");
        assert_eq!(
            (texts(page.text(), "Key").len(), page.text().contains("NextContinuationToken")),
            (keys, is_truncated == "true")
        );
    }
}

#[test]
fn keys_that_xml_cannot_hold_are_told_in_escapes_or_not_at_all() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    for name in ["a", "b\r\n\tc", "c\u{1}d", "d"] {
        assert_eq!(s3.ask("PUT", &path("abc", name), &[], b"v").status, 200, "{name:?}");
    }
    let refused = (400, "InvalidRequest".to_owned());
    for version in ["", "list-type=2&"] {
        let list = |query: &str| s3.ask("GET", &format!("/abc?{version}{query}"), &[], b"");
        let escaped = list("encoding-type=url");
        assert_eq!(texts(escaped.text(), "Key"), ["a", "b%0D%0A%09c", "c%01d", "d"], "{version}");
        assert_eq!(told(&list("")), refused, "{version}");
        assert_eq!(
            texts(list("max-keys=2").text(), "Key"),
            ["a", "b&#xd;&#xa;&#x9;c"],
            "{version}: none is on the page"
        );
        assert_eq!(told(&list("prefix=%01")), refused, "{version}");
        assert_eq!(told(&list("delimiter=%01&max-keys=2")), refused, "{version}");
        assert_eq!(texts(list("delimiter=%01&encoding-type=url").text(), "Prefix"), ["", "c%01"], "{version}");
    }
    assert_eq!(told(&s3.ask("GET", "/abc?marker=%01", &[], b"")), refused);
    assert_eq!(told(&s3.ask("GET", "/abc?list-type=2&start-after=%01", &[], b"")), refused);
    // An error has the characters that it can have.
    let missing = s3.ask("GET", &path("abc", "x\u{1}y"), &[], b"");
    assert_eq!((told(&missing).1.as_str(), text(missing.text(), "Key")), ("NoSuchKey", Some("x\u{fffd}y")));
}
