//! What a request is about: the service, a bucket, or an object, read from its raw path and its host.
//!
//! Invariants
//! - The path is cut into bucket and key before any percent-escape is resolved, and never normalised: `..`, empty
//!   segments, backslashes and `%2F` are characters of a key, not structure. Escapes are resolved once.
//! - A bucket is taken from the host only below a domain that was configured; otherwise it stands in the path.

use crate::base::{BucketName, ObjectKey, ObjectName};
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::{Plus, unescape};
use actix_web::HttpRequest;
use actix_web::http::header;

/// What a request is about, with the raw (still escaped) names that it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// All buckets.
    Service,
    /// One of them.
    Bucket(&'a str),
    /// What is in it.
    Object {
        /// In path or host.
        bucket: &'a str,
        /// In the path.
        key: &'a str,
    },
}

/// The same with the names as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// None.
    Service,
    /// A bucket's.
    Bucket(BucketName),
    /// An object's.
    Object(ObjectName),
}

impl<'a> Place<'a> {
    /// What a request is about. `domains`: in lower case, without a dot at the end.
    pub(super) fn of(req: &'a HttpRequest, domains: &[String]) -> Self {
        let host = match req.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => req.headers().get(header::HOST).and_then(|host| host.to_str().ok()),
        };
        let path = req.path().strip_prefix('/').unwrap_or(req.path());
        match host.and_then(|host| bucket_of_host(host, domains)) {
            Some(bucket) if path.is_empty() => Place::Bucket(bucket),
            Some(bucket) => Place::Object { bucket, key: path },
            None => Place::in_path(path),
        }
    }

    /// In path style. `path`: without the slash that it begins with.
    fn in_path(path: &'a str) -> Self {
        match path.split_once('/') {
            None if path.is_empty() => Place::Service,
            None | Some((_, "")) => Place::Bucket(path.strip_suffix('/').unwrap_or(path)),
            Some((bucket, key)) => Place::Object { bucket, key },
        }
    }

    /// The names, or what is wrong with them.
    pub(super) fn names(self) -> Result<Names, HttpError> {
        Ok(match self {
            Place::Service => Names::Service,
            Place::Bucket(raw) => Names::Bucket(bucket(raw)?),
            Place::Object { bucket, key } => Names::Object(object(bucket, key)?),
        })
    }
}

impl Names {
    /// The bucket, where there is one.
    pub(super) fn bucket(&self) -> Option<&BucketName> {
        match self {
            Names::Service => None,
            Names::Bucket(bucket) => Some(bucket),
            Names::Object(at) => Some(&at.bucket),
        }
    }
}

/// A bucket's name from its raw form.
fn bucket(raw: &str) -> Result<BucketName, HttpError> {
    Ok(BucketName::parse(&unescape(raw, Plus::IsPlus)?)?)
}

/// An object's name from its raw parts.
fn object(raw_bucket: &str, raw_key: &str) -> Result<ObjectName, HttpError> {
    Ok(ObjectName { bucket: bucket(raw_bucket)?, key: ObjectKey::parse(&unescape(raw_key, Plus::IsPlus)?)? })
}

/// The name that `x-amz-copy-source` has: bucket and key in percent-escapes, with a slash before them or without. All of
/// it is unescaped before it is cut, and a plus is a blank: clients escape the slash too, or write forms.
pub(in crate::http) fn copy_source(value: &str) -> Result<ObjectName, HttpError> {
    const NO_KEY: HttpError =
        HttpError::Header("x-amz-copy-source names a bucket and a key, with a slash between them");
    if let Some((_, query)) = value.split_once('?') {
        // A key with a question mark has it escaped.
        return Err(match query.starts_with("versionId=") {
            true => HttpError::NotImplemented("this release keeps one version of an object: leave versionId out"),
            false => HttpError::Header("x-amz-copy-source has a question mark that is not escaped"),
        });
    }
    let name = unescape(value, Plus::IsSpace)?;
    let name = name.strip_prefix('/').unwrap_or(&name);
    let (bucket, key) = name.split_once('/').filter(|(_, key)| !key.is_empty()).ok_or(NO_KEY)?;
    Ok(ObjectName { bucket: BucketName::parse(bucket)?, key: ObjectKey::parse(key)? })
}

