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
            _ => return Err(HttpError::Method { allow: route.allow() }),
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
                    Err(HttpError::Method { allow: told }) => assert!(!listed && told == *allow, "{method} {path}"),
                    Err(error) => panic!("{method} {path}: {error}"),
                }
            }
        }
    }

    #[test]
    fn who_may_what() {
        let need = |method: Method, path: &str| {
            let endpoint = Endpoint::of(Route::of(path), &method, path).expect("there is such an endpoint");
            endpoint.need().map(|need| {
                let on = (need.bucket.map(|b| b.as_str().to_owned()), need.key.map(|k| k.as_str().to_owned()));
                (need.right, on.0, on.1)
            })
        };
        let on = |bucket: &str, key: &str| {
            let named = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
            (named(bucket), named(key))
        };
        for (method, path, right, (bucket, key)) in [
            (Method::GET, "/v1/objects/abc/a%2Fb", Right::Read, on("abc", "a/b")),
            (Method::HEAD, "/v1/objects/abc/k", Right::Read, on("abc", "k")),
            (Method::PUT, "/v1/objects/abc/k", Right::Write, on("abc", "k")),
            (Method::DELETE, "/v1/objects/abc/k", Right::Delete, on("abc", "k")),
            (Method::POST, "/cargar", Right::Write, on("cargas", "")),
            (Method::GET, "/descargar/n%CC%83", Right::Read, on("cargas", "\u{f1}")),
            (Method::DELETE, "/eliminar/n", Right::Delete, on("cargas", "n")),
            (Method::GET, "/v1/objects/abc", Right::List, on("abc", "")),
            (Method::GET, "/v1/buckets/abc", Right::List, on("abc", "")),
            (Method::GET, "/v1/buckets", Right::List, on("", "")),
            (Method::PUT, "/v1/buckets/abc", Right::Admin, on("abc", "")),
            (Method::DELETE, "/v1/buckets/abc", Right::Admin, on("abc", "")),
            (Method::GET, "/v1/cluster", Right::Admin, on("", "")),
            (Method::PUT, "/v1/cluster/members", Right::Admin, on("", "")),
            (Method::PUT, "/v1/cluster/scrub", Right::Admin, on("", "")),
            (Method::GET, "/metrics", Right::Admin, on("", "")),
        ] {
            assert_eq!(need(method.clone(), path), Some((right, bucket, key)), "{method} {path}");
        }
        for open in ["/", "/healthz", "/readyz", "/openapi.json"] {
            assert_eq!(need(Method::GET, open), None, "{open}");
        }
        assert_eq!(need(Method::OPTIONS, "/v1/objects/abc/k"), None, "which methods there are is no secret");
    }
}
