//! Sums over plaintext that arrives in pieces: what clients know a body by, and send to find one that was garbled on its
//! way.
//!
//! Invariants
//! - Only what is wanted is computed, each sum once.
//! - What is expected and was not computed does not fit: nothing passes unseen.
//!
//! MD5 and SHA-1 say nothing against anybody who means to; what is sealed is vouched for by its tags. The names of the
//! algorithms and their values: `base::checksum`.

use super::md5::Md5;
use crate::base::checksum::{MD5_BYTES, SHA256_BYTES, Sum, Value};
use crate::base::{Algorithm, Checksum, Etag, ExpectedSums, WantedSums};
use crc_fast::CrcAlgorithm;
use sha2::Digest as _;

/// The sums of a body, so far.
#[derive(Clone, Default)]
pub struct Sums {
    wanted: WantedSums,
    md5: Option<Md5>,
    /// Of the head, of the kept checksum, or of both.
    sha256: Option<sha2::Sha256>,
    sha1: Option<sha1::Sha1>,
    crc: Option<crc_fast::Digest>,
}

impl std::fmt::Debug for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sums({:?})", self.wanted)
    }
}

/// The sums of a whole body, those that were wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Computed {
    /// Its MD5.
    pub md5: Option<[u8; MD5_BYTES]>,
    /// Its SHA-256.
    pub sha256: Option<[u8; SHA256_BYTES]>,
    /// The sum that is kept with the object.
    pub checksum: Option<Checksum>,
    /// Whether the ETag was to be the MD5, and does without.
    pub is_fast: bool,
}

impl Sums {
    /// Sums of no bytes yet.
    pub fn new(wanted: WantedSums) -> Self {
        let is = |algorithm| wanted.checksum == Some(algorithm);
        Sums {
            wanted,
            md5: wanted.md5.then(Md5::default),
            sha256: (wanted.sha256 || is(Algorithm::Sha256)).then(sha2::Sha256::new),
            sha1: is(Algorithm::Sha1).then(sha1::Sha1::new),
            crc: wanted.checksum.and_then(crc_of).map(crc_fast::Digest::new),
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(crc) = &mut self.crc {
            crc.update(bytes);
        }
    }

    /// The MD5, to be computed elsewhere: it takes in nothing here until it is back.
    pub fn lend_md5(&mut self) -> Option<Md5> {
        self.md5.take()
    }

    /// It is back, with what the others have taken in meanwhile.
    pub fn take_back(&mut self, md5: Md5) {
        self.md5 = Some(md5);
    }

    /// The sums of everything appended.
    pub fn finish(self) -> Computed {
        let Sums { wanted, md5, sha256, sha1, crc } = self;
        let sha256: Option<[u8; SHA256_BYTES]> = sha256.map(|sha256| sha256.finalize().into());
        let checksum = wanted.checksum.and_then(|algorithm| {
            let of = |value: &[u8]| Checksum::of_all(algorithm, value);
            match algorithm {
                // Numbers, written with the highest byte first: the last bytes of eight.
                Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Crc64Nvme => {
                    of(&crc?.finalize().to_be_bytes()[8 - algorithm.bytes()..])
                }
                Algorithm::Sha1 => of(&sha1?.finalize()),
                Algorithm::Sha256 => of(&sha256?),
            }
        });
        let is_fast = wanted.for_etag && !wanted.md5;
        Computed { md5: md5.map(Md5::finalize), sha256: sha256.filter(|_| wanted.sha256), checksum, is_fast }
    }
}

/// What computes a CRC; none of what is no CRC.
fn crc_of(algorithm: Algorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        Algorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        Algorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        Algorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        Algorithm::Sha1 | Algorithm::Sha256 => None,
    }
}

/// The MD5 over the MD5s of parts, or what they have in place of them, in order: what the ETag of an object in parts is.
pub fn md5_of_parts(parts: impl Iterator<Item = [u8; MD5_BYTES]>) -> [u8; MD5_BYTES] {
    let mut all = Md5::default();
    parts.for_each(|part| all.update(&part));
    all.finalize()
}