/// The bucket that stands before one of the domains in a host; its port does not matter.
fn bucket_of_host<'a>(host: &'a str, domains: &[String]) -> Option<&'a str> {
    if domains.is_empty() || host.starts_with('[') {
        return None;
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let name = name.strip_suffix('.').unwrap_or(name);
    if domains.iter().any(|domain| name.eq_ignore_ascii_case(domain)) {
        return None;
    }
    // The shortest: a domain may lie below another.
    let before = domains.iter().filter_map(|domain| {
        let (before, behind) = name.split_at_checked(name.len().checked_sub(domain.len())?)?;
        before.strip_suffix('.').filter(|bucket| !bucket.is_empty() && behind.eq_ignore_ascii_case(domain))
    });
    before.min_by_key(|bucket| bucket.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn place(host: &str, path: &str) -> String {
        let domains = ["s3.example.org", "deep.s3.example.org"].map(str::to_owned);
        let req = TestRequest::with_uri(path).insert_header(("host", host)).to_http_request();
        match Place::of(&req, &domains) {
            Place::Service => "service".to_owned(),
            Place::Bucket(bucket) => format!("bucket {bucket}"),
            Place::Object { bucket, key } => format!("object {bucket} {key}"),
        }
    }

    #[test]
    fn buckets_stand_in_the_path_or_before_a_domain() {
        for (host, path, found) in [
            ("localhost:5001", "/", "service"),
            ("localhost:5001", "/abc", "bucket abc"),
            ("localhost:5001", "/abc/", "bucket abc"),
            ("localhost:5001", "/abc/k", "object abc k"),
            ("localhost:5001", "/abc//k/", "object abc /k/"),
            ("localhost:5001", "/abc//", "object abc /"),
            ("localhost:5001", "/abc/a%2Fb/../c", "object abc a%2Fb/../c"),
            ("localhost:5001", "//k", "object  k"),
            ("s3.example.org", "/abc/k", "object abc k"),
            ("abc.s3.example.org", "/", "bucket abc"),
            ("ABC.S3.Example.Org.:5001", "/k/x", "object ABC k/x"),
            ("a.b.s3.example.org:80", "//k", "object a.b /k"),
            ("s3.example.org", "/", "service"),
            ("xs3.example.org", "/", "service"),
            ("deep.s3.example.org", "/", "service"),
            ("abc.deep.s3.example.org", "/", "bucket abc"),
            ("other.org", "/", "service"),
            ("[::1]:5001", "/abc", "bucket abc"),
            (".s3.example.org", "/abc", "bucket abc"),
        ] {
            assert_eq!(place(host, path), found, "{host}{path}");
        }
    }

    #[test]
    fn sources_of_copies_are_unescaped_once() {
        for (value, bucket, key) in [
            ("abc/k", "abc", "k"),
            ("/abc/k", "abc", "k"),
            ("/abc//k", "abc", "/k"),
            ("abc/a%20b%2Fc", "abc", "a b/c"),
            ("abc/a+b%2Bc", "abc", "a b+c"),
            ("abc%2Fa%2Fb", "abc", "a/b"),
            ("%2Fabc/k", "abc", "k"),
            ("abc/%2525", "abc", "%25"),
            ("abc/%3Fx", "abc", "?x"),
            ("abc/%C3%B1", "abc", "ñ"),
        ] {
            let at = copy_source(value).unwrap();
            assert_eq!((at.bucket.as_str(), at.key.as_str()), (bucket, key), "{value}");
        }
        for bad in ["", "/", "abc", "abc/", "AB/k", "abc/%", "abc/%ff", "abc/k?versionId=1", "abc/k?x"] {
            assert!(copy_source(bad).is_err(), "{bad}");
        }
    }
}
