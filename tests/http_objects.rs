//! `/v1`: objects and buckets.

mod common;

use common::{Answer, Dice, Node, escape};
use std::sync::atomic::{AtomicBool, Ordering};

/// A node with a bucket `abc`.
fn node() -> Node {
    let node = Node::start();
    node.put("/v1/buckets/abc", b"").expect_written(201);
    node
}

#[test]
fn put_get_head_delete() {
    let node = node();
    let path = "/v1/objects/abc/dir/a.txt";
    let headers = [("Content-Type", "text/x-test"), ("x-boveda-meta-Color", "dark blue"), ("x-boveda-meta-n", "1")];
    let stored = node.ask("PUT", path, &headers, b"first");
    stored.expect_written(201);
    let etag = stored.header("etag").expect("a tag");
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag}");

    let got = node.get(path);
    assert_eq!((got.status, got.text()), (200, "first"));
    for (name, value) in [
        ("content-length", "5"),
        ("content-type", "text/x-test"),
        ("x-boveda-meta-color", "dark blue"),
        ("x-boveda-meta-n", "1"),
        ("etag", etag),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    assert!(got.header("content-security-policy").is_some_and(|v| v.contains("sandbox")));
    let head = node.ask("HEAD", path, &[], b"");
    let known = |answer: &Answer| {
        let mut all = answer.headers.clone();
        all.retain(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
        all.sort();
        all
    };
    assert_eq!((head.status, known(&head)), (200, known(&got)));

    let again = node.put(path, b"second");
    again.expect_written(200);
    assert_ne!(again.header("etag"), Some(etag));
    let got = node.get(path);
    assert_eq!((got.text(), got.header("content-type")), ("second", Some("application/octet-stream")));
    assert_eq!(got.header("x-boveda-meta-color"), None, "metadata goes with its version");

    node.delete(path).expect_written(204);
    node.get(path).expect_error(404, "NoSuchKey");
    node.delete(path).expect_error(404, "NoSuchKey");
    let head = node.ask("HEAD", path, &[], b"");
    assert_eq!((head.status, head.body.len()), (404, 0));
    for (method, body) in [("GET", ""), ("PUT", "x"), ("DELETE", "")] {
        node.ask(method, "/v1/objects/missing/k", &[], body.as_bytes()).expect_error(404, "NoSuchBucket");
    }
    node.put("/v1/objects/missing/k", &[0; 200_000]).expect_error(404, "NoSuchBucket");
}

#[test]
fn sizes_around_every_border() {
    let mut node = node();
    let mut dice = Dice(3);
    let sizes: Vec<usize> = [64 << 10, 128 << 10, 1 << 20, 2 << 20, 16 << 20]
        .into_iter()
        .flat_map(|border: usize| [border - 1, border, border + 1])
        .chain([0, 1, 10_000_000])
        .collect();
    let bodies: Vec<Vec<u8>> = sizes.iter().map(|size| dice.bytes(*size)).collect();
    let mut conn = node.connect();
    for (size, body) in sizes.iter().zip(&bodies) {
        conn.ask("PUT", &format!("/v1/objects/abc/{size}"), &[], body).unwrap().expect_written(201);
    }
    let check = |node: &Node| {
        let mut conn = node.connect();
        for (size, body) in sizes.iter().zip(&bodies) {
            let got = conn.ask("GET", &format!("/v1/objects/abc/{size}"), &[], b"").unwrap();
            assert_eq!(got.status, 200);
            assert!(got.body == *body, "{size}");
        }
    };
    check(&node);
    node.kill9();
    node.begin();
    check(&node);
}

#[test]
fn ranges_are_slices() {
    let node = node();
    let mut dice = Dice(4);
    for size in [100usize, 65_537, 3_000_000] {
        let body = dice.bytes(size);
        let path = format!("/v1/objects/abc/{size}");
        node.put(&path, &body).expect_written(201);
        let mut conn = node.connect();
        let mut check = |range: String, expected: Option<(usize, usize)>| {
            let got = conn.ask("GET", &path, &[("Range", &range)], b"").unwrap();
            match expected {
                Some((first, last)) => {
                    assert_eq!(got.status, 206, "{range} of {size}");
                    assert_eq!(got.header("content-range"), Some(format!("bytes {first}-{last}/{size}").as_str()));
                    assert!(got.body == body[first..=last], "{range} of {size}");
                }
                None => {
                    got.expect_error(416, "InvalidRange");
                    assert_eq!(got.header("content-range"), Some(format!("bytes */{size}").as_str()));
                }
            }
        };
        let end = size - 1;
        check("bytes=0-0".into(), Some((0, 0)));
        check("bytes=0-".into(), Some((0, end)));
        check(format!("bytes={end}-"), Some((end, end)));
        check(format!("bytes={end}-{}", u64::MAX), Some((end, end)));
        check("bytes=-1".into(), Some((end, end)));
        check(format!("bytes=-{}", size * 2), Some((0, end)));
        check(format!("bytes={size}-"), None);
        check("bytes=-0".into(), None);
        check(format!("bytes={size}-,{}-", size + 5), None);
        for _ in 0..60 {
            let first = usize::try_from(dice.below(size as u64)).unwrap();
            let last = first + usize::try_from(dice.below((size - first) as u64)).unwrap();
            check(format!("bytes={first}-{last}"), Some((first, last)));
        }
        for whole in ["bytes=0-0,5-6", "bytes=5-3", "items=0-1", "bytes=x", "nonsense"] {
            let got = conn.ask("GET", &path, &[("Range", whole)], b"").unwrap();
            assert_eq!(got.status, 200, "{whole}");
            assert!(got.body == body, "{whole}");
        }
        let head = conn.ask("HEAD", &path, &[("Range", "bytes=0-0")], b"").unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, Some(size.to_string().as_str())));
    }
    node.put("/v1/objects/abc/empty", b"").expect_written(201);
    // An object of no bytes is whole whatever part is asked for.
    for range in ["bytes=0-", "bytes=0-1023", "bytes=-5", "bytes=-0", "bytes=1-"] {
        let answer = node.ask("GET", "/v1/objects/abc/empty", &[("Range", range)], b"");
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")), "{range}");
    }
}

