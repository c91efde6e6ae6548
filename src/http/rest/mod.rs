//! REST on port 5000: the notebook's routes, `/v1`, and operations.
//!
//! | file | what it does |
//! |---|---|
//! | `target` | the routes, and the names in their paths |
//! | `endpoint` | route and method: what may be asked for, and the right that it needs |
//! | `objects` | `/v1/objects/{bucket}/{key}` |
//! | `buckets` | buckets and listings |
//! | `public` | what of a bucket is open to everybody |
//! | `access` | access keys |
//! | `in_force` | what changes of these two have in common: when they are answered |
//! | `links` | links: made, and what a request is held to that came by one |
//! | `keys` | generations of the cluster's key |
//! | `audit` | the audit log |
//! | `notebook` | `/cargar`, `/descargar`, `/eliminar` |
//! | `operations` | health, readiness, metrics, status, members, scrubber |
//! | `openapi` | the description of all of it (`openapi.json`) |
//! | `plain_write` | refuses what a write asks for and would not get |
//! | `answers` | headers and JSON that answers have in common |
//! | `voices`, `castellano` | how a problem is told: JSON, in English or Spanish |
//!
//! Invariant: everything above HTTP itself that port 5000 promises stands here, and the edge knows none of it.

mod access;
mod answers;
mod audit;
mod buckets;
mod castellano;
mod endpoint;
mod in_force;
mod keys;
mod links;
mod notebook;
mod objects;
mod openapi;
mod operations;
pub(super) mod plain_write;
mod public;
pub(super) mod target;
mod voices;

use super::edge::access::{Entrance, Need, Principal, claimed};
use super::edge::body_in::Incoming;
use super::edge::call::Call;
use super::edge::deed::Deed;
use super::edge::errors::HttpError;
use super::edge::escape::{Plus, unescape};
use super::edge::link;
use super::edge::problem::{Kind, Problem};
use super::edge::protocol::Protocol;
use super::edge::request_id::RequestId;
use super::edge::server;
use super::edge::signed;
use super::edge::worker::{Backend, Shared};
use crate::base::AccessKeyId;
use crate::sign::canonical::escaped_path;
use crate::tls;
use actix_web::dev::Server;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use endpoint::Endpoint;
use std::io;
use std::net::TcpListener;
use target::{Group, Route};

/// Serves REST on a listener that is bound already, over TLS where that is given. `backend` is called once on each
/// worker's thread.
/// Signals are the node's business; the server stops by its handle. Call it inside a running system.
pub fn serve<F>(listener: TcpListener, tls: Option<tls::Server>, shared: &Shared, backend: F) -> io::Result<Server>
where
    F: Fn() -> Backend + Send + Clone + 'static,
{
    let entrance = shared.entrance.clone();
    server::serve("http", listener, tls, shared, move || (backend(), Rest { entrance: entrance.clone() }))
}

/// REST, as one thread speaks it.
struct Rest {
    /// Where callers come in.
    entrance: Entrance,
}

impl Protocol for Rest {
    type Route<'a> = Option<Route<'a>>;
    type Endpoint = Endpoint;

