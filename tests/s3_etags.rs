//! ETags of what clients of S3 write: MD5s, of uploads that meet as well, or what a bucket is set to instead.

mod common;

use boveda::sign::sigv4::hex;
use common::s3::{S3, started, text};
use common::{Answer, Dice, Node};
use md5::{Digest as _, Md5};
use serde_json::json;

/// Small, in a segment, in a file, and in several pieces.
const SIZES: [usize; 5] = [3, 100_000, 1 << 20, 5_000_001, 9_000_000];

/// By another implementation than the one under test.
fn md5_of(body: &[u8]) -> [u8; 16] {
    Md5::digest(body).into()
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

fn etag(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("etag").expect("an ETag")
}

/// What a list says of the only object under a prefix.
fn listed(s3: &S3<'_>, bucket: &str, key: &str) -> String {
    let list = s3.ask("GET", &format!("/{bucket}?list-type=2&prefix={key}"), &[], b"");
    text(list.text(), "ETag").expect("an ETag").replace("&quot;", "\"")
}

fn set(node: &Node, bucket: &str, mode: &str) -> Answer {
    node.ask("PUT", &format!("/v1/buckets/{bucket}/etag?mode={mode}"), &[], b"")
}

#[test]
fn uploads_that_meet_have_each_its_own_md5() {
    let (node, key) = started(&[]);
    S3::new(&node, &key).ask("PUT", "/abc", &[], b"");
    std::thread::scope(|scope| {
        for at in 0..6 {
            let (node, key) = (&node, &key);
            scope.spawn(move || {
                let (s3, mut dice) = (S3::new(node, key), Dice(at + 1));
                for (n, size) in SIZES.iter().enumerate() {
                    let (target, body) = (format!("/abc/{at}-{n}"), dice.bytes(*size));
                    let put = s3.ask("PUT", &target, &[], &body);
                    assert_eq!(etag(&put), quoted(&hex(&md5_of(&body))), "{size} bytes");
                    assert!(s3.ask("GET", &target, &[], b"").body == body, "{size} bytes come back");
                }
            });
        }
    });
}

#[test]
fn a_bucket_may_do_without_md5s_but_for_who_sends_one() {
    use base64::Engine as _;
    let (node, key) = started(&[]);
    let (s3, mut dice) = (S3::new(&node, &key), Dice(7));
    s3.ask("PUT", "/abc", &[], b"");
    let before = quoted(&hex(&md5_of(b"abc")));
    assert_eq!(etag(&s3.ask("PUT", "/abc/before", &[], b"abc")), before);
    let done = set(&node, "abc", "fast");
    assert_eq!((done.status, done.json()), (200, json!({ "bucket": "abc", "etag": "fast" })));
    assert_eq!(node.get("/v1/buckets/abc").json()["etag"], "fast");
    assert_eq!(etag(&s3.ask("HEAD", "/abc/before", &[], b"")), before, "what is there keeps its own");
    for size in SIZES {
        let body = dice.bytes(size);
        let target = format!("/abc/fast-{size}");
        let put = s3.ask("PUT", &target, &[], &body);
        let fast = etag(&put).to_owned();
        let half = fast.strip_prefix('"').and_then(|etag| etag.strip_suffix("-1\"")).expect("it ends in -1");
        assert!(half.len() == 32 && half.bytes().all(|b| b.is_ascii_hexdigit()), "{fast}");
        assert_ne!(half, hex(&md5_of(&body)));
        let got = s3.ask("GET", &target, &[], b"");
        assert!(got.body == body && etag(&got) == fast, "{size} bytes come back");
        assert_eq!(node.get(&format!("/v1/objects/abc/fast-{size}")).header("etag"), Some(&fast[..]));
        assert_eq!(listed(&s3, "abc", &format!("fast-{size}")), fast);
        assert_eq!(s3.ask("PUT", &target, &[("if-match", &fast)], &body).status, 200, "it is good for conditions");
        // Whoever sends an MD5 has it compared, and told.
        let md5 = md5_of(&body);
        let [right, wrong] = [md5, [7; 16]].map(|md5| base64::prelude::BASE64_STANDARD.encode(md5));
        let with = |md5: &str| s3.ask("PUT", &target, &[("content-md5", md5)], &body);
        assert_eq!(etag(&with(&right)), quoted(&hex(&md5)));
        assert_eq!(with(&wrong).status, 400);
    }
    // Each bucket for itself, and what comes in by the other port is known as before.
    s3.ask("PUT", "/def", &[], b"");
    assert_eq!(etag(&s3.ask("PUT", "/def/k", &[], b"abc")), before);
    let plain = node.ask("PUT", "/v1/objects/abc/plain", &[], b"abc");
    assert_eq!(plain.header("etag").map(str::len), Some(66), "the whole digest");
    assert_eq!(set(&node, "abc", "md5").status, 200);
    assert_eq!(etag(&s3.ask("PUT", "/abc/after", &[], b"abc")), before);
    for bad in ["", "MD5", "fast&x=1"] {
        set(&node, "abc", bad).expect_error(400, "InvalidQuery");
    }
    set(&node, "nowhere", "fast").expect_error(404, "NoSuchBucket");
}
