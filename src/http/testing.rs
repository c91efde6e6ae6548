//! What http's tests share: headers, and a port without a socket over a store that must not be asked.

use super::edge::access::testing::with_keys;
use super::edge::handle::Port;
use super::edge::protocol::Protocol;
use super::edge::worker::{Backend, Shared, StatusSource, Worker};
use super::{Hosts, HttpSettings, ReadLinks, Readiness, StoreLinks, WriteLinks};
use crate::actors::messages::{
    AbortUpload, AppendUpload, BeginUpload, ChangeAccess, CompleteUpload, CopyObject, CreateAccess, CreateBucket,
    CreateUpload, DeleteBucket, DeleteObject, FindUpload, FinishUpload, ListBuckets, ListObjects, ListParts,
    ListUploads, OpenObject, PutSmall, ReadDownload, RotateKeys, SetBucket,
};
use crate::audit::Audit;
use crate::audit::testing::audit;
use crate::base::Budget;
use actix::{Actor, Context, Handler};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use futures::future::LocalBoxFuture;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Headers of a request, in their order; a name may stand several times.
pub(super) fn headers<V: AsRef<[u8]>>(all: &[(&str, V)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in all {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        map.append(name, HeaderValue::from_bytes(value.as_ref()).expect("a header's value"));
    }
    map
}

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
    PutSmall BeginUpload AppendUpload FinishUpload CopyObject OpenObject ReadDownload DeleteObject CreateBucket DeleteBucket
    ListBuckets ListObjects SetBucket CreateAccess ChangeAccess RotateKeys CreateUpload FindUpload CompleteUpload
    AbortUpload ListParts ListUploads
}

struct NoStatus;

impl StatusSource for NoStatus {
    fn snapshot(&self) -> LocalBoxFuture<'static, serde_json::Value> {
        Box::pin(async { serde_json::json!({}) })
    }
}

/// A port that speaks this, and the budget of its node.
pub(super) fn port<P: Protocol>(protocol: P) -> (Port<P>, Budget) {
    port_with(protocol, audit())
}

/// The same with that audit log.
pub(super) fn port_with<P: Protocol>(protocol: P, audit: Audit) -> (Port<P>, Budget) {
    let settings = HttpSettings {
        workers: 1,
        body_max: 1024,
        inline_max: 1024,
        segment_max: 512 << 10,
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
        cluster_size: Arc::new(1.into()),
    };
    let budget = Budget::new(10, 1 << 20);
    let shared = Shared::new(settings, budget.clone(), Readiness::default(), with_keys([], true), audit);
    let store = Untouched.start();
    let links = StoreLinks::new(WriteLinks::of(&store), ReadLinks::of(&store), store.recipient());
    let backend = Backend { links, status: Rc::new(NoStatus) };
    (Port { worker: Worker::new(shared, backend, P::LABELS), protocol }, budget)
}
