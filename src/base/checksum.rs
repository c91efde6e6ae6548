//! Sums over the bytes of an object as clients see them: what is to be computed, what is expected, what is kept.
//!
//! They find bytes that were garbled on their way. They say nothing against anybody who means to: that is what sealing
//! is for.
//!
//! Invariant: a value has as many bytes as its algorithm makes.
//!
//! Names and forms: Amazon S3 API Reference, "Checking object integrity".

use super::codec::{CodecError, Reader, Writer};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Most bytes of a value.
pub const VALUE_BYTES_MAX: usize = 32;

/// How a checksum is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// CRC-32 of ISO-HDLC.
    Crc32,
    /// CRC-32 of Castagnoli.
    Crc32c,
    /// CRC-64 of NVM Express.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme, Algorithm::Sha1, Algorithm::Sha256];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Crc32 => "CRC32",
            Algorithm::Crc32c => "CRC32C",
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Sha1 => "SHA1",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The algorithm of that name, in capitals or not.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// Bytes of its values.
    pub fn bytes(self) -> usize {
        match self {
            Algorithm::Crc32 | Algorithm::Crc32c => 4,
            Algorithm::Crc64Nvme => 8,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
        }
    }

    fn tag(self) -> u8 {
        match self {
            Algorithm::Crc32 => 1,
            Algorithm::Crc32c => 2,
            Algorithm::Crc64Nvme => 3,
            Algorithm::Sha1 => 4,
            Algorithm::Sha256 => 5,
        }
    }
}

/// The value of a checksum, its highest byte first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    bytes: [u8; VALUE_BYTES_MAX],
    len: u8,
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({})", self.to_base64())
    }
}

impl Value {
    /// A value of these bytes; `None` of more than the longest has.
    pub fn of(value: &[u8]) -> Option<Self> {
        let mut bytes = [0; VALUE_BYTES_MAX];
        bytes.get_mut(..value.len())?.copy_from_slice(value);
        Some(Value { bytes, len: u8::try_from(value.len()).ok()? })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Its bytes as headers carry them.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.as_bytes())
    }
}

/// A checksum of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checksum {
    /// How it was computed.
    pub algorithm: Algorithm,
    /// Whether it is the checksum of the checksums of parts; else that of all bytes.
    pub is_composite: bool,
    /// What it came to.
    pub value: Value,
}

impl Checksum {
    /// A checksum of all bytes; `None` of a value that the algorithm does not make.
    pub fn of(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        let value = Value::of(value).filter(|_| value.len() == algorithm.bytes())?;
        Some(Checksum { algorithm, is_composite: false, value })
    }

    /// The same as a header carries it.
    pub fn parse(algorithm: Algorithm, base64: &str) -> Option<Self> {
        Checksum::of(algorithm, &BASE64_STANDARD.decode(base64).ok()?)
    }

    /// Appends it to a record that is being written; a zero where there is none.
    pub fn write(checksum: Option<&Self>, w: &mut Writer) {
        let Some(Checksum { algorithm, is_composite, value }) = checksum else {
            w.u8(0);
            return;
        };
        w.u8(algorithm.tag()).u8(u8::from(*is_composite)).raw(value.as_bytes());
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Option<Self>, CodecError> {
        let tag = r.u8()?;
        if tag == 0 {
            return Ok(None);
        }
        let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.tag() == tag);
        let algorithm = algorithm.ok_or(CodecError::Value("checksum"))?;
        let is_composite = r.flag("kind of checksum")?;
        let value = Value::of(r.raw(algorithm.bytes())?).ok_or(CodecError::Value("checksum"))?;
        Ok(Some(Checksum { algorithm, is_composite, value }))
    }
}

/// What an object's ETag is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Etag {
    /// The digest of its sealed body.
    #[default]
    Digest,
    /// The MD5 of its bytes.
    Md5([u8; 16]),
    /// The MD5 of the MD5s of its parts, and how many there are.
    Parts {
        /// That MD5.
        md5: [u8; 16],
        /// How many; at least 1.
        parts: u16,
    },
}

