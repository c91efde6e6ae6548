//! Sealing against known answers, and the whole-body path. What is opened, and what is not, is in
//! `tests/sealed_body.rs`, against the public interface.

use super::*;
use crate::base::Secret;
use serde_json::Value;

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap().try_into().unwrap()
}

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((31 * i + 7) % 251).unwrap()).collect()
}

fn ring(generations: u8) -> Keyring {
    Keyring::new((1..=generations).map(|g| (u32::from(g), Secret::new([g; 32]))).collect()).unwrap()
}

const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

#[test]
fn sealing_gives_the_known_answers() {
    let vectors: Value = serde_json::from_str(include_str!("../../../tests/fixtures/sealed-body-v1.json")).unwrap();
    let (bodies, parts) = (vectors["bodies"].as_array().unwrap(), vectors["parts"].as_array().unwrap());
    assert!(bodies.len() >= 9 && parts.len() >= 4);
    for v in bodies.iter().chain(parts) {
        let keys = vectors["keys"].as_array().unwrap().iter();
        let keys = keys.filter(|k| k["generation"].as_u64() <= v["generation"].as_u64());
        let ring =
            Keyring::new(keys.map(|k| (number(&k["generation"]) as u32, Secret::new(bytes(&k["kek"])))).collect());
        let (cluster, body) = (ClusterId(bytes(&v["cluster_id"])), BodyId(bytes(&v["body_id"])));
        let dek = Dek::from_bytes(bytes(&v["dek"]));
        let part = v.get("upload_id").map(|upload| PartPlace {
            upload: UploadId(bytes(upload)),
            number: number(&v["number"]).try_into().unwrap(),
        });
        let bound_to = part.map_or(body, |part| part.upload.as_body());
        let wrap = ring.unwrap().wrap_with(cluster, bound_to, &dek, bytes(&v["wrap"]["nonce"]));
        assert_eq!(wrap.kek.0, bytes(&v["wrap"]["kek_id"]));
        assert_eq!(wrap.sealed, bytes(&v["wrap"]["sealed"]));

        let layout = Layout::from_log2(number(&v["chunk_log2"]).try_into().unwrap()).unwrap();
        let sealer = BodySealer::with(cluster, body, part, &dek, bytes(&v["salt"]), layout);
        let sealed = seal_pieces(&sealer, &[plain(number(&v["plain_len"])).into()]);
        assert_eq!(sealed.len(), number(&v["sealed_len"]));
        if let Some(header) = v.get("header") {
            assert_eq!(*sealer.header(), bytes(header));
        } else {
            assert_eq!(sealed, hex(&v["sealed"]));
        }
        assert_eq!(digest_of(&sealed), bytes(&v["digest_blake3"]));
    }
}

#[test]
fn whole_bodies_round_trip_however_they_are_cut() {
    let ring = ring(2);
    for len in [0, 1, 1023, 1024, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5] {
        let text = plain(len);
        for cut in [1, 1000, CHUNK_BYTES, CHUNK_BYTES + 1, len.max(1)] {
            if cut == 1 && len > 2000 {
                continue;
            }
            let mut pieces: Vec<Bytes> = text.chunks(cut).map(Bytes::copy_from_slice).collect();
            pieces.insert(0, Bytes::new());
            let body = BodyId(random());
            let (sealed, wrap, digest) = seal_whole(&ring, CLUSTER, body, &pieces);
            assert_eq!(sealed.capacity(), sealed.len(), "one allocation of the right size");
            assert_eq!(Layout::default().sealed_len(len as u64), Some(sealed.len() as u64));
            assert_eq!(digest, digest_of(&sealed));
            let opener = BodyOpener::new(&ring, CLUSTER, body, &wrap, &sealed).unwrap();
            let opened = open_whole(&opener, &sealed).unwrap();
            assert_eq!(opened.capacity(), len, "one allocation of the right size");
            assert!(opened == text, "{len} bytes in pieces of {cut}");
        }
    }
}

#[test]
fn sealing_twice_shows_no_equality() {
    let ring = ring(1);
    let body = BodyId([1; 16]);
    let text = [Bytes::from_static(&[0; 100])];
    let (one, first, _) = seal_whole(&ring, CLUSTER, body, &text);
    let (two, second, _) = seal_whole(&ring, CLUSTER, body, &text);
    assert_ne!(one[HEADER_BYTES..], two[HEADER_BYTES..]);
    assert_ne!(first.sealed, second.sealed);
    assert_ne!(first.nonce, second.nonce);
}

/// The cipher alone would let a second key in: the commitment keeps it out before any chunk.
#[test]
fn a_valid_wrap_of_another_key_is_refused_by_the_commitment() {
    let ring = ring(1);
    let body = BodyId([1; 16]);
    let (sealed, wrap, _) = seal_whole(&ring, CLUSTER, body, &[]);
    assert!(BodyOpener::new(&ring, CLUSTER, body, &wrap, &sealed).is_ok());
    let other = ring.wrap(CLUSTER, body, &Dek::generate());
    assert!(ring.unwrap(CLUSTER, body, &other).is_ok());
    assert_eq!(BodyOpener::new(&ring, CLUSTER, body, &other, &sealed).unwrap_err(), OpenError);
}

