//! Identifiers. Random ones are drawn by the caller and wrapped here; none is a bare integer.

use std::fmt;

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl $name {
            /// Reads the form that `Display` writes: lower-case hex, full length.
            pub fn from_hex(text: &str) -> Option<Self> {
                hex_decode(text).map($name)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
    };
}

hex_id!(
    /// Names one sealed body: random, or time and random (`BodyId::timed`); never reused, the file name of a blob.
    BodyId, 16
);
hex_id!(
    /// Names a cluster: a setting, or derived from the first KEK generation.
    ClusterId, 16
);
hex_id!(
    /// Names a KEK generation without telling anything about the key.
    KekId, 16
);

hex_id!(
    /// Names one upload in parts: random, never reused. The data key of its parts is bound to it as to a body.
    UploadId, 16
);

impl UploadId {
    /// The same id as that of a body: what the wrap of the upload's data key is bound to.
    pub fn as_body(self) -> BodyId {
        BodyId(self.0)
    }
}

hex_id!(
    /// Names one attempt to write a new record: random, fresh for each attempt, part of a lineage.
    WriteId, 8
);

impl BodyId {
    /// The id of a small body that is made now: the second, the highest byte first, and 12 random bytes. So bodies that
    /// are written together stand together wherever they are kept by their ids.
    pub fn timed(now_ms: u64, random: [u8; 12]) -> Self {
        let [_, _, _, _, time @ ..] = (now_ms / 1000).to_be_bytes();
        let mut id = [0; 16];
        id[..4].copy_from_slice(&time);
        id[4..].copy_from_slice(&random);
        BodyId(id)
    }
}

impl WriteId {
    /// Names the state of a key that was never written, or whose tombstone was dropped.
    pub const NOTHING: WriteId = WriteId([0; 8]);

    /// An id from 8 random bytes; the reserved one is stepped over.
    pub fn drawn(random: [u8; 8]) -> Self {
        let id = WriteId(random);
        if id == Self::NOTHING { WriteId([0, 0, 0, 0, 0, 0, 0, 1]) } else { id }
    }
}

/// Names one life of a bucket: random, drawn when the bucket is made, and never that of another life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketId(pub u64);

impl BucketId {
    /// Characters of its text.
    pub const TEXT_LEN: usize = 13;
    /// Digits of base 32, in the order of their values (RFC 4648, section 7, in lower case).
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

    /// Its text: 13 digits of base 32, the highest first, so that texts sort as ids do.
    pub fn text(self) -> [u8; Self::TEXT_LEN] {
        std::array::from_fn(|at| Self::DIGITS[(self.0 >> (5 * (Self::TEXT_LEN - 1 - at)) & 31) as usize])
    }

    /// Reads what `text` made; `None` for anything else.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let text: &[u8; Self::TEXT_LEN] = text.try_into().ok()?;
        let digit = |byte: &u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'v' => Some(byte - b'a' + 10),
            _ => None,
        };
        // The first digit has four bits.
        digit(&text[0]).filter(|first| *first < 16)?;
        text.iter().try_fold(0u64, |id, byte| Some(id << 5 | u64::from(digit(byte)?))).map(BucketId)
    }
}

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().iter().try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}
impl fmt::Debug for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketId({self})")
    }
}

/// Names a list of the incarnations that vote; a later list has a higher number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Epoch(pub u64);

/// One life of a data directory: random, kept in it. A wiped node has a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Incarnation({self})")
    }
}
impl serde::Serialize for Incarnation {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// A node's configured name: 1 to 63 of `a-z A-Z 0-9 . - _`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct NodeName(String);

impl NodeName {
    /// Most bytes of a node name.
    pub const BYTES_MAX: usize = 63;

    /// Parses a node name; `None` when it breaks the rule above.
    pub fn parse(text: &str) -> Option<Self> {
        let ok = (1..=Self::BYTES_MAX).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
        ok.then(|| NodeName(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex_decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = text.as_bytes();
    if bytes.len() != N * 2 {
        return None;
    }
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0u8; N];
    for (byte, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trip_and_refusals() {
        let id = BodyId([0xab; 16]);
        assert_eq!(BodyId::from_hex(&id.to_string()), Some(id));
        for bad in ["", "ab", &"g".repeat(32), &"A".repeat(32), &"é".repeat(16)] {
            assert_eq!(BodyId::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_of_small_bodies_sort_by_the_second() {
        let at = |ms| BodyId::timed(ms, [0xff; 12]);
        assert_eq!(at(0x0102_0304 * 1000 + 999).to_string(), format!("01020304{}", "f".repeat(24)));
        assert!(at(1999) < BodyId::timed(2000, [0; 12]) && at(255_000) < at(256_000));
        assert_eq!(at((1 << 32) * 1000), at(0), "it begins again in the year 2106: nothing rests on the order");
    }

    #[test]
    fn ids_of_buckets_are_texts_that_sort_as_they_do() {
        let ids = [0, 1, 31, 32, 1 << 35, u64::MAX - 1, u64::MAX].map(BucketId);
        for two in ids.windows(2) {
            assert!(two[0].text() < two[1].text(), "{two:?}");
        }
        for id in ids {
            assert_eq!(BucketId::from_text(&id.text()), Some(id));
        }
        assert_eq!(BucketId(0x0123_4567_89ab_cdef).to_string(), "028q5cu4qnjff");
        for bad in ["", "000000000000", "00000000000000", "g000000000000", "000000000000w", "00000000000A0"] {
            assert_eq!(BucketId::from_text(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn node_names() {
        assert!(NodeName::parse("boveda-0").is_some());
        for bad in ["", "-a", "a b", "a/b", &"a".repeat(64), "ñ"] {
            assert!(NodeName::parse(bad).is_none(), "{bad}");
        }
    }
}