impl Etag {
    /// Appends it to a record that is being written.
    pub fn write(&self, w: &mut Writer) {
        match self {
            Etag::Digest => w.u8(0),
            Etag::Md5(md5) => w.u8(1).raw(md5),
            Etag::Parts { md5, parts } => w.u8(2).raw(md5).u16(*parts),
        };
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        match r.u8()? {
            0 => Ok(Etag::Digest),
            1 => Ok(Etag::Md5(r.array()?)),
            2 => match (r.array()?, r.u16()?) {
                (_, 0) => Err(CodecError::Value("parts of an ETag")),
                (md5, parts) => Ok(Etag::Parts { md5, parts }),
            },
            _ => Err(CodecError::Value("ETag kind")),
        }
    }
}

/// What is to be computed of a body while it is sealed. Nothing, by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedSums {
    /// Its MD5, which becomes its ETag.
    pub md5: bool,
    /// Its SHA-256, to be compared.
    pub sha256: bool,
    /// A checksum, to be kept.
    pub checksum: Option<Algorithm>,
}

/// What a client says that a body comes to. Nothing, by default. What is expected has to be wanted too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpectedSums {
    /// Its MD5.
    pub md5: Option<[u8; 16]>,
    /// Its SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// Its checksum.
    pub checksum: Option<Checksum>,
}

/// A sum that is not the one that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SumKind {
    /// The MD5.
    Md5,
    /// The SHA-256 that a request was signed with.
    Sha256,
    /// The checksum.
    Checksum(Algorithm),
}

impl std::fmt::Display for SumKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SumKind::Md5 => "MD5",
            SumKind::Sha256 => "SHA-256",
            SumKind::Checksum(algorithm) => algorithm.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_long_as_their_algorithm_makes_them() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
            assert_eq!(Algorithm::parse(&algorithm.as_str().to_lowercase()), Some(algorithm));
            let value = vec![7; algorithm.bytes()];
            let sum = Checksum::of(algorithm, &value).expect("a value");
            assert_eq!(sum.value.as_bytes(), value);
            assert_eq!(Checksum::parse(algorithm, &sum.value.to_base64()), Some(sum));
            for len in [0, algorithm.bytes() - 1, algorithm.bytes() + 1, 33] {
                assert_eq!(Checksum::of(algorithm, &vec![7; len]), None, "{algorithm:?} of {len}");
            }
        }
        assert_eq!(Algorithm::parse("MD5"), None);
        assert_eq!(Checksum::parse(Algorithm::Crc32, "no base64"), None);
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let composite = Checksum { is_composite: true, ..Checksum::of(Algorithm::Sha1, &[1; 20]).expect("a value") };
        let of = |algorithm: Algorithm| Checksum::of(algorithm, &vec![9; algorithm.bytes()]);
        for sum in Algorithm::ALL.map(of).into_iter().chain([None, Some(composite)]) {
            let mut w = Writer::default();
            Checksum::write(sum.as_ref(), &mut w);
            let mut r = Reader(&w.0);
            assert_eq!(Checksum::read(&mut r), Ok(sum));
            assert_eq!(r.end(), Ok(()));
        }
        for etag in [Etag::Digest, Etag::Md5([3; 16]), Etag::Parts { md5: [4; 16], parts: 10_000 }] {
            let mut w = Writer::default();
            etag.write(&mut w);
            assert_eq!(Etag::read(&mut Reader(&w.0)), Ok(etag));
            assert!(w.0.len() == 1 || Etag::read(&mut Reader(&w.0[..w.0.len() - 1])).is_err());
        }
        for bad in [&[6][..], &[1, 2, 0, 0, 0, 0], &[1, 0, 0, 0, 0], &[]] {
            assert!(Checksum::read(&mut Reader(bad)).is_err(), "{bad:?}");
        }
        assert!(Etag::read(&mut Reader(&[3])).is_err());
        assert!(Etag::read(&mut Reader(&[2; 17])).is_err());
        assert!(Etag::read(&mut Reader(&[&[2; 17][..], &[0, 0]].concat())).is_err(), "no parts at all");
    }
}
