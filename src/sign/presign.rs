//! A signature in the query of a request: a link that somebody was given. Read strictly, judged by the clock, and made.
//!
//! Invariants
//! - A link fixes method, path, every parameter and each header that it names, the host among them; and until when it
//!   counts, a week after it was made at most.
//! - What is wrong with a link as such is told apart, since none of that depends on a secret. Whether the signature fits
//!   is asked of whoever has the secrets (`Presigned::signature_by`).

use super::canonical::{Request, canonical, escaped, escaped_query, names};
use super::sigv4::{
    ALGORITHM, SERVICE, Scope, Second, UNSIGNED_PAYLOAD, header_names, hex, signature, string_to_sign, unhex,
};
use crate::base::Credential;
use crate::seal::hmac::SHA256_BYTES;

/// Longest time that a link counts, in seconds: a week.
pub const LINK_SECONDS_MAX: u64 = 7 * 24 * 3600;
/// How far a link may have been made ahead of the clock of who judges it, in seconds.
pub const AHEAD_SECONDS_MAX: u64 = 15 * 60;
/// Most parameters of a request that brings a link: each is looked for among all.
const PARAMETERS_MAX: usize = 64;
/// With what parameters of links begin.
pub const PREFIX: &str = "X-Amz-";

const P_ALGORITHM: &str = "X-Amz-Algorithm";
const P_CREDENTIAL: &str = "X-Amz-Credential";
const P_DATE: &str = "X-Amz-Date";
const P_EXPIRES: &str = "X-Amz-Expires";
const P_HEADERS: &str = "X-Amz-SignedHeaders";
const P_SIGNATURE: &str = "X-Amz-Signature";
const P_PAYLOAD: &str = "X-Amz-Content-Sha256";
const P_TOKEN: &str = "X-Amz-Security-Token";

/// The parameters that each link has, once.
pub const PARAMETERS: [&str; 6] = [P_ALGORITHM, P_CREDENTIAL, P_DATE, P_EXPIRES, P_HEADERS, P_SIGNATURE];

/// Why a link is none, or counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresignError {
    /// There are too many parameters.
    #[error("a link has at most 64 parameters")]
    Many,
    /// A parameter stands there twice.
    #[error("a parameter of the link stands there twice")]
    Twice,
    /// A parameter is missing.
    #[error(
        "the link is not whole: it has X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date, X-Amz-Expires, X-Amz-SignedHeaders and X-Amz-Signature"
    )]
    Missing,
    /// There is another parameter whose name begins as theirs do.
    #[error("the link has an X-Amz- parameter that is not known here")]
    Unknown,
    /// There is a token of a session.
    #[error("tokens of sessions (X-Amz-Security-Token) are not taken: access keys here have none")]
    Token,
    /// A parameter stands for a header, and is none, or the header came besides.
    #[error("an x-amz- parameter of the link is no header's value, or a header of its name came with another")]
    NoHeader,
    /// It is for another region.
    #[error("the region in X-Amz-Credential of the link is not the one of this store")]
    Region,
    /// Another algorithm.
    #[error("X-Amz-Algorithm of the link is AWS4-HMAC-SHA256")]
    Algorithm,
    /// No credential, or none of an object store.
    #[error("X-Amz-Credential of the link is an id, the day, a region, s3 and aws4_request, with slashes between them")]
    Credential,
    /// No time, or one of another day than the credential.
    #[error("X-Amz-Date of the link is YYYYMMDDThhmmssZ, of the day in X-Amz-Credential")]
    Date,
    /// No time to live, or one that is too long.
    #[error("X-Amz-Expires of the link is a number of seconds from 1 to 604800")]
    Expires,
    /// No list of headers with the host among them.
    #[error("X-Amz-SignedHeaders of the link names headers in lower case and in order, host among them")]
    Headers,
    /// No signature.
    #[error("X-Amz-Signature of the link has 64 characters of 0-9 and a-f")]
    Signature,
    /// It was made ahead of this clock.
    #[error("the link counts from a time on that is still to come, by the clock here")]
    NotYet,
    /// Its time is over.
    #[error("the link has expired")]
    Expired,
}

