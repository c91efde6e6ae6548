//! ETags of what clients of S3 write: MD5s, of uploads that meet as well, or what a bucket is set to instead, of parts too.

mod common;

use base64::Engine as _;
use boveda::sign::sigv4::hex;
use common::multipart::{self, MIN, begin, bytes};
use common::s3::{S3, started, text, texts};
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

/// The bytes of a text of hex digits.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits");
    (0..text.len()).step_by(2).map(digit).collect()
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

#[test]
fn parts_do_without_md5s_too() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    let parts = [bytes(1, MIN), bytes(2, MIN + 1), bytes(3, 70_000)];
    let begun = begin(&s3, "/abc/k", &[]);
    // What is sent before the bucket does without keeps its MD5, and so does what comes with one.
    let first = begun.send(&s3, 1, &parts[0]);
    assert_eq!(first, quoted(&hex(&md5_of(&parts[0]))));
    assert_eq!(set(&node, "abc", "fast").status, 200);
    let second = begun.send(&s3, 2, &parts[1]);
    let half = second.strip_prefix('"').and_then(|etag| etag.strip_suffix("-1\"")).expect("it ends in -1");
    assert_ne!(half, hex(&md5_of(&parts[1])));
    let said = base64::prelude::BASE64_STANDARD.encode(md5_of(&parts[2]));
    let third = etag(&s3.ask("PUT", &begun.part(3), &[("content-md5", &said)], &parts[2])).to_owned();
    assert_eq!(third, quoted(&hex(&md5_of(&parts[2]))));
    let wrong = base64::prelude::BASE64_STANDARD.encode([7; 16]);
    assert_eq!(s3.ask("PUT", &begun.part(3), &[("content-md5", &wrong)], &parts[2]).status, 400);
    let listed = s3.ask("GET", &begun.target(), &[], b"");
    let tags: Vec<_> = texts(listed.text(), "ETag").iter().map(|tag| tag.replace("&quot;", "\"")).collect();
    assert_eq!(tags, [&*first, &*second, &*third]);
    // The whole's is made of them, in whichever way each is known.
    let all = [(1, first.clone()), (2, second.clone()), (3, third.clone())];
    let bare = |tag: &str| tag.trim_matches('"').trim_end_matches("-1").to_owned();
    let sums: Vec<u8> = all.iter().flat_map(|(_, tag)| unhex(&bare(tag))).collect();
    let whole = quoted(&format!("{}-3", hex(&md5_of(&sums))));
    let done = begun.complete(&s3, &all, &[]);
    assert_eq!(
        text(done.text(), "ETag").map(|tag| tag.replace("&quot;", "\"")),
        Some(whole.clone()),
        "{}",
        done.text()
    );
    let got = s3.ask("GET", "/abc/k", &[], b"");
    assert!(got.body == parts.concat() && etag(&got) == whole, "it comes back");
    assert_ne!(whole, multipart::etag(&[&parts[0], &parts[1], &parts[2]]), "it is no MD5 of MD5s");
    // Copied into a part it is one that came without.
    let begun = begin(&s3, "/abc/copy", &[]);
    let copied = s3.ask("PUT", &begun.part(1), &[("x-amz-copy-source", "/abc/k")], b"");
    let tag = text(copied.text(), "ETag").expect("an ETag").replace("&quot;", "\"");
    assert!(tag.ends_with("-1\""), "{tag}");
    assert_eq!(begun.complete(&s3, &[(1, tag)], &[]).status, 200);
}