    const LABELS: &'static [&'static str] = Group::LABELS;

    fn route<'a>(&self, req: &'a HttpRequest) -> Option<Route<'a>> {
        Route::of(req.path())
    }

    fn label(&self, route: Option<Route<'_>>) -> usize {
        Group::of(route) as usize
    }

    fn who(&self, req: &HttpRequest) -> Result<Principal, HttpError> {
        if !link::is_one(req.query_string()) {
            if !signed::is_one(req.headers()) {
                return self.entrance.who(req.headers());
            }
            return self.entrance.who_by_signature(req, "").map_err(|error| match error {
                HttpError::Refused(Kind::SignerUnknown | Kind::SignatureRefused) => HttpError::Unauthenticated,
                other => other,
            });
        }
        let may_be = [Method::GET, Method::HEAD, Method::PUT].contains(req.method());
        match Route::of(req.path()) {
            Some(Route::Object { .. }) if may_be => {
                self.entrance.who_by_link(req, &escaped_path(&unescape(req.path(), Plus::IsPlus)?))
            }
            _ => Err(HttpError::Refused(Kind::LinkElsewhere)),
        }
    }

    fn who_lately(&self, req: &HttpRequest) -> Result<Principal, HttpError> {
        self.entrance.who_lately(req.headers())
    }

    fn endpoint(&self, req: &HttpRequest, route: Option<Route<'_>>) -> Result<Endpoint, HttpError> {
        Endpoint::of(route, req.method(), req.path())
    }

    fn need<'e>(&self, endpoint: &'e Endpoint) -> Option<Need<'e>> {
        endpoint.need()
    }

    fn deed<'e>(&self, endpoint: &'e Endpoint) -> Deed<'e> {
        endpoint.deed()
    }

    fn claims(&self, req: &HttpRequest) -> Option<AccessKeyId> {
        claimed(req.headers()).or_else(|| signed::claimed(req.headers())).or_else(|| link::claimed(req.query_string()))
    }

    async fn answer(
        &self,
        call: &Call<'_>,
        endpoint: Endpoint,
        incoming: &mut Incoming,
    ) -> Result<HttpResponse, HttpError> {
        if signed::is_one(call.req.headers()) {
            signed::hold_body(call.req.headers(), incoming)?;
        }
        match endpoint {
            Endpoint::GetObject(at) => objects::get(call, at).await,
            Endpoint::PutObject(at) => objects::put(call, at, incoming).await,
            Endpoint::DeleteObject(at) => objects::delete(call, at).await,
            Endpoint::Upload { .. } => notebook::upload(call, incoming).await,
            Endpoint::Download(at) => notebook::download(call, at).await,
            Endpoint::Remove(at) => notebook::delete(call, at).await,
            Endpoint::ListObjects(bucket) => buckets::list_objects(call, bucket).await,
            Endpoint::ListBuckets => buckets::list(call).await,
            Endpoint::ShowBucket(bucket) => buckets::show(call, bucket).await,
            Endpoint::CreateBucket(bucket) => buckets::create(call, bucket).await,
            Endpoint::DeleteBucket(bucket) => buckets::delete(call, bucket).await,
            Endpoint::OpenBucket(bucket) => public::open(call, bucket).await,
            Endpoint::CloseBucket(bucket) => public::close(call, bucket).await,
            Endpoint::SetQuota(bucket) => buckets::set_quota(call, bucket).await,
            Endpoint::ClearQuota(bucket) => buckets::clear_quota(call, bucket).await,
            Endpoint::SetEtag(bucket) => buckets::set_etag(call, bucket).await,
            Endpoint::ListAccess => access::list(call),
            Endpoint::CreateAccess => access::create(call, incoming).await,
            Endpoint::ShowAccess(id) => access::show(call, id),
            Endpoint::SetAccess(id) => access::set(call, id).await,
            Endpoint::RevokeAccess(id) => access::revoke(call, id).await,
            Endpoint::RotateAccess(id) => access::rotate(call, id).await,
            Endpoint::CreateLink => links::create(call, incoming).await,
            Endpoint::ShowAudit => audit::show(call).await,
            Endpoint::CheckAudit => audit::check(call).await,
            Endpoint::AcceptAudit => audit::accept(call).await,
            Endpoint::ShowCluster => operations::cluster(call).await,
            Endpoint::ShowMembers => operations::show_members(call).await,
            Endpoint::ChangeMembers => operations::members(call).await,
            Endpoint::ShowKeys => keys::show(call).await,
            Endpoint::RotateKeys => keys::rotate(call).await,
            Endpoint::ShowScrub => operations::scrub(call).await,
            Endpoint::PauseScrub => operations::pause_scrub(call).await,
            Endpoint::Metrics => operations::metrics(call).await,
            Endpoint::Health => Ok(operations::health()),
            Endpoint::Ready => Ok(operations::ready(call)),
            Endpoint::Root => Ok(operations::root()),
            Endpoint::OpenApi => Ok(openapi::openapi()),
            Endpoint::Options(methods) => {
                Ok(HttpResponse::Ok().insert_header((header::ALLOW, HeaderValue::from_static(methods))).finish())
            }
        }
    }

    fn tell(&self, problem: &Problem, route: Option<Route<'_>>, _: &HttpRequest, id: &RequestId) -> HttpResponse {
        voices::tell(problem, Group::of(route).language(), id)
    }
}

#[cfg(test)]
mod tests;
