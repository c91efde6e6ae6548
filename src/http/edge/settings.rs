//! The settings of the ports that clients reach.

use super::hosts::Hosts;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// To be put behind the operator's log filter: the server below reports heads that are not HTTP, and
/// answers that broke off, as errors. The first are the clients' mistakes, which anybody could fill a
/// log with; the second are logged here, with their request id and cause.
pub const LOG_FILTER: &str = "actix_http=off,actix_server=warn";

/// What an operator decides of the ports.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Threads that serve, each with its own StoreActor.
    pub workers: usize,
    /// Largest object that a port takes.
    pub body_max: u64,
    /// Largest object that goes to the store in one message.
    pub inline_max: usize,
    /// Largest object that the store holds whole before it is durable.
    pub segment_max: usize,
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
    /// Most connections at once on each port, all workers together.
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
    /// Nodes of the cluster by now, this one included: the N of `x-boveda-replicas: 1/N`.
    pub cluster_size: Arc<AtomicUsize>,
}
