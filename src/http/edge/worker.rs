//! What the ports of a node share, and what each of their threads has for itself.
//!
//! Invariants
//! - One budget, one table of connections and one set of conditions hold for all ports and threads together.
//! - What a thread has for itself is touched by no other: request ids and counters need no lock.

use super::accept::Handshakes;
use super::access::Entrance;
use super::connections::Connections;
use super::links::StoreLinks;
use super::metrics::{Around, Metrics, Shard};
use super::pieces::LARGE_BUFFER_BYTES;
use super::readiness::{Conditions, Readiness};
use super::request_id::RequestIds;
use super::settings::HttpSettings;
use crate::audit::Audit;
use crate::base::{Budget, BufferPool};
use futures::future::LocalBoxFuture;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// Where `/v1/cluster` and the gauges of `/metrics` come from.
pub trait StatusSource {
    /// The present state of node and cluster as one JSON object.
    fn snapshot(&self) -> LocalBoxFuture<'static, serde_json::Value>;
}

/// What all ports and threads of a node share.
#[derive(Clone)]
pub struct Shared {
    pub(in crate::http) settings: Arc<HttpSettings>,
    pub(in crate::http) budget: Budget,
    pub(in crate::http) readiness: Readiness,
    pub(in crate::http) entrance: Entrance,
    pub(in crate::http) audit: Audit,
    pub(super) metrics: Arc<Metrics>,
    pub(super) connections: Arc<Connections>,
    pub(super) handshakes: Arc<Handshakes>,
    /// Memory for pieces of large bodies.
    pub(super) large_memory: BufferPool,
}

impl Shared {
    /// The shared part of a node's ports.
    pub fn new(settings: HttpSettings, budget: Budget, readiness: Readiness, entrance: Entrance, audit: Audit) -> Self {
        let connections = Connections::new(settings.connections_per_address_max);
        Shared {
            settings: Arc::new(settings),
            budget,
            readiness,
            entrance,
            audit,
            metrics: Arc::default(),
            connections,
            handshakes: Arc::default(),
            large_memory: BufferPool::new(LARGE_BUFFER_BYTES),
        }
    }

    /// The memory of large bodies that arrive, to be trimmed from time to time.
    pub fn large_memory(&self) -> BufferPool {
        self.large_memory.clone()
    }

    /// Everything numeric as Prometheus text.
    pub(in crate::http) fn expose(&self, conditions: &Conditions, status: &serde_json::Value) -> String {
        let access = self.entrance.access();
        let known = access.known();
        let around = Around {
            budget: self.budget.level(),
            connections: &self.connections,
            handshakes: &self.handshakes,
            access_keys: known.keys.len(),
            access_fresh: access.is_fresh(&known),
            conditions,
        };
        self.metrics.expose(&around, status)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What stands behind one thread of a port; made on that thread.
pub struct Backend {
    /// The actors on the thread's own arbiter.
    pub links: StoreLinks,
    /// How node and cluster are.
    pub status: Rc<dyn StatusSource>,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("links", &self.links).finish_non_exhaustive()
    }
}

/// One thread of a port: its links to the actors on its own arbiter, and its own counters.
pub struct Worker {
    pub(in crate::http) shared: Shared,
    pub(in crate::http) links: StoreLinks,
    pub(in crate::http) status: Rc<dyn StatusSource>,
    pub(super) ids: RequestIds,
    pub(super) shard: Arc<Shard>,
}

impl Worker {
    /// A worker of a port that counts its requests under `labels`; to be built on its own thread.
    pub fn new(shared: Shared, backend: Backend, labels: &'static [&'static str]) -> Self {
        Worker {
            links: backend.links,
            status: backend.status,
            ids: RequestIds::new(),
            shard: shared.metrics.shard(labels),
            shared,
        }
    }
}
