//! What may be asked of this port: a route and a method, with the names in the path.
//!
//! Invariants
//! - `Endpoint::of` refuses exactly what `Route::allow` does not list.
//! - Every endpoint says what its caller needs; those without a need tell nothing that is not in the documentation, or
//!   are asked by who has no key: probes of a load balancer.

use super::target::{self, Route};
use crate::base::{BucketName, NameError, ObjectName};
use crate::http::edge::access::{Need, Right};
use crate::http::edge::errors::HttpError;
use actix_web::http::Method;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `OPTIONS`: which methods there are.
    Options(&'static str),
    Root,
    Upload {
        /// Where names are in the form.
        into: BucketName,
    },
    Download(ObjectName),
    Remove(ObjectName),
    GetObject(ObjectName),
    PutObject(ObjectName),
    DeleteObject(ObjectName),
    ListObjects(BucketName),
    ListBuckets,
    ShowBucket(BucketName),
    CreateBucket(BucketName),
    DeleteBucket(BucketName),
    ShowCluster,
    ShowMembers,
    ChangeMembers,
    ShowScrub,
    PauseScrub,
    Health,
    Ready,
    Metrics,
    OpenApi,
}

impl Endpoint {
    /// What a method asks of a route. `path`: where the route was read from.
    pub(super) fn of(route: Option<Route<'_>>, method: &Method, path: &str) -> Result<Self, HttpError> {
        let Some(route) = route else {
            return match *method == Method::OPTIONS && path == "*" {
                true => Ok(Endpoint::Options("GET, HEAD, PUT, POST, DELETE, OPTIONS")),
                false => Err(HttpError::NoRoute),
            };
        };
        let reads = *method == Method::GET || *method == Method::HEAD;
        let (puts, deletes) = (*method == Method::PUT, *method == Method::DELETE);
        Ok(match route {
            _ if *method == Method::OPTIONS => Endpoint::Options(route.allow()),
            Route::Object { bucket, key } if reads => Endpoint::GetObject(target::object(bucket, key)?),
            Route::Object { bucket, key } if puts => Endpoint::PutObject(target::object(bucket, key)?),
            Route::Object { bucket, key } if deletes => Endpoint::DeleteObject(target::object(bucket, key)?),
            Route::Cargar if *method == Method::POST => Endpoint::Upload { into: BucketName::cargas() },
            Route::Descargar(name) if reads => Endpoint::Download(target::carga(name)?),
            Route::Eliminar(name) if deletes => Endpoint::Remove(target::carga(name)?),
            Route::Listing { bucket } if reads => Endpoint::ListObjects(target::bucket(bucket)?),
            // A write whose key is missing behind the slash.
            Route::Listing { .. } if path.ends_with('/') && (puts || deletes) => return Err(NameError::Key.into()),
            Route::Buckets if reads => Endpoint::ListBuckets,
            Route::Bucket(bucket) if reads => Endpoint::ShowBucket(target::bucket(bucket)?),
            Route::Bucket(bucket) if puts => Endpoint::CreateBucket(target::bucket(bucket)?),
            Route::Bucket(bucket) if deletes => Endpoint::DeleteBucket(target::bucket(bucket)?),
            Route::Root if reads => Endpoint::Root,
            Route::Members if reads => Endpoint::ShowMembers,
            Route::Members if puts => Endpoint::ChangeMembers,
            Route::Scrub if reads => Endpoint::ShowScrub,
            Route::Scrub if puts => Endpoint::PauseScrub,
            Route::Cluster if reads => Endpoint::ShowCluster,
            Route::Health if reads => Endpoint::Health,
            Route::Ready if reads => Endpoint::Ready,
            Route::Metrics if reads => Endpoint::Metrics,
            Route::OpenApi if reads => Endpoint::OpenApi,
            Route::Listing { .. } if puts || deletes => return Err(not_allowed(&route, Some(BUCKETS))),
            _ => return Err(not_allowed(&route, None)),
        })
    }

    /// What the caller needs; `None` where everybody may.
    pub(super) fn need(&self) -> Option<Need<'_>> {
        Some(match self {
            Endpoint::GetObject(at) | Endpoint::Download(at) => Need::on_object(Right::Read, at),
            Endpoint::PutObject(at) => Need::on_object(Right::Write, at),
            Endpoint::Upload { into } => Need::on_bucket(Right::Write, into),
            Endpoint::DeleteObject(at) | Endpoint::Remove(at) => Need::on_object(Right::Delete, at),
            Endpoint::ListObjects(bucket) | Endpoint::ShowBucket(bucket) => Need::on_bucket(Right::List, bucket),
            Endpoint::ListBuckets => Need::on_node(Right::List),
            Endpoint::CreateBucket(bucket) | Endpoint::DeleteBucket(bucket) => Need::on_bucket(Right::Admin, bucket),
            Endpoint::ShowCluster
            | Endpoint::ShowMembers
            | Endpoint::ChangeMembers
            | Endpoint::ShowScrub
            | Endpoint::PauseScrub
            | Endpoint::Metrics => Need::on_node(Right::Admin),
            Endpoint::Options(_) | Endpoint::Root | Endpoint::Health | Endpoint::Ready | Endpoint::OpenApi => {
                return None;
            }
        })
    }
}

