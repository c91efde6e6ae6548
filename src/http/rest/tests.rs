//! Requests through the whole of the port, over a store that must not be asked.

use super::*;
use crate::actors::messages::{
    AppendUpload, BeginUpload, CreateBucket, DeleteBucket, DeleteObject, FinishUpload, ListBuckets, ListObjects,
    OpenObject, PutSmall, ReadDownload,
};
use crate::base::Budget;
use crate::http::edge::access::Right;
use crate::http::edge::handle::{Port, handle};
use crate::http::edge::worker::{StatusSource, Worker};
use crate::http::{Hosts, HttpSettings, Readiness, StoreLinks};
use actix::{Actor, Context, Handler};
use actix_web::body::to_bytes;
use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::test::TestRequest;
use futures::future::LocalBoxFuture;
use std::rc::Rc;
use std::time::Duration;

/// A store that nobody may ask.
struct Untouched;

impl Actor for Untouched {
    type Context = Context<Self>;
}

macro_rules! untouched {
    ($($message:ident)*) => {$(
        impl Handler<$message> for Untouched {
            type Result = actix::MessageResult<$message>;
            fn handle(&mut self, _: $message, _: &mut Context<Self>) -> Self::Result {
                panic!("{} reached the store", stringify!($message))
            }
        }
    )*};
}

untouched! {
    PutSmall BeginUpload AppendUpload FinishUpload OpenObject ReadDownload DeleteObject CreateBucket DeleteBucket
    ListBuckets ListObjects
}

struct NoStatus;

impl StatusSource for NoStatus {
    fn snapshot(&self) -> LocalBoxFuture<'static, serde_json::Value> {
        Box::pin(async { serde_json::json!({}) })
    }
}

fn port(everybody: Principal) -> (Port<Rest>, Budget) {
    let settings = HttpSettings {
        workers: 1,
        body_max: 1024,
        inline_max: 1024,
        idle_timeout: Duration::from_secs(1),
        turn_max: Duration::ZERO,
        head_timeout: Duration::from_secs(1),
        keep_alive: Duration::from_secs(1),
        linger: Duration::from_secs(1),
        connections_max: 1,
        connections_per_address_max: 0,
        drain_timeout: Duration::from_secs(1),
        durability: "local",
        hosts: Hosts::new(&[], true),
        conditional_writes: true,
        large_buffers: false,
        cluster_size: 1,
    };
    let budget = Budget::new(10, 1 << 20);
    let shared = Shared::new(settings, budget.clone(), Readiness::default());
    let store = Untouched.start();
    let links = StoreLinks::new(&store, store.clone().recipient());
    let backend = Backend { links, status: Rc::new(NoStatus) };
    (Port { worker: Worker::new(shared, backend, Rest::LABELS), protocol: Rest { everybody } }, budget)
}

#[actix::test]
async fn who_has_not_the_right_is_refused_in_the_voice_of_the_route_before_anything_is_taken() {
    const ALL: [Right; 5] = [Right::Read, Right::Write, Right::List, Right::Delete, Right::Admin];
    let english = "the caller has not the right to do this";
    let spanish = "no tiene permiso para hacer esto";
    for (method, path, needed, told) in [
        (Method::GET, "/v1/objects/abc/k", Right::Read, english),
        (Method::HEAD, "/v1/objects/abc/k", Right::Read, english),
        (Method::PUT, "/v1/objects/abc/k", Right::Write, english),
        (Method::DELETE, "/v1/objects/abc/k", Right::Delete, english),
        (Method::GET, "/v1/objects/abc", Right::List, english),
        (Method::GET, "/v1/buckets", Right::List, english),
        (Method::PUT, "/v1/buckets/abc", Right::Admin, english),
        (Method::GET, "/v1/cluster", Right::Admin, english),
        (Method::PUT, "/v1/cluster/members", Right::Admin, english),
        (Method::GET, "/metrics", Right::Admin, english),
        (Method::POST, "/cargar", Right::Write, spanish),
        (Method::GET, "/descargar/n", Right::Read, spanish),
        (Method::DELETE, "/eliminar/n", Right::Delete, spanish),
    ] {
        let others: Vec<Right> = ALL.into_iter().filter(|right| *right != needed).collect();
        let (port, budget) = port(Principal::with(&others));
        let req = TestRequest::with_uri(path).method(method.clone()).to_http_request();
        let response = handle(&port, &req, Payload::None).await;
        assert_eq!(response.status(), 403, "{method} {path}");
        assert!(response.headers().contains_key("x-request-id"));
        let body = to_bytes(response.into_body()).await.expect("a body in memory");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((&body["code"], &body["error"]), (&"AccessDenied".into(), &told.into()), "{method} {path}");
        assert_eq!((budget.level().requests, budget.level().refused), (0, 0), "no permit was asked for");
    }
}

#[actix::test]
async fn probes_and_documents_need_no_right_and_what_there_is_not_is_told_as_such() {
    let (port, _) = port(Principal::with(&[]));
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/readyz", 200),
        (Method::GET, "/openapi.json", 200),
        (Method::OPTIONS, "/v1/objects/abc/k", 200),
        (Method::GET, "/nothing", 404),
        (Method::PATCH, "/v1/objects/abc/k", 405),
        (Method::GET, "/v1/objects/AB/k", 400),
    ] {
        let req = TestRequest::with_uri(path).method(method.clone()).to_http_request();
        assert_eq!(handle(&port, &req, Payload::None).await.status(), status, "{method} {path}");
    }
}
