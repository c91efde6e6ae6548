//! HTTP on port 5000: the notebook's routes, `/v1`, and operations.
//!
//! Invariants
//! - Handlers know no file and no cipher: they parse, take a permit, send messages, and stream.
//! - A name from a request never becomes a path, and never stands in a log above debug level.
//! - Every answer of a handler carries `x-request-id`; every error is JSON with a code. (A head that is
//!   not HTTP at all is refused by the server below, with a bare 400, 408 or 431, and closed.)
//! - Nothing that a client sends is ignored where it would change what a write means: 501, 415 or 411.
//! - A web page of somebody else neither reads nor writes here: see `hosts`.
//! - Memory for bodies is bounded by the budget, whatever the number and size of requests.

mod body_in;
mod body_out;
mod buckets;
mod conditions;
mod connections;
mod disposition;
mod errors;
mod framing;
#[doc(hidden)]
pub mod fuzzing;
mod hosts;
mod links;
mod media_type;
mod metrics;
mod multipart;
mod notebook;
mod objects;
mod operations;
mod pieces;
mod range;
mod readiness;
mod request_id;
mod server;
mod target;
mod turnstile;

pub use hosts::Hosts;
pub use links::StoreLinks;
pub use readiness::Readiness;
pub use server::server;

use crate::actors::messages::Consistency;
use crate::base::{Budget, Lender, NameError};
use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse, fn_service};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use body_in::Incoming;
use body_out::WithUnread;
use connections::{Connection, Connections};
use errors::HttpError;
use futures::future::LocalBoxFuture;
use metrics::{Metrics, Shard};
use request_id::{RequestId, RequestIds};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use target::{Group, Route};
use turnstile::Gate;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const DURABILITY: HeaderName = HeaderName::from_static("x-boveda-durability");
const CONSISTENCY: HeaderName = HeaderName::from_static("x-boveda-consistency");
const REPLICAS: HeaderName = HeaderName::from_static("x-boveda-replicas");

/// To be put behind the operator's log filter: the server below reports heads that are not HTTP, and
/// answers that broke off, as errors. The first are the clients' mistakes, which anybody could fill a
/// log with; the second are logged here, with their request id and cause.
pub const LOG_FILTER: &str = "actix_http=off,actix_server=warn";

/// The settings of this room.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Threads that serve, each with its own StoreActor.
    pub workers: usize,
    /// Largest object taken.
    pub body_max: u64,
    /// Largest object that goes to the store in one message.
    pub inline_max: usize,
    /// Longest silence of a sender within a body, and of a reader within an answer.
    pub idle_timeout: Duration,
    /// How long a body waits for its turn when bytes are short.
    pub turn_max: Duration,
    /// Longest time for the head of a connection's first request.
    pub head_timeout: Duration,
    /// How long an unused connection is kept.
    pub keep_alive: Duration,
    /// How long a refused sender is still listened to, so that it can read its answer.
    pub linger: Duration,
    /// Most connections at once, all workers together.
    pub connections_max: usize,
    /// Most connections from one address; 0 for no bound.
    pub connections_per_address_max: u32,
    /// How long open requests get at shutdown.
    pub drain_timeout: Duration,
    /// What an answered write has survived: `x-boveda-durability`.
    pub durability: &'static str,
    /// Under which names clients reach the node, and whose pages may write.
    pub hosts: Hosts,
    /// Whether writes may have conditions: nodes that decide alone cannot exclude each other.
    pub conditional_writes: bool,
    /// Whether there is memory to receive large bodies in large pieces, and to send in large writes.
    pub large_buffers: bool,
    /// Nodes of the cluster, this one included: the N of `x-boveda-replicas: 1/N`.
    pub cluster_size: usize,
}

/// Where `/v1/cluster` and the gauges of `/metrics` come from.
pub trait StatusSource {
    /// The present state of node and cluster as one JSON object.
    fn snapshot(&self) -> LocalBoxFuture<'static, serde_json::Value>;
}

