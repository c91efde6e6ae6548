//! S3 on port 5001: signed requests, answers and errors as XML.
//!
//! | file | what it does |
//! |---|---|
//! | `target` | what a request is about: the names in its path and host |
//! | `operations`, `table` | which operation it is; a row for each, with what it needs and knows |
//! | `auth` | who calls, by the signature in the head or the query |
//! | `payload` | bodies as clients of S3 send them: signed in chunks, with trailers, held against checksums |
//! | `objects` | objects in, out and away |
//! | `deletes` | many objects away at once |
//! | `copies`, `rewrites` | an object out of another: by reference, or byte by byte |
//! | `multipart`, `multipart_parts`, `multipart_lists` | uploads in parts: begun, completed, aborted; their parts; lists of both |
//! | `attributes` | what is known of an object |
//! | `buckets` | buckets |
//! | `listing`, `tokens` | lists of a bucket, page by page; what names the next page |
//! | `calm` | settings that nothing can be set to here, as clients expect to hear of them |
//! | `heads` | what the headers of a write say, and what answers say of an object |
//! | `documents`, `xml` | bodies of requests and answers |
//! | `errors` | how a problem is told: S3's statuses, codes and XML |
//!
//! Invariants
//! - An operation, a parameter or a header that could change what a write means, and that nothing here knows, is refused
//!   with 501: `operations` holds each request against its row before anything else is looked at.
//! - A header that stands in the query of a link is one of the request from the beginning: no handler asks where it stood.
//! - Everything that counts for port 5000 counts here: rights, audit log, permits, hosts, limits. The edge sees to it.
//! - Every answer carries `x-amz-request-id`, the same as `x-request-id`.

mod attributes;
mod auth;
mod buckets;
mod calm;
mod copies;
mod deletes;
pub(super) mod documents;
mod errors;
mod heads;
pub(super) mod listing;
mod multipart;
mod multipart_lists;
mod multipart_parts;
mod objects;
mod operations;
mod payload;
mod rewrites;
mod table;
pub(super) mod target;
pub(super) mod tokens;
pub(super) mod xml;

use super::edge::access::{Entrance, Need, Principal};
use super::edge::body_in::Incoming;
use super::edge::call::Call;
use super::edge::deed::Deed;
use super::edge::errors::HttpError;
use super::edge::hosts::Hosts;
use super::edge::link;
use super::edge::problem::{Kind, Problem};
use super::edge::protocol::Protocol;
use super::edge::request_id::RequestId;
use super::edge::server;
use super::edge::worker::{Backend, Shared};
use crate::base::AccessKeyId;
use crate::tls;
use actix_web::dev::{RequestHead, Server};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use copies::COPY_SOURCE;
use errors::{AMZ_ID_2, AMZ_REQUEST_ID, Resource};
use operations::{Does, Endpoint, Route};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use target::Names;

/// What an operator decides of the S3 port alone.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// Under which names clients reach it, and whose pages may write.
    pub hosts: Hosts,
    /// Names before which a bucket may stand as a host.
    pub domains: Vec<String>,
    /// The region that requests must be signed for; empty: any.
    pub region: String,
}

/// Serves S3 on a listener that is bound already, over TLS where that is given. `backend` is called once on each
/// worker's thread. Signals are the node's business; the server stops by its handle. Call it inside a running system.
pub fn serve<F>(
    listener: TcpListener,
    tls: Option<tls::Server>,
    shared: &Shared,
    settings: S3Settings,
    backend: F,
) -> io::Result<Server>
where
    F: Fn() -> Backend + Send + Clone + 'static,
{
    let entrance = shared.entrance.clone();
    let scheme = if tls.is_some() { "https" } else { "http" };
    server::serve("s3", listener, tls, shared, move || (backend(), S3::new(entrance.clone(), settings.clone(), scheme)))
}

/// S3, as one thread speaks it.
struct S3 {
    /// Where callers come in.
    entrance: Entrance,
    settings: Rc<S3Settings>,
    /// What addresses of it begin with.
    scheme: &'static str,
}

impl S3 {
    fn new(entrance: Entrance, mut settings: S3Settings, scheme: &'static str) -> Self {
        for domain in &mut settings.domains {
            *domain = domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase();
        }
        S3 { entrance, settings: Rc::new(settings), scheme }
    }

    async fn serve(
        &self,
        call: &Call<'_>,
        endpoint: Endpoint,
        incoming: &mut Incoming,
    ) -> Result<HttpResponse, HttpError> {
        match endpoint.row.does {
            Does::ListBuckets => buckets::list(call, endpoint, &self.settings.region).await,
            Does::CreateBucket => buckets::create(call, endpoint, incoming, &self.settings.region).await,
            Does::HeadBucket => buckets::head(call, endpoint, &self.settings.region).await,
            Does::DeleteBucket => buckets::delete(call, endpoint).await,
            Does::GetLocation => buckets::location(call, endpoint, &self.settings.region).await,
            Does::ListObjects => listing::v1(call, endpoint).await,
            Does::ListObjectsV2 => listing::v2(call, endpoint).await,
            Does::PutObject => objects::put(call, endpoint.object()?, incoming).await,
            Does::CopyObject => copies::copy(call, endpoint.object()?).await,
            Does::GetObject => objects::get(call, endpoint).await,
            Does::GetAttributes => attributes::get(call, endpoint.object()?).await,
            Does::DeleteObject => objects::delete(call, endpoint.object()?).await,
            Does::DeleteObjects => deletes::delete(call, endpoint.bucket()?, incoming).await,
            Does::CreateUpload => multipart::create(call, endpoint.object()?, incoming).await,
            Does::UploadPart => multipart_parts::upload(call, endpoint, incoming).await,
            Does::CopyPart => multipart_parts::copy(call, endpoint).await,
            Does::CompleteUpload => multipart::complete(call, endpoint, incoming, self.scheme).await,
            Does::AbortUpload => multipart::abort(call, endpoint).await,
            Does::ListParts => multipart_lists::parts(call, endpoint).await,
            Does::ListUploads => multipart_lists::uploads(call, endpoint).await,
            Does::Calm(calm) => calm::answer(call, &endpoint, calm).await,
            Does::Refused => Err(HttpError::Broken("a refused operation came to a handler")),
        }
    }
}

