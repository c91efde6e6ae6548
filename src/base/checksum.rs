//! Sums over an object's plaintext: what clients know a body by, send with it, and are told of it.
//!
//! Invariants
//! - A value has exactly the bytes of its algorithm.
//! - A CRC64NVME is never composite: S3 has no such form.
//! - No node judges another's copy by these: replicas compare digests of sealed bytes (`seal::digest`).
//!
//! How they are computed: `seal::sums`. How they are kept: docs/format.md, "Record".

use super::codec::{CodecError, Reader, Writer};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// Bytes of an MD5.
pub const MD5_BYTES: usize = 16;
/// Bytes of a SHA-256.
pub const SHA256_BYTES: usize = 32;
/// Bytes of the longest value of a checksum.
pub const VALUE_BYTES_MAX: usize = 32;

/// No checksum stands in a record.
const NONE: u8 = 0;
/// The kinds of an ETag in a record.
const ETAG_DIGEST: u8 = 0;
const ETAG_MD5: u8 = 1;
const ETAG_PARTS: u8 = 2;
const ETAG_FAST: u8 = 3;
/// Bytes of the digest that such an ETag has.
const FAST_BYTES: usize = 16;

/// What a checksum is computed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// CRC-32 as Ethernet and gzip have it.
    Crc32,
    /// CRC-32 of Castagnoli, as iSCSI has it.
    Crc32c,
    /// CRC-64 as NVMe has it.
    Crc64Nvme,
    /// SHA-1: against accidents alone.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// All of them, in the order of their numbers in a record.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// Its name, as S3 writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The algorithm of that name, in any case of letters: headers name it in lower case, documents in upper case.
    pub fn parse(name: &str) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => SHA256_BYTES,
        }
    }

    /// The algorithm of that number; none has 0.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }

    /// Its number in a record.
    pub(super) fn number(self) -> u8 {
        match self {
            Algorithm::Crc32 => 1,
            Algorithm::Crc32c => 2,
            Algorithm::Crc64Nvme => 3,
            Algorithm::Sha1 => 4,
            Algorithm::Sha256 => 5,
        }
    }
}

/// What a checksum came to: the bytes of a CRC with the highest first, as S3 writes them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value {
    len: u8,
    /// Zeros behind `len`.
    bytes: [u8; VALUE_BYTES_MAX],
}

impl Value {
    /// A value of these bytes; `None` where there are more than any algorithm has.
    pub fn new(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; VALUE_BYTES_MAX];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Value { len: u8::try_from(value.len()).ok()?, bytes })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({})", BASE64_STANDARD.encode(self.as_bytes()))
    }
}

/// A sum of a whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// What it is computed by.
    pub algorithm: Algorithm,
    /// Whether it is over the sums of parts; else it is over all bytes.
    pub is_composite: bool,
    /// What it came to: as many bytes as the algorithm has.
    pub value: Value,
}

impl Checksum {
    /// A sum over all bytes of a body; `None` where the value has other than the algorithm's bytes.
    pub fn of_all(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        let value = Value::new(value).filter(|_| value.len() == algorithm.bytes())?;
        Some(Checksum { algorithm, is_composite: false, value })
    }

    /// Reads the value of a sum over all bytes of a body, as headers have it; `None` of anything else.
    pub fn parse(algorithm: Algorithm, base64: &str) -> Option<Self> {
        Checksum::of_all(algorithm, &BASE64_STANDARD.decode(base64).ok()?)
    }

    /// The value, as headers and documents have it.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.value.as_bytes())
    }

    /// Appends it, or that there is none, to a record that is being written.
    pub(super) fn write(checksum: Option<&Checksum>, w: &mut Writer) {
        match checksum {
            None => w.u8(NONE),
            Some(Checksum { algorithm, is_composite, value }) => {
                w.u8(algorithm.number()).u8(u8::from(*is_composite)).raw(value.as_bytes())
            }
        };
    }

    /// Reads what `write` appended.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Option<Self>, CodecError> {
        let number = r.u8()?;
        if number == NONE {
            return Ok(None);
        }
        let algorithm = Algorithm::of_number(number).ok_or(CodecError::Value("checksum"))?;
        let is_composite = r.flag("checksum type")?;
        if is_composite && algorithm == Algorithm::Crc64Nvme {
            return Err(CodecError::Value("checksum type"));
        }
        let value = Value::new(r.raw(algorithm.bytes())?).ok_or(CodecError::Value("checksum"))?;
        Ok(Some(Checksum { algorithm, is_composite, value }))
    }
}

