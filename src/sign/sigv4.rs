//! Signature Version 4 over a canonical request: its time, its scope, and the signature.
//!
//! The key that signs is derived from the secret for one day, region and service, so what is signed for one is signed
//! for no other.

use crate::base::Secret;
use crate::base::calendar::{civil, days_of};
use crate::seal::hmac::{SHA256_BYTES, hmac_sha256, sha256};
use std::fmt;

/// The one algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The service that object stores sign for.
pub const SERVICE: &str = "s3";
/// Stands for the digest of a body that whoever signs does not know.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
/// Ends each scope.
const END: &str = "aws4_request";
/// Most bytes of a region or service.
const WORD_BYTES_MAX: usize = 64;
/// Most headers that are signed.
const HEADERS_MAX: usize = 32;

/// A second, as signatures write it: `20130524T000000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Second(pub u64);

impl Second {
    /// Reads it. Years 1970 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let digits = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        let well_formed = bytes.len() == 16 && bytes[8] == b'T' && bytes[15] == b'Z';
        if !well_formed || !(0..15).filter(|at| *at != 8).all(digits) {
            return None;
        }
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
        let days = days_of(number(0, 4)?, number(4, 6)?, number(6, 8)?)?;
        let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
        (hour < 24 && minute < 60 && second < 60).then_some(Second(((days * 24 + hour) * 60 + minute) * 60 + second))
    }

    /// The day of it, as scopes write it: `20130524`.
    pub fn date(self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0 / 86_400);
        let (hour, minute, second) = (self.0 / 3600 % 24, self.0 / 60 % 60, self.0 % 60);
        write!(f, "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }
}

/// What a signature is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The day, `20130524`.
    pub date: String,
    /// Of the store.
    pub region: String,
    /// Of the store.
    pub service: String,
}

