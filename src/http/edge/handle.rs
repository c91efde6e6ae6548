//! One request from its head to its answer, the same for every port.
//!
//! Invariants
//! - The caller's right is asked before the handler runs: no permit is taken and no byte of a body read for who has
//!   none. Who calls is asked only where that counts: a probe without a key is answered while nobody knows any key.
//! - A change is begun and answered with its lines in the audit log, and a refusal has one: see `trail`.
//! - Who may not list a bucket does not learn which of its objects are missing.
//! - A fault of ours is logged once, here, with its causes and the request id; the client is told by the port's voice.
//! - The unread rest of a body is settled before the connection is used again.
//! - Every answer carries the request's id, and is counted under its route's label.

use super::access::{Need, Principal};
use super::body_in::Incoming;
use super::body_out::WithUnread;
use super::call::Call;
use super::connections::Connection;
use super::errors::HttpError;
use super::protocol::Protocol;
use super::trail::{Note, Trail};
use super::turnstile::Gate;
use super::worker::Worker;
use crate::actors::messages::{ObjectError, StoreError};
use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse, fn_service};
use actix_web::http::header::{AUTHORIZATION, HeaderName};
use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};
use std::rc::Rc;
use std::time::Instant;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One thread of a port: what it shares with its node, and what it speaks.
pub struct Port<P> {
    pub worker: Worker,
    pub protocol: P,
}

/// Puts a port behind all paths of an application.
pub(super) fn configure<P: Protocol>(config: &mut ServiceConfig, port: Rc<Port<P>>) {
    config.default_service(fn_service(move |mut request: ServiceRequest| {
        let port = Rc::clone(&port);
        port.protocol.prepare(request.head_mut());
        async move {
            let (req, payload) = request.into_parts();
            let response = handle(&port, &req, payload).await;
            Ok::<_, actix_web::Error>(ServiceResponse::new(req, response))
        }
    }));
}

/// Serves one request: every path of every port comes here.
pub async fn handle<P: Protocol>(port: &Port<P>, req: &HttpRequest, payload: Payload) -> HttpResponse {
    let started = Instant::now();
    let Port { worker, protocol } = port;
    let id = worker.ids.next();
    let _in_flight = worker.shard.begin();
    let _handling = req.conn_data::<Rc<Connection>>().and_then(|connection| connection.handling());
    let settings = &worker.shared.settings;
    let mut incoming = Incoming::new(req, payload, settings.body_max, settings.idle_timeout);
    let route = protocol.route(req);
    let label = protocol.label(route);

    let trail = Trail::of(&worker.shared.audit, req, id, P::told);
    let mut response = match answer(port, req, &trail, route, &mut incoming).await {
        Ok(response) => response,
        Err(error) => {
            worker.shard.refused(&error, req.headers().contains_key(AUTHORIZATION));
            let problem = error.problem();
            if problem.kind.is_ours() {
                log::error!("request {id}: {}", error.with_causes());
            }
            if trail.is_refused(&problem) {
                let endpoint = protocol.endpoint(req, route).ok();
                let deed = endpoint.as_ref().map(|endpoint| protocol.deed(endpoint));
                trail.refused(&problem, protocol.claims(req), deed, P::LABELS.get(label).copied().unwrap_or_default());
            }
            protocol.tell(&problem, route, req, &id)
        }
    };
    let received = incoming.seen();
    worker.shard.received(received);
    if let Some(unread) = incoming.settle().await {
        if let Some(gate) = req.conn_data::<Rc<Gate>>() {
            gate.end();
        }
        response = response.map_body(|_, body| BoxBody::new(WithUnread { body, _unread: unread }));
    }
    response.headers_mut().insert(REQUEST_ID, id.header());

    let took = started.elapsed();
    let status = response.status().as_u16();
    worker.shard.answered(label, req.method(), status, took);
    log::debug!(
        "request {id}: {} {} {status}, {received} bytes in, {} us",
        req.method(),
        P::LABELS.get(label).copied().unwrap_or_default(),
        took.as_micros()
    );
    response
}

async fn answer<P: Protocol>(
    port: &Port<P>,
    req: &HttpRequest,
    trail: &Trail<'_>,
    route: P::Route<'_>,
    incoming: &mut Incoming,
) -> Result<HttpResponse, HttpError> {
    let Port { worker, protocol } = port;
    protocol.hosts(&worker.shared.settings.hosts).judge(req)?;
    let endpoint = protocol.endpoint(req, route)?;
    let need = protocol.need(&endpoint);
    let again = || protocol.who(req);
    let who = match need.map(|_| again()) {
        None => Principal::Nobody,
        Some(Err(HttpError::AccessUnknown)) if need.is_some_and(|need| need.is_of_this_node()) => {
            protocol.who_lately(req)?
        }
        Some(Err(HttpError::AccessUnknown)) => {
            worker.shared.entrance.first_known().await;
            again()?
        }
        Some(who) => who?,
    };
    trail.called_by(&who);
    let entrance = &worker.shared.entrance;
    entrance.authorize(&who, need.as_ref())?;
    let list = need.and_then(Need::to_see_what_is_missing);
    let hides = list.is_some_and(|list| entrance.authorize(&who, Some(&list)).is_err());
    let deed = protocol.deed(&endpoint);
    let action = deed.action;
    let entry = trail.begins(deed).await?;
    let note = Note::default();
    let call = Call { worker, req, id: trail.id(), who, again: &again, note: &note };
    let answered = match protocol.answer(&call, endpoint, incoming).await {
        Err(HttpError::Object(ObjectError::Store(StoreError::NoSuchKey))) if hides => Err(HttpError::AccessDenied),
        answered => answered,
    };
    match entry {
        None => {
            trail.refused_each(action, note);
            answered
        }
        Some(entry) => trail.ends(entry, note, answered).await,
    }
}

#[cfg(test)]
mod tests;
