//! What may be asked of this port: a route and a method, with the names in the path.
//!
//! Invariants
//! - `Endpoint::of` refuses exactly what `Route::allow` does not list.
//! - Every endpoint says what its caller needs; those without a need tell nothing that is not in the documentation, or
//!   are asked by who has no key: probes of a load balancer.

use super::target::{self, Route};
use crate::base::{AccessKeyId, BucketName, NameError, ObjectName};
use crate::http::edge::access::{Need, Right};
use crate::http::edge::deed::{Deed, Target};
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
    OpenBucket(BucketName),
    CloseBucket(BucketName),
    SetQuota(BucketName),
    ClearQuota(BucketName),
    SetEtag(BucketName),
    ListAccess,
    CreateAccess,
    ShowAccess(AccessKeyId),
    SetAccess(AccessKeyId),
    RevokeAccess(AccessKeyId),
    RotateAccess(AccessKeyId),
    CreateLink,
    ShowAudit,
    CheckAudit,
    AcceptAudit,
    ShowCluster,
    ShowMembers,
    ChangeMembers,
    ShowKeys,
    RotateKeys,
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
            Route::Public(bucket) if puts => Endpoint::OpenBucket(target::bucket(bucket)?),
            Route::Public(bucket) if deletes => Endpoint::CloseBucket(target::bucket(bucket)?),
            Route::BucketQuota(bucket) if puts => Endpoint::SetQuota(target::bucket(bucket)?),
            Route::BucketQuota(bucket) if deletes => Endpoint::ClearQuota(target::bucket(bucket)?),
            Route::BucketEtag(bucket) if puts => Endpoint::SetEtag(target::bucket(bucket)?),
            Route::AccessKeys if reads => Endpoint::ListAccess,
            Route::AccessKeys if *method == Method::POST => Endpoint::CreateAccess,
            Route::AccessKey(id) if reads => Endpoint::ShowAccess(target::access_key(id)?),
            Route::AccessKey(id) if puts => Endpoint::SetAccess(target::access_key(id)?),
            Route::AccessKey(id) if deletes => Endpoint::RevokeAccess(target::access_key(id)?),
            Route::RotateAccess(id) if *method == Method::POST => Endpoint::RotateAccess(target::access_key(id)?),
            Route::Links if *method == Method::POST => Endpoint::CreateLink,
            Route::Root if reads => Endpoint::Root,
            Route::Members if reads => Endpoint::ShowMembers,
            Route::Members if puts => Endpoint::ChangeMembers,
            Route::Keys if reads => Endpoint::ShowKeys,
            Route::Keys if *method == Method::POST => Endpoint::RotateKeys,
            Route::Scrub if reads => Endpoint::ShowScrub,
            Route::Scrub if puts => Endpoint::PauseScrub,
            Route::Audit if reads => Endpoint::ShowAudit,
            Route::CheckAudit if reads => Endpoint::CheckAudit,
            Route::CheckAudit if puts => Endpoint::AcceptAudit,
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
            Endpoint::Upload { into } => Need::in_bucket(Right::Write, into),
            Endpoint::DeleteObject(at) | Endpoint::Remove(at) => Need::on_object(Right::Delete, at),
            // Under which prefix stands in a parameter.
            Endpoint::ListObjects(bucket) | Endpoint::ShowBucket(bucket) => Need::in_bucket(Right::List, bucket),
            // A link is for what its maker may do, which stands in the body.
            Endpoint::ListBuckets | Endpoint::CreateLink => Need::to_be_known(),
            Endpoint::CreateBucket(bucket)
            | Endpoint::DeleteBucket(bucket)
            | Endpoint::OpenBucket(bucket)
            | Endpoint::CloseBucket(bucket)
            | Endpoint::SetQuota(bucket)
            | Endpoint::ClearQuota(bucket)
            | Endpoint::SetEtag(bucket) => Need::on_bucket(Right::Admin, bucket),
            Endpoint::Metrics => Need::on_this_node(Right::Metrics),
            Endpoint::ShowCluster | Endpoint::ShowMembers | Endpoint::ShowKeys | Endpoint::ShowScrub => {
                Need::on_this_node(Right::Admin)
            }
            Endpoint::ListAccess
            | Endpoint::CreateAccess
            | Endpoint::ShowAccess(_)
            | Endpoint::SetAccess(_)
            | Endpoint::RevokeAccess(_)
            | Endpoint::RotateAccess(_)
            | Endpoint::ShowAudit
            | Endpoint::CheckAudit
            | Endpoint::AcceptAudit
            | Endpoint::ChangeMembers
            | Endpoint::RotateKeys
            | Endpoint::PauseScrub => Need::on_node(Right::Admin),
            Endpoint::Options(_) | Endpoint::Root | Endpoint::Health | Endpoint::Ready | Endpoint::OpenApi => {
                return None;
            }
        })
    }
}