#[test]
fn conditional_reads() {
    let node = node();
    let path = "/v1/objects/abc/c";
    let etag = node.put(path, b"0123456789").header("etag").unwrap().to_owned();
    let modified = node.get(path).header("last-modified").unwrap().to_owned();
    let (old, weak) = ("Thu, 01 Jan 1970 00:00:00 GMT", format!("W/{etag}"));
    for (headers, status) in [
        (vec![("If-None-Match", etag.as_str())], 304),
        (vec![("If-None-Match", &weak)], 304),
        (vec![("If-None-Match", "*")], 304),
        (vec![("If-None-Match", "\"x\", \"y\"")], 200),
        (vec![("If-None-Match", "\"x\""), ("If-Modified-Since", &modified)], 200),
        (vec![("If-Modified-Since", &modified)], 304),
        (vec![("If-Modified-Since", old)], 200),
        (vec![("If-Modified-Since", "garbage")], 200),
        (vec![("If-Match", &etag)], 200),
        (vec![("If-Match", "*")], 200),
        (vec![("If-Match", &weak)], 412),
        (vec![("If-Match", "\"x\"")], 412),
        (vec![("If-Unmodified-Since", &modified)], 200),
        (vec![("If-Unmodified-Since", old)], 412),
        (vec![("If-Match", &etag), ("If-Unmodified-Since", old)], 200),
        (vec![("Range", "bytes=0-1"), ("If-Range", &etag)], 206),
        (vec![("Range", "bytes=0-1"), ("If-Range", &modified)], 200),
        (vec![("Range", "bytes=0-1"), ("If-Range", "\"x\"")], 200),
        (vec![("Range", "bytes=99-"), ("If-Range", "\"x\"")], 200),
        (vec![("Range", "bytes=0-1"), ("If-Range", &weak)], 200),
        (vec![("Range", "bytes=99-"), ("If-None-Match", &etag)], 304),
    ] {
        let mut conn = node.connect();
        for method in ["GET", "HEAD"] {
            let got = conn.ask(method, path, &headers, b"").unwrap();
            let expected = if method == "HEAD" && status == 206 { 200 } else { status };
            assert_eq!(got.status, expected, "{method} {headers:?}");
            if status == 304 {
                assert_eq!(got.header("etag"), Some(etag.as_str()));
            }
        }
        let next = conn.ask("GET", "/healthz", &[], b"").unwrap();
        assert_eq!(next.status, 200, "the connection is in step after {headers:?}");
    }
    node.ask("GET", "/v1/objects/abc/none", &[("If-Match", "*")], b"").expect_error(404, "NoSuchKey");
}