/// Which checksum the parts of an upload have, and what the object's is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumKind {
    /// What it is computed by.
    pub algorithm: Algorithm,
    /// Whether the object's is over the sums of its parts; else it is over all bytes (CRCs alone: they can be combined).
    pub is_composite: bool,
}

impl ChecksumKind {
    /// It as the record of an upload has it: a sum of that kind, all zeros.
    pub fn as_checksum(self) -> Checksum {
        let zeros = Value::new(&[0; VALUE_BYTES_MAX][..self.algorithm.bytes()]);
        let value = zeros.expect("no algorithm has more bytes");
        Checksum { algorithm: self.algorithm, is_composite: self.is_composite, value }
    }
}

impl From<&Checksum> for ChecksumKind {
    fn from(checksum: &Checksum) -> Self {
        ChecksumKind { algorithm: checksum.algorithm, is_composite: checksum.is_composite }
    }
}

/// What clients of S3 know the objects of a bucket by that they write from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EtagMode {
    /// The MD5 of the body, as S3 has it.
    #[default]
    Md5,
    /// `Etag::Fast`: no MD5 is computed but for who sends one to be compared.
    Fast,
}

impl EtagMode {
    /// All of them.
    pub const ALL: [EtagMode; 2] = [EtagMode::Md5, EtagMode::Fast];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            EtagMode::Md5 => "md5",
            EtagMode::Fast => "fast",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        EtagMode::ALL.into_iter().find(|mode| mode.as_str() == name)
    }
}

/// Which sums of a body are to be computed while it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedSums {
    /// The MD5, and the ETag is that.
    pub md5: bool,
    /// Whether the MD5 is for the ETag alone: then a bucket may do without it, and the ETag is `Etag::Fast` without. Else
    /// it is the digest of the sealed body without.
    pub for_etag: bool,
    /// The SHA-256, which is compared and not kept.
    pub sha256: bool,
    /// The sum that is kept with the object.
    pub checksum: Option<Algorithm>,
}

impl WantedSums {
    /// What of it is computed in a bucket.
    #[must_use]
    pub fn in_bucket(self, mode: EtagMode) -> Self {
        WantedSums { md5: self.md5 && !(self.for_etag && mode == EtagMode::Fast), ..self }
    }
}

/// What the sums of a body must come to, as its sender says. What is expected must have been wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpectedSums {
    /// Its MD5.
    pub md5: Option<[u8; MD5_BYTES]>,
    /// Its SHA-256.
    pub sha256: Option<[u8; SHA256_BYTES]>,
    /// The sum that is kept with the object.
    pub checksum: Option<Checksum>,
}

/// One of the sums of a body, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// The MD5.
    Md5,
    /// The SHA-256 of what was signed.
    Sha256,
    /// The checksum of that algorithm.
    Checksum(Algorithm),
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Sum::Md5 => "MD5",
            Sum::Sha256 => "SHA-256",
            Sum::Checksum(algorithm) => algorithm.as_str(),
        })
    }
}

/// Which of its sums an object's ETag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Etag {
    /// The digest of the sealed body.
    Digest,
    /// The MD5 of the body.
    Md5([u8; MD5_BYTES]),
    /// The MD5 of the MD5s of its parts.
    Parts {
        /// That MD5.
        md5: [u8; MD5_BYTES],
        /// How many there are, 1 at least.
        parts: u16,
    },
    /// The first half of the digest of the sealed body, in the form of one of a single part: nobody takes that for an MD5.
    Fast,
}

impl Etag {
    /// What the ETag of an object in parts is made of, of a part: its MD5, or in its place the half of its digest. `None`
    /// of what no part has.
    pub fn of_part(self, digest: &[u8; 32]) -> Option<[u8; MD5_BYTES]> {
        match self {
            Etag::Md5(md5) => Some(md5),
            Etag::Fast => digest.first_chunk().copied(),
            Etag::Digest | Etag::Parts { .. } => None,
        }
    }