impl Protocol for S3 {
    type Route<'a> = Route<'a>;
    type Endpoint = Endpoint;

    const LABELS: &'static [&'static str] = operations::LABELS;

    fn prepare(&self, head: &mut RequestHead) {
        link::move_headers(head);
    }

    fn route<'a>(&self, req: &'a HttpRequest) -> Route<'a> {
        Route::of(req, &self.settings.domains)
    }

    fn label(&self, route: Route<'_>) -> usize {
        operations::label(route.row)
    }

    fn hosts<'a>(&'a self, _: &'a Hosts) -> &'a Hosts {
        &self.settings.hosts
    }

    fn who(&self, req: &HttpRequest) -> Result<Principal, HttpError> {
        auth::who(&self.entrance, req, &self.settings.region)
    }

    fn who_lately(&self, req: &HttpRequest) -> Result<Principal, HttpError> {
        // Nothing here tells of the node.
        self.who(req)
    }

    fn endpoint(&self, req: &HttpRequest, route: Route<'_>) -> Result<Endpoint, HttpError> {
        Endpoint::of(route, req)
    }

    fn need<'e>(&self, endpoint: &'e Endpoint) -> Option<Need<'e>> {
        Some(endpoint.need())
    }

    fn deed<'e>(&self, endpoint: &'e Endpoint) -> Deed<'e> {
        endpoint.deed()
    }

    fn claims(&self, req: &HttpRequest) -> Option<AccessKeyId> {
        auth::claimed(req)
    }

    async fn answer(
        &self,
        call: &Call<'_>,
        endpoint: Endpoint,
        incoming: &mut Incoming,
    ) -> Result<HttpResponse, HttpError> {
        let mut response = self.serve(call, endpoint, incoming).await?;
        response.headers_mut().insert(AMZ_REQUEST_ID, call.id.header());
        response.headers_mut().insert(AMZ_ID_2, call.id.header());
        Ok(response)
    }

    fn told(kind: Kind) -> (StatusCode, &'static str) {
        let row = errors::row(kind);
        (row.status, row.code)
    }

    fn tell(&self, problem: &Problem, route: Route<'_>, req: &HttpRequest, id: &RequestId) -> HttpResponse {
        let names = route.place.names().unwrap_or(Names::Service);
        // Of a copy, either end may be the one that is missing.
        let is_copy = req.headers().contains_key(COPY_SOURCE);
        let key = if let Names::Object(at) = &names { Some(at.key.as_str()).filter(|_| !is_copy) } else { None };
        let is_read = [Method::GET, Method::HEAD].contains(req.method());
        let resource = Resource {
            path: req.path(),
            bucket: names.bucket().map(|bucket| bucket.as_str()),
            key,
            condition: errors::condition(req.headers(), is_read),
        };
        errors::tell(problem, &resource, id, req.method() == Method::HEAD)
    }
}

/// The operations, for the tests that hold the ledger against them, and ask them by every sort of caller.
#[doc(hidden)]
pub mod rows {
    pub use super::operations::Asks;
    use super::operations::{Does, On, ROWS};

    /// An operation, and how it is asked for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Operation {
        /// As S3 calls it.
        pub name: &'static str,
        /// The method.
        pub method: &'static str,
        /// What the path names: `/`, `/{bucket}`, or `/{bucket}/{key}`.
        pub path: &'static str,
        /// The parameter that selects it.
        pub query: Option<&'static str>,
        /// The header that selects it.
        pub header: Option<&'static str>,
        /// What it needs of its caller; of one that is refused it says nothing.
        pub asks: Asks,
        /// What comes of it.
        pub outcome: Outcome,
    }

    /// What comes of an operation.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Outcome {
        /// It is done.
        Works,
        /// Nothing can be set there; the answer says what is so.
        Calm,
        /// This release has it not.
        Refused,
    }

    /// All of them.
    pub fn operations() -> Vec<Operation> {
        let row = |row: &super::operations::Row| Operation {
            name: row.name,
            method: row.verb.word(),
            path: match row.on {
                On::Service => "/",
                On::Bucket => "/{bucket}",
                On::Object => "/{bucket}/{key}",
            },
            query: row.by.query(),
            header: row.by.header(),
            asks: row.asks,
            outcome: match row.does {
                Does::Refused => Outcome::Refused,
                Does::Calm(_) => Outcome::Calm,
                _ => Outcome::Works,
            },
        };
        ROWS.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests;