/// The composite checksum of a body in parts, from those of its parts: the sum over these, in order. `None` of an algorithm
/// that has none.
pub fn composite(algorithm: Algorithm, parts: impl Iterator<Item = Value>) -> Option<Checksum> {
    if algorithm == Algorithm::Crc64Nvme {
        return None;
    }
    let mut all = Sums::new(WantedSums { checksum: Some(algorithm), ..WantedSums::default() });
    parts.for_each(|part| all.update(part.as_bytes()));
    all.finish().checksum.map(|checksum| Checksum { is_composite: true, ..checksum })
}

/// The checksum over all bytes of a body in parts, from those of its parts and the bytes of each, in order. `None` of what
/// is no CRC: nothing else can be combined.
pub fn combined(algorithm: Algorithm, mut parts: impl Iterator<Item = (Value, u64)>) -> Option<Checksum> {
    let crc = crc_of(algorithm)?;
    let number = |value: Value| value.as_bytes().iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let first = number(parts.next()?.0);
    let all = parts.fold(first, |all, (value, len)| crc_fast::checksum_combine(crc, all, number(value), len));
    Checksum::of_all(algorithm, &all.to_be_bytes()[8 - algorithm.bytes()..])
}

impl Computed {
    /// Whether they are what is expected; else which of them is not.
    pub fn check(&self, expected: &ExpectedSums) -> Result<(), Sum> {
        let ExpectedSums { md5, sha256, checksum } = expected;
        if md5.is_some() && *md5 != self.md5 {
            return Err(Sum::Md5);
        }
        if sha256.is_some() && *sha256 != self.sha256 {
            return Err(Sum::Sha256);
        }
        match checksum {
            Some(checksum) if self.checksum != Some(*checksum) => Err(Sum::Checksum(checksum.algorithm)),
            _ => Ok(()),
        }
    }

