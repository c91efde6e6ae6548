//! What a port speaks.
//!
//! The edge asks in this order, for each request (`handle`): `prepare`; `route` and `label`, out of the head alone; `endpoint`,
//! what is asked for; `need`, the right it takes; `who` calls, where there is a need, which the edge then holds against
//! the caller; `deed`, what it is to the audit log; `answer`.
//! What goes wrong on the way comes back as a problem, and `tell` gives it this port's voice.
//!
//! Invariants
//! - `route` never fails: whatever was asked for has a label and a voice.
//! - Names are parsed once, in `endpoint`: what the right is asked of is what the handler works on.
//! - A port reads no socket and keeps no state between requests: one value serves a thread.

use super::access::{Need, Principal};
use super::body_in::Incoming;
use super::call::Call;
use super::deed::Deed;
use super::errors::HttpError;
use super::hosts::Hosts;
use super::problem::{Kind, Problem};
use super::request_id::RequestId;
use crate::base::AccessKeyId;
use actix_web::dev::RequestHead;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};

/// A protocol over HTTP. One value of it serves one thread.
pub trait Protocol: 'static {
    /// Where a request leads, by its head; names in it may still be escaped.
    type Route<'a>: Copy;
    /// What is asked for there, with its names.
    type Endpoint;

    /// Under which names requests are counted and logged; other ports of the node have others.
    const LABELS: &'static [&'static str];

    /// Puts into a head what clients of this port have elsewhere in their requests. It is the first to see it.
    fn prepare(&self, _: &mut RequestHead) {}

    /// Where a request leads.
    fn route<'a>(&self, req: &'a HttpRequest) -> Self::Route<'a>;

    /// Which of the labels is the route's.
    fn label(&self, route: Self::Route<'_>) -> usize;

    /// Under which names the port is reached: those of the node, if it has none of its own.
    fn hosts<'a>(&'a self, of_node: &'a Hosts) -> &'a Hosts {
        of_node
    }

    /// Who calls, by what the head brings along; refuses who claims to be somebody and is not.
    fn who(&self, req: &HttpRequest) -> Result<Principal, HttpError>;

    /// The same by what was known last, in force by now or not: for what the node says of itself.
    fn who_lately(&self, req: &HttpRequest) -> Result<Principal, HttpError>;

    /// What is asked for; refuses what there is not.
    fn endpoint(&self, req: &HttpRequest, route: Self::Route<'_>) -> Result<Self::Endpoint, HttpError>;

    /// What the caller needs for it; `None` where everybody may.
    fn need<'e>(&self, endpoint: &'e Self::Endpoint) -> Option<Need<'e>>;

    /// What it is to the audit log.
    fn deed<'e>(&self, endpoint: &'e Self::Endpoint) -> Deed<'e>;

    /// The id that a head names, whether anybody is let in by it or not.
    fn claims(&self, req: &HttpRequest) -> Option<AccessKeyId>;

    /// Does it, and answers.
    async fn answer(
        &self,
        call: &Call<'_>,
        endpoint: Self::Endpoint,
        incoming: &mut Incoming,
    ) -> Result<HttpResponse, HttpError>;

    /// By which status and code it tells a problem.
    fn told(kind: Kind) -> (StatusCode, &'static str) {
        (kind.status(), kind.code())
    }

    /// Tells the client of a problem.
    fn tell(&self, problem: &Problem, route: Self::Route<'_>, req: &HttpRequest, id: &RequestId) -> HttpResponse;
}