#[test]
fn what_a_write_would_ignore_is_refused() {
    let node = node();
    let path = "/v1/objects/abc/w";
    node.put(path, b"before").expect_written(201);
    for (name, value) in [
        ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Content-Digest", "sha-256=:x:"),
        ("Content-Range", "bytes 0-4/5"),
        ("x-amz-checksum-crc32", "AAAAAA=="),
        ("x-amz-meta-a", "b"),
    ] {
        for method in ["PUT", "DELETE"] {
            node.ask(method, path, &[(name, value)], b"after").expect_error(501, "NotImplemented");
        }
    }
    for (method, target) in [("PUT", path), ("DELETE", path), ("POST", "/cargar"), ("PUT", "/v1/buckets/coded")] {
        let refused = node.ask(method, target, &[("Content-Encoding", "gzip")], b"after");
        refused.expect_error(415, "UnsupportedCoding");
        assert_eq!(refused.header("accept-encoding"), Some("identity"));
    }
    node.put("/v1/objects/abc/w?versionId=1", b"after").expect_error(501, "NotImplemented");
    node.delete("/v1/objects/abc/w?versionId=1").expect_error(501, "NotImplemented");
    assert_eq!(node.get(path).text(), "before");
    for (name, value) in [("x-boveda-meta-a", "\u{e9}"), ("x-boveda-meta-", "x"), ("Content-Type", "\u{e9}")] {
        node.ask("PUT", path, &[(name, value)], b"after").expect_error(400, "InvalidHeader");
    }
    let long = "x".repeat(9000);
    node.ask("PUT", path, &[("x-boveda-meta-a", &long)], b"after").expect_error(400, "InvalidHeader");
    assert_eq!(node.get(path).text(), "before");
}

#[test]
fn conditional_writes_of_a_node_alone() {
    let node = node();
    let path = "/v1/objects/abc/c";
    node.ask("PUT", path, &[("If-Match", "*")], b"0").expect_error(412, "PreconditionFailed");
    node.ask("DELETE", path, &[("If-Match", "*")], b"").expect_error(412, "PreconditionFailed");
    let first = node.ask("PUT", path, &[("If-None-Match", "*")], b"1");
    let etag = first.expect_written(201).header("etag").expect("a tag").to_owned();
    node.ask("PUT", path, &[("If-None-Match", "*")], b"2").expect_error(412, "PreconditionFailed");
    node.ask("PUT", path, &[("If-None-Match", &etag)], b"2").expect_error(412, "PreconditionFailed");
    node.ask("PUT", path, &[("If-Match", &format!("W/{etag}"))], b"2").expect_error(412, "PreconditionFailed");
    node.ask("PUT", path, &[("If-Match", "\"x")], b"2").expect_error(400, "InvalidHeader");
    assert_eq!(node.get(path).text(), "1");
    let large = vec![7; 300_000];
    node.ask("PUT", path, &[("If-Match", "\"x\"")], &large).expect_error(412, "PreconditionFailed");
    let second = node.ask("PUT", path, &[("If-Match", &format!("\"x\", {etag}"))], &large);
    second.expect_written(200);
    node.ask("DELETE", path, &[("If-Match", &etag)], b"").expect_error(412, "PreconditionFailed");
    let tag = second.header("etag").expect("a tag");
    assert_eq!(node.ask("DELETE", path, &[("If-Match", tag)], b"").status, 204);
    for target in ["/cargar", "/v1/buckets/abc"] {
        let method = if target == "/cargar" { "POST" } else { "PUT" };
        node.ask(method, target, &[("If-None-Match", "*")], b"").expect_error(501, "NotImplemented");
    }
}