/// Headers that commit to themselves correctly and yet are none of this version: a future format, another body.
#[test]
fn a_header_of_another_kind_is_refused_however_well_it_is_made() {
    let ring = ring(1);
    let body = BodyId([1; 16]);
    let dek = Dek::generate();
    let wrap = ring.wrap(CLUSTER, body, &dek);
    let opens = |at: usize, value: u8| {
        let mut header = *BodySealer::with(CLUSTER, body, None, &dek, [7; 24], Layout::default()).header();
        header[at] = value;
        let commitment = derive_body(&dek, &header, None).2;
        header[COMMITMENT_AT..].copy_from_slice(&commitment);
        BodyOpener::new(&ring, CLUSTER, body, &wrap, &header).is_ok()
    };
    assert!(opens(0, b'B') && opens(5, 12) && opens(5, 20) && opens(SALT_AT, 8));
    for (at, value) in [(0, b'b'), (3, b'2'), (4, 0), (4, 2), (5, 11), (5, 21), (5, 255), (6, 1), (7, 1)] {
        assert!(!opens(at, value), "byte {at} is {value}");
    }
    assert!(!opens(CLUSTER_AT, 0) && !opens(BODY_AT, 0));
}

/// All parts of an upload have one data key, so each says which part it is, and none is taken for a whole body.
#[test]
fn a_part_opens_as_that_part_of_that_upload_alone() {
    let ring = ring(2);
    let (upload, body) = (UploadId([2; 16]), BodyId([1; 16]));
    let wrap = ring.wrap(CLUSTER, upload.as_body(), &Dek::generate());
    let place = |upload, number| PartPlace { upload, number };
    let mut sealed = Vec::new();
    for number in [1, 2, 258, 10_000] {
        let sealer = BodySealer::of_part(&ring, CLUSTER, place(upload, number), &wrap, body).unwrap();
        let part = seal_pieces(&sealer, &[Bytes::from_static(b"a part")]);
        let opens = |place, wrap: &Wrap, body| BodyOpener::of_part(&ring, CLUSTER, place, wrap, body, &part);
        let opener = opens(place(upload, number), &wrap, body).unwrap();
        assert_eq!(open_whole(&opener, &part).unwrap(), b"a part");
        for other in [0, 1, 2, 3, 257, 258, 9999, 10_000].into_iter().filter(|other| *other != number) {
            assert!(opens(place(upload, other), &wrap, body).is_err(), "{number} as {other}");
        }
        assert!(opens(place(UploadId([3; 16]), number), &wrap, body).is_err(), "of another upload");
        assert!(opens(place(upload, number), &wrap, BodyId([4; 16])).is_err(), "another body");
        // The same data key, wrapped for the body itself: a whole body has another purpose.
        let dek = ring.unwrap(CLUSTER, upload.as_body(), &wrap).unwrap();
        let own = ring.wrap(CLUSTER, body, &dek);
        assert!(BodyOpener::new(&ring, CLUSTER, body, &own, &part).is_err());
        let whole = seal_pieces(&BodySealer::with(CLUSTER, body, None, &dek, [7; 24], Layout::default()), &[]);
        assert!(BodyOpener::new(&ring, CLUSTER, body, &own, &whole).is_ok());
        let as_part = BodyOpener::of_part(&ring, CLUSTER, place(upload, number), &wrap, body, &whole);
        assert!(as_part.is_err());
        sealed.push(part);
    }
    assert!(BodySealer::of_part(&ring, CLUSTER, place(UploadId([3; 16]), 1), &wrap, body).is_err());
}

#[test]
fn threads_share_a_sealer_and_an_opener() {
    fn shared<T: Send + Sync>(_: &T) {}
    let ring = ring(1);
    let body = BodyId([1; 16]);
    let (sealer, wrap) = BodySealer::new(&ring, CLUSTER, body);
    let opener = BodyOpener::new(&ring, CLUSTER, body, &wrap, sealer.header()).unwrap();
    shared(&sealer);
    shared(&opener);
    shared(&ring);
    std::thread::scope(|s| {
        for thread in 0..4u64 {
            let (sealer, opener) = (&sealer, &opener);
            s.spawn(move || {
                for index in (thread..64).step_by(4) {
                    let mut text = index.to_le_bytes();
                    let tag = sealer.seal_chunk(index, &mut text);
                    assert_ne!(text, index.to_le_bytes());
                    opener.open_chunk(index, &mut text, &tag).unwrap();
                    assert_eq!(text, index.to_le_bytes());
                }
            });
        }
    });
}

#[test]
fn nonces_of_far_chunks_differ() {
    let (sealer, _) = BodySealer::new(&ring(1), CLUSTER, BodyId([1; 16]));
    let indexes = (0..64).map(|bit| 1u64 << bit).chain([0, u64::MAX]);
    let nonces: std::collections::BTreeSet<_> = indexes.map(|i| sealer.0.nonce(i)).collect();
    assert_eq!(nonces.len(), 66);
}

#[test]
fn debug_shows_no_key() {
    let (sealer, _) = BodySealer::new(&ring(1), CLUSTER, BodyId([1; 16]));
    let layout = Layout::default();
    assert_eq!(format!("{sealer:?}"), format!("BodySealer(Chunks {{ layout: {layout:?}, .. }})"));
    assert_eq!(format!("{:?}", Dek::generate()), "Dek(Secret(..))");
    let ids = format!("{:?}", ring(1).generations()[0].1);
    let sealing = "SealingKey(..)";
    let generation = format!("Generation {{ number: 1, id: {ids}, wraps: {sealing}, boxes: {sealing} }}");
    let cluster = ring(1).origin().cluster;
    let origin = format!("Origin {{ cluster: {cluster:?}, marks: Secret(..) }}");
    let expected = format!("Keyring {{ generations: [{generation}], origin: {origin}, .. }}");
    assert_eq!(format!("{:?}", ring(1)), expected);
}
