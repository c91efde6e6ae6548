use super::*;
use crate::sign::chunks::Seed;
use crate::sign::sigv4::{Scope, Second, hex, signing_key};
use actix_web::test::TestRequest;
use std::sync::Arc;
use std::time::Duration;

const TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
/// CRC-32 of `abc`, in base64.
const CRC32: &str = "NSRBwg==";
/// SHA-256 of `abc`, in hex.
const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const MD5: &str = "kAFQmDzST7DWlj99KOF/cg==";

/// What becomes of a body with that head; and what it is expected to be.
async fn read(
    headers: &[(&str, &str)],
    body: &str,
    kept: Option<SignedBody>,
    max: usize,
) -> Result<(Vec<u8>, WantedSums, ExpectedSums), String> {
    let told = |error: HttpError| format!("{:?}", error.problem().kind);
    let make = || {
        let request = headers.iter().fold(TestRequest::put(), |request, header| request.append_header(*header));
        let request = request.insert_header(("content-length", body.len().to_string()));
        request.set_payload(body.to_owned()).to_http_parts()
    };
    let kept = kept.map(Rc::new);
    let incoming = |(req, payload)| {
        let incoming = Incoming::new(&req, payload, 1 << 20, Duration::from_secs(1));
        if let Some(kept) = &kept {
            req.extensions_mut().insert(Rc::clone(kept));
        }
        (req, incoming)
    };
    let (req, mut streamed) = incoming(make());
    let mut payload = Payload::of(&req, &mut streamed).map_err(told)?;
    let mut bytes = Vec::new();
    while let Some(piece) = payload.next().await.map_err(told)? {
        bytes.extend_from_slice(&piece);
    }
    let (sums, expected) = (payload.sums(), payload.expected());
    assert!(payload.len().is_none_or(|len| len == bytes.len() as u64));
    let (req, mut at_once) = incoming(make());
    let document = document(&req, &mut at_once, max).await.map_err(told)?;
    assert_eq!(document, bytes);
    Ok((bytes, sums, expected))
}

async fn outcome(headers: &[(&str, &str)], body: &str) -> String {
    read(headers, body, None, 100).await.map_or_else(|kind| kind, |(bytes, ..)| String::from_utf8_lossy(&bytes).into())
}

#[actix_rt::test]
async fn a_body_is_held_against_what_its_head_says() {
    for (headers, is) in [
        (&[][..], "abc"),
        (&[("x-amz-content-sha256", SHA256)], "abc"),
        (&[("content-md5", MD5), ("x-amz-checksum-crc32", CRC32), ("x-amz-sdk-checksum-algorithm", "CRC32")], "abc"),
        (&[("x-amz-content-sha256", &SHA256.replace('b', "c"))], "SignedDigest"),
        (&[("x-amz-content-sha256", "x")], "BodyHash"),
        (&[("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")], "Digest"),
        (&[("content-md5", "AAAA")], "Md5Header"),
        (&[("x-amz-checksum-crc32", "AAAAAA==")], "Checksum"),
        (&[("x-amz-checksum-crc32c", CRC32)], "Checksum"),
        (&[("x-amz-checksum-crc32", "AAAA")], "ChecksumHeader"),
        (&[("x-amz-checksum-sha1", CRC32)], "ChecksumHeader"),
        (&[("x-amz-checksum-md5", MD5)], "ChecksumHeader"),
        (&[("x-amz-checksum-mode", "ENABLED")], "ChecksumHeader"),
        (&[("x-amz-checksum-crc32", CRC32), ("x-amz-checksum-crc32", CRC32)], "ChecksumHeader"),
        (&[("x-amz-checksum-crc32", CRC32), ("x-amz-checksum-crc32c", CRC32)], "ChecksumHeader"),
        (&[("x-amz-sdk-checksum-algorithm", "CRC32")], "ChecksumHeader"),
        (&[("x-amz-sdk-checksum-algorithm", "MD5")], "ChecksumHeader"),
        (&[("x-amz-checksum-crc32", CRC32), ("x-amz-sdk-checksum-algorithm", "SHA1")], "ChecksumHeader"),
        (&[("x-amz-trailer", "x-amz-checksum-crc32")], "ChecksumHeader"),
        (&[("x-amz-decoded-content-length", "3")], "Header"),
        (&[("content-encoding", "gzip, aws-chunked")], "Header"),
        (&[("x-amz-content-sha256", SIGNED), ("x-amz-decoded-content-length", "3")], "BodyHash"),
    ] {
        assert_eq!(outcome(headers, "abc").await, is, "{headers:?}");
    }
    assert_eq!(read(&[], "abc", None, 2).await, Err("TooLarge".to_owned()));
}

