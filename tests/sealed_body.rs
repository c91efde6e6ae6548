//! Sealed bodies from outside: what the published vectors say opens, and everything next to it does not.
//!
//! The vectors were computed from docs/format.md by another implementation, so this file breaks when
//! the format changes, and a release that changes it needs a new version of it.

use boveda::base::{BodyId, ClusterId, KekId, Secret, Wrap};
use boveda::seal::body::{open_whole, seal_whole};
use boveda::seal::digest::digest_of;
use boveda::seal::{BodyOpener, BodySealer, HEADER_BYTES, Keyring, OpenError, SealingKey, TAG_BYTES};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("fixtures/sealed-body-v1.json")).expect("the fixture is JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("a text");
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("a field of the right width")
}

fn plain(len: u64) -> Vec<u8> {
    (0..len).map(|i| u8::try_from((31 * i + 7) % 251).expect("below 251")).collect()
}

fn ring(vectors: &Value) -> Keyring {
    let key = |k: &Value| (u32::try_from(number(&k["generation"])).expect("small"), Secret::new(bytes(&k["kek"])));
    Keyring::new(list(&vectors["keys"]).iter().map(key).collect()).expect("a ring")
}

/// A sealed body with everything needed to open it.
struct Body {
    ring: Keyring,
    cluster: ClusterId,
    body: BodyId,
    wrap: Wrap,
    sealed: Vec<u8>,
    text: Vec<u8>,
}

impl Body {
    fn opener(&self, header: &[u8]) -> Result<BodyOpener, OpenError> {
        BodyOpener::new(&self.ring, self.cluster, self.body, &self.wrap, header)
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        open_whole(&self.opener(sealed)?, sealed)
    }

    /// Chunk `index` with its tag, as it lies in the sealed body.
    fn chunk(&self, index: u64) -> std::ops::Range<usize> {
        let layout = self.opener(&self.sealed).expect("opens").layout();
        let at = usize::try_from(layout.sealed_at(index).expect("small")).expect("small");
        at..at + layout.chunk_len(self.text.len() as u64, index).expect("a chunk of the body") + TAG_BYTES
    }
}

/// The bodies that the fixture holds whole.
fn bodies() -> Vec<Body> {
    let v = vectors();
    let whole = list(&v["bodies"]).iter().filter(|b| b.get("sealed").is_some());
    whole
        .map(|b| Body {
            ring: ring(&v),
            cluster: ClusterId(bytes(&b["cluster_id"])),
            body: BodyId(bytes(&b["body_id"])),
            wrap: Wrap {
                kek: KekId(bytes(&b["wrap"]["kek_id"])),
                nonce: bytes(&b["wrap"]["nonce"]),
                sealed: bytes(&b["wrap"]["sealed"]),
            },
            sealed: hex(&b["sealed"]),
            text: plain(number(&b["plain_len"])),
        })
        .collect()
}

/// The longest of them: full chunks of 4 KiB and a short one.
fn long_body() -> Body {
    let body = bodies().into_iter().max_by_key(|b| b.text.len()).expect("there are some");
    let layout = body.opener(&body.sealed).expect("opens").layout();
    assert!(layout.chunks(body.text.len() as u64) >= 3);
    body
}

#[test]
fn the_cipher_is_the_one_of_the_rfc() {
    let v = vectors();
    let cases = list(&v["aes_256_gcm_siv"]);
    assert!(cases.len() >= 10);
    for case in cases {
        let key = SealingKey::new(&bytes(&case["key"]));
        let (nonce, place, mut text) = (bytes(&case["nonce"]), hex(&case["aad"]), hex(&case["plaintext"]));
        let tag = key.seal(&nonce, &place, &mut text);
        assert_eq!([&text[..], &tag].concat(), hex(&case["result"]));
        key.open(&nonce, &place, &mut text, &tag).expect("opens");
        assert_eq!(text, hex(&case["plaintext"]));
    }
}

#[test]
fn the_known_ids_boxes_and_bodies_open() {
    let v = vectors();
    let ring = ring(&v);
    assert_eq!(ring.origin().cluster.0, bytes(&v["cluster_id"]));
    for (key, (number_, id)) in list(&v["keys"]).iter().zip(ring.generations()) {
        assert_eq!((number(&key["generation"]), bytes(&key["kek_id"])), (u64::from(number_), id.0));
    }
    let known = &v["box"];
    assert_eq!(ring.open_box(&hex(&known["place"]), &hex(&known["sealed"])), Ok(hex(&known["plain"])));
    let all = bodies();
    assert!(all.len() >= 5);
    for body in all {
        assert_eq!(body.open(&body.sealed), Ok(body.text.clone()), "{} bytes", body.text.len());
    }
    for body in list(&v["bodies"]).iter().filter(|b| b.get("sealed").is_some()) {
        assert_eq!(digest_of(&hex(&body["sealed"])), bytes(&body["digest_blake3"]));
    }
}

