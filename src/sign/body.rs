//! What the head of a signed request says of its body: `x-amz-content-sha256`.

use super::sigv4::{UNSIGNED_PAYLOAD, unhex};
use crate::seal::hmac::SHA256_BYTES;

/// What is said of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// Its SHA-256.
    Digest([u8; SHA256_BYTES]),
    /// Nothing: no signature covers it.
    Unsigned,
    /// It comes in chunks.
    Chunks(Coding),
}

/// How a body comes in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// Whether each chunk has a signature.
    pub is_signed: bool,
    /// Whether there may be headers behind it.
    pub has_trailer: bool,
}

/// Why it says nothing that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The header is not there.
    #[error("a signed request says in x-amz-content-sha256 what its body is")]
    Missing,
    /// It is none of the words, and no SHA-256.
    #[error(
        "x-amz-content-sha256 is a SHA-256 in lower-case hex, UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, or STREAMING-AWS4-HMAC-SHA256-PAYLOAD with -TRAILER or without"
    )]
    Unknown,
    /// It is signed with a key pair.
    #[error("signatures of Signature Version 4A are not offered")]
    V4a,
}

impl Announced {
    /// Reads the header's value.
    pub fn parse(text: &str) -> Result<Self, BodyError> {
        let chunks = |is_signed, has_trailer| Ok(Announced::Chunks(Coding { is_signed, has_trailer }));
        match text {
            UNSIGNED_PAYLOAD => Ok(Announced::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => chunks(true, false),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => chunks(true, true),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => chunks(false, true),
            text if text.starts_with("STREAMING-AWS4-ECDSA-") => Err(BodyError::V4a),
            text => unhex(text.as_bytes()).map(Announced::Digest).ok_or(BodyError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_announced_in_one_of_five_ways() {
        let chunks = |is_signed, has_trailer| Announced::Chunks(Coding { is_signed, has_trailer });
        for (text, is) in [
            ("UNSIGNED-PAYLOAD", Ok(Announced::Unsigned)),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", Ok(chunks(true, false))),
            ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Ok(chunks(true, true))),
            ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", Ok(chunks(false, true))),
            (&"0f".repeat(32), Ok(Announced::Digest([15; 32]))),
            ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", Err(BodyError::V4a)),
            ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", Err(BodyError::V4a)),
            ("STREAMING-UNSIGNED-PAYLOAD", Err(BodyError::Unknown)),
            ("unsigned-payload", Err(BodyError::Unknown)),
            (&"0F".repeat(32), Err(BodyError::Unknown)),
            (&"0f".repeat(31), Err(BodyError::Unknown)),
            ("", Err(BodyError::Unknown)),
        ] {
            assert_eq!(Announced::parse(text), is, "{text}");
        }
    }
}