#[actix_rt::test]
async fn a_trailer_is_the_one_that_was_announced() {
    let head =
        [("x-amz-content-sha256", TRAILER), ("x-amz-decoded-content-length", "3"), ("content-encoding", "aws-chunked")];
    let told = async |more: &[(&str, &str)], trailers: &str| {
        outcome(&[&head[..], more].concat(), &format!("3\r\nabc\r\n0\r\n{trailers}\r\n")).await
    };
    let named = ("x-amz-trailer", "x-amz-checksum-crc32");
    let right = format!("x-amz-checksum-crc32:{CRC32}\r\n");
    assert_eq!(told(&[named, ("x-amz-sdk-checksum-algorithm", "CRC32")], &right).await, "abc");
    assert_eq!(told(&[], "").await, "abc");
    for (more, trailers, is) in [
        (&[named][..], "x-amz-checksum-crc32:AAAAAA==\r\n".to_owned(), "Checksum"),
        (&[named], "x-amz-checksum-crc32:AAAA\r\n".to_owned(), "ChecksumHeader"),
        (&[named], String::new(), "ChunkTrailer"),
        (&[named], format!("x-amz-checksum-crc32c:{CRC32}\r\n"), "ChunkTrailer"),
        (&[named], format!("{right}a:b\r\n"), "ChunkTrailer"),
        (&[], right.clone(), "ChunkTrailer"),
        (&[("x-amz-trailer", "x-amz-meta-a")], right.clone(), "ChecksumHeader"),
        (&[("x-amz-trailer", "x-amz-checksum-crc32,x-amz-checksum-sha1")], right.clone(), "ChecksumHeader"),
        (&[named, ("x-amz-checksum-crc32", CRC32)], right.clone(), "ChecksumHeader"),
        (&[named, ("x-amz-sdk-checksum-algorithm", "SHA1")], right.clone(), "ChecksumHeader"),
    ] {
        assert_eq!(told(more, &trailers).await, is, "{more:?} {trailers}");
    }
    assert_eq!(outcome(&head[..1], "0\r\n\r\n").await, "LengthRequired");
    assert_eq!(outcome(&[head[0], ("x-amz-decoded-content-length", "+3")], "0\r\n\r\n").await, "Header");
    assert_eq!(outcome(&head, "3\r\nabc\r\n0\r\n").await, "Incomplete");
    assert_eq!(outcome(&head, "3\r\nabc\r\n0\r\n\r\nx").await, "ChunkForm");
    assert_eq!(outcome(&head, "2\r\nab\r\n0\r\n\r\n").await, "Incomplete");
}

#[actix_rt::test]
async fn signed_chunks_rest_on_what_was_kept_of_the_head() {
    let scope = Scope { date: "20130524".into(), region: "r".into(), service: "s3".into() };
    let key = || Arc::new(signing_key(b"secret", &scope));
    let seed = |signature| {
        let at = Second::parse("20130524T000000Z").expect("a time");
        Arc::new(Seed { key: key(), at, scope: scope.clone(), signature })
    };
    let of = |seed: Arc<Seed>| {
        let announced = Announced::parse(SIGNED).expect("a coding");
        Some(SignedBody { announced, seed: Some(seed) })
    };
    let good = seed([1; 32]);
    let one = good.of_chunk(&good.signature, &crate::seal::hmac::sha256(b"abc"));
    let last = good.of_chunk(&one, &crate::seal::hmac::sha256(b""));
    let body = format!("3;chunk-signature={}\r\nabc\r\n0;chunk-signature={}\r\n\r\n", hex(&one), hex(&last));
    let head =
        [("x-amz-content-sha256", SIGNED), ("x-amz-decoded-content-length", "3"), ("x-amz-checksum-crc32", CRC32)];
    let (bytes, sums, expected) = read(&head, &body, of(Arc::clone(&good)), 3).await.expect("it is good");
    assert_eq!((bytes.as_slice(), sums.checksum), (&b"abc"[..], Some(Algorithm::Crc32)));
    assert_eq!((expected.checksum.is_some(), expected.sha256), (true, None));
    assert_eq!(read(&head, &body, of(seed([2; 32])), 3).await, Err("ChunkSignature".to_owned()));
    assert_eq!(read(&head, &body, of(good), 2).await, Err("TooLarge".to_owned()));
}

#[actix_rt::test]
async fn what_is_computed_is_what_was_named_or_the_usual() {
    let (_, sums, expected) = read(&[], "abc", None, 3).await.expect("it is good");
    assert_eq!(sums, WantedSums { md5: true, for_etag: true, sha256: false, checksum: Some(Algorithm::Crc64Nvme) });
    assert_eq!(expected, ExpectedSums::default());
    let head = [("x-amz-content-sha256", SHA256), ("x-amz-checksum-crc32", CRC32), ("content-md5", MD5)];
    let (_, sums, expected) = read(&head, "abc", None, 3).await.expect("it is good");
    assert_eq!(sums, WantedSums { md5: true, for_etag: false, sha256: true, checksum: Some(Algorithm::Crc32) });
    assert!(expected.md5.is_some() && expected.sha256.is_some() && expected.checksum.is_some());
}

#[test]
fn the_coding_of_the_transfer_is_not_kept() {
    use crate::http::testing::headers;
    let kept = |all: &[(&str, &str)]| content_encoding(&headers(all)).expect("text");
    assert_eq!(kept(&[]), "");
    assert_eq!(kept(&[("content-encoding", "aws-chunked")]), "");
    assert_eq!(kept(&[("content-encoding", "gzip, aws-chunked,")]), "gzip");
    assert_eq!(kept(&[("content-encoding", "aws-chunked"), ("content-encoding", "a,b")]), "a,b");
    for (name, is) in
        [("content-md5", true), ("x-amz-checksum-sha1", true), ("x-amz-trailer", true), ("x-amz-checksum-mode", false)]
    {
        assert_eq!(is_checked(&headers(&[(name, "x")])), is, "{name}");
    }
}