impl Scope {
    /// Reads a credential: the id of a key, and the scope behind it.
    pub fn of_credential(text: &str) -> Option<(&str, Self)> {
        let mut parts = text.split('/');
        let (id, date, region, service, end) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_word =
            |word: &str| (1..=WORD_BYTES_MAX).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_graphic());
        let good = end == END
            && parts.next().is_none()
            && !id.is_empty()
            && date.len() == 8
            && date.bytes().all(|b| b.is_ascii_digit())
            && is_word(region)
            && is_word(service);
        let scope = || Scope { date: date.to_owned(), region: region.to_owned(), service: service.to_owned() };
        good.then(|| (id, scope()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{END}", self.date, self.region, self.service)
    }
}

/// What is signed of a canonical request.
pub fn string_to_sign(at: Second, scope: &Scope, canonical: &str) -> String {
    format!("{ALGORITHM}\n{at}\n{scope}\n{}", hex(&sha256(canonical.as_bytes())))
}

/// The signature of that by a secret. It takes the same work whatever the secret is.
pub fn signature(secret: &[u8], scope: &Scope, to_sign: &str) -> [u8; SHA256_BYTES] {
    signed(&signing_key(secret, scope), to_sign)
}

/// What a secret signs with for a scope.
pub type SigningKey = Secret<[u8; SHA256_BYTES]>;

/// The key that a secret signs with for a scope.
pub fn signing_key(secret: &[u8], scope: &Scope) -> SigningKey {
    let first = Secret::new([b"AWS4", secret].concat());
    let day = hmac_sha256(first.expose(), scope.date.as_bytes());
    let region = hmac_sha256(day.expose(), scope.region.as_bytes());
    let service = hmac_sha256(region.expose(), scope.service.as_bytes());
    hmac_sha256(service.expose(), END.as_bytes())
}

/// The signature of a text by such a key.
pub fn signed(key: &SigningKey, to_sign: &str) -> [u8; SHA256_BYTES] {
    *hmac_sha256(key.expose(), to_sign.as_bytes()).expose()
}

/// A SHA-256 or a signature in lower-case hex, read.
pub fn unhex(text: &[u8]) -> Option<[u8; SHA256_BYTES]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; SHA256_BYTES];
    if text.len() != 2 * SHA256_BYTES {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

/// The names in a list of signed headers: lower case, each once, in order, `host` among them, 32 at most.
pub fn header_names(text: &str) -> Option<Vec<String>> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let names: Vec<String> = text.split(';').take(HEADERS_MAX + 1).map(str::to_owned).collect();
    let good = names.len() <= HEADERS_MAX
        && names.iter().all(|name| !name.is_empty() && name.bytes().all(plain))
        && names.is_sorted_by(|one, next| one < next)
        && names.iter().any(|name| name == "host");
    good.then_some(names)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [HEX[usize::from(b >> 4)] as char, HEX[usize::from(b & 15)] as char]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::canonical::{Request, canonical};
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Of the examples in the Amazon S3 API Reference, "Signature Calculations for the Authorization Header".
    fn of_s3(method: &str, path: &str, query: &[(&str, &str)], headers: &[(&str, &str)], payload: &str) -> String {
        let (query, mut headers) = (pairs(query), pairs(headers));
        headers.extend(pairs(&[
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", payload),
            ("x-amz-date", "20130524T000000Z"),
        ]));
        headers.sort();
        let request = canonical(&Request { method, path, query: &query, headers: &headers, payload });
        let scope = Scope { date: "20130524".into(), region: "us-east-1".into(), service: "s3".into() };
        let at = Second::parse("20130524T000000Z").expect("a time");
        let to_sign = string_to_sign(at, &scope, &request);
        hex(&signature(b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope, &to_sign))
    }

    #[test]
    fn the_published_examples_of_s3_come_out() {
        assert_eq!(
            of_s3("GET", "/test.txt", &[], &[("range", "bytes=0-9")], EMPTY),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let headers = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        assert_eq!(
            of_s3(
                "PUT",
                &super::super::canonical::escaped_path("/test$file.text"),
                &[],
                &headers,
                "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
            ),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        assert_eq!(
            of_s3("GET", "/", &[("lifecycle", "")], &[], EMPTY),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        assert_eq!(
            of_s3("GET", "/", &[("prefix", "J"), ("max-keys", "2")], &[], EMPTY),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn seconds_are_read_as_they_are_written() {
        for text in ["19700101T000000Z", "20130524T000000Z", "20240229T235959Z", "99991231T235959Z"] {
            assert_eq!(Second::parse(text).map(|second| second.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Second::parse("20130524T000000Z"), Some(Second(1_369_353_600)));
        assert_eq!(Second(1_369_353_600).date(), "20130524");
        for bad in [
            "",
            "20130524",
            "20130524T000000",
            "20130524 000000Z",
            "20130230T000000Z",
            "20130524T240000Z",
            "20130524T006000Z",
            "20130524T000060Z",
            "+0130524T000000Z",
            "2013052\u{e9}T00000Z",
            "19691231T235959Z",
        ] {
            assert_eq!(Second::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_credential_has_five_parts_and_no_others() {
        let (id, scope) = Scope::of_credential("ID/20130524/us-east-1/s3/aws4_request").expect("a credential");
        assert_eq!((id, scope.to_string().as_str()), ("ID", "20130524/us-east-1/s3/aws4_request"));
        for bad in [
            "",
            "ID",
            "/20130524/us-east-1/s3/aws4_request",
            "ID/20130524/us-east-1/s3/aws4_request/",
            "ID/20130524/us-east-1/s3/aws4",
            "ID/2013052/us-east-1/s3/aws4_request",
            "ID/2013052x/us-east-1/s3/aws4_request",
            "ID/20130524//s3/aws4_request",
            "ID/20130524/us east/s3/aws4_request",
            "ID/20130524/us-east-1/aws4_request",
        ] {
            assert!(Scope::of_credential(bad).is_none(), "{bad}");
        }
    }
}