/// What each endpoint is to the audit log.
impl Endpoint {
    /// The row of an endpoint. Whatever changes keys, rights, buckets, members, settings or key generations is a change;
    /// a test holds it against the methods.
    pub(super) fn deed(&self) -> Deed<'_> {
        use Target::{Bucket, Key, Whole};
        match self {
            Endpoint::GetObject(at) | Endpoint::Download(at) => Deed::object("object:read", at),
            Endpoint::PutObject(at) => Deed::object("object:write", at),
            // Under which name stands in the form.
            Endpoint::Upload { into } => Deed { target: Bucket(into), ..Deed::of_object("object:write") },
            Endpoint::DeleteObject(at) | Endpoint::Remove(at) => Deed::object("object:delete", at),
            Endpoint::ListObjects(bucket) => Deed { target: Bucket(bucket), ..Deed::of_object("object:list") },
            Endpoint::ListBuckets => Deed::look("bucket:list", Whole),
            Endpoint::ShowBucket(bucket) => Deed::look("bucket:show", Bucket(bucket)),
            Endpoint::CreateBucket(bucket) => Deed::change("bucket:create", Bucket(bucket)),
            Endpoint::DeleteBucket(bucket) => Deed::change("bucket:delete", Bucket(bucket)),
            Endpoint::OpenBucket(bucket) => Deed::change("bucket:open", Bucket(bucket)),
            Endpoint::CloseBucket(bucket) => Deed::change("bucket:close", Bucket(bucket)),
            Endpoint::SetQuota(bucket) | Endpoint::ClearQuota(bucket) => Deed::change("bucket:quota", Bucket(bucket)),
            Endpoint::SetEtag(bucket) => Deed::change("bucket:etag", Bucket(bucket)),
            Endpoint::CreateLink => Deed::change("link:create", Whole),
            Endpoint::ListAccess => Deed::look("access:list", Whole),
            Endpoint::ShowAccess(id) => Deed::look("access:show", Key(*id)),
            Endpoint::CreateAccess => Deed::change("access:create", Whole),
            Endpoint::SetAccess(id) => Deed::change("access:set", Key(*id)),
            Endpoint::RevokeAccess(id) => Deed::change("access:revoke", Key(*id)),
            Endpoint::RotateAccess(id) => Deed::change("access:rotate", Key(*id)),
            Endpoint::ShowAudit => Deed::look("audit:show", Whole),
            Endpoint::CheckAudit => Deed::look("audit:check", Whole),
            Endpoint::AcceptAudit => Deed::change("audit:accept", Whole),
            Endpoint::ShowCluster => Deed::look("cluster:show", Whole),
            Endpoint::ShowMembers => Deed::look("members:show", Whole),
            Endpoint::ChangeMembers => Deed::change("members:change", Whole),
            Endpoint::ShowKeys => Deed::look("keys:show", Whole),
            Endpoint::RotateKeys => Deed::change("keys:rotate", Whole),
            Endpoint::ShowScrub => Deed::look("scrub:show", Whole),
            Endpoint::PauseScrub => Deed::change("scrub:set", Whole),
            Endpoint::Metrics => Deed::look("metrics", Whole),
            Endpoint::Health | Endpoint::Ready | Endpoint::Root | Endpoint::OpenApi | Endpoint::Options(_) => {
                Deed::look("open", Whole)
            }
        }
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

    const ID: &str = "ABCDEFGHIJKLMNOPQRST";

    /// A path of the template, with names that are good everywhere.
    fn filled(template: &str) -> String {
        template.replace("{bucket}", "abc").replace("{key}", "k").replace("{nombre}", "n").replace("{id}", ID)
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

    /// A method and a path; what it needs: a right, the bucket and the part of it that it is on. None where everybody may.
    type Row = (Method, &'static str, Option<Need<'static>>);

    /// A bucket of that name, for as long as the tests run.
    fn named(name: &str) -> &'static BucketName {
        Box::leak(Box::new(BucketName::parse(name).expect("a name")))
    }