#[test]
fn keys_are_taken_as_they_come() {
    let node = node();
    for (target, key) in [
        ("plain", "plain"),
        ("a%20b", "a b"),
        ("a+b", "a+b"),
        ("a%2Bb%2b", "a+b+"),
        ("a%2Fb", "a/b"),
        ("a/../b", "a/../b"),
        ("../../x", "../../x"),
        ("%2e%2E/x", "../x"),
        ("./.", "./."),
        ("a//b/", "a//b/"),
        ("/", "/"),
        ("%25", "%"),
        ("%2525", "%25"),
        ("%00%01", "\0\u{1}"),
        ("%C3%B1", "ñ"),
        ("a\\b", "a\\b"),
        ("%F0%9F%97%9D", "🗝"),
        (&"k".repeat(1024), &"k".repeat(1024)),
    ] {
        let path = format!("/v1/objects/abc/{target}");
        node.put(&path, key.as_bytes()).expect_written(201);
        assert_eq!(node.get(&path).text(), key);
        assert_eq!(node.get(&format!("/v1/objects/abc/{}", escape(key))).text(), key);
        let listed = node.get("/v1/objects/abc").json();
        assert_eq!(listed["objects"][0]["key"], key);
        node.delete(&path).expect_written(204);
    }
    for (target, code) in [
        ("", "InvalidKey"),
        ("%", "InvalidEscape"),
        ("%4", "InvalidEscape"),
        ("%zz", "InvalidEscape"),
        ("%ff", "InvalidEscape"),
        ("%C3", "InvalidEscape"),
        (&"k".repeat(1025), "InvalidKey"),
        (&"%C3%B1".repeat(513), "InvalidKey"),
    ] {
        // Without a key it is the bucket that is read.
        let methods = if target.is_empty() { &["PUT", "DELETE"][..] } else { &["PUT", "GET", "DELETE"] };
        for method in methods {
            node.ask(method, &format!("/v1/objects/abc/{target}"), &[], b"").expect_error(400, code);
        }
    }
    for bucket in ["ab", "ABC", "a_b", "-abc", "a..b", "a%2Fbc", "%ff%ff%ff", &"a".repeat(64)] {
        assert_eq!(node.put(&format!("/v1/objects/{bucket}/k"), b"x").status, 400, "{bucket}");
        assert_eq!(node.put(&format!("/v1/buckets/{bucket}"), b"").status, 400, "{bucket}");
    }
}