/// Where somebody wanted to go who makes or deletes a bucket at its list of objects.
const BUCKETS: &str =
    "this path lists the objects of a bucket; the bucket itself is made and deleted at /v1/buckets/{bucket}";

fn not_allowed(route: &Route<'_>, instead: Option<&'static str>) -> HttpError {
    HttpError::Method { allow: route.allow(), instead }
}

#[cfg(test)]
mod tests {
    use super::super::target::ROUTES;
    use super::*;

    const METHODS: [Method; 8] = [
        Method::GET,
        Method::HEAD,
        Method::PUT,
        Method::POST,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
        Method::TRACE,
    ];

    /// A path of the template, with names that are good everywhere.
    fn filled(template: &str) -> String {
        template.replace("{bucket}", "abc").replace("{key}", "k").replace("{nombre}", "n")
    }

    #[test]
    fn a_route_takes_the_methods_that_it_allows_and_no_others() {
        for (template, allow) in ROUTES {
            let path = filled(template);
            for method in METHODS {
                let listed = allow.split(", ").any(|known| known == method.as_str());
                match Endpoint::of(Route::of(&path), &method, &path) {
                    Ok(_) => assert!(listed, "{method} {path} is not allowed"),
                    Err(HttpError::Method { allow: told, .. }) => assert!(!listed && told == *allow, "{method} {path}"),
                    Err(error) => panic!("{method} {path}: {error}"),
                }
            }
        }
    }

    #[test]
    fn who_means_a_bucket_is_told_where_it_is() {
        for (method, path) in [(Method::DELETE, "/v1/objects/abc"), (Method::PUT, "/v1/objects/abc")] {
            let error = Endpoint::of(Route::of(path), &method, path).expect_err("no such method");
            assert!(
                crate::http::edge::english::text(&error.problem()).contains("/v1/buckets/{bucket}"),
                "{method} {path}"
            );
        }
    }

    /// A method and a path; the right that it needs, and on what. None where everybody may.
    type Row = (Method, &'static str, Option<(Right, &'static str, &'static str)>);

    fn rows() -> [Row; 21] {
        let needs = |right, bucket, key| Some((right, bucket, key));
        [
            (Method::GET, "/v1/objects/abc/a%2Fb", needs(Right::Read, "abc", "a/b")),
            (Method::PUT, "/v1/objects/abc/k", needs(Right::Write, "abc", "k")),
            (Method::DELETE, "/v1/objects/abc/k", needs(Right::Delete, "abc", "k")),
            (Method::POST, "/cargar", needs(Right::Write, "cargas", "")),
            (Method::GET, "/descargar/n%CC%83", needs(Right::Read, "cargas", "\u{f1}")),
            (Method::DELETE, "/eliminar/n", needs(Right::Delete, "cargas", "n")),
            (Method::GET, "/v1/objects/abc", needs(Right::List, "abc", "")),
            (Method::GET, "/v1/buckets/abc", needs(Right::List, "abc", "")),
            (Method::GET, "/v1/buckets", needs(Right::List, "", "")),
            (Method::PUT, "/v1/buckets/abc", needs(Right::Admin, "abc", "")),
            (Method::DELETE, "/v1/buckets/abc", needs(Right::Admin, "abc", "")),
            (Method::GET, "/v1/cluster", needs(Right::Admin, "", "")),
            (Method::GET, "/v1/cluster/members", needs(Right::Admin, "", "")),
            (Method::PUT, "/v1/cluster/members", needs(Right::Admin, "", "")),
            (Method::GET, "/v1/cluster/scrub", needs(Right::Admin, "", "")),
            (Method::PUT, "/v1/cluster/scrub", needs(Right::Admin, "", "")),
            (Method::GET, "/metrics", needs(Right::Admin, "", "")),
            (Method::GET, "/", None),
            (Method::GET, "/healthz", None),
            (Method::GET, "/readyz", None),
            (Method::GET, "/openapi.json", None),
        ]
    }

    fn need(method: &Method, path: &str) -> Option<(Right, String, String)> {
        let endpoint = Endpoint::of(Route::of(path), method, path).expect("there is such an endpoint");
        endpoint.need().map(|need| {
            let (bucket, key) = (need.bucket.map_or("", |b| b.as_str()), need.key.map_or("", |k| k.as_str()));
            (need.right, bucket.to_owned(), key.to_owned())
        })
    }

    #[test]
    fn who_may_what() {
        for (method, path, needed) in rows() {
            let needed = needed.map(|(right, bucket, key)| (right, bucket.to_owned(), key.to_owned()));
            assert_eq!(need(&method, path), needed, "{method} {path}");
            if method == Method::GET {
                assert_eq!(need(&Method::HEAD, path), needed, "HEAD {path} tells of what GET tells");
            }
        }
    }

    #[test]
    fn whatever_a_route_allows_has_a_row_that_says_who_may() {
        let of = |path: &'static str| std::mem::discriminant(&Route::of(path).expect("a route"));
        for (template, allow) in ROUTES {
            for method in allow.split(", ").filter(|method| *method != "HEAD") {
                let has_row = || rows().iter().any(|(m, path, _)| m.as_str() == method && of(path) == of(template));
                match method {
                    // Which methods there are is no secret.
                    "OPTIONS" => assert_eq!(need(&Method::OPTIONS, &filled(template)), None, "{template}"),
                    _ => assert!(has_row(), "{method} {template} stands in no row of who may what"),
                }
            }
        }
    }
}