    fn rows() -> Vec<Row> {
        use crate::http::edge::access::Span;
        let (abc, cargas) = (named("abc"), named("cargas"));
        let key = |right, bucket, key| Some(Need { span: Span::Key(key), ..Need::on_bucket(right, bucket) });
        let node = |right| Some(Need::on_node(right));
        let here = |right| Some(Need::on_this_node(right));
        const ONE: &str = "/v1/access/ABCDEFGHIJKLMNOPQRST";
        vec![
            (Method::GET, "/v1/objects/abc/a%2Fb", key(Right::Read, abc, "a/b")),
            (Method::PUT, "/v1/objects/abc/k", key(Right::Write, abc, "k")),
            (Method::DELETE, "/v1/objects/abc/k", key(Right::Delete, abc, "k")),
            (Method::POST, "/cargar", Some(Need::in_bucket(Right::Write, cargas))),
            (Method::GET, "/descargar/n%CC%83", key(Right::Read, cargas, "\u{f1}")),
            (Method::DELETE, "/eliminar/n", key(Right::Delete, cargas, "n")),
            (Method::GET, "/v1/objects/abc", Some(Need::in_bucket(Right::List, abc))),
            (Method::GET, "/v1/buckets/abc", Some(Need::in_bucket(Right::List, abc))),
            (Method::GET, "/v1/buckets", Some(Need::to_be_known())),
            (Method::PUT, "/v1/buckets/abc", Some(Need::on_bucket(Right::Admin, abc))),
            (Method::DELETE, "/v1/buckets/abc", Some(Need::on_bucket(Right::Admin, abc))),
            (Method::PUT, "/v1/buckets/abc/public", Some(Need::on_bucket(Right::Admin, abc))),
            (Method::DELETE, "/v1/buckets/abc/public", Some(Need::on_bucket(Right::Admin, abc))),
            (Method::POST, "/v1/links", Some(Need::to_be_known())),
            (Method::PUT, "/v1/buckets/abc/quota", Some(Need::on_bucket(Right::Admin, abc))),
            (Method::DELETE, "/v1/buckets/abc/quota", Some(Need::on_bucket(Right::Admin, abc))),
            (Method::PUT, "/v1/buckets/abc/etag", Some(Need::on_bucket(Right::Admin, abc))),
            (Method::GET, "/v1/access", node(Right::Admin)),
            (Method::POST, "/v1/access", node(Right::Admin)),
            (Method::GET, ONE, node(Right::Admin)),
            (Method::PUT, ONE, node(Right::Admin)),
            (Method::DELETE, ONE, node(Right::Admin)),
            (Method::POST, "/v1/access/ABCDEFGHIJKLMNOPQRST/rotate", node(Right::Admin)),
            (Method::GET, "/v1/audit", node(Right::Admin)),
            (Method::GET, "/v1/audit/check", node(Right::Admin)),
            (Method::PUT, "/v1/audit/check", node(Right::Admin)),
            (Method::GET, "/v1/cluster", here(Right::Admin)),
            (Method::GET, "/v1/cluster/members", here(Right::Admin)),
            (Method::PUT, "/v1/cluster/members", node(Right::Admin)),
            (Method::GET, "/v1/cluster/keys", here(Right::Admin)),
            (Method::POST, "/v1/cluster/keys", node(Right::Admin)),
            (Method::GET, "/v1/cluster/scrub", here(Right::Admin)),
            (Method::PUT, "/v1/cluster/scrub", node(Right::Admin)),
            (Method::GET, "/metrics", here(Right::Metrics)),
            (Method::GET, "/", None),
            (Method::GET, "/healthz", None),
            (Method::GET, "/readyz", None),
            (Method::GET, "/openapi.json", None),
        ]
    }

    #[test]
    fn what_is_no_read_and_no_write_of_an_object_is_a_change_in_the_audit_log() {
        use crate::http::edge::deed::Sort;
        for (method, path, _) in rows() {
            let endpoint = Endpoint::of(Route::of(path), &method, path).expect("there is such an endpoint");
            let deed = endpoint.deed();
            let of_object = deed.action.starts_with("object:");
            let looks = method == Method::GET;
            let sort = if of_object {
                Sort::Object
            } else if looks {
                Sort::Look
            } else {
                Sort::Change
            };
            assert_eq!(deed.sort, sort, "{method} {path}: {}", deed.action);
            assert!(!looks || !matches!(deed.sort, Sort::Change), "{method} {path}");
        }
    }

    /// Whether what is asked for needs just this.
    fn needs(method: &Method, path: &str, needed: Option<Need<'_>>) -> bool {
        let endpoint = Endpoint::of(Route::of(path), method, path).expect("there is such an endpoint");
        endpoint.need() == needed
    }

    #[test]
    fn who_may_what() {
        for (method, path, needed) in rows() {
            assert!(needs(&method, path, needed), "{method} {path}");
            if method == Method::GET {
                assert!(needs(&Method::HEAD, path, needed), "HEAD {path} tells of what GET tells");
            }
        }
    }

    #[test]
    fn whatever_a_route_allows_has_a_row_that_says_who_may() {
        let same = |one: &str, other: &str| {
            let of = |path| std::mem::discriminant(&Route::of(path).expect("a route"));
            of(one) == of(other)
        };
        for (template, allow) in ROUTES {
            for method in allow.split(", ").filter(|method| *method != "HEAD") {
                let path = filled(template);
                let has_row = || rows().iter().any(|(m, row, _)| m.as_str() == method && same(row, &path));
                match method {
                    // Which methods there are is no secret.
                    "OPTIONS" => assert!(needs(&Method::OPTIONS, &path, None), "{template}"),
                    _ => assert!(has_row(), "{method} {template} stands in no row of who may what"),
                }
            }
        }
    }
}
