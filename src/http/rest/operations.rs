//! For operators: liveness, readiness, metrics, status, the member list, the scrubber.

use super::answers::json;
use crate::actors::messages::{ChangeMembers, Consistency, ListBuckets, PauseScrub, ShowMembers};
use crate::base::{Epoch, NodeName};
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::links::MemberLinks;
use crate::http::edge::metrics::expose_buckets;
use crate::http::edge::readiness::Conditions;
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use serde::Serialize;
use std::collections::BTreeMap;

/// This process answers; it says nothing of the disk or the peers.
pub(super) fn health() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")))
        .body("ok\n")
}

/// For whoever asks what this is.
pub(super) fn root() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")))
        .body(concat!(
            "Boveda ",
            env!("CARGO_PKG_VERSION"),
            "\n\n/v1/buckets and /v1/objects/{bucket}/{key}   objects\n/cargar, /descargar/{name}, /eliminar/{name}   \
             the notebook's routes\n/v1/access   access keys\n/v1/cluster, /readyz, /healthz, /metrics   operations\n/openapi.json   all of it, described\n"
        ))
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    missing: BTreeMap<&'static str, String>,
    degraded: BTreeMap<&'static str, String>,
}

pub(super) fn ready(call: &Call<'_>) -> HttpResponse {
    let Conditions { missing, degraded } = call.worker.shared.readiness.conditions();
    let ready = missing.is_empty();
    let mut builder = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    json(&mut builder, &Ready { ready, missing, degraded })
}

pub(super) async fn cluster(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let snapshot = call.worker.status.snapshot().await;
    Ok(json(&mut HttpResponse::Ok(), &snapshot))
}

/// Brings the cluster to a member list, and answers when it is in force.
pub(super) async fn members(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let mut query = Query::parse(call.req.query_string())?;
    let names = query.take("names").unwrap_or_default();
    let since = query.take("epoch").map(|epoch| epoch.parse().map(Epoch));
    let since = since.transpose().map_err(|_| HttpError::Query("epoch is the number of a member list"))?;
    if !query.is_empty() || names.is_empty() {
        return Err(HttpError::Query(
            "the parameters are names: the nodes of the cluster, with commas between them; and epoch: of the list that is changed",
        ));
    }
    let parsed: Option<Vec<NodeName>> = names.split(',').map(NodeName::parse).collect();
    let names = parsed.ok_or(HttpError::Query("names are node names, with commas between them"))?;
    let asked: Vec<_> = names.iter().map(NodeName::to_string).collect();
    call.note.changes((), serde_json::json!({ "members": asked, "since": since.map(|epoch| epoch.0) }));
    let list = member_links(call)?.change.send(ChangeMembers { names, since }).await??;
    Ok(json(&mut HttpResponse::Ok(), &list))
}

/// Who has a place, who is there, and who waits for one.
pub(super) async fn show_members(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let list = member_links(call)?.show.send(ShowMembers).await?;
    Ok(json(&mut HttpResponse::Ok(), &list))
}

fn member_links<'a>(call: &Call<'a>) -> Result<&'a MemberLinks, HttpError> {
    let none = HttpError::NotImplemented(
        "this node decides alone, and has no member list: to make a cluster of it, start it and the others with the same \
         keys, cluster.peers (--peer NAME=URL, once for each node) and durability majority (docs/operations.md)",
    );
    call.worker.links.members.as_ref().ok_or(none)
}

/// How this node's scrubber is.
pub(super) async fn scrub(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let snapshot = call.worker.status.snapshot().await;
    let scrub = snapshot.pointer("/store/scrub").ok_or(HttpError::Broken("the status has no scrubber"))?;
    Ok(json(&mut HttpResponse::Ok(), scrub))
}

/// Pauses this node's scrubber, or lets it go on; answered when that is kept.
pub(super) async fn pause_scrub(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let mut query = Query::parse(call.req.query_string())?;
    let paused = match (query.take("state").as_deref(), query.is_empty()) {
        (Some("paused"), true) => true,
        (Some("running"), true) => false,
        _ => return Err(HttpError::Query("the parameter is state: paused or running")),
    };
    call.note.changes((), serde_json::json!({ "paused": paused }));
    let Some(link) = &call.worker.links.pause_scrub else {
        return Err(HttpError::NotImplemented("this node has no scrubber"));
    };
    if !link.send(PauseScrub { paused }).await? {
        return Err(HttpError::NotKept);
    }
    scrub(call).await
}

pub(super) async fn metrics(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let snapshot = call.worker.status.snapshot().await;
    let shared = &call.worker.shared;
    let conditions = shared.readiness.conditions();
    let mut text = shared.expose(&conditions, &snapshot);
    let buckets = call.worker.links.reads.list_buckets.send(ListBuckets { consistency: Consistency::Local }).await?;
    text.push_str(&expose_buckets(buckets?));
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, media_type)).body(text))
}