    /// As clients see it, without quotes. `digest`: that of the sealed body.
    pub fn to_text(self, digest: &[u8; 32]) -> String {
        match self {
            Etag::Digest => hex(digest),
            Etag::Md5(md5) => hex(&md5),
            Etag::Parts { md5, parts } => format!("{}-{parts}", hex(&md5)),
            Etag::Fast => format!("{}-1", hex(&digest[..FAST_BYTES])),
        }
    }

    /// Appends it to a record that is being written.
    pub(super) fn write(self, w: &mut Writer) {
        match self {
            Etag::Digest => w.u8(ETAG_DIGEST),
            Etag::Md5(md5) => w.u8(ETAG_MD5).raw(&md5),
            Etag::Parts { md5, parts } => w.u8(ETAG_PARTS).raw(&md5).u16(parts),
            Etag::Fast => w.u8(ETAG_FAST),
        };
    }

    /// Reads what `write` appended.
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            ETAG_DIGEST => Ok(Etag::Digest),
            ETAG_MD5 => Ok(Etag::Md5(r.array()?)),
            ETAG_PARTS => match (r.array()?, r.u16()?) {
                (_, 0) => Err(CodecError::Value("ETag parts")),
                (md5, parts) => Ok(Etag::Parts { md5, parts }),
            },
            ETAG_FAST => Ok(Etag::Fast),
            _ => Err(CodecError::Value("ETag kind")),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [HEX[usize::from(b >> 4)] as char, HEX[usize::from(b & 15)] as char]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_s3_in_either_case() {
        for algorithm in Algorithm::ALL {
            let name = algorithm.as_str();
            assert_eq!(Algorithm::parse(name), Some(algorithm));
            assert_eq!(Algorithm::parse(&name.to_ascii_lowercase()), Some(algorithm));
            assert!(algorithm.bytes() <= VALUE_BYTES_MAX);
        }
        for unknown in ["", "CRC", "MD5", "CRC32 ", "SHA-256", "XXHASH64"] {
            assert_eq!(Algorithm::parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_value_has_the_bytes_of_its_algorithm() {
        for algorithm in Algorithm::ALL {
            for len in 0..=VALUE_BYTES_MAX + 1 {
                let text = BASE64_STANDARD.encode(vec![7; len]);
                let parsed = Checksum::parse(algorithm, &text);
                assert_eq!(parsed.is_some(), len == algorithm.bytes(), "{algorithm:?} of {len}");
                assert!(parsed.is_none_or(|sum| sum.to_base64() == text && !sum.is_composite));
            }
        }
        for wrong in ["", "zzzzz", "AAAAAA", "AAAAAA=", " AAAAAA==", "AAAAAA==\n", "AAAAAB=="] {
            assert_eq!(Checksum::parse(Algorithm::Crc32, wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_etag_as_clients_see_it() {
        let (digest, md5) = ([0xab; 32], [0x0f; 16]);
        assert_eq!(Etag::Digest.to_text(&digest), "ab".repeat(32));
        assert_eq!(Etag::Md5(md5).to_text(&digest), "0f".repeat(16));
        assert_eq!(Etag::Parts { md5, parts: 10_000 }.to_text(&digest), format!("{}-10000", "0f".repeat(16)));
        assert_eq!(Etag::Fast.to_text(&digest), format!("{}-1", "ab".repeat(16)));
    }

    #[test]
    fn a_bucket_does_without_what_is_for_the_etag_alone() {
        let wanted = |md5, for_etag| WantedSums { md5, for_etag, sha256: true, checksum: Some(Algorithm::Crc32) };
        for (md5, for_etag, fast) in [(true, true, false), (true, false, true), (false, false, false)] {
            let wanted = wanted(md5, for_etag);
            assert_eq!(wanted.in_bucket(EtagMode::Md5), wanted);
            assert_eq!(wanted.in_bucket(EtagMode::Fast), WantedSums { md5: fast, ..wanted }, "{wanted:?}");
        }
        assert!(EtagMode::ALL.iter().all(|mode| EtagMode::parse(mode.as_str()) == Some(*mode)));
        assert_eq!(EtagMode::parse("MD5"), None);
    }
}