#[test]
fn every_flipped_bit_of_a_body_is_noticed() {
    for body in bodies() {
        let opener = body.opener(&body.sealed).expect("opens");
        let mut bad = body.sealed.clone();
        for bit in 0..bad.len() * 8 {
            bad[bit / 8] ^= 1 << (bit % 8);
            if bit / 8 < HEADER_BYTES {
                assert!(body.opener(&bad).is_err(), "header bit {bit}");
            }
            assert!(open_whole(&opener, &bad).is_err(), "{} bytes, bit {bit}", body.text.len());
            bad[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(bad, body.sealed);
    }
}

#[test]
fn every_flipped_bit_of_a_wrap_is_noticed() {
    let mut body = long_body();
    let good = body.wrap.clone();
    let flip = |bytes: &mut [u8], bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
    for bit in 0..(16 + 12 + 48) * 8 {
        match bit / 8 {
            0..16 => flip(&mut body.wrap.kek.0, bit),
            16..28 => flip(&mut body.wrap.nonce, bit - 16 * 8),
            _ => flip(&mut body.wrap.sealed, bit - 28 * 8),
        }
        assert!(body.opener(&body.sealed).is_err(), "bit {bit}");
        body.wrap = good.clone();
    }
    assert!(body.opener(&body.sealed).is_ok());
}

#[test]
fn chunks_do_not_move_within_a_body() {
    let body = long_body();
    let (first, second) = (body.chunk(0), body.chunk(1));
    assert_eq!(first.len(), second.len());
    let mut swapped = body.sealed.clone();
    swapped[first.clone()].copy_from_slice(&body.sealed[second.clone()]);
    swapped[second.clone()].copy_from_slice(&body.sealed[first.clone()]);
    assert_eq!(body.open(&swapped), Err(OpenError));
    let mut repeated = body.sealed.clone();
    repeated[second.clone()].copy_from_slice(&body.sealed[first.clone()]);
    assert_eq!(body.open(&repeated), Err(OpenError));
    let without_first = [&body.sealed[..first.start], &body.sealed[second.start..]].concat();
    assert_eq!(body.open(&without_first), Err(OpenError));
    let twice = [&body.sealed[..second.end], &body.sealed[second.start..]].concat();
    assert_eq!(body.open(&twice), Err(OpenError));

    // One by one: each chunk opens at its own index and at no other.
    let opener = body.opener(&body.sealed).expect("opens");
    for at in 0..3 {
        for index in [0, 1, 2, 3, 1 << 32, u64::MAX] {
            let (text, tag) = body.sealed[body.chunk(at)].split_last_chunk().expect("a chunk");
            assert_eq!(opener.open_chunk(index, &mut text.to_vec(), tag).is_ok(), index == at, "{at} as {index}");
        }
    }
}

#[test]
fn chunks_and_wraps_do_not_move_between_bodies() {
    let v = vectors();
    let seal = |body: BodyId, cluster: ClusterId| {
        let ring = ring(&v);
        let text = plain(70_000);
        let (sealed, wrap, _) = seal_whole(&ring, cluster, body, &[text.clone().into()]);
        Body { ring, cluster, body, wrap, sealed, text }
    };
    let one = seal(BodyId([1; 16]), ClusterId([9; 16]));
    // Same id again (an overwrite restored from an old disk), another id, another cluster.
    for other in [
        seal(BodyId([1; 16]), ClusterId([9; 16])),
        seal(BodyId([2; 16]), ClusterId([9; 16])),
        seal(BodyId([1; 16]), ClusterId([8; 16])),
    ] {
        assert_eq!(other.open(&other.sealed).as_deref(), Ok(&other.text[..]));
        for index in 0..2 {
            let mut mixed = one.sealed.clone();
            mixed[one.chunk(index)].copy_from_slice(&other.sealed[other.chunk(index)]);
            assert_eq!(one.open(&mixed), Err(OpenError), "chunk {index}");
        }
        let mut header = one.sealed.clone();
        header[..HEADER_BYTES].copy_from_slice(&other.sealed[..HEADER_BYTES]);
        assert_eq!(one.open(&header), Err(OpenError));
        assert_eq!(one.open(&other.sealed), Err(OpenError));
        let opens =
            |cluster, body, wrap, sealed: &[u8]| BodyOpener::new(&one.ring, cluster, body, wrap, sealed).is_ok();
        assert!(opens(one.cluster, one.body, &one.wrap, &one.sealed));
        assert!(!opens(one.cluster, one.body, &other.wrap, &one.sealed));
        assert!(!opens(other.cluster, other.body, &one.wrap, &other.sealed));
        assert!(!opens(other.cluster, other.body, &other.wrap, &one.sealed));
    }
    for (cluster, body) in [(ClusterId([8; 16]), one.body), (one.cluster, BodyId([2; 16]))] {
        assert!(BodyOpener::new(&one.ring, cluster, body, &one.wrap, &one.sealed).is_err());
    }
    let stranger = Keyring::new(vec![(1, Secret::new([3; 32]))]).expect("a ring");
    assert!(BodyOpener::new(&stranger, one.cluster, one.body, &one.wrap, &one.sealed).is_err());
}

#[test]
fn no_cut_and_no_extension_opens() {
    let body = long_body();
    let opener = body.opener(&body.sealed).expect("opens");
    for end in 0..body.sealed.len() {
        assert_eq!(open_whole(&opener, &body.sealed[..end]), Err(OpenError), "{end} bytes");
        assert!(end >= HEADER_BYTES || body.opener(&body.sealed[..end]).is_err(), "header of {end} bytes");
    }
    // At a chunk's border the length alone tells; no byte needs to be read.
    let chunks = opener.layout().chunks(body.text.len() as u64);
    for index in 0..chunks {
        assert_eq!(opener.layout().plain_len(body.chunk(index).start as u64), None, "before chunk {index}");
    }
    let last = body.chunk(chunks - 1);
    for more in [&[0][..], &[0; TAG_BYTES], &[0; 5000], &body.sealed[last], &body.sealed[body.chunk(0)]] {
        assert_eq!(open_whole(&opener, &[&body.sealed[..], more].concat()), Err(OpenError), "{} more", more.len());
    }
    // A body that ends with an empty chunk does not open without it, nor with a second one.
    let full = bodies().into_iter().find(|b| b.text.len() == 4096).expect("a full chunk and an empty one");
    let empty = full.chunk(1);
    assert_eq!(empty.len(), TAG_BYTES);
    assert_eq!(full.open(&full.sealed[..empty.start]), Err(OpenError));
    assert_eq!(full.open(&[&full.sealed[..], &full.sealed[empty]].concat()), Err(OpenError));
}

/// Opens only the chunks that a range needs, as the store does.
fn read_range(body: &Body, opener: &BodyOpener, from: u64, to: u64) -> Vec<u8> {
    let layout = opener.layout();
    let mut out = Vec::new();
    for index in layout.chunk_of(from)..=layout.chunk_of(to - 1) {
        let (text, tag) = body.sealed[body.chunk(index)].split_last_chunk().expect("a chunk");
        let mut text = text.to_vec();
        opener.open_chunk(index, &mut text, tag).expect("opens");
        let at = layout.plain_at(index).expect("small");
        let end = at + text.len() as u64;
        let inside = |offset: u64| usize::try_from(offset.clamp(at, end) - at).expect("small");
        out.extend_from_slice(&text[inside(from)..inside(to)]);
    }
    out
}

#[test]
fn ranges_open_around_every_border() {
    let body = long_body();
    let opener = body.opener(&body.sealed).expect("opens");
    let (len, chunk) = (body.text.len() as u64, opener.chunk_bytes() as u64);
    let borders = (0..=len / chunk).map(|i| i * chunk).chain([len]);
    let mut edges: Vec<u64> = borders.flat_map(|b| [b.saturating_sub(1), b, b + 1]).filter(|&b| b <= len).collect();
    edges.dedup();
    for &from in &edges {
        for &to in edges.iter().filter(|&&to| to > from) {
            let expected = &body.text[usize::try_from(from).expect("small")..usize::try_from(to).expect("small")];
            assert!(read_range(&body, &opener, from, to) == expected, "{from}..{to}");
        }
    }
}

#[test]
fn streams_and_whole_bodies_are_one_format() {
    let ring = ring(&vectors());
    let (cluster, id) = (ring.origin().cluster, BodyId([5; 16]));
    let text = plain(150_000);
    let (sealer, wrap) = BodySealer::new(&ring, cluster, id);
    let mut sealed = sealer.header().to_vec();
    for (index, chunk) in (0..).zip(text.chunks(sealer.layout().chunk_bytes())) {
        let mut chunk = chunk.to_vec();
        let tag = sealer.seal_chunk(index, &mut chunk);
        sealed.extend_from_slice(&chunk);
        sealed.extend_from_slice(&tag);
    }
    let opener = BodyOpener::new(&ring, cluster, id, &wrap, &sealed).expect("opens");
    assert!(open_whole(&opener, &sealed).expect("opens") == text);
}