    /// What clients know the object by.
    pub fn etag(&self) -> Etag {
        let without = if self.is_fast { Etag::Fast } else { Etag::Digest };
        self.md5.map_or(without, Etag::Md5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Algorithm; 5] = Algorithm::ALL;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn sums(wanted: WantedSums, pieces: &[&[u8]]) -> Computed {
        let mut sums = Sums::new(wanted);
        pieces.iter().for_each(|piece| sums.update(piece));
        sums.finish()
    }

    #[test]
    fn the_sums_of_parts_make_that_of_the_whole() {
        let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        for algorithm in ALL {
            let of = |bytes: &[u8]| sums(everything(algorithm), &[bytes]).checksum.expect("it was wanted");
            for cuts in [vec![], vec![1], vec![99_999], vec![5, 70_000], vec![7, 8, 9, 10, 50_000]] {
                let ends: Vec<usize> = cuts.iter().copied().chain([body.len()]).collect();
                let parts = ends.iter().scan(0, |from, to| Some(&body[std::mem::replace(from, *to)..*to]));
                let parts: Vec<(Value, u64)> = parts.map(|part| (of(part).value, part.len() as u64)).collect();
                let is_crc = crc_of(algorithm).is_some();
                let whole = combined(algorithm, parts.iter().copied());
                assert_eq!(whole, is_crc.then(|| of(&body)), "{algorithm:?} {cuts:?}");
                let over: Vec<u8> = parts.iter().flat_map(|(value, _)| value.as_bytes().to_vec()).collect();
                let composite = composite(algorithm, parts.iter().map(|(value, _)| *value));
                let wanted = Checksum { is_composite: true, ..of(&over) };
                assert_eq!(composite, (algorithm != Algorithm::Crc64Nvme).then_some(wanted), "{algorithm:?} {cuts:?}");
            }
        }
        let parts =
            [b"a".as_slice(), b"bc"].map(|part| sums(everything(Algorithm::Crc32), &[part]).md5.expect("wanted"));
        assert_eq!(Some(md5_of_parts(parts.into_iter())), sums(everything(Algorithm::Crc32), &[&parts.concat()]).md5);
    }

    fn everything(checksum: Algorithm) -> WantedSums {
        WantedSums { md5: true, for_etag: true, sha256: true, checksum: Some(checksum) }
    }

    #[test]
    fn published_values() {
        // The check values of the CRC catalogue (reveng.sourceforge.io/crc-catalogue); of the hashes the test suites of
        // RFC 1321 (MD5), RFC 3174 (SHA-1) and FIPS 180-2 (SHA-256).
        let abc: &[(Algorithm, &[u8], &str)] = &[
            (Algorithm::Crc32, b"123456789", "cbf43926"),
            (Algorithm::Crc32c, b"123456789", "e3069283"),
            (Algorithm::Crc64Nvme, b"123456789", "ae8b14860a799888"),
            (Algorithm::Sha1, b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Algorithm::Sha256, b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            // Of no bytes.
            (Algorithm::Crc32, b"", "00000000"),
            (Algorithm::Crc32c, b"", "00000000"),
            (Algorithm::Crc64Nvme, b"", "0000000000000000"),
            (Algorithm::Sha1, b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (Algorithm::Sha256, b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ];
        for (algorithm, bytes, value) in abc {
            let checksum = sums(everything(*algorithm), &[bytes]).checksum.expect("it is wanted");
            assert_eq!((checksum.algorithm, checksum.is_composite), (*algorithm, false));
            assert_eq!(hex(checksum.value.as_bytes()), *value, "{algorithm:?} of {bytes:?}");
        }
        for (bytes, md5) in [
            (&b""[..], "d41d8cd98f00b204e9800998ecf8427e"),
            (b"abc", "900150983cd24fb0d6963f7d28e17f72"),
            (b"message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ] {
            let md5_alone = WantedSums { md5: true, ..WantedSums::default() };
            let computed = sums(md5_alone, &[bytes]);
            assert_eq!(computed.md5.map(|md5| hex(&md5)).as_deref(), Some(md5));
            assert_eq!((computed.sha256, computed.checksum), (None, None), "nobody wants them");
            assert_eq!(computed.etag().to_text(&[0; 32]), md5);
        }
        let etag = |wanted: WantedSums| sums(wanted, &[b"abc"]).etag();
        assert_eq!(etag(WantedSums { for_etag: true, ..WantedSums::default() }), Etag::Fast);
        assert_eq!(etag(WantedSums::default()), Etag::Digest);
    }

    #[test]
    fn pieces_make_no_difference() {
        let bytes: Vec<u8> = (0..=250).cycle().take(70_000).collect();
        for algorithm in ALL {
            let whole = sums(everything(algorithm), &[&bytes]);
            for cut in [0, 1, 15, 16, 63, 64, 65, 255, 4_096, 65_536, 69_999, 70_000] {
                let (first, last) = bytes.split_at(cut);
                assert_eq!(sums(everything(algorithm), &[first, b"", last]), whole, "{algorithm:?} cut at {cut}");
            }
            let mut other = bytes.clone();
            other[69_999] ^= 1;
            let other = sums(everything(algorithm), &[&other]);
            assert!(other.md5 != whole.md5 && other.sha256 != whole.sha256 && other.checksum != whole.checksum);
        }
    }

    #[test]
    fn what_is_expected_fits_or_is_named() {
        for algorithm in ALL {
            let found = sums(everything(algorithm), &[b"a body"]);
            let other = sums(everything(algorithm), &[b"another"]);
            let Computed { md5, sha256, checksum, .. } = found;
            let all = ExpectedSums { md5, sha256, checksum };
            for (expected, fits) in [
                (ExpectedSums::default(), Ok(())),
                (all, Ok(())),
                (ExpectedSums { md5: other.md5, ..all }, Err(Sum::Md5)),
                (ExpectedSums { sha256: other.sha256, ..all }, Err(Sum::Sha256)),
                (ExpectedSums { checksum: other.checksum, ..all }, Err(Sum::Checksum(algorithm))),
            ] {
                assert_eq!(found.check(&expected), fits, "{expected:?}");
            }
            let composite = checksum.map(|checksum| Checksum { is_composite: true, ..checksum });
            let expected = ExpectedSums { checksum: composite, ..all };
            assert_eq!(found.check(&expected), Err(Sum::Checksum(algorithm)), "it is over parts");
            assert_eq!(Computed::default().check(&all), Err(Sum::Md5), "what was not computed does not fit");
        }
    }
}
