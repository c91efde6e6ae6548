use super::super::sigv4::signing_key;
use super::*;

const SIGNED: Coding = Coding { is_signed: true, has_trailer: false };
const SIGNED_TRAILER: Coding = Coding { is_signed: true, has_trailer: true };
const UNSIGNED: Coding = Coding { is_signed: false, has_trailer: true };

fn bytes32(text: &str) -> [u8; SHA256_BYTES] {
    unhex(text.as_bytes()).expect("64 digits")
}

/// Of the examples in the Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring
/// Payload in Multiple Chunks", without trailers and with them.
fn seed(signature: &str) -> Arc<Seed> {
    let scope = Scope { date: "20130524".into(), region: "us-east-1".into(), service: "s3".into() };
    Arc::new(Seed {
        key: Arc::new(signing_key(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope)),
        at: Second::parse("20130524T000000Z").expect("a time"),
        scope,
        signature: bytes32(signature),
    })
}

fn example_seed() -> Arc<Seed> {
    seed("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
}

const EXAMPLE_LEN: u64 = 66_560;

/// Two chunks of letters, and the last one.
fn chunked(signatures: [&str; 3], end: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (size, signature) in [65_536, 1024, 0].into_iter().zip(signatures) {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        body.extend(std::iter::repeat_n(b'a', size));
        if size > 0 {
            body.extend_from_slice(b"\r\n");
        }
    }
    body.extend_from_slice(end.as_bytes());
    body
}

fn example() -> Vec<u8> {
    chunked(
        [
            "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        "\r\n",
    )
}

fn trailer_seed() -> Arc<Seed> {
    seed("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e")
}

fn trailer_example() -> Vec<u8> {
    chunked(
        [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ],
        "x-amz-checksum-crc32c:sOO8/Q==\r\n\
         x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
    )
}

type Decoded = Result<(Vec<u8>, Vec<(String, String)>), ChunkError>;

fn decoded(mut chunks: Chunks, body: &[u8], step: usize) -> Decoded {
    let mut out = Vec::new();
    for piece in body.chunks(step.max(1)) {
        let mut input = Bytes::copy_from_slice(piece);
        while let Some(data) = chunks.next(&mut input)? {
            assert!(!data.is_empty());
            out.extend_from_slice(&data);
        }
        assert!(input.is_empty());
    }
    Ok((out, chunks.end()?.to_vec()))
}

fn signed_by(coding: Coding, seed: &Arc<Seed>, body: &[u8], step: usize) -> Decoded {
    decoded(Chunks::new(coding, Some(Arc::clone(seed)), EXAMPLE_LEN), body, step)
}

#[test]
fn the_published_examples_come_out_however_they_are_cut() {
    let trailers = vec![("x-amz-checksum-crc32c".to_owned(), "sOO8/Q==".to_owned())];
    let data = vec![b'a'; 66_560];
    for step in [1, 7, 4096, 65_621, usize::MAX] {
        let plain = signed_by(SIGNED, &example_seed(), &example(), step);
        assert!(plain == Ok((data.clone(), Vec::new())), "{step}: {:?}", plain.err());
        let with = signed_by(SIGNED_TRAILER, &trailer_seed(), &trailer_example(), step);
        assert!(with == Ok((data.clone(), trailers.clone())), "{step}: {:?}", with.err());
    }
}

#[test]
fn one_changed_byte_of_the_examples_is_refused() {
    let (plain, trailing) = (example(), trailer_example());
    for (coding, seed, body) in [(SIGNED, example_seed(), plain), (SIGNED_TRAILER, trailer_seed(), trailing)] {
        // Each byte that is no data, and of the data those at the ends of each chunk.
        let is_far =
            |at: usize| (at + 3 < body.len()) && body[at.saturating_sub(2)..=at + 2].iter().all(|b| *b == b'a');
        for at in (0..body.len()).filter(|at| !is_far(*at)) {
            let mut changed = body.clone();
            changed[at] ^= 1;
            let found = signed_by(coding, &seed, &changed, 65_536);
            // A blank where there is none means the same behind a colon only; none of these changes makes one.
            assert!(found.is_err(), "{at}: {:?}", char::from(body[at]));
        }
        for cut in [1, 2, 3, 90, 1200] {
            let short = &body[..body.len() - cut];
            assert!(signed_by(coding, &seed, short, usize::MAX).is_err(), "{cut}");
        }
        assert_eq!(signed_by(coding, &seed, &[&body[..], b"x"].concat(), usize::MAX), Err(ChunkError::Surplus));
    }
    let other = seed(&"0".repeat(64));
    assert_eq!(signed_by(SIGNED, &other, &example(), usize::MAX), Err(ChunkError::Signature));
}

#[test]
fn chunks_cannot_change_places_or_be_left_out() {
    let seed = example_seed();
    let whole = |parts: &[&[u8]]| {
        let (mut body, mut before) = (Vec::new(), seed.signature);
        for part in parts {
            before = seed.of_chunk(&before, &sha256(part));
            body.push(
                [format!("{:x};chunk-signature={}\r\n", part.len(), hex(&before)).as_bytes(), part, b"\r\n"].concat(),
            );
        }
        body
    };
    let parts = whole(&[b"ab", b"cd", b""]);
    let read = |order: &[usize]| {
        let body: Vec<u8> = order.iter().flat_map(|at| parts[*at].clone()).collect();
        decoded(Chunks::new(SIGNED, Some(Arc::clone(&seed)), 4), &body, 1).map(|(data, _)| data)
    };
    assert_eq!(read(&[0, 1, 2]), Ok(b"abcd".to_vec()));
    assert_eq!(read(&[1, 0, 2]), Err(ChunkError::Signature));
    assert_eq!(read(&[0, 0, 2]), Err(ChunkError::Signature));
    assert_eq!(read(&[0, 2]), Err(ChunkError::Length));
    assert_eq!(read(&[0, 1]), Err(ChunkError::Cut));
}

#[test]
fn a_signed_chunk_is_held_back_and_a_large_one_fails_at_its_end() {
    let seed = example_seed();
    for (size, is_held) in [(HELD_BYTES_MAX, true), (HELD_BYTES_MAX + 1, false)] {
        let data = vec![7; usize::try_from(size).expect("it fits")];
        let mut chunks = Chunks::new(SIGNED, Some(Arc::clone(&seed)), size);
        let head = format!("{size:x};chunk-signature={}\r\n", "0".repeat(64));
        assert_eq!(chunks.next(&mut Bytes::from(head)), Ok(None));
        let mut input = Bytes::copy_from_slice(&data[1..]);
        assert_eq!(chunks.next(&mut input).map(|out| out.is_none()), Ok(is_held));
        assert_eq!(chunks.next(&mut Bytes::from_static(&[7])), Err(ChunkError::Signature));
        assert_eq!(chunks.next(&mut Bytes::from_static(b"\r\n")), Err(ChunkError::Signature), "it stays so");
        assert_eq!(chunks.end(), Err(ChunkError::Signature));
    }
}

#[test]
fn unsigned_chunks_with_trailers() {
    let read = |body: &str, len| {
        let whole = decoded(Chunks::new(UNSIGNED, None, len), body.as_bytes(), usize::MAX);
        assert_eq!(decoded(Chunks::new(UNSIGNED, None, len), body.as_bytes(), 1), whole, "{body:?}");
        whole
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let body = "4\r\nWiki\r\nA\r\npedia in ch\r\n0\r\nX-Amz-Checksum-CRC32: AAAAAA==\r\nb:\r\n\r\n";
    let body = body.replace("A\r\n", "a\r\n").replace("pedia in ch", "pedia in c");
    let trailers = vec![pair("x-amz-checksum-crc32", "AAAAAA=="), pair("b", "")];
    assert_eq!(read(&body, 14), Ok((b"Wikipedia in c".to_vec(), trailers)));
    assert_eq!(read("0\r\n\r\n", 0), Ok((Vec::new(), Vec::new())));
    let many = |count: usize| format!("0\r\n{}\r\n", (0..count).map(|n| format!("n{n}:v\r\n")).collect::<String>());
    assert!(read(&many(16), 0).is_ok());
    let long = |len: usize| format!("0\r\nn:{}\r\n\r\n", "v".repeat(len - 4));
    assert!(read(&long(1024), 0).is_ok());
    for (body, len, why) in [
        ("", 0, ChunkError::Cut),
        ("0\r\n", 0, ChunkError::Cut),
        ("0\r\n\r", 0, ChunkError::Cut),
        ("0\r\nn:v\r\n", 0, ChunkError::Cut),
        ("0\r\n\r\n\r\n", 0, ChunkError::Surplus),
        ("0\r\n\r\n", 1, ChunkError::Length),
        ("2\r\nab\r\n0\r\n\r\n", 1, ChunkError::Length),
        ("2\r\nab\r\n0\r\n\r\n", 3, ChunkError::Length),
        ("2\r\nabc\r\n0\r\n\r\n", 3, ChunkError::LineEnd),
        ("2\r\nab0\r\n\r\n", 2, ChunkError::LineEnd),
        ("2\nab\r\n0\r\n\r\n", 2, ChunkError::LineEnd),
        ("\r\n", 2, ChunkError::Head),
        ("g\r\n", 2, ChunkError::Head),
        ("+2\r\nab\r\n0\r\n\r\n", 2, ChunkError::Head),
        (" 2\r\nab\r\n0\r\n\r\n", 2, ChunkError::Head),
        ("00000000000000002\r\nab\r\n0\r\n\r\n", 2, ChunkError::Head),
        ("ffffffffffffffff\r\nab", 2, ChunkError::Length),
        ("2;a=b\r\nab\r\n0\r\n\r\n", 2, ChunkError::Head),
        (&"0".repeat(200), 2, ChunkError::Head),
        (&many(17), 0, ChunkError::Trailer),
        (&long(1025), 0, ChunkError::Trailer),
        ("0\r\nn\r\n\r\n", 0, ChunkError::Trailer),
        ("0\r\n:v\r\n\r\n", 0, ChunkError::Trailer),
        ("0\r\na b:v\r\n\r\n", 0, ChunkError::Trailer),
        ("0\r\nn:\u{e9}\r\n\r\n", 0, ChunkError::Trailer),
        ("0\r\nn:v\r\nN:v\r\n\r\n", 0, ChunkError::Trailer),
        ("0\r\nn:v\n\r\n\r\n", 0, ChunkError::LineEnd),
    ] {
        assert_eq!(read(body, len), Err(why), "{body:?}");
    }
}

#[test]
fn a_signature_that_nobody_can_check_has_to_be_there_all_the_same() {
    let read =
        |coding, body: &[u8]| decoded(Chunks::new(coding, None, EXAMPLE_LEN), body, 100).map(|(data, _)| data.len());
    assert_eq!(read(SIGNED, &example()), Ok(66_560));
    assert_eq!(read(SIGNED_TRAILER, &trailer_example()), Ok(66_560));
    assert_eq!(read(UNSIGNED, &example()), Err(ChunkError::Head));
    assert_eq!(read(SIGNED, b"1\r\na\r\n0\r\n\r\n"), Err(ChunkError::Head));
    assert_eq!(read(SIGNED, &trailer_example()), Err(ChunkError::Surplus));
    assert_eq!(read(SIGNED_TRAILER, &example()), Err(ChunkError::TrailerSignature));
}