/// What all workers of a node share.
#[derive(Clone)]
pub struct Shared {
    settings: Arc<HttpSettings>,
    budget: Budget,
    readiness: Readiness,
    metrics: Arc<Metrics>,
    connections: Arc<Connections>,
    /// Memory for pieces of large bodies.
    large_memory: Lender,
}

impl Shared {
    /// The shared part of a node's HTTP side.
    pub fn new(settings: HttpSettings, budget: Budget, readiness: Readiness) -> Self {
        let connections = Connections::new(settings.connections_per_address_max);
        Shared {
            settings: Arc::new(settings),
            budget,
            readiness,
            metrics: Arc::default(),
            connections,
            large_memory: Lender::new(pieces::LARGE_BUFFER_BYTES),
        }
    }

    /// The memory of large bodies that arrive, to be trimmed from time to time.
    pub fn large_memory(&self) -> Lender {
        self.large_memory.clone()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// One HTTP worker: its links to the StoreActor on its own arbiter, and its own counters.
pub struct Worker {
    shared: Shared,
    links: StoreLinks,
    status: Rc<dyn StatusSource>,
    ids: RequestIds,
    shard: Arc<Shard>,
    replicas: HeaderValue,
}

impl Worker {
    /// A worker; to be built on its own thread.
    pub fn new(shared: Shared, links: StoreLinks, status: Rc<dyn StatusSource>) -> Self {
        let replicas = HeaderValue::from_str(&format!("1/{}", shared.settings.cluster_size));
        Worker {
            links,
            status,
            ids: RequestIds::new(),
            shard: shared.metrics.shard(),
            replicas: replicas.unwrap_or_else(|_| HeaderValue::from_static("1/1")),
            shared,
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// One request on its way through a handler.
struct Call<'a> {
    worker: &'a Worker,
    req: &'a HttpRequest,
    id: RequestId,
}

/// Puts all routes into an application.
pub fn configure(config: &mut ServiceConfig, worker: Rc<Worker>) {
    config.default_service(fn_service(move |request: ServiceRequest| {
        let worker = Rc::clone(&worker);
        async move {
            let (req, payload) = request.into_parts();
            let response = handle(&worker, &req, payload).await;
            Ok::<_, actix_web::Error>(ServiceResponse::new(req, response))
        }
    }));
}

async fn handle(worker: &Worker, req: &HttpRequest, payload: Payload) -> HttpResponse {
    let started = Instant::now();
    let call = Call { worker, req, id: worker.ids.next() };
    let _in_flight = worker.shard.begin();
    let _handling = req.conn_data::<Connection>().and_then(Connection::handling);
    let settings = &worker.shared.settings;
    let mut incoming = Incoming::new(req, payload, settings.body_max, settings.idle_timeout);
    let route = Route::of(req.path());
    let group = route.map_or(Group::Unknown, |route| route.group());

    let mut response = match answer(&call, route, &mut incoming).await {
        Ok(response) => response,
        Err(error) => error.response(&call.id, group.speaks_spanish()),
    };
    let received = incoming.seen();
    worker.shard.received(received);
    if let Some(unread) = incoming.settle().await {
        if let Some(gate) = req.conn_data::<Rc<Gate>>() {
            gate.end();
        }
        response = response.map_body(|_, body| BoxBody::new(WithUnread { body, _unread: unread }));
    }
    response.headers_mut().insert(REQUEST_ID, call.id.header());

    let took = started.elapsed();
    let status = response.status().as_u16();
    worker.shard.answered(group, req.method(), status, took);
    log::debug!(
        "request {}: {} {} {status}, {received} bytes in, {} us",
        call.id,
        req.method(),
        group.label(),
        took.as_micros()
    );
    response
}

async fn answer(call: &Call<'_>, route: Option<Route<'_>>, incoming: &mut Incoming) -> Result<HttpResponse, HttpError> {
    let method = call.req.method();
    call.worker.shared.settings.hosts.judge(call.req)?;
    let Some(route) = route else {
        if *method == Method::OPTIONS && call.req.path() == "*" {
            return Ok(allowed("GET, HEAD, PUT, POST, DELETE, OPTIONS"));
        }
        return Err(HttpError::NoRoute);
    };
    if *method == Method::OPTIONS {
        return Ok(allowed(route.allow()));
    }
    let reads = *method == Method::GET || *method == Method::HEAD;
    match route {
        Route::Object { bucket, key } if reads => objects::get(call, bucket, key).await,
        Route::Object { bucket, key } if *method == Method::PUT => objects::put(call, bucket, key, incoming).await,
        Route::Object { bucket, key } if *method == Method::DELETE => objects::delete(call, bucket, key).await,
        Route::Cargar if *method == Method::POST => notebook::upload(call, incoming).await,
        Route::Descargar(name) if reads => notebook::download(call, name).await,
        Route::Eliminar(name) if *method == Method::DELETE => notebook::delete(call, name).await,
        Route::Listing { bucket } if reads => buckets::list_objects(call, bucket).await,
        // A write whose key is missing behind the slash.
        Route::Listing { .. }
            if call.req.path().ends_with('/') && (*method == Method::PUT || *method == Method::DELETE) =>
        {
            Err(NameError::Key.into())
        }
        Route::Buckets if reads => buckets::list(call).await,
        Route::Root if reads => Ok(operations::root()),
        Route::Bucket(bucket) if reads => buckets::show(call, bucket).await,
        Route::Bucket(bucket) if *method == Method::PUT => buckets::create(call, bucket).await,
        Route::Bucket(bucket) if *method == Method::DELETE => buckets::delete(call, bucket).await,
        Route::Members if reads => operations::show_members(call).await,
        Route::Members if *method == Method::PUT => operations::members(call).await,
        Route::Scrub if reads => operations::scrub(call).await,
        Route::Scrub if *method == Method::PUT => operations::pause_scrub(call).await,
        Route::Cluster if reads => operations::cluster(call).await,
        Route::Health if reads => Ok(operations::health()),
        Route::Ready if reads => Ok(operations::ready(call)),
        Route::Metrics if reads => operations::metrics(call).await,
        Route::OpenApi if reads => Ok(operations::openapi()),
        _ => Err(HttpError::Method { allow: route.allow() }),
    }
}

fn allowed(methods: &'static str) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::ALLOW, HeaderValue::from_static(methods))).finish()
}

/// The headers that every write answers with: how far it went before it was answered.
fn written(builder: &mut HttpResponseBuilder, worker: &Worker, replicas: u32) {
    let settings = &worker.shared.settings;
    builder.insert_header((DURABILITY, HeaderValue::from_static(settings.durability)));
    let replicas = match replicas {
        1 => Ok(worker.replicas.clone()),
        n => HeaderValue::from_str(&format!("{n}/{}", settings.cluster_size)),
    };
    if let Ok(replicas) = replicas {
        builder.insert_header((REPLICAS, replicas));
    }
}

/// What a read is to rest on: `?consistency=local` asks for what this node holds.
fn consistency(query: &mut target::Query) -> Result<Consistency, HttpError> {
    match query.take("consistency").as_deref() {
        None | Some("majority") => Ok(Consistency::Majority),
        Some("local") => Ok(Consistency::Local),
        Some(_) => Err(HttpError::Query("consistency is majority or local")),
    }
}

/// Says so when an answer rests on less than a majority.
fn rests_on(builder: &mut HttpResponseBuilder, consistency: Consistency) -> &mut HttpResponseBuilder {
    if consistency == Consistency::Local {
        builder.insert_header((CONSISTENCY, HeaderValue::from_static("local")));
    }
    builder
}

/// A JSON answer.
fn json<T: serde::Serialize>(builder: &mut HttpResponseBuilder, value: &T) -> HttpResponse {
    match serde_json::to_vec(value) {
        Ok(body) => {
            builder.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/json"))).body(body)
        }
        Err(error) => {
            log::error!("an answer could not be written as JSON: {error}");
            HttpResponse::InternalServerError().finish()
        }
    }
}