#[test]
fn buckets() {
    let node = node();
    node.put("/v1/buckets/abc", b"").expect_written(200);
    node.put("/v1/buckets/zzz", b"").expect_written(201);
    let names = |node: &Node| -> Vec<String> {
        let json = node.get("/v1/buckets").json();
        let all = json["buckets"].as_array().expect("a list").clone();
        assert!(all.iter().all(|b| b["created"].as_str().is_some_and(|t| t.starts_with("20") && t.ends_with('Z'))));
        all.iter().map(|b| b["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&node), ["abc", "cargas", "zzz"]);
    node.put("/v1/objects/abc/k", b"x").expect_written(201);
    node.delete("/v1/buckets/abc").expect_error(409, "BucketNotEmpty");
    node.delete("/v1/objects/abc/k").expect_written(204);
    node.delete("/v1/buckets/abc").expect_written(204);
    node.delete("/v1/buckets/abc").expect_error(404, "NoSuchBucket");
    node.get("/v1/objects/abc").expect_error(404, "NoSuchBucket");
    assert_eq!(names(&node), ["cargas", "zzz"]);
}

#[test]
fn listings() {
    let node = node();
    let mut keys = vec!["a", "a/1", "a/2", "a/b/3", "b", "b+c", "c d", "z", "ñ/1", "ñ/2", "日"];
    for key in &keys {
        node.put(&format!("/v1/objects/abc/{}", escape(key)), key.as_bytes()).expect_written(201);
    }
    keys.sort_unstable();
    let list = |query: &str| {
        let json = node.get(&format!("/v1/objects/abc?{query}")).json();
        let keys: Vec<String> = json["objects"]
            .as_array()
            .expect("objects")
            .iter()
            .map(|o| o["key"].as_str().expect("a key").to_owned())
            .collect();
        let prefixes: Vec<String> = json["prefixes"]
            .as_array()
            .expect("prefixes")
            .iter()
            .map(|p| p.as_str().expect("text").to_owned())
            .collect();
        (keys, prefixes, json["next"].as_str().map(str::to_owned))
    };
    assert_eq!(list("").0, keys);
    assert_eq!(list("prefix=a/").0, ["a/1", "a/2", "a/b/3"]);
    assert_eq!(list("prefix=c+d").0, ["c d"], "a plus in a query is a space");
    assert_eq!(list("prefix=b%2Bc").0, ["b+c"]);
    assert_eq!(list("prefix=%C3%B1/&delimiter=").0, ["ñ/1", "ñ/2"]);
    let (objects, prefixes, next) = list("delimiter=/");
    assert_eq!(objects, ["a", "b", "b+c", "c d", "z", "日"]);
    assert_eq!(prefixes, ["a/", "ñ/"]);
    assert_eq!(next, None);
    assert_eq!(list("delimiter=/&prefix=a/"), (vec!["a/1".into(), "a/2".into()], vec!["a/b/".into()], None));

    for limit in 1..=keys.len() + 1 {
        for delimiter in ["", "/"] {
            let (mut objects, mut prefixes, mut after) = (Vec::new(), Vec::new(), None::<String>);
            for _ in 0..=keys.len() {
                let from = after.as_deref().map(|a| format!("&after={}", escape(a))).unwrap_or_default();
                let page = list(&format!("limit={limit}&delimiter={delimiter}{from}"));
                assert!(page.0.len() + page.1.len() <= limit);
                objects.extend(page.0);
                prefixes.extend(page.1);
                after = page.2;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(after, None, "the last page says so");
            if delimiter.is_empty() {
                assert_eq!(objects, keys, "limit {limit}");
            } else {
                assert_eq!((objects.len(), prefixes), (6, vec!["a/".to_owned(), "ñ/".to_owned()]), "limit {limit}");
            }
        }
    }
    let first = node.get("/v1/objects/abc?prefix=a&limit=1").json();
    let entry = &first["objects"][0];
    assert_eq!((&first["bucket"], &first["prefix"]), (&"abc".into(), &"a".into()));
    assert_eq!((&entry["size"], &entry["content_type"]), (&1.into(), &"application/octet-stream".into()));
    let etag = node.get("/v1/objects/abc/a").header("etag").map(|e| e.trim_matches('"').to_owned());
    assert_eq!(entry["etag"].as_str().map(str::to_owned), etag);
    for bad in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=", "limit=1&limit=2", "max-keys=1", "prefix=%ff"]
    {
        let answer = node.get(&format!("/v1/objects/abc?{bad}"));
        assert_eq!(answer.status, 400, "{bad}");
    }
    node.get("/v1/objects/none").expect_error(404, "NoSuchBucket");
}

/// A body that says of itself whether it is whole: all its bytes are the same.
fn uniform(byte: u8, len: usize) -> Vec<u8> {
    vec![byte; len]
}

fn assert_whole(body: &[u8], lens: &[usize]) {
    let first = *body.first().expect("never empty");
    assert!(body.iter().all(|b| *b == first), "a mixture of two versions");
    assert_eq!(body.len(), lens[usize::from(first)], "cut short");
}

#[test]
fn readers_during_overwrites_see_one_version_whole() {
    let node = node();
    for (path, lens) in [("/v1/objects/abc/small", [1000, 5000]), ("/v1/objects/abc/large", [3_000_000, 1_500_000])] {
        node.put(path, &uniform(0, lens[0])).expect_written(201);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut conn = node.connect();
                    while !done.load(Ordering::Relaxed) {
                        assert_whole(&conn.ask("GET", path, &[], b"").expect("an answer").body, &lens);
                    }
                });
            }
            let mut conn = node.connect();
            for round in 0..40u8 {
                let byte = round % 2;
                let body = uniform(byte, lens[usize::from(byte)]);
                let answer = conn.ask("PUT", path, &[], &body);
                if answer.as_ref().map(|a| a.status).unwrap_or(0) != 200 {
                    done.store(true, Ordering::Relaxed);
                    panic!("{answer:?}");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn of_two_uploads_at_once_one_wins_whole() {
    let node = node();
    let lens = [400_000, 300_000, 200_000, 100_000];
    for round in 0..10 {
        let path = format!("/v1/objects/abc/{round}");
        std::thread::scope(|scope| {
            for byte in 0..4u8 {
                let (node, path) = (&node, &path);
                scope.spawn(move || {
                    let status = node.put(path, &uniform(byte, lens[usize::from(byte)])).status;
                    assert!(status == 200 || status == 201, "{status}");
                });
            }
        });
        assert_whole(&node.get(&path).body, &lens);
    }
}

#[test]
fn a_checksum_that_comes_with_a_body_is_checked() {
    const OF_HELLO: &str = "XUFAKrxLKna5cZ2REBfFkg==";
    const OF_NOTHING: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";
    let node = Node::start();
    let put = |body: &[u8], md5: &str| node.ask("PUT", "/v1/objects/cargas/k", &[("Content-MD5", md5)], body);
    put(b"hello", OF_HELLO).expect_written(201);
    put(b"hullo", OF_HELLO).expect_error(400, "BadDigest");
    put(b"", OF_HELLO).expect_error(400, "BadDigest");
    for bad in ["", "x", "aGVsbG8=", "XUFAKrxLKna5cZ2REBfFkg"] {
        put(b"hello", bad).expect_error(400, "InvalidHeader");
    }
    // Large ones are held against it before they show, too.
    put(&vec![b'x'; 3 << 20], OF_HELLO).expect_error(400, "BadDigest");
    assert_eq!(node.get("/v1/objects/cargas/k").text(), "hello", "what was refused changed nothing");
    put(b"", OF_NOTHING).expect_written(200);
    // The connection goes on behind a body that did not have its checksum.
    let mut conn = node.connect();
    for _ in 0..3 {
        let refused = conn.ask("PUT", "/v1/objects/cargas/k", &[("Content-MD5", OF_NOTHING)], b"hello").unwrap();
        refused.expect_error(400, "BadDigest");
    }
    // On a form it is that of the form.
    let body = common::form(&[common::file_part("archivo", "a", b"x")]);
    let headers = [("Content-Type", common::FORM), ("Content-MD5", OF_HELLO)];
    node.ask("POST", "/cargar", &headers, &body).expect_error(400, "BadDigest");
    node.get("/descargar/a").expect_error(404, "NoSuchKey");
}

#[test]
fn a_bucket_can_be_asked_for_and_a_slash_behind_changes_nothing() {
    let node = Node::start();
    node.put("/v1/buckets/abc/", b"").expect_written(201);
    for path in ["/v1/buckets/abc", "/v1/buckets/abc/"] {
        assert_eq!(node.get(path).json()["name"], "abc");
        assert_eq!(node.ask("HEAD", path, &[], b"").status, 200);
    }
    node.get("/v1/buckets/abd").expect_error(404, "NoSuchBucket");
    assert_eq!(node.ask("HEAD", "/v1/buckets/abd", &[], b"").status, 404);
    node.get("/v1/buckets/abc?prefix=x").expect_error(400, "InvalidQuery");
    for query in ["versionId=1", "consistency=perhaps", "consistency=local&part=1"] {
        node.get(&format!("/v1/objects/abc/k?{query}")).expect_error(400, "InvalidQuery");
    }
    for path in
        ["/v1/buckets/", "/v1/objects/abc/", "/healthz/", "/readyz/", "/metrics/", "/v1/cluster/", "/openapi.json/"]
    {
        assert_eq!(node.get(path).status, 200, "{path}");
    }
    // The slash belongs to the name of an object.
    node.put("/v1/objects/abc/k/", b"with").expect_written(201);
    node.get("/v1/objects/abc/k").expect_error(404, "NoSuchKey");
    assert_eq!(node.get("/v1/objects/abc/k/").text(), "with");
    let root = node.get("/");
    assert!(root.status == 200 && root.text().contains("/openapi.json"));
    assert!(node.get("/nothing").expect_error(404, "NoSuchRoute").contains("openapi.json"));
}

#[test]
fn last_modified_grows_with_each_overwrite_and_is_never_later_than_the_answer() {
    let node = node();
    let path = "/v1/objects/abc/m";
    let at = |text: Option<&str>| httpdate::parse_http_date(text.expect("a date")).expect("a date of HTTP");
    let mut before: Option<String> = None;
    for body in [&b"1"[..], b"2", b"3", b""] {
        node.put(path, body);
        // The copy of somebody who has the last one is old, whatever second it is.
        if let Some(before) = &before {
            let answer = node.ask("GET", path, &[("If-Modified-Since", before)], b"");
            assert_eq!((answer.status, &answer.body[..]), (200, body));
        }
        let answer = node.ask("HEAD", path, &[], b"");
        assert!(at(answer.header("last-modified")) <= at(answer.header("date")));
        before = answer.header("last-modified").map(str::to_owned);
    }
    // Time goes by until the last second told is over; then it stands, and grows with the next write.
    let told = common::eventually("its own second to come", || {
        let answer = node.ask("HEAD", path, &[], b"");
        let since = answer.header("last-modified").expect("a date").to_owned();
        (node.ask("HEAD", path, &[("If-Modified-Since", &since)], b"").status == 304).then_some(since)
    });
    node.put(path, b"5").expect_written(200);
    let grown = common::eventually("a later second", || {
        let now = node.ask("HEAD", path, &[], b"").header("last-modified").map(str::to_owned);
        now.filter(|now| *now != told)
    });
    assert!(at(Some(&grown)) > at(Some(&told)));
}
