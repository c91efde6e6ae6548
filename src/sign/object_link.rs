//! A link to one object on the HTTP port: what whoever holds it may do there without a key, and for how long.
//!
//! Invariant: what a link says beyond its method, path, host and time stands in parameters and headers that are signed;
//! the port refuses it with any other.

use super::canonical::escaped_path;
use super::presign::{LINK_SECONDS_MAX, Link};
use crate::base::{Credential, ObjectName};

/// As what a browser keeps the object.
pub const FILE_NAME: &str = "X-Boveda-Filename";
/// Most bytes of what is stored.
pub const BYTES_MAX: &str = "X-Boveda-Max-Bytes";
/// Most bytes of a file name in a link.
pub const FILE_NAME_BYTES_MAX: usize = 1024;

/// What a link is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// Reading the object.
    Get {
        /// Under which name a browser keeps it.
        file_name: Option<String>,
    },
    /// Storing it.
    Put {
        /// The type that has to come with it.
        content_type: Option<String>,
        /// How many bytes it may have at most.
        bytes_max: Option<u64>,
    },
}

/// Why a link cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It would count for nothing, or too long.
    #[error("a link counts for 1 second to 7 days")]
    Expires,
    /// The host is no name and no address, with a port or without.
    #[error("the host of a link is that of its address, as clients send it: HOST or HOST:PORT")]
    Host,
    /// The file name cannot be one.
    #[error("the file name of a link has 1 to 1024 bytes")]
    FileName,
    /// The type is no header text.
    #[error("the content type of a link is visible ASCII with single spaces")]
    ContentType,
}

/// A link that is to be made.
#[derive(Clone, Debug)]
pub struct ObjectLink<'a> {
    /// The object, which need not be there.
    pub at: &'a ObjectName,
    /// What may be done.
    pub to: &'a Use,
    /// Under which name its node is reached, with the port where clients send it.
    pub host: &'a str,
    /// From when on it counts, in seconds since 1970.
    pub at_s: u64,
    /// For how long, in seconds.
    pub expires_s: u64,
}

impl ObjectLink<'_> {
    /// The target of the link, path and query, signed with that key.
    pub fn target_by(&self, key: &Credential) -> Result<String, LinkError> {
        if !(1..=LINK_SECONDS_MAX).contains(&self.expires_s) {
            return Err(LinkError::Expires);
        }
        let known = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
        if self.host.is_empty() || !self.host.bytes().all(known) {
            return Err(LinkError::Host);
        }
        let path = escaped_path(&format!("/v1/objects/{}", self.at));
        let (mut headers, mut query) = (Vec::new(), Vec::new());
        let method = match self.to {
            Use::Get { file_name } => {
                if let Some(name) = file_name {
                    let fits = (1..=FILE_NAME_BYTES_MAX).contains(&name.len());
                    query.push((FILE_NAME.to_owned(), fits.then(|| name.clone()).ok_or(LinkError::FileName)?));
                }
                "GET"
            }
            Use::Put { content_type, bytes_max } => {
                if let Some(text) = content_type {
                    let fits =
                        text.split(' ').all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic()));
                    headers
                        .push(("content-type".to_owned(), fits.then(|| text.clone()).ok_or(LinkError::ContentType)?));
                }
                query.extend(bytes_max.map(|bytes| (BYTES_MAX.to_owned(), bytes.to_string())));
                "PUT"
            }
        };
        let (headers, query) = (headers.as_slice(), query.as_slice());
        let Self { host, at_s, expires_s, .. } = *self;
        let host = host.to_ascii_lowercase();
        let link = Link { method, path: &path, host: &host, at_s, expires_s, headers, query };
        Ok(format!("{path}?{}", link.query_by(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketName, ObjectKey};

    fn made(to: &Use, host: &str, expires_s: u64) -> Result<String, LinkError> {
        let at = ObjectName {
            bucket: BucketName::parse("abc").expect("a name"),
            key: ObjectKey::parse("a b/ñ?").expect("a key"),
        };
        let key = Credential::of(&"A".repeat(20), &"B".repeat(40)).expect("a key");
        ObjectLink { at: &at, to, host, at_s: 1_700_000_000, expires_s }.target_by(&key)
    }

    #[test]
    fn what_a_link_is_for_stands_in_it() {
        let get = |name: &str| Use::Get { file_name: Some(name.to_owned()) };
        let target = made(&get("a&b.txt"), "Node.example:5000", 60).expect("a link");
        assert!(target.starts_with("/v1/objects/abc/a%20b/%C3%B1%3F?X-Amz-Algorithm=AWS4-HMAC-SHA256&"), "{target}");
        assert!(target.contains("&X-Boveda-Filename=a%26b.txt&X-Amz-Signature="), "{target}");
        let put = |of: &str| Use::Put { content_type: Some(of.to_owned()), bytes_max: Some(7) };
        let target = made(&put("a/b; c=d"), "h", 604_800).expect("a link");
        assert!(target.contains("&X-Amz-SignedHeaders=content-type%3Bhost&X-Boveda-Max-Bytes=7&"), "{target}");
        for (to, host, expires_s, why) in [
            (get("a"), "h", 0, LinkError::Expires),
            (get("a"), "h", 604_801, LinkError::Expires),
            (get("a"), "", 1, LinkError::Host),
            (get("a"), "h/x", 1, LinkError::Host),
            (get(""), "h", 1, LinkError::FileName),
            (get(&"n".repeat(1025)), "h", 1, LinkError::FileName),
            (put("a  b"), "h", 1, LinkError::ContentType),
            (put("a\nb"), "h", 1, LinkError::ContentType),
        ] {
            assert_eq!(made(&to, host, expires_s), Err(why));
        }
    }
}
