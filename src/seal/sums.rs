//! Sums over the bytes of an object, as they come in pieces: what is wanted of them is computed, and nothing else.
//!
//! Sources: RFC 1321 (MD5), FIPS 180-4 (SHA-1, SHA-256); the CRCs as the catalogue of CRC algorithms names them
//! (CRC-32/ISO-HDLC, CRC-32/ISCSI, CRC-64/NVME).

use super::digest::{Md5, constant_time_eq};
use crate::base::checksum::{Algorithm, Checksum, ExpectedSums, SumKind, WantedSums};
use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::Digest as _;

/// Sums that are being computed.
#[derive(Clone, Default)]
pub struct Sums {
    md5: Option<Md5>,
    sha256: Option<sha2::Sha256>,
    checksum: Option<Running>,
}

impl std::fmt::Debug for Sums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sums(..)")
    }
}

#[derive(Clone)]
enum Running {
    Crc(Algorithm, Crc),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Running {
    fn of(algorithm: Algorithm) -> Self {
        let crc = |kind| Running::Crc(algorithm, Crc::new(kind));
        match algorithm {
            Algorithm::Crc32 => crc(CrcAlgorithm::Crc32IsoHdlc),
            Algorithm::Crc32c => crc(CrcAlgorithm::Crc32Iscsi),
            Algorithm::Crc64Nvme => crc(CrcAlgorithm::Crc64Nvme),
            Algorithm::Sha1 => Running::Sha1(sha1::Sha1::default()),
            Algorithm::Sha256 => Running::Sha256(sha2::Sha256::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Running::Crc(_, crc) => crc.update(bytes),
            Running::Sha1(sha) => sha.update(bytes),
            Running::Sha256(sha) => sha.update(bytes),
        }
    }

    fn finish(self) -> Option<Checksum> {
        match self {
            // The low bytes of the number are the value, whatever its width.
            Running::Crc(algorithm, crc) => {
                let value = crc.finalize().to_be_bytes();
                Checksum::of(algorithm, &value[value.len() - algorithm.bytes()..])
            }
            Running::Sha1(sha) => Checksum::of(Algorithm::Sha1, &sha.finalize()),
            Running::Sha256(sha) => Checksum::of(Algorithm::Sha256, &sha.finalize()),
        }
    }
}

/// What was computed of what was wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Computed {
    /// The MD5.
    pub md5: Option<[u8; 16]>,
    /// The SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// The checksum.
    pub checksum: Option<Checksum>,
}

impl Sums {
    /// Of no bytes so far.
    pub fn new(wanted: WantedSums) -> Self {
        Sums {
            md5: wanted.md5.then(Md5::default),
            sha256: wanted.sha256.then(sha2::Sha256::default),
            checksum: wanted.checksum.map(Running::of),
        }
    }

    /// Of bytes that are all here, in pieces.
    pub fn of<'a>(wanted: WantedSums, pieces: impl IntoIterator<Item = &'a [u8]>) -> Computed {
        let mut sums = Sums::new(wanted);
        pieces.into_iter().for_each(|piece| sums.update(piece));
        sums.finish()
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }

    /// What they come to.
    pub fn finish(self) -> Computed {
        Computed {
            md5: self.md5.map(Md5::finalize),
            sha256: self.sha256.map(|sha256| sha256.finalize().into()),
            checksum: self.checksum.and_then(Running::finish),
        }
    }
}

impl Computed {
    /// Refuses bytes that do not come to what is expected; and what was expected but not computed.
    pub fn check(&self, expected: &ExpectedSums) -> Result<(), SumKind> {
        let fits = |wanted: Option<&[u8]>, is: Option<&[u8]>| match (wanted, is) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(is)) => constant_time_eq(wanted, is),
        };
        if !fits(expected.md5.as_ref().map(|md5| &md5[..]), self.md5.as_ref().map(|md5| &md5[..])) {
            return Err(SumKind::Md5);
        }
        if !fits(expected.sha256.as_ref().map(|sha| &sha[..]), self.sha256.as_ref().map(|sha| &sha[..])) {
            return Err(SumKind::Sha256);
        }
        match expected.checksum {
            Some(wanted) if self.checksum != Some(wanted) => Err(SumKind::Checksum(wanted.algorithm)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &[u8] = b"123456789";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn wanted(algorithm: Algorithm) -> WantedSums {
        WantedSums { md5: true, sha256: true, checksum: Some(algorithm) }
    }

    #[test]
    fn known_answers() {
        // The check values of the catalogue of CRC algorithms; of SHA-1 and SHA-256 as other implementations give them.
        for (algorithm, known) in [
            (Algorithm::Crc32, "cbf43926"),
            (Algorithm::Crc32c, "e3069283"),
            (Algorithm::Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            for cut in 0..=CHECK.len() {
                let computed = Sums::of(wanted(algorithm), [&CHECK[..cut], &CHECK[cut..]]);
                let checksum = computed.checksum.expect("it was wanted");
                assert_eq!((checksum.algorithm, hex(checksum.value.as_bytes()).as_str()), (algorithm, known));
                assert_eq!(hex(&computed.md5.expect("it was wanted")), "25f9e794323b453885f5181f1b624d0b");
            }
        }
        // RFC 1321, section A.5.
        let abc = Sums::of(WantedSums { md5: true, ..WantedSums::default() }, [&b"abc"[..]]);
        assert_eq!(hex(&abc.md5.expect("it was wanted")), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!((abc.sha256, abc.checksum), (None, None), "what is not wanted is not computed");
    }

    #[test]
    fn what_is_expected_is_held_against_what_was_computed() {
        let computed = Sums::of(wanted(Algorithm::Crc32c), [CHECK]);
        let right = ExpectedSums { md5: computed.md5, sha256: computed.sha256, checksum: computed.checksum };
        assert_eq!(computed.check(&right), Ok(()));
        assert_eq!(computed.check(&ExpectedSums::default()), Ok(()));
        let wrong = ExpectedSums { md5: Some([0; 16]), ..right };
        assert_eq!(computed.check(&wrong), Err(SumKind::Md5));
        let wrong = ExpectedSums { sha256: Some([0; 32]), ..right };
        assert_eq!(computed.check(&wrong), Err(SumKind::Sha256));
        let wrong = ExpectedSums { checksum: Checksum::of(Algorithm::Crc32c, &[0; 4]), ..right };
        assert_eq!(computed.check(&wrong), Err(SumKind::Checksum(Algorithm::Crc32c)));
        let other = ExpectedSums { checksum: Checksum::of(Algorithm::Crc32, &[0xcb, 0xf4, 0x39, 0x26]), ..right };
        assert_eq!(computed.check(&other), Err(SumKind::Checksum(Algorithm::Crc32)), "it was not computed");
        assert_eq!(Computed::default().check(&right), Err(SumKind::Md5), "nothing was computed");
    }
}