/// A link as it came, well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presigned {
    /// The id of the key that signed it, as it stands there.
    pub id: String,
    /// The headers that it fixes, in lower case and in order.
    pub headers: Vec<String>,
    /// The signature that came with it.
    pub signature: [u8; SHA256_BYTES],
    scope: Scope,
    at: Second,
    expires_s: u64,
    /// All parameters but the signature.
    query: Vec<(String, String)>,
}

/// The id of the key that a link says it is signed by, whether it is one or not.
pub fn claimed(query: &[(String, String)]) -> Option<&str> {
    let (_, credential) = query.iter().find(|(name, _)| name == P_CREDENTIAL)?;
    credential.split('/').next()
}

impl Presigned {
    /// Reads the parameters of a query, unescaped.
    pub fn parse(query: Vec<(String, String)>) -> Result<Self, PresignError> {
        Self::parse_any(query, false).and_then(Self::of_store)
    }

    /// The same as clients of S3 make it: with headers that were moved into the query, of whatever name. They are signed
    /// with it; what they mean is for the port to say.
    pub fn parse_with_headers(query: Vec<(String, String)>) -> Result<Self, PresignError> {
        Self::parse_any(query, true).and_then(Self::of_store)
    }

    fn of_store(self) -> Result<Self, PresignError> {
        if self.scope.service == SERVICE { Ok(self) } else { Err(PresignError::Credential) }
    }

    /// The same of any service.
    fn parse_any(mut query: Vec<(String, String)>, with_headers: bool) -> Result<Self, PresignError> {
        if query.len() > PARAMETERS_MAX {
            return Err(PresignError::Many);
        }
        for (at, (name, _)) in query.iter().enumerate() {
            check_name(name, with_headers)?;
            // A header means the same in small letters.
            if query
                .iter()
                .skip(at + 1)
                .any(|(other, _)| other == name || is_ours(name) && other.eq_ignore_ascii_case(name))
            {
                return Err(PresignError::Twice);
            }
        }
        let find = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let [Some(algorithm), Some(credential), Some(date), Some(expires), Some(headers), Some(signature)] =
            PARAMETERS.map(find)
        else {
            return Err(PresignError::Missing);
        };
        if algorithm != ALGORITHM {
            return Err(PresignError::Algorithm);
        }
        let (id, scope) = Scope::of_credential(credential).ok_or(PresignError::Credential)?;
        let at = Second::parse(date).filter(|at| at.date() == scope.date).ok_or(PresignError::Date)?;
        let expires_s = seconds(expires).ok_or(PresignError::Expires)?;
        let headers = header_names(headers).ok_or(PresignError::Headers)?;
        let signature = unhex(signature.as_bytes()).ok_or(PresignError::Signature)?;
        let id = id.to_owned();
        query.retain(|(name, _)| name != P_SIGNATURE);
        Ok(Presigned { id, headers, signature, scope, at, expires_s, query })
    }

    /// Whether it counts at that second, by a clock that need not be the one of who made it.
    pub fn check_time(&self, now_s: u64) -> Result<(), PresignError> {
        let Second(at) = self.at;
        if at > now_s.saturating_add(AHEAD_SECONDS_MAX) {
            return Err(PresignError::NotYet);
        }
        if now_s >= at.saturating_add(self.expires_s) { Err(PresignError::Expired) } else { Ok(()) }
    }

    /// What a request is signed as that brings this link. `headers`: values of those that it fixes, in their order.
    pub fn string_to_sign(&self, method: &str, path: &str, headers: &[(String, String)]) -> String {
        self.to_sign(method, path, headers, UNSIGNED_PAYLOAD)
    }

    fn to_sign(&self, method: &str, path: &str, headers: &[(String, String)], payload: &str) -> String {
        let request = Request { method, path, query: &self.query, headers, payload };
        string_to_sign(self.at, &self.scope, &canonical(&request))
    }

