//! The request target: which route, and which name in it, read from the raw path.
//!
//! Invariants
//! - The path is cut into route, bucket and key before any percent-escape is resolved, and never
//!   normalised: `..`, empty segments, backslashes and `%2F` are characters of a key, not structure.
//! - `ROUTES`, which tests read, has every route that `Route::of` knows, by hand: tests compare it with `/openapi.json`
//!   and with the endpoints, and see none that is missing in it. `GET /` names routes too (`operations`).

use super::voices::Language;
use crate::base::{AccessKeyId, BucketName, ObjectKey, ObjectName};
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::{Plus, unescape};
use crate::http::edge::problem::Kind;
use icu_normalizer::ComposingNormalizerBorrowed;

/// A route, with the raw (still escaped) names that its path carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) enum Route<'a> {
    Root,
    Cargar,
    Descargar(&'a str),
    Eliminar(&'a str),
    Object { bucket: &'a str, key: &'a str },
    Listing { bucket: &'a str },
    Buckets,
    Bucket(&'a str),
    Public(&'a str),
    BucketQuota(&'a str),
    BucketEtag(&'a str),
    AccessKeys,
    AccessKey(&'a str),
    RotateAccess(&'a str),
    Links,
    Audit,
    CheckAudit,
    Cluster,
    Members,
    Keys,
    Scrub,
    Health,
    Ready,
    Metrics,
    OpenApi,
}

/// Routes that are counted together, and answer errors in one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Cargar,
    Descargar,
    Eliminar,
    Objects,
    Listing,
    Buckets,
    Access,
    Operations,
    Unknown,
}

impl Group {
    /// By their place: the words of metrics and logs.
    pub(super) const LABELS: &'static [&'static str] =
        &["cargar", "descargar", "eliminar", "objects", "listing", "buckets", "access", "operations", "unknown"];

    /// The group of a route, or of none.
    pub(super) fn of(route: Option<Route<'_>>) -> Self {
        match route {
            None => Group::Unknown,
            Some(Route::Cargar) => Group::Cargar,
            Some(Route::Descargar(_)) => Group::Descargar,
            Some(Route::Eliminar(_)) => Group::Eliminar,
            Some(Route::Object { .. }) => Group::Objects,
            Some(Route::Listing { .. }) => Group::Listing,
            Some(Route::Buckets | Route::Bucket(_) | Route::Public(_)) => Group::Buckets,
            Some(Route::BucketQuota(_) | Route::BucketEtag(_)) => Group::Buckets,
            Some(Route::AccessKeys | Route::AccessKey(_) | Route::RotateAccess(_) | Route::Links) => Group::Access,
            Some(
                Route::Root
                | Route::Audit
                | Route::CheckAudit
                | Route::Cluster
                | Route::Members
                | Route::Keys
                | Route::Scrub
                | Route::Health
                | Route::Ready
                | Route::Metrics
                | Route::OpenApi,
            ) => Group::Operations,
        }
    }

    /// The notebook's users read Spanish.
    pub(super) fn language(self) -> Language {
        match self {
            Group::Cargar | Group::Descargar | Group::Eliminar => Language::Castellano,
            _ => Language::English,
        }
    }
}

/// Every route as OpenAPI writes it, with what it allows. A new one has its row here: no test misses it otherwise.
#[cfg(test)]
pub(super) const ROUTES: &[(&str, &str)] = &[
    ("/", Route::Root.allow()),
    ("/cargar", Route::Cargar.allow()),
    ("/descargar/{nombre}", Route::Descargar("").allow()),
    ("/eliminar/{nombre}", Route::Eliminar("").allow()),
    ("/v1/objects/{bucket}/{key}", Route::Object { bucket: "", key: "" }.allow()),
    ("/v1/objects/{bucket}", Route::Listing { bucket: "" }.allow()),
    ("/v1/buckets", Route::Buckets.allow()),
    ("/v1/buckets/{bucket}", Route::Bucket("").allow()),
    ("/v1/buckets/{bucket}/public", Route::Public("").allow()),
    ("/v1/buckets/{bucket}/quota", Route::BucketQuota("").allow()),
    ("/v1/buckets/{bucket}/etag", Route::BucketEtag("").allow()),
    ("/v1/access", Route::AccessKeys.allow()),
    ("/v1/access/{id}", Route::AccessKey("").allow()),
    ("/v1/access/{id}/rotate", Route::RotateAccess("").allow()),
    ("/v1/links", Route::Links.allow()),
    ("/v1/audit", Route::Audit.allow()),
    ("/v1/audit/check", Route::CheckAudit.allow()),
    ("/v1/cluster", Route::Cluster.allow()),
    ("/v1/cluster/members", Route::Members.allow()),
    ("/v1/cluster/keys", Route::Keys.allow()),
    ("/v1/cluster/scrub", Route::Scrub.allow()),
    ("/healthz", Route::Health.allow()),
    ("/readyz", Route::Ready.allow()),
    ("/metrics", Route::Metrics.allow()),
    ("/openapi.json", Route::OpenApi.allow()),
];

impl<'a> Route<'a> {
    /// The route of a raw path, or `None`.
    pub(in crate::http) fn of(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        // A slash behind changes the name of an object, and of nothing else.
        let fixed = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(rest) = rest.strip_prefix("v1/") {
            if let Some(rest) = rest.strip_prefix("objects/") {
                return Some(match rest.split_once('/') {
                    Some((bucket, "")) => Route::Listing { bucket },
                    Some((bucket, key)) => Route::Object { bucket, key },
                    None => Route::Listing { bucket: rest },
                });
            }
            let rest = fixed.strip_prefix("v1/")?;
            return match rest {
                "buckets" => Some(Route::Buckets),
                "cluster" => Some(Route::Cluster),
                "cluster/members" => Some(Route::Members),
                "cluster/keys" => Some(Route::Keys),
                "cluster/scrub" => Some(Route::Scrub),
                "access" => Some(Route::AccessKeys),
                "links" => Some(Route::Links),
                "audit" => Some(Route::Audit),
                "audit/check" => Some(Route::CheckAudit),
                _ => match rest.strip_prefix("access/") {
                    Some(rest) => {
                        Some(rest.strip_suffix("/rotate").map_or(Route::AccessKey(rest), Route::RotateAccess))
                    }
                    None => rest.strip_prefix("buckets/").map(|rest| match rest.rsplit_once('/') {
                        Some((bucket, "public")) => Route::Public(bucket),
                        Some((bucket, "quota")) => Route::BucketQuota(bucket),
                        Some((bucket, "etag")) => Route::BucketEtag(bucket),
                        _ => Route::Bucket(rest),
                    }),
                },
            };
        }
        if let Some(name) = rest.strip_prefix("descargar/") {
            return Some(Route::Descargar(name));
        }
        if let Some(name) = rest.strip_prefix("eliminar/") {
            return Some(Route::Eliminar(name));
        }
        match fixed {
            "" => Some(Route::Root),
            "cargar" => Some(Route::Cargar),
            "healthz" => Some(Route::Health),
            "readyz" => Some(Route::Ready),
            "metrics" => Some(Route::Metrics),
            "openapi.json" => Some(Route::OpenApi),
            _ => None,
        }
    }

    /// What the route allows, as the `Allow` header lists it.
    pub(super) const fn allow(&self) -> &'static str {
        match self {
            Route::Cargar | Route::RotateAccess(_) | Route::Links => "POST, OPTIONS",
            Route::Public(_) | Route::BucketQuota(_) => "PUT, DELETE, OPTIONS",
            Route::BucketEtag(_) => "PUT, OPTIONS",
            Route::AccessKeys | Route::Keys => "GET, HEAD, POST, OPTIONS",
            Route::Members | Route::Scrub | Route::CheckAudit => "GET, HEAD, PUT, OPTIONS",
            Route::Eliminar(_) => "DELETE, OPTIONS",
            Route::Object { .. } => "GET, HEAD, PUT, DELETE, OPTIONS",
            Route::Bucket(_) | Route::AccessKey(_) => "GET, HEAD, PUT, DELETE, OPTIONS",
            Route::Root
            | Route::Descargar(_)
            | Route::Listing { .. }
            | Route::Buckets
            | Route::Audit
            | Route::Cluster
            | Route::Health
            | Route::Ready
            | Route::Metrics
            | Route::OpenApi => "GET, HEAD, OPTIONS",
        }
    }
}

/// A bucket name from its raw path segment.
pub(in crate::http) fn bucket(raw: &str) -> Result<BucketName, HttpError> {
    Ok(BucketName::parse(&unescape(raw, Plus::IsPlus)?)?)
}

/// The id of an access key from its raw path segment: what is none is the id of no key.
pub(super) fn access_key(raw: &str) -> Result<AccessKeyId, HttpError> {
    AccessKeyId::parse(raw.as_bytes()).ok_or(HttpError::Refused(Kind::NoSuchAccessKey))
}

/// An object name from its raw parts.
pub(in crate::http) fn object(raw_bucket: &str, raw_key: &str) -> Result<ObjectName, HttpError> {
    Ok(ObjectName { bucket: bucket(raw_bucket)?, key: ObjectKey::parse(&unescape(raw_key, Plus::IsPlus)?)? })
}

/// A name of the notebook's routes as it stands in a path: a key in their bucket.
pub(in crate::http) fn carga(raw: &str) -> Result<ObjectName, HttpError> {
    carga_named(&unescape(raw, Plus::IsPlus)?)
}

/// A name of the notebook's routes as people type it. One name is one object, whether a keyboard, a disk or a browser
/// composes its accents or not (Unicode normalization form C). Clients resolve `.` and `..` in paths, so no client
/// could ask for such a name again.
pub(super) fn carga_named(name: &str) -> Result<ObjectName, HttpError> {
    if name.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(HttpError::DotSegment);
    }
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(name);
    Ok(ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(&composed)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_before_they_are_unescaped() {
        let object = |path: &str| match Route::of(path) {
            Some(Route::Object { bucket, key }) => {
                object(bucket, key).map(|o| (o.bucket.to_string(), o.key.to_string()))
            }
            other => panic!("{path}: {other:?}"),
        };
        for (path, key) in [
            ("/v1/objects/abc/k", "k"),
            ("/v1/objects/abc/a/b", "a/b"),
            ("/v1/objects/abc/a%2Fb", "a/b"),
            ("/v1/objects/abc/a%2fb", "a/b"),
            ("/v1/objects/abc/../../etc/passwd", "../../etc/passwd"),
            ("/v1/objects/abc/%2E%2e/x", "../x"),
            ("/v1/objects/abc/.", "."),
            ("/v1/objects/abc//", "/"),
            ("/v1/objects/abc/a//b/", "a//b/"),
            ("/v1/objects/abc/a\\b", "a\\b"),
            ("/v1/objects/abc/a%5Cb", "a\\b"),
            ("/v1/objects/abc/a+b%2Bc", "a+b+c"),
            ("/v1/objects/abc/a%20b", "a b"),
            ("/v1/objects/abc/%C3%B1and%C3%BA", "ñandú"),
            ("/v1/objects/abc/%2520", "%20"),
            ("/v1/objects/abc/%00", "\0"),
        ] {
            assert_eq!(object(path).unwrap(), ("abc".to_owned(), key.to_owned()), "{path}");
        }
        let long = format!("/v1/objects/abc/{}", "%6b".repeat(1024));
        assert_eq!(object(&long).unwrap().1.len(), 1024);
        assert_eq!(Route::of("/v1/objects/abc/"), Some(Route::Listing { bucket: "abc" }));
        for bad in ["%", "%4", "%4g", "%-1", "%+1", "a%", "%ff", "%C3", "%ED%A0%80", &"k".repeat(1025)] {
            assert!(object(&format!("/v1/objects/abc/{bad}")).is_err(), "{bad}");
        }
        for bad in ["", "ab", "a%2Fbc", "ABC", "%2e%2e%2e", "a%00c"] {
            assert!(object(&format!("/v1/objects/{bad}/k")).is_err(), "{bad}");
        }
    }

    #[test]
    fn routes() {
        assert_eq!(Route::of("/cargar"), Some(Route::Cargar));
        assert_eq!(Route::of("/descargar/a/b"), Some(Route::Descargar("a/b")));
        assert_eq!(Route::of("/descargar/"), Some(Route::Descargar("")));
        assert_eq!(Route::of("/v1/objects/b"), Some(Route::Listing { bucket: "b" }));
        assert_eq!(Route::of("/v1/buckets"), Some(Route::Buckets));
        assert_eq!(Route::of("/v1/buckets/b"), Some(Route::Bucket("b")));
        assert_eq!(Route::of("/v1/buckets/b/public"), Some(Route::Public("b")));
        assert_eq!(Route::of("/v1/buckets/public"), Some(Route::Bucket("public")));
        assert_eq!(Route::of("/v1/access/"), Some(Route::AccessKeys));
        assert_eq!(Route::of("/v1/access/ABC"), Some(Route::AccessKey("ABC")));
        assert_eq!(Route::of("/v1/access/ABC/rotate"), Some(Route::RotateAccess("ABC")));
        assert!(access_key("ABC").is_err() && access_key("ABCDEFGHIJKLMNOPQRST").is_ok());
        assert_eq!(Route::of("/"), Some(Route::Root));
        for (slash, route) in
            [("/cargar/", Route::Cargar), ("/v1/buckets/", Route::Buckets), ("/v1/buckets/b/", Route::Bucket("b"))]
        {
            assert_eq!(Route::of(slash), Some(route), "{slash}");
        }
        for none in ["", "cargar", "/cargar//", "//cargar", "/Cargar", "/%63argar", "/v1", "/v1/", "/v1/objects", "*"] {
            assert_eq!(Route::of(none), None, "{none}");
        }
        for (template, allow) in ROUTES {
            assert_eq!(Route::of(template).unwrap().allow(), *allow, "{template}");
        }
    }
}