    /// The same with what is said of the body: `payload`.
    pub fn string_to_sign_with(&self, method: &str, path: &str, headers: &[(String, String)], payload: &str) -> String {
        self.to_sign(method, path, headers, payload)
    }

    /// What its query says of the body, where it does.
    pub fn payload(&self) -> Option<&str> {
        let (_, value) = self.query.iter().find(|(name, _)| name.eq_ignore_ascii_case(P_PAYLOAD))?;
        Some(value)
    }

    /// Headers that stand in its query, as it has them: signed like all of that.
    pub fn headers_in_query(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.query.iter().filter(|(name, _)| is_header(name));
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What it was signed for.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The signature that a secret makes of that.
    pub fn signature_by(&self, secret: &[u8], to_sign: &str) -> [u8; SHA256_BYTES] {
        signature(secret, &self.scope, to_sign)
    }
}

/// A link that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// In capitals.
    pub method: &'a str,
    /// The path, escaped as it stands in the link.
    pub path: &'a str,
    /// The `Host` that it is for, as clients send it.
    pub host: &'a str,
    /// From when on it counts, in seconds since 1970.
    pub at_s: u64,
    /// For how long, in seconds; 1 to `LINK_SECONDS_MAX`.
    pub expires_s: u64,
    /// Headers that it fixes besides, in lower case.
    pub headers: &'a [(String, String)],
    /// Other parameters.
    pub query: &'a [(String, String)],
}

/// The region that links of this store are signed for; those that came are taken for any.
const REGION: &str = "us-east-1";

impl Link<'_> {
    /// The query of the link, with its signature at the end.
    pub fn query_by(&self, key: &Credential) -> String {
        let at = Second(self.at_s);
        let scope = Scope { date: at.date(), region: REGION.to_owned(), service: SERVICE.to_owned() };
        let mut headers = self.headers.to_vec();
        headers.push(("host".to_owned(), self.host.to_owned()));
        headers.sort();
        let mut query = self.query.to_vec();
        let own = [
            (P_ALGORITHM, ALGORITHM.to_owned()),
            (P_CREDENTIAL, format!("{}/{scope}", key.id)),
            (P_DATE, at.to_string()),
            (P_EXPIRES, self.expires_s.to_string()),
            (P_HEADERS, names(&headers)),
        ];
        query.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let (method, path) = (self.method, self.path);
        let request = canonical(&Request { method, path, query: &query, headers: &headers, payload: UNSIGNED_PAYLOAD });
        let signature = signature(key.secret.expose(), &scope, &string_to_sign(at, &scope, &request));
        format!("{}&{}={}", escaped_query(&query), escaped(P_SIGNATURE), hex(&signature))
    }
}

/// Whether a parameter begins as those of links do, in whatever letters.
fn is_ours(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether a parameter of a link stands for the header of its name: it begins as those do, and is none of the signature.
pub fn is_header(name: &str) -> bool {
    let of_signature = || PARAMETERS.iter().chain(&[P_TOKEN, P_PAYLOAD]).any(|own| own.eq_ignore_ascii_case(name));
    is_ours(name) && !of_signature()
}

/// Refuses a parameter that nobody knows; or, where headers may stand there, one that would be taken for another.
fn check_name(name: &str, with_headers: bool) -> Result<(), PresignError> {
    if !is_ours(name) || PARAMETERS.contains(&name) {
        return Ok(());
    }
    if name.eq_ignore_ascii_case(P_TOKEN) {
        return Err(PresignError::Token);
    }
    let is_like_one = PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(name));
    if with_headers && !is_like_one { Ok(()) } else { Err(PresignError::Unknown) }
}

fn seconds(text: &str) -> Option<u64> {
    let digits = (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|seconds| digits && (1..=LINK_SECONDS_MAX).contains(seconds))
}

#[cfg(test)]
mod tests;
